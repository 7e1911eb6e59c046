"""What JavaScript calls: Python's encoder and decoder once more, with their kernels and decisions, on plain memory.

Each function takes the address of the constants and that of a stream, and returns an integer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray  # type: ignore[attr-defined,unused-ignore]
from numba.core import types

from native_dsp.filters.lift import factor
from native_dsp.filters.post_filter import ALREADY_SCALED, NOTHING_DECODED
from native_dsp.filters.tones import (
    LOST_SHARE,
    add_tones,
    any_tones,
    copy_tones,
    most_tones,
    put_tones,
    read_tones,
    take_tones,
)
from native_dsp.jit import kernel
from native_dsp.networks import codec_networks as networks
from native_dsp.transforms.polyphase import PolyphaseState, resample_block
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.activity import mean_square_dbfs, noise_floor, refresh_due, silent_packets
from streamcodec.codec.neural.decoder import (
    BRIDGE_QUALITY_INDEX,
    HELD_FRAMES,
    concealment_gains,
    frames_to_bridge,
)
from streamcodec.codec.neural.encoder import SILENT_DBFS, key_due
from streamcodec.codec.neural.front_end import prepare_frame
from streamcodec.codec.neural.rate_control import (
    CREDIT_S,
    PRIOR_S,
    USUALLY_VOICED,
    affordable_bps,
    cost_kept,
    least_tonal_index,
    nearest_quality,
    quality_index_for_kbps,
    reservoir_after,
    voiced_quality_offset,
)
from streamcodec.codec.neural.synthesis import GAP, NOW, bridge, render_frame
from streamcodec.codec.neural.voicing import voiced_share
from streamcodec.codec.packet import SEQUENCE_MODULUS, PacketFlags
from streamcodec.web.cross_compile import Exports

ADDRESS, INTEGER, NUMBER = types.voidptr, types.int32, types.float64
FRAMES_PER_SECOND = 50.0
SAMPLE_RATE_HZ = 24_000.0
KEY, SILENCE = int(PacketFlags.KEY), int(PacketFlags.SILENCE)
CONTEXT_FRAMES = entropy.CONTEXT_FRAMES
LOST, TAIL = -1, -2
"""In place of a frame's number in its packet: one that is missing, and the end of the last overlap."""


@kernel
def next_flags(control: Any, packets_per_second: float, samples: int, tones: bool) -> int:
    """Flags of the packet collected, -1 where it is not sent; as ``NeuralEncoder.next_flags``."""
    if control.dtx[0]:
        dbfs = mean_square_dbfs(control.power[0] / samples)
        control.floor_dbfs[0], active = noise_floor(dbfs, control.floor_dbfs[0], packets_per_second)
        control.quiet_packets[0] = 0 if active else control.quiet_packets[0] + 1
        silent = 0 if tones else silent_packets(control.quiet_packets[0], packets_per_second)
        if silent:
            control.since_key[0] = 0
            return (KEY | SILENCE) if refresh_due(silent, packets_per_second) else -1
    key_period_packets = max(1, round(control.key_period_s[0] * packets_per_second))
    key = key_due(control.inter_coded[0] == 0, control.since_key[0], key_period_packets)
    control.since_key[0] = 1 if key else control.since_key[0] + 1
    return KEY if key else 0


@kernel
def choose_quality_index(control: Any, kbps_by_quality: Any) -> int:
    """As ``RateControl.choose_quality_index``."""
    usual_bps = affordable_bps(
        control.bitrate_bps[0],
        control.reservoir_bits[0],
        control.elapsed_s[0],
        control.coded_bits[0],
        control.usual_bits[0],
    )
    usual_index = quality_index_for_kbps(kbps_by_quality, usual_bps / 1000.0)
    fractional_index = usual_index + control.dither[0]
    voiced = control.voiced[0] / control.frames[0]
    fractional_index += voiced_quality_offset(control.bitrate_bps[0]) * (voiced - USUALLY_VOICED)
    if control.tonal[0] > 0.0:
        fractional_index = max(fractional_index, least_tonal_index(usual_index))
    quality_index, control.dither[0] = nearest_quality(fractional_index, len(kbps_by_quality))
    return quality_index


