"""The admin of what people were told: to be read, in the organizations that one administers."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from sites.access.admin import Among, Between, ScopedAdmin

from . import wording
from .models import Channel, Delivery, Notification, Subscription
from .permissions import channel_policy, notification_policy, subscription_policy

COLORS = {
    Delivery.State.SENT.label: "success",
    Delivery.State.WAITING.label: "info",
    Delivery.State.RETRYING.label: "warning",
    Delivery.State.FAILED.label: "danger",
    Delivery.State.WITHHELD.label: "default",
}


@admin.register(Subscription)
class SubscriptionAdmin(ScopedAdmin):
    """What people chose to hear of, each for themselves in their profile."""

    policy = subscription_policy
    organization = "site__organization"
    list_display = ("user", "site", "level")
    list_select_related = ("user", "site")
    list_filter = (("level", ChoicesDropdownFilter), ("site", Among))
    search_fields = ("user__username", "user__email", "site__name")
    ordering = ("-id",)
    readonly_fields = fields = ("user", "site", "level")


@admin.register(Notification)
class NotificationAdmin(ScopedAdmin):
    policy = notification_policy
    list_display = ("at", "news", "about", "recipient", "because", "decision", "reason", "read_at")
    list_select_related = ("event", "organization", "recipient")
    list_filter = (
        ("news", ChoicesDropdownFilter),
        ("decision", ChoicesDropdownFilter),
        ("site", Among),
        ("recipient", Among),
        ("at", Between),
    )
    ordering = ("-id",)
    sortable_by = ()
    readonly_fields = fields = (
        "news",
        "about",
        "recipient",
        "because",
        "decision",
        "reason",
        "organization",
        "site",
        "target",
        "started_by",
        "at",
        "read_at",
        "event",
    )

    @display(description="About")
    def about(self, notification: Notification) -> str:
        """Name the job or the run that it is about."""
        return wording.name_of(notification)


@admin.register(Delivery)
class DeliveryAdmin(ScopedAdmin):
    policy = notification_policy
    through = "notification"
    organization = "notification__organization"
    list_display = ("notification", "channel", "shown_state", "attempts", "next_at", "sent_at")
    list_select_related = ("notification__recipient",)
    list_filter = (("next_at", Between), ("sent_at", Between))
    ordering = ("-id",)
    sortable_by = ()
    readonly_fields = fields = (
        "notification",
        "channel",
        "shown_state",
        "attempts",
        "next_at",
        "lease_until",
        "sent_at",
        "error",
        "public_id",
    )

    @display(description="State", label=COLORS)
    def shown_state(self, delivery: Delivery) -> str:
        return str(delivery.state.label)


@admin.register(Channel)
class ChannelAdmin(ScopedAdmin):
    """Whose mail is off; they turn it on again themselves."""

    policy = channel_policy
    organization = ""  # of a person, who may be in several: the policy says who sees it
    list_display = ("user", "kind", "address", "disabled_at", "error")
    list_select_related = ("user",)
    search_fields = ("user__username", "address")
    ordering = ("-id",)
    readonly_fields = fields = ("user", "kind", "address", "disabled_at", "error")
