"""TLS, the age of connections and reflection, on a real server."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import structlog.testing
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from clients.python.client.tests.fake_service import until
from tests.certificates import Authority, Pair
from tests.integration.conftest import Running, serving
from usageflow.client import ClientConfig, UsageFlowClient
from usageflow.rpc.server import ServerOptions, build_server
from usageflow.runtime.running import listen
from usageflow.runtime.settings import Settings
from usageflow.v1 import plan_pb2

AUTHORITY, STRANGER = Authority(), Authority("stranger")


@asynccontextmanager
async def server(options: ServerOptions = ServerOptions(), **settings: str) -> AsyncIterator[str]:  # noqa: B008
    """A server with nothing but its health; yields its address."""
    rpc = build_server(None, (), options)
    address = listen(rpc, Settings(listen="127.0.0.1:0", **settings))  # type: ignore[arg-type]
    await rpc.server.start()
    await rpc.serving(healthy=True)
    yield str(address)
    await rpc.server.stop(None)


async def health(address: str, trust: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """Asks for the health over a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.aio.secure_channel(address, trust, own) if trust else grpc.aio.insecure_channel(address, own)
    )
    async with channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def trusting(authority: Authority = AUTHORITY, own: Pair | None = None) -> grpc.ChannelCredentials:
    if own is None:
        return grpc.ssl_channel_credentials(authority.pem)
    return grpc.ssl_channel_credentials(authority.pem, own.key, own.cert)


OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE


async def test_tls_serves_who_trusts_it_and_nobody_in_plaintext(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    async with server(tls_cert=cert, tls_key=key) as address:
        assert await health(address, trusting()) is OK
        assert await health(address, trusting(STRANGER)) is UNAVAILABLE
        assert await health(address, None) is UNAVAILABLE


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue("10.1.2.3").write(tmp_path)
    async with server(tls_cert=cert, tls_key=key) as address:
        assert await health(address, trusting()) is UNAVAILABLE


async def test_mutual_tls_serves_only_clients_of_its_authority(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    async with server(tls_cert=cert, tls_key=key, tls_client_ca=AUTHORITY.write(tmp_path)) as address:
        assert await health(address, trusting(own=AUTHORITY.issue())) is OK
        assert await health(address, trusting()) is UNAVAILABLE
        assert await health(address, trusting(own=STRANGER.issue())) is UNAVAILABLE


def renew(folder: Path, pair: Pair, later_s: int) -> None:
    """Writes a renewed pair, as much later as file systems can tell."""
    for path in pair.write(folder):
        at = Path(path).stat().st_mtime + later_s
        os.utime(path, (at, at))


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    async with server(tls_cert=cert, tls_key=key) as address:
        assert await health(address, trusting()) is OK
        renew(tmp_path, STRANGER.issue(), 1)
        assert await health(address, trusting(STRANGER)) is OK
        assert await health(address, trusting()) is UNAVAILABLE


async def test_half_a_renewal_changes_nothing(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    async with server(tls_cert=cert, tls_key=key) as address:
        with structlog.testing.capture_logs() as logs:
            Path(cert).write_bytes(STRANGER.issue().cert)  # its key is still on its way
            assert await health(address, trusting()) is OK
            Path(key).unlink()
            assert await health(address, trusting()) is OK
            assert await health(address, trusting()) is OK
        assert [entry["log_level"] for entry in logs] == ["warning"] * 2, "once for each change"
        assert "not the key of the certificate" in logs[0]["error"]
        renew(tmp_path, STRANGER.issue(), 1)
        assert await health(address, trusting(STRANGER)) is OK


async def test_a_unix_socket_may_speak_tls_too(tmp_path: Path) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    rpc = build_server(None, ())
    address = listen(rpc, Settings(listen=f"unix:{tmp_path}/s", tls_cert=cert, tls_key=key))
    await rpc.server.start()
    assert str(address) == f"unix:{tmp_path}/s"
    assert await health(str(address), None) is UNAVAILABLE
    await rpc.server.stop(None)


@pytest.mark.parametrize("asked", [True, False])
async def test_reflection_is_there_where_it_is_asked_for(asked: bool) -> None:
    async with (
        server(ServerOptions(reflection=asked)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        info = channel.stream_stream(
            f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = info(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        if asked:
            answer: Any = await call.read()
            assert answer.list_services_response.service
            call.cancel()
        else:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("asked", [True, False])
async def test_channelz_is_there_where_it_is_asked_for(asked: bool) -> None:
    options = Settings(listen="127.0.0.1:0", channelz=asked).server_options
    async with server(options) as address, grpc.aio.insecure_channel(address) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(cast("Any", channel))
        servers = stub.GetServers
        if asked:
            assert (await servers(channelz_pb2.GetServersRequest())).server
        else:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await servers(channelz_pb2.GetServersRequest())
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@asynccontextmanager
async def client_of(service: Running, **environment: str) -> AsyncIterator[UsageFlowClient]:
    config = ClientConfig.load(service.credentials.api_key, address=service.address, environ=environment)
    client = UsageFlowClient(config)
    client.start()
    yield client
    await client.aclose()


async def test_the_python_client_speaks_tls_with_its_own_certificate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = AUTHORITY.issue().write(tmp_path)
    authority, own = AUTHORITY.write(tmp_path), AUTHORITY.issue().write(tmp_path, "client")
    environment = {"USAGEFLOW_CLIENT_CERT": own[0], "USAGEFLOW_CLIENT_KEY": own[1]}
    trust = trusting(own=AUTHORITY.issue())
    async with serving(tmp_path, trust=trust, tls_cert=cert, tls_key=key, tls_client_ca=authority) as service:
        async with client_of(service, USAGEFLOW_CA_FILE=authority, **environment) as client:
            await until(lambda: client.status().state == "ready", 20)
            assert client.status().last_error == ""
        caplog.clear()  # on a busy machine a handshake may fail, which the client says and tries again
        stranger = STRANGER.write(tmp_path, "stranger")
        async with client_of(service, USAGEFLOW_CA_FILE=stranger, **environment) as client:
            await until(lambda: client.status().last_error, 20)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "USAGEFLOW_CA_FILE, which must hold the authority" in caplog.text


async def test_streams_end_with_their_connection_and_the_next_one_is_told_that_it_watches(
    tmp_path: Path,
) -> None:
    options = ServerOptions(max_connection_age_s=1, age_grace_s=0.1)
    async with serving(tmp_path, options) as service:
        version = 0
        for _ in range(2):
            request = plan_pb2.WatchPlanRequest(plan_version=version)
            stream = service.decision.WatchPlan(request, metadata=service.as_app)
            told = dict(await stream.initial_metadata() or ())
            if not version:
                plan = await stream.read()
                assert isinstance(plan, plan_pb2.WatchPlanResponse)
                version = plan.plan_version
            assert told["usageflow-plan-version"] == str(version)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stream.read()
            assert error.value.code() is UNAVAILABLE
