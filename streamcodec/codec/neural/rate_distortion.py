"""Fewer bits than the coarsest quality index takes: indices chosen by what they cost as well as by what they miss.

A latent may take a neighbour of its nearest index, towards what the entropy model expects, if that saves more bits
than the error is worth. What comes out are latents on the grid of the quantiser, so that packets are packets like any
other and every decoder reads them. The envelope, which says what sound it is, is given up last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.entropy import CONTEXT_FRAMES, STEP_BITS, EntropyTables
from streamcodec.codec.neural.model import LatentContext, NeuralModel

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

LARGEST_SAVING = 2.0
"""Quality indices below the coarsest that can be saved so; then a recogniser understands as good as nothing."""
PRICE, PRICE_POWER = 0.12, 1.7
"""Price of a bit in squared steps at a saving of one quality index, and how it grows with the saving."""
ENVELOPE_WEIGHT, WAVEFORM_WEIGHT = 2.0, 0.5
"""What an error of a latent counts."""
MOST_STEPS = 2
"""Steps from the nearest index up to which all are tried; then what the entropy model expects."""


def price_of(saving: float) -> float:
    """Squared steps that a bit is worth, where so many quality indices are to be saved; 0 for none."""
    return float(PRICE * max(saving, 0.0) ** PRICE_POWER)


@kernel
def _cost(tables: EntropyTables, index: int, location: int, table: int) -> float:
    """Bits of one index."""
    offset = index - (location >> entropy.LOCATION_BITS)
    half = tables.half_width[table]
    row = entropy.table_row(tables, table, location)
    if abs(offset) <= half:
        return float(tables.cost[row + offset + half])
    return float(tables.cost[row + 2 * half + 1]) + 1.0 + entropy.escape_bits(abs(offset) - half)


@kernel
def _choose(
    tables: EntropyTables,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    envelope_latents: int,
    price: float,
    prediction: entropy.Prediction,
) -> None:
    """Put latents on the grid, one after the other, each where error and price of its bits add up to the least.

    ``context`` moves on as where they are coded.

    Shape: latents ``[frames, N]``, in place; context ``[3 N]``.
    """
    location, table = prediction.location, prediction.table
    for f in range(latents.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        entropy.begin_frame(context, mask, prediction)
        for group in range(tables.bounds.size - 1):
            entropy.predict_group(tables, group, quality_index, mask, prediction)
            for i in range(tables.bounds[group], tables.bounds[group + 1]):
                weight = ENVELOPE_WEIGHT if i < envelope_latents else WAVEFORM_WEIGHT
                step = tables.step[quality_index, i]
                scaled = latents[f, i] * (float(1 << STEP_BITS) / step)
                scaled = min(max(scaled, -float(entropy.MAX_INDEX)), float(entropy.MAX_INDEX))
                nearest = int(np.floor(scaled + 0.5))
                expected = int(np.floor(location[i] / float(1 << entropy.LOCATION_BITS) + 0.5))
                towards = 1 if expected > nearest else -1
                best, index = np.inf, nearest
                for k in range(MOST_STEPS + 2):
                    tried = nearest + k * towards
                    if k > MOST_STEPS or (expected - tried) * towards < 0:
                        tried = expected
                    error = scaled - tried
                    total = weight * error * error + price * _cost(tables, tried, location[i], table[i])
                    if total < best:
                        best, index = total, tried
                entropy.store_index(tables, quality_index, i, index, context, prediction)
                latents[f, i] = np.float32(index * (step / float(1 << STEP_BITS)))
        entropy.remember(context)


class RateDistortionQuantiser:
    """Chooses latents that cost less; holds scratch, remembers nothing."""

    def __init__(self, runtime: NeuralModel) -> None:
        config = runtime.model.config
        self._tables = runtime.tables
        self._envelope_latents = config.envelope_latents
        self._prediction = entropy.make_prediction(config.latents, config.entropy_hidden)
        self._before = LatentContext(config.latents)

    def chosen(
        self, latents: Float32Array, quality_index: int, saving: float, context: LatentContext
    ) -> Float32Array:
        """Latents to be coded in place of these, in the same context, which stays as it is.

        They are quantised without any further error. ``saving`` is how many quality indices are to be saved.

        Shape: latents ``[frames, latents]`` -> the same, a new array.
        """
        self._before.take(context)
        found = np.array(latents, np.float32)
        _choose(
            self._tables,
            found,
            quality_index,
            self._before.frames,
            self._before.values,
            self._envelope_latents,
            price_of(saving),
            self._prediction,
        )
        return found
