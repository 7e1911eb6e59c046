"""Kept state: what a later run needs to go on from an earlier one, small enough for a repository.

A folder of ``state.json``, ``codec.safetensors``, ``post_filter.safetensors`` and, after an adversarial stage,
``judges.safetensors``: averaged weights in float16, of the codec only those that differ from the exported model it
started from, and no optimiser's state, which a few hundred steps make again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from native_dsp.filters.post_filter import PostFilterParameters
from streamcodec.codec.files.output_file import whole_folder
from streamcodec.errors import ModelError
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.decoder_kinds import CODECS, DecoderKind, decoder_kind
from streamcodec.models.discriminator import DiscriminatorConfig
from streamcodec.models.post_filter_file import POST_FILTER_FILE, read_post_filter, write_post_filter
from streamcodec.models.shipped import load_model
from streamcodec.models.voice_judges import VoiceJudgesConfig
from streamcodec.training.adversarial_task import DISCRIMINATOR
from streamcodec.training.checkpoint import CODEC, read_checkpoint
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.initialise import grow_from
from streamcodec.training.post_filter import parameters_from_tensors
from streamcodec.training.task import TrainingError

STATE, CODEC_WEIGHTS, JUDGES_WEIGHTS = "state.json", "codec.safetensors", "judges.safetensors"
FORMAT = 3
CONTINUED = (
    "discriminator_learning_rate",
    "adversarial_share",
    "features_share",
    "judged_draws",
    "crop_samples",
)


@dataclass(frozen=True)
class KeptState:
    """A kept state as read from its folder."""

    base: str
    """Name of the exported model that holds what is not kept."""
    decoder: DecoderKind
    weights: dict[str, Tensor]
    """Of the codec, by name, in float32."""
    judges: DiscriminatorConfig | VoiceJudgesConfig | None
    judges_weights: dict[str, Tensor]
    post_filter: PostFilterParameters
    """Through which the decoder was trained."""
    stages: list[Any]
    """Stages of training, the first one first, as a model's card tells them."""
    facts: dict[str, Any]
    """``steps`` and ``minutes`` of the last run, and its settings."""

    @property
    def repulsion(self) -> float | None:
        """That of the last run."""
        value = self.facts["settings"].get("repulsion")
        return float(value) if isinstance(value, int | float) else None

    @property
    def adversarial_settings(self) -> dict[str, Any]:
        """Settings of the last run's adversarial stage that the next one goes on with, by their names there."""
        found = self.facts["settings"].get("adversarial", {})
        return {name: found[name] for name in CONTINUED if name in found}

    def fill(self, codec: NeuralCodec) -> None:
        """Put the weights of base and state into ``codec``.

        Raises TrainingError if the codec has no place for one of them.
        """
        model = load_model(self.base)
        try:
            grow_from(codec, codec_of(model).state_dict())
            fresh = codec.state_dict()
            for name, values in self.weights.items():
                fresh[name].copy_(values)
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(f"the kept state is of other networks than this run's ({error})") from error

    def fill_judges(self, judges: nn.Module) -> None:
        """Put the judges' weights in place; raises TrainingError if they are of others."""
        try:
            judges.load_state_dict(self.judges_weights)
        except RuntimeError as error:
            raise TrainingError(f"the kept judges are not this run's ({error})") from error


def is_kept_state(folder: Path) -> bool:
    """Whether a folder holds one."""
    return (folder / STATE).is_file()


def keep_state(checkpoint: Path, base: str, folder: Path) -> int:
    """Write a run's state into ``folder``; returns the bytes of its files.

    ``base`` names the exported model that the run started from. Raises TrainingError for a checkpoint of other
    networks than those of the base.
    """
    stored = read_checkpoint(checkpoint)
    module = stored["players"][CODEC]
    weights: dict[str, Tensor] = module["average"] or module["weights"]
    decoder = decoder_kind(weights)
    config = NeuralConfig.from_json(stored["identity"]["model_config"])
    before = _start(config, decoder, base)
    if before.keys() != weights.keys():
        raise TrainingError(f"{checkpoint} is not of the networks of {base}")
    changed = {name: values for name, values in weights.items() if not torch.equal(values, before[name])}
    task, last = stored["task"], stored["settings"]
    facts = {"steps": stored["step"], "minutes": round(stored["minutes_done"], 1), "settings": last}
    stages = [*task.get("history", []), {"steps": facts["steps"], "minutes": facts["minutes"], **last}]
    judges = last.get("adversarial", {}).get("discriminator")
    judging: Mapping[str, Tensor] = {} if judges is None else stored["players"][DISCRIMINATOR]["weights"]
    description = {"base": base, "decoder": decoder, "judges": judges, "stages": stages, "facts": facts}
    return _write(folder, description, changed, parameters_from_tensors(task.get("post_filter")), judging)


