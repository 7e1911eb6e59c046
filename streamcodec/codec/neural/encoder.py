"""The neural tier's sending side: 20 ms of 24 kHz sound in, one payload out."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding import range_coder
from native_dsp.jit import kernel
from native_dsp.transforms.companding import compand
from native_dsp.transforms.stft import StftState, analyse
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.activity import ActivityDetector
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.neural.rate_control import (
    RateControl,
    check_bitrate,
    highest_position_within,
    highest_quality_within,
    quality_index_for_kbps,
)
from streamcodec.codec.neural.voicing import VoicingDetector
from streamcodec.codec.packet import MAX_FRAMES, PacketFlags
from streamcodec.runtime.step import StepRow

Float32Array = NDArray[np.float32]
PacketMode = Literal["independent", "stream"]
DEFAULT_KEY_PERIOD_S = 1.0
PAYLOAD_CAPACITY_BYTES = 1024 * MAX_FRAMES
RECENT_PACKETS = 8
"""How many packets back :meth:`NeuralEncoder.encode_redundant` reaches."""
REDUNDANT_RATE = 0.7
"""Rate of a coarser copy beside its packet's."""
# Bytes that the range coder's ending may cost over the predicted bits.
ENDING_BITS = 4.0


@dataclass(frozen=True)
class EncodedBlock:
    """What became of one block of sound."""

    quality_index: int
    flags: PacketFlags
    payload: bytes


@dataclass(frozen=True)
class ForeseenBlock:
    """What is known of a block to come before its level is."""

    latents: Float32Array
    flags: PacketFlags
    voiced: float


@dataclass
class AnalysisState:
    """What :class:`LatentAnalysis` remembers."""

    stft: StftState
    network: list[Float32Array]


