"""Parts of calls in JavaScript do as Python's: framing, jitter buffer, redundancy, reports, resampling; and files."""

from __future__ import annotations

import io
import json
import random
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import (
    FileFormatError,
    Packet,
    PacketFlags,
    RedundantCopy,
    StreamEncoder,
    Tier,
    decode_file,
    encode_file,
)
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    END_MAGIC,
    INDEX_MARK,
    FileHeader,
    TimedPacket,
    marked_block,
    start_of_file,
)
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import cluster_body, compact_cluster_body
from streamcodec.codec.files.damage import describe_damage
from streamcodec.codec.stream_resampler import StreamResampler
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net.congestion import CongestionConfig, CongestionController
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import JitterConfig, Lost, Play
from streamcodec.net.redundancy import Redundancy
from streamcodec.net.report import ReceiverReport, ReceptionMonitor
from streamcodec.net.wire_rate import WireRateConfig, WireRateController
from streamcodec.web.files import DEVICE_RATES_HZ

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

RATE_HZ = 24_000
FRAMES = 1_500


def _sent(rng: random.Random, frames: int, pauses: bool, packet_ms: float) -> Iterator[tuple[float, Packet]]:
    """(when sent in ms, packet): with copies, and pauses of the sender if wanted; ``frames`` 0: changing lengths."""
    sequence = timestamp = 65_000
    changing = frames == 0
    while sequence < 65_000 + FRAMES:
        if changing and (frames == 0 or rng.random() < 0.05):
            frames = rng.choice((1, 2, 3))
        silent = pauses and rng.random() < 0.02
        flags = PacketFlags.KEY | (PacketFlags.SILENCE if silent else PacketFlags.NONE)
        copies = tuple(RedundantCopy(age * frames, 2, PacketFlags.KEY, b"copy") for age in rng.sample(range(1, 4), 2))
        kept = copies if rng.random() < 0.5 else ()
        yield (
            packet_ms * timestamp,
            Packet(Tier.NEURAL, sequence % 65_536, timestamp % 65_536, 5, flags, b"x", kept, frames=frames),
        )
        sequence += frames
        timestamp += frames
        if silent:
            timestamp += rng.randrange(1, 80)


def _arrivals(
    rng: random.Random, frames: int, *, pauses: bool, drift: float, jitter_ms: float, packet_ms: float
) -> list[Any]:
    """A bad line: jitter, reordering, bursts, stalls, duplicates, a clock that is off, a sender that restarts."""
    found: list[tuple[float, Packet]] = []
    bad, stall_until_ms = False, 0.0
    for sent_ms, packet in _sent(rng, frames, pauses, packet_ms):
        bad = rng.random() < (0.6 if bad else 0.04)
        if rng.random() < 0.003:
            stall_until_ms = sent_ms + rng.uniform(50, 900)
        if bad:
            continue
        at_ms = max(sent_ms * (1 + drift) + rng.expovariate(1 / jitter_ms), stall_until_ms)
        found.append((at_ms, packet))
        if rng.random() < 0.01:
            found.append((at_ms + rng.uniform(0, 100), packet))
    again_ms = found[-1][0] + 500.0
    frames = max(frames, 1)
    afresh = [
        Packet(Tier.NEURAL, k * frames, 7 + k * frames, 3, PacketFlags.KEY, b"y", frames=frames) for k in range(50)
    ]
    found += [(again_ms + packet_ms * frames * k, packet) for k, packet in enumerate(afresh)]
    return sorted(found, key=lambda entry: entry[0])


