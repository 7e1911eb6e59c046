"""Products and functions of the networks' kernels against double precision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.networks import elementary
from native_dsp.networks.matrix_product import KINDS, make_workspace, multiply, pack

Float32Array = NDArray[np.float32]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (33, 7), (64, 130), (514, 554)])
def test_products_of_any_shape(kind: str, outputs: int, inputs: int) -> None:
    random = np.random.default_rng(outputs)
    bias = random.standard_normal((2, outputs)).astype(np.float32)
    scale = random.random((2, outputs)).astype(np.float32) + 0.1
    if kind == "integers":
        stored: Any = random.integers(-127, 128, (2, outputs, inputs)).astype(np.int8)
        matrix, weights = pack(stored, scale, bias), stored * scale[:, :, None].astype(np.float64)
    else:
        weights = random.standard_normal((2, outputs, inputs))
        weights = weights.astype(np.float16 if kind == "halves" else np.float32)
        matrix = pack(weights.astype(np.float32), None, bias)
    assert KINDS[matrix.kind] == kind
    work = make_workspace([matrix], 7)
    # Whatever an earlier product left behind must not come through the padding.
    work.floats.fill(np.nan)
    work.sums.fill(np.nan)
    for rows in (1, 2, 3, 4, 7):
        x = random.standard_normal((rows, inputs)).astype(np.float32)
        out = np.zeros((rows, outputs), np.float32)
        for which in range(2):
            multiply(matrix, which, x, rows, work, out)
            expected = x.astype(np.float64) @ weights[which].astype(np.float64).T + bias[which]
            # The size of what is added up, of which inputs are rounded to 15 bits.
            size = np.abs(x).max() * np.abs(weights[which].astype(np.float64)).sum(axis=1).max()
            assert np.abs(out - expected).max() < (5e-5 if kind == "integers" else 5e-7) * size + 1e-6


def test_silence_and_not_a_number_stay_in_their_row() -> None:
    matrix = pack(np.full((1, 8, 6), 3, np.int8), np.ones((1, 8)), np.ones((1, 8)))
    x, out = np.zeros((3, 6), np.float32), np.zeros((3, 8), np.float32)
    x[0] = np.nan
    x[2] = 1.0
    multiply(matrix, 0, x, 3, make_workspace([matrix], 3), out)
    np.testing.assert_array_equal(out[1], 1.0)
    np.testing.assert_allclose(out[2], 19.0, rtol=1e-4)


PRODUCTS = """
import numpy as np
from native_dsp.networks.matrix_product import KINDS, make_workspace, multiply, pack

random = np.random.default_rng(1)
x = random.standard_normal((7, 50)).astype(np.float32)
for kind, weights in zip(KINDS, (random.integers(-127, 128, (1, 40, 50)), *random.standard_normal((2, 1, 40, 50)))):
    weights = weights.astype({"integers": np.int8, "halves": np.float16, "floats": np.float32}[kind])
    matrix = pack(weights if kind == "integers" else weights.astype(np.float32))
    assert KINDS[matrix.kind] == kind
    out = np.zeros((7, 40), np.float32)
    multiply(matrix, 0, x, 7, make_workspace([matrix], 7), out)
    expected = x @ weights[0].astype(np.float32).T
    assert np.abs(out - expected).max() < 1e-3 * expected.std(), kind
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names processors of one kind")
@pytest.mark.parametrize(("name", "features"), [("generic", ""), ("haswell", "+avx2,+fma,+f16c")])
def test_products_on_lesser_processors(name: str, features: str) -> None:
    processor = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", PRODUCTS], check=True, cwd=root, env=os.environ | processor, timeout=100)


def over(function: Callable[[np.float32], np.float32]) -> Callable[[Float32Array, Float32Array], None]:
    @kernel
    def loop(x: Float32Array, out: Float32Array) -> None:
        for k in range(len(x)):
            out[k] = function(x[k])

    return loop


FUNCTIONS: list[tuple[Callable[[np.float32], np.float32], Callable[[Any], Any]]] = [
    (elementary.exponential, np.exp),
    (elementary.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    (elementary.softplus, lambda x: np.logaddexp(0, x)),
    (elementary.gelu, lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
]


def test_a_logarithm_against_double_precision() -> None:
    x = np.concatenate([np.geomspace(1e-37, 1e38, 100_001), np.linspace(0.9, 1.1, 10_001)]).astype(np.float32)
    out = np.empty_like(x)
    over(elementary.logarithm)(x, out)
    np.testing.assert_allclose(out, np.log(x.astype(np.float64)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("function", "reference"), FUNCTIONS, ids=lambda f: getattr(f, "__name__", ""))
def test_functions_against_double_precision(
    function: Callable[[np.float32], np.float32], reference: Callable[[Any], Any]
) -> None:
    x = np.concatenate([np.linspace(-60, 60, 100_001), [0.0, -0.0, 1e-30, -1e-20]]).astype(np.float32)
    out = np.empty_like(x)
    over(function)(x, out)
    # Below -5 a GELU's reference loses its digits in double precision too.
    np.testing.assert_allclose(
        out, reference(x.astype(np.float64)), rtol=1e-6, atol=2e-6 if function is elementary.gelu else 1e-35
    )
