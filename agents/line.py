"""What a person pastes at a machine to make it an agent."""

from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from .download import NAME

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def line_to_paste(code: str, program: str = "yardmaster") -> str:
    """Write the one line that enrols a machine with this code and lets it work.

    Plain HTTP to another machine is said out loud: the agent refuses it otherwise.
    """
    at = urlsplit(settings.PUBLIC_URL)
    flag = " --insecure-http" if at.scheme == "http" and at.hostname not in LOOPBACK else ""
    return (
        f"{program} agent enroll{flag} {settings.PUBLIC_URL}/a/{code} && {program} agent run{flag}"
    )


def line_with_download(code: str) -> str:
    """Write the line for a machine with Python alone: it fetches the program first."""
    fetch = f"curl -fsS -o {NAME} {settings.PUBLIC_URL}{reverse('agent-download')}"
    return f"{fetch} && {line_to_paste(code, f'python3 {NAME}')}"
