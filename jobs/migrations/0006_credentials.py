import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_describe_changes"),
        ("sites", "0005_credentials"),
    ]

    operations = [
        migrations.AddField(
            model_name="jobrun",
            name="credential",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="sites.credential",
            ),
        ),
    ]
