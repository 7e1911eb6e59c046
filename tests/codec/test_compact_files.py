"""The compact form of ``.sc`` files: few bytes beside the packets, read as safely as the usual one."""

from __future__ import annotations

import io
import random
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    FileFormatError,
    Packet,
    PacketFlags,
    StreamcodecWarning,
    Tier,
    decode_file,
    encode_file,
    transcode_file,
)
from streamcodec.codec.files.cluster_records import MAX_CLUSTER_PACKETS
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    FileHeader,
    TimedPacket,
    marked_block,
    payload_share,
    start_of_file,
)
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter, compact_cluster_body
from streamcodec.codec.varint import varint

HEADER = FileHeader(Tier.NEURAL, 24_000, 1, 50.0, 0, "speech-24k", bitstream="neural-1-00000000", compact=True)
KEY, NONE = PacketFlags.KEY, PacketFlags.NONE
PACKETS_PER_SECOND = 50 / 6


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
        (b"SCF2" + bytes([0xFF] * 40), "^the length of the file's header cannot be read$"),
        (b"SCF2" + b"\x80\x80\x80\x01" + bytes(40), "^the length of the file's header cannot be read$"),
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


def forged(body: bytes) -> list[tuple[int, Packet]]:
    """Packets that a reader finds in a cluster of this body whose checksum is right."""
    data = start_of_file(HEADER) + marked_block(CLUSTER_MARK, body)
    return [(timed.time, timed.packet) for timed in FileReader(io.BytesIO(data)).packets()]


def test_fuzzed_clusters_give_packets_in_order_whatever_stands_in_them() -> None:
    body = compact_cluster_body(long_packets(60, key_every=20))
    rng = random.Random(4)
    survived = 0
    for _ in range(1_500):
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(damaged))
            way = rng.randrange(4)
            if way == 0:
                damaged[at] = rng.randrange(256)
            elif way == 1:
                del damaged[max(at, 1) :]
            elif way == 2:
                damaged[at : at + rng.randrange(20)] = b""
            else:
                damaged[at:at] = rng.randbytes(rng.randrange(12))
            if not damaged:
                break
        found = forged(bytes(damaged))
        survived += len(found) > 0
        assert sum(len(packet.payload) for _, packet in found) + len(found) <= len(damaged)
        assert all(before < after for (before, _), (after, _) in pairwise(found))
        last = found[-1][0] if found else 0
        assert last <= sum(packet.frames for _, packet in found) + 25 * len(found)
    assert survived > 500


TOLD_ONE = b"\x07\x00\x10a"
"""A key packet of quality index 0 and one byte."""


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        pytest.param(b"\x00\x03" + TOLD_ONE + b"\x04b\x05c", 3, id="whole"),
        pytest.param(b"\x00\x02\x04b" + TOLD_ONE, 0, id="kind 0 first"),
        pytest.param(b"\x00\x02\x05b" + TOLD_ONE, 0, id="kind 1 first"),
        pytest.param(b"\x00\x02\x06b" + TOLD_ONE, 0, id="kind 2 first"),
        pytest.param(b"\x00\x02" + TOLD_ONE + b"\x06b", 1, id="index below 0"),
        pytest.param(b"\x00\x02\x07\x00\x1fa\x05b", 1, id="index above 15"),
        pytest.param(b"\x00\x02\x07\x00\x90\x00a\x04b", 0, id="no frames"),
        pytest.param(b"\x00\x02\x07\x00\x90\x07a\x04b", 0, id="seven frames"),
        pytest.param(b"\x00\x02\x07\x00\x90\x06a\x04b", 2, id="six frames"),
        pytest.param(b"\x00\x01\x03", 0, id="cut off behind the length"),
        pytest.param(b"\x00\x01\x03\x00", 0, id="cut off behind frames skipped"),
        pytest.param(b"\x00\x01\x03\x00\x90", 0, id="cut off before frames"),
        pytest.param(b"\x00\x01\x07\x00\x10", 0, id="cut off before the payload"),
        pytest.param(b"\x00\x01\x83", 0, id="cut off inside the length"),
        pytest.param(b"\x00\x02" + TOLD_ONE, 1, id="one fewer than counted"),
        pytest.param(b"\x00\x01\x03" + varint((1 << 31) + 1) + b"\x10", 0, id="too long a gap"),
        pytest.param(b"\x00\x01\x03" + varint(1 << 31) + b"\x10", 1, id="a long gap"),
        pytest.param(varint(1 << 62) + b"\x01" + TOLD_ONE, 0, id="too late"),
        pytest.param(varint((1 << 62) - 1) + b"\x01" + TOLD_ONE, 1, id="late"),
        pytest.param(b"\xff" * 10 + b"\x01" + TOLD_ONE, 0, id="a time without end"),
        pytest.param(b"\x00" + varint(MAX_CLUSTER_PACKETS + 1) + TOLD_ONE, 0, id="too many packets"),
        pytest.param(b"\x00" + varint(MAX_CLUSTER_PACKETS) + TOLD_ONE, 1, id="many packets"),
        pytest.param(b"\x00\x01" + varint(4 * 60_001 + 3) + b"\x00\x10" + bytes(60_001), 0, id="too long"),
        pytest.param(b"", 0, id="nothing"),
    ],
)
def test_what_cannot_be_ends_its_cluster(body: bytes, packets: int) -> None:
    assert len(forged(body)) == packets


