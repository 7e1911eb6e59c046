"""The loop on a simulated device: its delay to the sample, what it counts, and how it mends itself."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from streamcodec.errors import StreamcodecError, StreamcodecWarning
from streamcodec.live import LoopbackConfig, LoopbackEngine
from streamcodec.live.feedback_guard import GuardState
from streamcodec.live.recorder import Recorder
from tests.helpers.fake_device import delay_ms, play_through

Samples = NDArray[np.float32]


def at_rate(sound: Samples, rate_hz: int) -> Samples:
    return np.asarray(soxr.resample(sound, 24_000, rate_hz), np.float32)


@pytest.fixture(scope="module")
def talk(speech: Samples) -> Samples:
    """Two seconds of speech at 48 kHz."""
    return at_rate(speech, 48_000)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_delay_is_what_its_parts_say(speech: Samples, rate_hz: int, channels: int) -> None:
    sound = at_rate(speech, rate_hz)
    engine = LoopbackEngine(LoopbackConfig(sample_rate_hz=rate_hz))
    played = play_through(engine, sound, channels=channels)
    split = engine.stats().delay
    assert split.frame_ms == 20.0
    assert split.codec_ms >= 5.0
    assert split.buffer_ms == pytest.approx(10.0, abs=0.5)
    assert delay_ms(sound, played, rate_hz) == pytest.approx(split.total_ms, abs=0.5)


def test_nothing_is_dropped_lost_or_concealed(talk: Samples) -> None:
    engine = LoopbackEngine(LoopbackConfig(buffer_ms=0.0))
    played = play_through(engine, talk)
    stats = engine.stats()
    assert stats.seconds == pytest.approx(len(talk) / 48_000, abs=0.01)
    assert stats.packets == len(talk) // 960
    assert stats.lost == stats.late == stats.concealed == stats.underruns == 0
    assert stats.dropped_ms == 0.0
    assert stats.payload_bps == pytest.approx(6_000, rel=0.15)
    assert stats.wire_bps == pytest.approx(stats.payload_bps + 50 * 8 * 52, rel=0.02)
    lag = round(stats.delay.total_ms * 48)
    assert np.corrcoef(talk[: len(played) - lag], played[lag:])[0, 1] > 0.7


def test_costs_are_taken_per_frame_from_the_clock(talk: Samples) -> None:
    ticks = itertools.count()
    engine = LoopbackEngine(clock_s=lambda: 0.002 * next(ticks))
    play_through(engine, talk[:48_000])
    cost = engine.stats().cost
    # Each block of 10 ms reads the clock before and after, 2 ms apart.
    assert (cost.p50_ms, cost.p95_ms, cost.p99_ms, cost.max_ms) == pytest.approx((2.0, 2.0, 2.0, 2.0))


@pytest.mark.parametrize("packet_ms", [60, 120])
def test_costs_of_long_packets_are_taken_over_the_whole_packet(talk: Samples, packet_ms: int) -> None:
    """A clock on which encoding takes all the time: once a packet."""
    now_s = 0.0
    engine = LoopbackEngine(LoopbackConfig(packet_ms=packet_ms), clock_s=lambda: now_s)
    push = engine._sender.push

    def timed(samples: Samples) -> list[bytes]:
        nonlocal now_s
        datagrams = push(samples)
        now_s += 0.012 * len(datagrams)
        return datagrams

    engine._sender.push = timed  # type: ignore[method-assign]
    play_through(engine, talk[:48_000])
    cost = engine.stats().cost
    expected_ms = 12.0 * 10.0 / packet_ms
    assert (cost.p50_ms, cost.max_ms) == pytest.approx((expected_ms, expected_ms))


def test_a_lossy_link_is_counted_and_concealed_the_same_each_time(talk: Samples) -> None:
    config = LoopbackConfig(loss=0.2, mean_burst_packets=2.0, seed=3)
    first, again = LoopbackEngine(config), LoopbackEngine(config)
    played = play_through(first, talk)
    assert np.array_equal(played, play_through(again, talk))
    stats = first.stats()
    assert 0.08 * stats.packets < stats.lost < 0.35 * stats.packets
    assert stats.concealed == pytest.approx(stats.lost, abs=2)
    # Loss alone costs no delay.
    assert stats.delay.buffer_ms == pytest.approx(10.0, abs=20.5)
    other = LoopbackEngine(replace(config, seed=4))
    assert not np.array_equal(played, play_through(other, talk))


@pytest.mark.parametrize("redundancy", [2, None])
def test_copies_recover_what_is_lost_at_the_price_of_delay(talk: Samples, redundancy: int | None) -> None:
    """A fixed number of copies, or as many as the receiver's reports ask for: the machinery of calls."""
    lossy = LoopbackConfig(loss=0.15, mean_burst_packets=1.5, seed=5)
    bare, redundant = LoopbackEngine(lossy), LoopbackEngine(replace(lossy, redundancy=redundancy))
    sound = np.tile(talk, 4)
    play_through(bare, sound)
    play_through(redundant, sound)
    without, with_redundancy = bare.stats(), redundant.stats()
    assert (without.redundancy, without.recovered) == (0, 0)
    assert with_redundancy.redundancy >= 1
    assert with_redundancy.lost == without.lost
    assert with_redundancy.recovered > 0.4 * with_redundancy.lost
    assert with_redundancy.concealed < 0.6 * without.concealed
    assert 15.0 < with_redundancy.jitter_depth_ms < 120.0
    assert with_redundancy.wire_bps > without.wire_bps
    assert with_redundancy.payload_bps == pytest.approx(6_000, rel=0.15)


