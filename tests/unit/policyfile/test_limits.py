"""What files say of limits beyond a window: alignment, sliding windows, charges and shares of identities."""

from __future__ import annotations

import pytest

from tests.unit.policyfile.bad_content import HEAD, LIMIT
from usageflow.domain.calendars import Alignment, Calendar, parse_instant
from usageflow.domain.policies import Algorithm, PolicySet
from usageflow.policyfile import PolicyFileError, load

STRATEGY = "\n    strategy: s\nstrategies: [{name: s, sources: [{in: header, name: X-User-Id}]}]\n"

ANCHOR_US = parse_instant("2026-01-31T00:00:00Z")

GOOD = {
    "{limit: 5, align: day}": Calendar(Alignment.DAY),
    "{limit: 5, align: month, time_zone: Europe/Berlin}": Calendar(Alignment.MONTH, "Europe/Berlin"),
    "{limit: 5, align: billing, anchor: 2026-01-31T00:00:00Z}": Calendar(
        Alignment.BILLING, anchor_us=ANCHOR_US
    ),
    "{limit: 5, align: billing, anchor: '2026-01-31T01:00:00+01:00'}": Calendar(
        Alignment.BILLING, anchor_us=ANCHOR_US
    ),
    "{limit: 5, window: 1h, algorithm: SLIDING_WINDOW, charge_denied: true}": None,
}


@pytest.mark.parametrize(("text", "calendar"), GOOD.items(), ids=GOOD)
def test_a_limit_is_read_and_stored_as_it_is_written(text: str, calendar: Calendar | None) -> None:
    loaded = load(LIMIT + text + STRATEGY, filename="f.yaml").policy_set
    (limit,) = loaded.policies[0].limits
    assert limit.calendar == calendar
    assert limit.window_us == (3_600_000_000 if calendar is None else 0)
    assert limit.charge_denied == (limit.algorithm is Algorithm.SLIDING_WINDOW)
    assert PolicySet.model_validate_json(loaded.model_dump_json(by_alias=True)) == loaded


@pytest.mark.parametrize(
    ("text", "life_us"),
    [
        ("{limit: 2, algorithm: CONCURRENCY}", 60_000_000),
        ("{limit: 2, algorithm: CONCURRENCY, window: }", 60_000_000),
        ("{limit: 2, algorithm: CONCURRENCY, window: 5s, scope: IDENTITY_AND_ENDPOINT}", 5_000_000),
        ("{limit: 2, algorithm: CONCURRENCY, window: 1d, scope: SHARED}", 86_400_000_000),
    ],
)
def test_a_limit_at_once_needs_no_window(text: str, life_us: int) -> None:
    loaded = load(LIMIT + text + STRATEGY, filename="f.yaml").policy_set
    (limit,) = loaded.policies[0].limits
    assert (limit.algorithm, limit.limit, limit.window_us) == (Algorithm.CONCURRENCY, 2, life_us)
    assert PolicySet.model_validate_json(loaded.model_dump_json(by_alias=True)) == loaded
    assert limit.model_validate(limit.model_dump()) == limit


def test_a_limit_at_once_takes_one_slot_whatever_a_request_costs() -> None:
    text = LIMIT + "{limit: 2, algorithm: CONCURRENCY}\n    cost: 500" + STRATEGY
    assert load(text, filename="f.yaml").policy_set.policies[0].cost == 500


def test_a_policy_is_enforced_for_everybody_unless_it_says_otherwise() -> None:
    text = (
        HEAD
        + "policies:\n  - {name: p, match: {path: /a}, enforce_percent: 5}\n  - {name: q, match: {path: /a}}\n"
    )
    policies = load(text, filename="f.yaml").policy_set.policies
    assert [policy.enforce_percent for policy in policies] == [5, 100]


