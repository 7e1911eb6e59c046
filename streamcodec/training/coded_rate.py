"""Measured before a model is shipped: the rate at each quality index, and what coding adds to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.neural.packet_coder import PacketCoder
from streamcodec.codec.options import DEFAULT_KEY_PERIOD_S
from streamcodec.codec.packet import Packet, PacketFlags, Tier
from streamcodec.models.codec import NeuralCodec, context_available
from streamcodec.models.entropy import bits
from streamcodec.training.data import DatasetError

MODES = ("independent", "stream")


def read_speech(folder: Path, sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """Every sound under a folder as mono at one rate; raises DatasetError if there is none."""
    clips = []
    for file in sound_files(folder.rglob("*")):
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        clips.append(np.asarray(soxr.resample(samples.mean(axis=1), rate, sample_rate_hz), np.float32))
    if not clips:
        raise DatasetError(f"no sound file under {folder}; give a folder of speech")
    return clips


def latents_of(runtime: NeuralModel, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """What the shipped encoder makes of each clip.

    Shape: clips ``[n]`` at the model's rate -> ``[frames, latents]`` each.
    """
    samples = runtime.model.config.frame_samples
    found = []
    for clip in clips:
        analysis = LatentAnalysis(runtime)
        blocks = clip[: clip.size // samples * samples].reshape(-1, samples)
        found.append(np.stack([analysis.step(block).copy() for block in blocks]))
    return found


def independent_packets(runtime: NeuralModel, latents: NDArray[np.float32], quality_index: int) -> Iterator[Packet]:
    """Packets of one frame and one quality index that decode without each other.

    Shape: latents ``[frames, latents]``.
    """
    coder, context = PacketCoder(runtime), LatentContext(runtime.model.config.latents)
    for k, packet in enumerate(latents):
        context.forget()
        yield Packet(
            Tier.NEURAL, k, k, quality_index, PacketFlags.KEY, coder.code(packet[None], quality_index, context)
        )


def key_packets(mode: str, packets: int, packets_per_second: float) -> NDArray[np.bool_]:
    """Which packets, of one frame each, are key packets.

    Shape: output ``[packets]``.
    """
    period = 1 if mode == "independent" else round(DEFAULT_KEY_PERIOD_S * packets_per_second)
    keys: NDArray[np.bool_] = np.arange(packets) % period == 0
    return keys


def kbps_by_quality(runtime: NeuralModel, latents: Sequence[NDArray[np.float32]]) -> dict[str, list[float]]:
    """Mean payload rate at every quality index in both packet modes, whole bytes per packet.

    Shape: latents as :func:`latents_of` gives them.
    """
    qualities = range(runtime.model.config.qualities)
    rates = {
        mode: [coded_kbps(runtime, latents, quality_index, mode).whole_bytes for quality_index in qualities]
        for mode in MODES
    }
    return {mode: [round(float(v), 3) for v in np.maximum.accumulate(rates[mode])] for mode in MODES}


@dataclass(frozen=True)
class CodedRate:
    """Rate of the same packets, by the integer tables and as bytes."""

    tables: float
    whole_bytes: float


def coded_kbps(
    runtime: NeuralModel, latents: Sequence[NDArray[np.float32]], quality_index: int, mode: str
) -> CodedRate:
    """Code every packet at one quality index."""
    config, coder = runtime.model.config, PacketCoder(runtime)
    predicted = coded = 0.0
    for clip in latents:
        context = LatentContext(config.latents)
        for key, packet in zip(key_packets(mode, len(clip), config.frames_per_second), clip, strict=True):
            if key:
                context.forget()
            predicted += coder.cost_bits(packet[None], quality_index, context)
            coded += 8 * len(coder.code(packet[None], quality_index, context))
    scale = config.frames_per_second / 1000.0 / sum(len(clip) for clip in latents)
    return CodedRate(predicted * scale, coded * scale)


@torch.no_grad()
def cross_entropy_kbps(
    codec: NeuralCodec, latents: Sequence[NDArray[np.float32]], quality_index: int, mode: str
) -> float:
    """What the float entropy model says that the same packets hold: the rate that training lowers."""
    bits_in_all = 0.0
    for clip in latents:
        packets = len(clip)
        qualities = torch.full((1, packets), quality_index)
        dequantised, _, indices = codec.quantizer(torch.from_numpy(clip)[None], qualities)
        available = context_available(1, packets, mode)
        for k in np.flatnonzero(key_packets(mode, packets, codec.config.frames_per_second)):
            for age in range(available.shape[-1]):
                available[0, k : k + age + 1, age] = False
        step = codec.quantizer.steps(qualities)
        location, log2_scale = codec.entropy(dequantised, qualities, available)
        bits_in_all += float(bits(indices, location / step, log2_scale - torch.log2(step)).sum())
    packets_in_all = sum(len(clip) for clip in latents)
    return bits_in_all * codec.config.frames_per_second / 1000.0 / packets_in_all


def entropy_gaps(
    codec: NeuralCodec, runtime: NeuralModel, latents: Sequence[NDArray[np.float32]], qualities: Sequence[int]
) -> list[dict[str, float | str]]:
    """How much the integer tables, and then whole bytes, add to the cross-entropy of the float model.

    One row per quality index and packet mode: ``cross_entropy_kbps``, ``tables_kbps``, ``bytes_kbps``;
    ``stream_saving`` in the rows of stream mode is the share of the independent packets' bytes that context saves.
    """
    rows: list[dict[str, float | str]] = []
    for quality_index in qualities:
        alone = coded_kbps(runtime, latents, quality_index, "independent").whole_bytes
        for mode in MODES:
            coded = coded_kbps(runtime, latents, quality_index, mode)
            row: dict[str, float | str] = {
                "quality_index": quality_index,
                "mode": mode,
                "cross_entropy_kbps": round(cross_entropy_kbps(codec, latents, quality_index, mode), 3),
                "tables_kbps": round(coded.tables, 3),
                "bytes_kbps": round(coded.whole_bytes, 3),
            }
            if mode == "stream":
                row["stream_saving"] = round(1.0 - coded.whole_bytes / alone, 4)
            rows.append(row)
    return rows
