"""Who may call what: every method of every service, with every kind of credential."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tools.processes import Service
from tools.prove.showing import ensure
from usageflow.domain.changes import Actor, Cause
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.embedded import DATABASE_NAME
from usageflow.storage.sql import SqlControlStore, open_sqlite
from usageflow.v1 import admin_pb2, decision_pb2, keys_pb2, meter_pb2

OWN, OTHER, NONE = "demo", "other", "nobody"
PATIENCE_S = 20.0
_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
# Whoever fails too often is not even looked at.
_SHUT_OUT = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
_UNFORESEEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
_FILES = (decision_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR, meter_pb2.DESCRIPTOR)

# Written here once more, and not taken from the service: what it takes for a rule is what is to be shown.
_DATA_PLANE = {
    "Check": {"AGENT"},
    "BatchCheck": {"AGENT"},
    "Report": {"AGENT", "REPORT"},
    "RegisterEndpoints": {"AGENT", "REPORT"},
    "WatchPlan": {"AGENT", "REPORT"},
    "Explain": {"READ", "VIEWER", "EDITOR", "OWNER"},
    "ListHeadroom": {"READ", "VIEWER", "EDITOR", "OWNER"},
}
_VIEWERS = {"READ", "VIEWER", "EDITOR", "OWNER"}
_EDITORS = {"EDITOR", "OWNER"}
_OWNERS = {"OWNER"}
_APPLICATIONS = {"CreateApplication", "UpdateApplication", "DeleteApplication", "UndeleteApplication"}
_LOOKS = ("Get", "List", "Query", "Verify", "Diff", "Watch", "Tail")
_LOOKING_METHODS = {"ReconcileBilling"}
_OWNERS_METHODS = {
    "CorrectUsage",
    "EraseCustomer",
    "EraseIdentity",
    "ExportSnapshot",
    "RevealAlertDestinationSecret",
    "RotateAlertDestinationSecret",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a credential: what it may (scopes, or a role), and whether it belongs to the application OWN."""

    title: str
    secret: str
    powers: frozenset[str]
    confined: bool

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns what calls carry."""
        return (("authorization", f"Bearer {self.secret}"),) if self.secret else ()


def roles(folder: Path) -> str:
    """Every method of every service with every kind of credential: viewers cannot write, editors cannot touch keys, keys do what their
    scopes say, and nobody who belongs to one application sees or changes another's data.
    """
    with Service(folder / "data") as service:
        service.wait_ready()
        service.stop()
    asyncio.run(add_other(folder / "data" / DATABASE_NAME))
    with Service(folder / "data") as service:
        return asyncio.run(show_roles(service.wait_ready(), service.credentials["admin_token"]))


async def add_other(path: Path) -> None:
    """Adds an application beside the first one."""
    database = open_sqlite(path)
    try:
        await SqlControlStore(database, SystemClock()).create_application(
            OTHER, [], cause=Cause(Actor("", "roles"), "roles")
        )
    finally:
        await database.close()


async def show_roles(address: str, owner: str) -> str:
    """Returns the figure for a service with the applications OWN and OTHER. Raises NotShown."""
    async with _calls(address) as calls:
        callers, strangers = await _callers(calls, owner)
        methods = [
            method for file in _FILES for each in file.services_by_name.values() for method in each.methods
        ]
        for method in methods:
            for caller in callers:
                await _show(calls, method, caller)
            for stranger in strangers:
                code, _ = await calls.call(method, stranger, OWN)
                said = f"{method.full_name} answers {stranger.title} with {code.name}"
                ensure(code in _SHUT_OUT, said)
        return f"{len(methods)} methods x {len(callers) + len(strangers)} credentials, {calls.number} calls: each as it should be"


async def _show(calls: _Calls, method: MethodDescriptor, caller: Caller) -> None:
    """Ensures that a caller is let in or refused as it should be. Raises NotShown."""
    told = f"{method.full_name} by {caller.title}"
    place = _place(method)
    allowed = bool(_powers(method) & caller.powers) and (bool(place) or not caller.confined)
    code, text = await calls.call(method, caller, OWN)
    ensure(code not in _UNFORESEEN, f"{told}: {code.name} {text}")
    if not allowed:
        ensure(code is grpc.StatusCode.PERMISSION_DENIED, f"{told}: {code.name} instead of PERMISSION_DENIED")
        return
    ensure(code not in _REFUSALS, f"{told}: {code.name} {text}, though it may")
    if not caller.confined:
        return
    of_admin = method.containing_service.name != "DecisionService"
    wanted = grpc.StatusCode.NOT_FOUND if of_admin else grpc.StatusCode.PERMISSION_DENIED
    texts = set()
    for application in (OTHER, NONE):
        code, text = await calls.call(method, caller, application)
        ensure(code is wanted, f"{told} of application {application}: {code.name} instead of {wanted.name}")
        texts.add(text.replace(application, "?"))
    ensure(len(texts) == 1, f"{told}: tells which applications there are: {texts}")
    code, text = await calls.call(method, caller, "")
    ensure(code not in _REFUSALS, f"{told}, naming no application: {code.name} {text}")


def _powers(method: MethodDescriptor) -> set[str]:
    if method.containing_service.name == "DecisionService":
        return _DATA_PLANE[method.name]
    name = method.name
    if "ApiKey" in name or "AdminToken" in name or name in _APPLICATIONS or name in _OWNERS_METHODS:
        return _OWNERS
    return _VIEWERS if name.startswith(_LOOKS) or name in _LOOKING_METHODS else _EDITORS


def _place(method: MethodDescriptor) -> Sequence[str]:
    """Returns the path of the field that names the application; empty where the method is about the whole installation."""
    fields = method.input_type.fields_by_name
    if "application" not in fields:
        return ("name",) if method.name.endswith("Application") and "name" in fields else ()
    return ("application", "name") if fields["application"].message_type else ("application",)


def _request(method: MethodDescriptor, application: str) -> Any:
    """Returns a request that names an application and changes as little as can be."""
    request = GetMessageClass(method.input_type)()
    if "validate_only" in method.input_type.fields_by_name:
        request.validate_only = True  # type: ignore[attr-defined]
    if method.name in ("Check", "Explain"):
        request.request.method, request.request.path = "GET", "/"  # type: ignore[attr-defined]
    *path, name = _place(method) or ("",)
    holder: Any = request
    for step in path:
        holder = getattr(holder, step)
    if name and application:
        setattr(holder, name, application)
    return request


class _Calls:
    """Calls methods by their descriptors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.number = 0

    async def call(
        self, method: MethodDescriptor, caller: Caller, application: str
    ) -> tuple[grpc.StatusCode, str]:
        """Returns the status of a call; of a stream, of its first message."""
        code, text, _ = await self.send(method, caller, _request(method, application))
        return code, text

    async def send(
        self, method: MethodDescriptor, caller: Caller, request: Any
    ) -> tuple[grpc.StatusCode, str, Any]:
        """Returns status, text and answer (None where there is none)."""
        self.number += 1
        kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        reader = GetMessageClass(method.output_type).FromString
        path = f"/{method.containing_service.full_name}/{method.name}"
        stub: Any = kind(
            path, request_serializer=lambda message: message.SerializeToString(), response_deserializer=reader
        )
        call = stub(request, metadata=caller.metadata, timeout=PATIENCE_S)
        try:
            answer = await (call.read() if method.server_streaming else call)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or "", None
        call.cancel()
        return grpc.StatusCode.OK, "", answer


