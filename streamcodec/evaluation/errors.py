"""Typed errors of the evaluation, and the one place that says which extra is missing."""

from __future__ import annotations

import importlib
from typing import Any

from streamcodec.errors import StreamcodecError


class EvaluationError(StreamcodecError):
    """The evaluation cannot go on; the message is one sentence for the user."""


class MissingPackageError(EvaluationError, ImportError):
    """A package of the ``eval`` extra is not installed."""


class UnknownNameError(EvaluationError):
    """A metric or kind was asked for that does not exist."""


class UnscorableError(EvaluationError):
    """A metric has no value for this pair of sounds, e.g. PESQ on silence."""


def require(module: str, purpose: str) -> Any:
    """Import a package of the ``eval`` extra.

    Raises:
        MissingPackageError: naming what needs it and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {package!r}: pip install 'streamcodec[eval]' ({error})."
        ) from error