def _trace(seed: int, **line: Any) -> dict[str, Any]:
    """What Python's jitter buffer, monitor and congestion control make of a line."""
    rng = random.Random(seed)
    packet_ms = line.pop("packet_ms", 20.0)
    arrivals = _arrivals(rng, line.pop("frames"), packet_ms=packet_ms, **line)
    buffer, monitor, congestion = (
        JitterBuffer(JitterConfig(frame_ms=packet_ms)),
        ReceptionMonitor(packet_ms),
        CongestionController(CongestionConfig(maximum_bps=6_000)),
    )
    events: list[Any] = []
    start_ms = round(arrivals[0][0])
    now_ms, k = float(start_ms), 0
    while k < len(arrivals) or now_ms < arrivals[-1][0] + 300:
        while k < len(arrivals) and arrivals[k][0] <= now_ms:
            at_ms, packet = arrivals[k]
            results = []
            for frame in packet.each_frame():
                monitor.observe(frame, 60, at_ms)
                results.append(buffer.put(frame, at_ms).value)
            events.append({"put": packet.to_bytes().hex(), "at": at_ms, "arrivals": results})
            k += 1
        queued_ms = rng.choice((0.0, 2.5, 8.0))
        decision = buffer.get(now_ms, 10.0, queued_ms)
        event = {
            "get": now_ms,
            "queued": queued_ms,
            "kind": type(decision).__name__.lower(),
            "target": buffer.stats.target_ms,
            "depth": buffer.stats.depth_ms,
        }
        if isinstance(decision, Play):
            event |= {
                "timestamp": decision.packet.timestamp,
                "recovered": decision.recovered,
                "scale": decision.scale.value,
                "most": decision.most_ms,
                "part": decision.packet.part or 0,
            }
        if isinstance(decision, Lost):
            event["following"] = None if decision.following is None else decision.following.timestamp
        events.append(event)
        if monitor.due(now_ms):
            report = monitor.report(now_ms, buffer.stats)
            sent = ReceiverReport.from_bytes(report.to_bytes())
            rate = congestion.on_report(sent, now_ms)
            events.append(
                {"report": report.to_bytes().hex(), "at": now_ms, "bps": rate.bitrate_bps, "ages": list(rate.ages)}
            )
        now_ms += packet_ms + rng.choice((0.0, 0.0, 0.0, 0.5, -0.5))
    stats = buffer.stats
    names = (
        "received",
        "played",
        "late",
        "duplicate",
        "suspect",
        "discarded",
        "lost",
        "recovered",
        "concealed",
        "underruns",
        "silent",
        "restarts",
    )
    assert stats.played > 100
    assert stats.concealed > 10
    return {"packetMs": packet_ms, "events": events, "stats": {name: getattr(stats, name) for name in names}}


TRACES = {
    "jittery": {"frames": 1, "pauses": False, "drift": 0.0, "jitter_ms": 8.0},
    "pauses": {"frames": 1, "pauses": True, "drift": 0.0, "jitter_ms": 15.0},
    "drifting": {"frames": 1, "pauses": False, "drift": 0.02, "jitter_ms": 4.0},
    "near-lossless": {"frames": 1, "pauses": False, "drift": 0.001, "jitter_ms": 6.0, "packet_ms": 32.0 / 3.0},
    "changing": {"frames": 0, "pauses": False, "drift": 0.0, "jitter_ms": 6.0},
    "long": {"frames": 3, "pauses": True, "drift": -0.004, "jitter_ms": 20.0},
    "longest": {"frames": 6, "pauses": False, "drift": 0.0, "jitter_ms": 30.0},
}


def _wire_trace(seed: int, wire_bps: int) -> dict[str, Any]:
    """What Python's controller of a rate on the wire plans through paths that change and reports of losses."""
    rng = random.Random(seed)
    controller = WireRateController(WireRateConfig(wire_bps))
    events: list[Any] = []
    now_ms = loss = queue_ms = 0.0
    for step in range(240):
        now_ms += rng.uniform(80.0, 160.0)
        if rng.random() < 0.03:
            loss, queue_ms = rng.choice(((0.0, 0.0), (0.05, 0.0), (0.2, 5.0), (0.02, 90.0)))
        event: dict[str, Any] = {"at": now_ms}
        if step % 60 == 20:
            ways = (rng.randrange(3), rng.randrange(2), rng.choice((0, 10)))
            event["paths"] = ways
            controller.on_paths(*ways, now_ms)
        elif step % 10 == 5:
            sent_bps = controller.plan.wire_bps * rng.uniform(0.8, 1.3)
            event["sent"] = sent_bps
            controller.on_wire(sent_bps, now_ms)
        elif step == 200:
            event["forget"] = "bob"
            controller.forget("bob")
        elif step % 2 and step < 180:
            burst = rng.choice((0.0, 1.0, 2.5))
            report = ReceiverReport(loss, 0.0, burst, 0, rng.uniform(0, 9), queue_ms, 12.0, 40.0, 6e3, 0, 0, 0)
            trip_ms = rng.choice((None, rng.uniform(10.0, 300.0)))
            who = rng.choice(("ann", "bob"))
            event |= {"who": who, "report": report.to_bytes().hex(), "trip": trip_ms}
            controller.on_report(who, ReceiverReport.from_bytes(report.to_bytes()), trip_ms, now_ms)
        else:
            event["talking"] = rng.random() < 0.8
            controller.on_voice(event["talking"])
            controller.on_tick(now_ms)
        plan = controller.plan
        event["plan"] = [plan.bitrate_bps, plan.packet_ms, list(plan.ages), plan.copy_share, plan.wire_bps]
        events.append(event)
    assert len({json.dumps(event["plan"][1:3]) for event in events}) > 1
    return {"wireBps": wire_bps, "events": events}


