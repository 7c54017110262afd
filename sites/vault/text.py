"""Decides what counts as text, in which encoding, and how odd characters in it are shown safely."""

import re
from dataclasses import dataclass

# Above this a text is offered for download instead of being shown or compared.
MAX_TEXT_BYTES = 2 * 1024 * 1024
# Comparing lines costs more than their number: a hundred thousand shuffled ones take over a second.
MAX_TEXT_LINES = 100_000

_LOOKED_AT = 8_000
# An escape colours a log and is no sign of a program.
_CONTROLS = bytes({*range(9), *range(14, 32), 127} - {27})
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# Control characters but tab and newline; and what turns the direction of writing, with which a
# line can be made to read as another.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Text:
    """Decoded text as it is in the file, and the encoding that it was read in."""

    text: str
    encoding: str


def decode(data: bytes) -> Text | None:
    """Decode bytes as text; None when they are binary.

    Tried in this order: a byte order mark, UTF-8, Latin-1. Latin-1 reads anything, so a NUL or
    more than one control character in twenty at the start says binary first.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                return Text(data.decode(encoding), encoding.removesuffix("-sig"))
            except UnicodeDecodeError:
                break
    start = data[:_LOOKED_AT]
    controls = len(start) - len(start.translate(None, _CONTROLS))
    if b"\0" in start or controls * 20 > len(start):
        return None
    try:
        return Text(data.decode(), "utf-8")
    except UnicodeDecodeError:
        return Text(data.decode("latin-1"), "latin-1")


def visible(text: str) -> str:
    """Show control and direction characters as signs, so that none of them acts.

    An escape becomes ␛, a carriage return ␍; what has no sign of its own is named by number.
    """
    return _ODD.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"⟨U+{code:04X}⟩"


def lines(text: str) -> list[str]:
    """Cut text into lines as git does, at line feeds alone; a final one ends the last line."""
    cut = text.split("\n")
    if cut[-1] == "":
        cut.pop()
    return cut
