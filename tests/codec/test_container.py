"""The ``.sc`` file: round trip, killed writers, damage, seeking, fuzz."""

from __future__ import annotations

import io
import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import FileFormatError, Packet, PacketFlags, Tier, decode_file, encode_file
from streamcodec.codec.files.container import FileHeader, TimedPacket
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter

HEADER = FileHeader(Tier.NEURAL, 24_000, 1, 50.0, 20, "speech-24k", {"title": "a title"})


def made(packets: int = 230, gap_at: int | None = None, close: bool = True) -> tuple[bytes, list[TimedPacket]]:
    out = io.BytesIO()
    writer = FileWriter(out, HEADER)
    rng = random.Random(1)
    written = []
    for k in range(packets):
        time = k + (100 if gap_at is not None and k >= gap_at else 0)
        flags = PacketFlags.KEY if k % 50 == 0 or k == gap_at else PacketFlags.NONE
        packet = Packet(Tier.NEURAL, time % 65_536, time % 65_536, k % 16, flags, rng.randbytes(k % 31))
        writer.write(time, packet)
        written.append(TimedPacket(time, packet))
    if close:
        writer.close(packets * 480)
    return out.getvalue(), written


@pytest.mark.parametrize("gap_at", [None, 70])
def test_round_trip(gap_at: int | None) -> None:
    data, written = made(gap_at=gap_at)
    reader = FileReader(io.BytesIO(data))
    assert reader.header == HEADER
    assert reader.total_samples == 230 * 480
    assert list(reader.packets()) == written


def test_packets_of_changing_length_come_back_whole() -> None:
    out = io.BytesIO()
    writer = FileWriter(out, HEADER)
    written = []
    time = 0
    for k in range(200):
        frames = (1, 3, 3, 6, 2)[k // 7 % 5]
        flags = PacketFlags.KEY if k % 20 == 0 else PacketFlags.NONE
        packet = Packet(Tier.NEURAL, time, time, k % 16, flags, bytes(k % 31), frames=frames)
        writer.write(time, packet)
        written.append(TimedPacket(time, packet))
        time += frames + (40 if k == 90 else 0)
    writer.close(time * 480)
    assert list(FileReader(io.BytesIO(out.getvalue())).packets()) == written


def test_seeking_starts_at_a_key_packet_at_or_before() -> None:
    data, written = made()
    for time in (0, 49, 50, 120, 229, 10_000):
        first = next(FileReader(io.BytesIO(data)).packets(from_time=time))
        assert first.packet.is_key
        assert first.time <= time
        assert time - first.time < 50 or time > written[-1].time


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9, 0.999])
def test_a_killed_writer_leaves_a_readable_file(cut: float) -> None:
    data, written = made(close=False)
    kept = data[: int(len(data) * cut)]
    reader = FileReader(io.BytesIO(kept))
    found = list(reader.packets())
    assert reader.total_samples is None
    assert found == written[: len(found)]
    # Whole clusters of 50 are there; at most the one being written is not.
    assert len(found) >= int(len(written) * cut) - 100


def test_a_damaged_cluster_is_skipped_alone() -> None:
    data, written = made()
    reader = FileReader(io.BytesIO(data))
    offset, first = reader.index[2]
    damaged = bytearray(data)
    damaged[offset + 40] ^= 0xFF
    found = list(FileReader(io.BytesIO(bytes(damaged))).packets())
    assert found == [t for t in written if not first <= t.time < first + 50]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin"),
        (b"RIFF" + bytes(40), "does not begin"),
        (b"SCF1" + struct.pack(">I", 0xFFFFFFFF) + bytes(20), "claims a header of 4294967295"),
        (b"SCF1" + struct.pack(">I", 10) + bytes(20), "checksum"),
    ],
)
def test_an_unusable_header_is_a_clear_error(data: bytes, says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        FileReader(io.BytesIO(data))


def test_fuzzed_files_give_packets_or_a_typed_error() -> None:
    data, _ = made(packets=120)
    rng = random.Random(3)
    survived = 0
    for case in range(8_000):
        damaged = bytearray(data)
        for _ in range(1 + case % 3):
            kind = rng.randrange(4)
            at = rng.randrange(len(damaged))
            if kind == 0:
                damaged[at] = rng.randrange(256)
            elif kind == 1:
                del damaged[at:]
            elif kind == 2:
                del damaged[at : at + rng.randrange(50)]
            else:
                damaged[at:at] = rng.randbytes(rng.randrange(50))
            if not damaged:
                break
        try:
            found = list(FileReader(io.BytesIO(bytes(damaged))).packets())
        except FileFormatError:
            continue
        survived += 1
        assert len(found) <= 120
        assert all(a.time < b.time for a, b in pairwise(found))
    assert survived > 1_000


def test_encode_and_decode_a_file(tmp_path: Path, fixtures: Path) -> None:
    source = fixtures / "speech_44k.flac"
    encode_file(source, tmp_path / "a.sc", 6_000)
    written = decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    original, rate_hz = soundfile.read(source, dtype="float32")
    decoded, decoded_rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert decoded_rate_hz == rate_hz
    assert written == decoded.size == original.size
    assert np.corrcoef(np.abs(original), np.abs(decoded))[0, 1] > 0.5


def test_damaged_file_is_decoded_to_full_length(tmp_path: Path, speech_file: Path) -> None:
    encode_file(speech_file, tmp_path / "a.sc", 6_000)
    data = bytearray((tmp_path / "a.sc").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b.sc").write_bytes(bytes(data))
    decode_file(tmp_path / "b.sc", tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").frames == soundfile.info(speech_file).frames


def test_metadata_is_kept(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 24_000, 1) as out:
        out.title, out.artist = "a title", "an artist"
        out.write(np.zeros(2_400, np.float32))
    header = encode_file(tmp_path / "a.wav", tmp_path / "a.sc")
    assert header.metadata["title"] == "a title"
    decode_file(tmp_path / "a.sc", tmp_path / "b.wav")
    with soundfile.SoundFile(tmp_path / "b.wav") as back:
        assert (back.title, back.artist) == ("a title", "an artist")
