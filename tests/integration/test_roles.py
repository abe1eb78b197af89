"""The case `roles` of `make prove` on a service in the test's own loop: every method with every kind of credential."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.causes import NOBODY
from tests.integration.conftest import Running, serving
from tools.prove.cases.roles import OTHER, show_roles
from usageflow.client._core.rpc_status import read_details
from usageflow.v1 import decision_pb2, plan_pb2


async def test_every_method_with_every_kind_of_credential(service: Running) -> None:
    await service.embedded.control.create_application(OTHER, [], cause=NOBODY)
    figure = await show_roles(service.address, service.credentials.admin_token)
    assert figure.endswith("each as it should be")


async def test_whoever_guesses_keys_is_stopped_and_a_known_key_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        explain = decision_pb2.ExplainRequest(application="demo")
        await running.decision.RegisterEndpoints(plan_pb2.RegisterEndpointsRequest(), metadata=running.as_app)
        key = running.credentials.api_key
        wrong = (("authorization", f"Bearer {key[:-1]}{'y' if key.endswith('x') else 'x'}"),)
        codes = []
        details = None
        for _ in range(25):
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await running.decision.Explain(explain, metadata=wrong)
            codes.append(failure.value.code())
            details = read_details(dict(failure.value.trailing_metadata())["grpc-status-details-bin"])
        assert codes[0] is grpc.StatusCode.UNAUTHENTICATED
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details is not None
        assert (details.reason, details.retry_s > 0) == ("TOO_MANY_FAILURES", True)
        await running.decision.RegisterEndpoints(plan_pb2.RegisterEndpointsRequest(), metadata=running.as_app)
