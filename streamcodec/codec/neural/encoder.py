"""The neural tier's sending side: frames of the caller's sound in, one payload a packet out."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.lift import SHIFT_BITS, LiftState, make_lift
from native_dsp.filters.low_cut import LowCutState, make_low_cut
from native_dsp.filters.mixdown import MixdownState, make_mixdown
from native_dsp.filters.tones import (
    ToneFinderState,
    make_tone_finder,
    most_tones,
    no_tones,
    write_tones,
)
from native_dsp.jit import shared
from streamcodec.codec.audio_format import as_mono
from streamcodec.codec.neural.activity import ActivityDetector, mean_square_dbfs
from streamcodec.codec.neural.analysis import AnalysisState, LatentAnalysis
from streamcodec.codec.neural.constant_quality import ForeseenBlock, plan_constant_quality
from streamcodec.codec.neural.front_end import FrontEnd, bundle_front_end
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.neural.packet_coder import PacketCoder
from streamcodec.codec.neural.rate_control import (
    RateControl,
    highest_quality_within,
    quality_index_for_kbps,
    saved_share,
)
from streamcodec.codec.neural.rate_distortion import LARGEST_SAVING, RateDistortionQuantiser
from streamcodec.codec.neural.resample import BlockResampler
from streamcodec.codec.neural.voicing import VoicingDetector
from streamcodec.codec.options import (
    DEFAULT_BITRATE_BPS,
    FRAME_MS,
    NeuralOptions,
    PacketMode,
    Samples,
    check_bitrate,
    check_sample_rate,
)
from streamcodec.codec.packet import MAX_FRAMES, PacketFlags
from streamcodec.codec.registry import RECENT_PACKETS
from streamcodec.errors import StreamcodecWarning
from streamcodec.models.shipped import ShippedModel
from streamcodec.runtime.step import StepRow
from streamcodec.wording import given, named

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
# Enumerations are slow: they look their values up.
_KEY, _SILENCE = int(PacketFlags.KEY), int(PacketFlags.SILENCE)
FRAMES_PER_SECOND = 50
MET_SHARE = 0.9
"""A rate is met where the coarsest quality takes at most a tenth more."""
SILENT_DBFS = -110.0
"""Below this nothing is to be heard, nor to be described: a muted microphone, the zeros between two recordings."""
ENDING_BITS = 4.0
"""What the range coder's ending may cost over the predicted bits."""
RECEIVER_LAG_MS = 8.0
"""What closing allows for the lag of any decoder (overlap and resampling), so that the last sample gets out."""


class EncodedBlock(NamedTuple):
    """What became of one block of sound."""

    quality_index: int
    flags: PacketFlags
    payload: bytes


class CodedBlock(NamedTuple):
    """What redundant copies of a block are made of.

    Shape: latents ``[frames, latents]``; tones as :func:`~native_dsp.filters.tones.write_tones` takes them.
    """

    latents: Float32Array
    tones: Float64Array
    shift: int


@shared
def key_due(independent: bool, since_key: int, key_period_packets: int) -> bool:
    """Whether the next packet is a key packet, ``since_key`` packets after the last (0 for none yet)."""
    return independent or since_key % key_period_packets == 0


@dataclass
class NeuralEncoderState:
    """Everything a neural encoder remembers; opaque, made by ``state`` and taken by ``restore``."""

    mixdown: MixdownState
    resampler: BlockResampler
    analysis: AnalysisState
    context: LatentContext
    rate: RateControl
    activity: ActivityDetector
    low_cut: LowCutState
    voicing: VoicingDetector
    lift: LiftState
    tones: ToneFinderState
    shift: int
    was_silent: bool
    since_key: int
    recent: tuple[CodedBlock, ...]
    frames: int


def largest_saving(frames: int) -> float:
    """Quality indices below 0 that packets of so many frames can save: those of 120 ms alone, for links of 1 kbps."""
    return LARGEST_SAVING if frames == MAX_FRAMES else 0.0


