"""What is no sound, packet or setting is refused at the door, by a typed sentence; copies go on by themselves."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamcodec import (
    AudioFormatError,
    BitrateError,
    FileFormatError,
    ModelError,
    PacketError,
    PoolError,
    StreamcodecWarning,
    StreamDecoder,
    StreamEncoder,
    StreamPool,
    decode_array,
    decode_file,
    encode_array,
    encode_file,
)

RATE_HZ = 24_000
TONE = (0.3 * np.sin(0.1 * np.arange(9_600))).astype(np.float32)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"bitrate_bps": "6"}, BitrateError, "bitrate_bps must be a number of bits per second, got '6'"),
        ({"bitrate_bps": float("nan")}, BitrateError, "bitrate_bps must be a number"),
        ({"bitrate_bps": True}, BitrateError, "bitrate_bps must be a number"),
        ({"sample_rate_hz": "24000"}, AudioFormatError, "sample_rate_hz must be a whole number"),
        ({"sample_rate_hz": None}, AudioFormatError, "sample_rate_hz must be a whole number"),
        ({"channels": 1.5}, AudioFormatError, "channels must be a whole number"),
        ({"bits_per_sample": None}, AudioFormatError, "bits_per_sample must be a whole number"),
        ({"key_period_s": None}, AudioFormatError, "key_period_s must be a number"),
        ({"model": None}, ModelError, "model must be the name or the folder"),
        ({"model": "a\0b"}, ModelError, "model must be the name or the folder"),
        ({"tier": 3}, AudioFormatError, "tier must be"),
        ({"packet_ms": "20"}, AudioFormatError, "packet_ms must be a whole number"),
        ({"tier": "near-lossless", "ratio": "8"}, BitrateError, "ratio must be a number"),
        ({"tier": "near-lossless", "step_index": 1.5}, BitrateError, "step_index must be a whole number"),
        ({"tier": "near-lossless", "optimise": "mean"}, BitrateError, "optimise must be"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        StreamEncoder(**({"sample_rate_hz": RATE_HZ} | settings))


@pytest.mark.parametrize("bitrate_bps", [None, "6", float("inf")])
def test_a_bitrate_set_later_is_checked_too(bitrate_bps: Any) -> None:
    with pytest.raises(BitrateError, match="bitrate_bps must be a number"):
        StreamEncoder(RATE_HZ).set_bitrate(bitrate_bps)


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
@pytest.mark.parametrize("samples", [[[1, 2], [3]], "abc", None, [object()], {"a": 1}])
def test_what_is_no_sound_is_refused(tier: Any, samples: object) -> None:
    with pytest.raises(AudioFormatError, match="samples must be an array"):
        StreamEncoder(RATE_HZ, tier=tier).push(samples)
    with pytest.raises(AudioFormatError, match="samples must be an array"):
        encode_array(samples, RATE_HZ, tier=tier)


@pytest.mark.parametrize("wrong", ["x", 5, TONE, [b"x"]])
def test_what_is_no_packet_is_refused(wrong: Any) -> None:
    decoder = StreamDecoder(RATE_HZ)
    with pytest.raises(PacketError, match="a decoder takes a Packet, its bytes, or None"):
        decoder.push(wrong)
    assert decoder.concealed == 0


@pytest.mark.parametrize(
    "tensor",
    [torch.tensor(TONE, requires_grad=True), torch.tensor(TONE).double(), torch.tensor(TONE).bfloat16()],
    ids=["gradient", "double", "bfloat16"],
)
def test_tensors_are_sound(tensor: torch.Tensor) -> None:
    plain = StreamEncoder(RATE_HZ).push(tensor.detach().float().numpy())
    assert [p.payload for p in StreamEncoder(RATE_HZ).push(tensor)] == [p.payload for p in plain]


def test_a_row_of_samples_is_not_one_sample_of_many_channels() -> None:
    encoder = StreamEncoder(RATE_HZ)
    with pytest.raises(AudioFormatError, match=r"would be one sample of 50 channels.*transpose"):
        encoder.push(TONE[None, :50])
    assert encoder.push(TONE[:960].reshape(1, -1).T)
    assert encoder.push(np.zeros((1, 2), np.float32)) == []


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_by_themselves(tier: Any, duplicate: Callable[[Any], Any]) -> None:
    sound = (32_767 * TONE).astype(np.int16) if tier == "lossless" else TONE
    encoder, decoder = StreamEncoder(RATE_HZ, tier=tier), StreamDecoder(RATE_HZ, tier=tier)
    for packet in encoder.push(sound[:3_000]):
        decoder.push(packet)
    twin, other = duplicate(encoder), duplicate(decoder)
    packets, again = encoder.push(sound[3_000:]), twin.push(sound[3_000:])
    assert packets == again
    for packet in packets:
        np.testing.assert_array_equal(decoder.push(packet), other.push(packet))


def test_a_state_of_another_stream_is_refused() -> None:
    with pytest.raises(AudioFormatError, match="belongs to another stream: sample_rate_hz 24000 in place of 48000"):
        StreamDecoder(48_000).state = StreamDecoder(RATE_HZ).state
    with pytest.raises(AudioFormatError, match="belongs to another stream: tier"):
        StreamEncoder(RATE_HZ, tier="near-lossless").state = StreamEncoder(RATE_HZ).state
    with pytest.raises(AudioFormatError, match="of type DecoderState, got EncoderState"):
        StreamDecoder(RATE_HZ).state = StreamEncoder(RATE_HZ).state  # type: ignore[assignment]


@pytest.mark.parametrize("tier", ["near-lossless", "lossless"])
@pytest.mark.parametrize("shape", [(9_600,), (9_600, 1), (4_800, 2)])
def test_the_shape_of_a_sound_comes_back(tier: Any, shape: tuple[int, ...]) -> None:
    sound = (32_767 * TONE).astype(np.int16).reshape(shape)
    assert decode_array(encode_array(sound, RATE_HZ, tier=tier)).shape == shape


def test_packets_are_decoded_by_the_model_that_made_them() -> None:
    from dataclasses import replace

    encoded = encode_array(TONE, RATE_HZ)
    assert (encoded.model, encoded.bitstream[:9]) == ("speech-24k", "neural-1-")
    with pytest.raises(FileFormatError, match="neural-1-00000000"):
        decode_array(replace(encoded, bitstream="neural-1-00000000"))
    with pytest.raises(AudioFormatError, match="takes what encode_array gives, got list"):
        decode_array([1])  # type: ignore[arg-type]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_decoded_sound_stays_within_full_scale_at_every_rate(rate_hz: int, speech: Any) -> None:
    encoded = encode_array(np.clip(8 * speech[:RATE_HZ], -1, 1), RATE_HZ, 12_000)
    decoder = StreamDecoder(rate_hz)
    peak = max(float(np.abs(decoder.push(timed.packet)).max()) for timed in encoded.packets)
    assert 0.9 < peak <= 1.0


@pytest.mark.parametrize(("options", "least"), [({}, 2.0), ({"mode": "stream", "packet_ms": 60}, 1.4)])
def test_a_rate_that_cannot_be_met_is_told(options: dict[str, Any], least: float) -> None:
    with pytest.warns(StreamcodecWarning, match=f"1 kbps were asked for; speech takes about {least} at the least"):
        StreamEncoder(RATE_HZ, 1_000, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StreamEncoder(RATE_HZ, 1_000 * least, **options)


@pytest.mark.parametrize("source", [None, 3, [1.0]])
def test_what_is_no_file_is_refused(source: Any, speech_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a file is given by its name"):
        encode_file(speech_file, source)
    encode_file(speech_file, tmp_path / "coded.sc")
    with pytest.raises(FileFormatError, match="a file is given by its name"):
        decode_file(tmp_path / "coded.sc", source)
    with pytest.raises(FileFormatError, match="a file is given by its name"):
        encode_file(source, tmp_path / "a.sc")
    with pytest.raises(FileFormatError, match="a file is given by its name"):
        decode_file(source, tmp_path / "a.wav")


def test_a_longest_duration_is_a_number(speech_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="max_duration_s must be a number"):
        decode_file(speech_file, tmp_path / "a.wav", max_duration_s="1")  # type: ignore[arg-type]


def test_a_pool_says_what_it_takes() -> None:
    for capacity in ("2", 1.5, None):
        with pytest.raises(PoolError, match="capacity must be a whole number"):
            StreamPool(capacity)  # type: ignore[arg-type]
    pool = StreamPool(1)
    slot = pool.join(RATE_HZ)
    with pytest.raises(PoolError, match="got 'a'"):
        pool.encode({slot: TONE[:480], "a": TONE[:480]})  # type: ignore[dict-item]
    for blocks in (None, [TONE[:480]]):
        with pytest.raises(PoolError, match="by slot, as a dict"):
            pool.encode(blocks)  # type: ignore[arg-type]
    with pytest.raises(PoolError, match="by slot, as a dict"):
        pool.decode([None])  # type: ignore[arg-type]
    assert pool.encode({slot: TONE[:480]})[slot] is not None
    wide = StreamPool(2.0, threads=1.0)  # type: ignore[arg-type]
    assert (wide.capacity, wide.join(RATE_HZ)) == (2, 0)


def test_samples_of_the_other_byte_order_are_the_same_sound() -> None:
    for kind in (np.float32, np.float64, np.int16):
        sound = (TONE * (32_767 if kind is np.int16 else 1)).astype(kind)
        swapped = sound.astype(sound.dtype.newbyteorder())
        assert [p.payload for p in StreamEncoder(RATE_HZ).push(swapped)] == [
            p.payload for p in StreamEncoder(RATE_HZ).push(sound)
        ]


@pytest.mark.parametrize("rate_hz", [0, 5, 7_999, 96_001, -1])
def test_rates_of_the_near_lossless_tier_are_told_at_either_end(rate_hz: int) -> None:
    for end in (StreamEncoder, StreamDecoder):
        with pytest.raises(AudioFormatError, match="near-lossless coding takes 8000 to 96000 Hz"):
            end(rate_hz, tier="near-lossless")


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
def test_arrays_of_other_classes_are_what_they_hold(tier: Any) -> None:
    sound = (32_767 * TONE).astype(np.int16)[:, None] if tier == "lossless" else TONE[:, None]
    plain = StreamEncoder(RATE_HZ, tier=tier).push(sound)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix(sound)
    assert StreamEncoder(RATE_HZ, tier=tier).push(matrix) == plain
