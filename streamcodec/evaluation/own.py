"""streamcodec itself as a codec under test."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from streamcodec.codec.oneshot import FILE_PACKET_MS, EncodedAudio, decode_array, encode_array
from streamcodec.codec.packet import Packet
from streamcodec.codec.tiers import PacketMode
from streamcodec.evaluation.systems import ArrayCodec, System
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

DEFAULT_RATES_KBPS = (1.5, 3.0, 6.0, 9.0, 12.0)
OWN_MODES: tuple[tuple[str, PacketMode, int], ...] = (
    ("streamcodec", "independent", 20),
    ("streamcodec 60 ms", "independent", FILE_PACKET_MS),
    ("streamcodec file", "stream", FILE_PACKET_MS),
)


def packets_of(encoded: EncodedAudio) -> list[Packet]:
    """Packets of a whole sound, without their times."""
    return [timed.packet for timed in encoded.packets]


def streamcodec_systems(rates_kbps: Sequence[float] = DEFAULT_RATES_KBPS, model: str = DEFAULT_MODEL) -> list[System]:
    """The neural tier with packets that decode alone, of 20 ms and of 60 ms, and as files have it.

    Raises:
        ModelError: no such model; said here, before an evaluation starts.
    """
    name_of_model = load_model(model).name
    decode = functools.partial(decode_array, model=model)
    return [
        System(
            name,
            ArrayCodec(
                functools.partial(encode_array, mode=mode, packet_ms=packet_ms, model=model), decode, packets_of
            ),
            tuple(rates_kbps),
            f"model {name_of_model}, {mode} packets of {packet_ms} ms",
        )
        for name, mode, packet_ms in OWN_MODES
    ]
