"""The arguments of ``call``, and a stay in a room put together from them."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamcodec.cli.call_keys import HELP as KEYS_HELP
from streamcodec.cli.call_keys import MicrophoneSwitch, keys
from streamcodec.cli.call_runner import CallPlan, CallRunner
from streamcodec.cli.call_screen import Screen, without_library_noise
from streamcodec.cli.call_sound import DeviceSink, DeviceSource, FileSink, Sink, SoundFormat, Source
from streamcodec.cli.common import (
    add_redundancy_argument,
    add_tier_arguments,
    coding_options,
    device,
    need,
    positive,
    print_json,
    redundancy_of,
)
from streamcodec.cli.network import add_room_arguments, room_config, run_network, stop_on_signals
from streamcodec.cli.sound_stream import open_source
from streamcodec.codec.files.output_file import check_folder
from streamcodec.errors import StreamcodecError

if TYPE_CHECKING:
    from streamcodec.codec.float_stream import FloatEncoder
    from streamcodec.net.congestion import CongestionConfig
    from streamcodec.net.room import RoomConfig
    from streamcodec.net.wire_rate import WireRateConfig

DEVICE_RATE_HZ = 48_000
FILE_RATE_HZ = 24_000
"""Of a file that is written where none is read."""
NEAR_LOSSLESS_PACKET_MS = 40
"""Of calls: a block alone, of some 11 ms, has 38 kbps of headers, and takes more bits for the same sound."""
SWITCH_INTERVAL_S = 0.0005
"""Python hands its interpreter from thread to thread this often: event loop, codec and device must not wait long."""


SPOKEN = (
    *("input", "input_device", "push_to_talk", "kbps", "ratio", "snr", "optimise"),
    *("packet_ms", "constrained", "dtx", "wire_kbps"),
)
HEARD = ("output", "output_device", "rate", "channels", "bits")
"""Arguments that say what is sent, and what becomes of what is heard."""


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, what is sent, and what becomes of what is heard."""
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--listen-only", action="store_true", help="send nothing: no microphone is opened")
    only.add_argument("--speak-only", action="store_true", help="play nothing: no loudspeaker is opened")
    add_room_arguments(parser)
    parser.add_argument("--input", metavar="FILE", help="sound file to send in place of the microphone")
    parser.add_argument("--input-device", type=device, help="microphone: number or part of its name")
    # A lost packet must not take others with it.
    parser.set_defaults(mode="independent")
    add_tier_arguments(parser)
    add_redundancy_argument(parser, "auto")
    parser.add_argument(
        "--wire-kbps",
        type=positive,
        metavar="N",
        help="keep what is sent within N kbps on the wire, headers included (neural tier, 7 to 200): packet "
        "length, payload rate and redundancy are chosen and changed during the call; --kbps, --packet-ms and "
        "--redundancy K pin theirs",
    )
    parser.add_argument(
        "--push-to-talk", action="store_true", help=f"start muted, and hold the space bar to talk ({KEYS_HELP})"
    )
    parser.add_argument("--output", metavar="FILE", help="sound file to write in place of the loudspeaker")
    parser.add_argument("--output-device", type=device, help="loudspeaker: number or part of its name")
    parser.add_argument("--rate", type=int, metavar="HZ", help="sample rate of --output (default: of --input, 24000)")
    parser.add_argument("--channels", type=int, choices=(1, 2), help="channels of --output (default: of --input, 1)")
    parser.add_argument("--bits", type=int, choices=(16, 24), help="bits per sample of --output (16)")
    parser.add_argument(
        "--wait", type=positive, default=60.0, metavar="S", help="with files: longest wait for others (60)"
    )
    parser.add_argument("--seconds", type=positive, metavar="S", help="stay this long once somebody is there")
    parser.add_argument("--json", action="store_true", help="no meter; print figures as JSON at the end")


def check_one_way(options: argparse.Namespace) -> None:
    """Raise StreamcodecError for an argument of the direction that was left out."""
    for only, others in ((options.listen_only, SPOKEN), (options.speak_only, HEARD)):
        given = [name for name in others if getattr(options, name) not in (None, False)]
        if only and given:
            way, what = ("listen", "sent") if options.listen_only else ("speak", "heard")
            raise StreamcodecError(
                f"with --{way}-only nothing is {what}: leave out --{given[0].replace('_', '-')} or --{way}-only"
            )


