"""From a trained checkpoint to the shipped form: two ONNX step graphs, integer entropy tables, configuration."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch import Tensor, nn

from streamcodec.codec.neural import entropy as integer
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.onnx_weights import BLOCK_ZERO
from streamcodec.models.shipped import ENVELOPE_WEIGHTS_FILE
from streamcodec.models.step_modules import DecoderStep, EncoderStep
from streamcodec.runtime.onnx_step import NEXT_STATE_PREFIX, STATE_PREFIX
from streamcodec.training.band_gains import band_centres_hz
from streamcodec.training.checkpoint import CODEC, read_checkpoint
from streamcodec.training.post_filter import PITCH_STRENGTHS
from streamcodec.training.schedule import QualityCurve, by_quality
from streamcodec.training.task import TrainingError

HALF_FROM_VALUES = 2048
INT8_FROM_VALUES = 1 << 17
LOW_NOISE_GAINS = ((0.0, 0.85), (0.35, 0.85), (0.53, 0.8), (1.0, 0.8))
"""Gain of the decoder's noise below ``NOISE_RAMP_HZ`` by fineness of the quality index, 0 coarsest to 1 finest."""
LARGEST_BAND_GAIN_DB = 4.0
"""What is further off than this is not a matter of balance."""
NOISE_RAMP_HZ = (3_000.0, 5_000.0)
INT8_BLOCK = 64


def load_checkpoint(path: Path, *others: Path) -> NeuralCodec:
    """The averaged (EMA) weights of a training checkpoint, or their mean over several, in evaluation mode.

    The mean of two states of one run is worth trying: Wortsman et al., "Model soups" (2022). Raises TrainingError if
    they are not of one model.
    """
    stored = [read_checkpoint(each) for each in (path, *others)]
    configs = {each["identity"]["model_config"] for each in stored}
    if len(configs) > 1:
        raise TrainingError("checkpoints of different models have no mean: give states of one run")
    codec = NeuralCodec(NeuralConfig.from_json(configs.pop()))
    states = [each["players"][CODEC]["average"] for each in stored]
    codec.load_state_dict(
        {name: torch.stack([state[name].double() for state in states]).mean(0) for name in states[0]}
    )
    return codec.eval()


def training_facts(path: Path) -> dict[str, object]:
    """What a checkpoint says of its own training: steps, minutes, settings."""
    stored = read_checkpoint(path)
    return {"steps": stored["step"], "minutes": round(stored["minutes_done"], 1), **stored["settings"]}


def gains_of_training(path: Path) -> Tensor | None:
    """The output gains that a checkpoint's decoder was trained through; None where it was trained without.

    Shape: ``[qualities + 1, 3 * bins]``.
    """
    gains = read_checkpoint(path)["task"].get("gains")
    return gains if isinstance(gains, Tensor) else None


def output_gains(
    config: NeuralConfig, low_noise_gains: QualityCurve, band_gains_db: NDArray[np.float64] | None = None
) -> Tensor:
    """What a decoder's output is scaled by at each level: its noise at low frequencies, and what is too quiet.

    Trained on a distribution, the decoder draws as much noise as the original has; between the harmonics of a voice
    a little less is closer to the waveform and no duller, most of all at coarse levels (figures in
    ``docs/training-log.md``). Where bands then come out louder or quieter than they were (``band_gains_db``), sound
    and noise are scaled alike to undo it.

    Shape: balance ``[qualities, BANDS]`` -> ``[qualities + 1, 3 * bins]``; the last row is the decoder's level for a
    lost packet.
    """
    bins_hz = torch.arange(config.bins) * (config.sample_rate_hz / config.fft_samples)
    start_hz, end_hz = NOISE_RAMP_HZ
    rise = ((bins_hz - start_hz) / (end_hz - start_hz)).clamp(0.0, 1.0)
    drawn = torch.from_numpy(by_quality(low_noise_gains, config.qualities))
    low = torch.cat([drawn, drawn[:1]]).float()[:, None]
    noise = low + (1.0 - low) * rise
    gains = torch.cat([torch.ones(config.qualities + 1, 2 * config.bins), noise], dim=1)
    if band_gains_db is not None:
        centres_hz = band_centres_hz(config.sample_rate_hz)
        by_bin_db = np.stack([np.interp(bins_hz.numpy(), centres_hz, row) for row in band_gains_db])
        by_bin_db = by_bin_db.clip(-LARGEST_BAND_GAIN_DB, LARGEST_BAND_GAIN_DB)
        # The decoder's output is companded: amplitudes are its squares.
        even = torch.from_numpy(10.0 ** (-by_bin_db / 40.0)).float()
        gains[: config.qualities] *= even.repeat(1, 3)
    return gains


