"""Decides which part of a line is comment, by the language that a file's name tells."""

from collections.abc import Sequence
from posixpath import basename, splitext
from typing import NamedTuple


class Syntax(NamedTuple):
    """How a language marks comments and quotes."""

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"


_C = Syntax(("//",), (("/*", "*/"),))
# IEC 61131-3 as PLC makers write it: SCL has // and (* *), some also /* */.
_IEC = Syntax(("//",), (("(*", "*)"), ("/*", "*/")))
_HASH = Syntax(("#",))
_MARKUP = Syntax((), (("<!--", "-->"),), quotes="")
_INI = Syntax((";", "#"), quotes="")
_SQL = Syntax(("--",), (("/*", "*/"),))


def _all(syntax: Syntax, endings: str) -> dict[str, Syntax]:
    return dict.fromkeys(endings.split(), syntax)


_BY_ENDING = {
    **_all(
        _C,
        "c h cc cpp cxx hpp cs java js jsx mjs ts tsx go rs swift kt kts scala php proto "
        "gradle groovy dart css scss less jsonc",
    ),
    **_all(_IEC, "scl st awl stl db udt exp iecst pou"),
    **_all(
        _HASH,
        "py pyi sh bash zsh rb pl pm r yaml yml toml conf cfg cnf mk cmake tf hcl ps1 nix env "
        "properties service socket timer",
    ),
    **_all(_MARKUP, "xml html htm xhtml svg xsd xsl xslt l5x md vue aml"),
    **_all(_INI, "ini inf reg asm nc"),
    **_all(_SQL, "sql ddl"),
    "lua": Syntax(("--",), (("--[[", "]]"),)),
    "vb": Syntax(("'",), quotes='"'),
    "bas": Syntax(("'",), quotes='"'),
    "bat": Syntax(("REM ", "rem ", "::"), quotes=""),
}
_BY_NAME = {"makefile": _HASH, "dockerfile": _HASH, "gemfile": _HASH, ".gitignore": _HASH}


def syntax_of(path: str) -> Syntax | None:
    """Tell a file's comment syntax from its name; None when it is not known."""
    name = basename(path).lower()
    return _BY_NAME.get(name) or _BY_ENDING.get(splitext(name)[1][1:])


def without_comments(lines: Sequence[str], syntax: Syntax) -> list[str]:
    """Give each line without its comments; what stands in quotes is none."""
    kept = []
    closing: str | None = None
    for line in lines:
        text, closing = _strip(line, syntax, closing)
        kept.append(text.rstrip() if text != line else line)
    return kept


def _strip(line: str, syntax: Syntax, closing: str | None) -> tuple[str, str | None]:
    """Strip one line; `closing` is the end that an open block comment waits for."""
    kept = []
    position = 0
    quote: str | None = None
    while position < len(line):
        if closing is not None:
            end = line.find(closing, position)
            if end < 0:
                break
            position = end + len(closing)
            closing = None
            continue
        character = line[position]
        if quote:
            # A backslash hides the quote after it.
            width = 2 if character == "\\" else 1
            if character == quote:
                quote = None
            kept.append(line[position : position + width])
            position += width
            continue
        opening = next((pair for pair in syntax.block if line.startswith(pair[0], position)), None)
        if opening:
            position += len(opening[0])
            closing = opening[1]
            continue
        if line.startswith(syntax.line, position):
            break
        if character in syntax.quotes:
            quote = character
        kept.append(character)
        position += 1
    return "".join(kept), closing
