"""Which texts are secret in a run, and how they are taken out of what the agent sends."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from yardmaster.agent.marks import looks_secret, marked_in

MASK = "••••"
# Shorter numbers (a port, a count) are too common in logs to be taken for secrets.
SHORTEST_NUMBER = 4
# A line of a longer secret (a private key) that is secret by itself.
SHORTEST_LINE = 8
# Who logs in, and which hosts may be given an agent's own credentials, is no secret: errors name
# them, and a user name such as `root` stands in many a path.
SAID = frozenset({"username", "hosts"})
# What stands in a header before what is secret, which is said without it too.
SCHEMES = frozenset({"bearer", "basic", "token", "digest"})


def secrets_of(
    credentials: Mapping[str, Any],
    parameters: Mapping[str, Any],
    schema: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> list[str]:
    """Return every text that must not leave this machine, the spellings it may take included.

    All values of the credentials are secret but those named in `SAID`, the parameters that the
    function's schema marks (without a schema, those that have the name of a secret), and what has
    such a name among the target's settings.
    """
    marked = looks_secret if schema is None else marked_in(schema)
    found = set(_texts({name: part for name, part in credentials.items() if name not in SAID}))
    found.update(_texts_named(parameters, marked), _texts_named(settings, looks_secret))
    spelled: set[str] = set()
    for text in found:
        spelled.add(text)
        spelled.update(line for line in text.splitlines() if len(line.strip()) >= SHORTEST_LINE)
        spelled.add(json.dumps(text)[1:-1])
        spelled.add(json.dumps(text, ensure_ascii=False)[1:-1])
        scheme, _, rest = text.partition(" ")
        if rest and scheme.lower() in SCHEMES:
            spelled.add(rest)
        spelled.add(quote(text.encode("utf-8", "replace"), safe=""))
    return sorted((text for text in spelled if text), key=len, reverse=True)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        if len(str(value)) >= SHORTEST_NUMBER:
            yield str(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _texts(item)


def _texts_named(value: Any, secret: Callable[[str], bool]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item) if secret(str(name)) else _texts_named(item, secret)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_named(item, secret)


class Masker:
    """Takes secrets out of a text that comes in pieces of any size.

    A piece's end is held back while it may be the beginning of a secret; `finish` lets it go.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._longest = max(map(len, self._secrets), default=0)
        self._held = ""
        # How many characters at the start of what is held back are secret already, because a
        # match that began before them reached this far.
        self._covered = 0
        self._masking = False

    def feed(self, text: str) -> str:
        """Add a piece and return what may be sent by now."""
        return self._take(text, final=False)

    def finish(self) -> str:
        """Return the rest."""
        return self._take("", final=True)

    def whole(self, value: Any) -> Any:
        """Return a complete text, or all texts in a list or mapping, without the secrets."""
        if isinstance(value, str):
            masker = Masker(self._secrets)
            return masker.feed(value) + masker.finish()
        if isinstance(value, Mapping):
            return {name: self.whole(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.whole(item) for item in value]
        return value

    def _take(self, text: str, *, final: bool) -> str:
        buffer = self._held + text
        cut = len(buffer) if final else self._first_open(buffer)
        if cut == 0:
            self._held = buffer
            return ""
        sent: list[str] = []
        position = covered = 0
        for start, end in self._secret_spans(buffer):
            if start >= cut:
                break
            self._emit_plain(sent, buffer[position:start])
            self._emit_mask(sent)
            position = min(end, cut)
            covered = max(0, end - cut)
        self._emit_plain(sent, buffer[position:cut])
        self._covered = covered
        self._held = buffer[cut:]
        return "".join(sent)

    def _emit_plain(self, sent: list[str], text: str) -> None:
        if text:
            self._masking = False
            sent.append(text)

    def _emit_mask(self, sent: list[str]) -> None:
        if not self._masking:
            self._masking = True
            sent.append(MASK)

    def _first_open(self, buffer: str) -> int:
        """Return where the first secret may begin whose end is not here yet."""
        for index in range(max(0, len(buffer) - self._longest + 1), len(buffer)):
            tail = buffer[index:]
            if any(len(s) > len(tail) and s.startswith(tail) for s in self._secrets):
                return index
        return len(buffer)

    def _secret_spans(self, buffer: str) -> list[tuple[int, int]]:
        """Return the merged spans of all matches, overlapping ones included, in order."""
        found = [(0, self._covered)] if self._covered else []
        for secret in self._secrets:
            start = buffer.find(secret)
            while start >= 0:
                found.append((start, start + len(secret)))
                start = buffer.find(secret, start + 1)
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged
