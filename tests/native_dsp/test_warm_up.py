"""Start-up: compiled once, loaded from disk by the next process, and nothing compiles while sound flows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import native_dsp
from native_dsp import warm_up
from native_dsp.coding.range_coder import (
    decode_symbol,
    decoder_init,
    encode_symbol,
    encoder_finish,
    encoder_init,
    make_state,
)
from native_dsp.transforms.companding import compand, expand
from native_dsp.transforms.stft import analyse, analyse_frames, make_stft, synthesise, synthesise_frames
from native_dsp.transforms.windows import low_delay_pair

REPORT = """
import json
from native_dsp import warm_up
warm_up.warm_up()
kernels = [m for module in warm_up.KERNEL_MODULES for m in vars(module).values() if hasattr(m, "stats")]
print(json.dumps([sum(sum(k.stats.cache_hits.values()) for k in kernels),
                  sum(sum(k.stats.cache_misses.values()) for k in kernels)]))
"""


def test_a_second_process_compiles_nothing() -> None:
    root = Path(native_dsp.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}

    def hits_and_misses() -> tuple[int, int]:
        run = subprocess.run(
            [sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, check=True, timeout=110
        )
        hits, misses = json.loads(run.stdout)
        return hits, misses

    hits_and_misses()  # compiles what no process has compiled yet
    hits, misses = hits_and_misses()
    assert misses == 0
    assert hits > 20


def test_nothing_compiles_after_warm_up() -> None:
    warm_up.warm_up()
    before = warm_up.compiled_signatures()
    state = make_stft(512, 240, *low_delay_pair(512, 240, 120), 360)
    samples = np.random.default_rng(0).standard_normal(240 * 4).astype(np.float32)
    re, im = analyse_frames(state, samples)
    samples = synthesise_frames(state, re, im)
    companded = np.empty(2 * state.bins, np.float32)
    for _ in range(3):
        analyse(state, samples[:240], re[0], im[0])
        compand(re[0], im[0], companded)
        expand(companded, re[0], im[0])
        synthesise(state, re[0], im[0], samples[:240])
    coder, buffer, cdf = make_state(), np.zeros(9, np.uint8), np.array([0, 9, 1 << 16], np.int32)
    encoder_init(coder)
    encode_symbol(coder, buffer, cdf, 1, 16)
    decoder_init(coder, buffer, encoder_finish(coder, buffer))
    assert decode_symbol(coder, buffer, cdf, 16) == 1
    assert warm_up.compiled_signatures() == before
