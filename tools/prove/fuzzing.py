"""Random requests of a contract: every field may be absent, good, nearly good or nonsense."""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

WORDS = (
    *(
        "demo",
        "transactions",
        "by-user",
        "acme",
        "pro",
        "user-1",
        "cus_1",
        "price_1",
        "stripe_usage",
        "default",
    ),
    *("GET /users/{id}", "/api/*", "/api/transactions", "GET", "*", "/", "1h", "0", "1", "2", "start"),
    *("name", "limits", "match.path", "match", "sources", "identities", "overrides", "guard.window"),
    *(
        'name = "a*"',
        "priority > 1 OR -mode:SHADOW",
        "NOT (",
        'identity = "user-1"',
        "update_time desc",
        "limits.limit: 5",
    ),
    *(
        "true && request.method == 'GET'",
        "double(request.body.n)",
        "hash:0123456789ab",
        "https://a.example/jwks",
    ),
    *("RS256", "bearer", "cookie:sid", "Europe/Berlin", "AAAA", "W10", "\0", "é☂", "x" * 600),
)

_MAX_DEPTH = 5
_TEXTS = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
_SMALL = st.one_of(st.integers(0, 120), st.sampled_from([1000, 3600, 2**31 - 1]))
_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 12),
}


@st.composite
def requests(draw: st.DrawFn, descriptor: Any, depth: int = 0) -> Any:
    """Draws a message of a type; what names things names existing ones more often than not."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(_is_set(field, depth)):
            continue
        if field.is_repeated:
            _extend(draw, message, field, depth)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            inner = draw(requests(field.message_type, depth + 1)) if depth < _MAX_DEPTH else None
            if inner is not None:
                getattr(message, field.name).CopyFrom(inner)
        else:
            setattr(message, field.name, draw(_scalar(field)))
    return message


def _is_set(field: FieldDescriptor, depth: int) -> st.SearchStrategy[bool]:
    likely = field.name in ("application", "name", "path", "limit", "match") or not depth
    return st.sampled_from([True, True, True, False]) if likely else st.sampled_from([True, False, False])


def _extend(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    entries = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return
    for _ in range(draw(st.integers(0, 3)) if depth < _MAX_DEPTH else 0):
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            entries.add().CopyFrom(draw(requests(field.message_type, depth + 1)))
        else:
            entries.append(draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.name == "application":
        return st.sampled_from([*["demo"] * 9, "", "nobody", "\0"])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXTS
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats()
    return _number(field)


def _number(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    low, high = _BOUNDS[field.cpp_type]
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return st.integers(low, high)
    return st.one_of(_SMALL, st.integers(low, high))
