"""How a one-time code becomes an agent's token on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from yardmaster.agent import config
from yardmaster.agent.loop import describe
from yardmaster.client import Client, PortalError, RunGone, TryAgain
from yardmaster.tools import installed_tools


class EnrolmentError(Exception):
    """This machine was not enrolled; the message says why and what to do."""


def split_address(url: str, code: str) -> tuple[str, str]:
    """Return the portal's address and the code; the address may end with /a/CODE."""
    parts = urlsplit(url)
    path, _, last = parts.path.rstrip("/").rpartition("/")
    if path.endswith("/a") and last:
        if code and code != last:
            raise EnrolmentError(f"The address holds the code {last}, but {code} was given too.")
        return f"{parts.scheme}://{parts.netloc}{path.removesuffix('/a')}", last
    if not code:
        raise EnrolmentError(
            "The enrolment code is missing: paste the whole line that the portal shows under"
            " “Add an agent”, it ends with /a/ and the code."
        )
    return url, code


def enrol(
    url: str,
    code: str = "",
    *,
    folder: Path,
    name: str = "",
    slots: int | None = None,
    insecure_http: bool = False,
    replace: bool = False,
) -> config.Config:
    """Exchange a code for a token, and keep it in the folder.

    Raises EnrolmentError or ConfigError before the code is used up, wherever that can be known.
    """
    portal, code = split_address(url, code)
    if config.config_file(folder).exists() and not replace:
        raise EnrolmentError(
            f"{folder} holds an enrolment already. A second agent on this machine needs its own"
            " --dir; --replace forgets the one that is there."
        )
    try:
        client = Client(portal, insecure_http=insecure_http)
    except ValueError as error:
        raise EnrolmentError(str(error)) from None
    try:
        config.make_folder(folder)
        with config.lock(folder):
            _see_that_it_is_writable(folder)
            about = describe(installed_tools(folder))
            enrolled = _exchange(client, code, name, slots, insecure_http, about)
            config.write(folder, enrolled)
    except OSError as error:
        raise EnrolmentError(f"{folder} cannot be written: {error.strerror or error}.") from None
    finally:
        client.close()
    return enrolled


def _see_that_it_is_writable(folder: Path) -> None:
    # The token is shown once: a folder that cannot keep it must be found out first.
    trial = folder / ".trial"
    os.close(os.open(trial, os.O_WRONLY | os.O_CREAT, 0o600))
    trial.unlink()


def _exchange(
    client: Client,
    code: str,
    name: str,
    slots: int | None,
    insecure_http: bool,
    about: Mapping[str, object],
) -> config.Config:
    try:
        # Sent once: a second try with a code that was used would only hide the first answer.
        answer = client.send("POST", "/agent/enroll", json={"code": code, "name": name, **about})
    except TryAgain as error:
        raise EnrolmentError(f"{error}. Is the address right, and the portal up?") from None
    except RunGone:
        raise EnrolmentError(f"There is no Yardmaster portal at {client.portal}.") from None
    except PortalError as error:
        raise EnrolmentError(f"The portal did not enrol this machine: {error}") from None
    body = answer.body
    try:
        return config.Config(
            portal=client.portal,
            agent=str(body["agent"]),
            name=str(body["name"]),
            token=str(body["token"]),
            organization=_name(body.get("organization")) or "",
            site=_name(body.get("site")),
            slots=slots,
            insecure_http=insecure_http,
        )
    except KeyError as missing:
        raise EnrolmentError(f"The portal's answer lacks {missing}.") from None


def _name(value: object) -> str | None:
    """Return a name, whether it was sent alone or in an object with more."""
    if isinstance(value, dict):
        value = value.get("name")
    return None if value is None else str(value)
