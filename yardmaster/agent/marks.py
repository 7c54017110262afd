"""Which values of a run are secret by their name: those that its schema marks, or their look.

The portal has the same rule for what it shows. Here it stands again, since secrets are taken out
before anything leaves this machine and the agent is installed without the portal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_LOOKS_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|private.?key|api.?key|community|authoriz",
    re.IGNORECASE,
)
# Where a schema says what the same value must be besides, what the items of a list must be, and
# what values must be whose names it does not say.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_ITEMS = ("items", "prefixItems", "contains", "unevaluatedItems")
_NAMELESS = ("additionalProperties", "unevaluatedProperties")


def looks_secret(name: str) -> bool:
    """Guess from its name whether a value is a secret, where no schema says so."""
    return bool(_LOOKS_SECRET.search(name))


def marked_in(schema: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return what says whether a schema marks a name as secret.

    A mark counts at every depth. Where one is on properties that have no name in the schema, each
    name is secret that the schema does not say; where it is on a pattern, each that matches.
    """
    names: set[str] = set()
    for part in _parts(schema):
        names.update(name for name, rule in _rules(part, "properties") if _marks(rule, schema))
    spared: list[set[str]] = []
    patterns: list[str] = []
    for part in _with_those_beside([schema], schema):
        known = {name for name, _ in _rules(part, "properties")}
        if part.get("secret"):
            spared.append(set())
        if any(_marks(part.get(word), schema) for word in _NAMELESS):
            spared.append(known)
        patterns += (
            text for text, rule in _rules(part, "patternProperties") if _marks(rule, schema)
        )
    return lambda name: (
        name in names
        or any(name not in known for known in spared)
        or any(_matches(pattern, name) for pattern in patterns)
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        # The portal's patterns are spelled otherwise in places: better hidden than sent.
        return True


def _rules(part: Mapping[str, Any], word: str) -> Iterable[tuple[str, Any]]:
    found = part.get(word)
    return found.items() if isinstance(found, Mapping) else ()


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    ahead = [schema]
    while ahead:
        part = ahead.pop()
        if isinstance(part, Mapping):
            yield part
            ahead.extend(part.values())
        elif isinstance(part, list | tuple):
            ahead.extend(part)


def _marks(rule: Any, schema: Mapping[str, Any]) -> bool:
    """Say whether a rule, or one for what has no name in it, says `"secret": true`."""

    def nameless(part: Mapping[str, Any]) -> Iterator[Any]:
        yield from (part.get(word) for word in (*_ITEMS, *_NAMELESS))
        yield from (rule for _, rule in _rules(part, "patternProperties"))

    return any(part.get("secret") for part in _with_those_beside([rule], schema, nameless))


def _with_those_beside(
    rules: Iterable[Any],
    schema: Mapping[str, Any],
    further: Callable[[Mapping[str, Any]], Iterable[Any]] = lambda part: (),
) -> Iterator[Mapping[str, Any]]:
    """Give the rules, those that the same value must keep to, and what `further` finds in each."""
    ahead, seen = list(rules), set[int]()
    while ahead:
        part = ahead.pop()
        if isinstance(part, list | tuple):
            ahead.extend(part)
        elif isinstance(part, Mapping) and id(part) not in seen:
            seen.add(id(part))
            yield part
            ahead.extend(part.get(word) for word in _IN_PLACE)
            ahead.extend(_named(part.get(word), schema) for word in ("$ref", "$dynamicRef"))
            ahead.extend(rule for _, rule in _rules(part, "dependentSchemas"))
            ahead.extend(further(part))


def _named(aim: Any, schema: Mapping[str, Any]) -> Any:
    """Return the rule of `$defs` that a reference names."""
    name = aim.removeprefix("#/$defs/") if isinstance(aim, str) else ""
    return dict(_rules(schema, "$defs")).get(name)
