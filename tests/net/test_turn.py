"""Lines through a TURN server, and the addresses of such."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aioice.ice
import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.relay.server import Relay
from streamcodec.net.trouble import Trouble
from streamcodec.net.webrtc import IceServer, WebRtcConfig
from tests.helpers.ports import until_somebody_listens
from tests.helpers.relay import free_port, run, until
from tests.helpers.room import QUICK, Guest

TURN_SERVER = shutil.which("turnserver")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE leaves loopback addresses out; these tests use nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def turn_server() -> AsyncIterator[IceServer]:
    """A coturn on loopback, which it would otherwise refuse to relay to."""
    assert TURN_SERVER is not None
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            TURN_SERVER,
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={port}",
            "--allow-loopback-peers",
            "--cli-password=unused",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--lt-cred-mech",
            "--user=ann:hush",
            "--realm=streamcodec.test",
            "--min-port=49160",
            "--max-port=49400",
            "--log-file=stdout",
            f"--pidfile={folder}/turn.pid",
            f"--userdb={folder}/turn.db",
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until_somebody_listens(port)
        try:
            yield IceServer(f"turn:127.0.0.1:{port}?transport=udp", "ann", "hush")
        finally:
            process.kill()
            await process.wait()


@pytest.mark.skipif(TURN_SERVER is None, reason="coturn is not installed")
def test_a_line_through_a_turn_server() -> None:
    """Both ends may use nothing but what coturn relays; a wrong password leaves them with the websocket relay."""

    async def test() -> None:
        async with turn_server() as server, Relay() as relay:
            config = replace(QUICK, ice_servers=(server,), turn_only=True, open_timeout_s=5.0)
            async with Guest(relay.url, webrtc=config) as ann, Guest(relay.url, webrtc=config) as bob:
                await until(lambda: ann.reached("direct") and bob.reached("direct"), 10.0)
                ann.send(b"by turn")
                await until(lambda: bob.heard == [b"by turn"])
                (member,) = ann._members.values()
                assert member.line is not None
                assert member.line._connection is not None
                assert "typ relay" in member.line._connection.localDescription.sdp
                assert "typ host" not in member.line._connection.localDescription.sdp
                assert relay.stats.received_packets == 0
            wrong = replace(config, ice_servers=(replace(server, credential="wrong"),), open_timeout_s=0.5)
            async with Guest(relay.url, webrtc=wrong) as ann, Guest(relay.url, webrtc=wrong) as bob:
                await until(lambda: bool(ann.peers and bob.peers))
                await asyncio.sleep(0.3)
                ann.send(b"by relay")
                await until(lambda: bob.heard == [b"by relay"])
                assert ann.reached("relay")
                # Which is not the fault of anything in between.
                (member,) = ann._members.values()
                assert member.line is not None
                member.line_since_s = float("-inf")
                await until(lambda: ann.troubles == {bob.identity: (Trouble.NO_TURN,)})

    run(test())


def test_ice_servers_are_checked_and_credentials_hidden() -> None:
    with pytest.raises(StreamcodecError, match="turn:"):
        WebRtcConfig(ice_servers=(IceServer("http://turn.example"),))
    assert "hush" not in repr(IceServer("turn:turn.example", "ann", "hush"))
