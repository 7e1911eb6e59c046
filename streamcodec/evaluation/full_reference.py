"""Full-reference scores from other packages and waveform accuracy: PESQ, STOI, SI-SDR, ViSQOL."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import MissingPackageError, UnscorableError, require


def _require_sound(name: str, *sounds: Samples) -> None:
    """Raise UnscorableError if one of them is empty or digital silence."""
    if not all(np.any(sound) for sound in sounds):
        raise UnscorableError(f"{name} has no value on silence.")


def pesq_wideband(reference: Samples, decoded: Samples) -> float:
    """PESQ wideband MOS-LQO (ITU-T P.862.2), 1.0 to 4.64.

    Shape: inputs ``[samples]`` at 16 kHz.

    Raises:
        UnscorableError: silence, or less than a quarter of a second.
    """
    pesq = require("pesq", "PESQ")
    _require_sound("PESQ", reference, decoded)
    try:
        return float(pesq.pesq(16_000, reference.astype(np.float32), decoded.astype(np.float32), "wb"))
    except (pesq.PesqError, ValueError) as error:
        raise UnscorableError(f"PESQ has no value: {str(error) or type(error).__name__}.") from error


def stoi(reference: Samples, decoded: Samples, extended: bool = False) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), or its extended form (Jensen and Taal, 2016).

    Shape: inputs ``[samples]`` at 16 kHz.

    Raises:
        UnscorableError: less than 30 frames of sound after silence is removed.
    """
    measure = require("pystoi", "STOI").stoi
    _require_sound("STOI", reference, decoded)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(reference, decoded, 16_000, extended=extended))
        except (RuntimeWarning, ValueError) as error:
            raise UnscorableError("STOI needs at least 0.4 s of sound that is not silence.") from error


def extended_stoi(reference: Samples, decoded: Samples) -> float:
    """ESTOI, see :func:`stoi`."""
    return stoi(reference, decoded, extended=True)


def si_sdr_db(reference: Samples, decoded: Samples) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019, eq. 5), means removed.

    Shape: inputs ``[samples]``. An exact copy gives infinity.

    Raises:
        UnscorableError: the reference is silent.
    """
    reference = reference - reference.mean() if len(reference) else reference
    decoded = decoded - decoded.mean() if len(decoded) else decoded
    energy = float(reference @ reference)
    if energy == 0.0:
        raise UnscorableError("SI-SDR has no value: the reference is silent.")
    target = reference * (float(decoded @ reference) / energy)
    noise = decoded - target
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10(float(target @ target) / np.float64(noise @ noise)))


@functools.cache
def _visqol(mode: str) -> Any:
    """A ViSQOL instance, made once: its models take longer to load than a clip takes to score."""
    interface = require("visqol", "ViSQOL").VisqolApi()
    try:
        interface.create(mode=mode, use_lattice_model=True if mode == "speech" else None)
    except ImportError as error:
        raise MissingPackageError(
            "ViSQOL's speech mode needs the package 'ai-edge-litert': pip install 'streamcodec[eval]'."
        ) from error
    return interface


def _visqol_score(mode: str, sample_rate_hz: int, reference: Samples, decoded: Samples) -> float:
    _require_sound("ViSQOL", reference, decoded)
    interface = _visqol(mode)
    try:
        return float(interface.measure_from_arrays(reference, decoded, sample_rate=sample_rate_hz).moslqo)
    except (ValueError, RuntimeError, IndexError) as error:
        raise UnscorableError(f"ViSQOL has no value: {error}.") from error


def visqol_speech(reference: Samples, decoded: Samples) -> float:
    """ViSQOL v3 MOS-LQO, speech mode, lattice model (Chinen et al., 2020), 1 to 5.

    Shape: inputs ``[samples]`` at 16 kHz.
    """
    return _visqol_score("speech", 16_000, reference, decoded)


def visqol_audio(reference: Samples, decoded: Samples) -> float:
    """ViSQOL v3 MOS-LQO, audio mode, support vector regression (Chinen et al., 2020), 1 to 4.75.

    Shape: inputs ``[samples]`` at 48 kHz.
    """
    return _visqol_score("audio", 48_000, reference, decoded)


def zimtohrli_mos(reference: Samples, decoded: Samples) -> float:
    """Zimtohrli's mean opinion score, 1 to 5: by differences that a listener just notices.

    Package ``zimtohrli`` (Apache-2.0). Sound recorded at less than 48 kHz has nothing up there, and neither ought the
    decoded sound to have.

    Shape: inputs ``[samples]`` at 48 kHz.
    """
    zimtohrli = require("zimtohrli", "Zimtohrli")
    _require_sound("Zimtohrli", reference, decoded)
    return float(zimtohrli.mos_from_signals(reference.astype(np.float32), decoded.astype(np.float32)))
