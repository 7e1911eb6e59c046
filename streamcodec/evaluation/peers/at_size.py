"""Lossy peers at a number of bytes: Opus (opus-tools), Vorbis (libsndfile) and AAC (FFmpeg in PyAV)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import align, resample
from streamcodec.evaluation.clips import PcmClip
from streamcodec.evaluation.errors import require

Samples = NDArray[np.float64]
Decoded = tuple[int, Samples]
"""Bytes of the coded file, and the decoded sound at the clip's rate."""
LONGEST_DELAY_SAMPLES = 4_096


def opus(clip: PcmClip, wanted_bytes: int) -> Decoded:
    """Opus behind opusenc (VBR, 20 ms, 48 kHz)."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, result = (str(Path(folder, name)) for name in ("a.wav", "a.opus", "b.wav"))
        wide = resample(clip.first_channel, clip.sample_rate_hz, 48_000)
        soundfile.write(source, np.clip(wide, -1, 1), 48_000, subtype="PCM_16")
        kbps = f"{_bitrate_bps(clip, wanted_bytes) / 1000:.3f}"
        subprocess.run(["opusenc", "--quiet", "--bitrate", kbps, source, coded], check=True)
        subprocess.run(["opusdec", "--quiet", "--rate", "48000", coded, result], check=True)
        decoded, _ = soundfile.read(result)
        return Path(coded).stat().st_size, resample(decoded, 48_000, clip.sample_rate_hz)


def vorbis(clip: PcmClip, wanted_bytes: int) -> Decoded:
    """libvorbis at the quality whose file comes nearest in size."""
    best: tuple[int, bytes] | None = None
    coarse, fine = 0.0, 1.0
    for _ in range(7):
        effort = 0.5 * (coarse + fine)
        stream = io.BytesIO()
        soundfile.write(
            stream, clip.first_channel, clip.sample_rate_hz, format="OGG", subtype="VORBIS", compression_level=effort
        )
        size = stream.tell()
        if best is None or abs(size - wanted_bytes) < abs(best[0] - wanted_bytes):
            best = size, stream.getvalue()
        if size > wanted_bytes:
            coarse = effort
        else:
            fine = effort
    assert best is not None
    decoded, _ = soundfile.read(io.BytesIO(best[1]))
    return best[0], decoded


def aac(clip: PcmClip, wanted_bytes: int) -> Decoded:
    """FFmpeg's AAC encoder, low complexity profile, in ADTS frames."""
    av = require("av", "AAC")
    stream = io.BytesIO()
    with av.open(stream, "w", format="adts") as container:
        track: Any = container.add_stream("aac", rate=clip.sample_rate_hz, layout="mono")
        track.bit_rate = round(_bitrate_bps(clip, wanted_bytes))
        frame = av.AudioFrame.from_ndarray(clip.first_channel.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = clip.sample_rate_hz
        for each in (frame, None):
            for packet in track.encode(each):
                container.mux(packet)
    stream.seek(0)
    with av.open(stream, format="aac") as container:
        decoded = np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])
    return len(stream.getvalue()), decoded.astype(np.float64)


LOSSY_PEERS: dict[str, Callable[[PcmClip, int], Decoded]] = {"Vorbis": vorbis, "AAC": aac}
if shutil.which("opusenc") and shutil.which("opusdec"):
    LOSSY_PEERS = {"Opus": opus, **LOSSY_PEERS}


def peer_snr_db(name: str, clip: PcmClip, wanted_bytes: int) -> tuple[float, float]:
    """Real ratio to 16-bit samples, and signal-to-noise ratio with the delay taken off."""
    size, decoded = LOSSY_PEERS[name](clip, wanted_bytes)
    reference, decoded = align(clip.first_channel, decoded, LONGEST_DELAY_SAMPLES)
    noise = float(np.sum((reference - decoded) ** 2))
    return clip.pcm_bytes / size, float(10 * np.log10(np.sum(reference**2) / max(noise, 1e-12)))


def _bitrate_bps(clip: PcmClip, wanted_bytes: int) -> float:
    return wanted_bytes * 8 * clip.sample_rate_hz / len(clip.samples)
