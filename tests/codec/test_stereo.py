"""Two channels in the neural tier: one rate for both, each heard on its own side, damage concealed."""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    BitrateError,
    FileFormatError,
    StreamcodecWarning,
    StreamDecoder,
    StreamEncoder,
    decode_array,
    decode_file,
    encode_array,
    encode_file,
)
from streamcodec.cli import main
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.float_stream import FloatEncoder
from streamcodec.codec.neural.stereo import apart
from streamcodec.codec.options import PacketMode
from streamcodec.codec.payload_parts import joined
from tests.helpers.damage import spoilt

Float32Array = NDArray[np.float32]
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def two_voices(speech: Float32Array) -> Float32Array:
    """A voice in each channel, the second a second later and quieter. Shape: ``[n, 2]``."""
    left = speech[: 2 * RATE_HZ]
    right = np.concatenate([np.zeros(RATE_HZ, np.float32), 0.5 * left[:-RATE_HZ]])
    return np.stack([left, right], axis=1)


def test_each_channel_is_what_it_would_be_alone_at_the_same_quality(two_voices: Float32Array) -> None:
    encoded = encode_array(two_voices, RATE_HZ, 12_000, channels=2)
    assert encoded.payload_bps == pytest.approx(12_000, rel=0.03)
    heard = decode_array(encoded)
    assert heard.shape == two_voices.shape
    for side in range(2):
        alone = replace(
            encoded,
            channels=1,
            bitstream="",
            one_dimensional=True,
            packets=tuple(replace(t, packet=_part(t.packet, side)) for t in encoded.packets),
        )
        np.testing.assert_array_equal(decode_array(alone), heard[:, side])
    # Sides are not mixed up: while the second has not begun, nothing is heard on it.
    first = heard[RATE_HZ // 4 : RATE_HZ - 4_000]
    assert np.abs(first[:, 1]).max() < 0.02 * np.abs(first[:, 0]).max()


def _part(packet, side):  # type: ignore[no-untyped-def]
    parts = apart(packet)
    assert parts is not None
    return parts[side]


def test_a_silent_channel_leaves_its_bits_to_the_other(two_voices: Float32Array) -> None:
    quiet = two_voices * np.array([1, 0], np.float32)
    rates = {}
    for name, sound in (("both", two_voices), ("one", quiet)):
        encoded = encode_array(sound, RATE_HZ, 9_000, channels=2, look_ahead=True)
        rates[name] = float(np.mean([timed.packet.quality_index for timed in encoded.packets]))
    assert rates["one"] > rates["both"] + 1


def test_pieces_copies_and_the_whole_are_alike(two_voices: Float32Array) -> None:
    whole = StreamEncoder(RATE_HZ, 12_000, channels=2)
    wanted = [*whole.push(two_voices), *whole.flush()]
    encoder = StreamEncoder(RATE_HZ, 12_000, channels=2)
    packets = encoder.push(two_voices[:30_011])
    encoder = copy.deepcopy(encoder)
    packets += [*encoder.push(two_voices[30_011:]), *encoder.flush()]
    assert packets == wanted
    decoder = StreamDecoder(RATE_HZ, channels=2)
    first = [decoder.push(packet) for packet in packets[:20]]
    decoder = copy.deepcopy(decoder)
    rest = [decoder.push(packet) for packet in packets[20:40]]
    again = StreamDecoder(RATE_HZ, channels=2)
    np.testing.assert_array_equal(
        np.concatenate([*first, *rest]), np.concatenate([again.push(p) for p in wanted[:40]])
    )


def test_rates_change_and_stay_within_their_share(two_voices: Float32Array) -> None:
    encoder = StreamEncoder(RATE_HZ, 8_000, channels=2, constrained=True)
    assert max(len(packet.payload) for packet in encoder.push(two_voices)) <= 8_000 / 50 / 8 + 1
    encoder = StreamEncoder(RATE_HZ, 6_000, channels=2)
    before = sum(len(packet.payload) for packet in encoder.push(two_voices))
    encoder.set_bitrate(24_000)
    encoder.set_packet_ms(60)
    assert sum(len(packet.payload) for packet in encoder.push(two_voices)) > 2 * before


def test_damage_is_concealed_whatever_it_is(two_voices: Float32Array) -> None:
    rng = np.random.default_rng(4)
    encoder, decoder = StreamEncoder(RATE_HZ, 12_000, channels=2), StreamDecoder(RATE_HZ, channels=2)
    for number, packet in enumerate(encoder.push(two_voices)[:60]):
        payload = spoilt(packet.payload, number % 5, rng)
        heard = decoder.push(None if number % 5 == 4 else replace(packet, payload=payload))
        assert heard.shape == (480, 2)
        assert np.isfinite(heard).all()
    assert decoder.concealed >= 12
    for payload in (b"", b"\xff\xff\xff\xff", b"\x05abc"):
        assert apart(replace(packet, payload=payload)) is None
    long = bytes(300)
    parts = apart(replace(packet, payload=joined([long, b"x"])))
    assert parts is not None
    assert [part.payload for part in parts] == [long, b"x"]


@pytest.mark.parametrize("mode", ["independent", "stream"])
@pytest.mark.parametrize("packet_ms", [20, 60, 120])
def test_long_packets_are_played_whole(two_voices: Float32Array, mode: PacketMode, packet_ms: int) -> None:
    encoder = StreamEncoder(RATE_HZ, 12_000, channels=2, mode=mode, packet_ms=packet_ms)
    decoder, sides = StreamDecoder(RATE_HZ, channels=2), [StreamDecoder(RATE_HZ) for _ in range(2)]
    for packet in encoder.push(two_voices):
        heard = decoder.push(packet)
        for side, alone in enumerate(sides):
            np.testing.assert_array_equal(heard[:, side], alone.push(_part(packet, side)))
    assert decoder.concealed == 0


def test_files_keep_both_channels_where_asked(
    tmp_path: Path, two_voices: Float32Array, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "two.wav", two_voices, RATE_HZ)
    soundfile.write(tmp_path / "one.wav", two_voices[:, 0], RATE_HZ)
    soundfile.write(tmp_path / "three.wav", two_voices[:, [0, 1, 0]], RATE_HZ)
    asked = ["encode", str(tmp_path / "two.wav"), str(tmp_path / "two.sc"), "--channels", "2", "--kbps", "12"]
    assert main(asked) == 0
    assert "mixed down" not in capsys.readouterr().err
    with (tmp_path / "two.sc").open("rb") as file:
        reader = FileReader(file)
        assert (reader.header.channels, reader.header.bitstream[-7:]) == (2, "-stereo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_file(tmp_path / "two.sc", tmp_path / "heard.wav", sample_rate_hz=16_000) == 2 * 16_000
    assert soundfile.info(tmp_path / "heard.wav").channels == 2
    with pytest.warns(StreamcodecWarning, match="channels=2 keeps both"):
        encode_file(tmp_path / "two.wav", io.BytesIO())
    assert encode_file(tmp_path / "one.wav", io.BytesIO(), channels=2).channels == 1
    with pytest.raises(AudioFormatError, match="3 channels and the neural tier codes two at most"):
        encode_file(tmp_path / "three.wav", io.BytesIO(), channels=2)
    with pytest.raises(AudioFormatError, match="2 channels, and the lossless tier keeps them"):
        encode_file(tmp_path / "two.wav", io.BytesIO(), tier="lossless", channels=1)


def test_what_does_not_go_with_two_channels_is_said(two_voices: Float32Array) -> None:
    with pytest.raises(BitrateError, match="dtx is for one channel"):
        StreamEncoder(RATE_HZ, channels=2, dtx=True)
    with pytest.raises(BitrateError, match="2 channels at 2 to 48 kbps"):
        StreamEncoder(RATE_HZ, 1_500, channels=2)
    with pytest.raises(AudioFormatError, match="channels=2"):
        StreamEncoder(RATE_HZ, channels=2).push(two_voices[:, 0])
    with pytest.raises(AudioFormatError, match="one channel of the neural tier"):
        FloatEncoder(StreamEncoder(RATE_HZ, channels=2))
    encoded = encode_array(two_voices[:4_800], RATE_HZ, channels=2)
    with pytest.raises(FileFormatError, match="-stereo and this build reads"):
        decode_array(replace(encoded, channels=1))