def _rate_trace(seed: int) -> list[Any]:
    """What Python's congestion control makes of paths that lose much, whatever the rate or because of it."""
    rng = random.Random(seed)
    congestion = CongestionController(CongestionConfig(maximum_bps=24_000, start_bps=24_000))
    events = []
    for half in range(800):
        bps = congestion.rate.bitrate_bps
        loss = (0.02, 0.4, max(0.0, 1.0 - 14_000 / bps), 0.4, 0.6, max(0.1, 1.0 - 6_000 / bps), 0.0, 0.3)[half // 100]
        queue_ms = 50.0 if rng.random() < 0.01 else 4.0
        loss = min(1.0, max(0.0, loss + rng.uniform(-0.08, 0.08)))
        report = ReceiverReport(loss, 0.0, 2.0, 0, 3.0, queue_ms, 12.0, 40.0, 6e3, 0, 0, 0).to_bytes()
        rate = congestion.on_report(ReceiverReport.from_bytes(report), 500.0 * half)
        events.append({"at": 500.0 * half, "report": report.hex(), "bps": rate.bitrate_bps})
    assert len({event["bps"] for event in events}) > 15
    return events


def _copies(speech: NDArray[np.float32]) -> list[Any]:
    """Redundant forms that Python's encoder makes of its packets."""
    encoder = StreamEncoder(RATE_HZ, 6_000, backend="compiled")
    found = []
    packets: list[Packet] = []
    for start in range(0, 48_000, 480):
        packets += encoder.push(speech[start : start + 480])
        if len(packets) > 3:
            quality_index, payload = encoder.encode_redundant(packets[-3], 0.5) or (0, b"")
            found.append(
                {"of": packets[-3].to_bytes().hex(), "qualityIndex": quality_index, "payload": payload.hex()}
            )
    return found


LENGTHS = ((1, (5,), 0.5), (3, (1,), 0.35), (2, (1, 2), 0.25), (1, (2, 5), 0.15), (6, (), 0.5), (2, (2,), 0.5))
"""Frames in a packet, which earlier packets ride along, size of the first copy."""


def _changing_copies(speech: NDArray[np.float32]) -> list[Any]:
    """Packets that Python sends through changes of length, with their copies."""
    encoder = StreamEncoder(RATE_HZ, 9_000, backend="compiled")
    redundancy = Redundancy(encoder.encode_redundant)
    steps = []
    for step, (frames, ages, share) in enumerate(LENGTHS):
        encoder.set_packet_ms(20 * frames)
        redundancy.ages, redundancy.share = ages, share
        part = speech[step * 5_760 : (step + 1) * 5_760]
        sent = [redundancy.attach(packet).to_bytes().hex() for packet in encoder.push(part)]
        steps.append({"packetMs": 20 * frames, "ages": ages, "share": share, "sent": sent})
    return steps


def _named(packet: Packet, share: float) -> tuple[int, bytes] | None:
    """In place of a copy, what was asked for; nothing now and then."""
    if packet.sequence % 17 == 0:
        return None
    return 1, f"{packet.sequence},{packet.timestamp},{packet.frames},{packet.quality_index},{share:.3f}".encode()


def _attached(seed: int) -> list[Any]:
    """What rides along with packets that change their length, flags and distances, with pauses between them."""
    rng = random.Random(seed)
    redundancy = Redundancy(_named)
    sequence = timestamp = 65_300
    frames = 1
    steps = []
    for _ in range(600):
        frames = rng.choice((1, 2, 3, 6)) if rng.random() < 0.2 else frames
        if rng.random() < 0.1:
            redundancy.ages = tuple(sorted(rng.sample(range(1, 6), rng.randrange(4))))
            redundancy.share = rng.choice((0.5, 0.35, 0.25, 0.15))
        flags = PacketFlags.KEY | (PacketFlags.SILENCE if rng.random() < 0.05 else PacketFlags.NONE)
        place = sequence % 65_536, timestamp % 65_536
        packet = Packet(Tier.NEURAL, *place, rng.randrange(12), flags, b"x", frames=frames)
        step: dict[str, Any] = {"packet": packet.to_bytes().hex(), "ages": redundancy.ages, "share": redundancy.share}
        step["sent"] = redundancy.attach(packet).to_bytes().hex()
        steps.append(step)
        sequence += frames
        timestamp += frames + (rng.randrange(1, 20) if rng.random() < 0.05 else 0)
    return steps


def _resampled(speech: NDArray[np.float32], folder: Path) -> list[Any]:
    cases = []
    for hz in DEVICE_RATES_HZ:
        for in_hz, out_hz in ((hz, RATE_HZ), (RATE_HZ, hz)):
            resampler = StreamResampler(in_hz, out_hz)
            blocks = [resampler.process(speech[k : k + 441]) for k in range(0, 8_820, 441)]
            name = f"resampled-{in_hz}-{out_hz}.f32"
            np.concatenate(blocks).astype(np.float32).tofile(folder / name)
            cases.append({"from": in_hz, "to": out_hz, "file": name})
    return cases


def _write_files(speech: NDArray[np.float32], folder: Path) -> None:
    """``.sc`` files, whole and damaged, and what Python decodes of the whole ones."""
    wave = folder / "speech.wav"
    soundfile.write(wave, speech, RATE_HZ, subtype="PCM_16")
    encode_file(wave, folder / "speech.sc", 6_000)
    encode_file(wave, folder / "short.sc", 6_000, mode="independent", packet_ms=20, dtx=True)
    encode_file(wave, folder / "low.sc", 1_800)
    encode_file(wave, folder / "lossless.sc", tier="lossless")
    for name in ("speech", "short", "low"):
        decode_file(folder / f"{name}.sc", folder / f"{name}-decoded.wav", floats=True)
        decoded, _ = soundfile.read(folder / f"{name}-decoded.wav", dtype="float32")
        decoded.tofile(folder / f"{name}-decoded.f32")


CUT_OFF_BODIES = {
    False: (
        ", 00, 01 00, 01 00 10, 01 00 90, 01 00 90 06, 01 00 90 07 00, 01 00 90 00 00, 01 00 10 01, 01 00 10 81,"
        "81 80 01 00 10 00, 01 81 80 80 80 08 10 00, 01 80 80 80 80 08 10 00"
    ),
    True: (
        ", 00 01, 00 01 03, 00 01 03 00, 00 01 03 00 90, 00 01 03 00 90 07, 00 01 03 00 90 00, 00 01 07 00 10,"
        "00 01 00, 00 01 01, 00 01 02, 00 02 03 00 10 02, 00 02 03 00 1f 01, 00 81 80 01 03 00 10, 00 01 83 80 80,"
        "00 01 03 81 80 80 80 08 10, 00 01 03 80 80 80 80 08 10, 80 80 80 80 80 80 80 80 80 00 01 03 00 10,"
        "00 01 83 80 80 80 80 80 80 80 80 00 00 10"
    ),
}
"""Bodies of clusters, behind eight bytes of time in the usual form."""


def _forged() -> list[dict[str, Any]]:
    """Files of one cluster of nonsense whose checksum is right, of both forms, and what Python reads there."""
    rng = random.Random(17)
    cases = []
    for compact in (False, True):
        header = FileHeader(
            Tier.NEURAL, RATE_HZ, 1, 50.0, 0, DEFAULT_MODEL, bitstream=bitstream_of(Tier.NEURAL), compact=compact
        )
        packets = [
            TimedPacket(
                6 * k + 20 * (k > 6),
                Packet(
                    Tier.NEURAL, 6 * k, 6 * k, rng.randrange(16), PacketFlags(k % 5 == 0), rng.randbytes(k), frames=6
                ),
            )
            for k in range(12)
        ]
        start = 0 if compact else 8
        bodies = [bytes(start) + bytes.fromhex(text) for text in CUT_OFF_BODIES[compact].split(",")]
        whole = (compact_cluster_body if compact else cluster_body)(packets)
        for _ in range(400):
            body = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(start + 1, len(body))] = rng.randrange(256)
            bodies.append(bytes(body[: rng.randrange(start, len(body) + 1)] if rng.random() < 0.3 else body))
        for body in bodies:
            data = start_of_file(header) + marked_block(CLUSTER_MARK, body)
            read = FileReader(io.BytesIO(data)).records()
            records = [[r.time, r.frames, r.mark & 15, r.mark >> 4, r.payload().hex()] for r in read]
            cases.append({"file": data.hex(), "packets": records})
    assert sum(not case["packets"] for case in cases) > 20
    assert sum(len(case["packets"]) for case in cases) > 2_000
    return cases


