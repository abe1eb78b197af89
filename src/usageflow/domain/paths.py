"""Raw request paths in one spelling, as RFC 3986 section 6.2.2 says (design: Endpoint and pattern; spec/vectors/paths)."""

from __future__ import annotations

import re

from usageflow.domain.errors import InvalidArgument

MAX_BYTES = 8 * 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SLASHES = re.compile(r"//+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What RFC 3986 lets a path hold as it is; everything else is escaped, so that two spellings of it are one.
_NOT_PATH = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]")
# Most paths are normal already: no escape, no dot segment, no double or trailing slash.
_PLAIN = re.compile(r"/|(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+,;=:@]+)+")


def normalise_path(raw: str) -> str:
    """Returns the normalised path of a request target; a normalised one comes back as it is.

    Query and fragment are dropped, unreserved escapes decoded, other escapes put in upper case (``%2F`` stays), dot
    segments removed, duplicate slashes merged and the trailing slash dropped, in this order. Raises InvalidArgument,
    field ``path``, for what cannot be normalised.
    """
    path = _without_query(raw)
    if len(path) <= MAX_BYTES and _PLAIN.fullmatch(path):
        return path
    _check(path)
    path = _ESCAPE.sub(_normal_escape, _NOT_PATH.sub(_escaped, path))
    path = _SLASHES.sub("/", _without_dots(path))
    if len(path) > MAX_BYTES:
        raise _refused(f"is longer than {MAX_BYTES:,} bytes once it is escaped", "send a shorter path")
    return path.rstrip("/") or "/"


def candidate_paths(raw: str) -> tuple[str, ...]:
    """Returns the paths to match where no route is known: raw without its query, and normalised, without duplicates.

    Raises InvalidArgument, field ``path``, as normalise_path does.
    """
    path, normal = _without_query(raw), normalise_path(raw)
    return (path,) if path == normal else (path, normal)


def _refused(message: str, fix: str) -> InvalidArgument:
    return InvalidArgument.of("path", message, fix)


def _without_query(raw: str) -> str:
    return raw.partition("#")[0].partition("?")[0]


def _check(path: str) -> None:
    if not path.startswith("/"):
        raise _refused("does not begin with a slash", "send the path alone, such as `/users/42`")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise _refused("is not Unicode text", "send the path with its escapes") from None
    if size > MAX_BYTES:
        raise _refused(f"is longer than {MAX_BYTES:,} bytes", "send a shorter path")
    if _CONTROL.search(path) or "%00" in path:
        raise _refused("holds control characters or NUL", "remove them")
    if _BAD_ESCAPE.search(path):
        raise _refused(
            "holds a `%` that two hexadecimal digits do not follow", "write a percent sign as `%25`"
        )


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match[0][1:], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """Removes dot segments (RFC 3986 section 5.2.4); ``..`` above the root is dropped."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)
