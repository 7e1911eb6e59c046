"""The neural codec as a training task: regression of sound through quantised latents at a price per bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from native_dsp.filters.post_filter import PostFilterParameters
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.models.codec import CodecOutput, NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.shipped import load_model
from streamcodec.training.checkpoint import CODEC, read_checkpoint
from streamcodec.training.data import BatchesAhead, SegmentSource
from streamcodec.training.distributed import DistributedGroup
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.initialise import grow_from, initialise_linear_paths
from streamcodec.training.kept_state import is_kept_state, read_kept_state
from streamcodec.training.learning_rate import WarmupCosine
from streamcodec.training.losses import ReconstructionLoss, loss_weights
from streamcodec.training.post_filter import (
    as_played,
    output_gains,
    parameters_from_tensors,
    parameters_to_tensors,
    post_filter_parameters,
)
from streamcodec.training.schedule import TrainingConfig, draw_conditions, rate_weights
from streamcodec.training.sound_task import SoundPass, SoundTask
from streamcodec.training.task import Counted, OptimiserConfig, ParameterGroup, TrainedModule


class CodecTask(SoundTask):
    """The networks of the neural tier, scored by :class:`~streamcodec.training.losses.ReconstructionLoss`.

    With ``decoder_only`` the decoder alone is trained: packets stay what they are, and old and new decoders read the
    same ones. ``start_from`` is a checkpoint, a folder of kept state, or the name or folder of an exported model.
    Sound is scored as it leaves the post-filter: that of the model that the run started from, or else one without
    gains and envelope filter.
    """

    def __init__(
        self,
        model_config: NeuralConfig,
        config: TrainingConfig,
        cache: Path,
        device: str = "cpu",
        compile_model: bool = False,
        start_from: Path | str | None = None,
        bfloat16: bool = False,
        distributed: DistributedGroup | None = None,
        decoder_only: bool = False,
    ) -> None:
        self.config = config
        self.decoder_only = decoder_only
        self.sample_rate_hz = model_config.sample_rate_hz
        self.device = torch.device(device)
        self.bfloat16 = bfloat16
        self._start_from = start_from
        self.distributed = distributed or DistributedGroup()
        torch.manual_seed(config.seed)
        self.codec = self.make_codec(model_config).to(self.device)
        if decoder_only:
            self.codec.requires_grad_(False)
            self.codec.decoder.requires_grad_(True)
        self.history: list[object] = []
        """What the model that the run started from says of its own training, stage by stage."""
        self.set_post_filter(
            post_filter_parameters(model_config, low_noise_gains=((0.0, 1.0), (1.0, 1.0)), cut_top=False)
        )
        self.loss = ReconstructionLoss(model_config.sample_rate_hz, config.repulsion, by_ear=True).to(self.device)
        segment = config.segment_packets * model_config.frame_samples
        self.source = SegmentSource(cache, segment, model_config.sample_rate_hz, config.seed)
        self._batches = (
            BatchesAhead(self.source, self.distributed.size) if self.device.type == "cuda" else self.source
        )
        self.sound_s_per_step = config.batch_segments * config.segment_packets / model_config.frames_per_second
        self.identity = {"model_config": model_config.to_json()}
        self.modules = {CODEC: self._module()}
        self._forward = torch.compile(self.codec) if compile_model else self.codec

    def make_codec(self, model_config: NeuralConfig) -> NeuralCodec:
        """The networks, before their start values are set; a place for experiments to exchange some."""
        return NeuralCodec(model_config)

    def _module(self) -> TrainedModule:
        config, codec = self.config, self.codec
        encoder, entropy, steps = (list(m.parameters()) for m in (codec.encoder, codec.entropy, codec.quantizer))
        # The decoder, and whatever an experiment has added.
        apart = {id(p) for p in (*encoder, *entropy, *steps)}
        others = [p for p in codec.parameters() if id(p) not in apart]
        return TrainedModule(
            codec,
            WarmupCosine(config.learning_rate, config.final_learning_rate, config.warmup_steps),
            OptimiserConfig(weight_decay=config.weight_decay, gradient_clip=config.gradient_clip),
            [ParameterGroup(list(codec.decoder.parameters()), config.weight_decay)]
            if self.decoder_only
            else [
                ParameterGroup(others, config.weight_decay),
                ParameterGroup(encoder, config.weight_decay, rate_scale=3.0),
                ParameterGroup(entropy, config.weight_decay, rate_scale=3.0),
                ParameterGroup(steps, 0.0, rate_scale=3.0),
            ],
            average_decay=config.ema_decay,
        )

    def settings(self) -> dict[str, object]:
        """Those of the run, and the precision that was chosen."""
        return {**dataclasses.asdict(self.config), "bfloat16": self.bfloat16, "decoder_only": self.decoder_only}

    def prepare(self) -> dict[str, float]:
        """Take over the weights to start from, or set the linear paths to Karhunen-Loeve transforms of some sound."""
        if self._start_from is not None and Path(self._start_from).is_file():
            stored = read_checkpoint(Path(self._start_from), self.device)
            grow_from(self.codec, stored["players"][CODEC]["average"])
            return {}
        if self._start_from is not None and is_kept_state(Path(self._start_from)):
            kept = read_kept_state(Path(self._start_from))
            kept.fill(self.codec)
            self.set_post_filter(kept.post_filter)
            self.history = list(kept.stages)
            return {}
        if self._start_from is not None:
            model = load_model(str(self._start_from))
            grow_from(self.codec, codec_of(model).state_dict())
            self.set_post_filter(model.post_filter)
            self.history = list(model.facts.get("training", []))
            return {}
        samples, _ = self.source.batch(step=2**31, size=self.config.initial_segments)
        return initialise_linear_paths(self.codec, torch.from_numpy(samples).to(self.device))

    def set_post_filter(self, parameters: PostFilterParameters) -> None:
        """Score sound as it leaves this post-filter."""
        self.post_filter = PostFilter(self.codec.config, parameters)
        self.gains = output_gains(parameters).to(self.device)

    def state(self) -> dict[str, object]:
        """The post-filter, and what is known of the training before this run."""
        return {"post_filter": parameters_to_tensors(self.post_filter.parameters), "history": self.history}

    def load_state(self, state: Mapping[str, object]) -> None:
        """Take them back; raises TrainingError if there is more, left by a stage that this run is not asked for."""
        rest = dict(state)
        parameters, history = rest.pop("post_filter", None), rest.pop("history", [])
        super().load_state(rest)
        if parameters is not None:
            self.set_post_filter(parameters_from_tensors(parameters))
        self.history = list(history) if isinstance(history, list) else []

    def sound_batch(self, step: int, progress: float) -> SoundPass:
        """Draw the batch of a step, code it under random conditions, and score it."""
        config, model = self.config, self.codec.config
        own_step = step * self.distributed.size + self.distributed.rank
        samples, bandwidth = self._batches.batch(own_step, config.batch_segments)
        x = torch.from_numpy(samples).to(self.device)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + own_step)
        conditions = draw_conditions(model, x.shape[0], config.segment_packets, generator, config.quality_shares)
        quality_index = conditions.quality_index.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            out: CodecOutput = self._forward(
                x, quality_index, conditions.available.to(self.device), conditions.lost.to(self.device), self.gains
            )
        lag = model.overlap_samples
        first, second = as_played(self.post_filter, out, quality_index, conditions.lost)
        original, draws = x[:, :-lag], (first[:, lag:], second[:, lag:])
        band = torch.from_numpy(bandwidth).to(self.device)
        quality = quality_index.float().mean(1) / (model.qualities - 1)
        weights = loss_weights(quality, progress, config.late_losses_from)
        distance, parts = self.loss(*draws, original, band, weights)
        distance, extra = self.score_further(draws, original, band, distance.mean())
        to_kbps = model.frames_per_second / 1000.0
        price = rate_weights(config, model.qualities, step).to(self.device)[quality_index]
        return SoundPass(
            original=original,
            draws=draws,
            outputs=draws,
            bandwidth_hz=band,
            distance=distance,
            price=(price * out.frame_bits * to_kbps).mean(),
            figures={
                **parts,
                **extra,
                "kbps": _by_quality(out.frame_bits_hard * to_kbps, quality_index, model.qualities),
            },
        )

    def score_further(
        self, draws: tuple[Tensor, Tensor], original: Tensor, bandwidth_hz: Tensor, distance: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The reconstruction loss with what a kind of codec adds to it, and the parts for the log."""
        return distance, {}


def _by_quality(kbps: Tensor, quality_index: Tensor, qualities: int) -> Counted:
    flat = quality_index.flatten()
    total = torch.zeros(qualities, device=kbps.device).scatter_add_(0, flat, kbps.detach().flatten().float())
    return Counted(total, torch.bincount(flat, minlength=qualities).float())
