"""streamcodec: a real-time streaming audio codec with low-latency frame processing.

The path of a sample, by file name: ``codec/stream.py`` (push) -> ``codec/neural_tier.py`` -> ``codec/resample.py`` ->
``native_dsp/stft.py`` -> ``runtime/onnx_step.py`` (encoder) -> ``codec/entropy.py`` ->
``native_dsp/range_coder.py`` -> ``codec/packet.py``, and back the same way through ``codec/neural_decoder.py``.
The other tiers go from ``codec/stream.py`` through ``codec/near_lossless_tier.py`` or ``codec/lossless_tier.py``.
"""

from streamcodec.codec.oneshot import EncodedAudio, decode_array, decode_file, encode_array, encode_file
from streamcodec.codec.packet import Packet, PacketFlags, RedundantCopy, Tier
from streamcodec.codec.pool import StreamPool
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.codec.transcode import transcode_file
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
)

__version__ = "0.1.0"

__all__ = [
    "AudioFormatError",
    "BackendError",
    "BitrateError",
    "EncodedAudio",
    "FileFormatError",
    "ModelError",
    "Packet",
    "PacketError",
    "PacketFlags",
    "PoolError",
    "RedundantCopy",
    "SchedulingError",
    "StreamDecoder",
    "StreamEncoder",
    "StreamPool",
    "StreamcodecError",
    "Tier",
    "decode_array",
    "decode_file",
    "encode_array",
    "encode_file",
    "transcode_file",
]
