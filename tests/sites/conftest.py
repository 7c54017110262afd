"""Fixtures of the storage tests: a vault, a staging folder and file storage of their own."""

from pathlib import Path

import pytest

from tests.sites.sender import Device


@pytest.fixture
def storage_folders(tmp_path: Path, settings) -> Path:
    """Put everything that is stored below the test's own folder."""
    settings.VAULT_ROOT = tmp_path / "vault"
    settings.STAGING_ROOT = tmp_path / "staging"
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path


@pytest.fixture
def device(storage_folders: Path) -> Device:
    return Device(storage_folders)
