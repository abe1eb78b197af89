"""Checks at a steady rate, whatever becomes of the answers, from a process of its own: an answer that is late delays no other.

``python -m tools.open_loop --address A --rate N --seconds S --deadline-ms M --out FILE PATH...`` sends GETs of the paths in turn;
the API key is in USAGEFLOW_API_KEY. SIGTERM ends it early. Times are those of this machine's monotonic clock, which all
processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import grpc.aio

from tools.processes import BIN, Process, ProcessFailed, clean_environment
from usageflow.v1 import common_pb2, decision_pb2

SENDING = "sending"
_CHECK = "/usageflow.v1.DecisionService/Check"
_SILENT_S = 5.0
"""After the last check: so long the slowest answer may take."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One check: when it was sent and how much too late that was (seconds), how long its answer took, and what it said.

    ``status`` is gRPC's: without OK nothing was decided. ``degraded`` and ``fail_mode`` are "" for a normal decision;
    ``remaining`` is that of the first limit, -1 where none was told.
    """

    path: str
    user: str
    sent_s: float
    late_s: float
    took_s: float
    status: str
    allowed: bool = False
    reason: str = ""
    degraded: str = ""
    fail_mode: str = ""
    remaining: int = -1

    @property
    def answered_s(self) -> float:
        """Returns when the answer was there."""
        return self.sent_s + self.took_s


class OpenLoop(Process):
    """The process that sends. ``wait_sending`` returns once it does, ``seen`` what came back once it has ended."""

    def __init__(
        self,
        address: str,
        api_key: str,
        paths: Sequence[str],
        out: Path,
        *,
        rate: int,
        seconds: float,
        deadline_ms: int = 50,
        users: int = 50,
    ) -> None:
        self._out = out
        self._most_s = seconds + _SILENT_S + 30
        told = {
            "--address": address,
            "--out": out,
            "--rate": rate,
            "--seconds": seconds,
            "--deadline-ms": deadline_ms,
            "--users": users,
        }
        options = [str(word) for pair in told.items() for word in pair]
        super().__init__(
            [str(BIN / "python"), "-m", "tools.open_loop", *options, *paths],
            clean_environment(USAGEFLOW_API_KEY=api_key),
        )

    def wait_sending(self) -> None:
        """Returns once the first check is about to be sent. Raises ProcessFailed."""
        self.wait_for(SENDING)

    def seen(self, *, early: bool = False) -> list[Seen]:
        """Returns every check in the order of sending, after the last answer; ``early`` ends the sending now.

        Raises ProcessFailed.
        """
        code = self.stop(signal.SIGTERM, self._most_s)[0] if early else self.wait(self._most_s)
        if code:
            raise ProcessFailed(f"the load generator ended with {code}:\n{self.output}")
        return [Seen(**json.loads(line)) for line in self._out.read_text().splitlines()]


def main(arguments: Sequence[str]) -> int:
    """Sends, and writes what it saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--deadline-ms", type=int, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args(arguments)
    seen = sorted(asyncio.run(_send_all(options)), key=lambda one: one.sent_s)
    options.out.write_text("".join(json.dumps(asdict(one)) + "\n" for one in seen))
    return 0


async def _send_all(options: argparse.Namespace) -> list[Seen]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with grpc.aio.insecure_channel(options.address) as channel:
        await channel.channel_ready()
        print(SENDING, flush=True)
        sender = _Sender(channel, options.deadline_ms / 1000)
        started, running = time.monotonic(), set[asyncio.Task[Seen]]()
        for number in range(round(options.rate * options.seconds)):
            due = started + number / options.rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            if stop.is_set():
                break
            path = options.paths[number % len(options.paths)]
            user = number // len(options.paths) % options.users
            running.add(asyncio.create_task(sender.send(path, f"user-{user}", due)))
        done, silent = await asyncio.wait(running, timeout=_SILENT_S)
        if silent:
            raise TimeoutError(f"{len(silent)} checks were not answered, nor ended by their deadline")
        return [task.result() for task in done]


class _Sender:
    """Sends checks over one channel; bodies are made once."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {os.environ['USAGEFLOW_API_KEY']}"),)
        self._check: grpc.aio.UnaryUnaryMultiCallable[bytes, decision_pb2.CheckResponse] = (
            channel.unary_unary(_CHECK, response_deserializer=decision_pb2.CheckResponse.FromString)
        )
        self._bodies: dict[tuple[str, str], bytes] = {}

    async def send(self, path: str, user: str, due_s: float) -> Seen:
        """Sends one; returns what came back."""
        body = self._bodies.get((path, user)) or self._body(path, user)
        sent_s = time.monotonic()
        late_s = sent_s - due_s
        try:
            answer = await self._check(body, metadata=self._metadata, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            return Seen(path, user, sent_s, late_s, time.monotonic() - sent_s, error.code().name)
        return _seen(Seen(path, user, sent_s, late_s, time.monotonic() - sent_s, "OK"), answer)

    def _body(self, path: str, user: str) -> bytes:
        attribute = common_pb2.Attribute(
            location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User-Id", value=user
        )
        asked = decision_pb2.HttpRequest(
            method="GET", path=path, attributes=[attribute], client_ip="192.0.2.1"
        )
        return self._bodies.setdefault(
            (path, user), decision_pb2.CheckRequest(request=asked).SerializeToString()
        )


def _seen(sent: Seen, answer: decision_pb2.CheckResponse) -> Seen:
    degraded = answer.degraded.reason != common_pb2.DEGRADED_REASON_UNSPECIFIED
    reason, mode = common_pb2.DegradedReason.Name, common_pb2.FailMode.Name
    return Seen(
        sent.path,
        sent.user,
        sent.sent_s,
        sent.late_s,
        sent.took_s,
        sent.status,
        allowed=answer.decision == common_pb2.DECISION_ALLOW,
        reason=common_pb2.Reason.Name(answer.reason).removeprefix("REASON_"),
        degraded=reason(answer.degraded.reason).removeprefix("DEGRADED_REASON_") if degraded else "",
        fail_mode=mode(answer.degraded.fail_mode).removeprefix("FAIL_MODE_") if degraded else "",
        remaining=answer.limits[0].remaining if answer.limits else -1,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