def _warn_of_low_bitrate(
    bitrate_bps: float, least_bps: float, mode: PacketMode, frames: int, share: float = 1.0, stacklevel: int = 7
) -> None:
    """Warn of a bitrate of which payloads may take a ``share`` below what speech takes at the coarsest quality."""
    if share * bitrate_bps >= MET_SHARE * least_bps:
        return
    left = f", of which the file leaves {share * bitrate_bps / 1000:.1f} to its packets" if share < 1.0 else ""
    less = [f"longer ones ({named('packet_ms')})"] if frames < MAX_FRAMES else []
    less += [given("mode", "stream")] if mode == "independent" else []
    mend = f"; {' or '.join(less)} take less" if less else ""
    kind = "independent" if mode == "independent" else "inter-coded"
    warnings.warn(
        f"{bitrate_bps / 1000:g} kbps were asked for{left}; speech takes about {least_bps / 1000:.1f} at the least "
        f"in {kind} packets of {FRAME_MS * frames} ms{mend}",
        StreamcodecWarning,
        stacklevel=stacklevel,
    )


def warn_of_low_share(model: ShippedModel, options: NeuralOptions, share: float) -> None:
    """Warn where the share of a bitrate that a file leaves to payloads is below what speech takes, the whole is not.

    Of the whole the encoder warns when it is made.
    """
    mode, frames = options.mode or "independent", options.frames
    kbps = model.kbps_of_packets(mode, frames)
    least_bps = 1_000.0 * kbps[0] * saved_share(kbps, largest_saving(frames))
    channel_bps = (options.bitrate_bps or DEFAULT_BITRATE_BPS) / options.channels
    if channel_bps >= MET_SHARE * least_bps:
        _warn_of_low_bitrate(channel_bps, least_bps, mode, frames, share, stacklevel=5)


