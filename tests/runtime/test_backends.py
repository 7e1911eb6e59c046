"""Backends: the same weights, the same state, and packets that every decoder hears."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import BackendError, StreamDecoder, StreamEncoder
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend, choose, open_graphs
from streamcodec.runtime.step import StepGraph, StepStreams

torch = pytest.importorskip("torch")

Float32Array = NDArray[np.float32]
# All compute in float32 and add in another order; the log of quiet bands enlarges that in the encoder. Where the
# shipped model multiplies in 8 bits, only onnxruntime rounds its inputs to 1/254 of their range.
CUDA = pytest.param(
    "torch-cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
)
OTHERS = [pytest.param("compiled"), pytest.param("torch"), CUDA]


def blocks(speech: Float32Array, packets: int) -> Float32Array:
    return speech[: packets * 480].reshape(packets, 480)


def latents_of(runtime: NeuralModel, sound: Float32Array) -> Float32Array:
    analysis = LatentAnalysis(runtime)
    return np.array([analysis.step(block).copy() for block in sound])


@pytest.mark.parametrize("backend", OTHERS)
def test_latents_are_those_of_onnxruntime(backend: Backend, speech: Float32Array) -> None:
    mine, reference = load_runtime(DEFAULT_MODEL, backend), load_runtime(DEFAULT_MODEL)
    found, expected = (latents_of(runtime, blocks(speech, 60)) for runtime in (mine, reference))
    assert expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=0.6 if reference.model.multiplies_in_8_bits else 2e-3)


@pytest.mark.parametrize("backend", OTHERS)
def test_indices_flip_rarely_and_every_decoder_hears_every_encoder(backend: Backend, speech: Float32Array) -> None:
    names: tuple[Backend, ...] = ("onnxruntime", backend)
    encoders = {name: StreamEncoder(24_000, 6_000, backend=name) for name in names}
    packets = {name: [encoder.push(block)[0] for block in blocks(speech, 60)] for name, encoder in encoders.items()}
    same = np.mean([a.payload == b.payload for a, b in zip(*packets.values(), strict=True)])
    assert same > (0.0 if load_runtime(DEFAULT_MODEL).model.multiplies_in_8_bits else 0.9)
    for sent in packets.values():
        decoders = [StreamDecoder(24_000, backend=name) for name in names]
        sounds = [np.concatenate([decoder.push(p.to_bytes()) for p in sent]) for decoder in decoders]
        assert sum(decoder.concealed for decoder in decoders) == 0
        difference = sounds[0] - sounds[1]
        assert np.sqrt(np.mean(difference**2)) < 0.02 * np.sqrt(np.mean(sounds[0] ** 2))


@pytest.mark.parametrize("backend", OTHERS)
def test_a_stream_moves_from_one_backend_to_another(backend: Backend, speech: Float32Array) -> None:
    first, second = StreamDecoder(24_000, backend=backend), StreamDecoder(24_000)
    encoder = StreamEncoder(24_000, 6_000)
    packets = [encoder.push(block)[0] for block in blocks(speech, 40)]
    for packet in packets[:20]:
        first.push(packet)
    second.state = first.state
    for packet in packets[20:]:
        np.testing.assert_allclose(second.push(packet), first.push(packet), atol=0.02)


def random_inputs(streams: StepStreams, random: np.random.Generator) -> None:
    for array in streams.inputs.values():
        if array.dtype == np.float32:
            array[...] = random.standard_normal(array.shape)
        else:
            array[...] = random.integers(0, 16, array.shape)


def both_graphs(backend: Backend) -> tuple[StepGraph, StepGraph]:
    return open_graphs(choose(backend), load_runtime(DEFAULT_MODEL).model)


@pytest.mark.parametrize("side", [0, 1], ids=["encoder", "decoder"])
@pytest.mark.parametrize("backend", ["onnxruntime", *OTHERS])
def test_streams_stepped_together_equal_streams_stepped_alone(backend: Backend, side: int) -> None:
    graph = both_graphs(backend)[side]
    random = np.random.default_rng(1)
    together, alone = graph.new_streams(5), [graph.new_stream() for _ in range(5)]
    for rows in ([0, 1, 2, 3, 4], [1, 2, 3], [0, 2, 4], [3], [0, 1, 4]):
        random_inputs(together, random)
        before = [together.state(row) for row in range(5)]
        together.step(np.array(rows))
        for row in range(5):
            if row not in rows:
                for old, now in zip(before[row], together.state(row), strict=True):
                    np.testing.assert_array_equal(now, old)
                continue
            for name, array in alone[row].inputs.items():
                array[...] = together.inputs[name][row]
            alone[row].step()
            np.testing.assert_allclose(together.output[row], alone[row].output[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", ["onnxruntime", *OTHERS])
def test_state_is_taken_given_and_forgotten(backend: Backend) -> None:
    graph = both_graphs(backend)[1]
    random = np.random.default_rng(2)
    streams = graph.new_streams(3)
    random_inputs(streams, random)
    streams.step()
    taken = streams.state(1)
    assert [array.shape for array in taken] == list(graph.state_shapes)
    first = streams.output[1].copy()
    streams.step()
    second = streams.output[1].copy()
    assert np.abs(first - second).max() > 1e-3
    streams.restore(1, taken)
    streams.step()
    np.testing.assert_allclose(streams.output[1], second, atol=1e-4)
    streams.row(1).reset()
    assert all((array == 0).all() for array in streams.state(1))
    assert any((array != 0).any() for array in streams.state(0))
    streams.step()
    np.testing.assert_allclose(streams.output[1], first, atol=1e-4)


def test_torch_steps_leave_the_process_its_threads(speech: Float32Array) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        StreamEncoder(24_000, backend="torch").push(speech[:960])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(BackendError, match="must be one of"):
        StreamEncoder(24_000, backend="tensorflow")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="no networks"):
        StreamDecoder(48_000, tier="lossless", backend="torch")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="CUDA device"):
            StreamDecoder(24_000, backend="torch-cuda")


def test_torch_is_missed_in_words() -> None:
    code = """
