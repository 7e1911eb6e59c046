"""Typed errors. Each message says what was wrong, what is expected and how to mend it."""

from __future__ import annotations


class StreamcodecError(ValueError):
    """Base of every error this package raises on bad input."""


class StreamcodecWarning(UserWarning):
    """Something was left out, cut or changed on the way, and the work went on."""


class AudioFormatError(StreamcodecError):
    """Samples of a wrong type, shape, rate or channel count."""


class BitrateError(StreamcodecError):
    """A rate this tier cannot be asked for."""


class PacketError(StreamcodecError):
    """Bytes that are not a packet of this format."""


class FileFormatError(StreamcodecError):
    """A file that is not a readable ``.sc`` file."""


class ModelError(StreamcodecError):
    """A model that cannot be found or does not fit this version."""


class DamagedPayload(StreamcodecError):  # noqa: N818 - a state of the bytes, named as the packet format names it
    """A payload that is damaged, follows a gap, or comes before the first key block."""


class BackendError(StreamcodecError):
    """A backend that is unknown, not installed, or without its device."""


class PoolError(StreamcodecError):
    """A slot that is not in use, or a pool that is full."""


class MissingExtraError(StreamcodecError, ModuleNotFoundError):
    """A package of an optional part that is not installed."""


class SchedulingError(StreamcodecError):
    """A priority or cores that this system does not give."""
