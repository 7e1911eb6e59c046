"""streamcodec: a real-time streaming audio codec with low-latency frame processing.

The path of a sample, by file name: ``codec/stream.py`` (push) -> ``codec/neural/tier.py`` ->
``codec/neural/resample.py`` -> ``native_dsp/transforms/stft.py`` -> ``runtime/onnx_step.py`` (encoder) ->
``codec/neural/entropy.py`` -> ``native_dsp/coding/range_coder.py`` -> ``codec/packet.py``, and back the same way
through ``codec/neural/decoder.py``. The other tiers go from ``codec/stream.py`` through
``codec/near_lossless/tier.py`` or ``codec/lossless/tier.py``.
"""

from __future__ import annotations

import os

# In place of typing's, so that the command line starts sooner.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from streamcodec.codec.codes import LatentCodec
    from streamcodec.codec.files.decoding import decode_file
    from streamcodec.codec.files.oneshot import EncodedAudio, decode_array, encode_array, encode_file
    from streamcodec.codec.files.transcode import transcode_file
    from streamcodec.codec.latents import latents, latents_version
    from streamcodec.codec.packet import Packet, PacketFlags, RedundantCopy, Tier
    from streamcodec.codec.pool import StreamPool
    from streamcodec.codec.stream import StreamDecoder, StreamEncoder
    from streamcodec.errors import (
        AudioFormatError,
        BackendError,
        BitrateError,
        FileFormatError,
        ModelError,
        PacketError,
        PoolError,
        SchedulingError,
        StreamcodecError,
        StreamcodecWarning,
    )
    from streamcodec.features.probe import LinearProbe
    from streamcodec.features.sound_index import SoundIndex

# onnxruntime reports its use and leaves a device ID in the user's cache unless this stands before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = [
    "AudioFormatError",
    "BackendError",
    "BitrateError",
    "EncodedAudio",
    "FileFormatError",
    "LatentCodec",
    "LinearProbe",
    "ModelError",
    "Packet",
    "PacketError",
    "PacketFlags",
    "PoolError",
    "RedundantCopy",
    "SchedulingError",
    "SoundIndex",
    "StreamDecoder",
    "StreamEncoder",
    "StreamPool",
    "StreamcodecError",
    "StreamcodecWarning",
    "Tier",
    "decode_array",
    "decode_file",
    "encode_array",
    "encode_file",
    "latents",
    "latents_version",
    "transcode_file",
]

_HOME = {
    "AudioFormatError": "streamcodec.errors",
    "BackendError": "streamcodec.errors",
    "BitrateError": "streamcodec.errors",
    "EncodedAudio": "streamcodec.codec.files.oneshot",
    "FileFormatError": "streamcodec.errors",
    "LatentCodec": "streamcodec.codec.codes",
    "LinearProbe": "streamcodec.features.probe",
    "ModelError": "streamcodec.errors",
    "Packet": "streamcodec.codec.packet",
    "PacketError": "streamcodec.errors",
    "PacketFlags": "streamcodec.codec.packet",
    "PoolError": "streamcodec.errors",
    "RedundantCopy": "streamcodec.codec.packet",
    "SchedulingError": "streamcodec.errors",
    "SoundIndex": "streamcodec.features.sound_index",
    "StreamDecoder": "streamcodec.codec.stream",
    "StreamEncoder": "streamcodec.codec.stream",
    "StreamPool": "streamcodec.codec.pool",
    "StreamcodecError": "streamcodec.errors",
    "StreamcodecWarning": "streamcodec.errors",
    "Tier": "streamcodec.codec.packet",
    "decode_array": "streamcodec.codec.files.oneshot",
    "decode_file": "streamcodec.codec.files.decoding",
    "encode_array": "streamcodec.codec.files.oneshot",
    "encode_file": "streamcodec.codec.files.oneshot",
    "latents": "streamcodec.codec.latents",
    "latents_version": "streamcodec.codec.latents",
    "transcode_file": "streamcodec.codec.files.transcode",
}


def __getattr__(name: str) -> object:
    """Public names are loaded when first asked for: the command line starts, and can be stopped, at once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