@kernel
def account(control: Any, bits: float, usual_kbps: float, packets_per_second: float) -> None:
    """As ``RateControl.spent``; ``usual_kbps`` is below zero where the packet tells nothing of its quality's cost."""
    if usual_kbps >= 0.0:
        kept = cost_kept(packets_per_second)
        control.coded_bits[0] = kept * control.coded_bits[0] + bits
        control.usual_bits[0] = kept * control.usual_bits[0] + 1000.0 * usual_kbps / packets_per_second
    control.elapsed_s[0] += 1.0 / packets_per_second
    control.reservoir_bits[0] = reservoir_after(
        control.reservoir_bits[0], bits, control.bitrate_bps[0], packets_per_second
    )


@kernel
def indices_start(stream: Any, quality_index: int, frames: int, length: int, told: Any) -> int:
    """Where the indices of so many frames begin in the payload that lies in the stream, behind the tones that go to
    ``told``; below zero where there are none."""
    payload = stream.coding.payload
    if not (0 <= quality_index < len(stream.constants.steps) and 0 < length <= len(payload)):
        return -1
    if not 0 < frames <= len(stream.indices):
        return -1
    return read_tones(payload, length, frames, told)


@kernel
def read_indices(
    stream: Any, quality_index: int, context_frames: int, context: Any, start: int, length: int, indices: Any
) -> int:
    """Indices of a payload's frames from ``start`` on; by how many powers of four their sound was raised."""
    coding = stream.coding
    return entropy.read_packet(
        stream.constants.tables,
        np.int64(quality_index),
        context_frames,
        context,
        coding.prediction,
        coding.coder,
        coding.payload[start:],
        np.int64(length - start),
        indices,
    )


