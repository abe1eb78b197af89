"""The JSON schema of policy files, for editors: made from the models, so that it cannot say anything else.

It tells shape only (keys, types, bounds, choices). What needs a second look at the whole file (names that refer to others,
patterns of paths, expressions) is told by `usageflow plan` and `usageflow apply`.
"""

from __future__ import annotations

from typing import Any

from usageflow.domain.expressions import MAX_EXPRESSION
from usageflow.policyfile.descriptions import DESCRIPTIONS
from usageflow.policyfile.schema import NOT_IN_FILES, Document

# The one that editors know best. Nothing that it lacks is used.
_DIALECT = "http://json-schema.org/draft-07/schema#"

_WINDOW = {"type": "string", "pattern": "^([0-9]{1,9}[wdhms])+$", "examples": ["30s", "1h", "7d"]}
_INSTANT = {"type": "string", "examples": ["2026-01-31T00:00:00Z"]}
_NULL = {"type": "null"}
_SPELLINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("Guard", "window"): _WINDOW,
    # Where the window is left to `align` it may also be empty.
    ("Limit", "window"): {"anyOf": [_WINDOW, _NULL]},
    ("Limit", "anchor"): {"anyOf": [_INSTANT, _NULL], "default": None},
    ("CustomerOverride", "expires"): {"anyOf": [_INSTANT, _NULL], "default": None},
}
"""Keys that a validator reads from text, which pydantic cannot see."""

_EXPRESSION = {"type": "string", "pattern": "\\S", "maxLength": MAX_EXPRESSION}
_WINDOW_OR = [
    {"required": ["window"]},
    {"required": ["align"]},
    {"required": ["algorithm"], "properties": {"algorithm": {"const": "CONCURRENCY"}}},
]


def policy_file_schema() -> dict[str, Any]:
    """Returns the schema: JSON Schema draft 7."""
    made = Document.model_json_schema(by_alias=True)
    definitions = made.pop("$defs")
    for model, texts in DESCRIPTIONS.items():
        schema = made if model is Document else definitions[model.__name__]
        _describe(model.__name__, schema, dict(texts))
    _spell_policy(definitions["Policy"])
    _spell_limit(definitions["Limit"])
    for name in sorted(definitions):
        definitions[name].pop("title", None)
    return {"$schema": _DIALECT, **made, "title": "UsageFlow policies", "$defs": definitions}


def _describe(name: str, schema: dict[str, Any], texts: dict[str, str]) -> None:
    schema["description"] = texts.pop("")
    properties = schema["properties"]
    for hidden in NOT_IN_FILES & properties.keys():
        del properties[hidden]
    for key, described in properties.items():
        spelled = _SPELLINGS.get((name, key))
        found = {word: value for word, value in described.items() if word != "title"}
        properties[key] = _with_description(spelled or found, texts[key])


def _with_description(found: dict[str, Any], text: str) -> dict[str, Any]:
    """Returns a field with its sentence. Beside a reference draft 7 reads nothing, so the reference moves into a list."""
    if "$ref" in found:
        found = {"allOf": [{"$ref": found["$ref"]}], **{k: v for k, v in found.items() if k != "$ref"}}
    return {"description": text, **found}


def _spell_policy(schema: dict[str, Any]) -> None:
    """A cost is a number or an expression."""
    cost = schema["properties"]["cost"]
    number = {word: cost.pop(word) for word in ("type", "minimum", "maximum")}
    cost["anyOf"] = [number, _EXPRESSION]
    schema["properties"]["condition"]["maxLength"] = MAX_EXPRESSION


def _spell_limit(schema: dict[str, Any]) -> None:
    """A limit has a window, unless it follows the calendar or counts what is in flight."""
    schema["required"] = [key for key in schema["required"] if key != "window"]
    schema["anyOf"] = _WINDOW_OR
