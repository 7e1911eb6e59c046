"""streamcodec itself as a codec under test."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from streamcodec.codec.files.oneshot import FILE_PACKET_MS, EncodedAudio, decode_array, encode_array
from streamcodec.codec.options import PacketMode
from streamcodec.codec.packet import Packet
from streamcodec.evaluation.systems import ArrayCodec, System
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

DEFAULT_RATES_KBPS = (1.5, 3.0, 6.0, 9.0, 12.0)


@dataclass(frozen=True)
class PacketForm:
    """How sound is put into packets."""

    name: str
    mode: PacketMode
    packet_ms: int
    look_ahead: bool = False

    def __str__(self) -> str:
        return f"{self.mode} packets of {self.packet_ms} ms" + (", rate spread ahead" if self.look_ahead else "")


PACKET_FORMS = (
    PacketForm("streamcodec", "independent", 20),
    PacketForm("streamcodec 60 ms", "independent", FILE_PACKET_MS),
    PacketForm("streamcodec file", "stream", FILE_PACKET_MS, look_ahead=True),
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
            form.name,
            ArrayCodec(
                functools.partial(
                    encode_array, mode=form.mode, packet_ms=form.packet_ms, look_ahead=form.look_ahead, model=model
                ),
                decode,
                packets_of,
            ),
            tuple(rates_kbps),
            f"model {name_of_model}, {form}",
        )
        for form in PACKET_FORMS
    ]
