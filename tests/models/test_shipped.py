"""A model's files are checked before anything is run: damage and wrong values are one sentence each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.neural.model import open_runtime
from streamcodec.errors import ModelError
from streamcodec.models.post_filter_file import POST_FILTER_FILE, read_post_filter, write_post_filter
from streamcodec.models.shipped import (
    DECODER_GRAPH,
    DEFAULT_MODEL,
    DESCRIPTION,
    ENTROPY_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
    load_model,
    load_shipped,
    read_model,
    write_description,
)
from streamcodec.models.weights import (
    Int8Matrix,
    decoder_shapes,
    encoder_shapes,
    floats_of,
    read_weights,
    write_weights,
)
from streamcodec.runtime.backend import choose

Tensors = dict[str, NDArray[Any]]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped model's folder, in links that a test may replace."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in load_model().folder.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def describe_anew(folder: Path, **changes: Any) -> None:
    """The description with hashes that fit, as somebody who means harm would make it."""
    model = load_model()
    (folder / DESCRIPTION).unlink()
    write_description(folder, model.config, model.multiplies_in_8_bits, model.facts | changes)


def refused(folder: Path, backend: Any = "compiled") -> str:
    """The one sentence with which a folder is refused."""
    with pytest.raises(ModelError) as caught:
        open_runtime(read_model(folder), choose(backend))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_copy_is_the_same_model(copy: Path) -> None:
    mine, shipped = read_model(copy), load_model()
    assert mine.fingerprint == shipped.fingerprint == "3202ebc1"
    assert mine.size_bytes == shipped.size_bytes < 12_000_000
    describe_anew(copy)
    assert json.loads((copy / DESCRIPTION).read_text()) == json.loads((shipped.folder / DESCRIPTION).read_text())


@pytest.mark.parametrize("name", MODEL_FILES)
def test_files_that_are_damaged_or_missing_are_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    replace(copy / name, bytes(data))
    assert name in refused(copy)
    replace(copy / name, bytes(data[: len(data) // 3]))
    assert "damaged" in refused(copy)
    (copy / name).unlink()
    assert "cannot be read" in refused(copy)


@pytest.mark.parametrize("name", [name for name in MODEL_FILES if name.endswith(".safetensors")])
def test_damaged_safetensors_are_refused_though_the_hash_fits(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for damaged in (b"", b"no such thing", data[:100], data[: len(data) // 2], b"\xff" * 8 + data[8:]):
        replace(copy / name, damaged)
        describe_anew(copy)
        assert name in refused(copy)


def test_a_damaged_graph_is_refused_though_the_hash_fits(copy: Path) -> None:
    data = (copy / DECODER_GRAPH).read_bytes()
    other = (copy / "encoder.onnx").read_bytes()
    for damaged in (b"", b"no such thing", data[: len(data) // 2], other):
        replace(copy / DECODER_GRAPH, damaged)
        describe_anew(copy)
        with pytest.raises(ModelError, match=r"cannot load .*decoder\.onnx"):
            open_runtime(read_model(copy), choose("onnxruntime"))


def test_a_graph_of_other_shapes_is_refused(copy: Path) -> None:
    """It loads and takes the weights; kernels, which check no bounds, would read behind its output."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string((copy / DECODER_GRAPH).read_bytes())
    (output,) = (each for each in graph.graph.output if each.name == "output")
    for node in graph.graph.node:
        node.output[:] = ["whole" if name == "output" else name for name in node.output]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([100, 671]), "parts"))
    graph.graph.node.append(onnx.helper.make_node("Split", ["whole", "parts"], ["output", "rest"], axis=-1))
    output.type.tensor_type.shape.dim[-1].dim_value = 100
    replace(copy / DECODER_GRAPH, graph.SerializeToString())
    describe_anew(copy)
    with pytest.raises(ModelError, match=r"decoder\.onnx is not the network that the description"):
        open_runtime(read_model(copy), choose("onnxruntime"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ('"', "damaged"),
        ("[1]", "must hold an object"),
        ("[" * 100_000, "damaged"),
        ("{}", "does not describe a model"),
        ('{"config": 5, "format": 2, "files": {}, "multiplies_in_8_bits": true}', "does not describe a model"),
    ],
)
def test_a_damaged_description_is_refused(copy: Path, damage: str, said: str) -> None:
    replace(copy / DESCRIPTION, damage.encode())
    assert said in refused(copy)
    (copy / DESCRIPTION).unlink()
    assert "shipped models: speech-24k" in refused(copy)


