"""libopus through ctypes: one packet at a time, with the controls that PyAV's codec interface hides.

The library is looked for in this order: an explicit path, the environment variable ``STREAMCODEC_LIBOPUS``, the copy
bundled with PyAV, the system. Builds differ: neural speech enhancement (LACE), neural concealment and deep redundancy
(DRED) are compile-time options, so :class:`LibOpus` finds out by trying what the one it loaded can do.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.errors import EvaluationError

LIBRARY_VARIABLE = "STREAMCODEC_LIBOPUS"
MAX_PACKET_BYTES = 1500
MAX_FRAME_MS = 120

APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
SIGNALS = {"auto": -1000, "voice": 3001, "music": 3002}
BANDWIDTHS = {"auto": -1000, "narrow": 1101, "medium": 1102, "wide": 1103, "superwide": 1104, "full": 1105}

# Request numbers of opus_defines.h (RFC 6716 reference implementation, 1.5 for DRED).
_SET_BITRATE = 4002
_SET_VBR = 4006
_SET_BANDWIDTH = 4008
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERCENT = 4014
_SET_DTX = 4016
_SET_VBR_CONSTRAINT = 4020
_SET_SIGNAL = 4024
_GET_LOOKAHEAD = 4027
_SET_DRED_DURATION = 4050

_FLOATS = ctypes.POINTER(ctypes.c_float)


class OpusError(EvaluationError):
    """libopus is missing or refused a call."""


@dataclass(frozen=True)
class OpusSettings:
    """Controls of one encoder and decoder."""

    sample_rate_hz: int = 48_000
    """Rate of the interface: 8, 12, 16, 24 or 48 kHz."""
    frame_ms: float = 20.0
    application: str = "audio"
    signal: str = "voice"
    bandwidth: str = "auto"
    vbr: bool = True
    constrained_vbr: bool = False
    complexity: int = 10
    decoder_complexity: int = 0
    """From 5 neural concealment, 6 LACE, 7 NoLACE, where the build has them."""
    inband_fec: bool = False
    expected_loss_percent: int = 0
    dtx: bool = False
    dred_ms: int = 0
    """History of deep redundancy in each packet, in steps of 10 ms; the bitrate covers it."""

    @property
    def frame_samples(self) -> int:
        """Samples per packet at the interface rate."""
        return round(self.sample_rate_hz * self.frame_ms / 1000)


def find_library() -> Path | None:
    """Path of the libopus to use when none is named, or None."""
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return Path(named)
    package = importlib.util.find_spec("av")
    if package is not None and package.origin is not None:
        inside = Path(package.origin).parent
        for folder in (inside.parent / "av.libs", inside / ".dylibs", inside / "lib"):
            for path in sorted(folder.glob("*opus*")):
                return path
    system = ctypes.util.find_library("opus")
    return Path(system) if system else None


@functools.cache
def load_libopus(path: Path | None = None) -> LibOpus:
    """The library at ``path``, or the one :func:`find_library` finds; loaded once.

    Raises:
        OpusError: none found, or it cannot be loaded.
    """
    found = path or find_library()
    if found is None:
        raise OpusError("No libopus found: pip install 'streamcodec[eval]' (PyAV bundles one).")
    try:
        return LibOpus(found)
    except (OSError, AttributeError) as error:
        raise OpusError(f"Cannot load libopus from {found}: {error}") from error


class LibOpus:
    """A loaded libopus and what its build can do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        handle, int32, integer = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int
        error = ctypes.POINTER(integer)
        calls: tuple[tuple[str, Any, list[Any]], ...] = (
            ("opus_get_version_string", ctypes.c_char_p, []),
            ("opus_strerror", ctypes.c_char_p, [integer]),
            ("opus_encoder_create", handle, [int32, integer, integer, error]),
            ("opus_encoder_destroy", None, [handle]),
            ("opus_encode_float", int32, [handle, _FLOATS, integer, ctypes.c_char_p, int32]),
            ("opus_decoder_create", handle, [int32, integer, error]),
            ("opus_decoder_destroy", None, [handle]),
            ("opus_decode_float", integer, [handle, ctypes.c_char_p, int32, _FLOATS, integer, integer]),
        )
        dred_calls: tuple[tuple[str, Any, list[Any]], ...] = (
            ("opus_packet_has_lbrr", integer, [ctypes.c_char_p, int32]),
            ("opus_dred_decoder_create", handle, [error]),
            ("opus_dred_decoder_destroy", None, [handle]),
            ("opus_dred_alloc", handle, [error]),
            ("opus_dred_free", None, [handle]),
            (
                "opus_dred_parse",
                integer,
                [handle, handle, ctypes.c_char_p, int32, int32, int32, ctypes.POINTER(integer), integer],
            ),
            ("opus_decoder_dred_decode_float", integer, [handle, handle, int32, _FLOATS, int32]),
        )
        self.can_decode_dred = hasattr(self.functions, "opus_dred_decoder_create")
        """Whether the library has the calls for deep redundancy at all (1.5 and later)."""
        for name, result, arguments in (*calls, *(dred_calls if self.can_decode_dred else ())):
            function = getattr(self.functions, name)
            function.restype = result
            function.argtypes = arguments

    @property
    def version(self) -> str:
        """What the library calls itself, e.g. ``libopus 1.6.1``."""
        return str(self.functions.opus_get_version_string().decode())

    @functools.cached_property
    def has_speech_enhancement(self) -> bool:
        """Whether decoder complexity 6 changes decoded wideband speech, i.e. LACE is in the build."""
        return self._decoder_complexity_matters(6, lost=False)

    @functools.cached_property
    def has_stronger_enhancement(self) -> bool:
        """Whether decoder complexity 7 is another enhancement than 6, i.e. NoLACE is in the build."""
        if not self.has_speech_enhancement:
            return False
        return not np.array_equal(self._probe(6, lost=False), self._probe(7, lost=False))

    @functools.cached_property
    def has_neural_concealment(self) -> bool:
        """Whether decoder complexity 5 changes what is played for a lost packet."""
        return self._decoder_complexity_matters(5, lost=True)

    @functools.cached_property
    def has_deep_redundancy(self) -> bool:
        """Whether the encoder accepts a DRED duration."""
        encoder = OpusEncoder(self, OpusSettings(), 16_000)
        return encoder.try_control(_SET_DRED_DURATION, 10) >= 0

    @property
    def description(self) -> str:
        """Version and neural parts in one line, for reports."""
        parts = [
            name
            for name, present in (
                ("LACE", self.has_speech_enhancement),
                ("NoLACE", self.has_stronger_enhancement),
                ("neural concealment", self.has_neural_concealment),
                ("DRED", self.has_deep_redundancy),
            )
            if present
        ]
        return f"{self.version} ({'with ' + ', '.join(parts) if parts else 'no neural parts'})"

    def check(self, code: int, what: str) -> int:
        """Pass a non-negative return code on.

        Raises:
            OpusError: ``code`` is an error of libopus.
        """
        if code < 0:
            raise OpusError(f"libopus: {what} failed: {self.functions.opus_strerror(code).decode()}.")
        return code

    def _decoder_complexity_matters(self, complexity: int, lost: bool) -> bool:
        """Whether a decoder at this complexity gives another sound than one at 0; builds before 1.5 know none."""
        try:
            return not np.array_equal(self._probe(0, lost), self._probe(complexity, lost))
        except OpusError:
            return False

    def _probe(self, decoder_complexity: int, lost: bool) -> NDArray[np.float32]:
        """Half a second of a voiced sound, through wideband SILK, the tenth packet lost if ``lost``."""
        settings = OpusSettings(sample_rate_hz=16_000, bandwidth="wide", decoder_complexity=decoder_complexity)
        encoder, decoder = OpusEncoder(self, settings, 12_000), OpusDecoder(self, settings)
        time_s = np.arange(8_000) / 16_000
        voice = sum(np.sin(2 * np.pi * 130 * k * time_s) / k for k in range(1, 30))
        sound = (0.1 * voice * (1.2 + np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)
        decoded = []
        for index, frame in enumerate(sound.reshape(-1, settings.frame_samples)):
            packet = encoder.encode(frame)
            decoded.append(decoder.decode(None if lost and index == 10 else packet))
        return np.concatenate(decoded)


class OpusEncoder:
    """Mono encoder, one packet per frame."""

    def __init__(self, library: LibOpus, settings: OpusSettings, bitrate_bps: int) -> None:
        self._library = library
        self._frame_samples = settings.frame_samples
        error = ctypes.c_int()
        self._handle = ctypes.c_void_p(
            library.functions.opus_encoder_create(
                settings.sample_rate_hz, 1, APPLICATIONS[settings.application], ctypes.byref(error)
            )
        )
        library.check(error.value, "creating an encoder")
        weakref.finalize(self, library.functions.opus_encoder_destroy, self._handle)
        for request, value in (
            (_SET_BITRATE, bitrate_bps),
            (_SET_VBR, int(settings.vbr)),
            (_SET_VBR_CONSTRAINT, int(settings.constrained_vbr)),
            (_SET_BANDWIDTH, BANDWIDTHS[settings.bandwidth]),
            (_SET_SIGNAL, SIGNALS[settings.signal]),
            (_SET_COMPLEXITY, settings.complexity),
            (_SET_INBAND_FEC, int(settings.inband_fec)),
            (_SET_PACKET_LOSS_PERCENT, settings.expected_loss_percent),
            (_SET_DTX, int(settings.dtx)),
        ):
            library.check(self.try_control(request, value), f"encoder control {request} = {value}")
        if settings.dred_ms:
            library.check(
                self.try_control(_SET_DRED_DURATION, settings.dred_ms // 10),
                "deep redundancy (which this build may lack)",
            )
        self._packet = ctypes.create_string_buffer(MAX_PACKET_BYTES)

    def try_control(self, request: int, value: int) -> int:
        """Set a control; the library's return code, negative if it refuses."""
        return int(
            self._library.functions.opus_encoder_ctl(self._handle, ctypes.c_int(request), ctypes.c_int32(value))
        )

    @property
    def lookahead_samples(self) -> int:
        """Delay of encoder and decoder together, without the frame itself, at the interface rate."""
        value = ctypes.c_int32()
        code = self._library.functions.opus_encoder_ctl(
            self._handle, ctypes.c_int(_GET_LOOKAHEAD), ctypes.byref(value)
        )
        self._library.check(code, "reading the lookahead")
        return value.value

    def encode(self, frame: NDArray[np.float32]) -> bytes:
        """One packet of one frame.

        Shape: input ``[frame_samples]``, full scale 1.
        """
        if frame.shape != (self._frame_samples,):
            raise OpusError(f"A frame must have shape ({self._frame_samples},), got {frame.shape}.")
        held = np.ascontiguousarray(frame, dtype=np.float32)
        written = self._library.functions.opus_encode_float(
            self._handle, held.ctypes.data_as(_FLOATS), self._frame_samples, self._packet, MAX_PACKET_BYTES
        )
        return self._packet.raw[: self._library.check(written, "encoding")]


class OpusDecoder:
    """Mono decoder with concealment and in-band redundancy."""

    def __init__(self, library: LibOpus, settings: OpusSettings) -> None:
        self._library = library
        self._frame_samples = settings.frame_samples
        self._limit = settings.sample_rate_hz * MAX_FRAME_MS // 1000
        error = ctypes.c_int()
        self._handle = ctypes.c_void_p(
            library.functions.opus_decoder_create(settings.sample_rate_hz, 1, ctypes.byref(error))
        )
        library.check(error.value, "creating a decoder")
        weakref.finalize(self, library.functions.opus_decoder_destroy, self._handle)
        # Builds before 1.5 know no decoder complexity and refuse it; 0 asks for nothing they lack.
        if settings.decoder_complexity:
            code = library.functions.opus_decoder_ctl(
                self._handle, ctypes.c_int(_SET_COMPLEXITY), ctypes.c_int32(settings.decoder_complexity)
            )
            library.check(code, "setting the decoder complexity")

    def decode(self, packet: bytes | None, fec: bool = False) -> NDArray[np.float32]:
        """Sound of one packet.

        Args:
            packet: the packet, or None for a lost one, which is concealed.
            fec: ``packet`` is the one after a lost packet; decode the redundant copy of the lost one that it
                carries (or conceal, if it carries none).

        Shape: output ``[samples of the packet]``; ``[frame_samples]`` for a lost one.
        """
        lost = packet is None or fec
        room = self._frame_samples if lost else self._limit
        samples = np.empty(room, dtype=np.float32)
        count = self._library.functions.opus_decode_float(
            self._handle, packet, len(packet or b""), samples.ctypes.data_as(_FLOATS), room, int(fec)
        )
        decoded: NDArray[np.float32] = samples[: self._library.check(count, "decoding")].copy()
        return decoded

    def has_fec(self, packet: bytes) -> bool:
        """Whether a packet carries an in-band copy of the one before; False where the library cannot tell."""
        if not self._library.can_decode_dred:
            return False
        return bool(self._library.functions.opus_packet_has_lbrr(packet, len(packet)))

    def decode_dred(self, reader: DredReader, back_samples: int) -> NDArray[np.float32]:
        """Sound of a lost packet that began so many samples before the packet that ``reader`` has read.

        Shape: output ``[frame_samples]``.
        """
        samples = np.empty(self._frame_samples, dtype=np.float32)
        count = self._library.functions.opus_decoder_dred_decode_float(
            self._handle, reader.parsed, back_samples, samples.ctypes.data_as(_FLOATS), self._frame_samples
        )
        self._library.check(count, "decoding deep redundancy")
        return samples


class DredReader:
    """Deep redundancy: what a packet that came says of those before it, which did not.

    Raises:
        OpusError: the library has none.
    """

    def __init__(self, library: LibOpus, sample_rate_hz: int) -> None:
        if not library.has_deep_redundancy:
            raise OpusError(f"{library.version} at {library.path} was built without DRED: see bench/build_opus.sh.")
        self._library = library
        self._sample_rate_hz = sample_rate_hz
        functions = library.functions
        error = ctypes.c_int()
        self._decoder = ctypes.c_void_p(functions.opus_dred_decoder_create(ctypes.byref(error)))
        library.check(error.value, "creating a decoder of deep redundancy")
        weakref.finalize(self, functions.opus_dred_decoder_destroy, self._decoder)
        self.parsed = ctypes.c_void_p(functions.opus_dred_alloc(ctypes.byref(error)))
        library.check(error.value, "allocating deep redundancy")
        weakref.finalize(self, functions.opus_dred_free, self.parsed)

    def read(self, packet: bytes, longest_samples: int) -> int:
        """Parse a packet's redundancy; how many samples before its beginning that reaches, 0 where it has none."""
        end = ctypes.c_int()
        reached = self._library.functions.opus_dred_parse(
            self._decoder, self.parsed, packet, len(packet), longest_samples, self._sample_rate_hz,
            ctypes.byref(end), 0,
        )  # fmt: skip
        return max(0, int(reached))