def decoder_exports(view: Callable[[Any, Any], Any]) -> Exports:
    """Functions on a :class:`~streamcodec.web.streams.DecoderStream`, which ``view`` makes of the two addresses."""

    def decoder_read(
        constants: Any, stream: Any, quality_index: int, key: int, timestamp: int, frames: int, length: int
    ) -> int:
        """Indices of all frames of the packet whose payload lies in the stream; whether it can be used, 0 or 1.

        As ``NeuralDecoder._read``.
        """
        s = view(constants, stream)
        control, coding = s.control, s.coding
        start = indices_start(s, quality_index, frames, length, s.told)
        if start < 0:
            return 0
        if key:
            coding.context[:] = 0
            control.context_frames[0] = 0
        elif timestamp != control.expected_timestamp[0]:
            return 0
        control.shift[0] = read_indices(
            s, quality_index, control.context_frames[0], coding.context, start, length, s.indices[:frames]
        )
        control.context_frames[0] = min(control.context_frames[0] + frames, CONTEXT_FRAMES)
        control.expected_timestamp[0] = (timestamp + frames) % SEQUENCE_MODULUS
        control.quality_index[0] = quality_index
        control.timestamp[0] = timestamp
        return 1

    def decoder_look_ahead(
        constants: Any, stream: Any, quality_index: int, timestamp: int, frames: int, length: int, part: int
    ) -> int:
        """Latents of one frame of the key packet behind a gap, whose payload lies in the stream; whether the next
        frame, which is missing, will be on the way to them, 0 or 1.

        As ``NeuralDecoder._latents_ahead``.
        """
        s = view(constants, stream)
        control = s.control
        control.frames_left[0] = 0
        if control.last_quality_index[0] == NOTHING_DECODED or control.in_silence[0] != 0:
            return 0
        to_following = (timestamp + part - control.last_timestamp[0]) % SEQUENCE_MODULUS
        frames_left = frames_to_bridge(to_following, control.lost_in_a_row[0] + 1)
        if frames_left == 0 or not 0 <= part < frames:
            return 0
        start = indices_start(s, quality_index, frames, length, s.ahead_told)
        if start < 0:
            return 0
        s.ahead_context[:] = 0
        shift = read_indices(s, quality_index, 0, s.ahead_context, start, length, s.ahead[:frames])
        if factor(shift) != s.raised[NOW]:
            return 0
        steps, indices = s.constants.steps[quality_index], s.ahead[part]
        for k in range(len(s.following)):
            s.following[k] = np.float32(indices[k]) * steps[k]
        control.frames_left[0] = frames_left
        return 1

    def decoder_play(constants: Any, stream: Any, part: int, silence: int) -> int:
        """Sound of one frame of the packet read last, or of what ``part`` is in place of one: LOST or TAIL.

        As ``NeuralDecoder.prepare`` and ``finish``, or ``drain``.
        """
        s = view(constants, stream)
        control = s.control
        gain, noise_gain, gains_row = 0.0, 0.0, ALREADY_SCALED
        told, told_share = s.tones.tones, 0.0
        if part == LOST:
            told_share = LOST_SHARE
            control.expected_timestamp[0] = -1
            control.lost_in_a_row[0] += 1
            s.network_quality_index[0] = len(s.constants.steps)
            if control.frames_left[0] > 0:
                bridge(s.latents, s.following, control.frames_left[0], s.constants.envelope_latents[0])
                s.network_quality_index[0] = BRIDGE_QUALITY_INDEX
                control.frames_left[0] = 0
            elif control.lost_in_a_row[0] > HELD_FRAMES:
                s.latents[:] = 0
        elif part >= 0:
            told, told_share = s.told[part], 1.0
            quality_index = control.quality_index[0]
            steps, indices = s.constants.steps[quality_index], s.indices[part]
            for k in range(len(s.latents)):
                s.latents[k] = np.float32(indices[k]) * steps[k]
            s.network_quality_index[0] = quality_index
            s.raised[NOW] = factor(control.shift[0])
            s.raised[GAP] = control.lost_in_a_row[0] > 0
            control.last_quality_index[0] = quality_index
            control.last_timestamp[0] = control.timestamp[0] + part
            control.frames_left[0] = 0
            control.lost_in_a_row[0] = 0
            control.in_silence[0] = silence
        if part != TAIL:
            networks.step_decoder(s.network, s.rows)
            gain, noise_gain = concealment_gains(control.lost_in_a_row[0], control.in_silence[0] != 0)
            gains_row = s.network_quality_index[0]
        render_frame(
            s.decoded,
            s.background,
            s.stft,
            s.constants.post_filter,
            s.post_filter,
            s.constants.cosines,
            s.constants.sines,
            gain,
            noise_gain,
            control.in_silence[0] != 0,
            gains_row,
            control.last_quality_index[0],
            s.raised,
            s.out,
        )
        add_tones(s.tones, told, told_share, SAMPLE_RATE_HZ, s.out)
        return 0

    a, i = ADDRESS, INTEGER
    return {
        "decoder_read": (decoder_read, [a, a, i, i, i, i, i]),
        "decoder_look_ahead": (decoder_look_ahead, [a, a, i, i, i, i, i]),
        "decoder_play": (decoder_play, [a, a, i, i]),
    }


