"""The post-filter of a model: its parameters, and streams and batches of sound filtered by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.post_filter import (
    PostFilterParameters,
    PostFilterState,
    filter_frames,
    make_post_filter,
    neutral_parameters,
)
from streamcodec.models.config import NeuralConfig

Float32Array = NDArray[np.float32]
AGAIN_NOISE, AGAIN_BANDS = 0.95, 0.6
"""Of the noise, and of the band gains in decibels, what is left where sound is coded again: of nine pairs the best by
PESQ, ViSQOL and Zimtohrli together of 14 development clips coded twice at 6 kbps."""


@dataclass(frozen=True, eq=False)
class PostFilter:
    """Noise gains, band gains, pitch filter and spectral-envelope filter: all that happens to what a decoder makes.

    The decoder runs it frame by frame inside its rendering, training batch by batch (:meth:`filter_batch`).
    """

    config: NeuralConfig
    parameters: PostFilterParameters

    def before_coding_again(self) -> PostFilter:
        """The same for sound that will be coded again: no filters, less noise.

        What the filters make pleasant, a second encoder takes for the sound and a second decoder filters again.
        """
        neutral = neutral_parameters(self.config.qualities, self.config.bins)
        mine = self.parameters
        return PostFilter(
            self.config,
            neutral._replace(
                band_gains=(mine.band_gains**AGAIN_BANDS).astype(np.float32),
                noise_gains=(AGAIN_NOISE * mine.noise_gains).astype(np.float32),
            ),
        )

    def new_state(self) -> PostFilterState:
        """A stream that has heard silence; raises ValueError where the model's frames do not fit the filters."""
        c = self.config
        return make_post_filter(self.parameters, c.sample_rate_hz, c.frame_samples, c.hops_per_frame)

    @property
    def spectrum_bins(self) -> int:
        """How many bins of the scaled spectra :meth:`filter_batch` wants, from 0 Hz on."""
        return int(self.new_state().envelope.features.spectrum.shape[2])

    def filter_batch(
        self, quality_index: NDArray[np.int64], spectra: Float32Array, ahead: Float32Array, samples: Float32Array
    ) -> None:
        """Filter the sound of whole segments in place, each a stream of its own from its start.

        Shape: quality_index ``[batch, frames]``; spectra, scaled by the gains, ``[batch, frames, hops, 3, bins]``;
        ahead ``[batch, frames, block]``, the guess at the 5 ms after each frame; samples ``[batch, frames,
        frame_samples]``.
        """
        for row in zip(quality_index, spectra, ahead, samples, strict=True):
            filter_frames(self.parameters, self.new_state(), *row)
