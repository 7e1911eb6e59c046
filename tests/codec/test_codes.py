"""Codes: batch equals single equals streaming equals what packets carry, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import AudioFormatError, LatentCodec, ModelError, PacketError, StreamDecoder, StreamEncoder
from streamcodec.models.shipped import DEFAULT_MODEL, shipped_folder

Float32Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def codec() -> LatentCodec:
    return LatentCodec.from_pretrained(quality_index=5)


def in_pieces(sound: Float32Array) -> list[Float32Array]:
    cuts = np.cumsum([1, 479, 480, 7, 3_000, 0, 961])
    return np.split(sound, cuts[cuts < len(sound)])


def test_batch_single_and_stream_are_the_same_to_the_bit(codec: LatentCodec, speech: Float32Array) -> None:
    sounds = [speech[:12_000], speech[20_000:29_001], speech[5_000:5_100]]
    batch = codec.encode(sounds)
    assert batch.dtype == np.int32
    assert batch.shape == (3, codec.frames(12_000), codec.latents)
    heard = codec.decode(batch)
    for row, sound in enumerate(sounds):
        alone = codec.encode(sound)
        assert alone.shape == (codec.frames(len(sound)), codec.latents)
        np.testing.assert_array_equal(batch[row, : len(alone)], alone)
        encoder, decoder = codec.encoder(), codec.decoder()
        pieces = [*(encoder.push(piece) for piece in in_pieces(sound)), encoder.flush()]
        np.testing.assert_array_equal(np.concatenate(pieces), alone)
        played = np.concatenate([*(decoder.push(piece) for piece in pieces), decoder.flush()])
        single = codec.decode(alone, len(sound))
        assert single.shape == (len(sound),)
        np.testing.assert_array_equal(played[codec.delay_samples :][: len(sound)], single)
        np.testing.assert_array_equal(heard[row, : len(sound)], single)
    assert np.corrcoef(heard[0, :12_000], sounds[0])[0, 1] > 0.8


def test_rows_of_one_width_do_not_hear_each_other(speech: Float32Array) -> None:
    """What holds for a GPU, where sounds are stepped together."""
    wide = LatentCodec(quality_index=9, rows=3)
    sounds = np.stack([speech[:4_800], speech[9_000:13_800], -speech[4_000:8_800], speech[30_000:34_800]])
    batch = wide.encode(sounds)
    for row, sound in enumerate(sounds):
        np.testing.assert_array_equal(wide.encode(sound), batch[row])
    np.testing.assert_array_equal(wide.decode(batch)[3], wide.decode(batch[3]))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_other_rates(rate_hz: int, speech: Float32Array) -> None:
    codec = LatentCodec(sample_rate_hz=rate_hz, backend="compiled")
    codes = codec.encode(speech[:rate_hz])
    assert codec.decode(codes, rate_hz).shape == (rate_hz,)
    encoder = codec.encoder()
    pieces = [*(encoder.push(piece) for piece in in_pieces(speech[:rate_hz])), encoder.flush()]
    np.testing.assert_array_equal(np.concatenate(pieces), codes)


@pytest.mark.parametrize("mode", ["independent", "stream"])
def test_codes_are_what_packets_carry(codec: LatentCodec, speech: Float32Array, mode: str) -> None:
    sound = speech[:9_600]
    codes = codec.encode(sound)
    packets = codec.to_packets(codes, mode)  # type: ignore[arg-type]
    np.testing.assert_array_equal(codec.from_packets(packets), codes)
    decoder, codes_decoder = StreamDecoder(24_000), codec.decoder()
    for packet, frame in zip(packets, codes, strict=True):
        np.testing.assert_array_equal(decoder.push(packet.to_bytes()), codes_decoder.push(frame[np.newaxis]))
    assert decoder.concealed == 0
    encoder = StreamEncoder(24_000, 6_000)
    running = encoder.push(sound) + encoder.flush()
    assert len(running) == len(codes)
    chosen = next(packet for packet in running if packet.quality_index != 5)
    of_its_quality = LatentCodec(quality_index=chosen.quality_index)
    time = running.index(chosen)
    np.testing.assert_array_equal(of_its_quality.from_packets([chosen])[0], of_its_quality.encode(sound)[time])
    with pytest.raises(AudioFormatError, match="quality index 5"):
        codec.from_packets(running)


def test_tensors_come_back_as_tensors(codec: LatentCodec, speech: Float32Array) -> None:
    torch = pytest.importorskip("torch")
    sound = torch.from_numpy(speech[:4_800]).requires_grad_()
    codes = codec.encode(sound[None])
    assert codes.dtype == torch.int64
    assert codes.shape == (1, codec.frames(4_800), codec.latents)
    np.testing.assert_array_equal(codes[0].numpy(), codec.encode(speech[:4_800]))
    heard = codec.decode(codes, samples=4_800)
    assert heard.dtype == torch.float32
    assert heard.shape == (1, 4_800)


def test_a_folder_is_loaded_as_a_name_is(codec: LatentCodec, speech: Float32Array) -> None:
    folder = LatentCodec.from_pretrained(str(shipped_folder() / DEFAULT_MODEL), quality_index=5)
    np.testing.assert_array_equal(folder.encode(speech[:4_800]), codec.encode(speech[:4_800]))
    with pytest.raises(ModelError, match="no usable model"):
        LatentCodec.from_pretrained("nowhere")


def test_what_does_not_fit_is_refused(codec: LatentCodec) -> None:
    for quality_index in (-1, 16, 2.5):
        with pytest.raises(AudioFormatError, match="quality_index"):
            LatentCodec(quality_index=quality_index)  # type: ignore[arg-type]
    for codes, says in (
        (np.zeros((4, 3), np.int64), "shape"),
        (np.zeros((4, codec.latents)), "integers"),
        (np.full((4, codec.latents), 1 << 20), "codes are"),
    ):
        with pytest.raises(AudioFormatError, match=says):
            codec.decode(codes)
    with pytest.raises(AudioFormatError, match="hold"):
        codec.decode(np.zeros((2, codec.latents), np.int32), samples=10_000)
    with pytest.raises(AudioFormatError, match=r"\[batch, n\]"):
        codec.encode(np.zeros((2, 2, 2), np.float32))
    for nothing in ([], np.zeros((0, 5), np.float32)):
        assert codec.encode(nothing).shape == (0, codec.frames(0), codec.latents)
    for packets in (None, [None], [b"x"], b"x"):
        with pytest.raises(PacketError, match="codes are read from a list of Packet objects"):
            codec.from_packets(packets)  # type: ignore[arg-type]
    for mode in ("x", None):
        with pytest.raises(AudioFormatError, match="mode must be 'independent' or 'stream'"):
            codec.to_packets(np.zeros((2, codec.latents), np.int32), mode)  # type: ignore[arg-type]


def test_whole_numbers_may_come_as_floats(speech: Float32Array) -> None:
    codec = LatentCodec(quality_index=5.0, sample_rate_hz=16_000.0, rows=1.0)  # type: ignore[arg-type]
    plain = LatentCodec(quality_index=5, sample_rate_hz=16_000, rows=1)
    codes = codec.encode(speech[:3_200])
    np.testing.assert_array_equal(codes, plain.encode(speech[:3_200]))
    np.testing.assert_array_equal(codec.decode(codes, samples=3_200.0), plain.decode(codes, samples=3_200))  # type: ignore[arg-type]
