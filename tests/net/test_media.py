"""Calls of every tier between sound and datagrams, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamcodec import StreamcodecWarning, StreamEncoder
from streamcodec.codec.float_stream import FloatDecoder, FloatEncoder
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.media import OURSELVES, Media, MediaConfig
from streamcodec.net.time_scale import Samples
from tests.helpers.fake_codec import PACKET_SAMPLES, RATE_HZ, FakeDecoder, FakeEncoder

Lost = Callable[[int, int], bool]
TICK_MS = 10.0


def media(rate_hz: int, heard_channels: int = 1, **coding: Any) -> Media:
    tier = coding.pop("tier", "neural")
    encoder = FloatEncoder(StreamEncoder(rate_hz, tier=tier, mode="independent", **coding))
    config = MediaConfig(rate_hz, heard_channels, congestion=None, redundancy=0)
    return Media(config, encoder, lambda: FloatDecoder(rate_hz, heard_channels))


def converse(
    speaker: Media,
    listener: Media,
    sound: Samples,
    rate_hz: int,
    heard_hz: int,
    lost: Lost = lambda tick, piece: False,
) -> Samples:
    """Everything the listener plays while the speaker says ``sound``; datagrams take no time."""
    speaker.come("listener")
    listener.come("speaker")
    block, heard_block = round(rate_hz * TICK_MS / 1_000), round(heard_hz * TICK_MS / 1_000)
    played = []
    ticks = len(sound) // block
    for tick in range(ticks + 20):
        now_ms = tick * TICK_MS
        if tick < ticks:
            datagrams = speaker.push(sound[tick * block : (tick + 1) * block])
        else:
            datagrams = speaker.flush() if tick == ticks else []
        for piece, datagram in enumerate(datagrams):
            assert len(datagram) <= 1_071
            if not lost(tick, piece):
                listener.receive("speaker", datagram, now_ms)
        played.append(listener.pull(now_ms, heard_block))
        for _, report in listener.tick(now_ms):
            speaker.receive("listener", report, now_ms)
    return np.concatenate(played)


def excerpt(fixtures: Path, name: str, seconds: float = 1.49) -> tuple[Samples, int]:
    samples, rate_hz = soundfile.read(fixtures / name, dtype="float32")
    return np.asarray(samples[: int(seconds * rate_hz)], np.float32), int(rate_hz)


def where(sound: Samples, played: Samples) -> int:
    """At which sample of ``played`` the second tenth of a second of ``sound`` lies, less its place in ``sound``."""
    size = 1 << (len(played) + len(sound)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(played, size) * np.conj(np.fft.rfft(sound, size)), size)
    return int(np.argmax(cross[: len(played)]))


@pytest.mark.parametrize(("channels", "bits"), [(1, 16), (2, 24)])
def test_lossless_is_bit_exact_through_a_call(fixtures: Path, channels: int, bits: int) -> None:
    mono, rate_hz = excerpt(fixtures, "environment_48k.flac")
    sound = mono if channels == 1 else np.stack([mono, np.roll(mono, 7)], axis=1)
    # Full scale and beyond what a mixer of several voices would leave alone.
    sound = np.clip(1.3 * sound / np.abs(sound).max(), -1.0, 1.0 - 2.0 ** (1 - bits)).astype(np.float32)
    exact = (np.rint(sound * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)).astype(np.float32)
    coding = {"tier": "lossless", "bits_per_sample": bits, "channels": channels}
    speaker, listener = media(rate_hz, channels, **coding), media(rate_hz, channels)
    played = converse(speaker, listener, exact, rate_hz, rate_hz)
    sent = speaker.stats.sender
    assert sent.datagrams > sent.packets
    start = where(exact.reshape(len(exact), -1)[:, 0], played.reshape(len(played), -1)[:, 0])
    whole = len(exact) // (rate_hz // 50) * (rate_hz // 50)
    np.testing.assert_array_equal(played[start : start + whole], exact[:whole])
    stats = listener.stats.receivers["speaker"]
    assert (stats.jitter.concealed, stats.jitter.lost, stats.incomplete, stats.damaged) == (0, 0, 0, 0)


def test_a_lost_piece_loses_just_its_packet(fixtures: Path) -> None:
    mono, rate_hz = excerpt(fixtures, "environment_48k.flac")
    sound = np.stack([mono, np.random.default_rng(1).normal(0, 0.1, len(mono)).astype(np.float32)], axis=1)
    sound = (np.rint(sound * 32_768) / 32_768).astype(np.float32)
    speaker, listener = media(rate_hz, 2, tier="lossless", channels=2), media(rate_hz, 2)
    missing = {21, 51, 53}
    played = converse(speaker, listener, sound, rate_hz, rate_hz, lambda tick, piece: tick in missing and piece == 1)
    stats = listener.stats.receivers["speaker"]
    assert stats.jitter.lost == stats.jitter.concealed == 3
    assert stats.incomplete == 3
    start = where(sound[:, 1], played[:, 1])
    packet = rate_hz // 50
    # A packet is complete with every second block of 10 ms.
    unequal = {
        index
        for index in range(len(sound) // packet)
        if not np.array_equal(played[start + index * packet :][:packet], sound[index * packet :][:packet])
    }
    assert unequal == {tick // 2 for tick in missing}


@pytest.mark.parametrize(("name", "least_snr_db"), [("music_44k.flac", 30.0), ("environment_48k.flac", 12.0)])
def test_near_lossless_comes_through_at_its_own_pace_of_packets(
    fixtures: Path, name: str, least_snr_db: float
) -> None:
    sound, rate_hz = excerpt(fixtures, name)
    speaker, listener = media(rate_hz, tier="near-lossless", ratio=8.0, optimise="mse"), media(rate_hz)
    played = converse(speaker, listener, sound, rate_hz, rate_hz)
    stats = listener.stats.receivers["speaker"]
    assert stats.format is not None
    assert stats.format.packet_ms == pytest.approx(1_000 * 512 / rate_hz)
    assert stats.jitter.concealed == stats.jitter.lost == 0
    if stats.playout.accelerated + stats.playout.expanded == 0:
        start = where(sound, played)
        heard = played[start : start + len(sound) - 2_048]
        error = heard - sound[: len(heard)]
        assert 10 * np.log10(np.sum(sound[: len(heard)] ** 2) / np.sum(error**2)) > least_snr_db
    # 60 ms of buffer at most where nothing jitters.
    assert stats.jitter.depth_ms < 60.0


def test_everyone_is_heard_whatever_they_send(fixtures: Path) -> None:
    """A lossless and a neural speaker at rates of their own, one listener at a third."""
    sound, rate_hz = excerpt(fixtures, "environment_48k.flac", 1.0)
    lossless, neural, listener = media(rate_hz, tier="lossless"), media(24_000), media(16_000)
    heard = {}
    for name, speaker, spoken, at_hz in (
        ("lossless", lossless, sound, rate_hz),
        ("neural", neural, sound[::2].copy(), 24_000),
    ):
        speaker.come("listener")
        listener.come(name)
        played = []
        for tick in range(100):
            now_ms = tick * TICK_MS
            block = at_hz // 100
            for datagram in speaker.push(spoken[tick * block : (tick + 1) * block]):
                listener.receive(name, datagram, now_ms)
            played.append(listener.pull(now_ms, 160))
        heard[name] = np.concatenate(played)
        listener.leave(name)
    for name, played in heard.items():
        assert len(played) == 16_000
        assert np.sqrt(np.mean(played[4_000:] ** 2)) > 0.3 * np.sqrt(np.mean(sound**2)), name


def test_packets_of_another_tier_and_before_the_first_key_are_counted_and_left_out() -> None:
    rate_hz = 48_000
    listener = media(rate_hz)
    listener.come("speaker")
    stream = StreamEncoder(rate_hz, tier="lossless", mode="stream")
    packets = stream.push(np.random.default_rng(1).integers(-500, 500, 4 * 960).astype(np.int16))
    for packet in packets[1:]:
        listener.receive("speaker", packet.to_bytes(), 0.0)
    assert listener.stats.receivers["speaker"].damaged == 3
    listener.receive("speaker", packets[0].to_bytes(), 0.0)
    for packet in StreamEncoder(rate_hz).push(np.zeros(960, np.float32)):
        listener.receive("speaker", packet.to_bytes(), 0.0)
    stats = listener.stats.receivers["speaker"]
    assert (stats.damaged, stats.jitter.received) == (4, 1)


def test_near_lossless_rate_follows_reports() -> None:
    rate_hz = 48_000
    rng = np.random.default_rng(3)
    encoder = FloatEncoder(StreamEncoder(rate_hz, 96_000, tier="near-lossless", mode="independent"))
    rates = CongestionConfig(24_000, 96_000, 96_000, max_redundancy=0)
    speaker = Media(MediaConfig(rate_hz, congestion=rates), encoder, lambda: FloatDecoder(rate_hz))
    listener = media(rate_hz)
    speaker.come("listener")
    listener.come("speaker")
    # A path that grows slower by 60 ms each second: congestion.
    for tick in range(500):
        now_ms = tick * TICK_MS
        for datagram in speaker.push(rng.normal(0, 0.05, 480).astype(np.float32)):
            listener.receive("speaker", datagram, now_ms * 1.06)
        listener.pull(now_ms * 1.06, 480)
        for _, report in listener.tick(now_ms * 1.06):
            speaker.receive("listener", report, now_ms)
    rate = speaker.stats.sender.rate
    assert rate is not None
    assert rate.bitrate_bps < 60_000
    assert rate.redundancy == 0


def test_who_talks_is_told_once_each_way_and_mute_is_silence() -> None:
    def fake() -> Media:
        return Media(MediaConfig(RATE_HZ, congestion=None, redundancy=0), FakeEncoder(), FakeDecoder)

    ann, bob = fake(), fake()
    ann.come("bob")
    bob.come("ann")
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 200 * np.arange(PACKET_SAMPLES) / RATE_HZ), np.float32)
    told: list[tuple[int, str, bool]] = []
    own: list[tuple[int, str, bool]] = []
    for tick in range(200):
        now_ms = 20.0 * tick
        # Silence, speech, speech while muted.
        sound = tone if tick >= 50 else 0 * tone
        for datagram in ann.push(sound, muted=tick >= 100):
            bob.receive("ann", datagram, now_ms)
        bob.pull(now_ms, PACKET_SAMPLES)
        told += [(tick, *change) for change in bob.voice_activity_changes()]
        own += [(tick, *change) for change in ann.voice_activity_changes()]
    assert [change[1:] for change in told] == [("ann", True), ("ann", False)]
    assert [change[1:] for change in own] == [(OURSELVES, True), (OURSELVES, False)]
    assert 50 <= own[0][0] <= told[0][0] <= 56
    assert 100 < own[1][0] <= told[1][0] <= 145


def test_samples_that_are_no_numbers_are_counted_and_harm_nothing_after_them(fixtures: Path) -> None:
    sound, rate_hz = excerpt(fixtures, "speech_44k.flac", 1.0)
    speaker, listener = media(rate_hz), media(rate_hz)
    broken = sound.copy()
    broken[1_000:1_003] = np.nan, np.inf, -np.inf
    with pytest.warns(StreamcodecWarning, match="3 sample") as told:
        played = converse(speaker, listener, broken, rate_hz, rate_hz)
    assert len(told) == 1
    assert speaker.stats.not_finite == 3
    assert np.isfinite(played).all()
    # Voice activity hears what comes after.
    assert 0.01 < speaker.stats.level_rms < 1.0
