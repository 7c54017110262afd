"""When schedules start, over a year in six zones with all that their clocks do (S0-06)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import schedule
from jobs.schedule import Schedule
from sites.problems import Refused

# Nothing here asks a database.
pytestmark = pytest.mark.once
# Zone → the year that is looked at: of Apia the one that lost a day, beside both changes.
YEARS = {
    "Europe/Berlin": 2026,
    "America/New_York": 2026,
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Pacific/Apia": 2011,
    "Asia/Kathmandu": 2026,  # three quarters of an hour from the others, and no change
    "UTC": 2026,
}
QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
Wall = datetime


def quarters(zone: str, year: int) -> list[tuple[datetime, Wall]]:
    """Every quarter of an hour of a year and a little more: the moment, and what clocks show."""
    begin, there = datetime(year - 1, 12, 30, tzinfo=UTC), ZoneInfo(zone)
    moments = (begin + n * QUARTER for n in range(370 * 96))
    return [(moment, moment.astimezone(there).replace(tzinfo=None)) for moment in moments]


def once_a_day(at: time, on: Callable[[date], bool]) -> Callable[..., list[datetime]]:
    """The first moment at which clocks show this time of the day, or a later one."""

    def expected(clock: list[tuple[datetime, Wall]]) -> list[datetime]:
        first, last = clock[0][1].date() + DAY, clock[-1][1].date() - DAY
        found, place = [], 0
        for n in range((last - first).days + 1):
            if on(first + n * DAY):
                wanted = datetime.combine(first + n * DAY, at)
                # Clocks go back by less than two hours, so nothing before that is later again.
                place = next(i for i in range(place, len(clock)) if clock[i][1] >= wanted)
                found.append(clock[place][0])
                place = max(place - 8, 0)
        return list(dict.fromkeys(found))

    return expected


def whenever(shown: Callable[[Wall], bool]) -> Callable[..., list[datetime]]:
    """Every moment at which clocks show such a time."""
    return lambda clock: [moment for moment, wall in clock if shown(wall)]


PATTERNS = {
    "daily in the night": (
        Schedule("daily", at=time(2, 15)),
        once_a_day(time(2, 15), lambda day: True),
    ),
    "daily at midnight": (
        Schedule("daily", at=time(0, 0)),
        once_a_day(time(0, 0), lambda day: True),
    ),
    "without weekends": (
        Schedule("workdays", at=time(2, 0)),
        once_a_day(time(2, 0), lambda day: day.weekday() < 5),
    ),
    "on chosen days": (
        Schedule("weekly", at=time(1, 45), days=("sun", "fri")),
        once_a_day(time(1, 45), lambda day: day.weekday() in (4, 6)),
    ),
    "cron at a fixed time": (
        Schedule("cron", cron="30 2 * * *"),
        once_a_day(time(2, 30), lambda day: True),
    ),
    "cron on days of the month": (
        Schedule("cron", cron="15 2 1,30 * *"),
        once_a_day(time(2, 15), lambda day: day.day in (1, 30)),
    ),
    "cron by quarters": (Schedule("cron", cron="*/15 * * * *"), whenever(lambda wall: True)),
    "cron every hour": (Schedule("cron", cron="0 * * * *"), whenever(lambda wall: not wall.minute)),
    "cron by three hours": (
        Schedule("cron", cron="30 */3 * * *"),
        whenever(lambda wall: wall.hour % 3 == 0 and wall.minute == 30),
    ),
    "cron by quarters of an hour": (
        Schedule("cron", cron="*/15 2 * * sun"),
        whenever(lambda wall: wall.hour == 2 and wall.weekday() == 6),
    ),
}


@pytest.mark.parametrize("zone", YEARS)
@pytest.mark.parametrize("name", PATTERNS)
def test_a_year_of_starts(zone: str, name: str) -> None:
    """Preview and starts are what the clocks at the site say, day by day."""
    pattern, expected = PATTERNS[name]
    there = Schedule(pattern.kind, pattern.at, pattern.days, pattern.cron, zone)
    clock = quarters(zone, YEARS[zone])
    begin, end = clock[0][0] + 2 * DAY, clock[-1][0] - 2 * DAY
    wanted = [moment for moment in expected(clock) if begin < moment <= end]
    found = schedule.starts(there, after=begin)
    assert [start.at for start in takewhile(lambda start: start.at <= end, found)] == wanted
    assert len(wanted) > 20
    # One by one, as the planner asks, and five by five, as the preview does: the same.
    for place in (0, len(wanted) // 2, *_near_changes(zone, wanted)):
        five = wanted[place + 1 : place + 6]
        shown = schedule.preview(there, after=wanted[place])
        assert [start.at for start in shown[: len(five)]] == five
        at = wanted[place]
        for one in five:
            at = schedule.next_start(there, after=at) or at
            assert at == one


def _near_changes(zone: str, moments: list[datetime]) -> list[int]:
    """The places of starts just before and after the clocks change."""
    offsets = [moment.astimezone(ZoneInfo(zone)).utcoffset() for moment in moments]
    changes = [n for n in range(1, len(offsets)) if offsets[n] != offsets[n - 1]]
    return [place for n in changes for place in (max(n - 2, 0), n - 1, n)]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "pattern", "after", "starts", "words"),
    [
        # Spring: 02:30 is not there.
        (
            "Europe/Berlin",
            Schedule("daily", at=time(2, 30)),
            "2026-03-28T12:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
            ["The clocks go forward and leave out 02:30: it starts when they have.", ""],
        ),
        # Two times that are left out are one start.
        (
            "Europe/Berlin",
            Schedule("cron", cron="0,30 2 * * *"),
            "2026-03-28T12:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"],
            ["The clocks go forward and leave out 02:00: it starts when they have.", ""],
        ),
        # Autumn: 02:30 is there twice.
        (
            "Europe/Berlin",
            Schedule("daily", at=time(2, 30)),
            "2026-10-24T12:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
            ["The clocks go back and show 02:30 twice: it starts the first time.", ""],
        ),
        (
            "Europe/Berlin",
            Schedule("cron", cron="30 */2 * * *"),
            "2026-10-25T01:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T04:30+01:00"],
            [
                "The clocks go back and show 02:30 twice: it starts both times.",
                "The clocks go back and show 02:30 twice: it starts both times.",
                "",
            ],
        ),
        # A start between the two showings of an hour goes on with the second.
        (
            "Europe/Berlin",
            Schedule("cron", cron="*/20 * * * *"),
            "2026-10-25T02:40+02:00",
            ["2026-10-25T02:00+01:00", "2026-10-25T02:20+01:00", "2026-10-25T02:40+01:00"],
            None,
        ),
        # Half an hour: what steps by hours in the zone's own arithmetic would lose 03:00.
        (
            "Australia/Lord_Howe",
            Schedule("cron", cron="0 */3 * * *"),
            "2026-10-04T00:30+10:30",
            ["2026-10-04T03:00+11:00", "2026-10-04T06:00+11:00"],
            ["", ""],
        ),
        # The day that Samoa left out: its starts come at midnight after it.
        (
            "Pacific/Apia",
            Schedule("daily", at=time(14, 0)),
            "2011-12-29T15:00-10:00",
            ["2011-12-31T00:00+14:00", "2011-12-31T14:00+14:00"],
            ["The clocks go forward and leave out 14:00: it starts when they have.", ""],
        ),
        # Where nothing changes, nothing is said; leap days come.
        (
            "UTC",
            Schedule("cron", cron="0 3 29 2 *"),
            "2026-01-01T00:00+00:00",
            ["2028-02-29T03:00+00:00", "2032-02-29T03:00+00:00"],
            ["", ""],
        ),
    ],
)
def test_where_the_clocks_change(
    zone: str, pattern: Schedule, after: str, starts: list[str], words: list[str] | None
) -> None:
    there = Schedule(pattern.kind, pattern.at, pattern.days, pattern.cron, zone)
    found = list(islice(schedule.starts(there, after=moment(after)), len(starts)))
    assert [start.at for start in found] == [moment(text) for text in starts]
    if words is not None:
        assert [start.note for start in found] == words


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        (Schedule("hourly", at=time(1)), "kind", "Say how it repeats"),
        (Schedule(""), "kind", "Say how it repeats"),
        (Schedule("daily"), "time", "Say the time of day"),
        (Schedule("weekly", at=time(1)), "days", "Choose at least one day"),
        (Schedule("weekly", at=time(1), days=("mo",)), "days", "Choose at least one day"),
        (Schedule("cron", cron=""), "cron", "this one has 0"),
        (Schedule("cron", cron="@daily"), "cron", "this one has 1"),
        (Schedule("cron", cron="0 0 1 1 * 2027"), "cron", "this one has 6"),
        (Schedule("cron", cron="60 * * * *"), "cron", "bad minute"),
        (Schedule("cron", cron="0 0 32 2 *"), "cron", "bad day-of-month"),
        (Schedule("cron", cron="0 0 30 2 *"), "cron", "there is no such day"),
        (Schedule("cron", cron="0 0 31 4,6,9,11 *"), "cron", "there is no such day"),
        (Schedule("cron", cron="0 0 LW * mon#"), "cron", "bad day-of-week"),
        (Schedule("cron", cron=f"{','.join(['1'] * 60)} * * * *"), "cron", "at most 100"),
    ],
)
def test_what_says_no_time_is_refused_with_the_reason(
    wrong: Schedule, field: str, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        schedule.check(wrong)
    assert refused.value.status == 422
    assert words in (refused.value.errors or {})[field][0]


@given(st.text(alphabet="0123456789*/,-#LWlwMONmonſ٣ ", max_size=30))
def test_any_text_is_a_cron_expression_or_refused(text: str) -> None:
    pattern = Schedule("cron", cron=text, zone="Europe/Berlin")
    try:
        schedule.check(pattern)
    except Refused:
        return
    after = datetime(2026, 1, 1, tzinfo=UTC)
    found = [start.at for start in schedule.preview(pattern, after=after)]
    assert found == sorted(set(found))
    assert min(found) > after
    assert schedule.reading(pattern)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (Schedule(""), "Only on demand"),
        (Schedule("daily", at=time(2)), "Every day at 02:00"),
        (Schedule("workdays", at=time(6, 5)), "Monday to Friday at 06:05"),
        (Schedule("weekly", at=time(22), days=("sat",)), "Saturdays at 22:00"),
        (
            Schedule("weekly", at=time(22), days=("sun", "mon", "wed")),
            "Mondays, Wednesdays and Sundays at 22:00",
        ),
        (Schedule("cron", cron="0 3 1,15 * *"), "At 03:00 on the first and the 15th day of month"),
    ],
)
def test_a_schedule_is_read_in_words(pattern: Schedule, words: str) -> None:
    assert schedule.reading(pattern) == words


def test_starts_are_spread_each_at_its_own_place() -> None:
    """A delay is the job's own and always the same; the notes and days stay the pattern's."""
    night = Schedule("daily", at=time(2), zone="Europe/Berlin")
    jobs = [uuid4() for _ in range(200)]
    delays = [schedule.delay_of(job, 600) for job in jobs]
    assert delays == [schedule.delay_of(job, 600) for job in jobs]
    assert all(timedelta() <= delay <= timedelta(minutes=10) for delay in delays)
    assert len(set(delays)) > 100
    assert schedule.delay_of(jobs[0], 0) == timedelta()
    after = moment("2026-10-24T01:00+02:00")
    plain = schedule.preview(night, after=after)
    late = schedule.preview(night, after=after, delay=delays[0])
    assert [(one.at - delays[0], one.note) for one in late] == plain
    assert schedule.next_start(night, after=plain[0].at, delay=delays[0]) == late[0].at
