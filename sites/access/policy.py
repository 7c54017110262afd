"""May this person? One table per model, asked for lists and for objects alike: they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import models
from django.db.models import BooleanField, ExpressionWrapper, Q, Value
from django.http import Http404

from ..models import Role, User
from .grants import Grants, grants_of, read_grants

Person = User | AnonymousUser
# What a rule says for one person: None for no row, an empty Q for every row, else which rows.
Rule = Callable[[Grants], Q | None]
EVERY = Q()
# Of so many people a row is asked about in one query.
_ASKED_AT_ONCE = 50


def by_role(*roles: str, organization: str = "organization") -> Rule:
    """Rows of the organizations in which the person has one of these roles."""

    def rule(grants: Grants) -> Q | None:
        ids = grants.organizations(*roles)
        return Q(**{f"{organization}__in": ids}) if ids else None

    return rule


def by_grant(verb: str, kind: str, path: str) -> Rule:
    """Rows whose site, target or pool (at `path`) was granted to the person with this verb."""

    def rule(grants: Grants) -> Q | None:
        ids = grants.objects(kind, verb)
        return Q(**{f"{path}__in": ids}) if ids else None

    return rule


def by_person(path: str, *, roles: Sequence[str] = (), organization: str = "organization") -> Rule:
    """Rows that are the person's own, while they belong to the organization (with such a role)."""

    def rule(grants: Grants) -> Q | None:
        ids = grants.organizations(*roles)
        return Q(**{path: grants.user_id, f"{organization}__in": ids}) if ids else None

    return rule


def superuser(grants: Grants) -> Q | None:
    """Every row, for a superuser."""
    return EVERY if grants.superuser else None


ADMINISTRATOR = by_role(Role.ADMINISTRATOR)
MANAGER = by_role(Role.MANAGER)


class Policy:
    """A table from action to rules; an action is allowed where any of its rules says so."""

    def __init__(self, model: type[models.Model], table: Mapping[str, Sequence[Rule]]) -> None:
        self.model = model
        self.table = {action: tuple(rules) for action, rules in table.items()}

    def branches(self, user: Person, action: str) -> list[Q]:
        """One condition per rule that holds for the person; `[EVERY]` where one gives every row.

        Large lists unite the newest rows of each branch instead of OR-ing them, since each
        branch has an index of its own.
        """
        grants = grants_of(user)
        found = [q for rule in self.table[action] if (q := rule(grants)) is not None]
        return [EVERY] if EVERY in found else found

    def rows(
        self, user: Person, action: str, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        """Keep the rows on which the person may do this."""
        branches = self.branches(user, action)
        if not branches:
            return queryset.none()
        return queryset if branches == [EVERY] else queryset.filter(reduce(or_, branches))

    def allows(self, user: Person, action: str, obj: models.Model) -> bool:
        """Say whether the person may do this to the object."""
        return self.rows(user, action, self.model._default_manager.filter(pk=obj.pk)).exists()

    def permitted(
        self, user: Person, actions: Iterable[str], ids: Iterable[int]
    ) -> dict[int, frozenset[str]]:
        """Say for a page what the person may do to each row, in one query."""
        ids = list(ids)
        allowed: dict[int, set[str]] = {pk: set() for pk in ids}
        by_rules: dict[tuple[Rule, ...], list[str]] = {}
        for action in actions:
            by_rules.setdefault(self.table[action], []).append(action)
        page = self.model._default_manager.filter(pk__in=ids).order_by()
        alike = list(by_rules.values())
        parts = [
            self.rows(user, same[0], page).values_list("pk", Value(number))
            for number, same in enumerate(alike)
        ]
        for pk, number in parts[0].union(*parts[1:], all=True) if parts else ():
            allowed[pk].update(alike[number])
        return {pk: frozenset(found) for pk, found in allowed.items()}

    def seen_by(
        self, people: Iterable[User], action: str, ids: Iterable[int]
    ) -> dict[int, frozenset[int]]:
        """Say of each row which of many people, by id, may do this to it.

        A query for fifty people whatever the number of rows, and two for what they were given.
        """
        everyone, ids = list(people), list(ids)
        allowed: dict[int, set[int]] = {pk: set() for pk in ids}
        if not everyone or not ids:
            return {pk: frozenset() for pk in ids}
        read_grants(everyone)
        page = self.model._default_manager.filter(pk__in=ids).order_by()
        asked = [(one.pk, q) for one in everyone if (q := self._condition(one, action)) is not None]
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            some = {f"may_{pk}": q for pk, q in asked[start : start + _ASKED_AT_ONCE]}
            for pk, *answers in page.annotate(**some).values_list("pk", *some):
                may = zip(some, answers, strict=True)
                allowed[pk].update(int(name.removeprefix("may_")) for name, yes in may if yes)
        return {pk: frozenset(found) for pk, found in allowed.items()}

    def _condition(self, user: Person, action: str) -> Value | ExpressionWrapper | None:
        """Spell what a row must be for a person as a column; None where no row is."""
        branches = self.branches(user, action)
        if not branches:
            return None
        if branches == [EVERY]:
            return Value(True)
        return ExpressionWrapper(reduce(or_, branches), output_field=BooleanField())

    def get(
        self,
        user: Person,
        action: str,
        queryset: models.QuerySet[Any] | None = None,
        /,
        **lookup: Any,
    ) -> Any:
        """Fetch one object for an action.

        Http404 where the person may not even see it, as for an id that does not exist;
        PermissionDenied where they see it and may not do this.
        """
        rows = self.model._default_manager.all() if queryset is None else queryset
        try:
            obj = self.rows(user, "view", rows).get(**lookup)
        except ObjectDoesNotExist:
            raise Http404(f"There is no such {self.model._meta.verbose_name}.") from None
        if action != "view" and not self.allows(user, action, obj):
            raise PermissionDenied(
                f"Your role does not allow this on {self.model._meta.verbose_name} “{obj}”."
            )
        return obj
