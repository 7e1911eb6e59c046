"""Restoring decoded sound, frame by frame: analysis STFT, the restorer's network, synthesis; state as a value.

Stands alone behind any codec, or as a last stage inside the neural tier's decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import soxr
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.companding import analyse_companded, expand
from native_dsp.transforms.stft import StftState, make_stft, synthesise
from native_dsp.transforms.windows import low_delay_pair
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.packet import Tier
from streamcodec.research.restorer import RestorerConfig, load_restorer
from streamcodec.runtime.step import StepGraph

Float32Array = NDArray[np.float32]


@dataclass
class RestorerState:
    """Everything a restorer remembers; opaque, made by ``state`` and taken by ``restore``."""

    stft: StftState
    network: list[Float32Array]


@lru_cache(maxsize=4)
def _load(folder: str) -> tuple[RestorerConfig, StepGraph]:
    # Imported late: streams without a restorer, and the waveform tiers, do without onnxruntime.
    from streamcodec.runtime.onnx_step import OnnxGraph

    stored = load_restorer(folder)
    graph = OnnxGraph(stored.graph_path)
    shape = (stored.config.hops_per_step, 2 * stored.config.bins)
    graph.check({"companded": shape}, shape)
    return stored.config, graph


class Restorer:
    """Blocks of decoded sound in, blocks nearer the original out, :attr:`delay_samples` later.

    Errors: ModelError where ``folder`` holds no restorer.
    """

    def __init__(self, folder: Path | str) -> None:
        self._config, graph = _load(str(folder))
        c = self._config
        self._stream = graph.new_stream()
        self._companded = self._stream.inputs["companded"][0]
        self._restored = self._stream.output[0]
        self._re = np.zeros(c.bins, np.float32)
        self._im = np.zeros(c.bins, np.float32)
        self._stft = self._new_stft()
        self.process(np.zeros(c.step_samples, np.float32))
        self.reset()

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound it takes and gives."""
        return self._config.sample_rate_hz

    @property
    def block_samples(self) -> int:
        """Length of a block."""
        return self._config.step_samples

    @property
    def delay_samples(self) -> int:
        """By how much the output lags the input."""
        return self._config.overlap_samples

    def _new_stft(self) -> StftState:
        c = self._config
        windows = low_delay_pair(c.fft_samples, c.hop_samples, c.overlap_samples)
        return make_stft(c.fft_samples, c.hop_samples, *windows, c.hop_samples + c.overlap_samples)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._stft.reset()
        self._stream.reset()

    def state(self) -> RestorerState:
        """A copy of everything remembered."""
        return RestorerState(self._stft.copy(), self._stream.state())

    def restore(self, state: RestorerState) -> None:
        """Continue from a copied state."""
        self._stft = state.stft.copy()
        self._stream.restore(state.network)

    def process(self, block: Float32Array) -> Float32Array:
        """One block in, one block out.

        Shape: ``[block_samples]`` -> ``[block_samples]``, within full scale.
        """
        analyse_companded(self._stft, block, self._re, self._im, self._companded)
        self._stream.step()
        out = np.empty(self.block_samples, np.float32)
        _synthesise_companded(self._stft, self._restored, self._re, self._im, out)
        return out


@kernel
def _synthesise_companded(
    stft: StftState, companded: Float32Array, re: Float32Array, im: Float32Array, out: Float32Array
) -> None:
    """Sound of all hops of a block, within full scale.

    Shape: companded ``[hops, 2 * bins]``; re, im (scratch) ``[bins]`` -> out ``[hops * hop_samples]``.
    """
    hops = len(companded)
    rows = out.reshape(hops, len(out) // hops)
    for h in range(hops):
        expand(companded[h], re, im)
        im[0] = im[-1] = 0.0
        synthesise(stft, re, im, rows[h])
    for i in range(out.size):
        out[i] = min(max(out[i], np.float32(-1.0)), np.float32(1.0))


def restore_array(
    samples: Float32Array,
    sample_rate_hz: int,
    restorer: Restorer,
    progress: Callable[[float], None] | None = None,
) -> Float32Array:
    """A whole sound restored, delay removed.

    What the restorer changes is added to the sound as it is, so frequencies above the restorer's band stay.

    Shape: ``[n]`` -> ``[n]``.
    """
    ratio = restorer.sample_rate_hz / sample_rate_hz
    inside = samples if ratio == 1.0 else soxr.resample(samples, sample_rate_hz, restorer.sample_rate_hz)
    block, delay = restorer.block_samples, restorer.delay_samples
    padded = np.zeros(-(-(len(inside) + delay) // block) * block, np.float32)
    padded[: len(inside)] = inside
    restorer.reset()
    blocks = []
    for start in range(0, len(padded), block):
        blocks.append(restorer.process(padded[start : start + block]))
        if progress is not None:
            progress((start + block) / len(padded))
    change = np.concatenate(blocks)[delay : delay + len(inside)] - inside
    if ratio != 1.0:
        change = soxr.resample(change, restorer.sample_rate_hz, sample_rate_hz)
    restored = samples.copy()
    common = min(len(restored), len(change))
    restored[:common] += change[:common]
    limited: Float32Array = np.clip(restored, -1.0, 1.0)
    return limited


def restore_file(
    source: str | Path | IO[bytes],
    target: str | Path | IO[bytes],
    restorer: Restorer,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Restore a sound file, every channel by itself; returns the number of samples of each.

    Raises AudioFormatError or FileFormatError.
    """
    with SoundReader(source, Tier.NEAR_LOSSLESS) as sound:
        samples = sound.read()
        channels = samples.shape[1]
        restored = np.empty_like(samples)
        for k in range(channels):

            def channel_progress(done: float, k: int = k) -> None:
                if progress is not None:
                    progress((k + done) / channels)

            restored[:, k] = restore_array(
                np.ascontiguousarray(samples[:, k]), sound.sample_rate_hz, restorer, channel_progress
            )
        rate_hz, depth = sound.sample_rate_hz, sound.bits_per_sample
        with SoundWriter(target, rate_hz, channels, depth, sound.metadata, sources=(source,)) as out:
            out.write(restored)
    return len(restored)