@pytest.mark.parametrize(
    "rates",
    [
        None,
        [1.0] * 16,
        {"independent": [1.0] * 16},
        {"independent": [1.0] * 15, "stream": [1.0] * 15},
        {"independent": [1.0] * 16, "stream": [*[1.0] * 15, 0.5]},
        {"independent": [1.0] * 16, "stream": ["1"] * 16},
        {"independent": [1.0] * 16, "stream": [float("nan")] * 16},
        {"independent": [1.0] * 16, "stream": [*[1.0] * 15, float("inf")]},
        {"independent": [0.0] * 16, "stream": [0.0] * 16},
        {"independent": [True] * 16, "stream": [1.0] * 16},
    ],
)
def test_rates_that_cannot_be_are_refused(copy: Path, rates: object) -> None:
    describe_anew(copy, kbps_by_quality=rates)
    assert "16 rates that rise" in refused(copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qualities", 0),
        ("qualities", -3),
        ("qualities", 10**9),
        ("qualities", "16"),
        ("qualities", None),
        ("qualities", True),
        ("hop_samples", 240.5),
        ("fft_samples", 10**12),
        ("fft_samples", 500),
        ("overlap_samples", 10_000),
        ("compand_power", 0.3),
        ("compand_power", "0.5"),
        ("envelope_groups", 0),
        ("envelope_latents", 0),
        ("encoder_dilations_frame", []),
        ("encoder_dilations_frame", [1, "2"]),
        ("decoder_dilations_packet", [1, -2]),
        ("decoder_dilations_packet", 4),
        ("unheard_of", 1),
    ],
)
def test_configurations_that_cannot_be_are_refused(copy: Path, field: str, value: object) -> None:
    described = json.loads((copy / DESCRIPTION).read_text())
    described["config"][field] = value
    replace(copy / DESCRIPTION, json.dumps(described).encode())
    assert field in refused(copy)


def put(name: str, index: Any, value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name][index] = value

    return change


def shape_of(name: str, shape: tuple[int, ...]) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = np.zeros(shape, tensors[name].dtype)

    return change


def cast(name: str, kind: type) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = tensors[name].astype(kind)

    return change


