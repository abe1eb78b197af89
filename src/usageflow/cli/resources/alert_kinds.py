"""The kinds of `usageflow alerts`: rules, and destinations of messages."""

from __future__ import annotations

from usageflow.cli.resources.kinds import Fields, Flag, Kind, Shown


def _text(field: str) -> Shown:
    return Shown(field.replace("_", " "), lambda fields: fields.get(field, ""))


def _threshold(fields: Fields) -> object:
    if fields["kind"] == "QUOTA":
        return ",".join(str(level) for level in fields["levels"] or (50, 80, 100)) + " %"
    if fields["kind"] == "SILENCE":
        return "none"
    counted = fields["measure"] == "COUNT"
    return f"{fields['threshold']:g} {'ms' if fields['kind'] == 'P95' else '' if counted else '%'}".strip()


def _about(fields: Fields) -> object:
    names = ("endpoint", "policy", "limit_name", "customer")
    return ", ".join(fields[name] for name in names if fields[name]) or "everything"


RULES = Kind(
    "rules",
    "alert rule",
    "AlertRule",
    "AlertRules",
    "alert_rule",
    (
        _text("name"),
        _text("kind"),
        Shown("about", _about),
        Shown("threshold", _threshold, right=True),
        _text("window"),
        _text("severity"),
        Shown("destinations", lambda fields: ",".join(fields["destinations"])),
        Shown("enabled", lambda fields: fields["enabled"]),
    ),
    (
        "usageflow alerts rules create errors --kind ERROR_RATE --threshold 5 --window 5m --to ops",
        "usageflow alerts rules create slow --kind P95 --threshold 800 --endpoint 'GET /users/{id}' --pending-for 2m",
        "usageflow alerts rules create quota --kind QUOTA --policy transactions --level 80 --level 100 --to ops",
        "usageflow alerts rules update errors --no-enabled",
    ),
    (
        Flag("--kind", "kind", "ERROR_RATE, P95, SILENCE, DENIALS or QUOTA."),
        Flag(
            "--threshold", "threshold", "Percent, milliseconds (P95), or requests (DENIALS by COUNT).", float
        ),
        Flag(
            "--clear-threshold", "clear_threshold", "Below what it is over; 0: 90 % of the threshold.", float
        ),
        Flag("--level", "levels", "QUOTA: percent of the limit; may be repeated.", int, many=True),
        Flag("--measure", "measure", "DENIALS: SHARE or COUNT."),
        Flag("--window", "window", "What is summed: 1m to 24h."),
        Flag("--pending-for", "pending_for", "For how long the threshold must be reached: 0s to 24h."),
        Flag("--keep-firing-for", "keep_firing_for", "For how long it must be clear: 0s to 24h."),
        Flag("--min-requests", "min_requests", "Fewer requests are no alert.", int),
        Flag("--endpoint", "endpoint", "Of this endpoint only, such as 'GET /users/{id}'."),
        Flag("--policy", "policy", "Of what this policy decided, or of its limits."),
        Flag("--limit-name", "limit_name", "QUOTA: of this limit of the policy."),
        Flag("--customer", "customer", "QUOTA: of this customer's identities."),
        Flag("--severity", "severity", "INFO, WARNING or CRITICAL."),
        Flag("--to", "destinations", "Destination; may be repeated: all that there shall be.", many=True),
        Flag("--enabled/--no-enabled", "enabled", "Whether it is looked at.", bool),
    ),
    in_files=False,
)

DESTINATIONS = Kind(
    "destinations",
    "alert destination",
    "AlertDestination",
    "AlertDestinations",
    "alert_destination",
    (
        _text("name"),
        _text("type"),
        _text("url"),
        Shown("enabled", lambda fields: fields["enabled"]),
        _text("disabled_reason"),
    ),
    (
        "usageflow alerts destinations create ops --url https://example.com/hooks/usageflow",
        "usageflow alerts destinations create slack --type SLACK --url env:USAGEFLOW_ALERT_SLACK",
    ),
    (
        Flag("--type", "type", "WEBHOOK or SLACK."),
        Flag(
            "--url", "url", "https://..., or env:USAGEFLOW_ALERT_NAME: a variable of the services holds it."
        ),
        Flag("--enabled/--no-enabled", "enabled", "Whether it gets messages.", bool),
    ),
    in_files=False,
)
