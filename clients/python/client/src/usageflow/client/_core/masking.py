"""What hides secrets in whatever is kept of a request (the rules and cases of spec/vectors/masking).

Two things give a secret away: the name that it stands under, and its own shape. Whatever is hidden becomes `***`. Every function is
pure, total and idempotent, and works in time that grows with the text; its results never hold more than the caps say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_plus

MASK = "***"

MAX_NAME_BYTES = 128
MAX_HEADERS = 64
MAX_HEADER_BYTES = 512
MAX_HEADERS_BYTES = 4096
MAX_QUERY_BYTES = 2048
MAX_PARAMETERS = 64


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds of a JSON value: containers in one another, members of each, bytes of each text."""

    depth: int
    members: int
    text_bytes: int


BODY_CAPS = Caps(depth=16, members=100, text_bytes=2048)
METADATA_CAPS = Caps(depth=32, members=10_000, text_bytes=16_384)

_PARTS = (
    *("token", "secret", "password", "passwd", "passphrase", "passcode", "credential", "apikey", "accesskey"),
    *(
        "privatekey",
        "signingkey",
        "encryptionkey",
        "authorization",
        "cookie",
        "sessionid",
        "signature",
        "jwt",
    ),
    *("csrf", "xsrf", "cardnumber", "creditcard"),
)
_WHOLE = frozenset(
    [
        *(
            "auth",
            "bearer",
            "cvc",
            "cvv",
            "cvv2",
            "hmac",
            "iban",
            "key",
            "mfa",
            "otp",
            "pan",
            "pass",
            "pin",
            "pwd",
        ),
        *("sess", "session", "sid", "sig", "ssn", "totp"),
    ]
)
_COUNTED = "tokens"  # total_tokens: 12 says how many there are; it is what language models are billed by

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)"
)
_USER_INFO = re.compile(r"(://)[^/@\s:?#]{0,256}:[^/@\s]{0,1024}@")
_SCHEME = re.compile(
    r"(^|[^A-Za-z0-9])(?:(?:bearer|basic|negotiate)(?:[ \t]|%20|\+)+)+[A-Za-z0-9._~+/=-]{8,}",
    re.IGNORECASE | re.ASCII,
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)*")
_KEY = re.compile(
    r"(^|[^A-Za-z0-9]|%[0-9A-Fa-f]{2})(?:(?:sk|rk|uf|whsec)_[A-Za-z0-9_]{8,}|sk-[A-Za-z0-9_-]{16,}|gh[opsur]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|A[KS]IA[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{30,})"
)
_DIGITS = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_ASSIGNED = re.compile(r"""([A-Za-z0-9_.\[\]-]{1,64})(["']?\s{0,8}([=:])\s{0,8})""", re.ASCII)
_END_OF_WORD = re.compile(r"""[\s&;,"'<>]""", re.ASCII)
_END_OF_LINE = re.compile(r"[\r\n]")
_MOST_PASSES = 8
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain_name(name: str) -> str:
    """Returns a name as names are compared: ASCII letters in lower case and digits, nothing else."""
    return _NOT_IN_NAMES.sub("", name.lower())


def is_secret(name: str, also: Collection[str] = ()) -> bool:
    """Tells whether what stands under a name is a secret; `also` are further plain names."""
    plain = plain_name(name)
    return plain in _WHOLE or plain in also or any(part in plain for part in _PARTS)


def mask_text(text: str) -> str:
    """Returns a text without what looks like a secret. The rules run until none changes anything any more."""
    for _ in range(_MOST_PASSES):
        masked = _masked_once(text)
        if masked == text:
            return text
        text = masked
    return MASK


def mask_headers(headers: Iterable[tuple[str, str]], also: Collection[str] = ()) -> dict[str, str]:
    """Returns header fields by name in lower case; several of one name are joined by commas. What is beyond the caps is left out."""
    joined: dict[str, str] = {}
    for spelled, value in headers:
        name = spelled.lower()
        if 0 < len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    kept: dict[str, str] = {}
    left = MAX_HEADERS_BYTES
    for name, value in joined.items():
        shown = MASK if is_secret(name, also) else _bounded(value, MAX_HEADER_BYTES)
        left -= len(name) + len(shown.encode())
        if left < 0 or len(kept) == MAX_HEADERS:
            break
        kept[mask_text(name)] = shown
    return kept


def mask_query(query: str, also: Collection[str] = ()) -> str:
    """Returns a raw query string, or a body of a form, parameter by parameter; what is beyond the caps is left out."""
    kept: list[str] = []
    left = MAX_QUERY_BYTES + 1
    for parameter in query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        shown = _masked_parameter(parameter, also)
        left -= len(shown.encode()) + 1
        if left < 0:
            break
        kept.append(shown)
    return "&".join(kept)


def mask_path(path: str) -> str:
    """Returns a raw path, segment by segment."""
    return "/".join(map(_masked_piece, path.split("/")))


def mask_json(value: Any, caps: Caps, also: Collection[str] = ()) -> Any:
    """Returns a JSON value: what stands under a secret's name is hidden, texts are masked, containers that are too deep are hidden,
    members beyond the caps are left out.
    """
    return _masked_json(value, caps, also, caps.depth)


