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
        self.sound_s_per_step = codec_task.sound_s_per_step
        self.balancer = Balancer(
            {"adversarial": config.adversarial_share, "features": config.features_share}, team=codec_task.team
        )
        self.rounds = 0

    def settings(self) -> dict[str, object]:
        """Those of the codec and of this stage."""
        return {**self.codec_task.settings(), "adversarial": dataclasses.asdict(self.config)}

    def prepare(self) -> dict[str, float]:
        """As for the codec alone."""
        return self.codec_task.prepare()

    def turns(self, step: int, progress: float) -> Iterator[Turn]:
        """The codec's turn; from ``from_progress`` on under the discriminator's eyes, then the discriminator's."""
        done = self.codec_task.code_batch(step, progress)
        if progress < self.config.from_progress:
            yield Turn(CODEC, done.loss, done.figures)
            return
        seen = self._judge(done)
        yield self._codec_turn(done, seen)
        # The graph of the verdicts serves the discriminator too: its weights have not moved since.
        yield self._discriminator_turn(seen)
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

    def _judge(self, done: CodecPass) -> _Seen:
        """Verdicts on a random piece of every segment and of both draws of it."""
        spare = max(done.original.shape[1] - self.config.crop_samples, 0)
        start = int(torch.randint(spare + 1, ()))
        where = slice(start, start + self.config.crop_samples)
        with torch.autocast(done.decoded.device.type, torch.bfloat16, enabled=self.codec_task.bfloat16):
            return _Seen(
                *(
                    self.discriminator(x[:, where], done.bandwidth_hz)
                    for x in (done.original, done.decoded, done.second)
                )
            )

    def _codec_turn(self, done: CodecPass, seen: _Seen) -> Turn:
        scores = [verdict.score.float() for verdict in (*seen.first, *seen.second)]
        others = {
            "adversarial": _mean([torch.relu(1.0 - score).mean() for score in scores]),
            "features": _feature_distance(seen),
        }
        ramp = min(1.0, self.rounds / self.config.ramp_steps)
        balanced = self.balancer.combine(done.distance, others, [done.decoded, done.second], ramp)
        figures = {**done.figures, "loss": done.loss.detach(), **others}
        return Turn(CODEC, balanced + done.price, figures)

    def _discriminator_turn(self, seen: _Seen) -> Turn:
        scores = [
            (x.score.float(), a.score.float(), b.score.float())
            for x, a, b in zip(seen.original, seen.first, seen.second, strict=True)
        ]
        loss = _mean(
            [
                torch.relu(1.0 - x).mean() + 0.5 * (torch.relu(1.0 + a).mean() + torch.relu(1.0 + b).mean())
                for x, a, b in scores
            ]
        )
        right = _mean([0.5 * ((x > 0).float().mean() + (a < 0).float().mean()) for x, a, _ in scores])
        return Turn(DISCRIMINATOR, loss, {"right": right})


@dataclass
class _Seen:
    """What the discriminator made of the originals and of the two draws of the decoder."""

    original: list[Verdict]
    first: list[Verdict]
    second: list[Verdict]


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _feature_distance(seen: _Seen) -> Tensor:
    """Energy distance of two draws in every layer, relative to the size of the original's features."""
    distances = []
    for ours, again, theirs in zip(seen.first, seen.second, seen.original, strict=True):
        for a, b, wanted in zip(ours.features, again.features, theirs.features, strict=True):
            x = wanted.detach()
            distance = (a - x).abs().mean() + (b - x).abs().mean() - (a - b).abs().mean()
            distances.append(0.5 * distance.float() / x.abs().mean().float().clamp_min(1e-6))
    return _mean(distances)
