"""Files: one level for each minute, that at which the rate is met."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder, decode_array, encode_array, encode_file
from streamcodec.codec.files import look_ahead
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.look_ahead import encode_steadily
from streamcodec.codec.neural.rate_control import highest_fractional_index_within
from streamcodec.codec.packet import Packet

Float32Array = NDArray[np.float32]


def quality_indices_of(packets: list[Packet]) -> list[int]:
    return [packet.quality_index for packet in packets]


@pytest.mark.parametrize("mode", ["independent", "stream"])
@pytest.mark.parametrize("kbps", [1.6, 3.0, 6.0, 12.0])
def test_rate_is_met_within_two_percent_and_never_passed(speech_file: Path, kbps: float, mode: str) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    encoded = encode_array(speech, rate_hz, kbps * 1000, mode=mode, packet_ms=60, look_ahead=True)
    assert 0.98 < encoded.payload_bps / (kbps * 1000) <= 1.0


def test_one_level_is_held_or_two_neighbours_take_turns(speech_file: Path) -> None:
    """At a rate at which voiced packets get no lead."""
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    steady, running = (
        quality_indices_of([t.packet for t in encode_array(speech, rate_hz, 12_000, look_ahead=ahead).packets])
        for ahead in (True, False)
    )
    assert max(steady) - min(steady) <= 1
    assert max(running) - min(running) > 1
    share = np.mean(np.array(steady) - min(steady))
    for start in range(0, len(steady) - 40, 10):
        assert abs(np.mean(np.array(steady[start : start + 40]) - min(steady)) - share) <= 1 / 40


def test_looking_ahead_changes_the_levels_and_nothing_else(speech: Float32Array) -> None:
    plain, ahead = (StreamEncoder(48_000, 6_000, mode="stream", packet_ms=40) for _ in range(2))
    assert plain.push(speech[:1_000]) == ahead.push(speech[:1_000])
    ahead.plan_constant_quality(speech[1_000:], 1.5)
    # The second one alone knows the level; an encoder told nothing but that must give the same packets.
    plain._coder._rate.constant_quality_index = ahead._coder._rate.constant_quality_index  # type: ignore[attr-defined]
    assert plain.push(speech[1_000:]) == ahead.push(speech[1_000:])


def test_looking_ahead_leaves_the_mixdown_where_it_was(speech: Float32Array) -> None:
    """Two channels that are alike first and opposite then: which is turned round depends on what came before."""
    half = len(speech) // 2
    sign = np.where(np.arange(len(speech)) < half, 1.0, -1.0).astype(np.float32)
    stereo = np.stack([speech, sign * speech], axis=1)
    plain, ahead = (StreamEncoder(24_000, 6_000, mode="stream", packet_ms=40) for _ in range(2))
    ahead.plan_constant_quality(stereo, 10.0)
    plain._coder._rate.constant_quality_index = ahead._coder._rate.constant_quality_index  # type: ignore[attr-defined]
    assert plain.push(stereo) == ahead.push(stereo)


def test_what_is_left_over_is_what_the_packets_did_not_take(speech: Float32Array) -> None:
    encoder = StreamEncoder(24_000, 5_000, packet_ms=20)
    left_s = encoder.plan_constant_quality(speech, 2.2, ends=True)
    taken_bits = 8 * sum(len(p.payload) for p in [*encoder.push(speech), *encoder.flush()])
    assert left_s == pytest.approx(2.2 - taken_bits / 5_000, abs=1e-9)
    assert 0.0 <= left_s < 0.02


def test_a_new_bitrate_ends_the_holding(speech: Float32Array) -> None:
    encoder = StreamEncoder(24_000, 3_000)
    encoder.plan_constant_quality(speech, 2.0)
    encoder.push(speech)
    encoder.set_bitrate(12_000)
    later = encoder.push(np.tile(speech, 3))[50:]
    assert 8 * sum(len(p.payload) for p in later) / (len(later) / 50) == pytest.approx(12_000, rel=0.05)


def test_a_long_sound_is_coded_in_stretches_however_it_comes(
    speech: Float32Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_ahead, "STRETCH_S", 2.0)
    quiet = 0.02 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    sound = np.concatenate([speech, quiet, speech, speech, 0.1 * quiet[:30_000]]).astype(np.float32)
    whole = encode_array(sound, 24_000, 4_000, look_ahead=True, mode="stream", packet_ms=60)
    in_pieces = encode_steadily(
        StreamEncoder(24_000, 4_000, mode="stream", packet_ms=60),
        (sound[start : start + 5_000] for start in range(0, len(sound), 5_000)),
    )
    assert [t.packet for t in whole.packets] == list(in_pieces)
    assert 0.98 < whole.payload_bps / 4_000 <= 1.0
    # Each stretch has a level of its own: 33 packets of 60 ms in 2 s.
    stretches = [quality_indices_of([t.packet for t in whole.packets])[start : start + 33] for start in (1, 34, 68)]
    held = [np.mean(qualities) for qualities in stretches]
    assert any(abs(after - before) > 0.2 for before, after in pairwise(held)), held
    decoded = decode_array(whole)
    assert decoded.size == sound.size


def test_files_are_coded_so(speech_file: Path, tmp_path: Path) -> None:
    coded = tmp_path / "speech.sc"
    encode_file(speech_file, coded, 6_000)
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    expected = encode_array(speech, rate_hz, 6_000, mode="stream", packet_ms=60, look_ahead=True)
    with coded.open("rb") as file:
        packets = [timed.packet for timed in FileReader(file).packets()]
    assert packets == [timed.packet for timed in expected.packets]


@pytest.mark.parametrize(("constrained", "dtx"), [(True, False), (False, True)])
def test_bounded_and_skipped_packets_run_as_ever(speech: Float32Array, constrained: bool, dtx: bool) -> None:
    ahead, running = (
        encode_array(speech, 24_000, 4_000, look_ahead=ahead, constrained=constrained, dtx=dtx)
        for ahead in (True, False)
    )
    assert ahead.packets == running.packets


def test_nothing_and_too_little_bitrate_are_no_trouble() -> None:
    empty = encode_array(np.zeros(0, np.float32), 24_000, 6_000, look_ahead=True)
    assert decode_array(empty).size == 0
    noise = np.random.default_rng(1).standard_normal(24_000).astype(np.float32)
    coarsest = encode_array(noise, 24_000, 1_000, look_ahead=True)
    assert set(quality_indices_of([t.packet for t in coarsest.packets])) == {0}
    decoder = StreamDecoder(24_000)
    assert all(decoder.push(t.packet).size == 480 for t in coarsest.packets)


def test_the_exact_tiers_look_nowhere(speech: Float32Array) -> None:
    ahead, running = (
        encode_array(speech, 24_000, tier="near-lossless", ratio=8, look_ahead=ahead) for ahead in (True, False)
    )
    assert ahead.packets == running.packets


def test_finest_index_is_the_last_that_fits() -> None:
    index, cost = highest_fractional_index_within(100.0, 16, lambda p: 20.0 * p)
    assert cost <= 100.0
    assert index == pytest.approx(5.0, abs=0.02)
    assert highest_fractional_index_within(1.0, 16, lambda p: 2.0 + p) == (0.0, 2.0)
    index, _ = highest_fractional_index_within(1e9, 16, lambda p: p)
    assert index == pytest.approx(15.0, abs=0.02)


def test_a_cost_that_goes_up_and_down_does_not_end_the_search_early() -> None:
    # A rise of 4 % just where the bisection looks for the last time before it gives up what lies above.
    def bits(index: float) -> float:
        return 100.0 * index + (20.0 if 4.90 < index < 4.95 else 0.0)

    index, cost = highest_fractional_index_within(500.0, 16, bits)
    assert cost == bits(index)
    assert 0.99 * 500.0 < cost <= 500.0
