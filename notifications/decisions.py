"""Decides who hears of an Event, and who does not although they would: and why.

Of a run's ends the last one is told: where another try follows by itself, nobody hears of the one
before it. Who administers the organization and who started the run hear of its problems unless
they chose otherwise for the site; all others hear of what they chose. Nobody hears of what they may
not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.models import JobRun, Occurrence
from jobs.permissions import occurrence_policy, run_policy
from jobs.states import FINAL, chip
from jobs.sweeps import MASS_LOSS
from sites.access import Policy
from sites.models import Event, Membership, Role, User

from .models import Channel, ChannelKind, Notification, Subscription
from .news import Level, News, hears

Because, Decision, Reason = Notification.Because, Notification.Decision, Notification.Reason

# The end of a run; and that the try which was to follow it was dropped, so that it was the last.
ENDS = frozenset({*(f"run.{status}" for status in FINAL), "run.given_up"})
MISSED = "job.missed"
# Of what each hears who chose nothing for the site.
DEFAULT = Level.PROBLEMS


@dataclass(frozen=True, slots=True)
class Decided:
    """What is decided about one Event for one person."""

    event: Event
    recipient: User
    news: News
    because: str
    decision: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Happened:
    """Something of which people may hear, and the row that they must be allowed to see for it.

    Without a policy it is for administrators alone.
    """

    event: Event
    news: News
    policy: Policy | None = None
    row: int = 0


def decide(events: Iterable[Event]) -> list[Decided]:
    """Decide about many Events at once: some ten queries, whatever their number.

    For most of them, which concern nobody, none.
    """
    happened = _happened(list(events))
    if not happened:
        return []
    concerned = _concerned(happened)
    people = User.objects.in_bulk({user for found in concerned for user in found})
    seen = _seen(happened, concerned, people)
    off = dict(
        Channel.objects.filter(user__in=people, kind=ChannelKind.EMAIL).values_list(
            "user", "address"
        )
    )
    decided = []
    for one, found in zip(happened, concerned, strict=True):
        for pk, because in sorted(found.items()):
            person = people.get(pk)
            if person is None or not person.is_active:
                continue
            if one.policy is None or pk in seen[one.policy][one.row]:
                why = against_mail(person, off.get(pk))
                decision = Decision.SUPPRESSED if why else Decision.SENT
                decided.append(Decided(one.event, person, one.news, because, decision, why))
    return decided


def against_mail(person: User, failed: str | None) -> str:
    """Say why a person gets no mail; `failed` is the address at which it failed for good."""
    if not person.is_active:
        return str(Reason.INACTIVE)
    if not person.email:
        return str(Reason.NO_ADDRESS)
    return str(Reason.MAIL_OFF) if failed == person.email else ""


def _happened(events: Sequence[Event]) -> list[_Happened]:
    """Give what Events are about, where anybody may hear of it; in their order."""
    found = {event.pk: _Happened(event, News.SILENT) for event in events if event.kind == MASS_LOSS}
    ends = [event for event in events if event.kind in ENDS and not event.data.get("retry_at")]
    if ends:
        ids = {event.subject_id for event in ends}
        columns = JobRun.objects.only("public_id", "status", "result")
        runs = columns.in_bulk(ids, field_name="public_id")
        for event in ends:
            # One that was pruned meanwhile is nobody's news any more.
            if (run := runs.get(event.subject_id)) is not None and run.status in FINAL:
                news = News(chip(run.status, run.result))
                found[event.pk] = _Happened(event, news, run_policy, run.pk)
    found |= _missed([event for event in events if event.kind == MISSED])
    return [found[event.pk] for event in events if event.pk in found]


def _missed(events: Sequence[Event]) -> dict[int, _Happened]:
    """Find the planned starts that Events tell of; of several the newest stands for all."""
    if not events:
        return {}
    keys = {
        event.pk: (event.subject_id, datetime.fromisoformat(event.data["planned_at"]))
        for event in events
    }
    starts = Occurrence.objects.filter(
        job__public_id__in={job for job, _ in keys.values()},
        planned_at__in={at for _, at in keys.values()},
    )
    rows = {
        (job, at): pk for pk, job, at in starts.values_list("pk", "job__public_id", "planned_at")
    }
    return {
        event.pk: _Happened(event, News.MISSED, occurrence_policy, rows[keys[event.pk]])
        for event in events
        if keys[event.pk] in rows
    }


def _concerned(happened: Sequence[_Happened]) -> list[dict[int, str]]:
    """Say of each who would hear of it, and why, whether they may see it or not."""
    sites = {one.event.site_id for one in happened} - {None}
    chosen: dict[int | None, dict[int, str]] = {}
    rows = Subscription.objects.filter(site__in=sites)
    for site, user, level in rows.values_list("site_id", "user_id", "level"):
        chosen.setdefault(site, {})[user] = level
    administrators: dict[int, set[int]] = {}
    members = Membership.objects.filter(
        organization__in={one.event.organization_id for one in happened}, role=Role.ADMINISTRATOR
    )
    for organization, user in members.values_list("organization_id", "user_id"):
        administrators.setdefault(organization, set()).add(user)
    found = []
    for one in happened:
        event = one.event
        levels = dict.fromkeys(
            administrators.get(event.organization_id, ()), (Because.ADMINISTRATOR, DEFAULT)
        )
        if event.starter_id is not None:
            levels[event.starter_id] = (Because.STARTER, DEFAULT)
        for user, level in chosen.get(event.site_id, {}).items():
            levels[user] = (Because.CHOSEN, Level(level))
        found.append(
            {
                user: str(because)
                for user, (because, level) in levels.items()
                if hears(level, one.news)
            }
        )
    return found


def _seen(
    happened: Sequence[_Happened], concerned: Sequence[dict[int, str]], people: dict[int, User]
) -> dict[Policy, dict[int, frozenset[int]]]:
    """Ask the policies who may see what: one of them once for all that is asked of it."""
    asked: dict[Policy, tuple[set[int], set[int]]] = {}
    for one, found in zip(happened, concerned, strict=True):
        if one.policy is not None:
            rows, users = asked.setdefault(one.policy, (set(), set()))
            rows.add(one.row)
            users.update(found)
    return {
        policy: policy.seen_by(
            [people[pk] for pk in sorted(users) if pk in people], "view", sorted(rows)
        )
        for policy, (rows, users) in asked.items()
    }