class LatentAnalysis:
    """Sound to latents: analysis STFT, companding, encoder network.

    ``stream`` is a row of a network stepped for many streams at once, by whoever calls :meth:`prepare` for each of
    them, then steps the network, then reads :attr:`latents`; alone, :meth:`step` does the three.
    """

    def __init__(self, runtime: NeuralModel, stream: StepRow | None = None) -> None:
        config = runtime.model.config
        self._stft = runtime.new_stft()
        self._stream = stream or runtime.encoder.new_stream()
        self._companded = self._stream.inputs["companded"][0]
        self.latents: Float32Array = self._stream.output.reshape(-1)
        """Of the last block, overwritten by the next; ``[latents]``."""
        self._re = np.zeros(config.bins, np.float32)
        self._im = np.zeros(config.bins, np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._stft.reset()
        self._stream.reset()

    def state(self) -> AnalysisState:
        """A copy of everything remembered."""
        return AnalysisState(self._stft.copy(), self._stream.state())

    def restore(self, state: AnalysisState) -> None:
        """Continue from a copied state."""
        self._stft = state.stft.copy()
        self._stream.restore(state.network)

    def prepare(self, block: Float32Array) -> None:
        """Everything before the network.

        Shape: ``[frame_samples]``.
        """
        analyse_companded(self._stft, block, self._re, self._im, self._companded)

    def step(self, block: Float32Array) -> Float32Array:
        """Latents of one block; the array is overwritten by the next call.

        Shape: ``[frame_samples]`` -> ``[latents]``.
        """
        self.prepare(block)
        self._stream.step()
        return self.latents


@kernel
def analyse_companded(
    stft: StftState, block: Float32Array, re: Float32Array, im: Float32Array, companded: Float32Array
) -> None:
    """Companded spectra of all hops of a block, in one call.

    Shape: block ``[hops * hop_samples]``; re, im (scratch) ``[bins]`` -> companded ``[hops, 2 * bins]``.
    """
    hops = len(companded)
    rows = block.reshape(hops, len(block) // hops)
    for h in range(hops):
        analyse(stft, rows[h], re, im)
        compand(re, im, companded[h])


class PacketCoder:
    """Latents to bits: quantization at a quality index, cost, range coding; holds scratch, remembers nothing."""

    def __init__(self, runtime: NeuralModel) -> None:
        config = runtime.model.config
        self._tables = runtime.tables
        self._hidden = np.zeros(config.entropy_hidden, np.int64)
        self._location = np.zeros(config.latents, np.int32)
        self._table = np.zeros(config.latents, np.int32)
        self._indices = np.zeros(config.latents, np.int32)
        self._coder = range_coder.make_state()
        self._buffer = np.zeros(PAYLOAD_CAPACITY_BYTES, np.uint8)
        self._before = LatentContext(config.latents)

    def cost_bits(self, latents: Float32Array, quality_index: int, context: LatentContext) -> float:
        """Bits that coding will take, but for its ending; the context stays as it is.

        Shape: latents ``[frames, latents]``.
        """
        self._before.take(context)
        return float(
            entropy.cost(
                self._tables,
                latents,
                quality_index,
                self._before.frames,
                self._before.values,
                latents.shape[1],
                self._hidden,
                self._location,
                self._table,
                self._indices,
            )
        )

    def code(self, latents: Float32Array, quality_index: int, context: LatentContext) -> bytes:
        """Payload of one packet; ``context`` becomes that of the packet after.

        Shape: latents ``[frames, latents]``.
        """
        return self._code(latents, quality_index, context, latents.shape[1])

    def code_within(
        self, latents: Float32Array, quality_index: int, context: LatentContext, budget_bytes: int
    ) -> bytes:
        """:meth:`code` with as many latents as the budget allows, the others at their cheapest; b"" if none fit."""
        self._before.take(context)
        keep = latents.shape[1]
        payload = self._code(latents, quality_index, context, keep)
        while len(payload) > budget_bytes and keep > 0:
            keep -= max(1, keep // 16)
            context.take(self._before)
            payload = self._code(latents, quality_index, context, keep)
        return payload if len(payload) <= budget_bytes else b""

    def _code(self, latents: Float32Array, quality_index: int, context: LatentContext, keep: int) -> bytes:
        length = entropy.code(
            self._tables,
            latents,
            quality_index,
            context.frames,
            context.values,
            keep,
            self._hidden,
            self._location,
            self._table,
            self._indices,
            self._coder,
            self._buffer,
        )
        context.moved_on(len(latents))
        return self._buffer[: max(length, 0)].tobytes()


@dataclass
class NeuralEncoderState:
    """Everything a neural encoder remembers; opaque, made by ``state`` and taken by ``restore``."""

    analysis: AnalysisState
    context: LatentContext
    rate: RateControl
    activity: ActivityDetector
    voicing: VoicingDetector
    since_key: int
    recent: tuple[Float32Array, ...]


class NeuralEncoder:
    """Codes blocks of ``frames`` times ``frame_samples`` at 24 kHz; ``StreamEncoder`` is the face that people use.

    The frames of a block become one payload: the first leans on nothing (or, in stream mode, on the packet before),
    the others on those before them, and one ending of the range coder serves them all. So the longer the packet, the
    fewer bits a second for the same quality.

    With a ``stream`` of a network that many share, :meth:`prepare`, a step of the network and :meth:`collect` for
    each frame, then :meth:`finish`, take the place of :meth:`encode`.
    """

    def __init__(
        self,
        runtime: NeuralModel,
        bitrate_bps: float,
        mode: PacketMode = "independent",
        constrained: bool = False,
        dtx: bool = False,
        frames: int = 1,
        key_period_s: float = DEFAULT_KEY_PERIOD_S,
        stream: StepRow | None = None,
    ) -> None:
        config = runtime.model.config
        self._runtime = runtime
        self._mode = mode
        self._constrained = constrained
        self._dtx = dtx
        self._qualities = config.qualities
        self._frames = frames
        self._packets_per_second = config.packets_per_second / frames
        self._key_period_packets = max(1, round(key_period_s * self._packets_per_second))
        self._bitrate_bps = check_bitrate(bitrate_bps)
        self._stream = stream or runtime.encoder.new_stream()
        self._analysis = LatentAnalysis(runtime, self._stream)
        self._sound = np.zeros((frames, config.frame_samples), np.float32)
        self._latents = np.zeros((frames, config.latents), np.float32)
        self._voiced = [0.0] * frames
        self._coder = PacketCoder(runtime)
        self._independent = LatentContext(config.latents)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        model = self._runtime.model
        config = model.config
        self._analysis.reset()
        self._context = LatentContext(config.latents)
        kbps = model.kbps_of_packets(self._mode, self._frames)
        self._rate = RateControl(kbps, self._packets_per_second, self._bitrate_bps)
        self._activity = ActivityDetector(self._packets_per_second)
        self._voicing = VoicingDetector.of(config.sample_rate_hz, config.frame_samples)
        self._since_key = 0
        self._recent: deque[Float32Array] = deque(maxlen=RECENT_PACKETS)

    def state(self) -> NeuralEncoderState:
        """A copy of everything remembered."""
        return NeuralEncoderState(
            self._analysis.state(),
            self._context.copy(),
            copy.copy(self._rate),
            copy.copy(self._activity),
            self._voicing.copy(),
            self._since_key,
            tuple(self._recent),
        )

    def restore(self, state: NeuralEncoderState) -> None:
        """Continue from a copied state."""
        self._analysis.restore(state.analysis)
        self._context = state.context.copy()
        self._rate = copy.copy(state.rate)
        self._bitrate_bps = self._rate.bitrate_bps
        self._activity = copy.copy(state.activity)
        self._voicing = state.voicing.copy()
        self._since_key = state.since_key
        self._recent = deque(state.recent, maxlen=RECENT_PACKETS)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next block on."""
        self._rate.set_bitrate(bitrate_bps)
        self._bitrate_bps = self._rate.bitrate_bps

    def encode(self, block: Float32Array) -> EncodedBlock | None:
        """Code one block; None where discontinuous transmission sends nothing.

        Shape: ``[frames * frame_samples]`` at 24 kHz.
        """
        self._take_in(block)
        return self.finish()

    def _take_in(self, block: Float32Array) -> None:
        for k, frame in enumerate(block.reshape(self._frames, -1)):
            self.prepare(k, frame)
            self._stream.step()
            self.collect(k)

    def prepare(self, k: int, frame: Float32Array) -> None:
        """What comes before the network, for frame ``k`` of a block.

        Shape: ``[frame_samples]`` at 24 kHz.
        """
        self._sound[k] = frame
        self._voiced[k] = self._voicing.take(self._sound[k])
        self._analysis.prepare(frame)

    def collect(self, k: int) -> None:
        """Keep what the network made of frame ``k``."""
        self._latents[k] = self._analysis.latents

    def finish(self) -> EncodedBlock | None:
        """What comes after the network: the block collected, coded."""
        flags = self._next_flags()
        if flags is None:
            self._rate.spent(0.0)
            return None
        if PacketFlags.KEY in flags:
            self._context.forget()
        latents, silent = self._latents, PacketFlags.SILENCE in flags
        if self._constrained:
            quality_index = 0 if silent else self._highest_quality_within_budget(latents)
            payload = self._coder.code_within(latents, quality_index, self._context, self._budget_bytes())
        else:
            quality_index = 0 if silent else self._rate.choose_quality_index(self._voiced_share())
            payload = self._coder.code(latents, quality_index, self._context)
        self._rate.spent(8.0 * len(payload), None if silent or self._constrained else quality_index)
        self._recent.append(latents.copy())
        return EncodedBlock(quality_index, flags, payload)

    def _voiced_share(self) -> float:
        """Of the block collected."""
        return sum(self._voiced) / self._frames

    def _next_flags(self) -> PacketFlags | None:
        """Flags of the block collected, which counts as sent; None where discontinuous transmission leaves it out."""
        silent_packets = self._activity.silent_for(self._sound.reshape(-1)) if self._dtx else 0
        if silent_packets:
            self._since_key = 0
            return PacketFlags.KEY | PacketFlags.SILENCE if self._activity.due(silent_packets) else None
        key = self._mode == "independent" or self._since_key % self._key_period_packets == 0
        self._since_key = 1 if key else self._since_key + 1
        return PacketFlags.KEY if key else PacketFlags.NONE

    def plan_constant_quality(self, blocks: Iterable[Float32Array], budget_s: float) -> float:
        """Look ahead: hold the finest fractional level at which these blocks, which must come next, fit.

        They may take ``budget_s`` seconds' worth of the bitrate; returns how much of that they leave over. Until the
        bitrate is set anew, nothing but the choice of levels is different.

        Shape: each block ``[frames * frame_samples]`` at 24 kHz.
        """
        before = self.state()
        foreseen = []
        for block in blocks:
            self._take_in(block)
            flags = self._next_flags()
            if flags is not None:
                foreseen.append(ForeseenBlock(self._latents.copy(), flags, self._voiced_share()))
        self.restore(before)
        budget_bits = budget_s * self._bitrate_bps
        held, bits = highest_position_within(budget_bits, self._qualities, partial(self._bits_at, foreseen))
        self._rate.held = held
        return (budget_bits - bits) / self._bitrate_bps

    def _bits_at(self, blocks: Sequence[ForeseenBlock], position: float) -> float:
        rate = copy.copy(self._rate)
        rate.held = position
        context = self._context.copy()
        total = 0
        for block in blocks:
            if PacketFlags.KEY in block.flags:
                context.forget()
            quality_index = 0 if PacketFlags.SILENCE in block.flags else rate.choose_quality_index(block.voiced)
            total += len(self._coder.code(block.latents, quality_index, context))
        return 8.0 * total

    def encode_redundant(self, age: int, quality_index: int) -> tuple[int, bytes] | None:
        """(level, key payload) of the packet coded ``age`` packets ago, at about two thirds of the rate of ``quality_index``.

        None where it is too old, and in stream mode: a decoder that took the copy would no longer have the context
        that the next packet leans on. The encoder goes on as if this had not been asked.
        """
        if self._mode != "independent" or not 0 <= age < len(self._recent):
            return None
        kbps = self._rate.kbps_by_quality
        coarse = min(quality_index, max(0, round(quality_index_for_kbps(kbps, REDUNDANT_RATE * kbps[quality_index]))))
        self._independent.forget()
        return coarse, self._coder.code(self._recent[-1 - age], coarse, self._independent)

    def _budget_bytes(self) -> int:
        return int(self._rate.bitrate_bps / self._rate.packets_per_second / 8.0)

    def _highest_quality_within_budget(self, latents: Float32Array) -> int:
        budget_bits = 8.0 * self._budget_bytes() - ENDING_BITS
        cost = partial(self._coder.cost_bits, latents, context=self._context)
        quality_index = highest_quality_within(budget_bits, self._qualities, cost)
        return 0 if quality_index is None else quality_index
