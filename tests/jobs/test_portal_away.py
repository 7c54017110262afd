"""Rule 30: who is not called lost because the portal was away, or because too many are at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from agents import presence
from agents.models import AgentPresence, Function
from agents.querysets import SILENCE
from jobs import sweeps
from jobs.models import JobRun
from jobs.starts import start_function
from sites.models import Event, Pulse
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import deadline_over, lease_over, pulse_was, queue_limit_over

pytestmark = pytest.mark.django_db


def claimed_by(one, target, edda):
    """A run that an agent holds and has not begun; no other waits."""
    start_function(target, Function.objects.get(name="list", organization=target.organization),
                   by=edda)  # fmt: skip
    [run] = one.api.claim()
    return run


def begun_by(one, target, edda):
    run = claimed_by(one, target, edda)
    assert one.api.move(run, "running").status_code == 200
    return run


def beat(agent, run):
    line = {name: run[name] for name in ("id", "attempt", "claim_id")}
    [answer] = agent.api.post("heartbeat", {"runs": [line]}).json()["runs"]
    return answer["code"]


def lease_left():
    return JobRun.objects.annotate(left=F("lease_until") - Now()).get().left


# --- the portal was away --------------------------------------------------------------------------

# The web process, and the sweeps: noted so many seconds ago, resumed so long ago. Whether what is
# lost is told of.
GONE_ON = (9, None)
GAPS = {
    "nothing was ever noted": (None, None, True),
    "both go on": ((5, None), GONE_ON, True),
    "the web is noted late": ((25, None), GONE_ON, True),
    "the web is away": ((31, None), GONE_ON, False),
    "the web is away for a day": ((86_400, None), GONE_ON, False),
    "the web is back for a moment": ((2, 1), GONE_ON, False),
    "the web is back for a minute": ((2, 70), GONE_ON, False),
    "the web is back for long enough": ((2, 80), GONE_ON, True),
    "the sweeps are back just now": ((5, None), (31, None), False),
    "the sweeps are back for a minute": ((5, None), (9, 70), False),
    "the sweeps are back for long enough": ((5, None), (9, 80), True),
    "no web is known, the sweeps are back": (None, (9, 70), False),
    "both were away": ((31, None), (31, None), False),
    "the clock was set back while all went on": ((-3600, None), (-3600, None), True),
    "the clock was set back after a gap": ((2, -3600), (9, -3600), True),
    "another's note is quicker than this statement": ((0, -1), GONE_ON, False),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "claimed"])
def test_after_a_gap_nothing_is_lost_for_a_while(agent, press, edda, gap, begun):
    run = (begun_by if begun else claimed_by)(agent, press, edda)
    lease_over(run)
    serving, sweeping, lost = GAPS[gap]
    for name, was in (("serving", serving), ("sweeping", sweeping)):
        if was:
            pulse_was(name, noted_s=was[0], resumed_s=was[1])
    assert sweeps.sweep() == lost
    held, given_up = ("running", "timed_out") if begun else ("claimed", "pending")
    assert JobRun.objects.get().status == (given_up if lost else held)
    # The silence is not forgotten: it counts as soon as the portal has been there for long enough.
    if not lost:
        pulse_was("serving", noted_s=2, resumed_s=80)
        pulse_was("sweeping", noted_s=2, resumed_s=80)
        assert sweeps.sweep() == 1
    check_runs()


@pytest.mark.parametrize("gap", GAPS)
def test_after_a_gap_no_agent_is_called_lost_for_a_while(agent, gap):
    AgentPresence.objects.update(seen_at=Now() - 2 * SILENCE)
    serving, sweeping, lost = GAPS[gap]
    for name, was in (("serving", serving), ("sweeping", sweeping)):
        if was:
            pulse_was(name, noted_s=was[0], resumed_s=was[1])
    assert presence.mark_lost() == lost
    assert Event.objects.filter(kind="agent.lost").count() == lost


def test_deadlines_and_queue_limits_go_on_while_the_portal_was_away(agent, hall, press, edda):
    late = begun_by(agent, press, edda)
    deadline_over(late)
    waiting = start_function(
        factories.target(hall, "Line 2"), Function.objects.get(name="list"), by=edda
    )
    queue_limit_over(waiting)
    pulse_was("serving", noted_s=60)
    assert sweeps.sweep() == 2
    reasons = JobRun.objects.order_by("id").values_list("status", "reason")
    assert list(reasons) == [("timed_out", "deadline"), ("timed_out", "never_claimed")]
    check_runs(all_final=True)


@pytest.mark.parametrize("away", [(60, None), (2, 10)], ids=["still", "until just now"])
def test_whoever_still_holds_a_run_goes_on_after_the_portal_was_away(agent, press, edda, away):
    """As when the portal's clock was set forward: the agent's own has the lease go on."""
    run = begun_by(agent, press, edda)
    lease_over(run, seconds=600)
    pulse_was("serving", noted_s=away[0], resumed_s=away[1])
    assert sweeps.sweep() == 0
    assert beat(agent, run) == "ok"
    assert lease_left() > timedelta(seconds=50)
    lease_over(run, seconds=600)
    pulse_was("serving", noted_s=away[0], resumed_s=away[1])
    assert agent.api.move(run, "validating").status_code == 200
    assert lease_left() > timedelta(seconds=50)
    Pulse.objects.all().delete()
    assert sweeps.sweep() == 0
    assert agent.api.finish(run).status_code == 200
    check_runs(all_final=True)


def test_the_deadline_wins_over_a_gap(agent, press, edda):
    run = begun_by(agent, press, edda)
    deadline_over(run)
    pulse_was("serving", noted_s=60)
    assert beat(agent, run) == "stale_attempt"
    assert agent.api.move(run, "validating").status_code == 409
    assert sweeps.sweep() == 1
    assert JobRun.objects.get().reason == "deadline"
    check_runs(all_final=True)


def test_what_was_swept_before_stays_so(agent, press, edda):
    run = begun_by(agent, press, edda)
    lease_over(run)
    assert sweeps.sweep() == 1
    pulse_was("serving", noted_s=60)
    assert beat(agent, run) == "already_final"


# --- too many at once -----------------------------------------------------------------------------


@pytest.fixture
def fleet(works, hall, alice, edda):
    """Make agents that hold a run each; gives the runs."""

    def make(number, *, organization=works, site=hall, by=edda, admin=alice):
        made = []
        for each in range(number):
            one = factories.enrolled(organization, f"agent {each}", site=site, by=admin)
            made.append(begun_by(one, factories.target(site, f"Line {each}"), by))
        return made

    return make


# Silent agents, agents that hold runs, whether the sweep waits.
BRAKE = [
    (1, 1, False),
    (2, 2, False),
    (2, 3, False),
    (3, 3, True),
    (3, 5, True),
    (3, 6, False),
    (4, 6, True),
    (3, 10, False),
]


@pytest.mark.parametrize(("silent", "holding", "waits"), BRAKE)
def test_many_at_once_wait_for_one_more_lease(fleet, silent, holding, waits, caplog):
    runs = fleet(holding)
    for run in runs[:silent]:
        lease_over(run)
    assert sweeps.sweep() == (0 if waits else silent)
    told = [("portal.mass_loss", {"agents": silent})] if waits else []
    alerts = Event.objects.filter(kind__startswith="portal.")
    assert list(alerts.values_list("kind", "data")) == told
    assert ("silent at once" in caplog.text) == waits
    if waits:
        for run in runs[:silent]:
            lease_over(run, seconds=69)
        assert sweeps.sweep() == 0
        for run in runs[:silent]:
            lease_over(run, seconds=71)
        assert sweeps.sweep() == silent
    assert JobRun.objects.filter(reason="agent_lost").count() == silent
    assert sweeps.sweep() == 0
    check_runs()


def test_an_agent_that_comes_back_in_the_wait_loses_nothing(fleet):
    runs = fleet(3)
    for run in runs:
        lease_over(run)
    assert sweeps.sweep() == 0
    JobRun.objects.filter(public_id=runs[0]["id"]).update(lease_until=Now() + timedelta(seconds=60))
    # Two of three are no mass; they were silent all the while.
    assert sweeps.sweep() == 2
    assert JobRun.objects.get(public_id=runs[0]["id"]).status == "running"


def test_the_alert_is_told_once(fleet, caplog):
    runs = fleet(3)
    for run in runs:
        lease_over(run)
    for _ in range(3):
        assert sweeps.sweep() == 0
    assert Event.objects.filter(kind="portal.mass_loss").count() == 1
    assert caplog.text.count("silent at once") == 1


def test_a_gap_of_the_portal_raises_no_alert(fleet):
    runs = fleet(3)
    for run in runs:
        lease_over(run)
    pulse_was("serving", noted_s=60)
    assert sweeps.sweep() == 0
    assert not Event.objects.filter(kind="portal.mass_loss").exists()


def test_the_deadline_wins_over_the_wait(fleet):
    runs = fleet(3)
    for run in runs:
        deadline_over(run)
        lease_over(run)
    assert sweeps.sweep() == 3
    assert set(JobRun.objects.values_list("reason", flat=True)) == {"deadline"}
    assert not Event.objects.filter(kind="portal.mass_loss").exists()


def test_a_network_that_was_cut_counts_when_its_first_agent_is_lost(fleet):
    """Their last beats were up to 15 s apart: the first sweep must not pick some of them off."""
    runs = fleet(4)
    lease_over(runs[0])
    for run in runs[1:]:
        lease_over(run, seconds=-10)
    assert sweeps.sweep() == 0
    assert Event.objects.get(kind="portal.mass_loss").data == {"agents": 4}


def test_a_lease_that_is_short_for_its_deadline_is_no_silence(fleet):
    runs = fleet(3)
    lease_over(runs[0])
    others = JobRun.objects.exclude(public_id=runs[0]["id"])
    others.update(deadline_at=Now() + timedelta(seconds=10), lease_until=F("deadline_at"))
    others.update(lease_until=F("deadline_at"))
    assert sweeps.sweep() == 1


def test_each_organization_is_told_of_its_own_agents(
    works, elsewhere, fleet, oscar, hall, edda, alice
):
    runs = fleet(2)
    harbour = factories.site(elsewhere, "Quay")
    runs += fleet(1, organization=elsewhere, site=harbour, by=oscar, admin=oscar)
    quiet = factories.organization("Quiet")
    for run in runs:
        lease_over(run)
    assert sweeps.sweep() == 0
    told = {one.organization_id: one for one in Event.objects.filter(kind="portal.mass_loss")}
    assert {pk: one.data for pk, one in told.items()} == {
        works.pk: {"agents": 2},
        elsewhere.pk: {"agents": 1},
    }
    assert told[works.pk].subject_id == works.public_id
    assert quiet.pk not in told


def statements(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return [one["sql"] for one in captured if "SAVEPOINT" not in one["sql"]]


def test_a_sweep_is_a_handful_of_statements(fleet):
    Pulse.objects.all().delete()
    runs = fleet(7)
    # The note; deadlines; who is silent; queue limits.
    assert len(statements(sweeps.sweep)) == 4
    lost = len(statements_for(runs[:1]))
    assert lost == len(statements_for(runs[1:4]))
    # Three more look for what is lost; the move is four on SQLite, one on PostgreSQL.
    assert lost == (8 if connection.vendor == "postgresql" else 11)


def statements_for(runs):
    for run in runs:
        lease_over(run)
    return statements(sweeps.sweep)