def run_session(options: argparse.Namespace) -> None:
    """Go into the room, stay, leave, say what happened."""
    need("websockets")
    need("aiortc")
    check_one_way(options)
    speaks, hears = not options.listen_only, not options.speak_only
    config = room_config(options, _bitstream(options) if speaks else "")
    if speaks:
        _wire(options, None)  # says at once what cannot be
    spoken_file = options.input if speaks else None
    heard_file = options.output if hears else None
    with contextlib.ExitStack() as opened:
        source: Source | None = None
        sink: Sink | None = None
        spoken = SoundFormat(DEVICE_RATE_HZ)
        if spoken_file:
            file = open_source(spoken_file, all_channels=options.tier != "neural")
            opened.callback(file.close)
            source, spoken = file, file.format
        captures, plays = speaks and not spoken_file, hears and not heard_file
        if heard_file:
            check_folder(heard_file)
        if captures or plays:
            from streamcodec.live.devices import check_devices

            check_devices(options.input_device, options.output_device, captures=captures, plays=plays)
        heard = _heard_format(options, spoken, bool(spoken_file)) if heard_file else SoundFormat(DEVICE_RATE_HZ)
        # Loading and compiling come before the devices start: they would starve them.
        encoder = _encoder(options, spoken) if speaks else _no_voice(options)
        _warm_up(heard if hears else spoken)
        sink = FileSink(heard_file, heard, *([spoken_file] if spoken_file else [])) if heard_file else None
        if isinstance(sink, FileSink):
            opened.callback(sink.close)
        underruns: Callable[[], int] = lambda: 0  # noqa: E731 - what a device would count
        if captures or plays:
            from streamcodec.live import SoundDevices

            opened.enter_context(without_library_noise())
            sound = opened.enter_context(
                SoundDevices(
                    DEVICE_RATE_HZ,
                    options.input_device if captures else None,
                    options.output_device if plays else None,
                    captures=captures,
                    plays=plays,
                )
            )
            source = source if sound.microphone is None else DeviceSource(sound.microphone)
            sink = sink if sound.loudspeaker is None else DeviceSink(sound.loudspeaker)
            underruns = sound.underruns
        wait_s = options.wait if spoken_file or heard_file else math.inf
        plan = CallPlan(source, spoken, sink, heard, wait_s, options.seconds, captures, underruns)
        opened.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        run_network(_main(options, config, plan, encoder), options.server)


def _bitstream(options: argparse.Namespace) -> str:
    from streamcodec.codec.bitstream import bitstream_of
    from streamcodec.codec.options import tier_of
    from streamcodec.codec.packet import MAX_FRAMES

    return bitstream_of(tier_of(options.tier), options.model, frames=MAX_FRAMES)


def _heard_format(options: argparse.Namespace, spoken: SoundFormat, from_file: bool) -> SoundFormat:
    like = spoken if from_file else SoundFormat(FILE_RATE_HZ)
    return SoundFormat(
        options.rate or like.sample_rate_hz,
        options.channels or like.channels,
        options.bits or (like.bits_per_sample if options.tier == "lossless" else 16),
    )


def _encoder(options: argparse.Namespace, spoken: SoundFormat) -> FloatEncoder:
    from streamcodec import StreamEncoder, Tier
    from streamcodec.codec.float_stream import FloatEncoder
    from streamcodec.codec.options import tier_of

    coding = coding_options(options)
    if tier_of(options.tier) is not Tier.NEURAL:
        coding |= {"channels": spoken.channels, "bits_per_sample": spoken.bits_per_sample}
    if tier_of(options.tier) is Tier.NEAR_LOSSLESS:
        coding.setdefault("packet_ms", NEAR_LOSSLESS_PACKET_MS)
    return FloatEncoder(StreamEncoder(spoken.sample_rate_hz, **coding))


