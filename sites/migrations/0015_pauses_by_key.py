from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("sites", "0014_pauses"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="site",
            name="site_paused",
        ),
    ]
