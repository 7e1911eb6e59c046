"""A call's figures as a picture for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from streamcodec.live.meter import BAR_FLOOR_DBFS, level_bar
from streamcodec.net.call import PeerStats
from streamcodec.net.session import SenderStats
from streamcodec.net.trouble import UNHEARD, Trouble
from streamcodec.net.wire_meter import WireStats
from streamcodec.net.wire_rate import SendPlan

LONGEST_NAME = 24
FULL_BAR_COLUMNS = 43
"""A bar with its figure; narrower screens get it without, then none."""
LEAST_FIGURE_COLUMNS, LEAST_BESIDE_BAR_COLUMNS = 12, 20
_GAP = 2


@dataclass(frozen=True, slots=True)
class OwnVoice:
    """What is sent."""

    muted: bool
    talking: bool
    level_rms: float
    sender: SenderStats
    seconds: float
    silent_microphone: bool = False
    underruns: int = 0
    """Times that the loudspeaker had too little to play."""
    wire: WireStats = field(default_factory=WireStats)
    """Of the whole call, both ways."""
    plan: SendPlan | None = None
    """How a rate on the wire is spent, where one is kept to."""


@dataclass(frozen=True, slots=True)
class _Row:
    who: Text
    level_rms: float
    figures: Sequence[str]
    """Most important first; those that do not fit are left out."""


class CallMeter:
    """One moment of a call: a line for each person. Names and marks always fit, bars and figures give way."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        who_columns = max((row.who.cell_len for row in self._rows), default=0)
        left = width - who_columns - _GAP
        table = Table.grid(padding=(0, _GAP))
        table.add_column(no_wrap=True, min_width=min(who_columns, width))
        bars = left - FULL_BAR_COLUMNS - _GAP >= LEAST_BESIDE_BAR_COLUMNS
        if bars:
            table.add_column(no_wrap=True, min_width=FULL_BAR_COLUMNS)
            left -= FULL_BAR_COLUMNS + _GAP
        if left >= LEAST_FIGURE_COLUMNS:
            table.add_column(no_wrap=True)
        for row in self._rows:
            cells: list[Text | str] = [row.who]
            if bars:
                cells.append(level_bar(_dbfs(row.level_rms)))
            if left >= LEAST_FIGURE_COLUMNS:
                cells.append(_fitting(row.figures, left))
            table.add_row(*cells)
        yield table


def call_meter(own: OwnVoice | None, peers: Iterable[PeerStats]) -> CallMeter:
    """The figures of one moment, to be drawn over the last; ``own`` None for those who only listen."""
    rows = [] if own is None else [_own_row(own)]
    return CallMeter([*rows, *map(_peer_row, peers)])


def _own_row(own: OwnVoice) -> _Row:
    per_second = 0.008 / max(own.seconds, 1e-9)
    figures = [
        f"payload {per_second * own.sender.payload_bytes:.1f} kbps",
        f"wire {0.001 * own.wire.sent_bps:.1f} up {0.001 * own.wire.received_bps:.1f} down",
    ]
    if own.plan is not None:
        figures.append(f"{own.plan.packet_ms} ms packets")
    if own.sender.rate is not None and own.sender.rate.redundancy:
        figures.append(f"{own.sender.rate.redundancy} copies")
    if own.underruns:
        figures.append(f"{own.underruns} underruns")
    if own.muted:
        mark = Text("MUTED", "bold red")
    elif own.silent_microphone:
        mark = Text("MICROPHONE SILENT", "bold red")
    else:
        mark = _mark(own.talking)
    return _Row(Text("you ", "bold") + mark, own.level_rms, figures)


def _peer_row(peer: PeerStats) -> _Row:
    return _Row(
        Text(f"{_short(peer.name or 'somebody')} ", "bold") + _peer_mark(peer), peer.stream.level_rms, _link(peer)
    )


def _peer_mark(peer: PeerStats) -> Text:
    unheard = next((trouble for trouble in peer.troubles if trouble in UNHEARD), None)
    if unheard is not None:
        return Text(unheard.value.replace("-", " ").upper(), "bold red")
    if Trouble.MUTED in peer.troubles:
        return Text("muted", "yellow")
    if Trouble.SILENT_MICROPHONE in peer.troubles:
        return Text("microphone silent", "yellow")
    return _mark(peer.stream.talking)


def _mark(talking: bool) -> Text:
    return Text("● talking", "bold green") if talking else Text("○", "dim")


def _short(name: str) -> str:
    """A name within ``LONGEST_NAME`` columns: a long one must not push everything else off the screen."""
    if cell_len(name) <= LONGEST_NAME:
        return name
    while cell_len(name) > LONGEST_NAME - 1:
        name = name[:-1]
    return name + "…"


def _link(peer: PeerStats) -> list[str]:
    jitter = peer.stream.jitter
    expected = max(1, jitter.received + jitter.lost)
    figures = [peer.path, f"lost {100 * jitter.lost / expected:.1f} %"]
    if peer.round_trip_ms is not None:
        figures.append(f"round trip {peer.round_trip_ms:.0f} ms")
    return [
        *figures,
        f"buffer {jitter.depth_ms:.0f} ms",
        f"concealed {jitter.concealed}",
        f"recovered {jitter.recovered}",
    ]


def _fitting(figures: Sequence[str], columns: int) -> str:
    """As many of the figures as fit."""
    line = ""
    for figure in figures:
        longer = f"{line}, {figure}" if line else figure
        if cell_len(longer) > columns:
            break
        line = longer
    return line


def _dbfs(rms: float) -> float:
    return max(BAR_FLOOR_DBFS, 20.0 * math.log10(rms)) if rms > 0.0 else BAR_FLOOR_DBFS
