"""Coded files that promise more than they hold, or name what is not theirs to name."""

from __future__ import annotations

import binascii
import io
import json
import shutil
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import FileFormatError, StreamcodecWarning, Tier, decode_file, encode_file
from streamcodec.cli.info_command import describe
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.files.cluster_records import MAX_CLUSTER_PACKETS
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    COMPACT_MAGIC,
    END_MAGIC,
    INDEX_MARK,
    MAGIC,
    SHORT_NAMES,
    FileHeader,
)
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter
from streamcodec.codec.packet import Packet, PacketFlags

KEY = 0x10


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def block(mark: bytes, body: bytes) -> bytes:
    return mark + struct.pack(">I", len(body)) + body + struct.pack(">I", binascii.crc32(body))


FORMS = pytest.mark.parametrize("compact", [False, True], ids=["usual", "compact"])


def header(compact: bool = False, **fields: object) -> bytes:
    usual = {
        "tier": "lossless",
        "sample_rate_hz": 96_000,
        "channels": 2,
        "packets_per_second": 50.0,
        "delay_samples": 0,
        "model": "",
        "metadata": {},
        "bits_per_sample": 24,
        "bitstream": "lossless-1",
    }
    if compact:
        text = json.dumps({SHORT_NAMES[name]: value for name, value in (usual | fields).items()}).encode()
        return COMPACT_MAGIC + varint(len(text)) + text + struct.pack(">I", binascii.crc32(text))
    text = json.dumps(usual | fields).encode()
    return MAGIC + struct.pack(">I", len(text)) + text + struct.pack(">I", binascii.crc32(text))


def neural_header(compact: bool = False, **fields: object) -> bytes:
    neural = {"tier": "neural", "sample_rate_hz": 24_000, "channels": 1, "bits_per_sample": 16, "model": "speech-24k"}
    return header(compact, **(neural | {"bitstream": bitstream_of(Tier.NEURAL)} | fields))


def cluster(count: int, skip: int = 0, claimed: int | None = None, compact: bool = False) -> bytes:
    if compact:
        # Packets of one byte wherever nothing is skipped.
        packets = b"".join(b"\0" if k and not skip else b"\3" + varint(skip) + bytes([KEY]) for k in range(count))
        return block(CLUSTER_MARK, varint(0) + varint(claimed or count) + packets)
    packet = varint(skip) + bytes([KEY]) + varint(0)
    return block(CLUSTER_MARK, struct.pack(">Q", 0) + varint(claimed or count) + count * packet)


def index(total: int, where: int) -> bytes:
    return block(INDEX_MARK, struct.pack(">QI", total, 0)) + struct.pack(">Q", where) + END_MAGIC


@FORMS
@pytest.mark.parametrize("total", [1 << 63, 1 << 40, 96_000 * 3_600])
def test_a_forged_total_gives_no_more_than_the_packets(total: int, compact: bool) -> None:
    head = header(compact)
    out = io.BytesIO()
    with pytest.raises(FileFormatError, match="holds no packet that can be read"):
        decode_file(io.BytesIO(head + index(total, len(head))), out)
    body = cluster(10, compact=compact)
    data = head + body + index(total, len(head) + len(body))
    assert decode_file(io.BytesIO(data), io.BytesIO()) <= 20 * 96_000 // 50
    assert describe(io.BytesIO(data))["duration_s"] < 2


@FORMS
@pytest.mark.parametrize(("head", "most_s"), [(header, 2), (neural_header, 21)])
def test_gaps_that_nothing_accounts_for_are_left_out(head: object, most_s: float, compact: bool) -> None:
    data = head(compact) + cluster(40, skip=1 << 31, compact=compact)  # type: ignore[operator]
    reader = FileReader(io.BytesIO(data))
    rate_hz = reader.header.sample_rate_hz
    with pytest.warns(StreamcodecWarning, match="s of silence that its bytes do not account for"):
        assert decode_file(io.BytesIO(data), io.BytesIO()) < most_s * rate_hz


@FORMS
@pytest.mark.parametrize("packet", ["of one byte", "as short as can be"])
def test_a_byte_of_a_cluster_stands_for_a_fifth_of_a_second_at_most(packet: str, compact: bool) -> None:
    """Of packets without payload and silence together, however they are mixed."""
    gap = varint(1 << 20) + bytes([0x80 | KEY, 6])
    told = b"\3" + gap if compact else gap + b"\0"
    shortest = (b"\0" if packet == "of one byte" else b"\3\0" + bytes([KEY])) if compact else bytes([0, KEY, 0])
    for between in (1, 3, 10, 60, 200):
        packets = (told + between * shortest) * 20
        count = 20 * (1 + between)
        body = (varint(0) if compact else struct.pack(">Q", 0)) + varint(count) + packets
        reader = FileReader(io.BytesIO(neural_header(compact) + block(CLUSTER_MARK, body)))
        assert sum(1 for _ in reader.records()) == count
        assert 50 * reader.header.samples_in(reader.end_time) <= 31 / 3 * len(body) * reader.header.sample_rate_hz
        assert reader.end_time + reader._silence.left <= 31 / 3 * len(body)


@FORMS
def test_pauses_of_discontinuous_transmission_are_kept(compact: bool) -> None:
    file = io.BytesIO()
    writer = FileWriter(file, FileHeader(Tier.NEURAL, 24_000, 1, 50.0, 0, compact=compact))
    times = [0, 1, 2, 22, 42, 62, 63, 64, 84]
    for at in times:
        writer.write(at, Packet(Tier.NEURAL, at, at, 1, PacketFlags.KEY, b"abc"))
    writer.close(85 * 480)
    assert [timed.time for timed in FileReader(file).packets()] == times


