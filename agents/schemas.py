"""Which JSON Schemas a function may have, which values they take, and what they mark as secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from sites.masking import masked

from .unfolding import REFERENCES, rule_named, size_of

# An engine whose time grows with the text's length alone: a pattern of the backtracking kind, such
# as ^(a+)+$, would keep a web process at work for as long as its author likes.
_PATTERNS = RegexOptions(size_limit=256 * 1024, dfa_size_limit=256 * 1024)
# What a value may take, each in values of the schema times values of the value: to be held against
# the schema, and to have its errors told, which are all made before the first can be read.
MOST_WORK, MOST_TOLD = 5_000_000, 250_000
MOST_ERRORS = 20
# Whose words name parameters only, never what they hold.
_NAMING = frozenset({"required", "additionalProperties", "dependentRequired"})
# Where a schema says what the same value must be besides …
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
# … what the items in a list must be …
_ITEMS = ("items", "prefixItems", "contains", "unevaluatedItems")
# … and what values must be whose names it does not say.
_NAMELESS = ("additionalProperties", "unevaluatedProperties")


def check(schema: Any) -> int:
    """Raise ValueError for a schema that nothing is held against; else give its size.

    That is one beyond the bounds of `unfolding`, one that is no schema, and one with a pattern that
    cannot be matched in linear time.
    """
    size = size_of(schema)
    _compile(schema)
    return size


def _compile(schema: Any) -> Draft202012Validator:
    """Make of a schema what values are held against; ValueError for what is none."""
    try:
        return _validator(schema)
    except ValidationError as error:
        raise ValueError(_of_pattern(error) or error.message[:300]) from None


def _of_pattern(error: ValidationError) -> str:
    """Say what is wrong with a pattern; the library only says that it is none."""
    path = list(error.instance_path)
    if 'is not a "regex"' not in error.message or not path:
        return ""
    pattern = str(error.instance)[:100]
    return (
        f"“{pattern}” is no pattern that can be matched in linear time: "
        "look-around, back-references and very large repetitions are not taken."
    )


def errors_in(
    schema: dict[str, Any], value: Any, *, secret: SecretNames | None = None
) -> list[tuple[str, str]]:
    """Hold a value against a schema: (path, what is wrong) of the first errors.

    The words never hold the value of a secret: what is stored may be another person's. What is too
    large for its schema is refused as a whole, before or after it was asked whether it is valid.
    """
    try:
        work = size_of(schema) * _size(value)
        validator = _compile(schema)
    except ValueError:
        # One that was advertised to a portal that took more.
        return [("", "The function's schema is not one that parameters can be held against.")]
    if work > MOST_WORK:
        return [("", "These are too many values to hold against the function's schema.")]
    if validator.is_valid(value):
        return []
    if work > MOST_TOLD:
        return [("", "These values do not keep to the function's schema; too many to say which.")]
    return [
        (
            ".".join(str(part) for part in error.instance_path),
            _words(error, secret or SecretNames()),
        )
        for error in islice(validator.iter_errors(value), MOST_ERRORS)
    ]


def _size(value: Any) -> int:
    """Count the values in a document, and each 64 letters of a text as one more."""
    size, ahead = 0, [value]
    while ahead:
        part = ahead.pop()
        size += 1
        if isinstance(part, str):
            size += len(part) // 64
        elif isinstance(part, dict):
            ahead.extend(part)
            ahead.extend(part.values())
        elif isinstance(part, list):
            ahead.extend(part)
    return size


def _validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(schema, pattern_options=_PATTERNS, retriever=_fetch_nothing)


def _fetch_nothing(uri: str) -> NoReturn:
    raise LookupError(f"{uri} is not fetched.")


def _words(error: ValidationError, secret: SecretNames) -> str:
    word = error.kind.name
    hidden = any(part in secret for part in error.instance_path) or (
        masked(error.instance, secret.__contains__) != error.instance
    )
    if word in _NAMING or not hidden:
        return error.message[:300]
    return f"This does not keep to “{word}” of the function's schema."


def _aim_of(schema: Any, aim: Any) -> Any:
    """Give the rule that a reference names, None where it names none of the schema's `$defs`."""
    name = rule_named(schema, aim)
    return None if name is None else schema["$defs"][name]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Give every object in a document, however deep it lies."""
    ahead = [schema]
    while ahead:
        part = ahead.pop()
        if isinstance(part, list):
            ahead.extend(part)
        elif isinstance(part, dict):
            yield part
            ahead.extend(part.values())


def _beside(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the rules that a value must keep to as well when it keeps to this one."""
    ahead: list[Any] = [part.get(word) for word in _IN_PLACE]
    ahead += [_aim_of(schema, part.get(word)) for word in REFERENCES]
    dependent = part.get("dependentSchemas")
    ahead += dependent.values() if isinstance(dependent, dict) else ()
    while ahead:
        rule = ahead.pop()
        if isinstance(rule, list):
            ahead.extend(rule)
        elif isinstance(rule, dict):
            yield rule


