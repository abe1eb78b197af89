"""Alert rules and the destinations of their messages, as people declare them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer

from usageflow.domain.declared import Declared, Flag
from usageflow.domain.durations import format_window, parse_window
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.policies import Name
from usageflow.domain.templates import canonical_template

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
MAX_DESTINATIONS = 10
ENV_PREFIX = "USAGEFLOW_ALERT_"
"""Of the variables that a destination may name: no other secret of the environment can be sent anywhere."""

_REFERENCE = re.compile(rf"env:({ENV_PREFIX}[A-Z0-9_]{{1,100}})")
_CLEAR_SHARE = 0.9


class AlertKind(StrEnum):
    """What a rule watches."""

    ERROR_RATE = "ERROR_RATE"
    P95 = "P95"
    SILENCE = "SILENCE"
    DENIALS = "DENIALS"
    QUOTA = "QUOTA"


class AlertMeasure(StrEnum):
    """How denials are measured: in percent of the requests, or as a number."""

    SHARE = "SHARE"
    COUNT = "COUNT"


class Severity(StrEnum):
    """How bad it is, for whoever is woken."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


def _read(value: object) -> object:
    return parse_window(value) if isinstance(value, str) else value


_Span = Annotated[int, BeforeValidator(_read), PlainSerializer(format_window, when_used="json")]
_Number = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
_Level = Annotated[int, Field(ge=1, le=100, strict=True)]