def test_pauses_and_digital_silence_come_back_at_full_length(speech_file: Path, tmp_path: Path) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    speech = speech[: rate_hz // 2]
    sound = np.concatenate([speech, np.zeros(4 * rate_hz, np.float32), speech])
    soundfile.write(tmp_path / "a.wav", sound, rate_hz)
    for dtx in (False, True):
        encode_file(tmp_path / "a.wav", tmp_path / "a.sc", 1_900, dtx=dtx)
        assert (tmp_path / "a.sc").read_bytes()[:4] == b"SCF2"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert decode_file(tmp_path / "a.sc", tmp_path / "b.wav") == len(sound)
        with (tmp_path / "a.sc").open("rb") as file:
            reader = FileReader(file)
            frames = sum(record.frames for record in reader.records())
            assert reader.cut_frames == 0
            assert (frames < 200) == dtx


@pytest.mark.parametrize("key_packets", [1, 5, 9, 50, 79, 83])
@pytest.mark.parametrize("seconds", [12, 60, 400])
def test_what_is_counted_beside_payloads_is_what_stands_there(key_packets: int, seconds: int) -> None:
    packets = long_packets(round(seconds * PACKETS_PER_SECOND), key_packets)
    payload = sum(len(timed.packet.payload) for timed in packets)
    took = len(written(packets)) - payload
    rate_bps = 8.0 * payload / seconds
    share = payload_share(HEADER, rate_bps, PACKETS_PER_SECOND, seconds, key_packets)
    counted = (1.0 - share) * rate_bps * seconds / 8.0
    # Payloads of 32 bytes are allowed for, of which there are none.
    assert took <= counted < took + len(packets) / 4 + 40


def test_at_least_three_quarters_are_the_payloads() -> None:
    tagged = replace(HEADER, metadata={"title": 500 * "a"})
    assert payload_share(tagged, 1_000, PACKETS_PER_SECOND, 10, 83) == 0.75
    assert payload_share(HEADER, 1_000, PACKETS_PER_SECOND, 1, 83) == 0.75


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


def test_a_rate_that_is_not_met_with_what_the_file_takes_is_told(speech_file: Path, tmp_path: Path) -> None:
    says = r"1.9 kbps were asked for, of which the file leaves 1.4 to its packets; speech takes about 1.6 at"
    with pytest.warns(StreamcodecWarning, match=says):
        encode_file(speech_file, tmp_path / "a.sc", 1_900, packet_ms=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_file(speech_file, tmp_path / "a.sc", 1_900, packet_ms=20, constrained=True)


@pytest.mark.parametrize(
    ("coded", "kbps", "magic", "frames"),
    [(1, 3.0, b"SCF1", 3), (1, 1.9, b"SCF2", 6), (2, 3.9, b"SCF2", 6), (2, 4.0, b"SCF1", 3)],
)
def test_the_form_goes_by_the_channels_that_are_coded(
    coded: int, kbps: float, magic: bytes, frames: int, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    sound = speech if coded == 1 else np.stack([speech, np.roll(speech, 500)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound[:24_000], 24_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StreamcodecWarning)
        header = encode_file(tmp_path / "a.wav", tmp_path / "a.sc", 1_000 * kbps, channels=2)
    data = (tmp_path / "a.sc").read_bytes()
    assert (header.channels, header.compact, data[:4]) == (coded, magic == b"SCF2", magic)
    assert {timed.packet.frames for timed in read(data)} == {frames}


def test_channels_that_are_no_number_are_refused_at_low_rates_too(speech_file: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="one channel, or two, got channels='2'"):
        encode_file(speech_file, tmp_path / "a.sc", 1_500, channels="2")  # type: ignore[arg-type]


def test_usual_rates_have_the_usual_form(speech_file: Path, tmp_path: Path) -> None:
    for kbps, magic in ((1.9, b"SCF2"), (2.0, b"SCF1")):
        encode_file(speech_file, tmp_path / "a.sc", 1_000 * kbps)
        assert (tmp_path / "a.sc").read_bytes()[:4] == magic
