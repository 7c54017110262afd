"""How tests of races speak to a real portal, each thread over a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_django

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
    """Close what a test has opened."""
    yield
    hang_up()
