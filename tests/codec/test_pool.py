"""A pool is so many streams alone: parity, joining and leaving, no cross-talk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import AudioFormatError, BackendError, Packet, PoolError, StreamDecoder, StreamEncoder, StreamPool
from streamcodec.runtime.backend import Backend

Float32Array = NDArray[np.float32]
BACKENDS: list[Backend] = ["onnxruntime", "compiled", "torch"]
# Several streams in one product are added up in another order than one alone.
SOUND_TOLERANCE = 0.02


def make_pool(capacity: int, backend: Backend) -> StreamPool:
    if backend == "torch":
        pytest.importorskip("torch")
    return StreamPool(capacity, backend=backend)


class Voice:
    """A stream alone, fed what a slot of a pool is fed, and how often their packets were not the same."""

    def __init__(self, sound: Float32Array, rate_hz: int = 24_000, backend: Backend = "auto", **options: Any) -> None:
        self.encoder = StreamEncoder(rate_hz, backend=backend, **options)
        self.decoder = StreamDecoder(rate_hz, backend=backend)
        length = self.encoder.block_samples
        self.blocks = sound[: len(sound) // length * length].reshape(-1, length)
        self.packets = self.flips = 0

    def next_block(self) -> Float32Array:
        return self.blocks[self.packets % len(self.blocks)]

    def expect(self, packet: Packet | None) -> None:
        expected = self.encoder.push(self.next_block())
        self.packets += 1
        assert [packet] == expected or packet is not None
        if packet is not None:
            assert (packet.sequence, packet.timestamp) == (expected[0].sequence, expected[0].timestamp)
            self.flips += packet.payload != expected[0].payload


def voices_of(speech: Float32Array, count: int, backend: Backend) -> list[Voice]:
    sounds = [np.roll(speech, 3_000 * k) * (1.0 - 0.15 * k) for k in range(count)]
    return [Voice(sound, backend=backend, bitrate_bps=3_000 + 2_000 * k) for k, sound in enumerate(sounds)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_streams_that_join_and_leave_equal_streams_alone(speech: Float32Array, backend: Backend) -> None:
    pool = make_pool(4, backend)
    voices = voices_of(speech, 6, backend)
    inside: dict[int, Voice] = {}

    def join(voice: Voice) -> int:
        slot = pool.join(bitrate_bps=voice.encoder.settings.bitrate_bps)
        inside[slot] = voice
        return slot

    first, second, third = join(voices[0]), join(voices[1]), join(voices[2])
    for tick in range(40):
        if tick == 8:
            pool.leave(second)
            del inside[second]
        if tick == 14:
            assert join(voices[3]) == second
            join(voices[4])
        if tick == 22:
            pool.leave(first)
            del inside[first]
        if tick == 23:
            join(voices[5])
        in_step = {slot: voice for slot, voice in inside.items() if slot != third or tick % 3}
        packets = pool.encode({slot: voice.next_block() for slot, voice in in_step.items()})
        assert packets.keys() == in_step.keys()
        for slot, voice in in_step.items():
            voice.expect(packets[slot])
        lost = first if tick % 5 == 4 else -1
        heard = pool.decode({slot: None if slot == lost else packet for slot, packet in packets.items()})
        for slot, voice in in_step.items():
            alone = voice.decoder.push(None if slot == lost else packets[slot])
            np.testing.assert_allclose(heard[slot], alone, atol=SOUND_TOLERANCE)
    assert sum(v.flips for v in voices) <= 0.1 * sum(v.packets for v in voices)
    assert len(pool) == len(inside) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_stream_hears_another(speech: Float32Array, backend: Backend) -> None:
    quiet = [make_pool(3, backend) for _ in range(2)]
    for pool in quiet:
        for _ in range(3):
            pool.join()
    noise = np.random.default_rng(0).uniform(-1, 1, (20, 480)).astype(np.float32)
    blocks = speech[: 20 * 480].reshape(20, 480)
    for k in range(20):
        calm = quiet[0].encode({0: blocks[k], 1: blocks[k], 2: blocks[k]})
        loud = quiet[1].encode({0: noise[k], 1: blocks[k], 2: noise[-k]})
        assert loud[1] == calm[1]
        one = quiet[0].decode(calm)[1]
        other = quiet[1].decode({0: None, 1: loud[1], 2: b"damaged"})[1]
        np.testing.assert_array_equal(one, other)
    assert [quiet[1].decoder(slot).concealed for slot in range(3)] == [20, 0, 20]


def test_every_stream_has_its_own_settings(speech: Float32Array) -> None:
    pool = StreamPool(3)
    sound = np.repeat(speech, 2)
    wide = pool.join(48_000, 9_000, mode="stream")
    fixed = pool.join(24_000, 6_000, constrained=True)
    silent = pool.join(24_000, dtx=True)
    alone = Voice(sound, 48_000, bitrate_bps=9_000, mode="stream")
    for k in range(40):
        packets = pool.encode(
            {wide: sound[960 * k : 960 * (k + 1)], fixed: speech[480 * k : 480 * (k + 1)], silent: np.zeros(480)}
        )
        alone.expect(packets[wide])
        constrained = packets[fixed]
        assert constrained is not None
        assert len(constrained.payload) <= 15
        assert len(pool.decode(packets)[wide]) == 960
    assert packets[silent] is None
    assert alone.flips <= 2


def test_packets_of_several_frames(speech: Float32Array) -> None:
    pool = StreamPool(3)
    slots = [pool.join(packet_ms=packet_ms) for packet_ms in (20, 60, 40)]
    voices = [Voice(speech, packet_ms=packet_ms) for packet_ms in (20, 60, 40)]
    for k in range(12):
        packets = pool.encode({slot: voice.next_block() for slot, voice in zip(slots, voices, strict=True)})
        lost = slots[k % 3]
        heard = pool.decode({slot: None if slot == lost else packet for slot, packet in packets.items()})
        for slot, voice in zip(slots, voices, strict=True):
            voice.expect(packets[slot])
            alone = voice.decoder.push(None if slot == lost else packets[slot])
            np.testing.assert_allclose(heard[slot], alone, atol=SOUND_TOLERANCE)
    assert [len(heard[slot]) for slot in slots] == [480, 1440, 480]
    assert [voice.flips for voice in voices] == [0, 0, 0]


def test_a_stream_moves_into_a_pool_and_out_again(speech: Float32Array) -> None:
    blocks = speech[: 60 * 480].reshape(60, 480)
    whole, alone, pool = StreamEncoder(24_000, 6_000), StreamEncoder(24_000, 6_000), StreamPool(2)
    expected = [whole.push(block)[0] for block in blocks]
    found = [alone.push(block)[0] for block in blocks[:20]]
    pool.join()
    slot = pool.join()
    pool.encoder(slot).state = alone.state
    found += [pool.encode({slot: block})[slot] for block in blocks[20:40]]
    alone.state = pool.encoder(slot).state
    found += [alone.push(block)[0] for block in blocks[40:]]
    assert found == expected


def test_a_stream_that_is_coded_again_leaves_its_post_filter_out(speech: Float32Array) -> None:
    pool = make_pool(2, "compiled")
    slots = [pool.join(), pool.join(post_filter=False)]
    alone = [StreamDecoder(24_000, backend="compiled", post_filter=filtered) for filtered in (True, False)]
    apart = 0.0
    for packet in StreamEncoder(24_000, 6_000).push(speech):
        heard = pool.decode(dict.fromkeys(slots, packet))
        for slot, decoder in zip(slots, alone, strict=True):
            np.testing.assert_allclose(heard[slot], decoder.push(packet), atol=SOUND_TOLERANCE)
        apart = max(apart, float(np.abs(heard[slots[0]] - heard[slots[1]]).max()))
    assert apart > 2 * SOUND_TOLERANCE


def test_rate_is_set_in_the_pool(speech: Float32Array) -> None:
    pool = StreamPool(2)
    slots = [pool.join(), pool.join()]
    pool.encoder(slots[1]).set_bitrate(12_000)
    sizes = [0, 0]
    for block in speech[: 60 * 480].reshape(60, 480):
        for slot, packet in pool.encode(dict.fromkeys(slots, block)).items():
            assert packet is not None
            sizes[slot] += len(packet.payload)
    assert sizes[1] > 1.6 * sizes[0]


def test_an_error_leaves_every_stream_as_it_was(speech: Float32Array) -> None:
    pool, twin = StreamPool(2), StreamPool(2)
    for each in (pool, twin):
        each.join()
        each.join()
    block = speech[4_800:5_280]
    with pytest.raises(AudioFormatError, match="slot 1 takes 480 samples"):
        pool.encode({0: block, 1: block[:100]})
    with pytest.raises(AudioFormatError):
        pool.encode({0: block, 1: "sound"})
    opposite = np.stack([block, -block], axis=1)
    opposite[7] = np.nan
    with pytest.raises(AudioFormatError):
        pool.encode({0: opposite, 1: block[:100]})
    assert pool.encoder(0).not_finite == 0
    alike = np.stack([block, block], axis=1)
    assert pool.encode({0: alike, 1: alike}) == twin.encode({0: alike, 1: alike})
    assert pool.encode({0: block, 1: block}) == twin.encode({0: block, 1: block})


def test_whoever_kept_a_stream_that_has_left_does_not_reach_the_next(speech: Float32Array) -> None:
    pool, twin = StreamPool(1), StreamPool(1)
    slot = pool.join()
    encoder, decoder = pool.encoder(slot), pool.decoder(slot)
    pool.leave(slot)
    assert pool.join() == twin.join() == slot
    for use in (
        lambda: decoder.push(None),
        lambda: encoder.push(speech),
        encoder.flush,
        decoder.flush,
        encoder.reset,
    ):
        with pytest.raises(PoolError, match="has left its pool"):
            use()
    for block in speech[: 20 * 480].reshape(20, 480):
        packets = pool.encode({slot: block})
        assert packets == twin.encode({slot: block})
        np.testing.assert_array_equal(pool.decode(packets)[slot], twin.decode(packets)[slot])


@pytest.mark.parametrize("slot", [0.0, False, "0", None])
def test_a_slot_is_what_join_gave(slot: object) -> None:
    pool = StreamPool(1)
    pool.join()
    with pytest.raises(PoolError, match="the whole number that join"):
        pool.leave(slot)  # type: ignore[arg-type]
    assert 0 in pool


def test_what_does_not_fit_is_refused() -> None:
    pool = StreamPool(1)
    slot = pool.join()
    assert slot in pool
    with pytest.raises(PoolError, match="in use"):
        pool.join()
    pool.leave(slot)
    assert len(pool) == 0
    for use in (
        pool.leave,
        pool.encoder,
        pool.decoder,
        lambda s: pool.encode({s: []}),
        lambda s: pool.decode({s: None}),
        lambda s: pool.decode({}, {s: b""}),
    ):
        with pytest.raises(PoolError, match="not in use"):
            use(slot)
    with pytest.raises(AudioFormatError):
        pool.join(12_345)
    assert pool.join() == slot
    assert pool.encode({}) == pool.decode({}, {slot: b"of a stream that sits out"}) == {}
    with pytest.raises(PoolError, match="by slot"):
        pool.decode({slot: None}, [b""])  # type: ignore[arg-type]
    with pytest.raises(PoolError):
        StreamPool(0)
    with pytest.raises(BackendError):
        StreamPool(1, backend="abacus")  # type: ignore[arg-type]
