"""Many streams stepped at once: for servers that hear, mix or transcode calls.

The networks, four fifths of the cost of a stream alone, read their weights once for all streams in step; the integer
coding around them is each stream's own. A slot of the pool holds an ordinary encoder and an ordinary decoder whose
networks' state is a row of the pool's arrays, so a stream in a pool and a stream alone are the same code.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamcodec.codec.audio_format import check_sound
from streamcodec.codec.neural.encoder import NeuralEncoder
from streamcodec.codec.neural.tier import MonoDecoder, ready_runtime
from streamcodec.codec.options import DecoderOptions, NeuralOptions, PacketMode, Samples, check_whole
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder, frames_of
from streamcodec.errors import AudioFormatError, PoolError
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.step import THREADS_PER_STREAM, Rows, StepRow, StepStreams


@dataclass
class _Member:
    """One slot in use: the encoder and decoder that callers see, and the coders in them that the pool steps."""

    encoder: StreamEncoder
    decoder: StreamDecoder
    sending: NeuralEncoder
    receiving: MonoDecoder


class _Left:
    """In place of the coder of an encoder or decoder whose stream has left the pool."""

    def __getattr__(self, name: str) -> Any:
        raise PoolError("this stream has left its pool: join() makes another, which goes on from a state kept before")


class StreamPool:
    """Up to ``capacity`` independent streams of the neural tier, each with an encoder and a decoder.

    Streams join and leave between any two packets; nothing is compiled, loaded or captured anew for it. Any of them
    may sit out a step; none hears another, and what one loses costs the others nothing. Packets are those of
    :class:`StreamEncoder`; every decoder hears every encoder. Not for two threads at once: give each thread a pool.

    ``threads`` are the threads of one step of the networks; ``backend`` as for :class:`StreamEncoder`
    (``"torch-cuda"`` steps all slots in one CUDA graph). Errors: ModelError, BackendError; PoolError for a slot that
    is not in use, and where none is free.
    """

    def __init__(
        self,
        capacity: int,
        *,
        model: str = DEFAULT_MODEL,
        backend: Backend = "auto",
        threads: int = THREADS_PER_STREAM,
    ) -> None:
        capacity = check_whole("capacity", capacity, PoolError)
        threads = check_whole("threads", threads, PoolError)
        if capacity < 1 or threads < 1:
            raise PoolError(f"a pool needs a capacity and threads of at least 1, got {capacity} and {threads}")
        self.capacity = capacity
        self._model, self._backend = model, backend
        self._runtime = ready_runtime(model, backend, threads)
        self._sending: StepStreams = self._runtime.encoder.new_streams(capacity)
        self._receiving: StepStreams = self._runtime.decoder.new_streams(capacity)
        self._members: dict[int, _Member] = {}
        self._free = list(range(capacity))

    def __len__(self) -> int:
        """Streams in the pool."""
        return len(self._members)

    def __contains__(self, slot: object) -> bool:
        """Whether a slot is in use."""
        return slot in self._members

    def join(
        self,
        sample_rate_hz: int = 24_000,
        bitrate_bps: float | None = None,
        *,
        mode: PacketMode | None = None,
        constrained: bool = False,
        dtx: bool = False,
        packet_ms: int | None = None,
        post_filter: bool = True,
    ) -> int:
        """Let a new stream in, at the start of its sound; returns its slot, the lowest that is free.

        Arguments as for :class:`StreamEncoder` and :class:`StreamDecoder`: servers that code again what they have
        decoded leave ``post_filter`` out. Errors: PoolError where the pool is full, AudioFormatError, BitrateError.
        """
        if not self._free:
            raise PoolError(f"all {self.capacity} slots of the pool are in use: let one leave, or make a larger pool")
        sends = NeuralOptions(
            sample_rate_hz=sample_rate_hz,
            bitrate_bps=bitrate_bps,
            mode=mode,
            constrained=constrained,
            dtx=dtx,
            packet_ms=packet_ms,
            model=self._model,
            backend=self._backend,
        )
        receives = DecoderOptions(
            Tier.NEURAL, sample_rate_hz, model=self._model, backend=self._backend, post_filter=post_filter
        )
        slot = self._free[0]
        sending = NeuralEncoder(sends, self._runtime, StepRow(self._sending, slot))
        receiving = MonoDecoder(receives, self._runtime, StepRow(self._receiving, slot))
        heapq.heappop(self._free)
        self._members[slot] = _Member(
            StreamEncoder.of(sends, sending), StreamDecoder.of(receives, receiving), sending, receiving
        )
        return slot

    def leave(self, slot: int) -> None:
        """Let a stream go; its slot may be taken by the next to join."""
        member = self._member(slot)
        del self._members[slot]
        # Whoever kept them must not go on in the next stream's row.
        member.encoder._coder = member.decoder._coder = _Left()
        heapq.heappush(self._free, slot)

    def encoder(self, slot: int) -> StreamEncoder:
        """A stream's encoder: for its rate, a reset, ``flush`` before it leaves, and its state, which any
        StreamEncoder of these settings takes. Sound goes through :meth:`encode`."""
        return self._member(slot).encoder

    def decoder(self, slot: int) -> StreamDecoder:
        """A stream's decoder, likewise."""
        return self._member(slot).decoder

    def encode(self, blocks: Mapping[int, object]) -> dict[int, Packet | None]:
        """Packets of one block for each stream named; None where ``dtx`` sends nothing.

        Streams not named stay as they are. An error (AudioFormatError, PoolError) leaves all of them as they were.

        Shape: each block ``[block_samples]`` or ``[block_samples, channels]``, as for :meth:`StreamEncoder.push`;
        one packet, so 20 ms unless the stream joined with another ``packet_ms``.
        """
        members = self._named(blocks, "blocks of sound")
        whole = {slot: _whole_block(member.encoder, slot, blocks[slot]) for slot, member in members.items()}
        sound = {slot: member.encoder.accept(whole[slot]) for slot, member in members.items()}
        for k in range(max((m.sending.frames for m in members.values()), default=0)):
            in_step = {slot: member for slot, member in members.items() if k < member.sending.frames}
            for slot, member in in_step.items():
                member.sending.prepare(k, sound[slot])
            self._sending.step(_rows(in_step))
            for member in in_step.values():
                member.sending.collect(k)
        return {slot: member.encoder.number(member.sending.finish()) for slot, member in members.items()}

    def decode(
        self,
        packets: Mapping[int, Packet | bytes | None],
        following: Mapping[int, Packet | bytes] | None = None,
    ) -> dict[int, Samples]:
        """Sound of the packet's frames of each stream named; ``None`` says that its next frame (20 ms) is lost.

        ``following`` has, for streams of which it is known, the next packet that is there after a gap. Streams not
        named stay as they are. Damaged packets count as lost: see :meth:`StreamDecoder.push`.

        Shape: each output float32 ``[frames * block_samples]``, within full scale.
        """
        members = self._named(packets, "packets")
        frames = {slot: frames_of(packets[slot]) for slot in members}
        known = {} if following is None else following
        behind = {
            slot: frames_of(known[slot])[0]
            for slot in self._named(known, "following packets")
            if slot in packets and packets[slot] is None
        }
        heard: dict[int, list[Samples]] = {slot: [] for slot in members}
        for k in range(max(map(len, frames.values()), default=0)):
            in_step = {slot: member for slot, member in members.items() if k < len(frames[slot])}
            for slot, member in in_step.items():
                if not member.receiving.prepare(frames[slot][k], behind.get(slot)):
                    member.decoder.concealed += 1
            self._receiving.step(_rows(in_step))
            for slot, member in in_step.items():
                heard[slot].append(member.receiving.finish())
        return {slot: blocks[0] if len(blocks) == 1 else np.concatenate(blocks) for slot, blocks in heard.items()}

    def _named(self, by_slot: Mapping[int, object], what: str) -> dict[int, _Member]:
        if not isinstance(by_slot, Mapping):
            raise PoolError(f"a pool takes {what} by slot, as a dict, got {type(by_slot).__name__}")
        members = {slot: self._member(slot) for slot in by_slot}
        return {slot: members[slot] for slot in sorted(members)}

    def _member(self, slot: int) -> _Member:
        if isinstance(slot, bool) or not isinstance(slot, int | np.integer):
            raise PoolError(f"a slot is the whole number that join() gave, got {slot!r}")
        member = self._members.get(int(slot))
        if member is None:
            raise PoolError(f"slot {slot!r} of the pool is not in use: join() gives one")
        return member


def _rows(slots: Iterable[int]) -> Rows:
    return np.fromiter(slots, np.int64)


def _whole_block(encoder: StreamEncoder, slot: int, samples: object) -> Samples:
    """The block as it came: whoever takes it in has changed."""
    block = check_sound(samples)
    if len(block) != encoder.block_samples:
        raise AudioFormatError(
            f"slot {slot} takes {encoder.block_samples} samples (one packet) at a time, got {len(block)}: "
            "collect whole blocks"
        )
    return block