def export_graph(module: nn.Module, inputs: dict[str, Tensor], state: list[Tensor], path: Path, int8: bool) -> None:
    """Write a step graph of any number of streams: named inputs and ``state0..N`` in, ``output`` and
    ``next_state0..N`` out.

    ``module`` takes the inputs and then the states, and returns the output and then the next states; inputs and
    states are given for one stream.
    """
    names = [*inputs, *(f"{STATE_PREFIX}{k}" for k in range(len(state)))]
    outputs = ["output", *(f"{NEXT_STATE_PREFIX}{k}" for k in range(len(state)))]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        raw = Path(folder) / "graph.onnx"
        module.eval()
        torch.onnx.export(
            module,
            (*inputs.values(), *state),
            str(raw),
            input_names=names,
            output_names=outputs,
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(raw))
    _free_batch(model)
    _store_compactly(model)
    if int8:
        _multiply_in_int8(model)
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "streamcodec", ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _free_batch(model: onnx.ModelProto) -> None:
    """Let the graph step any number of streams at once: their number comes first in every shape."""
    initializers = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape":
            continue
        # In a target shape 0 stands for the input's own dimension, unless the node says otherwise.
        del node.attribute[:]
        shape = numpy_helper.to_array(initializers[node.input[1]]).copy()
        if shape[0] == 1 and len(shape) > 1:
            shape[0] = 0
            initializers[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "streams"


def _store_compactly(model: onnx.ModelProto) -> None:
    """Keep large matrices as int8 with one scale per column, other large weights as float16.

    The runtime computes in float32 all the same: it folds the conversions away when it loads the graph.
    """
    kept = []
    unpack = []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        name = initializer.name
        if initializer.data_type != TensorProto.FLOAT or values.size < HALF_FROM_VALUES:
            kept.append(initializer)
        elif values.ndim == 2 and values.size >= INT8_FROM_VALUES:
            scale = np.maximum(np.abs(values).max(axis=0, keepdims=True), 1e-12) / 127.0
            kept.append(numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{name}_int8"))
            kept.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
            unpack.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=TensorProto.FLOAT))
            unpack.append(helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]))
        else:
            kept.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            unpack.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*unpack, *nodes])


