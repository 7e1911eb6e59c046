"""A call's figures as a picture for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from streamcodec.live.meter import BAR_FLOOR_DBFS, level_bar
from streamcodec.net.call import PeerStats
from streamcodec.net.session import SenderStats


@dataclass(frozen=True, slots=True)
class OwnVoice:
    """What is sent."""

    muted: bool
    talking: bool
    level_rms: float
    sender: SenderStats
    seconds: float


def call_meter(own: OwnVoice | None, peers: Iterable[PeerStats]) -> Table:
    """The figures of one moment, to be drawn over the last; ``own`` None for those who only listen."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if own is not None:
        per_second = 0.008 / max(own.seconds, 1e-9)
        sent = (
            f"payload {per_second * own.sender.payload_bytes:.1f} kbps, wire {per_second * own.sender.wire_bytes:.1f}"
        )
        if own.sender.rate is not None and own.sender.rate.redundancy:
            sent += f", {own.sender.rate.redundancy} copies"
        mark = Text("MUTED", "bold red") if own.muted else _mark(own.talking)
        table.add_row(Text("you ") + mark, level_bar(_dbfs(own.level_rms)), sent)
    for peer in peers:
        table.add_row(
            Text(f"{peer.name or 'somebody'} ") + _mark(peer.stream.talking),
            level_bar(_dbfs(peer.stream.level_rms)),
            _link(peer),
        )
    return table


def _mark(talking: bool) -> Text:
    return Text("● talking", "bold green") if talking else Text("○", "dim")


def _link(peer: PeerStats) -> str:
    jitter = peer.stream.jitter
    expected = max(1, jitter.received + jitter.lost)
    round_trip = "" if peer.round_trip_ms is None else f", round trip {peer.round_trip_ms:.0f} ms"
    return (
        f"{peer.path}{round_trip}, buffer {jitter.depth_ms:.0f} ms, lost {100 * jitter.lost / expected:.1f} %, "
        f"recovered {jitter.recovered}, concealed {jitter.concealed}"
    )


def _dbfs(rms: float) -> float:
    return max(BAR_FLOOR_DBFS, 20.0 * math.log10(rms)) if rms > 0.0 else BAR_FLOOR_DBFS
