"""What a model must be measured for before it is shipped: the rate of each level, on real packets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamcodec.codec.neural_encoder import DEFAULT_KEY_PERIOD_S, LatentAnalysis, PacketCoder
from streamcodec.codec.neural_runtime import LatentContext, NeuralRuntime
from streamcodec.training.data import AUDIO_SUFFIXES, DatasetError

MODES = ("independent", "stream")


def read_speech(folder: Path, sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """Every sound under a folder as mono at one rate; raises DatasetError if there is none."""
    clips = []
    for file in sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES):
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        clips.append(np.asarray(soxr.resample(samples.mean(axis=1), rate, sample_rate_hz), np.float32))
    if not clips:
        raise DatasetError(f"no .wav, .flac or .ogg file under {folder}; give a folder of speech")
    return clips


def kbps_by_level(runtime: NeuralRuntime, clips: Sequence[NDArray[np.float32]]) -> dict[str, list[float]]:
    """Mean payload rate of every level in both packet modes, whole bytes per packet.

    Shape: clips ``[n]`` at the model's rate.
    """
    config = runtime.model.config
    coder = PacketCoder(runtime)
    totals = {mode: np.zeros(config.levels) for mode in MODES}
    key_period_packets = round(DEFAULT_KEY_PERIOD_S * config.packets_per_second)
    packets = 0
    for clip in clips:
        analysis = LatentAnalysis(runtime)
        blocks = clip[: clip.size // config.packet_samples * config.packet_samples].reshape(-1, config.packet_samples)
        latents = [analysis.step(block).copy() for block in blocks]
        packets += len(latents)
        for mode in MODES:
            for level in range(config.levels):
                context = LatentContext(config.latents)
                for k, packet in enumerate(latents):
                    if mode == "independent" or k % key_period_packets == 0:
                        context.forget()
                    totals[mode][level] += 8 * len(coder.code(packet[None], level, context))
    scale = config.packets_per_second / 1000.0 / packets
    return {mode: [round(float(v * scale), 3) for v in np.maximum.accumulate(totals[mode])] for mode in MODES}