def _bombs() -> list[dict[str, Any]]:
    """Files that claim more than they hold: totals, gaps, marks; and what Python makes of them."""
    cases = []
    for compact in (False, True):
        header = FileHeader(
            Tier.NEURAL, RATE_HZ, 1, 50.0, 240, DEFAULT_MODEL, bitstream=bitstream_of(Tier.NEURAL), compact=compact
        )
        start, make = start_of_file(header), compact_cluster_body if compact else cluster_body
        apart = [
            TimedPacket(k << 31, Packet(Tier.NEURAL, 0, 0, 3, PacketFlags.KEY, bytes([k, 7, 9]))) for k in range(1, 4)
        ]
        gaps = marked_block(CLUSTER_MARK, make(apart))
        damage = CLUSTER_MARK + bytes(12)
        for body in (b"", gaps, damage + gaps, gaps + damage):
            for total in (9_000, 1 << 40):
                index = marked_block(INDEX_MARK, struct.pack(">QI", total, 0))
                data = start + body + index + struct.pack(">Q", len(start) + len(body)) + END_MAGIC
                with warnings.catch_warnings(action="ignore"):
                    try:
                        samples: int | None = decode_file(io.BytesIO(data), io.BytesIO())
                    except FileFormatError:
                        samples = None
                assert (samples is None) == (not body)
                cases.append({"file": data.hex(), "samples": samples, "trouble": _trouble(data)})
        marks = bytearray()
        while len(marks) < 1 << 20:
            marks += CLUSTER_MARK + struct.pack(">I", ((1 << 20) - len(marks)) // 2)
        data = start + bytes(marks)
        cases.append({"file": data.hex(), "samples": None, "trouble": _trouble(data)})
    assert sum("claims" in case["trouble"] for case in cases) > 4
    return cases


def _trouble(data: bytes) -> str | None:
    """What Python says of a file that it has read through."""
    reader = FileReader(io.BytesIO(data))
    deque(reader.records(), 0)
    return describe_damage("it.sc", reader, reader.damaged_frames, decoded=False)


def test_the_parts_of_a_call_decide_as_python_does(
    vitest: Callable[..., None], speech: NDArray[np.float32], fixtures: Path, tmp_path: Path
) -> None:
    speech.astype(np.float32).tofile(tmp_path / "speech.f32")
    _write_files(speech, tmp_path)
    made = {
        "frames.json": json.loads((fixtures / "golden_frames.json").read_text()),
        "traces.json": {name: _trace(seed, **line) for seed, (name, line) in enumerate(TRACES.items())},
        "wire.json": [_wire_trace(seed, wire_bps) for seed, wire_bps in enumerate((12_000, 20_000, 34_000, 60_000))],
        "rates.json": _rate_trace(5),
        "copies.json": _copies(speech),
        "changing-copies.json": _changing_copies(speech),
        "attached.json": _attached(11),
        "resampled.json": _resampled(speech, tmp_path),
        "forged.json": _forged(),
        "bombs.json": _bombs(),
    }
    for name, content in made.items():
        (tmp_path / name).write_text(json.dumps(content))
    vitest("call_parts.test.mjs", MADE=tmp_path)