BAD = {
    "both": (
        "{limit: 5, window: 1h, align: day}",
        39,
        "a limit has a window or an alignment, not both",
        "remove `window` or `align`",
    ),
    "neither": ("{limit: 5}", 9, "'window' is missing", "add it, such as `window: 1h` or `align: day`"),
    "alignment": (
        "{limit: 5, align: year}",
        27,
        "'align' cannot be \"year\"",
        "write minute, hour, day, week, month or billing",
    ),
    "sliding alignment": (
        "{limit: 5, align: day, algorithm: SLIDING_WINDOW}",
        27,
        "a SLIDING_WINDOW has no aligned windows",
        "write a window, or leave out `algorithm`",
    ),
    "zone": (
        "{limit: 5, align: day, time_zone: Berlin}",
        43,
        "there is no time zone 'Berlin'",
        "write one such as Europe/Berlin or UTC",
    ),
    "zone of a window": (
        "{limit: 5, window: 1h, time_zone: Europe/Berlin}",
        43,
        "only aligned windows have a time zone",
        "write `align: day` instead of a window, or remove it",
    ),
    "billing without anchor": (
        "{limit: 5, align: billing}",
        9,
        "`align: billing` needs the instant that the first billing month began at",
        "add `anchor`, such as 2026-01-31T00:00:00Z",
    ),
    "anchor of a day": (
        "{limit: 5, align: day, anchor: 2026-01-31T00:00:00Z}",
        40,
        "only `align: billing` has an anchor",
        "write `align: billing`, or remove it",
    ),
    "anchor without time": (
        "{limit: 5, align: billing, anchor: 2026-01-31}",
        44,
        "'2026-01-31' is not an instant",
        "write date, time and zone, such as 2026-01-31T00:00:00Z",
    ),
    "anchor out of bounds": (
        "{limit: 5, align: billing, anchor: 2300-01-31T00:00:00Z}",
        44,
        "'anchor' is out of bounds: 2300-01-31T00:00:00Z",
        "it must be a whole second of 1970 to 2200",
    ),
    "anchor as list": (
        "{limit: 5, align: billing, anchor: [1]}",
        44,
        "'anchor' must be an instant, not a list",
        "write one such as 2026-01-31T00:00:00Z",
    ),
    "charge": (
        "{limit: 5, window: 1h, charge_denied: 7}",
        47,
        "'charge_denied' cannot be 7",
        "write true or false",
    ),
    "burst": (
        "{limit: 5, window: 1h, algorithm: SLIDING_WINDOW, burst: 7}",
        66,
        "only a TOKEN_BUCKET has a burst",
        "add `algorithm: TOKEN_BUCKET` or drop burst",
    ),
    "burst at once": (
        "{limit: 5, algorithm: CONCURRENCY, burst: 7}",
        51,
        "only a TOKEN_BUCKET has a burst",
        "add `algorithm: TOKEN_BUCKET` or drop burst",
    ),
    "alignment at once": (
        "{limit: 5, algorithm: CONCURRENCY, align: day}",
        51,
        "a CONCURRENCY has no aligned windows",
        "write a window, or leave out `algorithm`",
    ),
    "charge at once": (
        "{limit: 5, algorithm: CONCURRENCY, charge_denied: true}",
        59,
        "a denied request is not in flight",
        "remove it from this limit",
    ),
    "a life of days": (
        "{limit: 5, algorithm: CONCURRENCY, window: 2d}",
        52,
        "a slot that is never released would stay taken for more than a day",
        "write how long a request may take at most, such as 1m",
    ),
}


@pytest.mark.parametrize(("text", "column", "message", "fix"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_with_its_place_and_fix(text: str, column: int, message: str, fix: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        load(LIMIT + text + STRATEGY, filename="f.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.message, problem.fix) == (7, column, message, fix)


@pytest.mark.parametrize("written", ["101", "-1"])
def test_a_percentage_has_bounds(written: str) -> None:
    text = HEAD + f"policies:\n  - {{name: p, match: {{path: /a}}, enforce_percent: {written}}}\n"
    with pytest.raises(PolicyFileError, match=r"write a whole number from 0 to 100"):
        load(text, filename="f.yaml")
