"""A relay that serves pages: whole files, held to by headers, without harm to the websockets beside them."""

from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
import tracemalloc
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.pages import Pages
from streamcodec.net.relay.server import Relay
from tests.helpers.relay import Seat, certificate, run, until

LONG = bytes(range(256)) * 20_000
FILES = {"call.html": b"<!doctype html>" + b" " * 1_000, "codec.wasm": b"\0asm", "decoder.bin": LONG}
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def _relay(context: ssl.SSLContext | None = None, **config: object) -> Relay:
    return Relay(RelayConfig(**config), context=context, pages=Pages(FILES, "call.html"))  # type: ignore[arg-type]


async def _get(
    relay: Relay, path: str, headers: str = "", context: ssl.SSLContext | None = None, pause_s: float = 0.0
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; with ``pause_s`` they are read slowly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port, ssl=context, limit=16_384)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
    content = b""
    while piece := await reader.read(200_000):
        content += piece
        await asyncio.sleep(pause_s)
    writer.close()
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_pages_come_whole_and_typed_to_slow_readers_too() -> None:
    async def test() -> None:
        async with _relay() as relay:
            status, headers, body = await _get(relay, "/")
            assert (status, body) == (200, FILES["call.html"])
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert (await _get(relay, "/codec.wasm?again"))[1]["Content-Type"] == "application/wasm"
            fast, slow = await asyncio.gather(_get(relay, "/decoder.bin"), _get(relay, "/decoder.bin", pause_s=0.001))
            assert fast[2] == slow[2] == LONG
            _, headers, body = await _get(relay, "/decoder.bin", "Accept-Encoding: br, gzip\r\n")
            assert headers["Content-Encoding"] == "gzip"
            assert len(body) < len(LONG) / 10
            assert gzip.decompress(body) == LONG
            for path in ("/../secret", "/decoder.bin/", "/%2e%2e/x", "/nothing"):
                assert (await _get(relay, path))[0] == 404
            await until(lambda: relay.stats.connections == 0)

    run(test())


def test_slow_readers_share_the_page_and_leave_nothing_when_they_go() -> None:
    """Hundreds of them: what each holds must be a buffer, not the page."""

    async def test() -> None:
        async with _relay() as relay:
            gc.collect()
            tracemalloc.start()
            writers = []
            for _ in range(30):
                _, writer = await asyncio.open_connection("127.0.0.1", relay.port, limit=4_096)
                writer.write(b"GET /decoder.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                writers.append(writer)
            await until(lambda: relay.stats.connections == 30)
            await asyncio.sleep(0.2)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert held < 30 * 200_000 < len(LONG) * 2
            for writer in writers:
                writer.transport.abort()
            await until(lambda: relay.stats.connections == 0)

    run(test())


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", 200, 0), ("DELETE", 405, 9), ("OPTIONS", 405, 9), ("GET", 200, 1_015)]
)
def test_pages_are_read_and_nothing_else(method: str, status: int, length: int) -> None:
    async def test() -> None:
        async with _relay() as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.startswith(f"HTTP/1.1 {status} ".encode())
            assert len(body) == length

    run(test())


@pytest.mark.parametrize(
    ("host", "scheme", "joins"),
    [
        ("127.0.0.1:9", "http", True),
        ("localhost:9", "http", True),
        ("[::1]:9", "http", True),
        ("call.example", "https", True),
        ("evil.example:9", "http", False),
    ],
)
def test_a_page_of_another_name_is_not_taken_for_ours(host: str, scheme: str, joins: bool) -> None:
    """A name without a certificate may be made to lead here while a browser shows somebody else's page."""

    async def test() -> None:
        async with _relay(origins=("https://elsewhere.example",)) as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            origin = f"Origin: {scheme}://{host}\r\n"
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{origin}\r\n".encode())
            assert (await reader.readline()).split()[1] == (b"101" if joins else b"403")
            writer.close()

    run(test())


def test_what_a_browser_has_is_not_sent_again() -> None:
    async def test() -> None:
        async with _relay() as relay:
            _, headers, _ = await _get(relay, "/decoder.bin")
            status, again, body = await _get(relay, "/decoder.bin", f"If-None-Match: {headers['ETag']}\r\n")
            assert (status, body) == (304, b"")
            assert again["ETag"] == headers["ETag"]
            assert (await _get(relay, "/decoder.bin", 'If-None-Match: "other"\r\n'))[0] == 200

    run(test())


def test_pages_may_fetch_and_run_nothing_of_others_and_are_isolated() -> None:
    async def test() -> None:
        async with _relay() as relay:
            for path in ("/", "/nothing"):
                _, headers, _ = await _get(relay, path)
                policy = headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe-inline" not in policy
                assert "http" not in policy
                assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"

    run(test())


def test_websockets_and_health_go_on_beside_pages() -> None:
    async def test() -> None:
        async with _relay(origins=("https://app.example",)) as relay, Seat(relay.url) as ann, Seat(relay.url) as bob:
            for path in ("/health", "/health?probe=1"):
                assert (await _get(relay, path))[2] == b"ok\n"
            await _get(relay, "/decoder.bin")
            bob.send(b"sound")
            await until(lambda: ann.heard == [(1, b"sound")])
            # The relay's own page may connect, whatever others may.
            async with connect(relay.url, origin=Origin(f"http://127.0.0.1:{relay.port}")):
                pass
            with pytest.raises(InvalidStatus, match="403"):
                async with connect(relay.url, origin=Origin("https://evil.example")):
                    pass

    run(test())


def test_without_pages_nothing_is_served() -> None:
    async def test() -> None:
        async with Relay(RelayConfig()) as relay:
            assert (await _get(relay, "/"))[0] == 426

    run(test())


def test_pages_come_over_tls(tmp_path: Path) -> None:
    async def test() -> None:
        server, client = certificate(tmp_path)
        async with _relay(server) as relay:
            assert (await _get(relay, "/decoder.bin", context=client))[2] == LONG

    run(test())


def test_whoever_hangs_up_in_the_middle_of_a_page_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with _relay() as relay:
            for half in (True, False):
                _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
                writer.write(b"GET /decoder.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                await until(lambda: relay.stats.connections == 1)
                if half:
                    writer.write_eof()
                else:
                    writer.transport.abort()
                await until(lambda: relay.stats.connections == 0)
                writer.close()
            assert relay.gate.waiting == 0

    run(test())


@pytest.mark.parametrize("twice", ["Host: 127.0.0.1\r\nOrigin: http://127.0.0.1", "Origin: http://127.0.0.1"])
def test_headers_that_come_twice_are_refused_and_break_nothing(twice: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with _relay() as relay:
            status, _, _ = await _get(relay, "/", f"{UPGRADE}{twice}\r\n{twice}\r\n")
            assert status in (400, 403)
            await until(lambda: relay.stats.connections == 0)

    run(test())
    assert "Fatal error" not in caplog.text