def _multiply_in_int8(model: onnx.ModelProto) -> None:
    """Let the matrices kept as int8 be multiplied as such, by inputs rounded to int8 block by block.

    A step then reads a quarter of the bytes. Needs onnxruntime 1.22.
    """
    initializers = {i.name: i for i in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    unused: set[str] = set()
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "MatMul" else ""
        if f"{name}_int8" not in initializers:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(initializers[f"{name}_int8"])
        scale = numpy_helper.to_array(initializers[f"{name}_scale"]).reshape(-1, 1)
        rows, columns = values.shape
        blocks = -(-rows // INT8_BLOCK)
        padded = np.full((columns, blocks * INT8_BLOCK), BLOCK_ZERO, np.uint8)
        padded[:, :rows] = (values.T.astype(np.int16) + BLOCK_ZERO).astype(np.uint8)
        packed, scales = f"{name}_blocks", f"{name}_block_scales"
        model.graph.initializer.append(numpy_helper.from_array(padded.reshape(columns, blocks, INT8_BLOCK), packed))
        model.graph.initializer.append(numpy_helper.from_array(np.repeat(scale, blocks, axis=1).ravel(), scales))
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], packed, scales],
                list(node.output),
                domain="com.microsoft",
                K=rows,
                N=columns,
                bits=8,
                block_size=INT8_BLOCK,
                accuracy_quality=4,
            )
        )
        unused.update((name, f"{name}_cast"))
    nodes = [node for node in nodes if node.output[0] not in unused]
    used = {name for node in nodes for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _fixed(values: Tensor, bits: int) -> NDArray[np.float64]:
    return np.asarray(np.round(values.detach().double().numpy() * (1 << bits)), dtype=np.float64)


def _fixed16(values: Tensor, bits: int) -> NDArray[np.int16]:
    return np.clip(_fixed(values, bits), -32768, 32767).astype(np.int16)


def entropy_tables(codec: NeuralCodec) -> dict[str, NDArray[np.generic]]:
    """The learned entropy model in integers, as stored beside the graphs."""
    config, model = codec.config, codec.entropy
    groups = len(model.groups)
    widest = max(g.stop - g.start for g in model.groups)
    masks = 1 << integer.CONTEXT_FRAMES
    hidden = np.zeros((groups, config.entropy_hidden, (integer.CONTEXT_FRAMES + 1) * config.latents), np.int16)
    hidden_bias = np.zeros((config.qualities, masks, groups, config.entropy_hidden), np.int16)
    out = np.zeros((groups, 2 * widest, config.entropy_hidden), np.int16)
    out_bias = np.zeros((config.qualities, masks, groups, 2 * widest), np.int32)
    for g in range(groups):
        first, last = model.hidden[g], model.out[g]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        hidden[g, :, : first.in_features] = _fixed16(first.weight, integer.WEIGHT_BITS)
        hidden_bias[:, :, g] = _fixed16(model.bias[g] + first.bias, integer.HIDDEN_BITS)
        out[g, : last.out_features] = _fixed16(last.weight, integer.WEIGHT_BITS)
        out_bias[:, :, g, : last.out_features] = _fixed(
            model.out_bias[g] + last.bias, integer.HIDDEN_BITS + integer.WEIGHT_BITS
        )
    step = np.maximum(1, _fixed(torch.exp2(codec.quantizer.log2_step), integer.STEP_BITS))
    log2_step = np.round(np.log2(step / (1 << integer.STEP_BITS)) * integer.SCALES_PER_OCTAVE)
    symbols = integer.make_symbol_tables()
    return {
        "bounds": np.array(config.group_bounds, dtype=np.int32),
        "hidden": hidden,
        "hidden_bias": hidden_bias,
        "out": out,
        "out_bias": out_bias,
        "step": step.astype(np.int32),
        "log2_step": log2_step.astype(np.int32),
        "cumulative": symbols.cumulative,
        "offset": symbols.offset,
        "half_width": symbols.half_width,
    }


def _export_step(module: EncoderStep | DecoderStep, path: Path, int8: bool) -> None:
    export_graph(module, module.inputs(1), module.initial_state(1), path, int8)


def export_decoder(
    codec: NeuralCodec,
    folder: Path,
    int8: bool = False,
    low_noise_gains: QualityCurve = LOW_NOISE_GAINS,
    band_gains_db: NDArray[np.float64] | None = None,
    gains: Tensor | None = None,
) -> None:
    """Write ``decoder.onnx`` alone, into a folder that may hold a model already; a spectral-envelope post-filter there is removed.

    That was fitted to another decoder: :mod:`~streamcodec.training.level_fit` makes one for this.

    ``band_gains_db`` is what :func:`~streamcodec.training.band_gains.measure_band_gains_db` found without it, to be
    undone. ``gains`` are those that the decoder was trained through, instead of both.
    """
    if gains is None:
        gains = output_gains(codec.config, low_noise_gains, band_gains_db)
    _export_step(DecoderStep(codec.decoder, gains), folder / "decoder.onnx", int8)
    (folder / ENVELOPE_WEIGHTS_FILE).unlink(missing_ok=True)


def export_model(
    codec: NeuralCodec,
    folder: Path,
    facts: dict[str, object],
    int8: bool = False,
    low_noise_gains: QualityCurve = LOW_NOISE_GAINS,
    pitch_strengths: QualityCurve = PITCH_STRENGTHS,
    gains: Tensor | None = None,
) -> None:
    """Write ``encoder.onnx``, ``decoder.onnx``, ``entropy.safetensors`` and ``model.json`` into ``folder``.

    ``int8`` multiplies the large matrices in 8 bits: nearly half the time, inputs rounded to 1/254 of their range.
    ``low_noise_gains`` scale the decoder's noise below ``NOISE_RAMP_HZ``: (fineness, gain) pairs, interpolated;
    ``pitch_strengths`` likewise are those of the pitch filter; ``gains`` as in :func:`export_decoder`.
    """
    config = codec.config
    folder.mkdir(parents=True, exist_ok=True)
    _export_step(EncoderStep(codec.encoder), folder / "encoder.onnx", int8)
    export_decoder(codec, folder, int8, low_noise_gains, gains=gains)
    save_file(entropy_tables(codec), folder / "entropy.safetensors")
    (folder / "model.json").write_text(
        json.dumps(
            {
                "config": json.loads(config.to_json()),
                "low_noise_gains": low_noise_gains,
                "pitch_strengths": by_quality(pitch_strengths, config.qualities).round(3).tolist(),
                **facts,
            },
            indent=1,
        )
        + "\n"
    )
