"""A call's meter."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

pytest.importorskip("aiortc")

from streamcodec.live.call_meter import OwnVoice, call_meter
from streamcodec.net.call import PeerStats
from streamcodec.net.congestion import SendRate
from streamcodec.net.jitter_types import JitterStats
from streamcodec.net.playout import PlayoutStats
from streamcodec.net.session import ReceiverStats, SenderStats
from streamcodec.net.trouble import Trouble
from streamcodec.net.wire_meter import WireBytes, WireStats


def shown(own: OwnVoice | None, *peers: PeerStats) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(call_meter(own, peers))
    return console.export_text()


def test_it_says_who_talks_how_loud_and_over_what() -> None:
    jitter = JitterStats(received=95, lost=5, recovered=4, concealed=1, depth_ms=32.0)
    talking = PeerStats("Bob", "direct", 41.0, ReceiverStats(jitter, PlayoutStats(), 0, 0, True, 0.1))
    silent = PeerStats("", "relay", None, ReceiverStats(JitterStats(), PlayoutStats(), 0, 0, False))
    sender = SenderStats(50, 50, 750, 1_500, 6_000, SendRate(6_000, 2))
    wire = WireStats(WireBytes(3_500, 3_400), 28_000.0, 27_260.0)
    text = shown(OwnVoice(False, True, 0.5, sender, 1.0, wire=wire), talking, silent)
    you, bob, other = text.splitlines()
    for word in ("you ● talking", "-6.0 dBFS", "payload 6.0 kbps", "wire 28.0 up 27.3 down", "2 copies"):
        assert word in you
    for word in ("Bob ● talking", "-20.0 dBFS", "direct", "round trip 41 ms", "buffer 32 ms", "lost 5.0 %"):
        assert word in bob
    assert "somebody ○" in other
    assert "-60.0 dBFS" in other


def test_mute_is_seen_and_listeners_see_only_the_others() -> None:
    sender = SenderStats(0, 0, 0, 0, 0, None)
    assert "MUTED" in shown(OwnVoice(True, False, 0.0, sender, 0.0))
    assert "you" not in shown(None)


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 110, 120, 130, 200])
@pytest.mark.parametrize("name", ["bob", "", "x" * 64, "語" * 64, "Ann [red]Lee[/red]"])
def test_names_and_marks_fit_any_screen_and_figures_give_way(columns: int, name: str) -> None:
    jitter = JitterStats(received=500, lost=5, recovered=4, concealed=1, depth_ms=32.0)
    talking = PeerStats(name, "direct", 41.0, ReceiverStats(jitter, PlayoutStats(), 0, 0, True, 0.1))
    locked = PeerStats(name, "relay", 41.0, talking.stream, troubles=(Trouble.WRONG_KEY,))
    quiet = PeerStats(name, "relay", 41.0, talking.stream, troubles=(Trouble.MUTED, Trouble.NO_DIRECT_LINE))
    sender = SenderStats(0, 0, 0, 0, 0, SendRate(6_000, 2))
    console = Console(width=columns, record=True, file=io.StringIO())
    console.print(call_meter(OwnVoice(True, False, 0.01, sender, 10.0), [talking, locked, quiet]))
    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert all(cell_len(line) <= columns for line in lines)
    assert lines[0].startswith("you MUTED")
    for line, mark in zip(lines[1:], ("● talking", "WRONG KEY", "muted"), strict=True):
        assert mark in line
        assert line.startswith((name or "somebody")[:8])
    if columns >= 60 and len(name) < 10:
        assert "direct, lost 1.0 %" in lines[1]


def test_a_dead_microphone_is_seen() -> None:
    sender = SenderStats(0, 0, 0, 0, 0, None)
    text = shown(OwnVoice(False, False, 0.0, sender, 0.0, silent_microphone=True, underruns=3))
    assert "MICROPHONE SILENT" in text
    assert "3 underruns" in text
