"""Two network namespaces joined by a veth pair, which is as near to two machines as one machine gets.

Where the kernel has netem the pair loses, delays and reorders; elsewhere it is clean and the lossy links of the other
tests have to do. Needs root and ``ip``; skipped without.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.relay import run

ROOT = Path(__file__).parents[2]
PACKETS = 60


@dataclass(frozen=True)
class Namespaces:
    """Names, the first one's address, and whether netem is at work."""

    names: tuple[str, str]
    address: str
    netem: bool


def command(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and the ip command")
    names = (f"sc{os.getpid()}a", f"sc{os.getpid()}b")
    try:
        if not all(command("ip", "netns", "add", name) for name in names):
            pytest.skip("this system does not let network namespaces be made")
        ends = ("link", "add", "veth0", "netns", names[0], "type", "veth", "peer", "name", "veth0", "netns", names[1])
        if not command("ip", *ends):
            pytest.skip("this system does not let veth pairs be made")
        netem = True
        for number, name in enumerate(names, 1):
            for words in (f"addr add 10.77.0.{number}/24 dev veth0", "link set veth0 up", "link set lo up"):
                assert command("ip", "-n", name, *words.split())
            rule = "qdisc add dev veth0 root netem delay 20ms 5ms loss 5% reorder 5%"
            netem = netem and shutil.which("tc") is not None and command("tc", "-n", name, *rule.split())
        yield Namespaces(names, "10.77.0.1", netem)
    finally:
        for name in names:
            command("ip", "netns", "del", name)


async def start(namespace: str, module: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "ip",
        "netns",
        "exec",
        namespace,
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )


def test_a_direct_call_between_two_namespaces(namespaces: Namespaces) -> None:
    async def test() -> None:
        one, two = namespaces.names
        relay = await start(one, "tests.helpers.relay_process", "-", namespaces.address)
        try:
            assert relay.stdout is not None
            url = (await relay.stdout.readline()).decode().strip()
            words = (url, "room", bytes(32).hex(), str(PACKETS), "direct")
            peers = [await start(name, "tests.helpers.peer_process", *words) for name in (one, two)]
            outputs = await asyncio.gather(*(peer.communicate() for peer in peers))
            assert [peer.returncode for peer in peers] == [0, 0]
            for out, _ in outputs:
                result: dict[str, Any] = json.loads(out)
                assert result["damaged"] == result["unopened"] == 0
                # The other side may leave first, but nobody's line was lost before.
                assert set(result["paths"]) <= {"direct", "none", "relay"}
                heard = [int(payload[1:]) for payload in result["heard"]]
                assert heard == sorted(set(heard))
                if result["paths"] == ["direct"] and not namespaces.netem:
                    # IP, UDP, RTP, ours, tag and the few bytes of payload, and hardly anything else: no
                    # acknowledgements, no heartbeats, no pings.
                    for device, meter in zip(result["device_bytes"], result["meter_bytes"], strict=True):
                        assert device / PACKETS < 28 + 12 + 1 + 3 + 10 + 12
                        assert meter == pytest.approx(device, rel=0.15)
                if not namespaces.netem:
                    assert result["lost"] == 0
                    assert result["received"] >= PACKETS - 5
                assert len(heard) >= PACKETS * 3 // 4
        finally:
            relay.kill()
            await relay.wait()

    run(test())
