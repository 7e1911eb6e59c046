"""Lossless peers that come with the evaluation's packages: FLAC by libsndfile, ALAC by FFmpeg."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec.evaluation.errors import require
from streamcodec.evaluation.systems import Coded

Float32Array = NDArray[np.float32]


def _pcm(samples: Float32Array) -> NDArray[np.int16]:
    return np.asarray(np.rint(samples * 32768.0).clip(-32768, 32767), np.int16)


def flac(samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
    """FLAC at its highest compression, bytes of the whole file.

    Shape: ``[T]``.
    """
    file = io.BytesIO()
    soundfile.write(file, _pcm(samples), sample_rate_hz, format="FLAC", subtype="PCM_16", compression_level=1.0)
    size = len(file.getvalue())
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return Coded(decoded, sample_rate_hz, size, 1, size)


def alac(samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
    """Apple Lossless, bytes of the packets without a container.

    Shape: ``[T]``.
    """
    return _by_ffmpeg("alac", samples, sample_rate_hz)


def wavpack(samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
    """WavPack by FFmpeg, bytes of the blocks.

    Shape: ``[T]``.
    """
    return _by_ffmpeg("wavpack", samples, sample_rate_hz)


def _by_ffmpeg(name: str, samples: Float32Array, sample_rate_hz: int) -> Coded:
    """A lossless codec of FFmpeg, bytes of its packets without a container."""
    av = require("av", name)
    pcm = _pcm(samples)
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate, encoder.layout, encoder.format = sample_rate_hz, "mono", "s16p"
    encoder.open()
    packets = []
    for start in range(0, pcm.size, encoder.frame_size):
        frame = av.AudioFrame.from_ndarray(
            pcm[None, start : start + encoder.frame_size], format="s16p", layout="mono"
        )
        frame.sample_rate, frame.pts = sample_rate_hz, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    packets += [bytes(packet) for packet in encoder.encode(None)]
    decoder = av.CodecContext.create(name, "r")
    decoder.extradata, decoder.sample_rate, decoder.layout = encoder.extradata, sample_rate_hz, "mono"
    frames = [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(av.Packet(packet))]
    decoded = np.concatenate(frames)[: pcm.size].astype(np.float32) / np.float32(32768.0)
    size = sum(map(len, packets))
    return Coded(decoded, sample_rate_hz, size, len(packets), size)
