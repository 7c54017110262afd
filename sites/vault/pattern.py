"""Decides which lines a person's regular expression matches, without letting it run away.

Python's engine can take for ever on a short pattern and cannot be stopped inside a process. So it
runs in a small process of its own, with limits on time, memory and input.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from sites.vault.errors import VaultError

MAX_PATTERN = 200
MAX_LINE = 1_000
SECONDS = 2

_CHILD = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
resource.setrlimit(resource.RLIMIT_AS, (2 ** 29, 2 ** 29))
pattern, lines = json.load(sys.stdin)
try:
    search = re.compile(pattern).search
except (re.error, OverflowError, RecursionError) as error:
    json.dump(str(error), sys.stdout)
else:
    json.dump([number for number, line in enumerate(lines) if search(line)], sys.stdout)
"""


class PatternRefused(VaultError):
    """A regular expression that is none, is too long, or takes too long."""

    code = "invalid_pattern"


def matching(pattern: str, lines: Sequence[str]) -> set[int]:
    """Give the numbers, from 0, of the lines in which the pattern is found.

    A line is looked at up to its first 1,000 characters. Raises PatternRefused.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternRefused(f"A pattern has at most {MAX_PATTERN} characters.")
    if re.escape(pattern) == pattern:
        return {number for number, line in enumerate(lines) if pattern in line[:MAX_LINE]}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD],
            input=json.dumps([pattern, [line[:MAX_LINE] for line in lines]]),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise PatternRefused(
            "The pattern takes too long on this text: use a simpler one."
        ) from None
    answer = json.loads(done.stdout)
    if isinstance(answer, str):
        raise PatternRefused(f"The pattern is not a regular expression: {answer}.")
    return set(answer)
