"""What is said of a setting that cannot be meant so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment, made_folder

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]


def test_a_setting_that_cannot_be_read_is_named_without_what_stands_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_LIMIT_MB", "lots of hunter22")
    with pytest.raises(ImproperlyConfigured, match=r"^STORAGE_LIMIT_MB takes a whole number\.$"):
        Environment().int("STORAGE_LIMIT_MB", default=0)
    monkeypatch.setenv("MESSAGE_MODEL_TIMEOUT_S", "long")
    with pytest.raises(ImproperlyConfigured, match="takes a number"):
        Environment().float("MESSAGE_MODEL_TIMEOUT_S", default=0.0)


@pytest.mark.parametrize("url", ["mysql://yard:hunter22@db/yard", "postgres//db", "db.sqlite3"])
def test_a_database_of_another_kind_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL is not of the form postgres://"):
        Environment().database("DATABASE_URL", default="sqlite:////portal.sqlite3")


def test_no_database_url_is_the_small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    found = Environment().database("DATABASE_URL", default="sqlite:////data/portal.sqlite3")
    assert found["NAME"] == "/data/portal.sqlite3"


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=r"YARDMASTER_DATA: the folder .*/file/data can"):
        made_folder(tmp_path / "file" / "data")
    assert made_folder(tmp_path / "new" / "data").stat().st_mode & 0o077 == 0


def test_a_person_is_told_in_one_line(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), "doctor"],
        env={**kept, "YARDMASTER_DATA": str(tmp_path), "STORAGE_URL": "ftp://hunter22@files"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("A setting is wrong. STORAGE_URL is not of the form s3://")
    assert len(ended.stderr.splitlines()) == 1
    assert "hunter22" not in ended.stderr
