"""Codes: the indices of a fixed quality index as integer arrays, for models that learn to hear or to speak.

A row of a batch, a sound alone and a stream fed piece by piece give the same integers and the same samples, bit for
bit: all of them step the networks frame by frame at one width, ``rows``, so that what else is in a batch changes no
sum. (Several streams in one matrix product are added up in another order than one alone; that is why the width is
fixed.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import as_array
from streamcodec.codec.latents import EncoderRows
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.encoder import FRAMES_PER_SECOND, RECEIVER_LAG_MS
from streamcodec.codec.neural.model import LatentContext, NeuralModel
from streamcodec.codec.neural.packet_coder import PacketCoder
from streamcodec.codec.neural.tier import MonoDecoder, ready_runtime
from streamcodec.codec.options import DecoderOptions, NeuralOptions, PacketMode, check_mode, check_whole
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, PacketFlags, Tier
from streamcodec.errors import AudioFormatError, PacketError
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.step import StepRow

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
DEFAULT_QUALITY_INDEX = 8
GPU_ROWS = 32
"""Sounds of a batch that are stepped together on a GPU; on a CPU one alone is as fast."""


class LatentCodec:
    """Sound to codes ``[batch, time, latents]`` and back, for one model at one quality index.

    ``quality_index`` is 0 (coarsest) to 15 (finest); 50 frames of :attr:`latents` codes make a second. Codes are
    small integers around 0; ``codes * steps`` are the latents that the decoder network is fed. Torch tensors come
    back as tensors on the device they came from (codes as int64), anything else as arrays (codes as int32).

    ``backend`` as for :class:`StreamEncoder`; ``rows`` sounds are stepped together, 1 on a CPU unless said otherwise.
    Codes of different backends, or of different ``rows``, may differ by one here and there; within one they never do.
    Not for two threads at once.

    Errors: AudioFormatError on arguments that do not fit, BackendError, ModelError.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        quality_index: int = DEFAULT_QUALITY_INDEX,
        sample_rate_hz: int = 24_000,
        backend: Backend = "auto",
        rows: int | None = None,
    ) -> None:
        quality_index = check_whole("quality_index", quality_index)
        self._options = NeuralOptions(sample_rate_hz=sample_rate_hz, model=model, backend=backend)
        self._runtime = ready_runtime(model, backend)
        config = self._runtime.model.config
        if not 0 <= quality_index < config.qualities:
            raise AudioFormatError(f"quality_index must be 0 to {config.qualities - 1}, got {quality_index}")
        self.rows = (GPU_ROWS if backend == "torch-cuda" else 1) if rows is None else check_whole("rows", rows)
        if self.rows < 1:
            raise AudioFormatError(f"rows must be at least 1, got {rows}")
        self.quality_index = quality_index
        self.sample_rate_hz = self._options.sample_rate_hz
        self.latents = config.latents
        """Codes of one frame."""
        self.frames_per_second = FRAMES_PER_SECOND
        self.frame_samples = self.sample_rate_hz // FRAMES_PER_SECOND
        """Samples of one frame at ``sample_rate_hz``."""
        step = self._runtime.tables.step[quality_index]
        self.steps: Float32Array = step.astype(np.float32) / np.float32(1 << entropy.STEP_BITS)
        """What one unit of each code stands for; ``[latents]``."""
        self._encoders = EncoderRows(self._options, self._runtime, self.rows)
        self._decoders = _Decoders(self._options, self._runtime, self.rows)
        self.encoder_delay_samples = self._encoders.members[0].delay_samples
        self.decoder_delay_samples = self._decoders.members[0].delay_samples

    @classmethod
    def from_pretrained(cls, name_or_folder: str = DEFAULT_MODEL, **options: Any) -> LatentCodec:
        """A shipped model by its name, or one of your own by its folder; ``options`` as for the class itself."""
        return cls(str(name_or_folder), **options)

    @property
    def delay_samples(self) -> int:
        """By how much a streamed sound, decoded, lags what went in (:meth:`decode` takes it away)."""
        return self.encoder_delay_samples + self.decoder_delay_samples

    def frames(self, samples: int) -> int:
        """Frames that :meth:`encode` makes of so many samples: enough for a decoder to give out the last one."""
        needed = samples + self.encoder_delay_samples + int(RECEIVER_LAG_MS * self.sample_rate_hz / 1000.0)
        return -(-needed // self.frame_samples)

    def encode(self, samples: Any) -> Any:
        """Codes of whole sounds.

        Sounds of different lengths come as a list and are filled up with silence; :meth:`frames` tells how many
        frames belong to each.

        Shape: ``[n]`` -> ``[time, latents]``; ``[batch, n]``, or a list of ``[n]`` -> ``[batch, time, latents]``.
        """
        single = False
        if isinstance(samples, list | tuple):
            sounds, like = [_sound(one) for one in samples], samples[0] if samples else None
            if any(sound.ndim != 1 for sound in sounds):
                raise AudioFormatError("a list of sounds holds one [n] for each; mix channels down first")
        else:
            whole, like = _sound(samples), samples
            single = whole.ndim == 1
            sounds = [whole] if single else list(whole)
        longest = max((len(sound) for sound in sounds), default=0)
        codes = np.zeros((len(sounds), self.frames(longest), self.latents), np.int32)
        for first in range(0, len(sounds), self.rows):
            self._encoders.reset()
            some = np.zeros((self.rows, codes.shape[1] * self.frame_samples), np.float32)
            for row, sound in enumerate(sounds[first : first + self.rows]):
                some[row, : len(sound)] = self._encoders.members[row].accept(sound)
            found = self._encoders.latents(some.reshape(self.rows, codes.shape[1], self.frame_samples))
            codes[first : first + self.rows] = self.quantise(found[: len(sounds) - first])
        return _as(like, codes[0] if single else codes)

    def decode(self, codes: Any, samples: int | None = None) -> Any:
        """Sound of codes, in line with what was encoded: the codec's delay is taken away in front.

        Without ``samples`` (how many went in) it is as long as the codes last.

        Shape: ``[time, latents]`` -> ``[n]``; ``[batch, time, latents]`` -> ``[batch, n]``; float32.
        """
        array = self._checked(codes)
        batch = array if array.ndim == 3 else array[np.newaxis]
        length = batch.shape[1] * self.frame_samples
        sound = np.zeros((len(batch), length + self.decoder_delay_samples), np.float32)
        for first in range(0, len(batch), self.rows):
            some = batch[first : first + self.rows]
            self._decoders.reset()
            filled = np.zeros((self.rows, *batch.shape[1:]), np.int32)
            filled[: len(some)] = some
            sound[first : first + self.rows, :length] = self._decoders.sound(filled, self.quality_index)[: len(some)]
            for row in range(len(some)):
                sound[first + row, length:] = self._decoders.members[row].drain()
        sound = sound[:, self.delay_samples :]
        if samples is not None:
            samples = check_whole("samples", samples)
            if not 0 <= samples <= sound.shape[1]:
                raise AudioFormatError(f"these codes hold {sound.shape[1]} samples, asked for were {samples}")
            sound = sound[:, :samples]
        return _as(codes, sound if array.ndim == 3 else sound[0])

    def encoder(self) -> CodeEncoder:
        """A stream of sound to codes."""
        return CodeEncoder(self, EncoderRows(self._options, self._runtime, self.rows))

    def decoder(self) -> CodeDecoder:
        """A stream of codes to sound."""
        return CodeDecoder(self, _Decoders(self._options, self._runtime, self.rows))

    def quantise(self, latents: Float32Array) -> Int32Array:
        """Codes of latents, rounded as a packet's are.

        Shape: ``[..., latents]`` -> the same.
        """
        step = self._runtime.tables.step[self.quality_index]
        scaled = latents.astype(np.float64) * (float(1 << entropy.STEP_BITS) / step)
        limited = np.clip(scaled, -float(entropy.MAX_INDEX), float(entropy.MAX_INDEX))
        return np.asarray(np.floor(limited + 0.5), np.int32)

    def to_packets(self, codes: Any, mode: PacketMode = "independent") -> list[Packet]:
        """The packets of one sound's codes, one a frame, as any :class:`StreamDecoder` of the model plays them.

        In stream mode the first alone is a key packet. Errors: AudioFormatError for other codes or another mode.

        Shape: ``[time, latents]``.
        """
        check_mode(mode)
        array = self._checked(codes)
        if array.ndim != 2:
            raise AudioFormatError(f"packets are made of one sound's codes, [time, latents], got shape {array.shape}")
        coder, context = PacketCoder(self._runtime), LatentContext(self.latents)
        packets = []
        for time, frame in enumerate(array):
            key = mode == "independent" or time == 0
            if key:
                context.forget()
            payload = coder.code((frame * self.steps)[np.newaxis].astype(np.float32), self.quality_index, context)
            number = time % SEQUENCE_MODULUS
            flags = PacketFlags.KEY if key else PacketFlags.NONE
            packets.append(Packet(Tier.NEURAL, number, number, self.quality_index, flags, payload))
        return packets

    def from_packets(self, packets: Iterable[Packet]) -> Int32Array:
        """Codes of the packets of one stream, in order; all must be of this quality index.

        Packets of quiet sound say by how much it was raised before coding (``native_dsp.filters.lift``), codes do
        not: :meth:`decode` plays it as it was coded, 12 to 36 dB louder. Nor do codes hold steady tones
        that packets tell beside them (``native_dsp.filters.tones``).

        Errors: AudioFormatError for others, and for packets that cannot be decoded; PacketError for what are none.

        Shape: output ``[time, latents]``.
        """
        reader = NeuralDecoder(self._runtime)
        frames = []
        for packet in packets if isinstance(packets, Iterable) else (packets,):
            if not isinstance(packet, Packet):
                raise PacketError(
                    f"codes are read from a list of Packet objects, got {type(packet).__name__}: Packet.from_bytes "
                    "makes one of bytes"
                )
            for frame in packet.each_frame():
                indices = reader.indices_of(frame)
                if indices is None or packet.quality_index != self.quality_index:
                    raise AudioFormatError(
                        f"packet {packet.sequence} is no packet of quality index {self.quality_index} that follows "
                        "the one before: codes have one quality index, and streams are coded at many"
                    )
                frames.append(indices.copy())
        return np.stack(frames) if frames else np.zeros((0, self.latents), np.int32)

    def _checked(self, codes: object) -> Int32Array:
        array = as_array(codes)
        if array.ndim not in (2, 3) or array.shape[-1] != self.latents:
            raise AudioFormatError(
                f"codes are [time, {self.latents}] or [batch, time, {self.latents}], got shape {array.shape}"
            )
        if array.dtype.kind not in "iu":
            raise AudioFormatError(f"codes are integers, got {array.dtype}: round them first")
        if array.size and max(int(array.max()), -int(array.min())) > entropy.MAX_INDEX:
            raise AudioFormatError(f"codes are -{entropy.MAX_INDEX} to {entropy.MAX_INDEX}")
        return array.astype(np.int32)


class CodeEncoder:
    """One stream of sound to codes, piece by piece: made by :meth:`LatentCodec.encoder`."""

    def __init__(self, codec: LatentCodec, encoders: EncoderRows) -> None:
        self._codec, self._encoders = codec, encoders
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._encoders.reset()
        self._pending = np.zeros(0, np.float32)
        self._taken = self._given = 0

    def push(self, samples: Any) -> Any:
        """Codes of the frames that these samples complete.

        Shape: ``[n]``, n >= 0 -> ``[frames, latents]``.
        """
        sound = self._encoders.members[0].accept(_sound(samples))
        self._taken += len(sound)
        return _as(samples, self._encode(sound))

    def flush(self) -> Any:
        """Codes of what is still inside, so that a decoder gives out every sample pushed; the stream ends.

        Shape: output ``[frames, latents]``.
        """
        missing = self._codec.frames(self._taken) - self._given
        codes = self._encode(np.zeros(missing * self._codec.frame_samples - len(self._pending), np.float32))
        self.reset()
        return codes

    def _encode(self, sound: Float32Array) -> Int32Array:
        sound = np.concatenate([self._pending, sound])
        length = self._codec.frame_samples
        frames = len(sound) // length
        self._pending = sound[frames * length :].copy()
        blocks = np.zeros((self._codec.rows, frames, length), np.float32)
        blocks[0] = sound[: frames * length].reshape(frames, length)
        self._given += frames
        return self._codec.quantise(self._encoders.latents(blocks)[0])


class CodeDecoder:
    """One stream of codes to sound, as they come: made by :meth:`LatentCodec.decoder`."""

    def __init__(self, codec: LatentCodec, decoders: _Decoders) -> None:
        self._codec, self._decoders = codec, decoders
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._decoders.reset()

    def push(self, codes: Any) -> Any:
        """Sound of these frames; it lags what was encoded by :attr:`LatentCodec.delay_samples`.

        Shape: ``[frames, latents]`` -> ``[frames * frame_samples]``.
        """
        array = self._codec._checked(codes)
        if array.ndim != 2:
            raise AudioFormatError(f"a stream takes [frames, latents], got shape {array.shape}")
        filled = np.zeros((self._codec.rows, *array.shape), np.int32)
        filled[0] = array
        return _as(codes, self._decoders.sound(filled, self._codec.quality_index)[0])

    def flush(self) -> Float32Array:
        """The tail of the last overlap; the stream ends.

        Shape: output ``[decoder_delay_samples]``.
        """
        tail = self._decoders.members[0].drain()
        self.reset()
        return tail


class _Decoders:
    """So many decoders whose network is stepped together."""

    def __init__(self, options: NeuralOptions, runtime: NeuralModel, rows: int) -> None:
        self._streams = runtime.decoder.new_streams(rows)
        receives = DecoderOptions(Tier.NEURAL, options.sample_rate_hz, model=options.model, backend=options.backend)
        self.members: Sequence[MonoDecoder] = [
            MonoDecoder(receives, runtime, StepRow(self._streams, row)) for row in range(rows)
        ]

    def reset(self) -> None:
        for member in self.members:
            member.reset()

    def sound(self, indices: Int32Array, quality_index: int) -> Float32Array:
        """Shape: ``[rows, frames, latents]`` -> ``[rows, frames * block_samples]``."""
        out = np.zeros((len(self.members), indices.shape[1], self.members[0].block_samples), np.float32)
        for time in range(indices.shape[1]):
            for row, member in enumerate(self.members):
                member.prepare_indices(indices[row, time], quality_index)
            self._streams.step()
            for row, member in enumerate(self.members):
                out[row, time] = member.finish()
        return out.reshape(len(self.members), -1)


def _sound(samples: object) -> NDArray[Any]:
    array = as_array(samples)
    if array.ndim not in (1, 2):
        raise AudioFormatError(f"codes are made of sound [n] or [batch, n], got shape {array.shape}")
    return array


def _as(like: Any, array: NDArray[Any]) -> Any:
    """The array, or a tensor on the device of ``like`` where that is one. torch is there if a tensor is."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(like, torch.Tensor):
        return array
    whole = array.astype(np.int64) if array.dtype.kind == "i" else array
    return torch.from_numpy(np.ascontiguousarray(whole)).to(like.device)
