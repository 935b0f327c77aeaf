"""An OpenAPI document as its readers want it: operations by subject, every schema with its fields. Knows no HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_PREFIX: Final = "#/components/schemas/"
_LIMITS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Word:
    """A piece of a type's description; `schema` is what it leads to."""

    text: str
    schema: str = ""


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a schema."""

    name: str
    type: tuple[Word, ...]
    required: bool
    place: str = ""
    """Of a parameter: path, query, header or cookie."""
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What comes back with a status."""

    status: str
    type: tuple[Word, ...]


@dataclass(frozen=True)
class Operation:
    """A method on a path."""

    id: str
    method: str
    path: str
    text: str
    parameters: tuple[Field, ...]
    body: tuple[Word, ...]
    body_kind: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Described:
    """A schema that operations name."""

    name: str
    text: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Reference:
    """All of the interface."""

    title: str
    version: str
    summary: str
    subjects: Mapping[str, tuple[Operation, ...]]
    schemas: tuple[Described, ...]


def reference_of(document: Schema) -> Reference:
    """Return what the OpenAPI document `document` says."""
    subjects: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            subject = next(iter(one.get("tags", ())), "")
            subjects.setdefault(subject, []).append(_operation(path, method, one))
    schemas = document.get("components", {}).get("schemas", {})
    info = document["info"]
    return Reference(
        title=info["title"],
        version=info["version"],
        summary=info.get("summary", ""),
        subjects={subject: tuple(operations) for subject, operations in subjects.items()},
        schemas=tuple(_described(name, schema) for name, schema in sorted(schemas.items())),
    )


def _operation(path: str, method: str, one: Schema) -> Operation:
    content: Mapping[str, Schema] = one.get("requestBody", {}).get("content", {})
    kind, body = next(iter(content.items())) if content else ("", {})
    return Operation(
        id=one["operationId"],
        method=method.upper(),
        path=path,
        text=one.get("description") or one.get("summary", ""),
        parameters=tuple(_parameter(parameter) for parameter in one.get("parameters", ())),
        body=_type(body["schema"]) if "schema" in body else (),
        body_kind=kind,
        answers=tuple(_answers(one.get("responses", {}))),
    )


def _answers(responses: Mapping[str, Schema]) -> Iterator[Answer]:
    for status, response in responses.items():
        if status.isdigit():  # errors are alike everywhere, and said once
            content = response.get("content", {})
            schema = next((one["schema"] for one in content.values() if one.get("schema")), None)
            yield Answer(status, _type(schema) if schema else ())


def _parameter(parameter: Schema) -> Field:
    schema = parameter.get("schema", {})
    return Field(
        parameter["name"],
        _type(schema),
        bool(parameter.get("required")),
        parameter["in"],
        _note(schema, parameter.get("description", "")),
    )


def _described(name: str, schema: Schema) -> Described:
    required = schema.get("required", ())
    fields = tuple(
        Field(field, _type(one), field in required, note=_note(one, one.get("description", "")))
        for field, one in schema.get("properties", {}).items()
    )
    return Described(name, schema.get("description", ""), fields)


def _note(schema: Schema, text: str) -> str:
    """Return the limits of a value, its default, and what is written about it."""
    chosen = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    parts = [words.format(_number(chosen[key])) for key, words in _LIMITS.items() if key in chosen]
    if schema.get("default") is not None:
        parts.append(f"default {schema['default']}")
    return "; ".join([*parts, *([text] if text else [])])


def _number(value: float) -> str:
    return "2^63" if value == 2**63 else f"{value:g}" if value < 1e6 else f"{value:,.0f}"


def _type(schema: Schema) -> tuple[Word, ...]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_PREFIX)
        return (Word(name, name),)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _joined([_type(one) for one in schema[key]], " or ")
    if "const" in schema:
        return (Word(repr(schema["const"])),)
    if "enum" in schema:
        return (Word(" or ".join(repr(value) for value in schema["enum"])),)
    if schema.get("type") == "array":
        return (Word("list of "), *_type(schema.get("items", {})))
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return (Word("object of "), *_type(values)) if isinstance(values, dict) and values else (Word("object"),)
    return (Word(str(schema.get("type", "anything"))),)


def _joined(types: Sequence[tuple[Word, ...]], between: str) -> tuple[Word, ...]:
    words: list[Word] = []
    for one in types:
        words += [*([Word(between)] if words else []), *one]
    return tuple(words)