@dataclass(frozen=True, slots=True)
class SecretNames:
    """The names of the parameters that a schema marks as secret: `name in secret`.

    Some have no name there: `additionalProperties` marks each one but `spared`, `patternProperties`
    each one that a pattern matches. Such a mark counts at every depth: better hidden than shown.
    """

    names: frozenset[str] = frozenset()
    spared: tuple[frozenset[str], ...] = ()
    patterns: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        return (
            name in self.names
            or any(name not in known for known in self.spared)
            or (bool(self.patterns) and isinstance(name, str) and _matches(self.patterns, name))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @classmethod
    def of_all(cls, found: Iterable[SecretNames]) -> SecretNames:
        """Unite what several schemas mark."""
        every = list(found)
        return cls(
            frozenset().union(*(one.names for one in every)),
            tuple({known for one in every for known in one.spared}),
            frozenset().union(*(one.patterns for one in every)),
        )


def secret_names(schema: dict[str, Any]) -> SecretNames:
    """Find the properties that a schema marks as secret, at whatever depth it describes them.

    A property that holds a secret without a name of its own (an item, any further property) is
    secret as a whole.
    """
    names: set[str] = set()
    for part in _parts(schema):
        properties = part.get("properties")
        if isinstance(properties, dict):
            names.update(name for name, rule in properties.items() if _marks(rule, schema))
    spared: set[frozenset[str]] = set()
    patterns: set[str] = set()
    for part in _of_the_same_value(schema, schema):
        if part.get("secret"):
            spared.add(frozenset())
        declared = part.get("properties")
        known = frozenset(declared) if isinstance(declared, dict) else frozenset[str]()
        if any(_marks(part.get(word), schema) for word in _NAMELESS):
            spared.add(known)
        by_pattern = part.get("patternProperties")
        if isinstance(by_pattern, dict):
            patterns.update(text for text, rule in by_pattern.items() if _marks(rule, schema))
    return SecretNames(frozenset(names), tuple(spared), frozenset(patterns))


def _marks(rule: Any, schema: dict[str, Any]) -> bool:
    """Say whether a rule, one that it is put together from, or one for what has no name in it
    says `"secret": true`."""
    ahead: list[Any] = [rule]
    seen: set[int] = set()
    while ahead:
        part = ahead.pop()
        if isinstance(part, list):
            ahead.extend(part)
        elif isinstance(part, dict) and id(part) not in seen:
            seen.add(id(part))
            if part.get("secret"):
                return True
            ahead.extend(_beside(part, schema))
            ahead.extend(part.get(word) for word in (*_ITEMS, *_NAMELESS))
            by_pattern = part.get("patternProperties")
            ahead.extend(by_pattern.values() if isinstance(by_pattern, dict) else ())
    return False


def _of_the_same_value(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ahead, seen = [part], set[int]()
    while ahead:
        rule = ahead.pop()
        if id(rule) not in seen:
            seen.add(id(rule))
            yield rule
            ahead.extend(_beside(rule, schema))


@lru_cache(maxsize=256)
def _taking_none_of(patterns: frozenset[str]) -> Draft202012Validator | None:
    try:
        return _validator({"patternProperties": dict.fromkeys(sorted(patterns), False)})
    except ValueError:
        return None


def _matches(patterns: frozenset[str], name: str) -> bool:
    """Say whether a pattern matches; those that cannot be asked match everything."""
    validator = _taking_none_of(patterns)
    return validator is None or not validator.is_valid({name: None})