def test_jitter_is_bought_off_with_delay(talk: Samples) -> None:
    engine = LoopbackEngine(LoopbackConfig(jitter_ms=60.0))
    play_through(engine, np.tile(talk, 2))
    stats = engine.stats()
    assert stats.lost == 0
    assert 40.0 < stats.jitter_depth_ms < 120.0
    assert stats.concealed + stats.late < 0.1 * stats.packets


def test_a_codec_that_comes_late_grows_the_buffer_and_the_buffer_drains_again(talk: Samples) -> None:
    pauses = np.concatenate([talk, np.zeros(12 * 48_000, np.float32)])
    engine = LoopbackEngine(LoopbackConfig(buffer_ms=10.0))
    late = range(40, 46)
    block = engine.block_samples
    play_through(engine, pauses[: 100 * block], asleep=late)
    grown = engine.stats()
    # Two of the seven blocks were ready, five came too late and are heard later.
    assert grown.underruns == 5
    assert grown.playback_ms == pytest.approx(60.0)
    assert grown.dropped_ms == 0.0
    play_through(engine, pauses[100 * block :])
    drained = engine.stats()
    assert drained.underruns == 5
    assert drained.playback_ms == pytest.approx(10.0, abs=5.0)


def test_a_codec_that_stalls_for_long_loses_sound_and_never_grows(talk: Samples) -> None:
    engine = LoopbackEngine()
    play_through(engine, np.tile(talk, 2), asleep=range(50, 150))
    stats = engine.stats()
    assert stats.dropped_ms > 500.0
    assert stats.underruns > 80
    assert stats.playback_ms <= engine.config.longest_buffer_ms
    assert stats.delay.buffer_ms <= engine.config.longest_buffer_ms + 20.0


def test_a_device_that_asks_twice_at_once_finds_sound_ready(talk: Samples) -> None:
    engine = LoopbackEngine(LoopbackConfig(buffer_ms=10.0))
    # The codec's thread wakes after every second callback only.
    play_through(engine, talk, asleep=range(0, 1_000, 2))
    assert engine.stats().underruns == 0


def test_any_thread_may_ask_how_it_goes(talk: Samples) -> None:
    engine = LoopbackEngine(LoopbackConfig(loss=0.1, mean_burst_packets=2.0, jitter_ms=80.0))
    codec = threading.Thread(target=play_through, args=(engine, np.tile(talk, 2)))
    codec.start()
    seen = [engine.stats()]
    while codec.is_alive():
        seen.append(engine.stats())
        codec.join(1e-4)
    assert [stats.packets for stats in seen] == sorted(stats.packets for stats in seen)
    assert engine.stats().packets == 2 * len(talk) // 960


