"""A linear probe: which class a sound is of, told from its latents (or any features) by logistic regression."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from streamcodec.codec.files.output_file import write_whole
from streamcodec.codec.options import check_number
from streamcodec.errors import AudioFormatError, FileFormatError
from streamcodec.features.pooling import need_sklearn, pooled

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
PENALTY = 0.02
"""Inverse strength of the L2 penalty (scikit-learn's ``C``)."""
ROUNDS = 2_000
FORMAT = "streamcodec-probe-1"


class LinearProbe:
    """Logistic regression on the mean and standard deviation over time of a sound's features.

    Features are standardised over the training sounds, and classes count alike however many sounds each has.
    ``classes`` are the names that :meth:`fit` was given, sorted. ``features`` says what the probe was trained on, for
    whoever loads it: :func:`~streamcodec.latents_version` of a model, say.
    """

    def __init__(self, classes: Sequence[str], weights: Float64Array, bias: Float64Array, features: str = "") -> None:
        self.classes = tuple(classes)
        self.features = features
        # In order of their axes: safetensors writes memory as it lies.
        self._weights, self._bias = np.ascontiguousarray(weights), np.ascontiguousarray(bias)

    @classmethod
    def fit(
        cls, sounds: Sequence[Float32Array], labels: Sequence[str], *, penalty: float = PENALTY, features: str = ""
    ) -> LinearProbe:
        """Learn from sounds and the name of each one's class; the smaller ``penalty``, the smoother.

        Errors: AudioFormatError for fewer than two classes, sounds without frames, shapes that do not fit, or
        features that are no finite numbers; StreamcodecError where scikit-learn is missing.

        Shape: each sound ``[frames, dims]``, as :func:`~streamcodec.latents` gives them.
        """
        need_sklearn("a linear probe")
        from sklearn.linear_model import LogisticRegression

        vectors = _vectors(sounds)
        try:
            labels = list(labels)
            names = tuple(sorted(set(labels)))
        except TypeError as error:
            raise AudioFormatError(
                f"labels are a list of names, one for each sound, got {type(labels).__name__} ({error})"
            ) from error
        if len(names) < 2:
            raise AudioFormatError(f"a probe tells classes apart: give sounds of two or more, got {len(names)}")
        if len(vectors) != len(labels):
            raise AudioFormatError(f"each sound has one label: got {len(vectors)} sounds and {len(labels)} labels")
        if check_number("penalty", penalty, AudioFormatError) <= 0.0:
            raise AudioFormatError(f"penalty must be a number above 0, got {penalty:g}")
        mean, deviation = vectors.mean(0), vectors.std(0)
        deviation[deviation == 0.0] = 1.0
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=ROUNDS)
        model.fit((vectors - mean) / deviation, np.asarray([names.index(label) for label in labels]))
        coefficients = np.asarray(model.coef_, np.float64)
        intercept = np.asarray(model.intercept_, np.float64)
        if len(names) == 2:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercept = np.concatenate([np.zeros_like(intercept), intercept])
        weights = coefficients / deviation
        return cls(names, weights, intercept - weights @ mean, features)

    def probabilities(self, sounds: Sequence[Float32Array]) -> Float64Array:
        """How likely each sound is of each class; raises AudioFormatError for sounds that do not fit.

        Shape: each ``[frames, dims]`` -> ``[sounds, classes]``, rows of sum 1.
        """
        vectors = _vectors(sounds)
        if vectors.shape[1] != self._weights.shape[1]:
            dims = self._weights.shape[1] // 2
            raise AudioFormatError(f"this probe takes {dims} dimensions a frame, got {vectors.shape[1] // 2}")
        scores = vectors @ self._weights.T + self._bias
        likely = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(likely / likely.sum(1, keepdims=True))

    def predict(self, sounds: Sequence[Float32Array]) -> list[str]:
        """The likeliest class of each sound; raises AudioFormatError for sounds that do not fit.

        Shape: each ``[frames, dims]``.
        """
        return [self.classes[k] for k in self.probabilities(sounds).argmax(1)]

    def save(self, path: str | Path) -> None:
        """Write the probe as safetensors; raises FileFormatError where the system refuses."""
        about = {"format": FORMAT, "classes": json.dumps(self.classes), "features": self.features}
        write_whole(path, save({"weights": self._weights, "bias": self._bias}, about))

    @classmethod
    def load(cls, path: str | Path) -> LinearProbe:
        """Read what :meth:`save` wrote; raises FileFormatError for anything else. Needs no scikit-learn."""
        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata() or {}
                weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
            classes, features = json.loads(about["classes"]), about["features"]
            shaped = weights.ndim == 2 and weights.shape[:1] == bias.shape == (len(classes),)
            if about["format"] != FORMAT or not shaped or not _is_list_of_names(classes):
                raise ValueError(f"format {about['format']}, weights of shape {weights.shape}")
            if not all(each.dtype == np.float64 and np.isfinite(each).all() for each in (weights, bias)):
                raise ValueError("weights that are no finite numbers of 64 bits")
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise FileFormatError(f"{path} is not a probe that LinearProbe.save wrote ({error})") from error
        return cls(classes, weights, bias, features)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _vectors(sounds: Sequence[Float32Array]) -> Float64Array:
    """Shape: each ``[frames, dims]`` -> ``[sounds, 2 * dims]``."""
    wanted = "a probe takes a list with one array [frames, dims] for each sound"
    try:
        arrays = [np.asarray(sound, np.float32) for sound in sounds]
    except (TypeError, ValueError) as error:
        raise AudioFormatError(f"{wanted}, got {type(sounds).__name__} ({error})") from error
    shapes = {array.shape[1:] for array in arrays}
    if not arrays or len(shapes) > 1 or any(array.ndim != 2 or not len(array) for array in arrays):
        raise AudioFormatError(
            f"{wanted}, of one number of dims and at least a frame each, "
            f"got {len(arrays)} of shapes {', '.join(sorted({str(array.shape) for array in arrays})[:3]) or '-'}"
        )
    for number, array in enumerate(arrays):
        if not np.isfinite(array).all():
            raise AudioFormatError(f"features must be finite numbers, those of sound {number} are not: leave it out")
    return np.stack([pooled(array) for array in arrays]).astype(np.float64)
