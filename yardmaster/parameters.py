"""How the typed parameters of a Python function become a JSON Schema, and values become those.

| annotation | JSON Schema |
|---|---|
| `str`, `int`, `float`, `bool` | string, integer, number, boolean |
| `Literal["a", "b"]` | enum |
| `list[T]` | array of T |
| `dict[str, T]` | object whose values are T |
| a dataclass | object with its fields |
| `T | None` | T; leaving it out gives the default |
| `Secret` | string that is shown to no person and masked in logs |
| `Annotated[T, "words"]`, `Annotated[T, Field(…)]` | T with a description, a title, bounds |
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[type, tuple[str, str]] = {
    str: ("string", "a text"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
    bool: ("boolean", "true or false"),
}


class WrongValue(ValueError):
    """A value that a parameter's type does not take; the message names the parameter."""


class Field:
    """What a form says of a parameter, and which values it takes.

    `rules` are JSON Schema's own words for bounds: `Field("Line", minimum=1, maximum=9)`.
    """

    def __init__(self, title: str = "", description: str = "", **rules: Any) -> None:
        words = {"title": title, "description": description}
        self.rules = {**{name: text for name, text in words.items() if text}, **rules}


Secret = Annotated[str, Field(secret=True)]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its type and what it is when it was not given."""

    name: str
    kind: Any
    default: Any
    schema: Mapping[str, Any]

    @property
    def required(self) -> bool:
        """Return whether it has no default."""
        return self.default is inspect.Parameter.empty


def parameters_of(body: Callable[..., Any], skip: int) -> tuple[Parameter, ...]:
    """Return the parameters of a function after its first `skip`.

    Raises TypeError for one whose type no schema can say: found when the tool is loaded, not
    when a run comes.
    """
    signature = list(inspect.signature(body).parameters.values())[skip:]
    for one in signature:
        if one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY}:
            raise TypeError(f"{body.__qualname__}: “{one}” is no parameter that a job can name.")
    words = described_in(inspect.getdoc(body) or "")
    hints = _hints(body, [one.name for one in signature])
    return tuple(_parameter(body, one, hints, words) for one in signature)


def schema_of(parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these parameters and no others."""
    schema: dict[str, Any] = {
        "$schema": SCHEMA,
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: dict(one.schema) for one in parameters},
    }
    required = [one.name for one in parameters if one.required]
    return {**schema, "required": required} if required else schema


def values_of(parameters: tuple[Parameter, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a function is called with, or raise WrongValue.

    The portal holds values against the schema; that they have the right type is seen to here
    again, since a function must not be handed what its annotations deny.
    """
    unknown = sorted(set(given) - {one.name for one in parameters})
    if unknown:
        raise WrongValue(f"There is no parameter “{unknown[0]}”.")
    values = {}
    for one in parameters:
        # JSON has no "absent": a form sends null for what was left empty.
        if given.get(one.name) is None and not one.required:
            values[one.name] = one.default
        elif one.name not in given:
            raise WrongValue(f"The parameter “{one.name}” is missing.")
        else:
            values[one.name] = _value(one.kind, given[one.name], one.name)
    return values


def described_in(docstring: str) -> dict[str, str]:
    """Return what the `Args:` part of a docstring says of each parameter."""
    _, _, part = docstring.partition("\nArgs:\n")
    found: dict[str, str] = {}
    name = ""
    for line in part.splitlines():
        if line and not line.startswith(" "):
            break
        if begins := re.match(r" {4}(\w+)(?: \([^)]*\))?: *(.*)", line):
            name, found[begins[1]] = begins[1], begins[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _hints(body: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    # Only the parameters': what else a signature names may be known to a type checker alone.
    own = {name: hint for name, hint in body.__annotations__.items() if name in names}
    holder = types.SimpleNamespace(__annotations__=own)
    try:
        return get_type_hints(
            holder, globalns=getattr(body, "__globals__", {}), include_extras=True
        )
    except NameError as error:
        raise TypeError(f"{body.__qualname__}: a parameter's type is not known: {error}.") from None


def _parameter(
    body: Callable[..., Any],
    one: inspect.Parameter,
    hints: Mapping[str, Any],
    words: Mapping[str, str],
) -> Parameter:
    where = f"{body.__qualname__}: the parameter “{one.name}”"
    if one.name not in hints:
        raise TypeError(f"{where} has no type.")
    schema = _schema(hints[one.name], where)
    if one.name in words:
        schema.setdefault("description", words[one.name])
    return Parameter(one.name, hints[one.name], one.default, _with_default(schema, one.default))


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """Return a schema that says the default, unless it says nothing or is a secret."""
    if default is inspect.Parameter.empty or default is None or schema.get("secret"):
        return schema
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        default = dataclasses.asdict(default)
    return {**schema, "default": default}


def _split(kind: Any) -> tuple[Any, dict[str, Any], bool]:
    """Return a type without its notes and without None, what the notes say, and whether None."""
    rules: dict[str, Any] = {}
    optional = False
    while True:
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            for note in notes:
                said = note.rules if isinstance(note, Field) else {}
                rules = {**({"description": note} if isinstance(note, str) else said), **rules}
        elif get_origin(kind) in {Union, types.UnionType}:
            others = [one for one in get_args(kind) if one is not type(None)]
            if len(others) != 1:
                return kind, rules, optional
            kind, optional = others[0], True
        else:
            return kind, rules, optional


def _schema(kind: Any, where: str) -> dict[str, Any]:
    plain, rules, _ = _split(kind)
    return {**_bare_schema(plain, where), **rules}


def _bare_schema(kind: Any, where: str) -> dict[str, Any]:
    if isinstance(kind, type) and kind in _PLAIN:
        return {"type": _PLAIN[kind][0]}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": _schema(inner[0], where)}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema(inner[1], where)}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = tuple(_fields(kind, where))
        schema = schema_of(fields)
        del schema["$schema"]
        return schema
    raise TypeError(
        f"{where} has the type {kind}, which no JSON Schema is made of. There are str, int, float,"
        " bool, Literal, list[…], dict[str, …], dataclasses, Secret, and each of them or None."
    )


def _fields(kind: type, where: str) -> Iterator[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            default = inspect.Parameter.empty
        schema = _schema(hints[field.name], f"{where}, field “{field.name}”")
        yield Parameter(field.name, hints[field.name], default, _with_default(schema, default))


def _value(kind: Any, value: Any, name: str) -> Any:
    plain, _, optional = _split(kind)
    if value is None and optional:
        return None
    origin, inner = get_origin(plain), get_args(plain)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in inner):
            raise WrongValue(
                f"The parameter “{name}” has to be one of {', '.join(map(str, inner))}."
            )
        return value
    if origin is list:
        if not isinstance(value, list):
            raise WrongValue(f"The parameter “{name}” has to be a list.")
        return [_value(inner[0], item, name) for item in value]
    if origin is dict or (isinstance(plain, type) and dataclasses.is_dataclass(plain)):
        if not isinstance(value, Mapping):
            raise WrongValue(f"The parameter “{name}” has to be an object.")
        if origin is dict:
            return {str(key): _value(inner[1], item, name) for key, item in value.items()}
        try:
            return plain(**values_of(tuple(_fields(plain, name)), value))
        except WrongValue as error:
            raise WrongValue(f"In “{name}”: {error}") from None
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # JSON Schema takes 5.0 for an integer.
    if plain is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not plain:
        raise WrongValue(f"The parameter “{name}” has to be {_PLAIN[plain][1]}.")
    return value
