"""How the API asks the policies: by the action's name, never by the HTTP method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from .. import keyset
from ..api import streams
from ..api.pages import PARAMETERS, CursorPages, order_of, place_of, refuse_unknown, size_of
from ..keyset import Order
from .policy import Policy


class StrictFilters(DjangoFilterBackend):
    """The list's FilterSet; a parameter that the list does not offer is 422, never ignored."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: Any
    ) -> QuerySet[Any]:
        filterset = self.get_filterset_class(view, queryset)
        refuse_unknown(request, {*(filterset.base_filters if filterset else ()), *PARAMETERS})
        return super().filter_queryset(request, queryset, view)


class ScopedViewSet(GenericViewSet):
    """One kind of object at one address. Each action names what the policy is asked for it.

    A routed action without a grant does not start: the address cannot be forgotten. What the person
    may not see is 404 with the body of a missing id; what they see and may not do is 403.
    """

    policy: ClassVar[Policy]
    # Action of this class → action of the policy.
    grants: ClassVar[Mapping[str, str]] = {}
    # The sorts on offer; the first is the default.
    orders: ClassVar[Mapping[str, Order]] = {}
    # The same for lists of what belongs to the object: action → sorts.
    nested: ClassVar[Mapping[str, Mapping[str, Order]]] = {}
    # Lists that are answered by pages of JSON alone.
    paged_only: ClassVar[frozenset[str]] = frozenset()
    filter_backends: Sequence[Any] = [StrictFilters]
    content_negotiation_class = streams.Forms
    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"
    http_method_names: Sequence[str] = ["get", "head", "post", "put", "patch", "delete"]

    @classmethod
    def as_view(  # type: ignore[override]
        cls, actions: dict[str, str] | None = None, **initkwargs: Any
    ) -> Callable[..., Any]:
        for action in (actions or {}).values():
            if action not in cls.grants:
                raise ImproperlyConfigured(f"{cls.__name__}.{action} has no grant in its table.")
            if cls.grants[action] not in cls.policy.table:
                raise ImproperlyConfigured(
                    f"{cls.__name__}.{action} asks for what its policy does not have."
                )
        return super().as_view(actions, **initkwargs)  # type: ignore[arg-type]

    def rows(self) -> QuerySet[Any]:
        """Fetch the rows with what their answers show; a class says which joins that takes."""
        return self.policy.model._default_manager.all()

    def get_queryset(self) -> QuerySet[Any]:
        """Give the rows that the person may see."""
        return self.policy.rows(self.request.user, "view", self.rows())

    def get_object(self) -> Any:
        """Fetch the object in the address for the action at hand."""
        return self.fetch(self.grants[self.action])

    def fetch(self, action: str) -> Any:
        """Fetch the object in the address for an action of the policy."""
        return self.policy.get(self.request.user, action, self.rows(), public_id=self.kwargs["id"])

    def read(self, serializer: type[BaseSerializer[Any]], **about: Any) -> Any:
        """Read and check the body; 422 by field."""
        checked = serializer(data=self.request.data, context=self.get_serializer_context(), **about)
        checked.is_valid(raise_exception=True)
        return checked.validated_data

    def shown(self, objects: Any, *, many: bool = False) -> Any:
        """Give what the person reads of an object or of a page of them."""
        return self.get_serializer(objects, many=many).data

    def sorts(self) -> Mapping[str, Order]:
        """Give the sorts that the list at hand offers."""
        return self.nested.get(self.action or "", self.orders)

    def get_renderers(self) -> list[BaseRenderer]:
        """Offer every list as a whole too, beside its pages."""
        listed = self.action == "list" or self.action in self.nested
        whole = streams.WHOLE if listed and self.action not in self.paged_only else ()
        return [*super().get_renderers(), *(form() for form in whole)]

    def page(self, objects: Any) -> HttpResponseBase:
        """Answer a list: narrowed, ordered, cut or sent as a whole."""
        rows = self.filter_queryset(objects)
        serializer = self.get_serializer()
        return self.listed(rows, serializer, lambda page: self.shown(page, many=True))

    def page_of(self, objects: Any, serializer: type[BaseSerializer[Any]]) -> HttpResponseBase:
        """Answer a list of what belongs to the object: ordered and cut; it has no filters."""
        refuse_unknown(self.request, set(PARAMETERS))
        context = self.get_serializer_context()
        return self.listed(
            objects,
            serializer(context=context),
            lambda page: serializer(page, many=True, context=context).data,
        )

    def listed(
        self, rows: QuerySet[Any], serializer: BaseSerializer[Any], show: streams.Show
    ) -> HttpResponseBase:
        """Answer a page of a list, or all of it where it is asked for as a whole."""
        if streams.is_whole(self.request):
            return streams.send(self.request, streams.Rows(rows, serializer, show), self.sorts())
        return self.get_paginated_response(show(self.paginate_queryset(rows) or []))

    def united(self, rows: streams.Rows) -> HttpResponseBase:
        """Answer a list of what any branch of the rows holds, each read along its own index."""
        request = self.request
        if streams.is_whole(request):
            return streams.send(request, rows, self.sorts())
        order = order_of(request, self.sorts())
        place, size = place_of(request, order), size_of(request)
        found = keyset.cut(rows.queryset, rows.branches, order, size=size, place=place)
        assert isinstance(self.paginator, CursorPages)
        self.paginator.stands_at(request, found.previous, found.next)
        return self.get_paginated_response(rows.show(rows.read(found.ids)))


class Listed:
    """Actions that every kind of object has."""

    def list(self: Any, request: Request, **kwargs: Any) -> HttpResponseBase:
        return self.page(self.get_queryset())


class Retrieved:
    """The object by itself."""

    def retrieve(self: Any, request: Request, **kwargs: Any) -> Response:
        return Response(self.shown(self.get_object()))
