"""The asyncio transport: a gRPC channel and its tasks around the core, one session per process and event loop."""

from __future__ import annotations