def test_a_recording_longer_than_allowed_is_refused_and_leaves_nothing(speech_file: Path, tmp_path: Path) -> None:
    encode_file(speech_file, tmp_path / "a.sc")
    with pytest.raises(FileFormatError, match=r"holds more than 1 s of sound.*max_duration_s"):
        decode_file(tmp_path / "a.sc", tmp_path / "a.wav", max_duration_s=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sc"]


def fake_marks(size: int, compact: bool) -> bytes:
    body = bytearray()
    while len(body) < size:
        body += CLUSTER_MARK + struct.pack(">I", (size - len(body)) // 2)
    return header(compact) + bytes(body)


def fake_indexes(size: int, compact: bool) -> bytes:
    marks = b"".join(INDEX_MARK + struct.pack(">I", left - 12) for left in range(size, 12, -8))
    return header(compact) + marks.ljust(size, b"x") + struct.pack(">Q", 0) + END_MAGIC


def empty_packets(size: int, compact: bool) -> bytes:
    one = cluster(1_000, compact=compact)
    return header(compact) + one * (size // len(one))


def read_all(data: bytes) -> float:
    began = time.process_time()
    for _ in FileReader(io.BytesIO(data)).records():
        pass
    return time.process_time() - began


@FORMS
@pytest.mark.parametrize("make", [fake_marks, fake_indexes, empty_packets])
def test_reading_takes_time_in_proportion_to_the_bytes_and_no_memory(make: object, compact: bool) -> None:
    # Of empty packets a byte holds three times as many in the compact form.
    size = 1 << (15 if compact else 17)
    small, large = make(size, compact), make(4 * size, compact)  # type: ignore[operator]
    read_all(small)
    took_s = min(read_all(small) for _ in range(3))
    assert min(read_all(large) for _ in range(2)) < 3 * len(large) / len(small) * took_s + 0.05
    tracemalloc.start()
    read_all(small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@FORMS
def test_a_cluster_of_more_packets_than_any_writer_makes_is_damage(compact: bool) -> None:
    data = header(compact) + cluster(100, claimed=1 << 40, compact=compact) + cluster(3, compact=compact)
    assert len(list(FileReader(io.BytesIO(data)).packets())) == 3


@FORMS
def test_a_writer_without_key_packets_makes_files_that_can_be_read(compact: bool) -> None:
    file = io.BytesIO()
    writer = FileWriter(file, FileHeader(Tier.LOSSLESS, 48_000, 1, 50.0, 0, compact=compact))
    for at in range(MAX_CLUSTER_PACKETS + 10):
        wrapped = at % 65_536
        writer.write(at, Packet(Tier.LOSSLESS, wrapped, wrapped, 0, PacketFlags(at == 0), b"abc"))
    writer.close(0)
    assert sum(1 for _ in FileReader(file).records()) == MAX_CLUSTER_PACKETS + 10


@pytest.mark.parametrize("model", ["a-folder", "../../etc", "/etc", "a\0b", "x" * 5_000, "//host/share", ""])
def test_a_file_does_not_choose_what_is_loaded(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-folder" / "model.json").write_text("{}")
    data = neural_header(model=model) + cluster(3)
    with pytest.raises(
        FileFormatError, match=r"not among the shipped ones \(.*speech-24k.*\): name it, or its folder"
    ):
        decode_file(io.BytesIO(data), io.BytesIO())
    assert describe(io.BytesIO(data))["packets"] == 3
    assert decode_file(io.BytesIO(data), io.BytesIO(), model="speech-24k") > 0


@FORMS
def test_a_name_of_a_model_without_end_is_cut(compact: bool) -> None:
    reader = FileReader(io.BytesIO(neural_header(compact, model="x" * 60_000) + cluster(1, compact=compact)))
    assert len(reader.header.model) < 300


def test_a_file_of_a_model_of_ones_own_names_no_path(speech_file: Path, tmp_path: Path) -> None:
    from streamcodec.models.shipped import load_model

    folder = tmp_path / "mine"
    shutil.copytree(load_model().folder, folder)
    made = encode_file(speech_file, tmp_path / "a.sc", model=str(folder))
    assert made.model == "mine"
    with pytest.raises(FileFormatError, match="made with the model 'mine'"):
        decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    assert decode_file(tmp_path / "a.sc", tmp_path / "a.wav", model=str(folder)) == soundfile.info(speech_file).frames


@FORMS
@pytest.mark.parametrize(
    "text", [b'{"metadata":' + b"[" * 65_000, b'{"sample_rate_hz":' + b"9" * 65_000 + b"}", b"[]", b'{"tier": 1}']
)
def test_a_header_that_is_nonsense_is_one_short_sentence(text: bytes, compact: bool) -> None:
    length = len(text[:65_535])
    data = (
        (COMPACT_MAGIC + varint(length) if compact else MAGIC + struct.pack(">I", length))
        + text[:65_535]
        + struct.pack(">I", binascii.crc32(text[:65_535]))
    )
    with pytest.raises(FileFormatError) as caught:
        FileReader(io.BytesIO(data))
    assert len(str(caught.value)) < 200


def test_a_pipe_of_a_coded_file_is_read_without_holding_it(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    data = header() + b"".join(cluster(MAX_CLUSTER_PACKETS) for _ in range(60))
    assert len(data) > 2_500_000
    tracemalloc.start()
    reader = FileReader(Pipe(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(data) + 2_200_000
    assert np.array_equal(next(reader.packets()).packet.payload, b"")
