"""`usageflow check`: asks for one decision, as a client would, and takes the units."""

from __future__ import annotations

from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.output import Output, print_json

EXAMPLES = (
    "usageflow check --method POST --path /api/transactions --header 'X-User-Id: user-1'",
    "usageflow check --method GET --path '/api/users?page=2' --cost 5 --output json",
)

DENIED = 3

RequestId = Annotated[
    str, typer.Option("--request-id", help="The same id answers the same again and takes nothing twice.")
]


def check(
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
    request_id: RequestId = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Decide one request and take its units.

    Exit code 0: allowed. 3: denied. 1: nothing was decided.
    """
    from usageflow.cli.answers import answer_json, print_answer
    from usageflow.cli.connection import connect
    from usageflow.cli.failure import Failure
    from usageflow.cli.http_request import Named, http_request
    from usageflow.v1.decision_pb2 import CheckRequest

    request = http_request(
        method=method,
        path=path,
        route=route,
        named=Named(header, query, cookie, body, context, path_param),
        bearer=bearer,
        client_ip=client_ip,
    )
    with connect(timeout) as connection:
        message = CheckRequest(request=request, cost=cost, request_id=request_id)
        answer = answer_json(connection.as_client(connection.decision.Check, message))
    if answer["decision"] not in {"ALLOW", "DENY"}:
        raise Failure("the service decided nothing: start a service of this version")
    (print_json if output is Output.JSON else print_answer)(answer)
    if answer["decision"] == "DENY":
        raise typer.Exit(DENIED)