def _wire(options: argparse.Namespace, redundancy: int | None) -> WireRateConfig | None:
    """The rate on the wire that was asked for, and what else was; None where none was."""
    from streamcodec import Tier
    from streamcodec.codec.options import tier_of
    from streamcodec.net.wire_rate import WireRateConfig

    if options.wire_kbps is None:
        return None
    if tier_of(options.tier) is not Tier.NEURAL:
        raise StreamcodecError(
            f"--wire-kbps is for the neural tier, whose packets may become longer or shorter; with --tier "
            f"{options.tier} give --kbps"
        )
    bitrate_bps = None if options.kbps is None else round(1_000 * options.kbps)
    return WireRateConfig(round(1_000 * options.wire_kbps), options.packet_ms, bitrate_bps, redundancy)


def _no_voice(options: argparse.Namespace) -> FloatEncoder:
    """The encoder of one who only listens: nothing is ever pushed into it."""
    from streamcodec import StreamEncoder
    from streamcodec.codec.float_stream import FloatEncoder

    return FloatEncoder(StreamEncoder(FILE_RATE_HZ, model=options.model))


def _warm_up(heard: SoundFormat) -> None:
    from streamcodec.codec.float_stream import warm_up_waveform_tiers

    warm_up_waveform_tiers(heard.sample_rate_hz)


def _rates(encoder: FloatEncoder) -> CongestionConfig | None:
    """Bounds of the rate, the highest of which is what was asked for; None where quality was asked for instead."""
    from streamcodec import Tier
    from streamcodec.codec.near_lossless.rate import TargetBitrate
    from streamcodec.codec.near_lossless.tier import rate_target
    from streamcodec.net.congestion import CongestionConfig

    settings, usual = encoder.encoder.settings, CongestionConfig()
    if settings.tier is Tier.NEURAL:
        highest_bps = round(settings.bitrate_bps or usual.start_bps)
        return CongestionConfig(min(usual.minimum_bps, highest_bps), highest_bps, highest_bps)
    target = None if settings.tier is Tier.LOSSLESS else rate_target(settings)
    if not isinstance(target, TargetBitrate):
        return None
    highest_bps = round(target.bitrate_bps)
    # There are no coarser copies of these packets, so nothing is kept back for them.
    return CongestionConfig(max(1, highest_bps // 4), highest_bps, highest_bps, max_redundancy=0)


async def _main(options: argparse.Namespace, config: RoomConfig, plan: CallPlan, encoder: FloatEncoder) -> None:
    from streamcodec.codec.bitstream import bitstreams_read
    from streamcodec.codec.float_stream import FloatDecoder
    from streamcodec.net.call import Call, CallConfig
    from streamcodec.net.media import MediaConfig

    stop = stop_on_signals()
    heard = plan.heard
    redundancy = redundancy_of(options.redundancy) if plan.source is not None else 0
    wire = _wire(options, redundancy)
    media = MediaConfig(
        heard.sample_rate_hz,
        heard.channels,
        plan.spoken.sample_rate_hz,
        _rates(encoder),
        redundancy=redundancy,
        wire=wire,
    )
    call = Call(
        CallConfig(config, media, bitstreams=bitstreams_read(options.model)),
        encoder,
        lambda: FloatDecoder(heard.sample_rate_hz, heard.channels, options.model),
        encoder.encode_redundant,
    )
    switch = MicrophoneSwitch(muted=plan.source is not None and options.push_to_talk)

    def pressed(key: str) -> None:
        if key in ("q", "Q"):
            stop.set()
        elif plan.source is not None:
            switch.press(key, time.monotonic())

    screen = Screen(quiet=options.json)
    runner = CallRunner(call, plan, stop, switch, screen)
    async with call:
        if stop.is_set():
            # Asked to end while the relay was being reached: nothing has happened yet.
            raise KeyboardInterrupt
        with keys(sys.stdin.fileno(), pressed) if _has_descriptor() else contextlib.nullcontext(False) as typed:
            screen.say(f"in room {options.room}; {KEYS_HELP if typed else 'Ctrl-C leaves'}")
            with screen:
                await runner.run()
    if options.json:
        print_json(runner.figures())
    else:
        print(runner.summary())
    if plan.sink is not None:
        runner.check_heard()


def _has_descriptor() -> bool:
    """Whether standard input is a file at all: it may be closed, or something of a test's."""
    try:
        sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
