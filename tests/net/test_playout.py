"""Time scaling and playout: no clicks, no drift of length, nothing unbounded."""

from __future__ import annotations

import random

import numpy as np
import pytest

from streamcodec.codec.packet import Packet
from streamcodec.errors import StreamcodecError
from streamcodec.net import time_scale
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, JitterConfig
from streamcodec.net.playout import Playout
from streamcodec.net.time_scale import Samples
from tests.helpers.simulation import packet

RATE_HZ = 24_000
PACKET_SAMPLES = 480


def voiced(seconds: float, pitch_hz: float = 130.0, glide: float = 0.2) -> Samples:
    """A vowel-like tone: harmonics falling off, pitch gliding, level waxing and waning."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (time_s + glide * np.sin(2 * np.pi * 0.7 * time_s) / (2 * np.pi * 0.7))
    sound = sum(np.sin(k * phase + k * k) / k for k in range(1, 16))
    return np.asarray(0.15 * sound * (1 + 0.5 * np.sin(2 * np.pi * 2.1 * time_s)), np.float32)


def largest_jump(samples: Samples) -> float:
    return float(np.abs(np.diff(samples, axis=0)).max())


def second_difference(samples: Samples) -> float:
    return float(np.abs(np.diff(samples, n=2, axis=0)).max())


@pytest.mark.parametrize("pitch_hz", [85.0, 130.0, 210.0, 330.0])
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_one_period_is_removed_or_repeated(pitch_hz: float, rate_hz: int) -> None:
    time_s = np.arange(rate_hz // 50) / rate_hz
    block = np.asarray(0.3 * sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in (1, 2, 3)), np.float32)
    shorter = time_scale.accelerate(block, rate_hz)
    longer = time_scale.expand(block, rate_hz)
    periods = (len(block) - len(shorter)) * pitch_hz / rate_hz
    assert periods == pytest.approx(round(periods), abs=0.05)
    assert periods >= 0.95
    assert len(longer) - len(block) == len(block) - len(shorter)
    for scaled in (shorter, longer):
        assert largest_jump(scaled) <= 1.05 * largest_jump(block)
        assert second_difference(scaled) <= 1.2 * second_difference(block)
        assert scaled[-1] == block[-1]
        assert abs(scaled[0] - block[0]) < 0.02


def test_noise_is_left_alone_unless_forced_and_silence_is_always_cut() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, PACKET_SAMPLES).astype(np.float32)
    assert time_scale.accelerate(noise, RATE_HZ) is noise
    assert time_scale.expand(noise, RATE_HZ) is noise
    assert len(time_scale.accelerate(noise, RATE_HZ, force=True)) < PACKET_SAMPLES
    silence = np.zeros(PACKET_SAMPLES, np.float32)
    assert len(time_scale.accelerate(silence, RATE_HZ)) == PACKET_SAMPLES - 300
    assert len(time_scale.expand(silence, RATE_HZ)) == PACKET_SAMPLES + 300


def test_blocks_too_short_to_splice_and_stereo() -> None:
    short = np.ones(100, np.float32)
    assert time_scale.accelerate(short, RATE_HZ, force=True) is short
    mono = voiced(0.02)
    stereo = np.stack((mono, 0.5 * mono), axis=1)
    scaled = time_scale.accelerate(stereo, RATE_HZ)
    np.testing.assert_allclose(scaled[:, 1], 0.5 * scaled[:, 0], atol=1e-6)
    np.testing.assert_allclose(scaled[:, 0], time_scale.accelerate(mono, RATE_HZ), atol=1e-6)


class VowelDecoder:
    """Stands in for the codec: each packet is its 20 ms of one continuous vowel; concealment goes on with it, and the
    first packet after concealment is faded in over a hop, as the codec does."""

    def __init__(self, sound: Samples) -> None:
        self._sound = sound
        self._next = 0
        self._concealing = False

    def push(self, packet: Packet | None, following: Packet | None = None, /) -> Samples:
        continued = self._block(self._next)
        if packet is None:
            self._concealing = True
            self._next += 1
            return continued
        block = self._block(packet.timestamp)
        if self._concealing and packet.timestamp != self._next:
            fade = np.linspace(0.0, 1.0, 240, dtype=np.float32)
            block[:240] = continued[:240] + fade * (block[:240] - continued[:240])
        self._concealing = False
        self._next = packet.timestamp + 1
        return block

    def _block(self, index: int) -> Samples:
        return self._sound[index * PACKET_SAMPLES : (index + 1) * PACKET_SAMPLES].copy()


def play(
    delays_ms: list[float], block_samples: int, sound: Samples, config: JitterConfig | None = None
) -> tuple[Samples, Playout]:
    playout = Playout(JitterBuffer(config), VowelDecoder(sound), RATE_HZ)
    arrivals = sorted((index * FRAME_MS + delay, index) for index, delay in enumerate(delays_ms))
    block_ms = 1000.0 * block_samples / RATE_HZ
    out = []
    position = 0
    for tick in range(int(len(delays_ms) * FRAME_MS / block_ms)):
        while position < len(arrivals) and arrivals[position][0] <= tick * block_ms:
            arrival_ms, index = arrivals[position]
            playout.buffer.put(packet(index), arrival_ms)
            position += 1
        out.append(playout.pull(tick * block_ms, block_samples))
        assert playout.stats.queued_samples < 2 * PACKET_SAMPLES
    return np.concatenate(out), playout


def test_on_a_steady_line_sound_waits_little_longer_than_the_target() -> None:
    """Whatever the phase between arriving packets and the blocks that the device asks for."""
    rng = np.random.default_rng(2)
    sound = np.zeros(16 * RATE_HZ, np.float32)
    bursts = [round(0.3 * RATE_HZ * k) + int(rng.integers(0, 480)) for k in range(1, 50)]
    for start in bursts:
        sound[start : start + 720] = rng.normal(0, 0.2, 720)
    waits_ms = []
    for phase_ms in np.arange(0.5, 20.0, 2.0):
        heard, playout = play([float(phase_ms)] * 780, 240, sound)
        start = bursts[-3]
        found = np.correlate(heard[start : start + 3_000], sound[start : start + 720], mode="valid")
        waits_ms.append(1000 * int(np.argmax(found)) / RATE_HZ - phase_ms - playout.buffer.stats.target_ms)
        assert playout.buffer.stats.concealed == 0
    assert min(waits_ms) >= -3.0
    assert max(waits_ms) < 14.0
    assert np.mean(waits_ms) < 7.0


def test_growth_and_drain_never_click() -> None:
    """Delay steps up by 60 ms, then back: playout expands and accelerates a vowel all along."""
    sound = voiced(16.0)
    delays_ms = [20.0 if index < 200 or index >= 450 else 50.0 + 0.08 * (index % 7) for index in range(780)]
    heard, playout = play(delays_ms, 240, sound, JitterConfig(patience_above_frames=50))
    stats = playout.stats
    assert stats.accelerated > 2
    assert stats.removed_samples > 0.02 * RATE_HZ
    start = int(np.flatnonzero(heard)[0])
    assert largest_jump(heard[start:]) <= 1.1 * largest_jump(sound)
    assert playout.buffer.stats.depth_ms <= 30.0


def test_speech_is_left_as_it_is_while_a_pause_can_be_hoped_for() -> None:
    """The delay falls by 60 ms while a vowel lasts; what was too much goes in the pause after it."""
    sound = voiced(16.0)
    sound[10 * RATE_HZ : 11 * RATE_HZ] *= 0.01
    delays_ms = [80.0 if index % 10 else 20.0 for index in range(250)] + [20.0] * 500
    heard, playout = play(delays_ms[:490], 240, sound)
    before = playout.stats
    assert before.removed_samples == 0
    assert playout.buffer.stats.depth_ms > 60.0
    heard, playout = play(delays_ms, 240, sound)
    assert playout.buffer.stats.depth_ms <= 40.0
    assert playout.stats.removed_samples > 0.03 * RATE_HZ
    assert playout.buffer.stats.concealed <= before.expanded + 3
    assert largest_jump(heard[np.flatnonzero(heard)[0] :]) <= 1.1 * largest_jump(sound)


def test_a_fast_sender_clock_is_followed_without_clicks() -> None:
    sound = voiced(70.0, pitch_hz=180.0)
    rng = random.Random(2)
    delays_ms = [20.0 + rng.uniform(0, 8) - index * FRAME_MS * 1e-3 for index in range(3_000)]
    heard, playout = play(delays_ms, 480, sound)
    stats = playout.stats
    # 1,000 ppm for a minute is 60 ms of sound too much.
    assert 40.0 < 1000.0 * (stats.removed_samples - stats.added_samples) / RATE_HZ < 90.0
    assert largest_jump(heard[2_000:]) <= 1.1 * largest_jump(sound)
    assert playout.buffer.stats.concealed <= 1


def test_a_slow_sender_clock_is_followed_without_clicks() -> None:
    sound = voiced(70.0, pitch_hz=180.0)
    rng = random.Random(2)
    delays_ms = [20.0 + rng.uniform(0, 8) + index * FRAME_MS * 1e-3 for index in range(3_000)]
    heard, playout = play(delays_ms, 480, sound)
    stats = playout.stats
    concealed = playout.buffer.stats.concealed
    added_ms = 1000.0 * (stats.added_samples - stats.removed_samples) / RATE_HZ
    assert concealed <= 2
    # 60 ms, less the start's excess over the target.
    assert 15.0 < added_ms + concealed * FRAME_MS < 90.0
    assert largest_jump(heard[2_000:]) <= 1.1 * largest_jump(sound)


@pytest.mark.parametrize("block_samples", [1, 113, 240, 480, 4_000])
def test_any_block_size_hears_the_same_sound(block_samples: int) -> None:
    sound = voiced(0.6)
    heard, playout = play([0.0] * 25, block_samples, sound)
    start = int(np.flatnonzero(heard)[0])
    expected = sound[int(np.flatnonzero(sound)[0]) :]
    if playout.stats.accelerated + playout.stats.expanded == 0:
        count = min(len(heard) - start, len(expected), 15 * PACKET_SAMPLES)
        np.testing.assert_array_equal(heard[start : start + count], expected[:count])
    assert playout.stats.samples == len(heard)


def test_silence_before_the_first_packet() -> None:
    playout = Playout(JitterBuffer(), VowelDecoder(voiced(0.1)), RATE_HZ, channels=2)
    assert not playout.pull(0.0, 480).any()
    assert playout.pull(20.0, 33).shape == (33, 2)


def talk(seconds: float) -> Samples:
    """Syllables of a vowel with closures of 60 ms between them, a breath at 3 s, and a quiet room behind all."""
    sound = voiced(seconds)
    time_s = np.arange(len(sound)) / RATE_HZ
    sound *= (time_s % 0.3 > 0.06) & (np.abs(time_s - 3.0) > 0.4)
    return sound + np.random.default_rng(3).normal(0, 1e-3, len(sound)).astype(np.float32)


def test_delay_shrinks_where_nobody_speaks_and_not_between_syllables() -> None:
    """A line that was slow at first: what was too much is taken out of the breath, and the words stay as they are."""
    sound = talk(8.0)
    delays_ms = [70.0 if index < 30 else 10.0 for index in range(390)]
    heard, playout = play(delays_ms, 240, sound)
    assert playout.stats.accelerated > 2
    window = slice(round(1.5 * RATE_HZ), round(2.4 * RATE_HZ))
    before = np.correlate(heard[window.start : window.stop + 2 * RATE_HZ], sound[window], mode="valid")
    assert before.max() > 0.98 * float(sound[window] @ sound[window])
    window = slice(round(4.5 * RATE_HZ), round(6.5 * RATE_HZ))
    after = np.correlate(heard[window.start : window.stop + RATE_HZ], sound[window], mode="valid")
    assert after.max() > 0.98 * float(sound[window] @ sound[window])
    assert int(np.argmax(after)) < int(np.argmax(before)) - 0.02 * RATE_HZ


def test_samples_are_counted_in_whole_numbers() -> None:
    playout = Playout(JitterBuffer(), VowelDecoder(voiced(0.1)), RATE_HZ)
    assert playout.pull(0.0, 160.0).shape == (160,)  # type: ignore[arg-type]
    for wrong in (160.5, "x", None, -1):
        with pytest.raises(StreamcodecError, match="count_samples must be"):
            playout.pull(0.0, wrong)  # type: ignore[arg-type]
