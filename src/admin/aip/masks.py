"""Field masks (AIP-134, AIP-161): which fields of a resource an update changes."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from admin.aip.fields import Fields
from usageflow.domain.errors import InvalidArgument

Document = Mapping[str, Any]

_FIX = "name fields such as `match.path`, or `*` for all"
_MAX_PATHS = 100


def merged(
    present: Document,
    wanted: Document,
    paths: Sequence[str],
    fields: Fields,
    fixed: Sequence[str] = ("name",),
) -> dict[str, Any]:
    """Returns ``present`` with the fields that ``paths`` name as they are in ``wanted``; what is absent there gets its default.

    ``*`` names every field, ``fixed`` ones stay. Raises InvalidArgument (field ``update_mask``) for a path that no field has.
    """
    if len(paths) > _MAX_PATHS:
        raise InvalidArgument.of("update_mask", f"names more than {_MAX_PATHS} fields", _FIX)
    if "*" in paths:
        if len(paths) > 1:
            raise InvalidArgument.of("update_mask", "`*` stands beside other fields", "leave one of them out")
        return {**wanted, **{name: present[name] for name in fixed if name in present}}
    result = copy.deepcopy(dict(present))
    for path in paths:
        _check(path, present, fields)
        if path not in fixed:
            _copy(result, wanted, path.split("."))
    return result


def _check(path: str, present: Document, fields: Fields) -> None:
    if path not in fields:
        near = difflib.get_close_matches(path[:100], fields, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(sorted(fields))}"
        raise InvalidArgument.of("update_mask", f"there is no field {path[:100]!r}", fix, "UNKNOWN_FIELD")
    *parents, _ = path.split(".")
    node: Any = present
    for step in parents:
        node = node.get(step) if isinstance(node, Mapping) else node
        if isinstance(node, Sequence) and not isinstance(node, str):
            message = f"{path!r} goes into a list, which is changed as a whole"
            raise InvalidArgument.of("update_mask", message, f"name {step!r}, and send all of its items")


def _copy(result: dict[str, Any], wanted: Document, steps: Sequence[str]) -> None:
    step, *rest = steps
    value = wanted.get(step)
    if not rest or not isinstance(value, Mapping):
        if value is None:
            result.pop(step, None)
        else:
            result[step] = value
        return
    inner = result.get(step)
    result[step] = dict(inner) if isinstance(inner, Mapping) else {}
    _copy(result[step], value, rest)