@asynccontextmanager
async def _calls(address: str) -> AsyncIterator[_Calls]:
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield _Calls(channel)


async def _callers(calls: _Calls, owner: str) -> tuple[list[Caller], list[Caller]]:
    """Makes credentials of every kind; returns who has good ones, and who has none."""
    first = Caller("the first owner", owner, frozenset({"OWNER"}), confined=False)
    methods = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods_by_name

    async def made(name: str, request: Any) -> str:
        code, text, answer = await calls.send(methods[name], first, request)
        ensure(code is grpc.StatusCode.OK, f"{name}: {code.name} {text}")
        return str(getattr(answer, "secret", ""))

    callers = [first]
    for title, powers, confined, message in _wanted():
        secret = await made(f"Create{'ApiKey' if hasattr(message, 'api_key') else 'AdminToken'}", message)
        callers.append(Caller(title, secret, powers, confined))
    await made("RevokeApiKey", keys_pb2.RevokeApiKeyRequest(application=OWN, name="key-revoked"))
    revoked = next(each for each in callers if each.title == "key revoked")
    callers.remove(revoked)
    return callers, [revoked, Caller("nobody", "", frozenset(), confined=False)]


def _wanted() -> Iterator[tuple[str, frozenset[str], bool, Any]]:
    for scopes in (("AGENT",), ("REPORT",), ("READ",), ("AGENT", "REPORT", "READ"), ("revoked",)):
        title = f"key {' '.join(scopes)}"
        named = [keys_pb2.KeyScope.Value(f"KEY_SCOPE_{each}") for each in scopes if each != "revoked"]
        key = keys_pb2.ApiKey(
            name=title.lower().replace(" ", "-"), scopes=named or [keys_pb2.KEY_SCOPE_AGENT]
        )
        yield title, frozenset(scopes), True, keys_pb2.CreateApiKeyRequest(application=OWN, api_key=key)
    for role in ("VIEWER", "EDITOR", "OWNER"):
        for application in ("", OWN):
            token = keys_pb2.AdminToken(
                name=f"{role.lower()}-of-{application or 'all'}",
                role=keys_pb2.AdminRole.Value(f"ADMIN_ROLE_{role}"),
                application=application,
            )
            request = keys_pb2.CreateAdminTokenRequest(admin_token=token)
            yield f"{role} of {application or 'everything'}", frozenset({role}), bool(application), request
