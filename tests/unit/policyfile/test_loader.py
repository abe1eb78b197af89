"""Good files, places of fields, and files that are large on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from usageflow.domain.errors import Fault
from usageflow.domain.policies import Block, Limit, OnMissing, PolicySet, Trigger
from usageflow.domain.sources import Source
from usageflow.policyfile import PolicyFileError, load

EXAMPLE = Path(__file__).parents[3] / "examples" / "usageflow.yaml"

TEXT = """\
version: 1
application: demo
strategies:
  - name: by-user
    sources:
      - {in: header, name: X-User-Id}
policies:
  - name: a
    match: {methods: [POST], path: /a}
    strategy: by-user
    limits:
      - {name: hourly, limit: 1_00, window: 1h30m}
    metering:
blocks:
  - {path: /b, identity: "9"}
"""


def test_a_file_becomes_models() -> None:
    loaded = load(TEXT, filename="f.yaml")
    assert loaded.application == "demo"
    assert loaded.blocks == (Block(path="/b", identity="9"),)
    [strategy], [policy] = loaded.policy_set.strategies, loaded.policy_set.policies
    assert strategy.sources == (Source.model_validate({"in": "header", "name": "X-User-Id"}),)
    assert policy.limits == (Limit.model_validate({"name": "hourly", "limit": 100, "window": "1h30m"}),)
    assert policy.metering is None


def test_a_file_without_policies_is_an_empty_set() -> None:
    loaded = load("\ufeffversion: 1\r\napplication: demo\r\n", filename="f.yaml")
    assert loaded.policy_set == PolicySet()
    assert loaded.blocks == ()


def test_explicit_tags_of_the_core_schema_are_fine() -> None:
    text = (
        "!!map {version: !!int 1, application: !!str demo, blocks: !!seq [{path: ! /a, identity: !!str 42}]}"
    )
    assert load(text, filename="f.yaml").blocks[0].identity == "42"


def test_aliases_and_merges_repeat_values() -> None:
    text = TEXT.replace("limits:", "limits: &limits").replace("  - name: a", "  - &a\n    name: a")
    text = text.replace(
        "blocks:", "  - <<: *a\n    name: b\n  - {<<: [*a], name: c, limits: *limits}\nblocks:"
    )
    policies = load(text, filename="f.yaml").policy_set.policies
    assert [policy.name for policy in policies] == ["a", "b", "c"]
    assert {policy.limits for policy in policies} == {policies[0].limits}
    assert {policy.strategy for policy in policies} == {"by-user"}


def test_a_merge_takes_mappings_only() -> None:
    with pytest.raises(PolicyFileError, match=r"f.yaml:3:5: '<<' takes mappings only; name an anchor"):
        load("version: 1\napplication: demo\n<<: 5\n", filename="f.yaml")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("policies[0].limits[0].window", (12, 45)),
        ("policies[0].limits[0].window_us", (12, 45)),
        ("policies[0].limits[0].limit", (12, 31)),
        ("policies[0].limits[0].burst", (12, 9)),
        ("policies[0].limits[3].window", (12, 7)),
        ("policies[0].match.methods[0]", (9, 23)),
        ("policies[0].match.path.oops[2]", (9, 36)),
        ("strategies[0].sources[0].location", (6, 14)),
        ("strategies[0].sources[0].in", (6, 14)),
        ("policies[7]", (8, 3)),
        ("blocks[0].identity", (15, 26)),
        ("nothing", (1, 1)),
        ("", (1, 1)),
        ("..[[]9]", (1, 1)),
        (f"policies[{'9' * 5000}]", (8, 3)),
    ],
)
def test_a_field_is_found_or_its_nearest_parent(path: str, place: tuple[int, int]) -> None:
    assert load(TEXT, filename="f.yaml").locate(path) == place


def test_faults_of_the_service_become_problems_of_the_file() -> None:
    faults = [Fault("blocks[0].path", "it is odd", "mend it"), Fault("application", "unknown", "create it")]
    found = load(TEXT, filename="f.yaml").problems_of(faults)
    assert [str(each) for each in found] == [
        "f.yaml:2:14: unknown; create it",
        "f.yaml:15:12: it is odd; mend it",
    ]


def test_the_example_loads_and_keeps_its_promises() -> None:
    loaded = load(EXAMPLE.read_text(encoding="utf-8"), filename=str(EXAMPLE))
    policies = {policy.name: policy for policy in loaded.policy_set.policies}
    [limit] = policies["transactions"].limits
    assert (limit.limit, limit.window_us) == (100, 3_600_000_000)
    metering = policies["transactions"].metering
    assert metering is not None
    assert (metering.trigger, metering.price, metering.event_name) == (
        Trigger.STRIPE_USAGE,
        "price_123",
        "api_calls",
    )
    assert loaded.policy_set.strategies[0].on_missing is OnMissing.ANONYMOUS_PER_IP
    assert policies["everything"].limits[0].limit >= 100_000
    assert policies["health"].stop
    assert loaded.blocks[0].path == "/internal/*"


def test_ten_thousand_policies_load() -> None:
    head = TEXT[: TEXT.index("  - name: a")]
    policies = [
        f"  - name: p{i}\n    match: {{methods: [POST], path: /api/{i}}}\n    strategy: by-user\n"
        f"    limits:\n      - {{name: hourly, limit: 100, window: 1h}}\n"
        for i in range(10_000)
    ]
    loaded = load(head + "".join(policies), filename="f.yaml")
    assert len(loaded.policy_set.policies) == 10_000
    assert loaded.locate("policies[9999].limits[0].limit") == (7 + 5 * 10_000, 31)


def test_a_billion_laughs_fail_before_they_are_expanded() -> None:
    lines = ["a0: &a0 [" + ",".join(["x"] * 10) + "]"]
    lines += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 40)]
    with pytest.raises(PolicyFileError, match="more than 2,000,000 values when its aliases are expanded"):
        load("\n".join(lines), filename="f.yaml")


def test_aliases_cannot_nest_deeper_than_brackets() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100)]
    with pytest.raises(PolicyFileError, match="nested more than 50 levels deep"):
        load("\n".join(lines), filename="f.yaml")


def test_wide_merges_are_bounded_too() -> None:
    lines = ["a0: &a0 {" + ",".join(f"k{i}: 1" for i in range(100)) + "}"]
    lines += [f"a{i}: &a{i} {{<<: [" + ",".join([f"*a{i - 1}"] * 100) + "]}" for i in range(1, 20)]
    with pytest.raises(PolicyFileError, match="more than 2,000,000 values"):
        load("\n".join(lines), filename="f.yaml")


def test_a_message_without_a_subject_gets_its_key() -> None:
    found = load(TEXT, filename="f.yaml").problems_of([Fault("blocks[0].path", "holds a query", "drop it")])
    assert [each.message for each in found] == ["'path' holds a query"]