def test_damaged_samples_from_the_microphone_stay_harmless(talk: Samples) -> None:
    bad = talk.copy()
    bad[10_000:10_500] = np.nan
    bad[20_000] = np.inf
    played = play_through(LoopbackEngine(), bad)
    assert np.isfinite(played).all()
    assert float(np.abs(played).max()) <= 1.0


@pytest.mark.parametrize("echo_gain", [1.5, 4.0])
def test_feedback_is_muted_before_it_stays(talk: Samples, echo_gain: float) -> None:
    sound = np.concatenate([talk, np.zeros(2 * 48_000, np.float32)])
    guarded, howling = LoopbackEngine(), LoopbackEngine(LoopbackConfig(allow_feedback=True))
    played = play_through(guarded, sound, echo_gain=echo_gain)
    howl = play_through(howling, sound, echo_gain=echo_gain)
    last = slice(-24_000, None)
    assert float(np.sqrt(np.mean(howl[last] ** 2))) > 0.05
    assert guarded.stats().feedback_found == 1
    assert guarded.stats().guard is GuardState.MUTED
    assert float(np.abs(played[last]).max()) == 0.0


@pytest.mark.parametrize("echo_gain", [0.0, 0.2])
def test_speech_is_never_muted_without_feedback(speech_file: Path, echo_gain: float) -> None:
    samples, _ = soundfile.read(speech_file, dtype="float32")
    engine = LoopbackEngine()
    play_through(engine, at_rate(samples, 48_000), echo_gain=echo_gain)
    assert engine.stats().feedback_found == 0
    assert engine.stats().guard is GuardState.OPEN


def test_a_steady_loud_tone_is_probed_and_let_through() -> None:
    tone = np.asarray(0.5 * np.sin(2 * np.pi * 440.0 * np.arange(4 * 48_000) / 48_000), np.float32)
    engine = LoopbackEngine()
    played = play_through(engine, tone)
    assert engine.stats().feedback_found == 0
    assert float(np.sqrt(np.mean(played[-48_000:] ** 2))) > 0.2


def test_recording_holds_what_went_in_and_what_was_played(talk: Samples, tmp_path: Path) -> None:
    engine = LoopbackEngine(record=True)
    assert engine.recorded is not None
    path = tmp_path / "heard.wav"
    recorder = Recorder(path, 48_000, engine.recorded)
    sound = talk[: 48_000 - 48_000 % 480]
    played = play_through(engine, sound)
    recorder.close()
    pair, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 48_000
    assert np.abs(pair[:, 0] - sound).max() < 1e-4
    assert np.abs(pair[:, 1] - played).max() < 1e-4


def test_a_recording_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    engine = LoopbackEngine(record=True)
    assert engine.recorded is not None
    with pytest.raises(StreamcodecError, match="cannot write"):
        Recorder(tmp_path / "no" / "folder.wav", 48_000, engine.recorded)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sample_rate_hz": 12_345}, "sample_rate_hz"),
        ({"bitrate_bps": 500_000}, "1 to 24 kbps"),
        ({"loss": 0.99}, "loss rate"),
        ({"jitter_ms": -1.0}, "jitter_ms must be 0 or more"),
        ({"buffer_ms": 500.0}, "buffer_ms"),
        ({"model": "none"}, "no usable model"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(StreamcodecError, match=says):
        LoopbackEngine(LoopbackConfig(**changes))  # type: ignore[arg-type]


def test_a_microphone_that_gives_no_numbers_is_told_once(talk: Samples, tmp_path: Path) -> None:
    engine = LoopbackEngine(LoopbackConfig(), record=True)
    assert engine.recorded is not None
    recorder = Recorder(tmp_path / "out.wav", 48_000, engine.recorded)
    broken = talk[:48_000].copy()
    broken[9_600:9_603] = np.nan, np.inf, -np.inf
    broken[19_200:19_203] = np.nan
    with pytest.warns(StreamcodecWarning, match="what the microphone gives holds 3 sample") as told:
        played = play_through(engine, broken)
    assert len(told) == 1
    stats = engine.stats()
    assert stats.not_finite == 6
    assert np.isfinite([stats.mic_dbfs, stats.heard_dbfs]).all()
    assert np.isfinite(played).all()
    recorder.close()
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (written[9_600, 0], written[19_200:19_203, 0].tolist()) == (0.0, [0.0] * 3)
