"""What must go on without a break, as the database's clock saw it."""

from django.db import models


class Pulse(models.Model):
    """One row for each thing that notes again and again that it goes on (`sites/pulse.py`).

    `resumed_at` is when it went on after its newest gap; null while there was none.
    """

    name = models.CharField(max_length=20, primary_key=True)
    noted_at = models.DateTimeField()
    resumed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
