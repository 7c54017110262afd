from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_history")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="urgent",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("next_at__isnull", False), ("urgent", True)),
                fields=["next_at", "id"],
                name="delivery_urgent",
            ),
        ),
    ]
