"""Where a packet's bits are made: its frames' latents quantised and range coded at one quality index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.tones import ESCAPE, no_tones, put_tones
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.packet import MAX_FRAMES

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
PAYLOAD_CAPACITY_BYTES = 1024 * MAX_FRAMES


class PacketCoder:
    """Latents to bits: quantisation at a quality index, cost, range coding; holds scratch, remembers nothing."""

    def __init__(self, runtime: NeuralModel) -> None:
        config = runtime.model.config
        self._stages = runtime.stages
        self._buffer = np.zeros(PAYLOAD_CAPACITY_BYTES, np.uint8)
        self._arguments = entropy.bundle_coding(runtime.tables, config.entropy_hidden, self._buffer)
        self._before = LatentContext(config.latents)
        # Compiled now: a first tone must not stop the sound.
        put_tones(no_tones(1), 1, self._buffer, 0)

    def cost_bits(self, latents: Float32Array, quality_index: int, context: LatentContext) -> float:
        """Bits that coding will take, but for its ending; the context stays as it is.

        Shape: latents ``[frames, latents]``.
        """
        self._before.take(context)
        return float(
            self._stages.cost(
                self._arguments,
                latents,
                quality_index,
                self._before.frames,
                self._before.values,
                latents.shape[1],
            )
        )

    def code(
        self,
        latents: Float32Array,
        quality_index: int,
        context: LatentContext,
        shift: int = 0,
        tones: Float64Array | None = None,
    ) -> bytes:
        """Payload of one packet of sound raised by ``shift``; ``context`` becomes that of the packet after.

        Shape: latents ``[frames, latents]``; tones as :func:`~native_dsp.filters.tones.put_tones` takes them.
        """
        return self._code(latents, quality_index, context, shift, latents.shape[1], tones)

    def code_within(
        self,
        latents: Float32Array,
        quality_index: int,
        context: LatentContext,
        shift: int,
        budget_bytes: int,
        tones: Float64Array | None = None,
    ) -> bytes:
        """:meth:`code` with as many latents as the budget allows, the others at their cheapest; b"" if none fit."""
        self._before.take(context)
        keep = latents.shape[1]
        payload = self._code(latents, quality_index, context, shift, keep, tones)
        while len(payload) > budget_bytes and keep > 0:
            keep -= max(1, keep // 16)
            context.take(self._before)
            payload = self._code(latents, quality_index, context, shift, keep, tones)
        return payload if len(payload) <= budget_bytes else b""

    def _code(
        self,
        latents: Float32Array,
        quality_index: int,
        context: LatentContext,
        shift: int,
        keep: int,
        tones: Float64Array | None,
    ) -> bytes:
        length = self._stages.code(
            self._arguments, latents, quality_index, context.frames, context.values, keep, shift
        )
        context.advance(len(latents))
        length = max(length, 0)
        payload = self._buffer[:length].tobytes()
        if tones is None:
            if payload[: len(ESCAPE)] != ESCAPE:
                return payload
            tones = no_tones(len(latents))
        return self._buffer[: put_tones(tones, len(tones), self._buffer, length)].tobytes()
