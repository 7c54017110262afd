from django.db import migrations, models


class Migration(migrations.Migration):
    """Name the field for what it holds; its column stays as it is."""

    dependencies = [
        ("sites", "0012_last_seen"),
    ]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="last_seen_at",
            field=models.DateTimeField(db_column="last_seen_at", editable=False, null=True),
        ),
        migrations.RenameField(
            model_name="user",
            old_name="last_seen_at",
            new_name="noted_at",
        ),
    ]
