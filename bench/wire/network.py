"""Where bytes are counted: two network namespaces on a bridge where the system lets them be made, else loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ETHERNET_BYTES = 14
"""Counted by an Ethernet device, and no part of an IP packet; loopback counts without."""
HUB = "10.78.0.254"


@dataclass(frozen=True)
class Place:
    """Where one peer runs and what is counted there."""

    prefix: tuple[str, ...]
    """Before the peer's command."""
    device: str
    shared: bool
    """Both peers, in both directions, are counted by this one device."""


@dataclass(frozen=True)
class Network:
    """Where the relay listens, and a place for each of two peers."""

    name: str
    relay_host: str
    places: tuple[Place, Place]


@dataclass(frozen=True)
class Counters:
    """Of one device since it was made; bytes of IP packets."""

    sent_bytes: int
    sent_packets: int
    received_bytes: int
    received_packets: int

    @classmethod
    def read(cls, device: str) -> Counters:
        """Of a device in this process's namespace."""
        for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
            name, _, fields = line.partition(":")
            if name.strip() == device:
                values = [int(field) for field in fields.split()]
                received, sent = values[:2], values[8:10]
                around = 0 if device == "lo" else ETHERNET_BYTES
                return cls(
                    sent[0] - around * sent[1],
                    sent[1],
                    received[0] - around * received[1],
                    received[1],
                )
        raise OSError(f"there is no network device {device}")

    def since(self, before: Counters) -> Counters:
        """What has come and gone since."""
        return Counters(
            self.sent_bytes - before.sent_bytes,
            self.sent_packets - before.sent_packets,
            self.received_bytes - before.received_bytes,
            self.received_packets - before.received_packets,
        )


LOOPBACK = Network("loopback", "127.0.0.1", (Place((), "lo", True), Place((), "lo", True)))


def _done(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@contextmanager
def network() -> Iterator[Network]:
    """Namespaces if this is root on Linux with ``ip``; loopback elsewhere."""
    with ExitStack() as cleaned:
        made = _namespaces(cleaned) if shutil.which("ip") and os.geteuid() == 0 else None
        yield made or LOOPBACK


def _namespaces(cleaned: ExitStack) -> Network | None:
    bridge = f"scw{os.getpid()}"
    cleaned.callback(_done, "ip", "link", "del", bridge)
    steps = [
        f"link add {bridge} type bridge",
        f"addr add {HUB}/24 dev {bridge}",
        f"link set {bridge} up",
    ]
    places = []
    for number in (1, 2):
        name = f"{bridge}n{number}"
        cleaned.callback(_done, "ip", "netns", "del", name)
        steps += [
            f"netns add {name}",
            f"link add {bridge}p{number} type veth peer name veth0 netns {name}",
            f"link set {bridge}p{number} master {bridge}",
            f"link set {bridge}p{number} up",
            f"-n {name} addr add 10.78.0.{number}/24 dev veth0",
            f"-n {name} link set lo up",
            f"-n {name} link set veth0 up",
        ]
        places.append(Place(("ip", "netns", "exec", name), "veth0", False))
    if not all(_done("ip", *step.split()) for step in steps):
        return None
    return Network("network namespaces", HUB, (places[0], places[1]))
