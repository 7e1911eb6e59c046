"""What a codec under test is: a callable from sound and rate to decoded sound and counted bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.errors import EvaluationError

SRTP_OVERHEAD_BYTES = 50
"""Headers of one media datagram: IPv4 20, UDP 8, RTP 12, SRTP authentication tag 10."""
DIRECT_LINE_OVERHEAD_BYTES = 42
"""What a call's line adds to a packet of ours: the same 50 bytes, and the 10 around its payload become about 2."""


@dataclass(frozen=True)
class Coded:
    """Decoded sound and what it cost."""

    samples: NDArray[np.float32]
    """Mono ``[samples]``; a constant delay is allowed, the metrics remove it."""
    sample_rate_hz: int
    payload_bytes: int
    """Coded bytes alone, without packet, container or network headers."""
    packets: int
    wire_bytes: int
    """All bytes of the datagrams that would carry it."""


class CodecUnderTest(Protocol):
    """Codes and decodes one clip at a nominal rate. Must be picklable to be run by several workers."""

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: samples ``[samples]``, mono, full scale 1."""
        ...


@dataclass(frozen=True)
class System:
    """A codec with the nominal rates to run it at; one line of the rate-quality plot."""

    name: str
    codec: CodecUnderTest
    rates_kbps: tuple[float, ...]
    description: str = ""
    """Version and settings, kept in the report."""

    def __post_init__(self) -> None:
        if not self.rates_kbps or min(self.rates_kbps) <= 0:
            raise EvaluationError(f"{self.name} needs at least one rate in kbps above 0, got {self.rates_kbps}.")


class PacketLike(Protocol):
    """What the adapter counts of a packet."""

    @property
    def payload(self) -> bytes:
        """Coded bytes, the header left out."""
        ...

    def to_bytes(self) -> bytes:
        """The packet as it is sent, its header included."""
        ...


EncodedT = TypeVar("EncodedT")


@dataclass(frozen=True)
class ArrayCodec(Generic[EncodedT]):
    """Adapter from array one-shots to a codec under test; module-level functions keep it picklable."""

    encode: Callable[[NDArray[np.float32], int, float], EncodedT]
    """(samples ``[samples]``, sample_rate_hz, bitrate_bps) to whatever ``decode`` takes."""
    decode: Callable[[EncodedT], NDArray[np.float32]]
    """To samples ``[samples]`` at the rate that went in."""
    packets_of: Callable[[EncodedT], Sequence[PacketLike]]
    packets_per_datagram: int = 1
    datagram_overhead_bytes: int = DIRECT_LINE_OVERHEAD_BYTES

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Encode, decode, count."""
        encoded = self.encode(samples, sample_rate_hz, kbps * 1000)
        decoded = np.asarray(self.decode(encoded), dtype=np.float32)
        if decoded.ndim != 1:
            raise EvaluationError(f"A codec under test must give mono samples [samples], got shape {decoded.shape}.")
        packets = self.packets_of(encoded)
        datagrams = -(-len(packets) // self.packets_per_datagram)
        return Coded(
            samples=decoded,
            sample_rate_hz=sample_rate_hz,
            payload_bytes=sum(len(packet.payload) for packet in packets),
            packets=len(packets),
            wire_bytes=sum(len(packet.to_bytes()) for packet in packets) + datagrams * self.datagram_overhead_bytes,
        )
