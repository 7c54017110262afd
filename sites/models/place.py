"""Where jobs act: sites and the targets at them."""

import uuid
import zoneinfo

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from ..querysets import SiteQuerySet
from .organization import Organization, User
from .pause import Pausable

LONGEST_RECOVERY_POINT_H = 365 * 24


def recovery_point(help_text: str) -> models.PositiveIntegerField:
    """How old the newest good backup may become, in hours: what is younger may be lost."""
    return models.PositiveIntegerField(
        "recovery point objective",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_RECOVERY_POINT_H)],
        help_text=help_text,
    )


# Listed where the system has them; they mean another time on another machine, or none.
_NO_PLACES = {"localtime", "Factory", "posixrules"}


def is_zone(name: str) -> bool:
    """Say whether a time zone is in the tz database's list.

    `ZoneInfo` itself raises OSError on odd names and opens paths, hence the list.
    """
    return name in zoneinfo.available_timezones() and name not in _NO_PLACES


def known_zone(name: str) -> None:
    """Refuse what is no time zone."""
    if not is_zone(name):
        raise ValidationError(
            f"“{name}” is not a time zone of the tz database, such as Europe/Berlin."
        )


class Site(Pausable):
    """A place and a unit of access; its time zone is fixed at creation."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="sites")
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[known_zone])
    # How long runs of its jobs may take and wait, where the job does not say (jobs.limits).
    run_timeout_s = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(10), MaxValueValidator(7 * 86400)]
    )
    queue_timeout_s = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(10), MaxValueValidator(30 * 86400)]
    )
    recovery_point_h = recovery_point(
        "In hours: how old the newest good backup of a target here may be. Empty asks for none."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = SiteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        permissions = [
            ("view_site", "Viewer: see the site, its targets, jobs, runs and files"),
            ("operate_site", "Editor: run and edit jobs, upload files, accept changes"),
            ("manage_site", "Maintainer: settings, grants, agents and keys of the site"),
            ("delete_site", "Owner: delete the site"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="site_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Target(models.Model):
    """What a job acts on at a site, with its address and settings."""

    class Kind(models.TextChoices):
        DEVICE = "device", "Device"
        SYSTEM = "system", "System"
        CONNECTION = "connection", "Connection"
        DATA_SOURCE = "data_source", "Data source"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="targets")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="targets")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.DEVICE)
    address = models.CharField(max_length=1000, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    recovery_point_h = recovery_point(
        "In hours: how old its newest good backup may be. Empty is the site's."
    )
    # What its runs are given at their claim; it was put here for the present address.
    credential = models.ForeignKey(
        "Credential", null=True, blank=True, on_delete=models.PROTECT, related_name="targets"
    )
    # When the address, or one among the settings, last became another one: a secret that a run was
    # given before goes to no run after it.
    moved_at = models.DateTimeField(null=True, editable=False)
    # The newest accepted snapshot: changed only by the transaction that completes a run
    # (or accepts a change), so that a run that ends otherwise hides nothing.
    accepted_snapshot = models.ForeignKey(
        "Snapshot",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        permissions = [
            ("view_target", "Viewer: see the target, its jobs, runs and files"),
            ("operate_target", "Editor: run and edit its jobs, upload files, accept changes"),
            ("manage_target", "Maintainer: settings and grants of the target"),
            ("delete_target", "Owner: delete the target"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["site", "name"], name="target_name_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["device", "system", "connection", "data_source"]),
                name="target_kind",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if (
            self.site_id
            and self.organization_id
            and self.site.organization_id != self.organization_id
        ):
            raise ValidationError({"site": "This site belongs to another organization."})
