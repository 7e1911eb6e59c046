"""Speaker likeness: whether a decoded voice is still the same person's.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018), by the weights in the package
``resemblyzer`` (Apache-2.0). Only its weights are read: its own modules import others that do not build everywhere.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import MissingPackageError, UnscorableError, require
from streamcodec.evaluation.spectral import slaney_filters

SAMPLE_RATE_HZ = 16_000
FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS = 400, 160, 40
PART_FRAMES, PART_STEP = 160, 80
LOUDNESS_DBFS = -30.0
WIDTH, LAYERS = 256, 3


def speaker_likeness(reference: Samples, decoded: Samples) -> float:
    """Cosine of the two voices' embeddings, 0 to 1; other people's voices are at about 0.5 to 0.7.

    Each is the mean over parts of 1.6 s, every 0.8 s.

    Shape: inputs ``[samples]`` at 16 kHz.

    Raises:
        UnscorableError: silence.
    """
    first, second = embedding(reference), embedding(decoded)
    return float(first @ second)


def embedding(sound: Samples) -> NDArray[np.float64]:
    """Unit vector that stands for a voice.

    Shape: ``[samples]`` at 16 kHz -> ``[256]``.
    """
    power = float(np.mean(np.square(sound))) if len(sound) else 0.0
    if power == 0.0:
        raise UnscorableError("Speaker likeness has no value on silence.")
    # Quiet sound is lifted, loud sound is left alone, as the weights were trained.
    lifted = np.asarray(sound) * max(1.0, 10.0 ** (LOUDNESS_DBFS / 20.0) / np.sqrt(power))
    mel = _mel(lifted)
    parts = max(1, 1 + -(-(len(mel) - PART_FRAMES) // PART_STEP))
    padded = np.pad(mel, ((0, max(0, (parts - 1) * PART_STEP + PART_FRAMES - len(mel))), (0, 0)))
    cut = np.stack([padded[k * PART_STEP : k * PART_STEP + PART_FRAMES] for k in range(parts)])
    torch = require("torch", "Speaker likeness")
    recurrent, last = _network()
    with torch.no_grad():
        _, (hidden, _) = recurrent(torch.from_numpy(cut.astype(np.float32)))
        raw = torch.relu(last(hidden[-1])).numpy().astype(np.float64)
    mean = (raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)).mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _mel(sound: Samples) -> NDArray[np.float64]:
    """Powers of mel bands, frames centred.

    Shape: ``[samples]`` -> ``[frames, 40]``.
    """
    padded = np.pad(sound, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(FFT_SAMPLES + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    return np.asarray(power @ slaney_filters(SAMPLE_RATE_HZ, FFT_SAMPLES, MEL_BANDS).T)


@functools.cache
def _network() -> tuple[Any, Any]:
    torch = require("torch", "Speaker likeness")
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or spec.origin is None:
        raise MissingPackageError("Speaker likeness needs 'resemblyzer': pip install 'streamcodec[eval]'.")
    stored = torch.load(Path(spec.origin).parent / "pretrained.pt", map_location="cpu", weights_only=True)
    weights = stored["model_state"]
    recurrent = torch.nn.LSTM(MEL_BANDS, WIDTH, LAYERS, batch_first=True)
    last = torch.nn.Linear(WIDTH, WIDTH)
    for name, module in (("lstm", recurrent), ("linear", last)):
        prefix = f"{name}."
        module.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
    return recurrent.eval(), last.eval()