def drop(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        del tensors[name]

    return change


def add(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = np.zeros(3, np.float32)

    return change


def in_8_bits(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = np.ones(tensors[name].shape, np.int8)
        tensors[f"{name}_scale"] = np.ones(tensors[name].shape[:1], np.float32)

    return change


ENTROPY_HARM = [
    ("bounds", put("bounds", -1, 10**6)),
    ("bounds", put("bounds", 1, -4)),
    ("hidden", shape_of("hidden", (24, 128, 200))),
    ("hidden_bias", shape_of("hidden_bias", (2, 4, 24, 128))),
    ("out", cast("out", np.int32)),
    ("out_bias", put("out_bias", (0, 0, 0, 0), 2**31 - 1)),
    ("step", put("step", (3, 5), 0)),
    ("step", put("step", (3, 5), -7)),
    ("step", put("step", (3, 5), 2**31 - 1)),
    ("log2_step", put("log2_step", (0, 0), 10**6)),
    ("offset", put("offset", 7, 10**8)),
    ("offset", put("offset", 7, -5)),
    ("half_width", put("half_width", 7, 10**5)),
    ("half_width", put("half_width", 7, 0)),
    ("cumulative", put("cumulative", 3, -(10**6))),
    ("cumulative", put("cumulative", 0, 5)),
    ("cumulative", shape_of("cumulative", (40,))),
    ("cumulative", drop("cumulative")),
    ("they must be", add("more")),
]
WEIGHTS_HARM = [
    ("encoder.enter.weight", shape_of("encoder.enter.weight", (3, 3))),
    ("encoder.enter.weight", cast("encoder.enter.weight", np.int16)),
    ("encoder.enter.weight_scale", put("encoder.enter.weight_scale", 0, np.nan)),
    ("encoder.enter.weight_scale", drop("encoder.enter.weight_scale")),
    ("decoder.norm.bias", put("decoder.norm.bias", 0, np.inf)),
    ("decoder.level_embedding.weight", shape_of("decoder.level_embedding.weight", (2, 320))),
    ("decoder.up.bias", drop("decoder.up.bias")),
    ("decoder.up.bias", in_8_bits("decoder.up.bias")),
    ("decoder.level_embedding.weight", in_8_bits("decoder.level_embedding.weight")),
    ("decoder.more", add("decoder.more")),
]
POST_FILTER_HARM = [
    ("band_gains", put("band_gains", (0, 0), -1.0)),
    ("band_gains", put("band_gains", (0, 0), 1e4)),
    ("noise_gains", put("noise_gains", (0, 0), np.nan)),
    ("noise_gains", shape_of("noise_gains", (3, 257))),
    ("pitch_strengths", put("pitch_strengths", 0, 1e9)),
    ("pitch_strengths", drop("pitch_strengths")),
    ("envelope.bin_out", shape_of("envelope.bin_out", (5, 32))),
    ("envelope.bin_hidden_bias", shape_of("envelope.bin_hidden_bias", (0,))),
    ("envelope.frame_hidden_bias", drop("envelope.frame_hidden_bias")),
    ("envelope.more", add("envelope.more")),
]
HARM = [
    pytest.param(file, said, change, id=f"{file}-{said}-{k}")
    for file, cases in (
        (ENTROPY_FILE, ENTROPY_HARM),
        (WEIGHTS_FILE, WEIGHTS_HARM),
        (POST_FILTER_FILE, POST_FILTER_HARM),
    )
    for k, (said, change) in enumerate(cases)
]


@pytest.mark.parametrize(("file", "said", "change"), HARM)
def test_tensors_that_cannot_be_are_refused_though_the_hash_fits(
    copy: Path, file: str, said: str, change: Callable[[Tensors], None]
) -> None:
    tensors = {name: values.copy() for name, values in load_file(copy / file).items()}
    change(tensors)
    (copy / file).unlink()
    save_file(tensors, copy / file)
    describe_anew(copy)
    assert said in refused(copy)


def test_files_and_peers_choose_among_the_models_in_the_box(tmp_path: Path, copy: Path) -> None:
    assert load_shipped(DEFAULT_MODEL) is load_model(DEFAULT_MODEL)
    for name in (str(copy), "../shipped/speech-24k", f"./{DEFAULT_MODEL}", "", "nobody", "x" * 10_000):
        with pytest.raises(ModelError, match="no shipped model") as caught:
            load_shipped(name)
        assert len(str(caught.value)) < 300
    # What a user names may be a folder.
    assert load_model(str(copy)).fingerprint == load_shipped(DEFAULT_MODEL).fingerprint
    with pytest.raises(ModelError, match="no usable model"):
        load_model("../shipped/speech-24k")


def test_a_user_is_told_in_a_sentence(tmp_path: Path, copy: Path) -> None:
    shutil.copyfile(load_model().folder / ENTROPY_FILE, tmp_path / "short")
    replace(copy / ENTROPY_FILE, (tmp_path / "short").read_bytes()[:-1])
    for make in (StreamEncoder, StreamDecoder):
        with pytest.raises(ModelError, match="install or export the model again"):
            make(24_000, model=str(copy))


def test_weights_are_stored_and_read(tmp_path: Path) -> None:
    config = load_model().config
    shapes = encoder_shapes(config) | decoder_shapes(config)
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    write_weights(weights, tmp_path / "a.safetensors")
    write_weights(dict(reversed(weights.items())), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    found = read_weights(tmp_path / "a.safetensors", shapes)
    kinds = {type(weight) for weight in found.values()}
    assert kinds == {Int8Matrix, np.ndarray}
    for name, weight in found.items():
        limit = weight.scale.max() * 0.51 if isinstance(weight, Int8Matrix) else 4e-3
        np.testing.assert_allclose(floats_of(weight), weights[name], atol=limit, err_msg=name)
    # What is stored comes back to the last bit when it is stored again.
    write_weights({name: floats_of(weight) for name, weight in found.items()}, tmp_path / "c.safetensors")
    again = read_weights(tmp_path / "c.safetensors", shapes)
    for name, weight in found.items():
        np.testing.assert_allclose(floats_of(again[name]), floats_of(weight), rtol=1e-6, err_msg=name)


def test_the_post_filter_is_stored_and_read(tmp_path: Path) -> None:
    model = load_model()
    write_post_filter(model.post_filter, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (model.folder / POST_FILTER_FILE).read_bytes()
    bare = model.post_filter._replace(envelope=read_post_filter(model.config, tmp_path / "a.safetensors").envelope)
    assert bare.envelope.bin_hidden.shape == model.post_filter.envelope.bin_hidden.shape
