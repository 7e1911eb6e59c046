"""Scores that listen to the decoded sound alone: DNSMOS and PLCMOS, run from the models in the ``speechmos`` wheel.

Only the wheel's ONNX files are used: its own modules import packages that its metadata does not name, and draw from
an unseeded generator.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import MissingPackageError, UnscorableError, require

SAMPLE_RATE_HZ = 16_000
DNSMOS_WINDOW_SAMPLES = 144_160
"""9.01 s, the length DNSMOS was trained on."""
DNSMOS_OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""Maps the network's raw overall score to the scale of ITU-T P.835 (published with the model)."""
PLCMOS_RATERS = 15


@functools.cache
def _session(model: str) -> Any:
    """Inference session of one model file of the wheel, on one thread."""
    spec = importlib.util.find_spec("speechmos")
    if spec is None or spec.origin is None:
        raise MissingPackageError("DNSMOS and PLCMOS need the package 'speechmos': pip install 'streamcodec[eval]'.")
    runtime = require("onnxruntime", "DNSMOS and PLCMOS")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    path = Path(spec.origin).parent / model
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def dnsmos_overall(reference: Samples, decoded: Samples) -> float:
    """DNSMOS P.835 overall quality (Reddy et al., 2022), 1 to 5; the reference is not looked at.

    Mean over windows of 9.01 s, one starting at each full second that leaves 9 s and more, as in the authors' script;
    a shorter sound is repeated until it fills one.

    Shape: inputs ``[samples]`` at 16 kHz.
    """
    del reference
    if not len(decoded):
        raise UnscorableError("DNSMOS has no value on an empty sound.")
    session = _session("dnsmos_models/sig_bak_ovr.onnx")
    sound = np.clip(decoded, -1.0, 1.0).astype(np.float32)
    while len(sound) < DNSMOS_WINDOW_SAMPLES:
        sound = np.concatenate([sound, sound])
    windows = max(1, len(sound) // SAMPLE_RATE_HZ - 9)
    raw = []
    for start in range(0, windows * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ):
        window = sound[None, start : start + DNSMOS_WINDOW_SAMPLES]
        raw.append(session.run(None, {"input_1": window})[0][0][2])
    return float(np.mean(np.polyval(DNSMOS_OVERALL, np.array(raw, dtype=np.float64))))


def _plcmos_features(sound: Samples) -> NDArray[np.float32]:
    """Log power spectra of Hamming frames of 512 every 256, the first one half filled; scaled by 1/20.

    Shape: input ``[samples]``, output ``[frames, 257]``.
    """
    frame, hop = 512, 256
    frames = math.ceil((len(sound) + hop) / hop)
    padded = np.zeros((frames - 1) * hop + frame)
    padded[hop : hop + len(sound)] = sound
    window = np.hamming(frame + 1)[:-1]
    power = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop] * window)) ** 2
    above_zero = power[power > 0.0]
    if not len(above_zero):
        raise UnscorableError("PLCMOS has no value on silence.")
    floor = np.log(above_zero.min()) - 12.0 * np.log(10.0)
    logarithm = np.log(power, out=np.full_like(power, floor), where=power > 0.0)
    return np.asarray(logarithm / 20.0, dtype=np.float32)


def plcmos(reference: Samples, decoded: Samples) -> float:
    """PLCMOS v2 (Diener et al., 2023), 1 to 5, mean over 15 simulated raters with a fixed seed; no reference.

    Shape: inputs ``[samples]`` at 16 kHz.
    """
    del reference
    session = _session("plcmos_models/plcmos_v2.onnx")
    features = _plcmos_features(np.clip(decoded, -1.0, 1.0))[None, None]
    raters = np.random.default_rng(0).normal(size=(PLCMOS_RATERS, 1, 64)).astype(np.float32)
    scores = [session.run(None, {"degraded_audio": features, "rater_embed": rater})[0] for rater in raters]
    return float(np.mean([np.ravel(score)[0] for score in scores]))
