"""A job out of most people's sight, and how tests of races speak to a real portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_django

from agents.models import Function
from jobs.models import Job
from sites.models import Site, User
from tests import factories
from tests.factories import Enrolled
from tests.web import hang_up, portal


@pytest.fixture(scope="module")
def port(
    django_db_setup: None,
    django_db_blocker: pytest_django.DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """A real portal over the test database."""
    with django_db_blocker.unblock(), portal(tmp_path_factory.mktemp("web") / "log") as number:
        yield number


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """Close what a test has opened; each thread of it has a connection of its own."""
    yield
    hang_up()


@pytest.fixture
def elsewhere_job(yard: Site, backup: Function, alice: User) -> Job:
    """A job at the site on which nobody has a grant."""
    return factories.job(factories.target(yard, "Yard crane"), backup, owner=alice)


@pytest.fixture
def listing(agent: Enrolled) -> Function:
    """A function that leaves nothing, as the agent advertised it."""
    return Function.objects.get(tool__name="folder", name="list")


@pytest.fixture
def thing(request: pytest.FixtureRequest, job: Job, hall: Site, agent: Enrolled) -> Any:
    """A job, its site, or the agent that carries it out."""
    return {"job": job, "site": hall, "agent": agent.agent}[request.param]
