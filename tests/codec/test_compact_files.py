"""The compact form of ``.sc`` files: few bytes beside the packets, read as safely as the usual one."""

from __future__ import annotations

import io
import random
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import FileFormatError, Packet, PacketFlags, Tier, decode_file, encode_file, transcode_file
from streamcodec.codec.files.container import FileHeader, TimedPacket
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter

HEADER = FileHeader(Tier.NEURAL, 24_000, 1, 50.0, 0, "speech-24k", bitstream="neural-1-00000000", compact=True)
KEY, NONE = PacketFlags.KEY, PacketFlags.NONE


def written(packets: list[TimedPacket], header: FileHeader = HEADER) -> bytes:
    out = io.BytesIO()
    writer = FileWriter(out, header)
    for timed in packets:
        writer.write(timed.time, timed.packet)
    last = packets[-1]
    writer.close(480 * (last.time + last.packet.frames))
    return out.getvalue()


def long_packets(count: int, key_every: int = 83) -> list[TimedPacket]:
    """Packets of 120 ms as at 1 kbps, quality indices as rate control dithers them."""
    rng = random.Random(1)
    return [
        TimedPacket(
            time := 6 * k,
            Packet(
                Tier.NEURAL,
                time % 65_536,
                time % 65_536,
                rng.randrange(2),
                NONE if k % key_every else KEY,
                rng.randbytes(rng.randrange(8, 28)),
                frames=6,
            ),
        )
        for k in range(count)
    ]


def read(data: bytes) -> list[TimedPacket]:
    return list(FileReader(io.BytesIO(data)).packets())


def test_packets_come_back_whatever_changes_between_them() -> None:
    rng = random.Random(2)
    packets, time = [], 0
    for k in range(1_500):
        frames = rng.choice((1, 1, 1, 3, 6))
        flags = KEY if k == 0 or rng.random() < 0.1 else rng.choice((NONE, NONE, PacketFlags.SILENCE | KEY))
        payload = rng.randbytes(rng.choice((0, 5, 31, 32, 200)))
        packet = Packet(Tier.NEURAL, time % 65_536, time % 65_536, rng.randrange(16), flags, payload, frames=frames)
        packets.append(TimedPacket(time, packet))
        time += frames + rng.choice((0, 0, 0, 20))
    reader = FileReader(io.BytesIO(written(packets)))
    assert reader.header == HEADER
    assert list(reader.packets()) == packets


def test_the_layout_is_that_of_the_docs() -> None:
    packets = [
        TimedPacket(0, Packet(Tier.NEURAL, 0, 0, 1, KEY, b"abc", frames=6)),
        TimedPacket(6, Packet(Tier.NEURAL, 6, 6, 1, NONE, b"de", frames=6)),
        TimedPacket(12, Packet(Tier.NEURAL, 12, 12, 2, NONE, b"f", frames=6)),
        TimedPacket(18, Packet(Tier.NEURAL, 18, 18, 1, NONE, b"", frames=6)),
    ]
    data = written(packets)
    header = b'{"r":24000,"b":"neural-1-00000000"}'
    assert data.startswith(b"SCF2" + bytes([len(header)]) + header)
    body = b"\x00\x04" + b"\x0f\x00\x91\x06abc" + b"\x0b\x00\x01de" + b"\x05f" + b"\x02"
    assert data[9 + len(header) :].startswith(b"\xc5SC\x0a" + len(body).to_bytes(4, "big") + body)
    assert read(data) == packets


def test_a_minute_of_packets_takes_little_more_than_a_byte_each() -> None:
    packets = long_packets(500)
    beside = len(written(packets)) - sum(len(timed.packet.payload) for timed in packets)
    assert beside < 500 + 340
    usual = FileHeader(**{**HEADER.__dict__, "compact": False})
    assert len(written(packets, usual)) - len(written(packets)) > 1_000


def test_clusters_are_of_ten_seconds_and_seeking_begins_in_the_one_that_holds_the_time() -> None:
    packets = long_packets(500)
    data = written(packets)
    times = [time for _, time in FileReader(io.BytesIO(data)).index]
    assert times == list(range(0, 3_000, 6 * 83))
    for time in (0, 497, 498, 1_700, 2_999):
        first = next(FileReader(io.BytesIO(data)).packets(from_time=time))
        assert first.packet.is_key
        assert time - 500 < first.time <= time


def test_clusters_begin_after_nine_seconds_where_every_packet_is_a_key() -> None:
    index = FileReader(io.BytesIO(written(long_packets(500, key_every=1)))).index
    assert [time for _, time in index] == list(range(0, 3_000, 450))


def test_damage_and_a_killed_writer_cost_the_cluster_they_meet() -> None:
    packets = long_packets(500)
    data = written(packets)
    offset, first = FileReader(io.BytesIO(data)).index[2]
    damaged = bytearray(data)
    damaged[offset + 40] ^= 0xFF
    assert read(bytes(damaged)) == [timed for timed in packets if not first <= timed.time < first + 498]
    assert read(data[: offset + 100]) == [timed for timed in packets if timed.time < first]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"SCF2" + bytes([0xFF] * 40), "claims a header"),
        (b"SCF2" + b"\x80\x80\x08" + bytes(40), "claims a header of 131072"),
        (b"SCF2" + b"\x0a" + bytes(40), "checksum"),
        (b"SCF3" + b"\x0a" + bytes(40), "'SCF1' or 'SCF2'"),
    ],
)
def test_an_unusable_header_is_a_clear_error(data: bytes, says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        FileReader(io.BytesIO(data))


@pytest.mark.parametrize("text", ["[]", "1", '"r"', '{"r":"x"}', '{"t":"neural"}', "{"])
def test_a_header_of_nonsense_is_a_typed_error(text: str) -> None:
    with pytest.raises(FileFormatError):
        FileHeader.from_json(text, compact=True)


def test_fuzzed_files_give_packets_or_a_typed_error() -> None:
    data = written(long_packets(120, key_every=40))
    rng = random.Random(3)
    survived = 0
    for _ in range(3_000):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            found = read(bytes(damaged[: rng.randrange(60, len(damaged))] if rng.random() < 0.3 else damaged))
        except FileFormatError:
            continue
        survived += 1
        assert len(found) <= 120
        assert all(a.time < b.time for a, b in pairwise(found))
    assert survived > 1_000


def test_a_file_of_one_kilobit_is_one_with_everything_counted(speech_file: Path, tmp_path: Path) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    sound = np.tile(speech, 3)[: 12 * rate_hz]
    soundfile.write(tmp_path / "a.wav", sound, rate_hz)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_file(tmp_path / "a.wav", tmp_path / "a.sc", 1_000)
    assert 0.94 * 12_000 < 8 * (tmp_path / "a.sc").stat().st_size <= 12_000
    assert decode_file(tmp_path / "a.sc", tmp_path / "b.wav") == len(sound)
    transcode_file(tmp_path / "a.sc", tmp_path / "c.wav")
    assert soundfile.info(tmp_path / "c.wav").frames == len(sound)


def test_usual_rates_have_the_usual_form(speech_file: Path, tmp_path: Path) -> None:
    for kbps, magic in ((1.9, b"SCF2"), (2.0, b"SCF1")):
        encode_file(speech_file, tmp_path / "a.sc", 1_000 * kbps)
        assert (tmp_path / "a.sc").read_bytes()[:4] == magic
