"""The fuzzers' targets, run over their seeds and some mutations of them; ``.ci/fuzz`` runs them for minutes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fuzz_parsers import SEEDS, TARGETS
from tests.helpers.kernel_modules import kernel_modules
from tests.helpers.payload_fuzzing import CORPUS, mutated

MUTATIONS = 300


def seeds(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / SEEDS.get(target, target)).iterdir())]


@pytest.mark.parametrize("target", TARGETS)
def test_parsers_keep_their_promise(target: str) -> None:
    rng = random.Random(5)
    good = seeds(target)
    assert len(good) >= 1
    for data in [b"", *good]:
        TARGETS[target](data)
    for k in range(MUTATIONS):
        TARGETS[target](mutated(good[k % len(good)], rng))


def test_kernels_are_left_as_they_are_by_the_fuzzer() -> None:
    left_out = kernel_modules()
    assert {"streamcodec.codec.audio_format", "streamcodec.codec.neural.entropy"} <= set(left_out)
    assert not any(name.startswith(("streamcodec.net", "streamcodec.codec.files")) for name in left_out)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 60_000


@pytest.mark.timeout(600)
def test_decoders_stay_within_bounds_whatever_the_payload(tmp_path: Path) -> None:
    """In a process of its own, whose kernels check every index; thousands more, and kernels as they are, in
    ``.ci/fuzz``."""
    told = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    found = subprocess.run(
        [sys.executable, "-m", "tests.helpers.kernels_apart", "tests.helpers.payload_fuzzing", "200"],
        cwd=Path(__file__).parents[1],
        env=told,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-3_000:]
    done = json.loads(found.stdout)
    assert done.pop("bounds_checked")
    assert len(done) == len(list((CORPUS / "container").glob("*.sc")))
    assert min(done.values()) >= 200