class NeuralEncoder:
    """See :class:`~streamcodec.codec.registry.TierEncoder`; blocks are mono float32, 20 ms a frame.

    The frames of a block become one payload: the first is predicted from nothing (or, in stream mode, from the packet
    before), the others on those before them, and one ending of the range coder serves them all. So the longer the
    packet, the fewer bits a second for the same quality.

    With a ``row`` of a network that many share, :meth:`prepare`, a step of the network and :meth:`collect` for each
    frame, then :meth:`finish`, take the place of :meth:`encode`.
    """

    _since_key: int
    _latents: Float32Array

    def __init__(
        self,
        options: NeuralOptions,
        runtime: NeuralModel,
        row: StepRow | None = None,
        *,
        raises_quiet_sound: bool = True,
        takes_tones: bool = True,
    ) -> None:
        self._raises_quiet_sound = raises_quiet_sound
        self._takes_tones = takes_tones
        rate_hz, config = check_sample_rate(options.sample_rate_hz), runtime.model.config
        self._runtime = runtime
        self._stages = runtime.stages
        self._mode: PacketMode = options.mode or "independent"
        self._constrained = options.constrained
        self._dtx = options.dtx
        self._qualities = config.qualities
        self._key_period_s = options.key_period_s
        self._bitrate_bps = check_bitrate(DEFAULT_BITRATE_BPS if options.bitrate_bps is None else options.bitrate_bps)
        self._frame_samples = rate_hz // FRAMES_PER_SECOND
        self._lag_allowance_samples = int(RECEIVER_LAG_MS * rate_hz / 1000.0)
        self._resampler = BlockResampler(rate_hz, config.sample_rate_hz, FRAMES_PER_SECOND, delay_hz=rate_hz)
        self._stream = row or runtime.encoder.new_stream()
        self._analysis = LatentAnalysis(runtime, self._stream)
        self._rate_hz = rate_hz
        self._since_key = 0
        self._allot(options.frames)
        kbps = runtime.model.kbps_of_packets(self._mode, options.frames)
        saving = 0.0 if options.constrained else largest_saving(options.frames)
        least_bps = 1_000.0 * kbps[0] * saved_share(kbps, saving)
        _warn_of_low_bitrate(self._bitrate_bps, least_bps, self._mode, options.frames)
        self._coder = PacketCoder(runtime)
        self._quantiser = RateDistortionQuantiser(runtime)
        self._independent = LatentContext(config.latents)
        self.reset()

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler."""
        return self._resampler.delay_samples

    @property
    def frames(self) -> int:
        """Frames in a packet."""
        return self._frames

    @property
    def block_samples(self) -> int:
        """Samples of a packet at the caller's rate."""
        return self._frames * self._frame_samples

    def accept(self, samples: object) -> Float32Array:
        """Mono float32, whatever came.

        Shape: ``[n]`` or ``[n, channels]`` -> ``[n]``.
        """
        return as_mono(samples, self._mixdown)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples]``.
        """
        return np.zeros(samples, np.float32)

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """Pending samples and silence, enough for any decoder to give out the last sample."""
        needed = pending.size + self.delay_samples + self._lag_allowance_samples
        blocks = -(-needed // self.block_samples)
        padded = np.zeros((blocks, self.block_samples), np.float32)
        padded.reshape(-1)[: pending.size] = pending
        return list(padded)

    def _allot(self, frames: int) -> None:
        """Room for a packet of so many frames, and how many of these there are in a second."""
        config = self._runtime.model.config
        self._frames = frames
        self._packets_per_second = config.frames_per_second / frames
        self._key_period_packets = max(1, round(self._key_period_s * self._packets_per_second))
        self._sound = np.zeros((frames, config.frame_samples), np.float32)
        self._sound_of = list(self._sound)
        self._latents = np.zeros((frames, config.latents), np.float32)
        self._powers = [0.0] * frames
        self._voiced = [0.0] * frames
        self._tonal = [False] * frames
        self._told = no_tones(frames)
        self._told_of = list(self._told)
        self._taken = [0] * frames
        self._most_tones = most_tones(self._bitrate_bps, self._packets_per_second)

    def set_frames(self, frames: int) -> None:
        """Put so many frames into each packet from the next block on; everything else goes on as it was."""
        if frames == self._frames:
            return
        before = self._packets_per_second
        self._allot(frames)
        self._rate.kbps_by_quality = self._runtime.model.kbps_of_packets(self._mode, frames)
        self._rate.largest_saving = largest_saving(frames)
        self._rate.packets_per_second = self._activity.packets_per_second = self._packets_per_second
        share = self._packets_per_second / before
        self._activity.quiet_packets = round(share * self._activity.quiet_packets)
        self._since_key = round(share * self._since_key)

    def reset(self) -> None:
        """Back to the start of a stream."""
        model = self._runtime.model
        config = model.config
        self._mixdown = make_mixdown(self._rate_hz)
        self._resampler.reset()
        self._analysis.reset()
        self._context = LatentContext(config.latents)
        kbps = model.kbps_of_packets(self._mode, self._frames)
        saving = largest_saving(self._frames)
        self._rate = RateControl(kbps, self._packets_per_second, self._bitrate_bps, largest_saving=saving)
        self._activity = ActivityDetector(self._packets_per_second)
        self._low_cut = make_low_cut(config.sample_rate_hz)
        self._voicing = VoicingDetector.of(config.sample_rate_hz, config.frame_samples)
        self._lift = make_lift()
        self._tones = make_tone_finder()
        self._bundle_front_end()
        self._shift = 0
        self._was_silent = False
        self._since_key = 0
        self._recent: deque[CodedBlock] = deque(maxlen=RECENT_PACKETS)

    def _bundle_front_end(self) -> None:
        """Hand state to the front end, which goes on with it."""
        raised = np.zeros(self._runtime.model.config.frame_samples, np.float32)
        self._front_end = bundle_front_end(
            FrontEnd(self._low_cut, self._voicing.state, self._lift, *self._analysis.parts(), raised, self._tones)
        )

    def state(self) -> NeuralEncoderState:
        """A copy of everything remembered."""
        return NeuralEncoderState(
            self._mixdown.copy(),
            self._resampler.copy(),
            self._analysis.state(),
            self._context.copy(),
            copy.copy(self._rate),
            copy.copy(self._activity),
            self._low_cut.copy(),
            self._voicing.copy(),
            self._lift.copy(),
            self._tones.copy(),
            self._shift,
            self._was_silent,
            self._since_key,
            tuple(self._recent),
            self._frames,
        )

    def restore(self, state: NeuralEncoderState) -> None:
        """Continue from a copied state."""
        if state.frames != self._frames:
            self._allot(state.frames)
        self._mixdown = state.mixdown.copy()
        self._resampler = state.resampler.copy()
        self._analysis.restore(state.analysis)
        self._context = state.context.copy()
        self._rate = copy.copy(state.rate)
        self._bitrate_bps = self._rate.bitrate_bps
        self._most_tones = most_tones(self._bitrate_bps, self._packets_per_second)
        self._activity = copy.copy(state.activity)
        self._low_cut = state.low_cut.copy()
        self._voicing = state.voicing.copy()
        self._lift = state.lift.copy()
        self._tones = state.tones.copy()
        self._bundle_front_end()
        self._shift = state.shift
        self._was_silent = state.was_silent
        self._since_key = state.since_key
        self._recent = deque(state.recent, maxlen=RECENT_PACKETS)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next block on."""
        self._rate.set_bitrate(bitrate_bps)
        self._bitrate_bps = self._rate.bitrate_bps
        self._most_tones = most_tones(self._bitrate_bps, self._packets_per_second)

    def request_key(self) -> None:
        """Make the next block that is sent a key block."""
        self._since_key = 0

    def encode(self, block: Samples) -> EncodedBlock | None:
        """Code one packet's worth; None where discontinuous transmission sends nothing.

        Shape: ``[block_samples]``.
        """
        self.take_in(block)
        return self.finish()

    def latents_collected(self) -> Float32Array:
        """Latents of the block collected, neither quantised nor coded.

        Shape: output ``[frames, latents]``, a new array.
        """
        return np.array(self._latents, np.float32)

    def take_in(self, block: Samples) -> None:
        """Collect a block: its latents, and what else is known of it.

        Shape: ``[block_samples]``.
        """
        for k in range(self._frames):
            self.prepare(k, block)
            self._stages.step(self._stream)
            self.collect(k)

    def prepare(self, k: int, block: Samples) -> None:
        """What comes before the network, for frame ``k`` of a block.

        Shape: ``[block_samples]``.
        """
        frame = self._sound_of[k]
        frame[:] = self._stages.resample(self._resampler, block[k * self._frame_samples :][: self._frame_samples])
        power, correlation, shift, self._tonal[k], self._taken[k] = self._stages.take_frame(
            self._front_end,
            frame,
            1.0 / FRAMES_PER_SECOND,
            self._raises_quiet_sound,
            k == 0,
            self._most_tones if self._takes_tones else -1,
            self._told_of[k],
        )
        self._powers[k] = power
        self._voiced[k] = self._voicing.take(mean_square_dbfs(power), correlation)
        if self._raises_quiet_sound:
            self._shift = shift

    def collect(self, k: int) -> None:
        """Keep what the network made of frame ``k``."""
        self._latents[k] = self._analysis.latents

    def finish(self) -> EncodedBlock | None:
        """What comes after the network: the block collected, coded."""
        flags = self.next_flags()
        if flags is None:
            self._rate.spent(0.0)
            return None
        self.begin(flags)
        silent = self.is_nothing() or bool(int(flags) & _SILENCE)
        saving = 0.0
        if silent:
            quality_index = 0
        elif self._constrained:
            quality_index = self.highest_quality_within_budget()
        else:
            quality_index = self._rate.choose_quality_index(self.voiced_share(), self.tonal_share())
            saving = self._rate.saving
        payload = self.coded(quality_index, saving)
        self._rate.spent(8.0 * len(payload), None if silent or self._constrained else quality_index)
        return EncodedBlock(quality_index, flags, payload)

    def begin(self, flags: PacketFlags) -> None:
        """A key block knows nothing of those before it."""
        if int(flags) & _KEY:
            self._context.forget()

    def coded(self, quality_index: int, saving: float = 0.0) -> bytes:
        """Payload of the block collected; the context becomes that of the block after.

        ``saving`` is how many quality indices are to be saved below this one.
        """
        latents = self._latents
        if self._constrained:
            payload = self._coder.code_within(
                latents, quality_index, self._context, self._shift, self._budget_bytes(), self._tones_told()
            )
        else:
            given = self._quantiser.chosen(latents, quality_index, saving, self._context) if saving else latents
            payload = self._coder.code(given, quality_index, self._context, self._shift, self._tones_told())
        self._recent.append(CodedBlock(latents.copy(), self._told.copy(), self._shift))
        return payload

    def _tones_told(self) -> Float64Array | None:
        """Of the block collected, None where there are none."""
        return self._told if any(self._taken) else None

    def is_nothing(self) -> bool:
        """Whether the block collected and the one before it are silence: what the networks still hear is, too."""
        power = sum(self._powers) / self._frames
        before, self._was_silent = self._was_silent, mean_square_dbfs(power) < SILENT_DBFS
        return before and self._was_silent

    def voiced_share(self) -> float:
        """Of the block collected."""
        return sum(self._voiced) / self._frames

    def tonal_share(self) -> float:
        """Share of the block collected that is steady tones, see :mod:`native_dsp.filters.tonality`."""
        return sum(self._tonal) / self._frames

    def next_flags(self) -> PacketFlags | None:
        """Flags of the block collected, which counts as sent; None where discontinuous transmission leaves it out."""
        silent_packets = self._activity.silent_for(self._sound.reshape(-1)) if self._dtx else 0
        if silent_packets and not any(self._taken):
            self._since_key = 0
            return PacketFlags.KEY | PacketFlags.SILENCE if self._activity.due(silent_packets) else None
        key = key_due(self._mode == "independent", self._since_key, self._key_period_packets)
        self._since_key = 1 if key else self._since_key + 1
        return PacketFlags.KEY if key else PacketFlags.NONE

    def plan_constant_quality(self, blocks: Sequence[Samples], budget_s: float) -> float:
        """Look ahead: hold the highest fractional quality index at which these blocks, which must come next, fit.

        They may take ``budget_s`` seconds' worth of the bitrate; returns how much of that they leave over. Until the
        bitrate is set anew, nothing but the choice of quality indices is different.

        Shape: each block ``[block_samples]``.
        """
        return plan_constant_quality([self], [(block,) for block in self.foresee(blocks)], self._rate, budget_s)

    def foresee(self, blocks: Sequence[Samples]) -> list[ForeseenBlock]:
        """What will be known of blocks to come when they come; blocks that are not sent are left out.

        Shape: each block ``[block_samples]``.
        """
        before = self.state()
        foreseen = []
        for block in blocks:
            self.take_in(block)
            flags = self.next_flags()
            if flags is not None:
                foreseen.append(
                    ForeseenBlock(
                        self._latents.copy(),
                        self._told.copy(),
                        flags,
                        self.voiced_share(),
                        self.tonal_share(),
                        self._shift,
                        self.is_nothing(),
                    )
                )
        self.restore(before)
        return foreseen

    def new_context(self) -> LatentContext:
        """A copy of the context of the next block, for :meth:`foreseen_bytes`."""
        return self._context.copy()

    def foreseen_bytes(
        self, block: ForeseenBlock, quality_index: int, context: LatentContext, saving: float = 0.0
    ) -> int:
        """Bytes that a block will take; ``context`` becomes that of the block after."""
        if PacketFlags.KEY in block.flags:
            context.forget()
        latents = self._quantiser.chosen(block.latents, quality_index, saving, context) if saving else block.latents
        return len(self._coder.code(latents, quality_index, context, block.shift, block.tones))

    def encode_redundant(
        self, age: int, first: int, frames: int, quality_index: int, share: float
    ) -> tuple[int, bytes] | None:
        """Quality index and key payload of so many frames at about a share of their rate, from frame ``first`` of the
        packet coded ``age`` packets ago on.

        None where they are too old or raised differently, and in stream mode: a decoder that took the copy would no
        longer have the context that the next packet needs. The encoder goes on as if this had not been asked.
        """
        if self._mode != "independent" or not 0 <= age < len(self._recent):
            return None
        blocks = list(self._recent)[-1 - age :]
        shift = blocks[0].shift
        latents, tones = blocks[0].latents[first : first + frames], blocks[0].tones[first : first + frames]
        for later in blocks[1:]:
            missing = frames - len(latents)
            if missing == 0:
                break
            if later.shift != shift:
                return None
            latents = np.concatenate((latents, later.latents[:missing]))
            tones = np.concatenate((tones, later.tones[:missing]))
        if len(latents) < frames:
            return None
        kbps = self._rate.kbps_by_quality
        coarse = min(quality_index, max(0, round(quality_index_for_kbps(kbps, share * kbps[quality_index]))))
        self._independent.forget()
        return coarse, self._coder.code(latents, coarse, self._independent, shift, tones)

    def _budget_bytes(self) -> int:
        return int(self._rate.bitrate_bps / self._rate.packets_per_second / 8.0)

    def highest_quality_within_budget(self) -> int:
        """Finest quality index at which the block collected takes no more than a packet's share of the rate."""
        tone_bytes = len(write_tones(self._told, b""))
        budget_bits = 8.0 * (self._budget_bytes() - tone_bytes) - ENDING_BITS - (SHIFT_BITS if self._shift else 0)
        cost = partial(self._coder.cost_bits, self._latents, context=self._context)
        quality_index = highest_quality_within(budget_bits, self._qualities, cost)
        return 0 if quality_index is None else quality_index
