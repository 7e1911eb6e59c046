"""streamcodec itself as a codec under test."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from streamcodec.codec.oneshot import EncodedAudio, decode_array, encode_array
from streamcodec.codec.packet import Packet
from streamcodec.evaluation.systems import ArrayCodec, System
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

DEFAULT_RATES_KBPS = (1.5, 3.0, 6.0, 9.0, 12.0)


def packets_of(encoded: EncodedAudio) -> list[Packet]:
    """Packets of a whole sound, without their times."""
    return [timed.packet for timed in encoded.packets]


def streamcodec_systems(rates_kbps: Sequence[float] = DEFAULT_RATES_KBPS, model: str = DEFAULT_MODEL) -> list[System]:
    """The neural tier with packets that decode alone, and with context across packets.

    Raises:
        ModelError: no such model; said here, before an evaluation starts.
    """
    name_of_model = load_model(model).name
    decode = functools.partial(decode_array, model=model)
    return [
        System(
            name,
            ArrayCodec(functools.partial(encode_array, mode=mode, model=model), decode, packets_of),
            tuple(rates_kbps),
            f"model {name_of_model}, {mode} packets",
        )
        for name, mode in (("streamcodec", "independent"), ("streamcodec stream", "stream"))
    ]
