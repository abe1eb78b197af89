"""A receiver of webhooks and of OpenTelemetry's protocol over HTTP, which keeps whatever comes."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class PostReceiver:
    """What came so far, unpacked: headers and bodies."""

    port: int = 0
    received: list[bytes] = field(default_factory=list)

    @property
    def trace_settings(self) -> dict[str, str]:
        """Returns the standard variables that tell a process to send traces here at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }


@contextmanager
def receiving_posts() -> Iterator[PostReceiver]:
    """Runs a receiver on a free loopback port; it takes any POST, of a webhook too."""
    receiver = PostReceiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.received.append(bytes(self.headers) + b"\n" + body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing: the figure tells."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)
