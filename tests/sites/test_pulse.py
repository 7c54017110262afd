"""When something that must go on was interrupted, and who of many is the first to tell of news."""

from __future__ import annotations

import pytest
from django.db.models import F
from django.db.models.functions import Now

from sites import pulse
from sites.models import Pulse
from tests.jobs.passing import pulse_was
from tests.web import at_once

pytestmark = pytest.mark.django_db


def ages(name):
    """How many seconds ago it was noted, and had begun again."""
    row = Pulse.objects.annotate(noted=Now() - F("noted_at"), resumed=Now() - F("resumed_at")).get(
        name=name
    )
    return [None if one is None else one.total_seconds() for one in (row.noted, row.resumed)]


def test_the_first_note_ends_no_gap(django_assert_num_queries):
    with django_assert_num_queries(1):
        pulse.note("serving")
    noted, resumed = ages("serving")
    assert noted < 5
    assert resumed is None


# Noted and resumed so many seconds ago → how long ago it has begun again after the next note.
NOTES = [
    (5, None, None),
    (29, None, None),
    (29, 60, 60),
    (31, None, 0),
    (31, 60, 0),
    (86_400, 90_000, 0),
    # A clock that was set back: what lies in its future is no gap, and is gone with the next note.
    (-3600, None, None),
    (-3600, -3605, -3605),
]


@pytest.mark.parametrize(("noted", "resumed", "expected"), NOTES)
def test_a_note_after_a_gap_says_when_that_ended(noted, resumed, expected):
    pulse_was("serving", noted_s=noted, resumed_s=resumed)
    for _ in range(2):
        pulse.note("serving")
        now, begun = ages("serving")
        assert 0 <= now < 5
        assert begun is None if expected is None else begun == pytest.approx(expected, abs=5)


@pytest.mark.parametrize(
    ("noted", "news"), [(0, False), (599, False), (601, True), (-10, False), (-3600, True)]
)
def test_news_is_told_again_after_a_while(noted, news):
    pulse_was("portal.mass_loss", noted_s=noted)
    assert pulse.is_news("portal.mass_loss", for_s=600) is news
    assert pulse.is_news("portal.mass_loss", for_s=600) is False


@pytest.mark.django_db(transaction=True)
def test_of_many_who_tell_the_same_at_once_one_does():
    for begin in (lambda: None, lambda: pulse_was("news", noted_s=700)):
        begin()
        told = at_once([lambda: pulse.is_news("news", for_s=600)] * 6)
        assert sorted(told) == [False] * 5 + [True]


@pytest.mark.django_db(transaction=True)
def test_many_who_note_at_once_find_one_gap():
    pulse_was("serving", noted_s=40)
    at_once([lambda: pulse.note("serving")] * 6)
    noted, resumed = ages("serving")
    assert noted <= resumed < 60
