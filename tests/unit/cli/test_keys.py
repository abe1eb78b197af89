from __future__ import annotations

import json
import time

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.cli.conftest import Run, Service
from usageflow.v1 import keys_pb2

KEY = keys_pb2.ApiKey(
    name="web",
    scopes=[keys_pb2.KEY_SCOPE_AGENT, keys_pb2.KEY_SCOPE_READ],
    prefix="uf_live_ab12",
    uid="id-1",
    state=keys_pb2.CREDENTIAL_STATE_ACTIVE,
    create_time=Timestamp(seconds=1_700_000_000),
    etag="3",
)
TOKEN = keys_pb2.AdminToken(
    name="ann", role=keys_pb2.ADMIN_ROLE_EDITOR, application="demo", state=keys_pb2.CREDENTIAL_STATE_REVOKED
)
SECRET = "uf_live_secret"


def test_a_secret_stands_alone_on_stdout_and_the_warning_on_stderr(service: Service, run: Run) -> None:
    service.will("CreateApiKey", keys_pb2.IssuedApiKey(api_key=KEY, secret=SECRET))
    result = run("keys", "create", "web", "--live", "--application", "shop")
    assert (result.exit_code, result.stdout) == (0, f"{SECRET}\n")
    assert "web (AGENT READ) is good for ever" in result.stderr
    assert "shown this once" in result.stderr
    (request,) = service.requests
    wanted = keys_pb2.ApiKey(
        name="web", scopes=[keys_pb2.KEY_SCOPE_AGENT], environment=keys_pb2.KEY_ENVIRONMENT_LIVE
    )
    assert request == keys_pb2.CreateApiKeyRequest(application="shop", api_key=wanted)


def test_json_holds_the_secret_too(service: Service, run: Run) -> None:
    service.will("CreateApiKey", keys_pb2.IssuedApiKey(api_key=KEY, secret=SECRET))
    told = json.loads(run("keys", "create", "web", "--scope", "READ", "--output", "json").stdout)
    assert (told["name"], told["secret"], told["scopes"], told["expires"]) == (
        "web",
        SECRET,
        ["AGENT", "READ"],
        None,
    )


def test_a_secret_that_was_told_before_is_not_told_again(service: Service, run: Run) -> None:
    service.will("CreateApiKey", keys_pb2.IssuedApiKey(api_key=KEY, secret_withheld=True))
    result = run("keys", "create", "web")
    assert result.stdout == ""
    assert "rotate it" in result.stderr


def test_all_pages_are_listed(service: Service, run: Run) -> None:
    service.will(
        "ListApiKeys",
        keys_pb2.ListApiKeysResponse(api_keys=[KEY], next_page_token="t"),
        keys_pb2.ListApiKeysResponse(api_keys=[KEY]),
    )
    result = run("keys", "list", "--all", "--output", "json")
    assert [row["prefix"] for row in json.loads(result.stdout)] == ["uf_live_ab12"] * 2
    assert [(request.page_token, request.show_deleted) for request in service.requests] == [
        ("", True),
        ("t", True),
    ]


def test_a_table_of_keys(service: Service, run: Run) -> None:
    service.will("ListApiKeys", keys_pb2.ListApiKeysResponse(api_keys=[KEY]))
    shown = run("keys", "list").stdout
    assert "AGENT, READ" in shown
    assert "2023-11-14T22:13:20Z" in shown
    service.will("ListApiKeys", keys_pb2.ListApiKeysResponse())
    assert "no API key" in run("keys", "list").stderr


def test_an_update_names_what_it_changes(service: Service, run: Run) -> None:
    service.will("UpdateApiKey", KEY, KEY)
    assert run("keys", "update", "web", "--expires", "never", "--etag", "3").exit_code == 0
    assert run("keys", "update", "web", "--scope", "REPORT", "--expires", "90d").exit_code == 0
    first, second = service.requests
    assert (list(first.update_mask.paths), first.api_key.HasField("expire_time"), first.etag) == (
        ["expire_time"],
        False,
        "3",
    )
    assert list(second.update_mask.paths) == ["scopes", "expire_time"]
    assert abs(second.api_key.expire_time.seconds - time.time() - 90 * 86_400) < 600
    assert run("keys", "update", "web").exit_code == 2


