"""The waveform tiers in WebAssembly: lossless to the bit, near-lossless as Python's, with losses and in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import Packet, StreamDecoder, StreamEncoder, decode_file, encode_file

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

LOST = {5, 6}
STREAMS: dict[str, dict[str, Any]] = {
    "lossless-mono": {"tier": "lossless", "rate": 16_000},
    "lossless-stereo": {"tier": "lossless", "rate": 44_100, "channels": 2, "bits_per_sample": 24},
    "perceptual-mono": {"tier": "near-lossless", "rate": 24_000},
    "perceptual-stereo": {"tier": "near-lossless", "rate": 48_000, "channels": 2},
    "long-packets": {"tier": "near-lossless", "rate": 24_000, "packet_ms": 20, "mode": "independent"},
    "squares-mono": {"tier": "near-lossless", "rate": 11_025, "optimise": "mse", "ratio": 4},
    "squares-stereo": {"tier": "near-lossless", "rate": 96_000, "channels": 2, "snr_db": 60.0, "optimise": "mse"},
}
NEAR = {"tier": "near-lossless", "mode": "independent"}
GAPS: dict[str, tuple[set[int], dict[str, Any]]] = {
    "gaps-mono": ({0, 1, 4, 9, 10, 11, 13, 24, 40, *range(60, 76), 100}, {**NEAR, "rate": 24_000}),
    "gaps-stereo": ({0, 2, 3, 7, 12}, {**NEAR, "rate": 48_000, "channels": 2, "packet_ms": 40}),
    "gaps-plain": ({1, 7, 8, 20}, {**NEAR, "rate": 44_100, "channels": 2, "optimise": "mse", "packet_ms": 20}),
    "gaps-fast": ({1, 4, 5, 9}, {**NEAR, "rate": 96_000, "packet_ms": 20}),
}
"""Which packets are lost, at the beginning, one after the other, and of several blocks."""


def _sound(speech: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    """Speech, a stop, a click and a burst that fills the scale, a little different in every channel."""
    rng = np.random.default_rng(3)
    wide = speech[:14_000].astype(np.float64)
    wide[4_000:5_200] = 0.0
    wide[6_000] = 0.9
    wide[8_000:9_200] = rng.uniform(-0.99, 0.99, 1_200)
    wide[9_200:9_700] = 0.25
    return np.stack([np.roll(wide, 3 * channel) * (1.0 - 0.3 * channel) for channel in range(channels)], axis=1)


def _stream(
    made: Path, name: str, speech: NDArray[np.float32], settings: dict[str, Any], lost: set[int]
) -> dict[str, Any]:
    """Packets of a stream, some lost, and what Python makes of them, interleaved."""
    options = dict(settings)
    rate_hz = options.pop("rate")
    channels, bits = options.get("channels", 1), options.get("bits_per_sample", 16)
    encoder = StreamEncoder(rate_hz, key_period_s=0.1, **options)
    sound = np.tile(_sound(speech, channels), (2, 1))
    if options["tier"] == "lossless":
        whole = np.rint(sound * (2 ** (bits - 1) - 1)).astype(np.int32)
        whole[2_000:3_000] &= ~7  # bits that are not used
        packets = encoder.push(whole) + encoder.flush()
    else:
        packets = encoder.push(sound.astype(np.float32)) + encoder.flush()
    decoder = StreamDecoder(
        rate_hz, tier=options["tier"], channels=channels, bits_per_sample=bits if "bits_per_sample" in options else 16
    )
    sent: list[Packet | None] = []
    for k, packet in enumerate(packets):
        sent += [None] * packet.frames if k in lost else [packet]
    heard, concealed = [], []
    for packet in sent:
        before = decoder.concealed
        heard.append(decoder.push(packet))
        concealed.append(decoder.concealed > before)
    assert 2 <= sum(concealed) < len(sent)
    scale = 2.0 ** (bits - 1) if options["tier"] == "lossless" else 1.0
    samples = np.concatenate([np.atleast_2d(block.T).T for block in heard]) / scale
    samples.astype(np.float32).tofile(made / f"{name}.f32")
    return {
        "tier": options["tier"],
        "rateHz": rate_hz,
        "channels": channels,
        "bits": bits,
        "packets": [None if packet is None else packet.to_bytes().hex() for packet in sent],
        "concealed": concealed,
        "lengths": [len(block) for block in heard],
    }


def _file(made: Path, name: str, sound: NDArray[np.float64], rate_hz: int, **options: Any) -> dict[str, Any]:
    wave, coded, decoded = made / f"{name}.wav", made / f"{name}.sc", made / f"{name}-decoded.wav"
    soundfile.write(wave, sound, rate_hz, subtype="PCM_24" if name == "deep" else "PCM_16")
    encode_file(wave, coded, **options)
    decode_file(coded, decoded, floats=options["tier"] == "near-lossless")
    samples, rate = soundfile.read(decoded, dtype="float32", always_2d=True)
    samples.tofile(made / f"{name}.f32")
    return {"name": name, "rateHz": rate, "channels": samples.shape[1], "samples": len(samples)}


def test_the_waveform_tiers_are_decoded_as_in_python(
    vitest: Callable[..., None], speech: NDArray[np.float32], tmp_path: Path
) -> None:
    made = {
        "streams": {
            **{name: _stream(tmp_path, name, speech, settings, LOST) for name, settings in STREAMS.items()},
            **{name: _stream(tmp_path, name, speech, settings, lost) for name, (lost, settings) in GAPS.items()},
        },
        "files": [
            _file(tmp_path, "deep", _sound(speech, 2), 48_000, tier="lossless"),
            _file(tmp_path, "near", _sound(speech, 2), 44_100, tier="near-lossless", ratio=8),
        ],
    }
    (tmp_path / "made.json").write_text(json.dumps(made))
    vitest("waveform_tiers.test.mjs", MADE=tmp_path)
