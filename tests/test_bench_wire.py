"""The wire benchmark: what is measured, and where bytes are counted."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiortc")

from bench.wire.__main__ import BARS, Case, cases, certificate, parser, table
from bench.wire.__main__ import Row as WireRow
from bench.wire.network import LOOPBACK, Counters


def test_every_bar_is_measured_by_default_and_opus_beside_it() -> None:
    found = cases(parser().parse_args([]))
    assert {(case.system, case.kbps, case.packet_ms) for case in found} >= BARS.keys()
    for packet_ms in (20, 40, 60):
        assert any(case.system.startswith("Opus") and case.packet_ms == packet_ms for case in found)
    only = cases(parser().parse_args(["--only", "SRTP", "--kbps", "6", "--packet-ms", "20"]))
    assert only == [Case("SRTP", 6.0, 20, only[0].job)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/net/dev")
def test_a_device_counts_ip_packets() -> None:
    before = Counters.read("lo")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        two.bind(("127.0.0.1", 0))
        for _ in range(50):
            one.sendto(bytes(1_000), two.getsockname())
    counted = Counters.read("lo").since(before)
    # Others use loopback too.
    assert counted.sent_packets >= 50
    assert counted.sent_bytes >= 50 * (20 + 8 + 1_000)
    assert counted.received_bytes >= 50 * (20 + 8 + 1_000)
    with pytest.raises(OSError, match="no network device"):
        Counters.read("nowhere0")


def test_a_missed_bar_and_a_busy_machine_are_seen(tmp_path: Path) -> None:
    row = WireRow("SRTP", 6.0, 20, 6.0, 31.0, 50.0, 31.0, 200.0, 0, 0.9, 30.0)
    cells = [next(iter(column.cells)) for column in table([row]).columns]
    assert "30 MISSED" in cells
    assert "90%" in cells
    assert all(place.shared for place in LOOPBACK.places)
    context, authority = certificate(tmp_path, "127.0.0.1")
    assert authority.read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert context.get_ciphers()