def test_a_rotation_tells_when_the_old_one_ends(service: Service, run: Run) -> None:
    service.will("RotateApiKey", keys_pb2.IssuedApiKey(api_key=KEY, secret=SECRET))
    result = run("keys", "rotate", "web", "--overlap", "7d", "--new-name", "web-b")
    assert result.stdout == f"{SECRET}\n"
    assert "web ends in 7d" in result.stderr
    (request,) = service.requests
    assert (request.name, request.new_name, request.overlap.seconds) == ("web", "web-b", 7 * 86_400)


@pytest.mark.parametrize(("group", "method"), [("keys", "RevokeApiKey"), ("tokens", "RevokeAdminToken")])
def test_revoking_asks_first_and_nobody_there_means_no(
    service: Service, run: Run, group: str, method: str
) -> None:
    refused = run(group, "revoke", "web")
    assert (refused.exit_code, service.calls) == (2, [])
    assert "--yes" in refused.stderr
    service.will(method, KEY if group == "keys" else TOKEN)
    assert run(group, "revoke", "web", "--yes").exit_code == 0
    assert service.calls[0][0] == method


def test_somebody_is_asked_on_a_terminal(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usageflow.cli.confirming._somebody_is_there", lambda: True)
    refused = run("keys", "revoke", "web", stdin="n\n")
    assert (refused.exit_code, service.calls) == (1, [])
    assert "nothing was done" in refused.stderr
    service.will("RevokeApiKey", KEY)
    assert run("keys", "revoke", "web", stdin="y\n").exit_code == 0


def test_tokens(service: Service, run: Run) -> None:
    service.will("CreateAdminToken", keys_pb2.IssuedAdminToken(admin_token=TOKEN, secret="uf_admin_x"))
    service.will("ListAdminTokens", keys_pb2.ListAdminTokensResponse(admin_tokens=[TOKEN]))
    service.will("UpdateAdminToken", TOKEN)
    service.will("RotateAdminToken", keys_pb2.IssuedAdminToken(admin_token=TOKEN, secret="uf_admin_y"))
    service.will("GetAdminToken", TOKEN)
    assert run("tokens", "create", "ann", "--role", "EDITOR", "--bound-to", "demo").stdout == "uf_admin_x\n"
    (row,) = json.loads(run("tokens", "list", "--output", "json").stdout)
    assert (row["role"], row["application"], row["state"]) == ("EDITOR", "demo", "REVOKED")
    assert run("tokens", "update", "ann", "--role", "VIEWER").exit_code == 0
    assert run("tokens", "rotate", "ann").stdout == "uf_admin_y\n"
    assert "EDITOR" in run("tokens", "get", "ann").stdout
    created, _, updated, rotated, _ = service.requests
    wanted = keys_pb2.AdminToken(name="ann", role=keys_pb2.ADMIN_ROLE_EDITOR, application="demo")
    assert created.admin_token == wanted
    assert updated.admin_token.role == keys_pb2.ADMIN_ROLE_VIEWER
    assert rotated.overlap.seconds == 86_400


@pytest.mark.parametrize(
    "args",
    [
        ["keys", "create", "web", "--expires", "soon"],
        ["keys", "create", "web", "--scope", "EVERYTHING"],
        ["keys", "rotate", "web", "--overlap", "a while"],
        ["tokens", "create", "ann"],
        ["tokens", "update", "ann"],
    ],
)
def test_wrong_usage_calls_nobody(service: Service, run: Run, args: list[str]) -> None:
    assert run(*args).exit_code == 2
    assert service.calls == []


def test_a_refusal_is_one_sentence(service: Service, run: Run) -> None:
    service.fails("RevokeAdminToken", grpc.StatusCode.FAILED_PRECONDITION, "this is the last owner token")
    result = run("tokens", "revoke", "owner", "--yes")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "last owner" in result.stderr
