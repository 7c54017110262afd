"""What one was told over REST, and what one wants to hear of: each person's own alone."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from sites.access.api import Listed, Retrieved, ScopedViewSet
from sites.api.authentication import person
from sites.api.fields import Named, Strict
from sites.keyset import Order, both_ways
from sites.models import Site
from sites.permissions import site_policy

from .. import reading, subscriptions, wording
from ..filters import NotificationFilter, SubscriptionFilter
from ..models import Delivery, Notification
from ..news import Level, News
from ..permissions import notification_policy


class DeliveryOut(serializers.Serializer[Any]):
    state = serializers.ChoiceField(Delivery.State.values)
    sent_at = serializers.DateTimeField(source="mail_sent_at", allow_null=True)
    next_at = serializers.DateTimeField(
        source="mail_next_at", allow_null=True, help_text="When it is tried next."
    )
    error = serializers.CharField(source="mail_error", help_text="Of the last try that failed.")


class NotificationOut(serializers.Serializer[Notification]):
    id = serializers.UUIDField(source="public_id")
    news = serializers.ChoiceField(News.choices)
    name = serializers.SerializerMethodField(help_text="Of the job or run that it is about.")
    organization = Named()
    site = Named(allow_null=True)
    target = Named(allow_null=True)
    run = serializers.SerializerMethodField(
        help_text="The id of the run; null where it is about none. It may be pruned by now."
    )
    job = serializers.SerializerMethodField(
        help_text="The id of the job whose start was missed; null else."
    )
    because = serializers.ChoiceField(Notification.Because.choices, help_text="Why you hear of it.")
    decision = serializers.ChoiceField(Notification.Decision.choices)
    reason = serializers.ChoiceField(
        Notification.Reason.choices, allow_blank=True, help_text="Why nothing was sent."
    )
    email = serializers.SerializerMethodField(help_text="Null where nothing was to be sent.")
    happened_at = serializers.DateTimeField(source="event.at")
    at = serializers.DateTimeField(help_text="When it was decided that you hear of it.")
    read_at = serializers.DateTimeField(allow_null=True)

    def get_name(self, notification: Notification) -> str:
        return wording.name_of(notification)

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_run(self, notification: Notification) -> Any:
        return notification.event.subject_id if wording.is_of_run(notification) else None

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_job(self, notification: Notification) -> Any:
        return notification.event.subject_id if notification.news == News.MISSED else None

    @extend_schema_field(DeliveryOut(allow_null=True))
    def get_email(self, notification: Any) -> Any:
        if notification.mail_id is None:
            return None
        columns = (notification.mail_sent_at, notification.mail_next_at, notification.mail_error)
        notification.state = Delivery.state_of(*columns)
        return DeliveryOut(notification).data


class ReadOut(serializers.Serializer[Any]):
    read = serializers.IntegerField(help_text="How many you had not read before.")


@extend_schema_view(
    list=extend_schema(
        summary="List what you were told",
        description="Your own alone, as far as you may see now what they are about.",
    ),
    retrieve=extend_schema(summary="Read about a notification"),
)
class NotificationViewSet(Listed, Retrieved, ScopedViewSet):
    """What you were told of the runs at the sites that you see, and what became of the mail."""

    policy = notification_policy
    grants = {"list": "read", "retrieve": "read", "read_one": "read", "read_all": "read"}
    orders = both_ways(Order("at", F("at"), "time"), newest_first=True)
    filterset_class = NotificationFilter
    serializer_class = NotificationOut

    def rows(self) -> QuerySet[Any]:
        return reading.for_rows(Notification.objects.filter(recipient=self.request.user.pk))

    @extend_schema(summary="Mark as read", request=None, responses=NotificationOut)
    @action(detail=True, methods=["post"], url_path="read")
    def read_one(self, request: Request, id: Any) -> Response:
        reading.mark_read(Notification.objects.filter(pk=self.get_object().pk))
        return Response(self.shown(self.get_object()))

    @extend_schema(
        operation_id="notifications_read_all",
        summary="Mark all as read",
        description="Of all your organizations.",
        request=None,
        responses=ReadOut,
    )
    @action(detail=False, methods=["post"], url_path="read")
    def read_all(self, request: Request) -> Response:
        return Response({"read": reading.mark_read(reading.own(person(request)))})


class SubscriptionOut(serializers.Serializer[Site]):
    id = serializers.UUIDField(source="public_id", help_text="Of the site.")
    name = serializers.CharField()
    organization = Named()
    level = serializers.ChoiceField(
        Level.choices,
        allow_null=True,
        help_text="What you chose. Null, the default: the problems of your own runs; of all runs"
        " where you administer the organization.",
    )


class SubscriptionIn(Strict):
    level = serializers.ChoiceField(Level.choices, allow_null=True, help_text="Null: the default.")


@extend_schema_view(
    list=extend_schema(summary="List what you hear of, site by site"),
    retrieve=extend_schema(summary="Read what you hear of at a site"),
)
class SubscriptionViewSet(Listed, Retrieved, ScopedViewSet):
    """What you want to hear of, for each site in use that you see. The id is the site's."""

    policy = site_policy
    grants = {"list": "view", "retrieve": "view", "update": "view"}
    orders = both_ways(Order("name", F("name"), "text"))
    filterset_class = SubscriptionFilter
    serializer_class = SubscriptionOut

    def rows(self) -> QuerySet[Any]:
        return subscriptions.sites_of(self.request.user)

    @extend_schema(
        summary="Choose what you hear of at a site",
        request=SubscriptionIn,
        responses=SubscriptionOut,
    )
    def update(self, request: Request, id: Any) -> Response:
        site = self.get_object()
        subscriptions.choose(person(request), {site: self.read(SubscriptionIn)["level"]})
        return Response(self.shown(self.get_object()))
