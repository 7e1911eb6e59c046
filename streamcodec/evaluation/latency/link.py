"""Streams that encode, serialise, parse and decode sound, packet by packet, against the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamcodec.codec.neural.encoder import FRAMES_PER_SECOND, NeuralEncoder
from streamcodec.codec.neural.tier import MonoDecoder, ready_runtime
from streamcodec.codec.options import DecoderOptions, NeuralOptions, PacketMode
from streamcodec.codec.packet import Packet, Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.evaluation.errors import EvaluationError
from streamcodec.evaluation.latency.stages import STAGES, StageClock
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
HOPS_PER_PACKET = 2
"""Hops of 10 ms in a packet of 20."""


def bundled_speech(rate_hz: int) -> Float32Array:
    """The speech that comes with the package, at any rate.

    Shape: output ``[n]``.
    """
    path = resources.files("streamcodec") / "demo_data" / "speech.flac"
    with path.open("rb") as file:
        samples, stored_hz = soundfile.read(file, dtype="float32", always_2d=True)
    sound = samples.mean(axis=1)
    if stored_hz != rate_hz:
        sound = soxr.resample(sound, stored_hz, rate_hz, quality="VHQ")
    return np.ascontiguousarray(sound, np.float32)


class Link:
    """One stream: an encoder and the decoder that hears it; both report their stages to ``clock`` if there is one."""

    def __init__(
        self,
        rate_hz: int,
        bitrate_bps: float,
        mode: PacketMode = "independent",
        model: str = DEFAULT_MODEL,
        backend: Backend = "auto",
        clock: StageClock | None = None,
    ) -> None:
        sends = NeuralOptions(
            sample_rate_hz=rate_hz, bitrate_bps=bitrate_bps, mode=mode, model=model, backend=backend
        )
        receives = DecoderOptions(Tier.NEURAL, rate_hz, model=model, backend=backend)
        runtime = ready_runtime(model, backend)
        if clock is not None:
            runtime = clock.trace(runtime)
        self.clock = clock
        self.encoder = StreamEncoder.of(sends, NeuralEncoder(sends, runtime))
        self.decoder = StreamDecoder.of(receives, MonoDecoder(receives, runtime))
        self.blocks = blocks_of(bundled_speech(rate_hz), self.encoder.block_samples)


def blocks_of(sound: Float32Array, block_samples: int) -> Float32Array:
    """Whole packets of a sound.

    Shape: ``[n]`` -> ``[packets, block_samples]``.
    """
    packets = sound.size // block_samples
    return sound[: packets * block_samples].reshape(packets, block_samples)


@dataclass
class PacketTimes:
    """What a run took, per packet, told per hop.

    Shape: all times ``[packets]``, in milliseconds per 10 ms of sound.
    """

    encode_ms: Float64Array
    decode_ms: Float64Array
    payload_bytes: int
    stage_ms: dict[str, Float64Array] = field(default_factory=dict)

    @property
    def total_ms(self) -> Float64Array:
        """Encode and decode of the same packet.

        Shape: ``[packets]``.
        """
        return self.encode_ms + self.decode_ms

    @property
    def payload_bps(self) -> float:
        """Coded bits per second of sound."""
        return 8.0 * self.payload_bytes * FRAMES_PER_SECOND / self.encode_ms.size


def run(links: list[Link], packets: int, paced: bool = False) -> PacketTimes:
    """``packets`` packets, the links taking turns; ``paced`` sleeps until each is due, as a live stream does."""
    encode_s, decode_s = np.zeros(packets), np.zeros(packets)
    payload_bytes = 0
    due = time.perf_counter()
    for k in range(packets):
        link = links[k % len(links)]
        block = link.blocks[(k // len(links)) % len(link.blocks)]
        if paced:
            due += 1.0 / FRAMES_PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        packet = link.encoder.push(block)[0]
        data = packet.to_bytes()
        between = time.perf_counter()
        link.decoder.push(data)
        decode_s[k] = time.perf_counter() - between
        encode_s[k] = between - began
        payload_bytes += len(packet.payload)
    per_hop_ms = 1000.0 / HOPS_PER_PACKET
    return PacketTimes(encode_s * per_hop_ms, decode_s * per_hop_ms, payload_bytes)


def run_by_stage(link: Link, packets: int) -> PacketTimes:
    """The same of a link with a clock, and the time of each stage, for which every call costs about 0.3 us more.

    What the stages leave of encoder and decoder is the Python between them: stages ``encode.rest``, ``decode.rest``.
    """
    clock = link.clock
    if clock is None:
        raise EvaluationError("stages are timed on a link that was made with a clock: Link(..., clock=StageClock())")
    clock.take()
    to_bytes, from_bytes = (clock.timed("packet", each) for each in (Packet.to_bytes, Packet.from_bytes))
    encode_s, decode_s = np.zeros(packets), np.zeros(packets)
    stage_s = {stage: np.zeros(packets) for stage in STAGES}
    payload_bytes = 0
    for k in range(packets):
        block = link.blocks[k % len(link.blocks)]
        clock.side = "encode"
        began = time.perf_counter()
        packet = link.encoder.push(block)[0]
        data = to_bytes(packet)
        between = time.perf_counter()
        clock.side = "decode"
        link.decoder.push(from_bytes(data))
        decode_s[k] = time.perf_counter() - between
        encode_s[k] = between - began
        payload_bytes += len(packet.payload)
        for stage, seconds in clock.take().items():
            stage_s[stage][k] = seconds
    per_hop_ms = 1000.0 / HOPS_PER_PACKET
    times = PacketTimes(encode_s * per_hop_ms, decode_s * per_hop_ms, payload_bytes)
    times.stage_ms = {stage: seconds * per_hop_ms for stage, seconds in stage_s.items()}
    for side, whole_ms in (("encode", times.encode_ms), ("decode", times.decode_ms)):
        parts = sum(times.stage_ms[stage] for stage in STAGES if stage.startswith(side))
        times.stage_ms[f"{side}.rest"] = whole_ms - parts
    return times
