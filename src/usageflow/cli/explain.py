"""`usageflow explain`: how a request would be decided and why; takes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_line, print_table

if TYPE_CHECKING:  # the contract's messages are heavy to import, and only this verb needs them
    from usageflow.v1.decision_pb2 import ExplainResponse

EXAMPLES = ("usageflow explain --method POST --path /api/transactions --header 'X-User-Id: user-1'",)


def explain(
    method: options.Method,
    path: options.Path,
    route: options.Route = "",
    header: options.Header = None,
    query: options.Query = None,
    cookie: options.Cookie = None,
    body: options.Body = None,
    context: options.Context = None,
    path_param: options.PathParam = None,
    bearer: options.Bearer = "",
    client_ip: options.ClientIp = "",
    cost: options.Cost = 0,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Explain how a request would be decided: every policy and why it applies or not. Takes nothing."""
    from usageflow.cli.connection import connect
    from usageflow.cli.http_request import Named, http_request
    from usageflow.v1.decision_pb2 import ExplainRequest

    request = http_request(
        method=method,
        path=path,
        route=route,
        named=Named(header, query, cookie, body, context, path_param),
        bearer=bearer,
        client_ip=client_ip,
    )
    with connect(timeout) as connection:
        message = ExplainRequest(application=application, request=request, cost=cost)
        shown = _explanation(connection.as_admin(connection.decision.Explain, message))
    (print_json if output is Output.JSON else _print)(shown)


def _explanation(response: ExplainResponse) -> dict[str, Any]:
    from usageflow.cli.answers import answer_json, limit_json
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import common_pb2

    return {
        "answer": answer_json(response.answer),
        "matched_path": response.matched_path,
        "identity_source": response.identity_source,
        "policies": [
            {
                "policy": each.policy,
                "applies": each.applies,
                "because": each.because,
                "mode": bare_name(common_pb2.PolicyMode.DESCRIPTOR, each.mode, "POLICY_MODE_"),
            }
            for each in response.policies
        ],
        "limits": [
            {**limit_json(each.after), "remaining_before": each.remaining_before, "source": each.source}
            for each in response.limits
        ],
    }


def _print(shown: dict[str, Any]) -> None:
    from usageflow.cli.answers import print_answer

    print_answer(shown["answer"])
    print_line(f"matched path: {shown['matched_path']}")
    print_line(f"identity from: {shown['identity_source']}")
    print_line("")
    policies = [
        [each["policy"], each["applies"], each["mode"], each["because"]] for each in shown["policies"]
    ]
    print_table([Column("policy"), Column("applies"), Column("mode"), Column("because")], policies)
    if shown["limits"]:
        print_line("")
        _print_limits(shown["limits"])


def _print_limits(limits: list[dict[str, Any]]) -> None:
    from usageflow.cli.answers import reset_words

    columns = [Column("policy"), Column("limit"), Column("algorithm")]
    columns += [Column(title, right=True) for title in ("units", "window", "before", "after", "reset")]
    columns.append(Column("from"))
    rows = [
        [
            each["policy"],
            each["name"],
            each["algorithm"],
            each["limit"],
            f"{each['window_s']} s",
            each["remaining_before"],
            each["remaining"],
            reset_words(each),
            each["source"],
        ]
        for each in limits
    ]
    print_table(columns, rows)
