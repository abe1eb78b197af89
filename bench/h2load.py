"""nghttp2's h2load: load that costs little next to what it measures. It speaks gRPC unary with a prepared body.

It counts an UNAUTHENTICATED answer as success, so that whoever uses it must compare with the service's own count.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.figures import NotMeasured

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Load:
    """How much to send: calls over connections, each with that many calls at once."""

    calls: int
    connections: int = 1
    streams: int = 2


@dataclass(frozen=True, slots=True)
class Sent:
    """What h2load says: calls that ended well, of how many, in how many seconds."""

    calls: int
    succeeded: int
    seconds: float


def framed(message: bytes) -> bytes:
    """Returns a message as gRPC sends it: uncompressed, after its length."""
    return struct.pack(">BI", 0, len(message)) + message


def parse(output: str) -> Sent:
    """Returns what h2load's output says. Raises NotMeasured where it says nothing of the kind."""
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s),", output, re.MULTILINE)
    requests = re.search(r"^requests: (\d+) total, .*?(\d+) succeeded", output, re.MULTILINE)
    if finished is None or requests is None:
        raise NotMeasured(f"h2load did not finish: {output.strip()[-200:]}")
    seconds = float(finished[1]) * _SECONDS[finished[2]]
    return Sent(int(requests[1]), int(requests[2]), seconds)


def send(address: str, method: str, body: Path, load: Load, api_key: str = "") -> Sent:
    """Calls ``method`` (``/package.Service/Method``) with a framed body. Raises NotMeasured unless all calls ended well."""
    program = shutil.which("h2load")
    if program is None:
        raise NotMeasured("h2load is missing: run `make services` as root, or install nghttp2-client")
    headers = ["content-type: application/grpc", "te: trailers"]
    if api_key:
        headers.append(f"authorization: Bearer {api_key}")
    result = subprocess.run(
        [
            *(program, "-n", str(load.calls), "-c", str(load.connections), "-m", str(load.streams)),
            *(part for header in headers for part in ("-H", header)),
            *("-d", str(body), f"http://{address}{method}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    sent = parse(result.stdout + result.stderr)
    if sent.succeeded != load.calls:
        raise NotMeasured(f"of {load.calls} calls only {sent.succeeded} ended well")
    return sent
