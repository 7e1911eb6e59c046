"""A loopback's figures as a picture for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from streamcodec.live.cost_window import BUDGET_MS
from streamcodec.live.engine import LoopbackStats
from streamcodec.live.feedback_guard import ADVICE, GuardState

BAR_COLUMNS = 30
BAR_FLOOR_DBFS = -60.0
LOUD_DBFS = -6.0


def level_bar(level_dbfs: float) -> Text:
    """A bar that is full at full scale and empty at -60 dBFS, red near full scale."""
    share = min(max(1.0 - level_dbfs / BAR_FLOOR_DBFS, 0.0), 1.0)
    filled = round(share * BAR_COLUMNS)
    bar = Text("█" * filled, "red" if level_dbfs > LOUD_DBFS else "green")
    return bar.append("·" * (BAR_COLUMNS - filled), "dim").append(f" {level_dbfs:6.1f} dBFS", "default")


def meter(stats: LoopbackStats) -> Table:
    """The figures of one moment, to be drawn over the last."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("microphone", level_bar(stats.mic_dbfs))
    table.add_row("heard", level_bar(stats.heard_dbfs))
    table.add_row("rate", f"payload {stats.payload_bps / 1000:.1f} kbps, wire {stats.wire_bps / 1000:.1f} kbps")
    delay = stats.delay
    table.add_row(
        "delay",
        f"{delay.total_ms:.0f} ms = devices {delay.device_ms:.0f} + frame {delay.frame_ms:.0f} "
        f"+ codec {delay.codec_ms:.1f} + buffer {delay.buffer_ms:.0f}",
    )
    table.add_row("buffer", f"playback {stats.playback_ms:.1f} ms, jitter {stats.jitter_depth_ms:.0f} ms")
    table.add_row("cost", _cost(stats))
    table.add_row(
        "packets",
        f"{stats.packets}, lost {stats.lost}, late {stats.late}, recovered {stats.recovered} "
        f"({stats.redundancy} copies), concealed {stats.concealed}",
    )
    table.add_row("drops", _drops(stats))
    if stats.guard is GuardState.MUTED:
        table.add_row("MUTED", Text(ADVICE, "bold red"))
    return table


def _cost(stats: LoopbackStats) -> Text:
    cost = stats.cost
    line = f"p50 {cost.p50_ms:.2f}  p95 {cost.p95_ms:.2f}  p99 {cost.p99_ms:.2f}  max {cost.max_ms:.2f}"
    style = "green" if cost.p99_ms <= BUDGET_MS else "yellow"
    return Text(line, style).append(f" ms per 10 ms, budget {BUDGET_MS:g} ms", "default")


def _drops(stats: LoopbackStats) -> str:
    line = f"{stats.dropped_ms:.0f} ms of sound, {stats.underruns} callbacks without enough to play"
    return f"{line}, device restarted {stats.device_restarts}x" if stats.device_restarts else line
