"""The compiled networks compute what the torch modules say, alone and many at once, and allocate nothing for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys
from numpy.typing import NDArray

from native_dsp.networks import codec_networks as networks
from native_dsp.networks import matrix_product
from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.model import load_runtime
from streamcodec.models.config import NeuralConfig
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend, choose, open_graphs
from streamcodec.runtime.step import StepGraph, StepStreams
from tests.helpers.traced_memory import traced_stretches

torch = pytest.importorskip("torch")

from streamcodec.models.step_modules import empty_decoder_step, empty_encoder_step  # noqa: E402
from streamcodec.models.weights import decoder_shapes, encoder_shapes, read_weights, write_weights  # noqa: E402
from streamcodec.runtime.compiled_step import CompiledGraph  # noqa: E402
from streamcodec.runtime.torch_step import TorchGraph  # noqa: E402

Float32Array = NDArray[np.float32]
# Sizes that fill no vector or tile and differ, so that no mistaken stride is hidden.
ODD = NeuralConfig(
    mel_bands=11,
    encoder_dim_hop=38,
    encoder_dim_frame=45,
    encoder_dilations_frame=(3, 1, 2),
    decoder_dim_frame=37,
    decoder_dilations_frame=(2, 3),
    decoder_dim_hop=50,
    waveform_latents=15,
    envelope_latents=7,
    qualities=4,
)
SIDES = pytest.mark.parametrize("side", [0, 1], ids=["encoder", "decoder"])


def fill(streams: Sequence[StepStreams], random: np.random.Generator, qualities: int) -> None:
    """The same inputs for all; levels up to that of a lost packet."""
    for name, first in streams[0].inputs.items():
        if first.dtype == np.float32:
            first[...] = random.standard_normal(first.shape)
        else:
            first[...] = random.integers(0, qualities + 1, first.shape)
        for others in streams[1:]:
            others.inputs[name][...] = first


@pytest.fixture(scope="module", params=[0, 1], ids=["encoder", "decoder"])
def odd_graphs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StepGraph, StepGraph]:
    """A network of odd sizes with random weights, compiled and in torch."""
    torch.manual_seed(3)
    encoder = request.param == 0
    module: Any = (empty_encoder_step if encoder else empty_decoder_step)(ODD)
    with torch.no_grad():
        for values in module.state_dict().values():
            size = 0.3 if values.ndim == 1 else values.shape[-1] ** -0.5
            values.copy_(size * torch.randn_like(values))
    state = {name: values.numpy() for name, values in module.state_dict().items()}
    if encoder:
        state["encoder.mel"] = module.encoder.get_buffer("mel").numpy()
    path = tmp_path_factory.mktemp("odd") / "model.safetensors"
    write_weights(state, path)
    stored = read_weights(path, (encoder_shapes if encoder else decoder_shapes)(ODD))
    compiled = (CompiledGraph.encoder if encoder else CompiledGraph.decoder)(ODD, stored)
    return compiled, (TorchGraph.encoder if encoder else TorchGraph.decoder)(ODD, stored, "cpu", 1)


def test_float_networks_are_those_of_torch(odd_graphs: tuple[StepGraph, StepGraph]) -> None:
    assert odd_graphs[0].state_shapes == odd_graphs[1].state_shapes
    mine, reference = (graph.new_streams(3) for graph in odd_graphs)
    random = np.random.default_rng(4)
    for _ in range(12):
        fill([mine, reference], random, ODD.qualities)
        mine.step()
        reference.step()
        assert reference.output.std() > 0.1
        np.testing.assert_allclose(mine.output, reference.output, rtol=1e-4, atol=2e-4)
    for row in range(3):
        for found, expected in zip(mine.state(row), reference.state(row), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.fixture(scope="module")
def shipped() -> tuple[StepGraph, StepGraph]:
    return open_graphs(choose("compiled"), load_runtime(DEFAULT_MODEL).model)


def test_latents_of_the_shipped_model(speech: Float32Array) -> None:
    """Finest quantiser steps are 0.4."""
    blocks = speech[: 80 * 480].reshape(80, 480)
    names: tuple[Backend, ...] = ("compiled", "torch", "onnxruntime")
    analyses = [LatentAnalysis(load_runtime(DEFAULT_MODEL, name)) for name in names]
    mine, exact, rounded = (np.array([a.step(block).copy() for block in blocks]) for a in analyses)
    assert exact.std() > 1.0
    np.testing.assert_allclose(mine, exact, atol=0.01)
    np.testing.assert_allclose(mine, rounded, atol=0.3)
    assert np.sqrt(np.mean((mine - exact) ** 2)) < 1e-3


def test_packets_and_sound_of_the_shipped_model(speech: Float32Array) -> None:
    """Those of the reference in float32; onnxruntime, which rounds more, is further away."""
    blocks = speech[: 80 * 480].reshape(80, 480)
    names: tuple[Backend, ...] = ("compiled", "torch", "onnxruntime")
    encoders = [StreamEncoder(24_000, 6_000, backend=name) for name in names]
    mine, exact, rounded = ([encoder.push(block)[0] for block in blocks] for encoder in encoders)
    assert np.mean([a.payload == b.payload for a, b in zip(mine, exact, strict=True)]) > 0.9
    assert np.mean([a.payload == b.payload for a, b in zip(mine, rounded, strict=True)]) > 0.4
    sounds = []
    for name in names:
        decoder = StreamDecoder(24_000, backend=name)
        heard = [decoder.push(None if k % 9 == 8 else packet.to_bytes()) for k, packet in enumerate(exact)]
        assert decoder.concealed == 8
        sounds.append(np.concatenate(heard))
    for reference, least_db in zip(sounds[1:], (55.0, 35.0), strict=True):
        error = np.sum((sounds[0] - reference) ** 2)
        assert 10.0 * np.log10(np.sum(reference**2) / error) > least_db


@SIDES
def test_streams_of_a_pool_are_streams_alone_to_the_last_bit(shipped: tuple[StepGraph, StepGraph], side: int) -> None:
    count = 19
    together, alone = shipped[side].new_streams(count), [shipped[side].new_streams(1) for _ in range(count)]
    random = np.random.default_rng(5)
    for share in (1.0, 0.5, 0.3, 0.9):
        fill([together], random, 16)
        rows = np.flatnonzero(random.random(count) < share)
        before = [together.state(row) for row in range(count)]
        outputs = together.output.copy()
        together.step(rows)
        for row in range(count):
            if row not in rows:
                np.testing.assert_array_equal(together.output[row], outputs[row])
                for now, old in zip(together.state(row), before[row], strict=True):
                    np.testing.assert_array_equal(now, old)
                continue
            for name, array in alone[row].inputs.items():
                array[0] = together.inputs[name][row]
            alone[row].step()
            np.testing.assert_array_equal(together.output[row], alone[row].output[0])


@SIDES
def test_state_moves_between_backends(side: int) -> None:
    model = load_runtime(DEFAULT_MODEL).model
    mine, other = (open_graphs(choose(name), model)[side].new_streams(2) for name in ("compiled", "torch"))
    random = np.random.default_rng(6)
    for giver, taker in ((mine, other), (other, mine)):
        fill([mine, other], random, 16)
        giver.step()
        taker.restore(1, giver.state(1))
        fill([mine, other], random, 16)
        giver.step()
        taker.step()
        difference = np.abs(taker.output[1] - giver.output[1]).max()
        assert difference < 0.01 * np.abs(giver.output[1]).max()
        assert np.abs(taker.output[0] - giver.output[0]).max() > 5 * difference
        giver.restore(0, taker.state(0))


def test_a_level_that_is_none_is_refused(shipped: tuple[StepGraph, StepGraph]) -> None:
    streams = shipped[1].new_streams(1)
    for quality_index in (-1, 17):
        streams.inputs["level"][...] = quality_index
        with pytest.raises(ValueError, match="no such quality index"):
            streams.step()
    assert all((array == 0).all() for array in streams.state(0))


def test_nothing_compiles_while_sound_flows(shipped: tuple[StepGraph, StepGraph]) -> None:
    streams = [graph.new_streams(capacity) for graph in shipped for capacity in (1, 12)]
    steps: list[Any] = [networks.step_encoder, networks.step_decoder]
    before = [list(step.signatures) for step in steps]
    for each in streams:
        each.step()
        each.step(np.array([0]))
        each.row(0).step()
        each.row(0).reset()
    assert [list(step.signatures) for step in steps] == before


@SIDES
def test_a_step_allocates_nothing(shipped: tuple[StepGraph, StepGraph], side: int) -> None:
    streams = shipped[side].new_streams(3)
    rows = np.array([0, 2])

    def step(times: int) -> None:
        for _ in range(times):
            streams.step()
            streams.step(rows)

    step(3)
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        stretches = list(traced_stretches(lambda: step(3), lambda: step(200), 5))
        # Handing over an array takes numba one record, which is freed after the call: that of the rows.
        calls = 2 * (3 + 5 * 200)
        assert rtsys.get_allocation_stats().alloc - before.alloc == calls
        assert rtsys.get_allocation_stats().free - before.free == calls
    finally:
        _nrt_python.memsys_disable_stats()
    # One pointer kept per step would add 3,200 bytes to every stretch.
    assert min(stretch.kept_bytes for stretch in stretches) < 1_000
    # Views of rows, and no array of a network's own, the smallest of which has 1 KB.
    assert min(stretch.peak_bytes for stretch in stretches) < 2_000


def test_no_sum_of_integers_overflows() -> None:
    for inputs in (7, 960, 5_000):
        weights = np.full((1, 33, inputs), -128, np.int8)
        matrix = matrix_product.pack(weights, np.ones((1, 33)), np.zeros((1, 33)))
        x, out = np.full((2, inputs), 3.0, np.float32), np.zeros((2, 33), np.float32)
        x[1] = -3.0
        matrix_product.multiply(matrix, 0, x, 2, matrix_product.make_workspace([matrix], 2), out)
        np.testing.assert_allclose(out, [[-384.0 * inputs] * 33, [384.0 * inputs] * 33], rtol=1e-3)
