"""What the cache of file ids gives back."""

from pathlib import Path

import pytest

from yardmaster.tools.statcache import Known, StatCache

pytestmark = pytest.mark.once

ONE = Known(1, 2, 3, 4, "a" * 40, None)
TWO = Known(5, 6, 7, 2**63 - 1, "b" * 40, "c" * 64)


def test_what_was_saved_is_loaded_and_what_is_gone_is_not(tmp_path: Path) -> None:
    cache = StatCache(tmp_path / "c", "scope")
    assert cache.load() == {}
    cache.save({}, {"a": ONE, "b/ü": TWO})
    known = cache.load()
    assert known == {"a": ONE, "b/ü": TWO}
    cache.save(known, {"b/ü": ONE})
    assert cache.load() == {"b/ü": ONE}


def test_another_scope_knows_nothing(tmp_path: Path) -> None:
    StatCache(tmp_path / "c", "/srv/a").save({}, {"a": ONE})
    other = StatCache(tmp_path / "c", "/srv/b")
    assert other.load() == {}
    other.save({}, {"x": TWO})
    assert other.load() == {"x": TWO}


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"no database at all" * 100)
    cache = StatCache(tmp_path / "c", "scope")
    assert cache.load() == {}
    cache.save({}, {"a": ONE})
    assert cache.load() == {"a": ONE}
