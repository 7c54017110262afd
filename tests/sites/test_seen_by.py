"""Who of many may see which rows: the same answer as each of them gets alone."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from jobs.models import JobRun
from jobs.permissions import run_policy
from sites import teams
from sites.access import set_role
from sites.models import Organization, Site, Target, User
from tests import factories


def test_many_are_answered_as_each_of_them_in_three_queries(
    cast: dict[str, User],
    works: Organization,
    hall: Site,
    yard: Site,
    press: Target,
    job: Any,
    alice: User,
    edda: User,
    manuel: User,
    mia: User,
    django_assert_num_queries: Any,
) -> None:
    crane = factories.target(yard, "Crane")
    set_role(manuel, "viewer", on=crane)
    # Mia views the yard with her team.
    team = teams.add_team(works, "Night shift")
    mia.groups.add(Group.objects.get(pk=team.group_id))
    set_role(team.group, "viewer", on=yard)
    left = factories.member(works, "lena", "administrator")
    User.objects.filter(pk=left.pk).update(is_active=False)
    runs = [
        factories.run(job, by=edda),
        factories.run(factories.job(crane, job.function, owner=alice), by=alice),
    ]
    ids = [run.pk for run in runs]

    def people() -> list[User]:
        return list(User.objects.order_by("pk"))

    alone = {
        run.pk: frozenset(one.pk for one in people() if run_policy.allows(one, "view", run))
        for run in JobRun.objects.all()
    }
    asked = people()
    with django_assert_num_queries(3):
        assert run_policy.seen_by(asked, "view", ids) == alone
    names = {one.pk: one.username for one in asked}
    assert [sorted(names[pk] for pk in alone[pk_of]) for pk_of in ids] == [
        ["alice", "edda", "root", "vera"],
        ["alice", "manuel", "mia", "root"],
    ]
