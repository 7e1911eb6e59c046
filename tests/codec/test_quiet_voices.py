"""A voice from afar sounds as one that is near, at its own level; nothing jumps where packets are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import Packet, StreamDecoder, StreamEncoder
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL

Float32Array = NDArray[np.float32]
RATE_HZ, FRAME = 24_000, 480


def at_peak(sound: Float32Array, dbfs: float) -> Float32Array:
    return np.asarray(sound * (10 ** (dbfs / 20) / np.abs(sound).max()), np.float32)


def shift_of(packet: Packet) -> int:
    decoder = NeuralDecoder(load_runtime(DEFAULT_MODEL))
    assert decoder.indices_of(packet) is not None
    assert decoder._group is not None
    return decoder._group.shift


def coded(sound: Float32Array, **settings: object) -> tuple[list[Packet], Float32Array]:
    """Packets, and what is heard, in line with the sound."""
    encoder, decoder = StreamEncoder(RATE_HZ, 6_000, **settings), StreamDecoder(RATE_HZ)  # type: ignore[arg-type]
    packets = encoder.push(sound) + encoder.flush()
    heard = np.concatenate([*(decoder.push(packet) for packet in packets), decoder.flush()])
    return packets, heard[encoder.delay_samples + decoder.delay_samples :][: sound.size]


def bands(sound: Float32Array) -> NDArray[np.float64]:
    """Log powers of 20 ms and third-octave-like bands, where there is something to hear."""
    frames = sound[: sound.size // FRAME * FRAME].reshape(-1, FRAME) * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(4, 160, 14).astype(int))
    return np.asarray(10 * np.log10(np.add.reduceat(power, edges, axis=1)[:, :-1] + 1e-20))


@pytest.mark.parametrize("peak_dbfs", [-24.0, -42.0, -52.0])
@pytest.mark.parametrize("packet_ms", [20, 60])
def test_a_far_voice_sounds_as_a_near_one(speech: Float32Array, peak_dbfs: float, packet_ms: int) -> None:
    near, far = at_peak(speech, -12.0), at_peak(speech, peak_dbfs)
    loud = bands(near) > bands(near).max() - 40.0
    distances, sizes = [], []
    for sound in (near, far):
        packets, heard = coded(sound, packet_ms=packet_ms)
        sizes.append(sum(len(packet.payload) for packet in packets))
        distances.append(np.abs(bands(heard) - bands(sound))[loud].mean())
        # The level at the far end is what it was: soft parts and loud ones.
        assert np.median((bands(heard) - bands(sound))[loud]) == pytest.approx(0.0, abs=1.0)
    assert distances[1] < distances[0] + 0.35
    assert sizes[1] == pytest.approx(sizes[0], rel=0.07)


def test_packets_of_usual_levels_say_nothing_of_it(speech: Float32Array, fixtures: Path) -> None:
    packets, _ = coded(at_peak(speech, -6.0))
    assert {shift_of(packet) for packet in packets[20:]} == {0}
    for entry in json.loads((fixtures / "golden_packets.json").read_text()):
        packet = Packet.from_bytes(bytes.fromhex(entry["packet"]))
        if packet.is_key:
            assert shift_of(packet) == 0


def test_every_packet_of_a_far_voice_says_it(speech: Float32Array) -> None:
    packets, _ = coded(at_peak(speech, -52.0))
    assert {shift_of(packet) for packet in packets[5:-2]} == {3}


def test_who_joins_late_hears_the_level_from_the_first_packet_on(speech: Float32Array) -> None:
    packets, heard = coded(at_peak(speech, -52.0))
    for start in range(10, 90, 16):
        decoder = StreamDecoder(RATE_HZ)
        late = np.concatenate([decoder.push(packet) for packet in packets[start : start + 8]])
        assert np.abs(late).max() < 10 ** (-48 / 20)
        reference = heard[start * FRAME : (start + 7) * FRAME]
        assert late.std() == pytest.approx(reference.std(), rel=0.5)


def test_nothing_jumps_over_a_loss(speech: Float32Array) -> None:
    """Also where the sound was raised further, or less, in what is missing."""
    near, far = at_peak(speech[:RATE_HZ], -12.0), at_peak(speech, -52.0)
    sound = np.concatenate([near, far, far, far, near])
    encoder = StreamEncoder(RATE_HZ, 6_000)
    packets = encoder.push(sound)
    found = [shift_of(packet) for packet in packets]
    assert {0, 1, 2} <= set(found)
    changes = [k for k in range(10, len(found)) if found[k] != found[k - 1]]
    decoder = StreamDecoder(RATE_HZ)
    before = StreamDecoder(RATE_HZ)
    whole = np.stack([before.push(packet) for packet in packets])
    gone = {k + i for k in changes for i in (-1, 0)}
    heard = np.stack([decoder.push(None if k in gone else packet) for k, packet in enumerate(packets)])
    for k in range(len(packets)):
        around = np.abs(whole[max(k - 3, 0) : k + 3]).max()
        assert np.abs(heard[k]).max() < 1.6 * around + 1e-3


def test_a_gap_in_a_far_voice_is_filled_at_its_level(speech: Float32Array) -> None:
    packets, _ = coded(at_peak(speech, -52.0))
    decoder = StreamDecoder(RATE_HZ)
    heard = [decoder.push(packet) for packet in packets[:60]]
    gap = np.concatenate([decoder.push(None) for _ in range(40)])
    assert np.abs(gap).max() < 1.2 * np.abs(np.concatenate(heard)).max()
    assert gap[-5 * FRAME :].std() < np.concatenate(heard).std()


def test_silence_stays_silence_and_room_tone_its_level() -> None:
    _, heard = coded(np.zeros(RATE_HZ, np.float32))
    assert np.abs(heard).max() < 10 ** (-80 / 20)
    room = (10 ** (-68 / 20) * np.random.default_rng(0).standard_normal(2 * RATE_HZ)).astype(np.float32)
    _, heard = coded(room)
    levels = np.sqrt((heard[FRAME * 5 : -FRAME * 5].reshape(-1, 10 * FRAME) ** 2).mean(1))
    assert 20 * np.log10(levels.mean() / room.std()) == pytest.approx(0.0, abs=2.0)
    assert levels.max() < 1.25 * levels.min()


@pytest.mark.parametrize("packet_ms", [20, 120])
def test_a_slam_beside_a_far_voice_takes_no_more_than_a_moment(speech: Float32Array, packet_ms: int) -> None:
    sound = np.concatenate([at_peak(speech, -50.0)] * 2)
    rng = np.random.default_rng(3)
    at = RATE_HZ * 2 + 20 * FRAME + 1_000
    slam = 0.5 * rng.standard_normal(1_200) * np.exp(-np.arange(1_200) / 300.0)
    sound[at : at + slam.size] += slam.astype(np.float32)
    packets, heard = coded(np.clip(sound, -1, 1), packet_ms=packet_ms)
    assert np.abs(heard).max() > 0.1
    assert max(len(packet.payload) for packet in packets) < 500
    after = heard[at + 2 * RATE_HZ // 5 :]
    assert np.abs(after).max() < 10 ** (-44 / 20)


def test_copies_say_it_too(speech: Float32Array) -> None:
    encoder = StreamEncoder(RATE_HZ, 6_000)
    packets = encoder.push(at_peak(speech, -52.0))
    found = encoder.encode_redundant(packets[-3])
    assert found is not None
    quality_index, payload = found
    copy = Packet(packets[-3].tier, 0, 0, quality_index, packets[-3].flags, payload)
    assert shift_of(copy) == 3
