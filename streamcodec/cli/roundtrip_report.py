"""What ``roundtrip`` shows besides sound: a table of costs, and a picture of original and decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import BUDGET_MS
from streamcodec.codec.files.output_file import save_figure


def print_costs(figures: dict[str, Any]) -> None:
    """What was sent, and what it cost per 10 ms, as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{figures['duration_s']:.2f} s at {figures['sample_rate_hz']} Hz in {figures['packets']} packets "
        f"({figures['lost']} lost)"
    )
    seconds = max(figures["duration_s"], 1 / figures["sample_rate_hz"])
    console.print(
        f"payload {figures['payload_bps'] / 1000:.2f} kbps ({figures['payload_bytes']} bytes; "
        f"16-bit sound takes {16 * figures['sample_rate_hz'] / 1000:.0f} kbps), "
        f"with packet headers {8 * figures['packet_bytes'] / seconds / 1000:.2f} kbps"
    )
    console.print(f"delay {figures['delay_ms']:g} ms")
    table = Table("cost per 10 ms", "p50 ms", "p95 ms", "p99 ms", "max ms", f"p99 of {BUDGET_MS:g} ms budget")
    for stage, cost in figures["cost_per_10_ms"].items():
        table.add_row(
            stage,
            *(f"{cost[k]:.3f}" for k in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
            f"{100 * cost['p99_ms'] / BUDGET_MS:.0f} %",
        )
    console.print(table)


def draw_comparison(
    original: NDArray[np.float32], decoded: NDArray[np.float32], rate_hz: int, label: str, path: Path
) -> None:
    """Waveforms and spectrograms of both signals, one above the other, as a PNG file.

    Shape: two ``[n]``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(11, 9), height_ratios=(1, 2, 2), constrained_layout=True)
    times_s = np.arange(original.size) / rate_hz
    axes[0].plot(times_s, original, color="#9aa5b1", linewidth=0.6, label="original")
    axes[0].plot(times_s, decoded, color="#c2410c", linewidth=0.4, alpha=0.8, label=f"decoded, {label}")
    axes[0].set(xlim=(0, max(original.size, 1) / rate_hz), ylabel="amplitude")
    axes[0].set_title("streamcodec: original against decoded")
    axes[0].legend(loc="upper right")
    for axis, sound, name in ((axes[1], original, "original"), (axes[2], decoded, f"decoded, {label}")):
        fft = 512 if rate_hz <= 24_000 else 1024
        sound = np.pad(sound, (0, max(2 * fft - sound.size, 0)))
        noise = 1e-6 * np.random.default_rng(0).standard_normal(sound.size)
        _, _, _, picture = axis.specgram(
            sound + noise, NFFT=fft, Fs=rate_hz, noverlap=fft * 3 // 4, cmap="magma", vmin=-120, vmax=-30
        )
        axis.set(ylabel="Hz", title=name)
        figure.colorbar(picture, ax=axis, label="dB")
    axes[2].set_xlabel("seconds")
    save_figure(figure, path, dpi=110)
    pyplot.close(figure)
