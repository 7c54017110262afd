"""How large a JSON Schema is with each `$ref` written out, and how large one may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

MOST_BYTES = 64 * 1024
# Both with each reference written out.
MOST_VALUES, MOST_LEVELS = 5_000, 60
# How many other values of a schema a pattern takes as long as: each is compiled, and held against
# a text letter by letter.
PATTERN = 50
# What stands beside these words is gone through again for each of them.
_AGAIN = ("unevaluatedProperties", "unevaluatedItems")
_AGAIN_FACTOR = 3
REFERENCES = ("$ref", "$dynamicRef")
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(slots=True)
class _Extent:
    """How large one document is by itself, and the references in it: (name, level, times)."""

    values: int = 0
    levels: int = 0
    references: list[tuple[str, int, int]] = field(default_factory=list)


def rule_named(schema: Any, aim: Any) -> str | None:
    """Give the name in `$defs` that a reference means, None where it means none of them.

    A name that is written with an escape is taken for none: it could be read as two names.
    """
    rules = schema.get("$defs") if isinstance(schema, dict) else None
    match aim.split("/") if isinstance(aim, str) else None:
        case ["#", "$defs", name] if isinstance(rules, dict):
            return name if name in rules and not {"~", "%"} & set(name) else None
    return None


def size_of(schema: Any) -> int:
    """Count the values of a schema with each `$ref` written out, a pattern as fifty of them.

    Takes time in proportion to the schema's text. ValueError says which bound it goes beyond: a
    reference that comes back to itself, however far down, is beyond each.
    """
    rules = schema.get("$defs") if isinstance(schema, dict) else None
    rules = rules if isinstance(rules, dict) else {}
    extents = {name: _extent(rule, schema) for name, rule in rules.items()}
    whole = _extent(
        {word: value for word, value in schema.items() if word != "$defs" or not rules}
        if isinstance(schema, dict)
        else schema,
        schema,
        root=True,
    )
    # Only now: deeper ones could not be written.
    written = json.dumps(schema, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(written) > MOST_BYTES:
        raise ValueError(f"It is larger than {MOST_BYTES // 1024} KiB.")
    return _written_out(whole, extents)


def _written_out(whole: _Extent, extents: dict[str, _Extent]) -> int:
    graph = {name: {aim for aim, _, _ in one.references} for name, one in extents.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        name = str(error.args[1][0])[:100]
        raise ValueError(
            f"#/$defs/{name} contains itself: write out as many levels as there may be."
        ) from None
    values: dict[str, int] = {}
    levels: dict[str, int] = {}

    def add(one: _Extent) -> tuple[int, int]:
        return (
            one.values + sum(times * values[name] for name, _, times in one.references),
            max((at + levels[name] for name, at, _ in one.references), default=0),
        )

    total, deepest = 0, 0
    for name in order:
        values[name], below = add(extents[name])
        levels[name] = max(extents[name].levels, below)
        _refuse_beyond(values[name], levels[name])
        total, deepest = total + values[name], max(deepest, levels[name])
    its, below = add(whole)
    total, deepest = total + its, max(deepest, whole.levels, below)
    _refuse_beyond(total, deepest)
    return total


def _refuse_beyond(values: int, levels: int) -> None:
    if levels > MOST_LEVELS:
        raise ValueError(f"With each $ref written out, it has more than {MOST_LEVELS} levels.")
    if values > MOST_VALUES:
        raise ValueError(
            f"With each $ref written out, it has more than {MOST_VALUES:,} values "
            f"(a pattern counts as {PATTERN})."
        )


def _extent(document: Any, schema: Any, *, root: bool = False) -> _Extent:
    """Measure a document without what its references mean.

    ValueError for a reference to anything but the schema's own `$defs`, and for a part that says
    that references in it are to be read otherwise.
    """
    found = _Extent()
    ahead: list[tuple[Any, int, int]] = [(document, 1, 1)]
    while ahead:
        part, level, times = ahead.pop()
        found.levels = max(found.levels, level)
        _refuse_beyond(0, level)
        found.values += times
        if isinstance(part, list):
            ahead.extend((item, level + 1, times) for item in part)
        elif isinstance(part, dict):
            _refuse_another_reading(part, root=root and level == 1)
            times *= _AGAIN_FACTOR ** sum(word in part for word in _AGAIN)
            found.values += times * PATTERN * _patterns(part)
            found.references += ((name, level, times) for name in _names(part, schema))
            ahead.extend((item, level + 1, times) for item in part.values())
    return found


def _refuse_another_reading(part: dict[str, Any], *, root: bool) -> None:
    if isinstance(part.get("$id"), str) and not root:
        raise ValueError("Only the whole schema can have an $id.")
    draft = part.get("$schema")
    if isinstance(draft, str) and draft.rstrip("#") != _DRAFT:
        raise ValueError(f"{draft[:100]} is not {_DRAFT}.")


def _names(part: dict[str, Any], schema: Any) -> Iterator[str]:
    for word in REFERENCES:
        aim = part.get(word)
        if isinstance(aim, str):
            name = rule_named(schema, aim)
            if name is None:
                # Nothing is ever fetched for a schema.
                raise ValueError(
                    f"{aim[:100]} is not the name of one of its $defs, as #/$defs/name."
                )
            yield name


def _patterns(part: dict[str, Any]) -> int:
    by_pattern = part.get("patternProperties")
    return isinstance(part.get("pattern"), str) + (
        len(by_pattern) if isinstance(by_pattern, dict) else 0
    )
