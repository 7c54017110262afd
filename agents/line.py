"""What a person pastes at a machine to make it an agent."""

from urllib.parse import urlsplit

from django.conf import settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def line_to_paste(code: str) -> str:
    """Write the one line that enrols a machine with this code and lets it work.

    Plain HTTP to another machine is said out loud: the agent refuses it otherwise.
    """
    at = urlsplit(settings.PUBLIC_URL)
    flag = " --insecure-http" if at.scheme == "http" and at.hostname not in LOOPBACK else ""
    return (
        f"yardmaster agent enroll{flag} {settings.PUBLIC_URL}/a/{code}"
        f" && yardmaster agent run{flag}"
    )
