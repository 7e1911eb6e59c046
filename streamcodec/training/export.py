"""From trained weights to the shipped form: weights, integer entropy tables, graphs, post-filter, description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from native_dsp.filters.post_filter import PostFilterParameters
from streamcodec.codec.neural import entropy as integer
from streamcodec.codec.neural.entropy_tables import make_symbol_tables
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.post_filter_file import POST_FILTER_FILE, write_post_filter
from streamcodec.models.shipped import (
    DECODER_GRAPH,
    ENCODER_GRAPH,
    ENTROPY_FILE,
    WEIGHTS_FILE,
    load_model,
    write_description,
)
from streamcodec.models.weights import decoder_shapes, encoder_shapes, write_tensors, write_weights
from streamcodec.training.checkpoint import CODEC, read_checkpoint
from streamcodec.training.graph_export import graph_templates
from streamcodec.training.kept_state import read_kept_state
from streamcodec.training.post_filter import parameters_from_tensors
from streamcodec.training.task import TrainingError


@dataclass(frozen=True)
class Trained:
    """What a checkpoint, or the folder of a kept state, holds of a codec that can be exported."""

    config: NeuralConfig
    weights: dict[str, Tensor]
    """Averaged (EMA) weights by name."""
    post_filter: Mapping[str, Tensor] | PostFilterParameters | None
    stages: list[object]
    """Stages of training that led to it, the first one first: steps, minutes and settings of each."""


def read_trained(path: Path) -> Trained:
    """Read a training checkpoint, or a kept state's folder; raises TrainingError.

    Decoders that follow a pitch can be trained and kept, not exported.
    """
    if path.is_dir():
        kept = read_kept_state(path)
        if kept.decoder != "plain":
            raise TrainingError(f"{path} is of a {kept.decoder} decoder; only plain ones can be exported")
        codec = NeuralCodec(load_model(kept.base).config)
        kept.fill(codec)
        return Trained(codec.config, dict(codec.state_dict()), kept.post_filter, kept.stages)
    stored = read_checkpoint(path)
    run = {"steps": stored["step"], "minutes": round(stored["minutes_done"], 1), **stored["settings"]}
    return Trained(
        NeuralConfig.from_json(stored["identity"]["model_config"]),
        stored["players"][CODEC]["average"],
        stored["task"].get("post_filter"),
        [*stored["task"].get("history", []), run],
    )


def load_checkpoint(path: Path, *others: Path) -> NeuralCodec:
    """The codec of a checkpoint or kept state, or the mean of several, in evaluation mode.

    The mean of two states of one run is worth trying: Wortsman et al., "Model soups" (2022). Raises TrainingError if
    they are not of one model.
    """
    found = [read_trained(each) for each in (path, *others)]
    if any(each.config != found[0].config for each in found):
        raise TrainingError("checkpoints of different models have no mean: give states of one run")
    codec = NeuralCodec(found[0].config)
    codec.load_state_dict(
        {name: torch.stack([each.weights[name].double() for each in found]).mean(0) for name in found[0].weights}
    )
    return codec.eval()


def training_facts(path: Path, averaged_with: Sequence[Path] = ()) -> list[object]:
    """Stages of training that led to a checkpoint, the first one first: steps, minutes and settings of each.

    Those before the run itself are told by the model that it started from. The checkpoints averaged with it are named
    in the last stage.
    """
    *before, last = read_trained(path).stages
    assert isinstance(last, dict)
    return [*before, last | {"averaged_with": [read_trained(other).stages[-1] for other in averaged_with]}]


def post_filter_of_training(path: Path) -> PostFilterParameters:
    """The post-filter that a checkpoint's decoder was trained through; raises TrainingError."""
    found = read_trained(path).post_filter
    return found if isinstance(found, PostFilterParameters) else parameters_from_tensors(found)


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
    symbols = make_symbol_tables()
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


def export_model(
    codec: NeuralCodec, folder: Path, facts: dict[str, Any], post_filter: PostFilterParameters, int8: bool = False
) -> None:
    """Write all files of a model into ``folder``.

    ``int8`` lets onnxruntime multiply the large matrices in 8 bits: nearly half the time, inputs rounded to 1/254 of
    their range. ``facts`` must hold ``kbps_by_quality``.
    """
    config = codec.config
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: values.detach().numpy() for name, values in codec.state_dict().items()}
    state["encoder.mel"] = codec.encoder.get_buffer("mel").numpy()
    write_weights(
        {name: state[name] for name in encoder_shapes(config) | decoder_shapes(config)}, folder / WEIGHTS_FILE
    )
    write_tensors(entropy_tables(codec), folder / ENTROPY_FILE)
    for name, graph in zip((ENCODER_GRAPH, DECODER_GRAPH), graph_templates(config, int8), strict=True):
        (folder / name).write_bytes(graph)
    write_post_filter(post_filter, folder / POST_FILTER_FILE)
    write_description(folder, config, int8, facts)
