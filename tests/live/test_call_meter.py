"""A call's meter."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

pytest.importorskip("aiortc")

from streamcodec.live.call_meter import OwnVoice, call_meter
from streamcodec.net.call import PeerStats
from streamcodec.net.congestion import SendRate
from streamcodec.net.jitter_buffer import JitterStats
from streamcodec.net.playout import PlayoutStats
from streamcodec.net.session import ReceiverStats, SenderStats


def shown(own: OwnVoice | None, *peers: PeerStats) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(call_meter(own, peers))
    return console.export_text()


def test_it_says_who_talks_how_loud_and_over_what() -> None:
    jitter = JitterStats(received=95, lost=5, recovered=4, concealed=1, depth_ms=32.0)
    talking = PeerStats("Bob", "direct", 41.0, ReceiverStats(jitter, PlayoutStats(), 0, 0, True, 0.1))
    silent = PeerStats("", "relay", None, ReceiverStats(JitterStats(), PlayoutStats(), 0, 0, False))
    sender = SenderStats(50, 50, 750, 1_500, 6_000, SendRate(6_000, 2))
    text = shown(OwnVoice(False, True, 0.5, sender, 1.0), talking, silent)
    you, bob, other = text.splitlines()
    for word in ("you ● talking", "-6.0 dBFS", "payload 6.0 kbps", "wire 48.0", "2 copies"):
        assert word in you
    for word in ("Bob ● talking", "-20.0 dBFS", "direct", "round trip 41 ms", "buffer 32 ms", "lost 5.0 %"):
        assert word in bob
    assert "somebody ○" in other
    assert "-60.0 dBFS" in other


def test_mute_is_seen_and_listeners_see_only_the_others() -> None:
    sender = SenderStats(0, 0, 0, 0, 0, None)
    assert "MUTED" in shown(OwnVoice(True, False, 0.0, sender, 0.0))
    assert "you" not in shown(None)
