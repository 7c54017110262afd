"""Which JSON Schemas a function may have, which values they take, and what they mark as secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from sites.masking import masked

# An engine whose time grows with the text's length alone: a pattern of the backtracking kind, such
# as ^(a+)+$, would keep a web process at work for as long as its author likes.
_PATTERNS = RegexOptions(size_limit=1024 * 1024, dfa_size_limit=1024 * 1024)
# Whose words name parameters only, never what they hold.
_NAMING = frozenset({"required", "additionalProperties", "dependentRequired"})
# Where a schema says what the same value must be besides …
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
# … what the items in a list must be …
_ITEMS = ("items", "prefixItems", "contains", "unevaluatedItems")
# … and what values must be whose names it does not say.
_NAMELESS = ("additionalProperties", "unevaluatedProperties")


def check(schema: Any) -> None:
    """Raise ValueError for a schema that no value can be held against, or not in linear time."""
    _follow_all(schema)
    try:
        _validator(schema)
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
    """Hold a value against a schema: (path, what is wrong) of each error.

    The words never hold the value of a secret: what is stored may be another person's.
    """
    if _goes_round(schema):
        return [("", "The function's schema contains itself without end.")]
    try:
        validator = _validator(schema)
    except ValueError:
        # One that was advertised to a portal that took more.
        return [("", "The function's schema is not one that parameters can be held against.")]
    return [
        (
            ".".join(str(part) for part in error.instance_path),
            _words(error, secret or SecretNames()),
        )
        for error in validator.iter_errors(value)
    ]


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


def _follow_all(schema: Any) -> None:
    for part in _parts(schema):
        for word in ("$ref", "$dynamicRef"):
            aim = part.get(word)
            if isinstance(aim, str) and _aim_of(schema, aim) is None:
                # Nothing is ever fetched for a schema.
                raise ValueError(
                    f"{aim[:100]} is not the name of one of its $defs, as #/$defs/name."
                )


def _aim_of(schema: Any, aim: Any) -> Any:
    """Give the rule that a reference names, None where it names none of the schema's `$defs`."""
    rules = schema.get("$defs") if isinstance(schema, dict) else None
    match aim.split("/") if isinstance(aim, str) else None:
        case ["#", "$defs", name] if isinstance(rules, dict):
            return rules.get(name)
    return None


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
    ahead += [_aim_of(schema, part.get(word)) for word in ("$ref", "$dynamicRef")]
    dependent = part.get("dependentSchemas")
    ahead += dependent.values() if isinstance(dependent, dict) else ()
    while ahead:
        rule = ahead.pop()
        if isinstance(rule, list):
            ahead.extend(rule)
        elif isinstance(rule, dict):
            yield rule


def _goes_round(schema: Any) -> bool:
    """Say whether a rule comes back to itself without going deeper into the value."""
    done: set[int] = set()
    for start in _parts(schema):
        way: list[tuple[dict[str, Any], Iterator[dict[str, Any]]]] = [
            (start, _beside(start, schema))
        ]
        while way:
            part, ahead = way[-1]
            following = next((rule for rule in ahead if id(rule) not in done), None)
            if following is None:
                done.add(id(part))
                way.pop()
            elif any(following is before for before, _ in way):
                return True
            else:
                way.append((following, _beside(following, schema)))
    return False


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
