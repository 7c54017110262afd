from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0004_queues_of_agents"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="next_token_hash",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=64
            ),
        ),
        migrations.AddField(
            model_name="agent",
            name="rotating",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
