"""The kinds of resources: what the command shows of each, and the options that stand for its fields. Light: every start loads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Flag:
    """An option that sets a field. ``of`` is the type of its values; ``many``: it may be repeated and makes a list."""

    option: str
    field: str
    help: str
    of: type = str
    many: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a list."""

    title: str
    cell: Callable[[Fields], object]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind. ``command`` is its group of verbs and, where it can stand in a policy file, its list there; ``title`` and ``many`` are its
    names in the contract's methods, ``field`` its field in requests.
    """

    command: str
    one: str
    title: str
    many: str
    field: str
    columns: tuple[Shown, ...]
    examples: tuple[str, ...]
    flags: tuple[Flag, ...] = ()
    key: str = "name"
    in_files: bool = True
    revised: bool = False
    verbs: tuple[str, ...] = ("list", "get", "create", "update", "delete", "undelete")


def _of(field: str) -> Callable[[Fields], object]:
    return lambda fields: fields.get(field, "")


def _count(field: str) -> Callable[[Fields], object]:
    return lambda fields: len(fields.get(field, ()))


def _joined(field: str) -> Callable[[Fields], object]:
    return lambda fields: ",".join(fields.get(field, ()))


def _match(field: str) -> Callable[[Fields], object]:
    def cell(fields: Fields) -> object:
        value = fields["match"][field]
        return value if isinstance(value, str) else ",".join(value)

    return cell


def _limits(fields: Fields) -> object:
    return ", ".join(
        f"{each['limit']} per {each.get('window') or each.get('align')}" for each in fields["limits"]
    )


def _sources(fields: Fields) -> object:
    return ", ".join(
        "+".join(_source(part) for part in source["join"]) if source.get("join") else _source(source)
        for source in fields["sources"]
    )


def _source(source: Fields) -> str:
    return f"{source.get('in', '')} {source.get('name', '')}".strip()


_CHANGED = Shown("changed", _of("update_time"))
_NAME = Shown("name", _of("name"))

KINDS = (
    Kind(
        "policies",
        "policy",
        "Policy",
        "Policies",
        "policy",
        (
            _NAME,
            Shown("methods", _match("methods")),
            Shown("path", _match("path")),
            Shown("strategy", _of("strategy")),
            Shown("limits", _limits),
            Shown("mode", _of("mode")),
            _CHANGED,
        ),
        (
            "usageflow policies list --filter 'match.path = \"/api/*\" AND mode != DISABLED'",
            "usageflow policies update transactions --mode SHADOW --reason 'try it first'",
            "usageflow policies get transactions > policy.yaml && usageflow policies update transactions -f policy.yaml",
        ),
        (
            Flag("--mode", "mode", "ENFORCE, SHADOW or DISABLED."),
            Flag("--enforce-percent", "enforce_percent", "For how many of 100 identities.", int),
            Flag("--priority", "priority", "Among equally specific ones the higher comes first.", int),
        ),
        revised=True,
    ),
    Kind(
        "strategies",
        "strategy",
        "Strategy",
        "Strategies",
        "strategy",
        (_NAME, Shown("sources", _sources), Shown("on missing", _of("on_missing")), _CHANGED),
        ("usageflow strategies list", "usageflow strategies create -f by-tenant.yaml"),
        (Flag("--on-missing", "on_missing", "ANONYMOUS_PER_IP, ANONYMOUS_SHARED, DENY or SKIP."),),
        revised=True,
    ),
    Kind(
        "plans",
        "plan",
        "CustomerPlan",
        "CustomerPlans",
        "plan",
        (_NAME, Shown("overrides", _count("overrides"), right=True), _CHANGED),
        ("usageflow plans list", "usageflow plans create -f pro.yaml"),
        revised=True,
    ),
    Kind(
        "customers",
        "customer",
        "Customer",
        "Customers",
        "customer",
        (
            _NAME,
            Shown("plan", _of("plan")),
            Shown("stripe customer", _of("stripe_customer")),
            Shown("identities", _count("identities"), right=True),
            Shown("overrides", _count("overrides"), right=True),
            _CHANGED,
        ),
        (
            "usageflow customers create acme --identity user-1 --identity user-2 --plan pro",
            "usageflow customers list --filter 'identity = \"user-1\"'",
            "usageflow customers update acme --plan ''",
        ),
        (
            Flag(
                "--identity", "identities", "Raw value; may be repeated: all that there shall be.", many=True
            ),
            Flag("--plan", "plan", "Name of a plan; '' for none."),
            Flag("--stripe-customer", "stripe_customer", "cus_..."),
        ),
    ),
    Kind(
        "blocks",
        "block",
        "Block",
        "Blocks",
        "block",
        (
            Shown("id", _of("id")),
            Shown("methods", _joined("methods")),
            Shown("path", _of("path")),
            Shown("identity", _of("identity")),
            Shown("reason", _of("reason")),
            _CHANGED,
        ),
        (
            "usageflow blocks create --path '/internal/*' --identity user-9 --reason abuse",
            "usageflow blocks list",
        ),
        (
            Flag("--method", "methods", "HTTP method; may be repeated.", many=True),
            Flag("--path", "path", "Pattern, such as /internal/*."),
            Flag("--identity", "identity", "Raw value; left out, everybody."),
            Flag("--reason", "reason", "For people."),
        ),
        key="id",
    ),
    Kind(
        "endpoints",
        "endpoint",
        "Endpoint",
        "Endpoints",
        "endpoint",
        (
            Shown("number", lambda fields: str(fields.get("number", ""))),
            Shown("endpoint", _of("name")),
            Shown("first registered", _of("create_time")),
            Shown("last registered", _of("update_time")),
        ),
        ("usageflow endpoints list --filter 'method = POST'", "usageflow endpoints create 'GET /users/{id}'"),
        in_files=False,
        verbs=("list", "get", "create", "delete", "undelete"),
    ),
    Kind(
        "applications",
        "application",
        "Application",
        "Applications",
        "application",
        (
            _NAME,
            Shown("revision", lambda fields: str(fields.get("revision", 0))),
            Shown("capture", _of("capture")),
            Shown("retention days", _of("retention_days"), right=True),
            Shown("decision log %", _of("decision_log_percent"), right=True),
            _CHANGED,
        ),
        ("usageflow applications create shop", "usageflow applications update demo --decision-log 5"),
        (
            Flag("--capture", "capture", "MINIMAL, STANDARD or FULL."),
            Flag("--retention-days", "retention_days", "Days that usage is kept in detail.", int),
            Flag("--decision-log", "decision_log_percent", "How many of 100 decisions are logged.", int),
        ),
        in_files=False,
    ),
)
