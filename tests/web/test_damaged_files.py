"""Pages tell what `.sc` files lack in the words of Python's `info` and `decode`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import FileFormatError, decode_file, encode_file
from streamcodec.cli.info_command import describe
from streamcodec.codec.files.container import CLUSTER_MARK, INDEX_MARK
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter
from tests.helpers.damage import told, without

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

RATE_HZ = 24_000
FORMS: dict[str, dict[str, Any]] = {
    "neural": {"bitrate_bps": 6_000, "key_period_s": 1.0},
    "quiet": {"bitrate_bps": 6_000, "dtx": True, "key_period_s": 1.0},
    "compact": {"bitrate_bps": 1_500, "key_period_s": 0.5},
    "near": {"tier": "near-lossless", "key_period_s": 1.0},
    "chained": {"tier": "near-lossless", "mode": "stream", "packet_ms": None, "key_period_s": 1.0},
    "lossless": {"tier": "lossless", "key_period_s": 1.0},
}


def _damaged(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A file in the states that disks and transfers leave files in."""
    yield "whole", whole
    for share in (0.3, 0.7):
        yield f"cut off after {share}", whole[: int(share * len(whole))]
    yield "cut off in its index", whole[:-20]
    marks = [found.start() for found in re.finditer(re.escape(CLUSTER_MARK), whole)]
    for lost in ({0}, {1}, {len(marks) - 1}, {1, 2}, set(range(len(marks)))):
        yield f"without {lost}", without(whole, *lost)
    without_second = without(whole, 1)
    yield "neither second nor index", without_second[: without_second.index(INDEX_MARK)]
    at = marks[len(marks) // 2] + 40
    yield "a byte changed", whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    shorter = whole[:at] + whole[at + 1 :]
    yield "a byte lost", shorter
    yield "a byte lost, more behind", shorter + bytes(999)
    yield "more behind", whole + bytes(999)
    yield "twice", whole + whole


def _without_later_keys(whole: bytes) -> bytes:
    """What follows the first seconds cannot be decoded for want of a key packet."""
    reader, made = FileReader(io.BytesIO(whole)), io.BytesIO()
    writer = FileWriter(made, reader.header)
    for timed in reader.packets():
        if timed.time == 0 or not timed.packet.is_key:
            writer.write(timed.time, timed.packet)
    writer.close(reader.total_samples or 0)
    return made.getvalue()


def _told_by_python(data: bytes, path: Path) -> dict[str, Any]:
    path.write_bytes(data)
    info: dict[str, Any] = {}
    (reading,) = told(lambda: info.update(describe(path, tell=True))) or [None]
    try:
        (decoding,) = told(lambda: decode_file(path, path.with_suffix(".wav"))) or [None]
        fails = False
    except FileFormatError as error:
        decoding, fails = str(error), True
    return {
        "name": str(path),
        "reading": reading,
        "missingS": info["missing_s"],
        "decoding": decoding,
        "fails": fails,
    }


def test_pages_tell_what_files_lack_as_python_does(
    vitest: Callable[..., None], speech: NDArray[np.float32], tmp_path: Path
) -> None:
    pause = np.zeros(RATE_HZ, np.float32)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([speech[: 2 * RATE_HZ], pause, speech[:RATE_HZ]]), RATE_HZ)
    cases = []
    for name, options in FORMS.items():
        encode_file(tmp_path / "talk.wav", tmp_path / f"{name}.sc", **options)
        for what, data in _damaged((tmp_path / f"{name}.sc").read_bytes()):
            expected = _told_by_python(data, tmp_path / "it.sc")
            cases.append({"what": f"{name}, {what}", "file": data.hex(), **expected})
    data = _without_later_keys((tmp_path / "chained.sc").read_bytes())
    expected = _told_by_python(data, tmp_path / "it.sc")
    assert "concealed" in expected["decoding"]
    assert expected["reading"] is None
    cases.append({"what": "no later keys", "file": data.hex(), **expected})
    soundfile.write(tmp_path / "nothing.wav", pause[:0], RATE_HZ)
    told(lambda: encode_file(tmp_path / "nothing.wav", tmp_path / "nothing.sc", tier="lossless"))
    empty = (tmp_path / "nothing.sc").read_bytes()
    expected = _told_by_python(empty, tmp_path / "it.sc")
    cases.append({"what": "no sound", "file": empty.hex(), **expected, "reading": expected["decoding"]})
    assert sum(case["missingS"] > 0 for case in cases) > 20
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    vitest("damaged_files.test.mjs", MADE=tmp_path)
