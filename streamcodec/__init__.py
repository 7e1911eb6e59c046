"""streamcodec: a real-time streaming audio codec with low-latency frame processing.

The path of a sample, by file name: ``codec/stream.py`` (push) -> ``codec/neural/tier.py`` ->
``codec/neural/resample.py`` -> ``native_dsp/transforms/stft.py`` -> ``runtime/onnx_step.py`` (encoder) ->
``codec/neural/entropy.py`` -> ``native_dsp/coding/range_coder.py`` -> ``codec/packet.py``, and back the same way
through ``codec/neural/decoder.py``. The other tiers go from ``codec/stream.py`` through
``codec/near_lossless/tier.py`` or ``codec/lossless/tier.py``.
"""

from streamcodec.codec.files.oneshot import EncodedAudio, decode_array, decode_file, encode_array, encode_file
from streamcodec.codec.files.transcode import transcode_file
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
