"""Take what happened before anybody could hear of it as told: nobody gets mail about history.

In pieces, each its own transaction, so that no writer waits for long and one that was cut off is
gone on with. What happens meanwhile is told afterwards. A million Events took 20 s on PostgreSQL.
"""

from typing import Any

from django.db import migrations
from django.db.models import Max, Min
from django.db.models.functions import Now

BATCH = 10_000


def take_as_told(apps: Any, schema_editor: Any) -> None:
    """Mark every Event that there is."""
    events = apps.get_model("sites", "Event").objects.filter(fanned_out_at=None)
    ends = events.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return
    for start in range(ends["first"], ends["last"] + 1, BATCH):
        most = min(start + BATCH - 1, ends["last"])
        events.filter(pk__gte=start, pk__lte=most).update(fanned_out_at=Now())


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("notifications", "0001_initial"), ("sites", "0020_retention_words")]

    operations = [migrations.RunPython(take_as_told, migrations.RunPython.noop)]
