"""The neural tier's receiving side: one payload, or nothing, in; 20 ms of 24 kHz sound out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.lift import factor
from native_dsp.filters.post_filter import ALREADY_SCALED, NOTHING_DECODED, PostFilterState
from native_dsp.filters.tones import (
    ESCAPE,
    LOST_SHARE,
    ToneBankState,
    make_tone_bank,
    no_tones,
    read_tones,
)
from native_dsp.jit import shared
from native_dsp.transforms.stft import StftState
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.codec.neural.synthesis import (
    GAP,
    NOW,
    Background,
    bridge,
    bundle_rendering,
    make_background,
    not_raised,
)
from streamcodec.codec.packet import MAX_FRAMES, SEQUENCE_MODULUS, Packet, PacketFlags, Tier
from streamcodec.runtime.step import StepRow

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
_SILENCE = int(PacketFlags.SILENCE)
_NO_TONES = no_tones()
_NO_TONES_IN = tuple(no_tones(frames) for frames in range(MAX_FRAMES + 1))
"""In packets of so many frames; nobody writes into them."""
FULL_GAIN_PACKETS = 3
DECAY_PER_PACKET = 0.6
HELD_FRAMES = 1
"""So long the last latents are held in a gap, under the quality index by which the network knows one; then it goes on
by itself."""
LONGEST_BRIDGE_FRAMES = 4
"""A longer gap is not bridged: what lies before it tells little of what lies behind."""
BRIDGE_QUALITY_INDEX = 2
"""What the network is told of latents that are guessed from both sides."""


class DecodedGroup(NamedTuple):
    """Indices of all frames of the packet read last, kept while its frames are asked for one by one.

    Shape: indices ``[frames, latents]``.
    """

    first_timestamp: int
    quality_index: int
    payload: bytes
    indices: NDArray[np.int32]
    shift: int
    """By how many powers of four the sound was raised."""
    tones: Float64Array
    """Beside it, in each frame; see :func:`~native_dsp.filters.tones.write_tones`."""

    def is_of(self, packet: Packet, first_timestamp: int) -> bool:
        """Whether this is what that packet holds."""
        return (self.first_timestamp, self.quality_index, len(self.indices), self.payload) == (
            first_timestamp,
            packet.quality_index,
            packet.frames,
            packet.payload,
        )


@dataclass
class NeuralDecoderState:
    """Everything a neural decoder remembers; opaque, made by ``state`` and taken by ``restore``."""

    stft: StftState
    post_filter: PostFilterState
    last_quality_index: int | None
    network: list[Float32Array]
    context: LatentContext
    background: Background
    raised: Float32Array
    tones: ToneBankState
    group: DecodedGroup | None
    expected_timestamp: int | None
    latents: Float32Array
    decoded: Float32Array
    last_timestamp: int | None
    lost_in_a_row: int
    in_silence: bool


@shared
def concealment_gains(lost_in_a_row: int, in_silence: bool) -> tuple[float, float]:
    """Gains of what the network makes up and of background noise, after so many losses; 1 and 0 after none."""
    if lost_in_a_row == 0:
        return 1.0, 0.0
    gain = 0.0 if in_silence else DECAY_PER_PACKET ** max(0, lost_in_a_row - FULL_GAIN_PACKETS)
    return gain, math.sqrt(1.0 - gain * gain)


@shared
def frames_to_bridge(to_following: int, lost_in_a_row: int) -> int:
    """Frames from the one that is concealed now, the last of so many in a row, to the packet behind the gap.

    0 where the gap is too long to be bridged, or there is none. ``to_following`` is what timestamps say, from the
    last frame played.
    """
    if to_following == 0:
        return 0
    # What was concealed while packets were awaited is not counted by timestamps.
    frames_left = max(1, to_following - lost_in_a_row)
    return frames_left if lost_in_a_row + frames_left <= LONGEST_BRIDGE_FRAMES + 1 else 0


class NeuralDecoder:
    """Decodes packets in order; a packet it cannot use counts as lost and is concealed.

    With a ``stream`` of a network that many share, :meth:`prepare`, a step of the network and :meth:`finish` take the
    place of :meth:`decode`.
    """

    def __init__(
        self, runtime: NeuralModel, stream: StepRow | None = None, post_filter: PostFilter | None = None
    ) -> None:
        """``post_filter`` in place of the model's own."""
        config = runtime.model.config
        self._filter = post_filter or runtime.post_filter
        self._runtime = runtime
        self._stages = runtime.stages
        self._config = config
        self._steps = runtime.tables.step.astype(np.float32) / np.float32(1 << entropy.STEP_BITS)
        self._stream = stream or runtime.decoder.new_stream()
        self._latents = self._stream.inputs["latents"].reshape(-1)
        self._quality_index = self._stream.inputs["level"].reshape(-1)
        self._coding = entropy.bundle_coding(runtime.tables, config.entropy_hidden, np.zeros(0, np.uint8))
        self._decoded = self._stream.output.reshape(config.hops_per_frame, -1)
        # Compiled now: a first tone must not stop the sound.
        read_tones(np.frombuffer(ESCAPE, np.uint8), len(ESCAPE), 1, no_tones(1))
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._stft = self._runtime.new_stft()
        self._post_filter = self._filter.new_state()
        self._last_quality_index: int | None = None
        self._stream.reset()
        self._context = LatentContext(self._config.latents)
        self._background = make_background(self._config.bins)
        self._raised = not_raised()
        self._tones = make_tone_bank(self._config.frame_samples, self._config.overlap_samples)
        self._told, self._told_share = _NO_TONES, 1.0
        self._bundle_rendering()
        self._group: DecodedGroup | None = None
        self._expected_timestamp: int | None = None
        self._latents[:] = 0.0
        self._last_timestamp: int | None = None
        self._lost_in_a_row = 0
        self._in_silence = False

    def _bundle_rendering(self) -> None:
        """Hand state to the kernel that renders, which goes on with it."""
        self._rendering = bundle_rendering(
            self._decoded,
            self._background,
            self._stft,
            self._filter.parameters,
            self._post_filter,
            self._raised,
            self._tones,
        )

    def state(self) -> NeuralDecoderState:
        """A copy of everything remembered."""
        return NeuralDecoderState(
            self._stft.copy(),
            self._post_filter.copy(),
            self._last_quality_index,
            self._stream.state(),
            self._context.copy(),
            self._background.copy(),
            self._raised.copy(),
            self._tones.copy(),
            self._group,
            self._expected_timestamp,
            self._latents.copy(),
            self._decoded.copy(),
            self._last_timestamp,
            self._lost_in_a_row,
            self._in_silence,
        )

    def restore(self, state: NeuralDecoderState) -> None:
        """Continue from a copied state."""
        self._stft = state.stft.copy()
        self._post_filter = state.post_filter.copy()
        self._last_quality_index = state.last_quality_index
        self._stream.restore(state.network)
        self._context = state.context.copy()
        self._background = state.background.copy()
        self._raised = state.raised.copy()
        self._tones = state.tones.copy()
        self._bundle_rendering()
        self._group = state.group
        self._expected_timestamp = state.expected_timestamp
        self._latents[:] = state.latents
        self._decoded[:] = state.decoded
        self._last_timestamp = state.last_timestamp
        self._lost_in_a_row = state.lost_in_a_row
        self._in_silence = state.in_silence

    def indices_of(self, packet: Packet) -> NDArray[np.int32] | None:
        """Quantisation indices of the next frame, or None where it cannot be decoded; advances the context.

        Shape: output ``[latents]``.
        """
        part = packet.part or 0
        first_timestamp = (packet.timestamp - part) % SEQUENCE_MODULUS
        group = self._group
        if group is None or not group.is_of(packet, first_timestamp):
            group = self._group = self._read(packet, first_timestamp)
        return None if group is None else group.indices[part]

    def _read(self, packet: Packet, first_timestamp: int) -> DecodedGroup | None:
        if packet.tier is not Tier.NEURAL or packet.quality_index >= self._config.qualities or not packet.payload:
            return None
        payload, tones = np.frombuffer(packet.payload, np.uint8), _NO_TONES_IN[packet.frames]
        if packet.payload.startswith(ESCAPE):
            tones = no_tones(packet.frames)
            start = read_tones(payload, payload.size, packet.frames, tones)
            if start < 0:
                return None
            payload = payload[start:]
        if packet.is_key:
            self._context.forget()
        elif first_timestamp != self._expected_timestamp:
            return None
        indices = np.zeros((packet.frames, self._config.latents), np.int32)
        shift = self._stages.read_indices(
            self._coding,
            packet.quality_index,
            self._context.frames,
            self._context.values,
            payload,
            payload.size,
            indices,
        )
        self._context.advance(packet.frames)
        self._expected_timestamp = (first_timestamp + packet.frames) % SEQUENCE_MODULUS
        return DecodedGroup(first_timestamp, packet.quality_index, packet.payload, indices, shift, tones)

    def latents_of(self, packet: Packet) -> Float32Array:
        """Dequantised latents of the next frame, zeros where it cannot be decoded; advances the context.

        Shape: output ``[latents]``.
        """
        indices = self.indices_of(packet)
        if indices is None:
            return np.zeros(self._config.latents, np.float32)
        return self._dequantised(indices, packet.quality_index)

    def _dequantised(self, indices: NDArray[np.int32], quality_index: int) -> Float32Array:
        return np.asarray(indices * self._steps[quality_index], np.float32)

    def decode(self, packet: Packet | None, following: Packet | None = None) -> tuple[Float32Array, bool]:
        """Sound of the next frame, whatever came, and whether the packet was of use.

        ``following`` is the next packet that is there, where this one is missing.
        Shape: output ``[frame_samples]`` at 24 kHz, lagging by ``overlap_samples``.
        """
        usable = self.prepare(packet, following)
        self._stages.step(self._stream)
        return self.finish(), usable

    def prepare(self, packet: Packet | None, following: Packet | None = None) -> bool:
        """What comes before the network; whether the packet was of use."""
        indices = None if packet is None else self.indices_of(packet)
        if packet is None or indices is None:
            self._expected_timestamp = None
            self._lost_in_a_row += 1
            self._told, self._told_share = self._tones.tones, LOST_SHARE
            bridged = following is not None and self._bridge(following)
            self._quality_index[0] = BRIDGE_QUALITY_INDEX if bridged else self._config.qualities
            if not bridged and self._lost_in_a_row > HELD_FRAMES:
                self._latents[:] = 0.0
            return False
        assert self._group is not None
        self._last_timestamp = packet.timestamp
        self._raised[NOW], self._raised[GAP] = factor(self._group.shift), self._lost_in_a_row > 0
        self.prepare_indices(indices, packet.quality_index)
        self._told = self._group.tones[packet.part or 0]
        self._in_silence = bool(int(packet.flags) & _SILENCE)
        return True

    def _bridge(self, following: Packet) -> bool:
        """Latents on the way to those of the packet after the gap; whether that could be done."""
        if self._last_timestamp is None or self._in_silence:
            return False
        to_following = (following.timestamp - self._last_timestamp) % SEQUENCE_MODULUS
        frames_left = frames_to_bridge(to_following, self._lost_in_a_row)
        target = self._latents_ahead(following) if frames_left else None
        if target is None:
            return False
        bridge(self._latents, target, frames_left, self._config.envelope_latents)
        return True

    def _latents_ahead(self, packet: Packet) -> Float32Array | None:
        """Dequantised latents of a frame to come, None where they cannot be had; nothing advances.

        Shape: output ``[latents]``.
        """
        if not packet.is_key:
            return None
        kept = self._context, self._expected_timestamp
        self._context = LatentContext(self._config.latents)
        group = self._read(packet, packet.timestamp)
        self._context, self._expected_timestamp = kept
        # Sound raised otherwise is on another scale.
        if group is None or factor(group.shift) != self._raised[NOW]:
            return None
        return self._dequantised(group.indices[packet.part or 0], packet.quality_index)

    def prepare_indices(self, indices: NDArray[np.int32], quality_index: int) -> None:
        """What comes before the network, for the next frame's indices however they were come by.

        Shape: ``[latents]``.
        """
        # Indices first: a product of two types would go by way of float64.
        self._latents[:] = indices
        self._latents *= self._steps[quality_index]
        self._quality_index[0] = quality_index
        self._last_quality_index = quality_index
        self._lost_in_a_row = 0
        self._in_silence = False
        self._told, self._told_share = _NO_TONES, 1.0

    def finish(self) -> Float32Array:
        """What comes after the network: sound of the frame prepared, or of the gap.

        Shape: output ``[frame_samples]`` at 24 kHz.
        """
        return self._synthesise(
            *concealment_gains(self._lost_in_a_row, self._in_silence), int(self._quality_index[0])
        )

    def drain(self) -> Float32Array:
        """Complete the last overlap with silence.

        Shape: output ``[frame_samples]``.
        """
        self._told, self._told_share = _NO_TONES, 1.0
        return self._synthesise(0.0, 0.0, ALREADY_SCALED)

    def _synthesise(self, gain: float, noise_gain: float, gains_row: int) -> Float32Array:
        out = np.empty(self._config.frame_samples, np.float32)
        self._stages.render(
            self._rendering,
            gain,
            noise_gain,
            self._in_silence,
            gains_row,
            NOTHING_DECODED if self._last_quality_index is None else self._last_quality_index,
            self._told,
            self._told_share,
            float(self._config.sample_rate_hz),
            out,
        )
        return out