import sys
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
import streamcodec
try:
    streamcodec.StreamEncoder(24000, backend="torch")
except streamcodec.BackendError as error:
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert "streamcodec[torch]" in done.stdout


def test_the_compiled_backend_needs_neither_onnx_nor_onnxruntime() -> None:
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "onnxruntime"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy, streamcodec
encoder = streamcodec.StreamEncoder(24000, backend="compiled")
print(len(encoder.push(numpy.zeros(4800, numpy.float32))))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "10"


class RecordedGraph:
    """Stands in for a CUDA graph: it keeps what runs while it is captured, and replays that."""

    captured: Callable[[], None] | None = None

    def replay(self) -> None:
        assert self.captured is not None
        self.captured()


class SideStream:
    """Stands in for a CUDA stream."""

    def wait_stream(self, other: SideStream) -> None:
        assert other is not self


def test_capture_leaves_the_state_at_zero_and_replay_steps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code around a CUDA graph, with the CUDA calls replaced: what it does on a GPU must be seen on a GPU."""
    graph = both_graphs("torch")[1]
    streams, expected = graph.new_streams(3), graph.new_streams(3)
    main = SideStream()

    @contextmanager
    def capture(recorded: RecordedGraph, capture_error_mode: str) -> Iterator[None]:
        recorded.captured = streams._forward  # type: ignore[attr-defined]
        yield

    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", SideStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RecordedGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    random_inputs(streams, np.random.default_rng(3))
    streams._advance = streams._captured()  # type: ignore[attr-defined]
    assert all((array == 0).all() for row in range(3) for array in streams.state(row))
    for name, array in expected.inputs.items():
        array[...] = streams.inputs[name]
    for _ in range(3):
        for each in (streams, expected):
            each.step(np.array([0, 2]))
    np.testing.assert_array_equal(streams.output[[0, 2]], expected.output[[0, 2]])
    for row in range(3):
        for mine, theirs in zip(streams.state(row), expected.state(row), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert all((array == 0).all() for array in streams.state(1))
