"""What is measured of a network that was trained on one file: errors, real bytes, the decoder sent along, time."""

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from streamcodec.evaluation.metrics import METRICS
from streamcodec.research.experiments.contenders import Contender
from streamcodec.research.experiments.sounds import Float32Array
from streamcodec.research.models.bottlenecks import Bottleneck
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.later_bottleneck import LaterBottleneck, set_steps
from streamcodec.research.models.unit_model import UnitModel

SCORES = ("mse", "snr", "psnr")
PCM_BYTES = 2
WEIGHT_BYTES = 2
TIMED_UNITS = 200
ERROR_COLUMNS = (*(METRICS[name].title for name in (*SCORES, "spectral_distortion")),)


def rounded(value: float | None) -> float | None:
    """Four significant digits; None where there is no number."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")


def errors(original: Float32Array, decoded: Float32Array) -> list[float | None]:
    """Cells of ``ERROR_COLUMNS`` over all channels; spectral distortion as their mean.

    Shape: two ``[channels, T]``.
    """
    pair = original.astype(np.float64), decoded.astype(np.float64)
    whole = [METRICS[name].function(pair[0].ravel(), pair[1].ravel()) for name in SCORES]
    distortion = [METRICS["spectral_distortion"].function(*each) for each in zip(*pair, strict=True)]
    return [rounded(value) for value in (*whole, float(np.mean(distortion)))]


class FileCodec:
    """A network and its tables for one file, its decoder as it would be sent, in 16 bits a weight.

    Shape: channels ``[channels, T]``.
    """

    def __init__(self, model: UnitModel, channels: Float32Array) -> None:
        model = copy.deepcopy(model).eval()
        with torch.no_grad():
            for part in model.receiver():
                for parameter in part.parameters():
                    parameter.copy_(parameter.half())
        if isinstance(model.bottlenecks[0], LaterBottleneck):
            set_steps(model, model.units(torch.from_numpy(channels)))
        self.model = model
        self.codec = ResearchCodec.fit(model, list(channels))

    def code(self, channels: Float32Array) -> tuple[Float32Array, int]:
        """Every channel by itself: what a receiver hears, and bytes without the decoder."""
        coded = [self.codec.encode(channel) for channel in channels]
        return np.stack([self.codec.decode(each) for each in coded]), sum(map(len, coded))

    def decoder_bytes(self) -> int:
        """What a receiver without this network must be sent: weights, means, steps, and packed tables."""
        numbers = sum(p.numel() for part in self.model.receiver() for p in part.parameters())
        numbers += self.model.get_buffer("feature_mean").numel() + sum(self.model.rows())
        tables = self.codec.coders[0].tables
        packed = zlib.compress(np.diff(tables.cumulative).astype("<i2").tobytes() + tables.lowest.tobytes(), 9)
        return WEIGHT_BYTES * numbers + len(packed)


@torch.no_grad()
def unit_ms(model: UnitModel, channels: Float32Array) -> float:
    """Median clock time of coding and decoding one unit, features to features, in ms."""
    units = model.units(torch.from_numpy(channels[:1]))
    (bottleneck,) = model.bottlenecks
    assert isinstance(bottleneck, Bottleneck)
    times = []
    for k in range(TIMED_UNITS):
        unit = units[k % len(units)][None]
        began = time.perf_counter()
        latents = bottleneck.values(bottleneck.indices(model.encode(unit)[0]))
        model.decode([latents], unit.shape[-1])
        times.append(1000.0 * (time.perf_counter() - began))
    return float(np.median(times))


def coded_by(contender: Contender, channels: Float32Array, sample_rate_hz: int) -> tuple[Float32Array, int, float]:
    """What a codec makes of each channel by itself: sound, bytes, and seconds that it took."""
    # Once without the clock: kernels compile and models load at the first call.
    contender.code(channels[0, :sample_rate_hz], sample_rate_hz, contender.kbps)
    began = time.perf_counter()
    coded = [contender.code(channel, sample_rate_hz, contender.kbps) for channel in channels]
    seconds = time.perf_counter() - began
    decoded = np.stack([np.resize(each.samples, channels.shape[1]) for each in coded]).astype(np.float32)
    return decoded, sum(each.payload_bytes for each in coded), seconds


def rate_cells(channels: Float32Array, size: int, sample_rate_hz: int) -> list[float | None]:
    """Real kbps of all channels together, and ratio against 16-bit samples."""
    seconds = channels.shape[1] / sample_rate_hz
    return [rounded(size * 8e-3 / seconds), rounded(PCM_BYTES * channels.size / size)]


def power(channels: Float32Array) -> float:
    """Mean square."""
    return float(np.mean(channels.astype(np.float64) ** 2))


def mean_cells(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Column means; None where a row has no number."""
    columns = zip(*rows, strict=True)
    return [None if None in each else rounded(float(np.mean(np.asarray(each, np.float64)))) for each in columns]
