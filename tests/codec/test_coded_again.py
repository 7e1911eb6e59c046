"""Sound that is coded again: the first decoder leaves out what is for the ear, and the second line loses less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    StreamDecoder,
    decode_array,
    decode_file,
    encode_array,
    encode_file,
    transcode_file,
)
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.metrics import METRICS

Float32Array = NDArray[np.float32]
RATE_HZ = 24_000


def passed_on(sound: Float32Array, *, post_filter: bool) -> Float32Array:
    once = decode_array(encode_array(sound, RATE_HZ, 6_000), post_filter=post_filter)
    return decode_array(encode_array(once, RATE_HZ, 6_000))


def test_without_post_filter_a_second_coding_loses_less(speech: Float32Array) -> None:
    pytest.importorskip("pystoi")
    filtered, plain = (passed_on(speech, post_filter=post_filter) for post_filter in (True, False))
    si_sdr, stoi = (METRICS[name].function for name in ("si_sdr", "stoi"))
    assert si_sdr(speech, plain) > si_sdr(speech, filtered) + 0.5
    at_16k = [np.asarray(resample(sound, RATE_HZ, 16_000), np.float32) for sound in (speech, plain, filtered)]
    assert stoi(at_16k[0], at_16k[1]) > stoi(at_16k[0], at_16k[2])


def test_transcoding_to_a_second_neural_file_leaves_the_filter_out(speech_file: Path, tmp_path: Path) -> None:
    first, decoded, second, expected = (tmp_path / name for name in ("a.sc", "b.wav", "c.sc", "d.sc"))
    encode_file(speech_file, first, 6_000)
    transcode_file(first, second, bitrate_bps=3_200)
    decode_file(first, decoded, post_filter=False)
    encode_file(decoded, expected, 3_200)
    assert second.read_bytes() == expected.read_bytes()


def test_transcoding_to_what_is_heard_keeps_the_filter(speech_file: Path, tmp_path: Path) -> None:
    first, heard, lossless, back = (tmp_path / name for name in ("a.sc", "b.wav", "c.sc", "d.wav"))
    encode_file(speech_file, first, 6_000)
    decode_file(first, heard)
    transcode_file(first, lossless, tier="lossless")
    decode_file(lossless, back)
    np.testing.assert_array_equal(soundfile.read(back)[0], soundfile.read(heard)[0])


def test_a_state_is_not_taken_by_a_decoder_that_filters_otherwise() -> None:
    with pytest.raises(AudioFormatError, match="post_filter"):
        StreamDecoder(RATE_HZ).state = StreamDecoder(RATE_HZ, post_filter=False).state


def test_anything_but_a_flag_is_refused() -> None:
    with pytest.raises(AudioFormatError, match="post_filter"):
        StreamDecoder(RATE_HZ, post_filter="no")  # type: ignore[arg-type]
