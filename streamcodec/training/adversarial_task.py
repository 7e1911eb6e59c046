"""The adversarial stage: the codec against a judge of its spectra, each taking its turn in every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streamcodec.models.discriminator import Discriminator, DiscriminatorConfig, Verdict
from streamcodec.training.balancer import Balancer
from streamcodec.training.checkpoint import CODEC
from streamcodec.training.codec_task import CodecPass, CodecTask
from streamcodec.training.learning_rate import Constant
from streamcodec.training.schedule import TrainingConfig
from streamcodec.training.task import OptimiserConfig, Player, TrainingError, TrainingTask, Turn

DISCRIMINATOR = "discriminator"


@dataclass(frozen=True)
class AdversarialConfig:
    """Settings of the adversarial stage.

    The shares are norms of gradients at the decoded sound, as multiples of the reconstruction loss's
    (:class:`~streamcodec.training.balancer.Balancer`). They grow from zero over ``ramp_steps`` once the discriminator
    has begun to learn, since at first it has nothing to say.
    """

    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    discriminator_learning_rate: float = 2e-4
    adversarial_share: float = 0.3
    features_share: float = 0.6
    from_progress: float = 0.0
    """Share of the run that is plain regression."""
    ramp_steps: int = 300
    crop_samples: int = 12_000
    """Length of the random piece of each segment that is judged."""


FINE_TUNING = TrainingConfig(
    learning_rate=1e-4, final_learning_rate=1e-5, warmup_steps=100, rate_warmup_steps=1, late_losses_from=0.0
)
"""Settings of the regression losses for a stage that starts from trained weights."""


class AdversarialTask(TrainingTask):
    """A codec task with a discriminator as second player.

    Hinge losses after Lim and Ye, "Geometric GAN" (2017). The codec also matches the discriminator's features; since
    its decoder draws noise, by the energy distance of two draws, not by plain differences, which would dull it.
    """

    def __init__(self, codec_task: CodecTask, config: AdversarialConfig) -> None:
        self.codec_task = codec_task
        self.config = config
        sample_rate_hz = codec_task.codec.config.sample_rate_hz
        self.discriminator = Discriminator(config.discriminator, sample_rate_hz).to(codec_task.device)
        judge = Player(
            self.discriminator,
            Constant(config.discriminator_learning_rate),
            OptimiserConfig(betas=(0.5, 0.9), weight_decay=0.0, gradient_clip=10.0),
        )
        self.players = {**codec_task.players, DISCRIMINATOR: judge}
        self.identity = codec_task.identity
        self.settings = {**codec_task.settings, "adversarial": dataclasses.asdict(config)}
        self.sound_s_per_step = codec_task.sound_s_per_step
        self.balancer = Balancer(
            {"adversarial": config.adversarial_share, "features": config.features_share}, team=codec_task.team
        )
        self.rounds = 0

    def prepare(self) -> dict[str, float]:
        """As for the codec alone."""
        return self.codec_task.prepare()

    def turns(self, step: int, progress: float) -> Iterator[Turn]:
        """The codec's turn; from ``from_progress`` on under the discriminator's eyes, then the discriminator's."""
        done = self.codec_task.code_batch(step, progress)
        if progress < self.config.from_progress:
            yield Turn(CODEC, done.loss, done.figures)
            return
        pieces = self._crop(done)
        yield self._codec_turn(done, pieces)
        yield self._discriminator_turn(pieces)
        self.rounds += 1

    def state(self) -> dict[str, object]:
        """The balancer's averages, and how long the discriminator has been learning."""
        return {"norms": self.balancer.norms, "rounds": self.rounds}

    def load_state(self, state: Mapping[str, object]) -> None:
        """Nothing is there if the stage begins on a checkpoint of the regression stage."""
        norms, rounds = state.get("norms", {}), state.get("rounds", 0)
        if not isinstance(norms, dict) or not isinstance(rounds, int):
            raise TrainingError("the checkpoint's adversarial state is damaged")
        self.balancer.norms, self.rounds = dict(norms), rounds

    def _crop(self, done: CodecPass) -> _Pieces:
        spare = done.original.shape[1] - self.config.crop_samples
        start = int(torch.randint(max(spare, 0) + 1, ()))
        where = slice(start, start + self.config.crop_samples)
        return _Pieces(done.original[:, where], done.decoded[:, where], done.second[:, where], done.bandwidth_hz)

    def _codec_turn(self, done: CodecPass, pieces: _Pieces) -> Turn:
        with torch.no_grad():
            original = self.discriminator(pieces.original, pieces.bandwidth_hz)
        first, second = (self.discriminator(x, pieces.bandwidth_hz) for x in (pieces.decoded, pieces.second))
        adversarial = _mean([torch.relu(1.0 - verdict.score).mean() for verdict in (*first, *second)])
        features = _feature_distance(first, second, original)
        ramp = min(1.0, self.rounds / self.config.ramp_steps)
        others = {"adversarial": adversarial, "features": features}
        balanced = self.balancer.combine(done.distance, others, [done.decoded, done.second], ramp)
        figures = {**done.figures, "loss": done.loss.detach(), **{k: v.detach() for k, v in others.items()}}
        return Turn(CODEC, balanced + done.price, figures)

    def _discriminator_turn(self, pieces: _Pieces) -> Turn:
        original = self.discriminator(pieces.original, pieces.bandwidth_hz)
        decoded = self.discriminator(pieces.decoded.detach(), pieces.bandwidth_hz)
        pairs = list(zip(original, decoded, strict=True))
        loss = _mean([torch.relu(1.0 - r.score).mean() + torch.relu(1.0 + f.score).mean() for r, f in pairs])
        right = _mean([((r.score > 0).float().mean() + (f.score < 0).float().mean()) / 2 for r, f in pairs])
        return Turn(DISCRIMINATOR, loss, {"right": right})


@dataclass
class _Pieces:
    """What the discriminator sees of a batch."""

    original: Tensor
    decoded: Tensor
    second: Tensor
    bandwidth_hz: Tensor


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _feature_distance(first: list[Verdict], second: list[Verdict], original: list[Verdict]) -> Tensor:
    """Energy distance of two draws in every layer, relative to the size of the original's features."""
    distances = []
    for ours, again, theirs in zip(first, second, original, strict=True):
        for a, b, x in zip(ours.features, again.features, theirs.features, strict=True):
            distance = (a - x).abs().mean() + (b - x).abs().mean() - (a - b).abs().mean()
            distances.append(0.5 * distance / x.abs().mean().clamp_min(1e-6))
    return _mean(distances)
