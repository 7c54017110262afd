"""Gives each membership the id under which the API and the portal address it."""

import uuid

from django.db import migrations, models


def name_each(apps, schema_editor):
    memberships = apps.get_model("sites", "Membership").objects
    for pk in memberships.values_list("pk", flat=True):
        memberships.filter(pk=pk).update(public_id=uuid.uuid4())


class Migration(migrations.Migration):
    dependencies = [
        ("sites", "0006_stored_files"),
    ]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="public_id",
            field=models.UUIDField(default=uuid.uuid4, editable=False, null=True),
        ),
        migrations.RunPython(name_each, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="membership",
            name="public_id",
            field=models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
        ),
    ]
