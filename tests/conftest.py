"""The cast and the place: who the tests are about.

Alice administers North Works, Manuel is a manager there, Edda edits one site, Vera views it, Mia is
a member without grants, Oscar belongs to another organization, Root is the superuser.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_django
from django.db import transaction

from agents.models import Function
from config.memory import keep_what_is_loaded
from jobs.models import Job
from sites.models import Organization, Site, Target, User
from tests import backups, databases, factories
from tests.zygote import Fork, Processes, Zygote

CLOCKWORK = "tests.clockwork"


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: pytest_django.DjangoDbBlocker,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """The database of this process, instead of pytest-django's, which migrates once for each."""
    with django_db_blocker.unblock(), databases.migrated_copy():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: none of them is to run alone at the end."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("browser", "faults"))))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the collector off what stays anyway: all modules and tests, looked through each time."""
    keep_what_is_loaded()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the template at the end of the run, not of each process of it."""
    if not hasattr(session.config, "workerinput"):
        databases.drop_template()


@pytest.fixture(scope="module")
def for_all(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[None]:
    """Let a module's fixtures write what all its tests begin with; each of them is taken back."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def works(db: None) -> Organization:
    return factories.organization("North Works")


@pytest.fixture
def elsewhere(db: None) -> Organization:
    return factories.organization("Harbour Plant")


@pytest.fixture
def hall(works: Organization) -> Site:
    """The site that Edda edits and Vera views."""
    return factories.site(works, "Press hall")


@pytest.fixture
def yard(works: Organization) -> Site:
    """Another site of the same organization, on which nobody has a grant."""
    return factories.site(works, "Yard")


@pytest.fixture
def press(hall: Site) -> Target:
    return factories.target(hall, "Press line 1")


@pytest.fixture
def alice(works: Organization) -> User:
    return factories.member(works, "alice", "administrator")


@pytest.fixture
def manuel(works: Organization) -> User:
    return factories.member(works, "manuel", "manager")


@pytest.fixture
def edda(works: Organization, hall: Site) -> User:
    return factories.member(works, "edda", "member", editor=hall)


@pytest.fixture
def vera(works: Organization, hall: Site) -> User:
    return factories.member(works, "vera", "member", viewer=hall)


@pytest.fixture
def mia(works: Organization) -> User:
    return factories.member(works, "mia", "member")


@pytest.fixture
def oscar(elsewhere: Organization) -> User:
    return factories.member(elsewhere, "oscar", "administrator")


@pytest.fixture
def root(db: None) -> User:
    return factories.superuser("root")


@pytest.fixture
def cast(
    alice: User, manuel: User, edda: User, vera: User, mia: User, oscar: User, root: User
) -> dict[str, User]:
    """Everyone by name."""
    return {
        "alice": alice,
        "manuel": manuel,
        "edda": edda,
        "vera": vera,
        "mia": mia,
        "oscar": oscar,
        "root": root,
    }


@pytest.fixture
def agent(works: Organization, hall: Site, alice: User) -> factories.Enrolled:
    """An agent of the hall; `.api` speaks the protocol as it."""
    return factories.enrolled(works, "hall-agent", site=hall, by=alice)


@pytest.fixture
def backup(agent: factories.Enrolled) -> Function:
    """The function folder.backup, as the agent advertised it."""
    return Function.objects.get(tool__name="folder", name="backup")


@pytest.fixture
def job(press: Target, backup: Function, edda: User) -> Job:
    """A backup of the press, owned by Edda."""
    return factories.job(press, backup, owner=edda)


@pytest.fixture
def held(agent: factories.Enrolled, job: Job, edda: User) -> dict[str, Any]:
    """A backup at work, as its agent was given it."""
    return backups.begun(job, agent, by=edda)


@pytest.fixture
def stubborn(job: Job) -> Job:
    """Edda's backup, tried again twice: after five and after ten minutes."""
    Job.objects.filter(pk=job.pk).update(retries=2)
    job.refresh_from_db()
    return job


@pytest.fixture(scope="session")
def zygote(
    django_db_setup: None,
    django_db_blocker: pytest_django.DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Zygote]:
    """What the planners and the like of all tests are forks of."""
    with django_db_blocker.unblock():
        made = Zygote(tmp_path_factory.mktemp("zygote") / "log", CLOCKWORK)
    yield made
    made.close()


@pytest.fixture
def processes(zygote: Zygote) -> Iterator[Processes]:
    """Start so many processes that do one thing again and again; they end with the test."""
    started: list[Fork] = []

    def start(function: str, number: int) -> list[Fork]:
        new = [zygote.fork(f"{CLOCKWORK}:{function}") for _ in range(number)]
        started.extend(new)
        return new

    yield start
    for one in started:
        one.kill()