def clip(text: str, most_bytes: int) -> str:
    """Returns the longest beginning, of whole characters, that fits in so many bytes of UTF-8."""
    if len(text) * 4 <= most_bytes:
        return text
    return text.encode()[:most_bytes].decode(errors="ignore")


def _masked_once(text: str) -> str:
    text = _SURROGATES.sub("\ufffd", text)
    if "-----BEGIN " in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _SCHEME.sub(rf"\1{MASK}", text)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    text = _KEY.sub(rf"\1{MASK}", text)
    text = _DIGITS.sub(lambda match: _without_cards(match[0]), text)
    return _without_assigned(text) if "=" in text or ":" in text else text


def _without_assigned(text: str) -> str:
    """Hides what texts such as `password=...` and `"secret": "..."` say."""
    kept, at = [], 0
    for match in _ASSIGNED.finditer(text):
        if match.start() < at or not is_secret(match[1]):
            continue
        start, end = _assigned_value(text, match.end(), match[3])
        if start < end:
            kept += [text[at:start], MASK]
            at = end
    return "".join([*kept, text[at:]])


def _assigned_value(text: str, start: int, sign: str) -> tuple[int, int]:
    """Returns where a value begins and ends: with its quote, else after a colon with the line, after an equals sign with the word."""
    mark = text[start : start + 1]
    if mark in ('"', "'"):
        end = text.find(mark, start + 1)
        return start + 1, len(text) if end < 0 else end
    found = (_END_OF_LINE if sign == ":" else _END_OF_WORD).search(text, start)
    return start, len(text) if found is None else found.start()


def _without_cards(run: str) -> str:
    """Hides numbers of payment cards: neighbouring groups of 13 to 19 digits in all that pass the Luhn check."""
    if len(run) < 13:
        return run
    groups = list(re.finditer("[0-9]+", run))
    first = 0
    while first < len(groups):
        last = _card_from(groups, first)
        if last is not None:
            before, after = run[: groups[first].start()], run[groups[last].end() :]
            return before + MASK + _without_cards_behind(after)
        first += 1
    return run


def _without_cards_behind(rest: str) -> str:
    return _DIGITS.sub(lambda match: _without_cards(match[0]), rest)


def _card_from(groups: list[re.Match[str]], first: int) -> int | None:
    """Returns the last group of the card number that begins with a group; None where none does."""
    digits = ""
    for index in range(first, len(groups)):
        digits += groups[index][0]
        if len(digits) > 19:
            return None
        if _is_card(digits):
            return index
    return None


def _is_card(digits: str) -> bool:
    """Tells whether digits are a card's: 13 to 19, the first from 2 to 6 as issuers number them, and Luhn's sum right."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456":
        return False
    odd = sum(map(int, digits[-1::-2]))
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (odd + doubled) % 10 == 0


def _masked_parameter(parameter: str, also: Collection[str]) -> str:
    name, equals, value = parameter.partition("=")
    shown = MASK if value and is_secret(unquote_plus(name), also) else _masked_piece(value)
    return f"{_masked_piece(name)}{equals}{shown}"


def _masked_piece(raw: str) -> str:
    """Masks what is percent-encoded until nothing changes any more: what is left may look like a secret once it is encoded again."""
    for _ in range(_MOST_PASSES):
        masked = _piece_masked_once(raw)
        if masked == raw:
            return raw
        raw = masked
    return MASK


def _piece_masked_once(raw: str) -> str:
    """Masks what is percent-encoded; what holds no secret stays as it was spelled."""
    raw = _SURROGATES.sub("\ufffd", raw)
    plain = unquote_plus(raw)
    masked = mask_text(plain)
    if masked != plain:
        return quote_plus(masked, safe="*")
    return mask_text(raw)


def _bounded(text: str, most_bytes: int) -> str:
    """Returns the masked beginning of a text. Cut off, it may look like another secret, so it is looked at again."""
    masked = mask_text(text)
    while (cut := clip(masked, most_bytes)) != masked:
        masked = mask_text(cut)
    return masked


def _masked_json(value: Any, caps: Caps, also: Collection[str], depth: int) -> Any:
    if isinstance(value, str):
        return _bounded(value, caps.text_bytes)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _masked_number(value)
    if depth <= 0:
        return MASK
    if isinstance(value, Mapping):
        return dict(_masked_members(value, caps, also, depth))
    return [_masked_json(item, caps, also, depth - 1) for item in value[: caps.members]]


def _masked_members(
    value: Mapping[str, Any], caps: Caps, also: Collection[str], depth: int
) -> Iterator[tuple[str, Any]]:
    names = list(value)
    if len(names) > caps.members:
        names = sorted(names)[: caps.members]
    for name in names:
        item = value[name]
        hidden = item is not None and is_secret(name, also) and not _is_count(name, item)
        shown = MASK if hidden else _masked_json(item, caps, also, depth - 1)
        yield _bounded(name, MAX_NAME_BYTES), shown


def _is_count(name: str, value: object) -> bool:
    return isinstance(value, int | float) and plain_name(name).endswith(_COUNTED)


def _masked_number(value: float) -> Any:
    """Numbers of cards are hidden, and what JSON has no numbers for is null."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - only NaN is not itself
            return None
        if not value.is_integer():
            return value
    return MASK if _is_card(str(int(value))) else value
