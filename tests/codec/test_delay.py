"""The declared delay is the delay, and lengths come out even."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from streamcodec import StreamDecoder, StreamEncoder, decode_array, encode_array

RATES_HZ = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def through(sound: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float32], int]:
    encoder, decoder = StreamEncoder(sample_rate_hz, 16_000), StreamDecoder(sample_rate_hz)
    packets = [*encoder.push(sound), *encoder.flush()]
    out = np.concatenate([*(decoder.push(p) for p in packets), decoder.flush()])
    return out, encoder.delay_samples + decoder.delay_samples


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
def test_impulse_comes_out_where_declared(sample_rate_hz: int) -> None:
    sound = np.zeros(sample_rate_hz // 2, np.float32)
    at = sample_rate_hz // 4 + 31
    # A band-limited click: the codec keeps envelopes rather than samples, so its centre of energy is measured.
    width = round(0.0006 * sample_rate_hz)
    sound[at - width : at + width + 1] = 0.9 * np.hanning(2 * width + 1)
    out, delay = through(sound, sample_rate_hz)
    window = out[at + delay - sample_rate_hz // 50 : at + delay + sample_rate_hz // 50].astype(np.float64)
    found = np.argmax(np.abs(signal.hilbert(window))) - sample_rate_hz // 50
    assert abs(found) <= 0.001 * sample_rate_hz


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
def test_cross_correlation_finds_the_declared_delay(sample_rate_hz: int, speech: NDArray[np.float32]) -> None:
    sound = signal.resample_poly(speech, sample_rate_hz, 24_000).astype(np.float32)
    out, delay = through(sound, sample_rate_hz)
    correlation = signal.correlate(out, sound, method="fft")
    measured = int(np.argmax(correlation)) - (sound.size - 1)
    assert abs(measured - delay) <= max(1, round(sample_rate_hz / 24_000))


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
def test_delay_in_all_is_within_the_envelope(sample_rate_hz: int) -> None:
    encoder, decoder = StreamEncoder(sample_rate_hz), StreamDecoder(sample_rate_hz)
    assert 1000 * (encoder.latency_samples + decoder.delay_samples) / sample_rate_hz <= 30.0 + 0.1


def test_live_loop_delay_is_the_declared_latency() -> None:
    """Blocks handed over as they fill, played as they come: what a listener hears, packet filling included."""
    sample_rate_hz, block = 24_000, 480
    encoder, decoder = StreamEncoder(sample_rate_hz, 16_000), StreamDecoder(sample_rate_hz)
    rng = np.random.default_rng(5)
    # Not so much below a voice that the encoder's low cut would take it for rumble.
    sound = signal.lfilter([1], [1, -0.8], 0.1 * rng.standard_normal(sample_rate_hz)).astype(np.float32)
    played = np.zeros(sound.size + 2 * block, np.float32)
    for start in range(0, sound.size, block):
        for packet in encoder.push(sound[start : start + block]):
            played[start + block : start + 2 * block] = decoder.push(packet)
    measured = int(np.argmax(signal.correlate(played, sound, method="fft"))) - (sound.size - 1)
    assert abs(measured - (encoder.latency_samples + decoder.delay_samples)) <= 1


@pytest.mark.parametrize("samples", [0, 1, 2, 479, 480, 481, 5_000])
@pytest.mark.parametrize("sample_rate_hz", [8_000, 24_000, 44_100])
def test_output_is_as_long_as_input(samples: int, sample_rate_hz: int) -> None:
    sound = np.full(samples, 0.1, np.float32)
    assert decode_array(encode_array(sound, sample_rate_hz)).size == samples