def encoder_exports(view: Callable[[Any, Any], Any]) -> Exports:
    """Functions on an :class:`~streamcodec.web.streams.EncoderStream`."""

    def encoder_start(
        constants: Any, stream: Any, bitrate_bps: float, frames: int, inter_coded: int, dtx: int, key_period_s: float
    ) -> int:
        """Settings of a stream that has not begun."""
        s = view(constants, stream)
        control = s.control
        control.bitrate_bps[0] = bitrate_bps
        control.reservoir_bits[0] = CREDIT_S * bitrate_bps
        control.coded_bits[0] = control.usual_bits[0] = PRIOR_S * bitrate_bps
        control.frames[0] = frames
        control.inter_coded[0] = inter_coded
        control.dtx[0] = dtx
        control.key_period_s[0] = key_period_s
        return 0

    def encoder_set_bitrate(constants: Any, stream: Any, bitrate_bps: float) -> int:
        """Aim at another rate from the next packet on."""
        view(constants, stream).control.bitrate_bps[0] = bitrate_bps
        return 0

    def encoder_set_frames(constants: Any, stream: Any, frames: int) -> int:
        """So many frames in a packet from the next one on; as ``NeuralEncoder.set_frames``."""
        s = view(constants, stream)
        share = s.control.frames[0] / frames
        s.control.quiet_packets[0] = round(share * s.control.quiet_packets[0])
        s.control.since_key[0] = round(share * s.control.since_key[0])
        s.control.frames[0] = frames
        return 0

    def encoder_collect(constants: Any, stream: Any, frame: int) -> int:
        """Take in the block that lies in the stream, as this frame of the packet."""
        s = view(constants, stream)
        control = s.control
        if frame == 0:
            control.power[0] = control.voiced[0] = control.tonal[0] = 0.0
        most = most_tones(control.bitrate_bps[0], FRAMES_PER_SECOND / control.frames[0])
        take_tones(s.tones, s.block, SAMPLE_RATE_HZ, most, s.told[frame])
        mean_square, correlation, shift, is_tonal = prepare_frame(
            s.low_cut,
            s.voicing,
            s.lift,
            s.stft,
            s.real,
            s.imaginary,
            s.companded,
            s.block,
            s.block,
            1.0 / FRAMES_PER_SECOND,
            True,
            frame == 0,
        )
        control.power[0] += mean_square * len(s.block)
        dbfs = mean_square_dbfs(mean_square)
        control.peak_dbfs[0], share = voiced_share(correlation, dbfs, control.peak_dbfs[0], FRAMES_PER_SECOND)
        control.voiced[0] += share
        control.shift[0] = shift
        control.tonal[0] += is_tonal
        networks.step_encoder(s.network, s.rows)
        for k in range(len(s.latents)):
            s.packet[frame, k] = s.latents[k]
        return 0

    def encoder_code(constants: Any, stream: Any) -> int:
        """Code the packet collected; bytes of its payload, -1 where none is sent. As ``NeuralEncoder.finish``."""
        s = view(constants, stream)
        control, coding = s.control, s.coding
        frames = control.frames[0]
        packets_per_second = FRAMES_PER_SECOND / frames
        flags = next_flags(control, packets_per_second, frames * len(s.block), any_tones(s.told, frames))
        if flags < 0:
            account(control, 0.0, -1.0, packets_per_second)
            return -1
        if flags & KEY:
            coding.context[:] = 0
            control.context_frames[0] = 0
        kbps = s.constants.kbps[control.inter_coded[0], frames - 1]
        quality_index, usual_kbps = np.int64(0), -1.0
        before, power = control.was_silent[0] != 0, control.power[0] / (frames * len(s.block))
        control.was_silent[0] = mean_square_dbfs(power) < SILENT_DBFS
        nothing = before and control.was_silent[0] != 0
        if not nothing and not flags & SILENCE:
            quality_index = choose_quality_index(control, kbps)
            usual_kbps = kbps[quality_index]
        length = entropy.code_packet(
            s.constants.tables,
            s.packet[:frames],
            quality_index,
            control.context_frames[0],
            coding.context,
            len(s.latents),
            coding.prediction,
            s.indices,
            coding.coder,
            coding.payload,
            control.shift[0],
        )
        length = put_tones(s.told, frames, coding.payload, max(length, 0))
        control.context_frames[0] = min(control.context_frames[0] + frames, CONTEXT_FRAMES)
        account(control, 8.0 * length, usual_kbps, packets_per_second)
        control.quality_index[0] = quality_index
        control.flags[0] = flags
        for back in range(len(s.recent) - 1, 0, -1):
            s.recent_shifts[back] = s.recent_shifts[back - 1]
            s.recent_frames[back] = s.recent_frames[back - 1]
            for f in range(s.recent_frames[back]):
                now, after = s.recent[back, f], s.recent[back - 1, f]
                for k in range(len(s.latents)):
                    now[k] = after[k]
                copy_tones(s.recent_told[back - 1, f], s.recent_told[back, f])
        for f in range(frames):
            now, after = s.recent[0, f], s.packet[f]
            for k in range(len(s.latents)):
                now[k] = after[k]
            copy_tones(s.told[f], s.recent_told[0, f])
        s.recent_shifts[0] = control.shift[0]
        s.recent_frames[0] = frames
        control.recent_packets[0] = min(control.recent_packets[0] + 1, len(s.recent))
        return length

    def encoder_copy(
        constants: Any, stream: Any, age: int, first: int, frames: int, quality_index: int, share: float
    ) -> int:
        """Code so many frames again, from frame ``first`` of the packet of ``age`` packets ago (0: the last) on, at a
        share of their rate; bytes, -1 where there are not so many.

        As ``NeuralEncoder.encode_redundant``.
        """
        s = view(constants, stream)
        control, coding = s.control, s.coding
        if control.inter_coded[0] or not 0 <= age < control.recent_packets[0]:
            return -1
        shift = s.recent_shifts[age]
        found = 0
        for back in range(age, -1, -1):
            if found < frames:
                if s.recent_shifts[back] != shift:
                    return -1
                for f in range(first if back == age else 0, s.recent_frames[back]):
                    if found < frames:
                        for k in range(len(s.latents)):
                            s.copied[found, k] = s.recent[back, f, k]
                        copy_tones(s.recent_told[back, f], s.copied_told[found])
                        found += 1
        if found < frames:
            return -1
        kbps = s.constants.kbps[0, frames - 1]
        wanted = round(quality_index_for_kbps(kbps, share * kbps[quality_index]))
        coarse = np.int64(min(quality_index, max(0, wanted)))
        s.copy_context[:] = 0
        length = entropy.code_packet(
            s.constants.tables,
            s.copied[:frames],
            coarse,
            np.int64(0),
            s.copy_context,
            len(s.latents),
            coding.prediction,
            s.indices,
            coding.coder,
            coding.payload,
            shift,
        )
        control.copy_quality_index[0] = coarse
        return put_tones(s.copied_told, frames, coding.payload, max(length, 0))

    a, i, n = ADDRESS, INTEGER, NUMBER
    return {
        "encoder_start": (encoder_start, [a, a, n, i, i, i, n]),
        "encoder_set_bitrate": (encoder_set_bitrate, [a, a, n]),
        "encoder_set_frames": (encoder_set_frames, [a, a, i]),
        "encoder_collect": (encoder_collect, [a, a, i]),
        "encoder_code": (encoder_code, [a, a]),
        "encoder_copy": (encoder_copy, [a, a, i, i, i, i, n]),
    }


def sound_exports() -> Exports:
    """Functions on sound alone, at addresses that JavaScript gives."""

    def resample(taps: Any, sound: Any, block: Any, out: Any, up: int, count: int, down: int, samples: int) -> int:
        """A block of ``samples`` at another rate; as ``resample_block``, whose shapes these are."""
        state = PolyphaseState(
            carray(taps, (up, count), np.float32), carray(sound, (count - 1 + samples,), np.float32), down
        )
        resample_block(state, carray(block, (samples,), np.float32), carray(out, (samples * up // down,), np.float32))
        return 0

    a, i = ADDRESS, INTEGER
    return {"resample": (resample, [a, a, a, a, i, i, i, i])}