def keep_mean(states: Sequence[Path], shares: Sequence[float], folder: Path) -> int:
    """Write the mean of kept states and exported models of one kind of codec; returns the bytes of its files.

    Judges, settings and post-filter are those of the first kept state, whose base is that of the mean. Decoders tuned
    apart from one start have a mean that is often closer to the original than each of them (Wortsman et al., "Model
    soups", 2022). Raises TrainingError.
    """
    kept = {path: read_kept_state(path) for path in states if is_kept_state(path)}
    if not kept or len(states) != len(shares) or not abs(sum(shares) - 1.0) <= 1e-6:
        raise TrainingError("a mean wants a kept state among its sources, and a share for each, 1 in all")
    first = next(iter(kept.values()))
    config = load_model(first.base).config
    mean: dict[str, Tensor] = {}
    for path, share in zip(states, shares, strict=True):
        if path in kept:
            codec = CODECS[first.decoder](config)
            kept[path].fill(codec)
            weights: Mapping[str, Tensor] = codec.state_dict()
        else:
            weights = _start(config, first.decoder, str(path))
        for name, values in weights.items():
            mean[name] = mean[name] + share * values.double() if name in mean else share * values.double()
    before = _start(config, first.decoder, first.base)
    changed = {
        name: values for name, values in mean.items() if not torch.allclose(values.float(), before[name], rtol=0.0)
    }
    sources = [
        {"share": share, **({"base": path.name} if path not in kept else _told(kept[path]))}
        for path, share in zip(states, shares, strict=True)
    ]
    stages = [*first.stages[:-1], {**first.stages[-1], "mean_of": sources}]
    description = {
        "base": first.base,
        "decoder": first.decoder,
        "judges": None if first.judges is None else asdict(first.judges),
        "stages": stages,
        "facts": first.facts,
    }
    return _write(folder, description, changed, first.post_filter, first.judges_weights)


def _told(state: KeptState) -> dict[str, Any]:
    return {"steps": state.facts["steps"], "minutes": state.facts["minutes"]}


def _write(
    folder: Path,
    description: Mapping[str, Any],
    changed: Mapping[str, Tensor],
    post_filter: PostFilterParameters,
    judging: Mapping[str, Tensor],
) -> int:
    """Write the files of a state; returns their bytes."""
    with whole_folder(folder, STATE) as made:
        _write_halved(made / CODEC_WEIGHTS, changed)
        write_post_filter(post_filter, made / POST_FILTER_FILE)
        if judging:
            _write_halved(made / JUDGES_WEIGHTS, judging)
        (made / STATE).write_text(json.dumps({"format": FORMAT, **description}, indent=1) + "\n")
    if not judging:
        (folder / JUDGES_WEIGHTS).unlink(missing_ok=True)
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _write_halved(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.write_bytes(save({name: values.half().contiguous() for name, values in tensors.items()}))


def _start(config: NeuralConfig, decoder: DecoderKind, base: str) -> dict[str, Tensor]:
    """Weights of the base in the networks of a run."""
    torch.manual_seed(0)
    codec = CODECS[decoder](config)
    shipped = codec_of(load_model(base))
    try:
        grow_from(codec, shipped.state_dict())
    except ValueError as error:
        raise TrainingError(f"{base} is another model than this run's ({error})") from error
    return codec.state_dict()


def read_kept_state(folder: Path) -> KeptState:
    """Read what :func:`keep_state` wrote; raises TrainingError for a folder that holds nothing of the kind."""
    try:
        stored = json.loads((folder / STATE).read_text())
        if stored["format"] != FORMAT:
            raise TrainingError(
                f"{folder} is kept state of another version, {stored['format']}; this one reads {FORMAT}"
            )
        judges = _judges_config(stored["judges"])
        return KeptState(
            base=stored["base"],
            decoder=_decoder(stored["decoder"]),
            weights=_floats(folder / CODEC_WEIGHTS),
            judges=judges,
            judges_weights={} if judges is None else _floats(folder / JUDGES_WEIGHTS),
            post_filter=read_post_filter(load_model(stored["base"]).config, folder / POST_FILTER_FILE),
            stages=list(stored["stages"]),
            facts=dict(stored["facts"]),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, ModelError) as error:
        raise TrainingError(
            f"{folder} holds no kept state ({error}); give a folder that --keep has written"
        ) from error


def _decoder(name: str) -> DecoderKind:
    found: DecoderKind | None = next((kind for kind in CODECS if kind == name), None)
    if found is None:
        raise TrainingError(f"kept state is of a decoder of kind {name!r:.80}; there are {', '.join(CODECS)}")
    return found


def _floats(path: Path) -> dict[str, Tensor]:
    return {name: values.float() for name, values in load_file(path).items()}


def _judges_config(fields: Mapping[str, Any] | None) -> DiscriminatorConfig | VoiceJudgesConfig | None:
    """A judges' configuration from plain values; lists become tuples again."""
    if fields is None:
        return None
    plain = {name: _tuples(value) for name, value in fields.items()}
    return VoiceJudgesConfig(**plain) if "bands" in plain else DiscriminatorConfig(**plain)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value
