"""``streamcodec loopback``."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from streamcodec.cli.call_screen import without_library_noise
from streamcodec.cli.common import (
    add_backend_argument,
    add_rate_arguments,
    add_redundancy_argument,
    add_scheduling_arguments,
    burst,
    device,
    milliseconds,
    positive,
    print_json,
    redundancy_of,
    scheduling_of,
    share,
)

if TYPE_CHECKING:
    from streamcodec.live import Loopback, LoopbackStats

HELP = (
    "hear yourself through the codec: microphone to headphones, live",
    "streamcodec loopback --kbps 3 --loss 0.1 --burst 2 --record heard.wav",
)
REFRESH_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--list-devices", action="store_true", help="list the sound devices and stop")
    parser.add_argument("--input-device", type=device, help="microphone: number or part of its name")
    parser.add_argument("--output-device", type=device, help="loudspeaker: number or part of its name")
    parser.add_argument("--rate", type=int, default=48_000, help="sample rate in Hz (default 48000)")
    add_rate_arguments(parser)
    add_backend_argument(parser)
    add_scheduling_arguments(parser)
    parser.add_argument("--seconds", type=positive, help="stop after this long (default: until Ctrl-C)")
    parser.add_argument("--loss", type=share, default=0.0, help="share of packets lost (default 0)")
    parser.add_argument("--burst", type=burst, default=1.0, help="mean length of a loss, in packets (default 1)")
    parser.add_argument("--jitter", type=milliseconds, default=0.0, help="delay jitter of the link, ms (default 0)")
    add_redundancy_argument(parser, "off")
    parser.add_argument("--seed", type=int, default=0, help="seed of losses and jitter (default 0)")
    parser.add_argument("--buffer", type=milliseconds, default=10.0, help="playback buffer, ms (default 10)")
    parser.add_argument("--record", metavar="OUT.wav", help="record: left the microphone, right what was played")
    parser.add_argument(
        "--allow-feedback", action="store_true", help="never mute, even when the loudspeaker feeds the microphone"
    )
    parser.add_argument("--json", action="store_true", help="no meter; print the figures as JSON at the end")


def run(options: argparse.Namespace) -> None:
    """List devices, or run until the time is up or Ctrl-C is pressed, and say how it went."""
    from streamcodec.codec.files.output_file import check_folder
    from streamcodec.live import Loopback, LoopbackConfig
    from streamcodec.live.devices import check_devices

    if options.list_devices:
        print_devices()
        return
    config = LoopbackConfig(
        sample_rate_hz=options.rate,
        bitrate_bps=round(options.kbps * 1_000),
        constrained=options.constrained,
        dtx=options.dtx,
        packet_ms=options.packet_ms,
        model=options.model,
        backend=options.backend,
        loss=options.loss,
        mean_burst_packets=options.burst,
        jitter_ms=options.jitter,
        seed=options.seed,
        redundancy=redundancy_of(options.redundancy),
        buffer_ms=options.buffer,
        allow_feedback=options.allow_feedback,
    )
    # What is not there is told before kernels are compiled.
    if options.record is not None:
        check_folder(options.record)
    check_devices(options.input_device, options.output_device)
    loopback = Loopback(
        config,
        input_device=options.input_device,
        output_device=options.output_device,
        record=options.record,
        scheduling=scheduling_of(options),
    )
    with without_library_noise(), loopback:
        watch(loopback, options.seconds or math.inf, quiet=options.json)
        # While it still runs: what is in the buffers after the end is no delay that was heard.
        stats = loopback.stats
    if options.json:
        print_json(figures(stats))
    else:
        print(summary(stats))


def print_devices() -> None:
    """One line per device; ``>`` marks the default microphone, ``<`` the default loudspeaker."""
    from streamcodec.live import list_devices

    for info in list_devices():
        marks = (">" if info.is_default_input else " ") + ("<" if info.is_default_output else " ")
        print(
            f"{marks} {info.number:3d}  {info.name} ({info.host_api}): "
            f"{info.inputs} in, {info.outputs} out, {info.sample_rate_hz} Hz"
        )


def watch(loopback: Loopback, seconds: float, *, quiet: bool) -> None:
    """Draw the meter until the time is up or Ctrl-C is pressed."""
    from rich.console import Console
    from rich.live import Live

    from streamcodec.live.meter import meter

    console = Console(stderr=True)
    if not quiet:
        console.print("Wear headphones: loudspeakers feed the microphone. Ctrl-C stops.")
    try:
        if quiet or not console.is_terminal:
            loopback.wait(seconds)
            return
        with Live(console=console, auto_refresh=False) as screen:
            while loopback.engine.captured_s < seconds:
                loopback.wait(REFRESH_S)
                screen.update(meter(loopback.stats), refresh=True)
    except KeyboardInterrupt:
        return


def figures(stats: LoopbackStats) -> dict[str, object]:
    """Every figure under its own name, the delay's sum included."""
    values = asdict(stats)
    values["guard"] = stats.guard.value
    values["delay"]["total_ms"] = stats.delay.total_ms
    return values


def summary(stats: LoopbackStats) -> str:
    """One line that says how it went."""
    return (
        f"{stats.seconds:.1f} s at {stats.payload_bps / 1000:.2f} kbps ({stats.wire_bps / 1000:.1f} on the wire), "
        f"delay {stats.delay.total_ms:.0f} ms, cost p99 {stats.cost.p99_ms:.2f} ms per 10 ms, "
        f"{stats.lost} of {stats.packets} packets lost, {stats.recovered} recovered, "
        f"{stats.concealed} concealed, "
        f"{stats.dropped_ms:.0f} ms dropped, {stats.underruns} underruns, {stats.device_restarts} device restarts"
    )
