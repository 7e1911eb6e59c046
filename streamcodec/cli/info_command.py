"""``streamcodec info``."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import IO, Any

from streamcodec.cli.common import add_backend_argument, add_file_model_argument, input_file, print_json
from streamcodec.errors import StreamcodecError

HELP = (
    "say what is in a .sc file, which models are shipped, or what runs the codec here",
    "streamcodec info talk.sc",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", nargs="?", help="coded file (.sc), or - for standard input")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--models", action="store_true", help="the shipped models instead: rates, delay, size, scores"
    )
    instead.add_argument("--runtime", action="store_true", help="backend, versions, threads and processor instead")
    add_file_model_argument(parser)
    add_backend_argument(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def describe(source: Path | IO[bytes], model: str | None = None, *, tell: bool = False) -> dict[str, Any]:
    """Figures of a file; damage is told (StreamcodecWarning) where asked for. Raises FileFormatError."""
    from streamcodec.codec.files.container_reader import FileReader
    from streamcodec.codec.files.damage import tell_of_damage
    from streamcodec.codec.files.decoding import decoder_for
    from streamcodec.codec.files.output_file import readable_name
    from streamcodec.codec.files.sound_file import open_binary
    from streamcodec.codec.options import tier_name
    from streamcodec.codec.packet import Tier
    from streamcodec.errors import FileFormatError

    with open_binary(source) as file:
        reader = FileReader(file, readable_name(source))
        header = reader.header
        packets = payload_bytes = key_packets = 0
        longest_frames = 1
        for record in reader.records():
            packets += 1
            key_packets += record.is_key
            payload_bytes += record.end - record.start
            longest_frames = max(longest_frames, record.frames)
        pictures = [{"type": picture.mime, "bytes": len(picture.data)} for picture in reader.pictures()]
        total_samples = reader.trusted_samples(header.sample_rate_hz)
    missing_frames = reader.damaged_frames + reader.lacking_frames
    if tell and (packets or reader.total_samples != 0):
        tell_of_damage(readable_name(source), reader, reader.damaged_frames, decoded=False)
    delay_ms = None
    with contextlib.suppress(FileFormatError):
        decoder = decoder_for(header, model=model)
        latency_samples = header.delay_samples + longest_frames * decoder.block_samples + decoder.delay_samples
        delay_ms = round(1000.0 * latency_samples / header.sample_rate_hz, 3)
    if total_samples is None:
        duration_s = reader.end_time / header.packets_per_second
    else:
        duration_s = total_samples / header.sample_rate_hz
    # To the samples that came in where all of them come back; else to 16 bits, as --ratio counts.
    bits = header.bits_per_sample if header.tier is Tier.LOSSLESS else 16
    raw_bytes = duration_s * header.sample_rate_hz * header.channels * bits / 8
    return {
        "duration_s": round(duration_s, 6),
        "payload_bytes": payload_bytes,
        "payload_bps": round(8.0 * payload_bytes / duration_s, 1) if duration_s else 0.0,
        "packets": packets,
        "key_packets": key_packets,
        "sample_rate_hz": header.sample_rate_hz,
        "channels": header.channels,
        "bits_per_sample": header.bits_per_sample,
        "tier": tier_name(header.tier),
        "model": header.model,
        "bitstream": header.bitstream,
        "delay_ms": delay_ms,
        "file_bytes": reader.file_bytes,
        "ratio": round(raw_bytes / reader.file_bytes, 3),
        "complete": reader.total_samples is not None and not missing_frames,
        "missing_s": round(missing_frames / header.packets_per_second, 6),
        "bytes_behind": reader.bytes_behind,
        "metadata": header.metadata,
        "pictures": pictures,
    }


def run(options: argparse.Namespace) -> None:
    """Print the figures."""
    beside = "--models" if options.models else "--runtime" if options.runtime else None
    if beside is not None and options.input is not None:
        raise StreamcodecError(f"{beside} is in place of a file: leave {options.input} out, or {beside}")
    if options.backend != "auto" and not options.runtime:
        raise StreamcodecError("--backend goes with --runtime: leave it out")
    if options.models:
        from streamcodec.cli.model_table import print_models

        print_models(options.json)
        return
    if options.runtime:
        from streamcodec.runtime.describe import describe_runtime

        print_json(describe_runtime(options.backend))
        return
    if options.input is None:
        raise StreamcodecError("name a .sc file, or ask for --models or --runtime")
    print_json(describe(input_file(options.input), options.model, tell=True))
