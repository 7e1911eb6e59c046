"""Distill-MOS: naturalness without the original, by a small network trained on what people said of neural codecs.

Stahl and Gamper, "Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech Quality
Assessment" (ICASSP 2025). Package ``distillmos`` (MIT), weights inside.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError, require

LEAST_SAMPLES = 1_600


def distill_mos(reference: Samples, decoded: Samples) -> float:
    """Distill-MOS of the decoded sound, 1 to 5; the reference is not looked at.

    Shape: inputs ``[samples]`` at 16 kHz.

    Raises:
        UnscorableError: silence, or less than a tenth of a second.
    """
    del reference
    if len(decoded) < LEAST_SAMPLES or not np.any(decoded):
        raise UnscorableError("Distill-MOS needs at least 0.1 s of sound that is not silence.")
    torch = require("torch", "Distill-MOS")
    with torch.no_grad():
        found = _model()(torch.from_numpy(np.asarray(decoded, np.float32))[None])
    return float(found.squeeze())


@functools.cache
def _model() -> Any:
    with _without_torchaudio(), contextlib.redirect_stdout(io.StringIO()):
        return require("distillmos", "Distill-MOS").ConvTransformerSQAModel().eval()


@contextlib.contextmanager
def _without_torchaudio() -> Iterator[None]:
    """The package imports torchaudio for its command line alone, and that fits one version of torch only."""
    absent = object()
    before = sys.modules.get("torchaudio", absent)
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
        if isinstance(before, types.ModuleType):
            sys.modules["torchaudio"] = before
