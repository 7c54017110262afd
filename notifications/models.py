"""What people want to hear of, what they were told and why not, and how it reached them."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sites.models import Event, Organization, Site, Target, User

from .news import Level, News


class Subscription(models.Model):
    """A person's choice for one site; without one the defaults hold (notifications.decisions)."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="subscriptions", db_index=False
    )
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="subscriptions")
    level = models.CharField(max_length=10, choices=Level)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["user", "site"], name="subscription_once"),
            models.CheckConstraint(condition=Q(level__in=Level.values), name="subscription_level"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.site}: {self.get_level_display()}"


class Notification(models.Model):
    """One Event for one person, with the decision about it.

    Append-only but for two things: that it was read, and that it is suppressed after all where the
    person may not see it any more when it is to be sent. It carries what decides who may see it, as
    its Event does: the same rules are asked as of the run.
    """

    class Decision(models.TextChoices):
        SENT = "sent", "Sent"
        SUPPRESSED = "suppressed", "Not sent"

    class Reason(models.TextChoices):
        """Why nothing is sent. In the portal it is read all the same, where that may be."""

        NO_ADDRESS = "no_address", "No mail address"
        MAIL_OFF = "mail_off", "Mail is off"
        ACCESS_LOST = "access_lost", "No access any more"
        INACTIVE = "inactive", "The account is closed"

    class Because(models.TextChoices):
        """Why it is this person who hears of it."""

        CHOSEN = "chosen", "Chosen for the site"
        STARTER = "starter", "Started it"
        ADMINISTRATOR = "administrator", "Administers the organization"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="+", db_index=False)
    recipient = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="notifications", db_index=False
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    site = models.ForeignKey(
        Site, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    target = models.ForeignKey(
        Target, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    started_by = models.ForeignKey(
        User, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    news = models.CharField(max_length=12, choices=News)
    because = models.CharField(max_length=14, choices=Because)
    decision = models.CharField(max_length=10, choices=Decision)
    reason = models.CharField(max_length=12, choices=Reason, blank=True)
    at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["event", "recipient"], name="notification_once"),
            models.CheckConstraint(condition=Q(news__in=News.values), name="notification_news"),
            models.CheckConstraint(
                condition=Q(decision="sent", reason="")
                | (Q(decision="suppressed") & ~Q(reason="")),
                name="notification_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["recipient", "-at", "-id"], name="notification_of_recipient"),
            # The number at the bell of every page.
            models.Index(
                fields=["recipient", "organization"],
                condition=Q(read_at__isnull=True),
                name="notification_unread",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_news_display()} for {self.recipient}"


class ChannelKind(models.TextChoices):
    """How something reaches people outside of the portal."""

    EMAIL = "email", "Email"


class Channel(models.Model):
    """That a channel of a person is off: what was sent through it arrived nowhere.

    It stands for the address that failed; with another one the channel is on again.
    """

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="channels", db_index=False
    )
    kind = models.CharField(max_length=8, choices=ChannelKind)
    address = models.CharField(max_length=254)
    disabled_at = models.DateTimeField(db_default=Now())
    error = models.CharField(max_length=300)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="channel_once")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.user}, off"


class Delivery(models.Model):
    """A notification over one channel: once for each Event, channel and recipient.

    It waits while `next_at` is set, and somebody is at it while `lease_until` is ahead. What was
    tried bears the same message id on every try, made of `public_id`.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    notification = models.ForeignKey(
        Notification, on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    channel = models.CharField(max_length=8, choices=ChannelKind)
    # A problem goes before what merely went on, however much of that waits.
    urgent = models.BooleanField(default=False, db_default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, db_default=Now())
    lease_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        default_permissions = ()
        constraints = [
            # With `notification_once`: one for each Event, channel and recipient.
            models.UniqueConstraint(fields=["notification", "channel"], name="delivery_once"),
            models.CheckConstraint(
                condition=Q(next_at__isnull=True) | Q(sent_at__isnull=True),
                name="delivery_waits_or_was_sent",
            ),
            models.CheckConstraint(
                condition=Q(lease_until__isnull=True) | Q(next_at__isnull=False),
                name="delivery_leased_while_it_waits",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at", "id"], condition=Q(next_at__isnull=False), name="delivery_due"
            ),
            models.Index(
                fields=["next_at", "id"],
                condition=Q(next_at__isnull=False, urgent=True),
                name="delivery_urgent",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()}: {self.notification}"

    class State(models.TextChoices):
        """How it stands, as its columns say."""

        WAITING = "waiting", "Waiting"
        RETRYING = "retrying", "Retrying"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        WITHHELD = "withheld", "Withheld"  # nobody was to have it any more

    @property
    def state(self) -> State:
        """How it stands."""
        return self.state_of(self.sent_at, self.next_at, self.error)

    @classmethod
    def state_of(cls, sent_at: datetime | None, next_at: datetime | None, error: str) -> State:
        """Say how a delivery with these columns stands."""
        if sent_at is not None:
            return cls.State.SENT
        if next_at is not None:
            return cls.State.RETRYING if error else cls.State.WAITING
        return cls.State.FAILED if error else cls.State.WITHHELD
