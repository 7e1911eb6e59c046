"""Health and Prometheus metrics of a relay, on a port of their own that the public need not reach.

``GET /health`` answers ``ok``; ``GET /metrics`` the counts of :class:`~streamcodec.net.relay.config.RelayStats` in
Prometheus' text format, by ``prometheus-client``. It has its own listener, limits and descriptors, so it answers
while the relay's own door is under attack.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from streamcodec.extras import extra_imports
from streamcodec.net.relay.config import RelayStats

MAX_CONNECTIONS = 16
REQUEST_TIMEOUT_S = 5.0
_REQUEST_BYTES = 8_192
_NOW = frozenset({"connections", "participants", "rooms"})
"""Gauges; everything else only grows."""


class MetricsServer:
    """``async with MetricsServer(host, port, stats) as server``; raises OSError where the port is taken."""

    def __init__(self, host: str, port: int, stats: Callable[[], RelayStats]) -> None:
        with extra_imports("relay"):
            from prometheus_client import CollectorRegistry

        self._host = host
        self._port = port
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(stats))
        self._connections: dict[asyncio.StreamWriter, None] = {}

    async def __aenter__(self) -> MetricsServer:
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            # Whoever asks gets an answer; who has been here longest has had time to.
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()
        self._connections[writer] = None
        try:
            with contextlib.suppress(
                OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_TIMEOUT_S)
                writer.write(self._answer(request))
                await asyncio.wait_for(writer.drain(), REQUEST_TIMEOUT_S)
        finally:
            self._connections.pop(writer, None)
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain", b"GET only\n"
        elif path == b"/health":
            status, kind, body = "200 OK", "text/plain", b"ok\n"
        elif path == b"/metrics":
            status, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        else:
            status, kind, body = "404 Not Found", "text/plain", b"/health or /metrics\n"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == b"HEAD" else body)


class _Collector:
    """Reads the relay's counts when it is asked."""

    def __init__(self, stats: Callable[[], RelayStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._stats()
        for item in fields(stats):
            text = item.name.replace("_", " ")
            family = GaugeMetricFamily if item.name in _NOW else CounterMetricFamily
            metric = family(f"streamcodec_relay_{item.name}", f"{text} of the relay")
            metric.add_metric([], float(getattr(stats, item.name)))
            yield metric
        if sys.platform.startswith("linux"):
            files = GaugeMetricFamily("process_open_fds", "open file descriptors")
            files.add_metric([], float(len(os.listdir("/proc/self/fd"))))
            yield files