class AlertRule(Declared):
    """What is watched, from when on it is an alert, and who is told.

    ``threshold`` is in percent (ERROR_RATE, DENIALS by share), milliseconds (P95) or requests (DENIALS by count); QUOTA has ``levels``
    in percent of the limit, SILENCE only its window. An alert fires where the threshold was reached for ``pending_for`` without a break, and clears
    where the value was below ``clear_threshold`` (0: 90 % of the threshold, or of the level) for ``keep_firing_for``.
    """

    name: Name
    kind: AlertKind
    endpoint: Annotated[str, Field(max_length=2048)] = ""
    policy: Annotated[str, Field(max_length=63)] = ""
    limit_name: Annotated[str, Field(max_length=63)] = ""
    customer: Annotated[str, Field(max_length=63)] = ""
    measure: AlertMeasure = AlertMeasure.SHARE
    threshold: _Number = 0.0
    clear_threshold: _Number = 0.0
    levels: Annotated[tuple[_Level, ...], Field(max_length=10)] = ()
    window_us: Annotated[_Span, Field(alias="window", ge=MINUTE_US, le=DAY_US)] = 5 * MINUTE_US
    min_requests: Annotated[int, Field(ge=1, le=10**9, strict=True)] = 20
    pending_for_us: Annotated[_Span, Field(alias="pending_for", ge=0, le=DAY_US)] = 0
    keep_firing_for_us: Annotated[_Span, Field(alias="keep_firing_for", ge=0, le=DAY_US)] = MINUTE_US
    severity: Severity = Severity.WARNING
    destinations: Annotated[tuple[Name, ...], Field(max_length=MAX_DESTINATIONS)] = ()
    enabled: Flag = True

    @property
    def unit(self) -> str:
        """Returns what its values and thresholds are measured in."""
        if self.kind is AlertKind.P95:
            return "ms"
        if self.kind is AlertKind.SILENCE:
            return "s"
        return "requests" if self.measure is AlertMeasure.COUNT else "%"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Returns the thresholds, each of which is an alert of its own; that of SILENCE is its window in seconds."""
        if self.kind is AlertKind.QUOTA:
            return tuple(float(level) for level in sorted(set(self.levels or (50, 80, 100))))
        return (self.window_us / 1e6,) if self.kind is AlertKind.SILENCE else (self.threshold,)

    def clears_below(self, threshold: float) -> float:
        """Returns the value below which an alert of a threshold clears."""
        return min(self.clear_threshold or threshold * _CLEAR_SHARE, threshold)


class DestinationType(StrEnum):
    """What is sent: our own JSON with a signature, or what Slack takes."""

    WEBHOOK = "WEBHOOK"
    SLACK = "SLACK"


class AlertDestination(Declared):
    """Where alerts are sent. ``url`` is https, or ``env:NAME``: then the variable of that name holds it. ``secret_version`` and
    ``rotated_us`` belong to the service, and so does ``disabled_reason``.
    """

    name: Name
    type: DestinationType = DestinationType.WEBHOOK
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    enabled: Flag = True
    secret_version: Annotated[int, Field(ge=1)] = 1
    rotated_us: int = 0
    disabled_reason: str = ""

    @property
    def shown_url(self) -> str:
        """Returns what answers and logs may tell: whoever has a Slack address may write to the channel."""
        return masked_url(self.url)


def variable_of(url: str) -> str:
    """Returns the variable that holds the address, "" where the url is the address itself."""
    found = _REFERENCE.fullmatch(url)
    return found.group(1) if found else ""


def masked_url(url: str) -> str:
    """Returns an address without what may be a secret in it: path, query and user."""
    if variable_of(url):
        return url
    parts = urlsplit(url)
    rest = "/..." if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{rest}"


def destination_faults(destination: AlertDestination, *, allow_http: bool = False) -> Iterator[Fault]:
    """Yields what is wrong with a destination's address; plain http is for receivers in private networks, where these are allowed."""
    if variable_of(destination.url):
        return
    fix = (
        f"write https://HOST/PATH, or env:{ENV_PREFIX}NAME and set that variable where the meter service runs"
    )
    try:
        parts = urlsplit(destination.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if not host or parts.scheme not in ({"https", "http"} if allow_http else {"https"}):
        yield Fault("url", "is no https address", fix, "ADDRESS")
    elif parts.username or parts.password or not destination.url.isascii() or " " in destination.url:
        yield Fault("url", "holds a user, a space or a character that is not ASCII", fix, "ADDRESS")


_SCOPES = {
    AlertKind.ERROR_RATE: ("endpoint", "policy"),
    AlertKind.P95: ("endpoint", "policy"),
    AlertKind.SILENCE: ("endpoint", "policy"),
    AlertKind.DENIALS: ("endpoint", "policy"),
    AlertKind.QUOTA: ("policy", "limit_name", "customer"),
}
_ALL_SCOPES = ("endpoint", "policy", "limit_name", "customer")


def rule_faults(rule: AlertRule) -> Iterator[Fault]:
    """Yields what does not fit together in a rule; fields are named below the rule."""
    scopes = _SCOPES[rule.kind]
    for field in _ALL_SCOPES:
        if getattr(rule, field) and field not in scopes:
            fix = f"leave it out; {rule.kind} may be about {', '.join(scopes)}"
            yield Fault(field, f"means nothing to a rule of kind {rule.kind}", fix, "SCOPE")
    if rule.limit_name and not rule.policy:
        yield Fault("limit_name", "has no policy", "name the policy whose limit it is", "SCOPE")
    if len(set(rule.destinations)) != len(rule.destinations):
        yield Fault("destinations", "names one twice", "name each once", "DUPLICATE")
    if rule.endpoint:
        yield from _endpoint_faults(rule.endpoint)
    yield from _threshold_faults(rule)


def _endpoint_faults(endpoint: str) -> Iterator[Fault]:
    method, _, template = endpoint.partition(" ")
    try:
        canonical = f"{method.upper()} {canonical_template(template)}"
    except InvalidArgument as error:
        first = error.faults[0]
        yield Fault("endpoint", first.message, "write such as GET /users/{id}")
        return
    if canonical != endpoint:
        yield Fault("endpoint", f"{endpoint[:100]!r} is not how it is counted", f"write {canonical[:200]!r}")


def _threshold_faults(rule: AlertRule) -> Iterator[Fault]:
    plain = rule.kind in (AlertKind.ERROR_RATE, AlertKind.P95, AlertKind.DENIALS)
    if plain and not rule.threshold:
        yield Fault("threshold", "is missing", f"say from how many {rule.unit} on it is an alert")
    if not plain and rule.threshold:
        fix = (
            "leave it out: the window says it"
            if rule.kind is AlertKind.SILENCE
            else "use levels, such as 50, 80, 100"
        )
        yield Fault("threshold", f"means nothing to a rule of kind {rule.kind}", fix)
    if plain and rule.unit == "%" and rule.threshold > 100:
        yield Fault("threshold", "is more than 100 %", "write a percentage, from above 0 to 100")
    if rule.levels and rule.kind is not AlertKind.QUOTA:
        yield Fault("levels", f"mean nothing to a rule of kind {rule.kind}", "use threshold")
    if rule.measure is AlertMeasure.COUNT and rule.kind is not AlertKind.DENIALS:
        yield Fault("measure", "COUNT is for DENIALS", "leave it out")
    if rule.clear_threshold > min(rule.thresholds):
        yield Fault(
            "clear_threshold",
            "is above the threshold",
            "write a lower number, or 0 for 90 % of the threshold",
        )
