"""The adversarial stage: a network that makes sound against a judge of it, each taking its turn in every step."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from streamcodec.models.discriminator import Discriminator, DiscriminatorConfig, Verdict
from streamcodec.models.voice_judges import VoiceJudges, VoiceJudgesConfig
from streamcodec.training.learning_rate import Constant
from streamcodec.training.loss_balancer import Balancer
from streamcodec.training.sound_task import SoundPass, SoundTask
from streamcodec.training.task import OptimiserConfig, OptimiserStep, TrainedModule, TrainingError, TrainingTask

JudgedT = TypeVar("JudgedT", bound=SoundTask)
DISCRIMINATOR = "discriminator"


@dataclass(frozen=True)
class AdversarialConfig:
    """Settings of the adversarial stage.

    The shares are norms of gradients at what the network gives out, as multiples of the reconstruction loss's
    (:class:`~streamcodec.training.loss_balancer.Balancer`). They grow from zero over ``ramp_steps`` after a head
    start of the discriminator: a network that answers its first guesses keeps it from ever learning to tell.
    """

    discriminator: DiscriminatorConfig | VoiceJudgesConfig = field(default_factory=DiscriminatorConfig)
    discriminator_learning_rate: float = 5e-4
    adversarial_share: float = 1.0
    features_share: float = 2.0
    from_progress: float = 0.0
    """Share of the run that is plain regression."""
    head_start_steps: int = 1_000
    """Steps in which the discriminator alone moves."""
    ramp_steps: int = 300
    judged_draws: int = 2
    """How many of the decoder's draws are judged; features of a single one are matched by plain differences."""
    crop_samples: int = 8_192
    """Length of the random piece of each segment that is judged."""


class AdversarialTask(TrainingTask, Generic[JudgedT]):
    """A task that makes sound, with a discriminator as second trained module.

    Each decoded piece is judged beside its own original, place by place, so that what both have in common cancels
    (Jolicoeur-Martineau, "The relativistic discriminator", 2018; Huang et al., "The GAN is dead; long live the GAN!",
    2024). The network may also match the discriminator's features; if its decoder draws noise, by the energy distance
    of two draws, not by plain differences, which would dull it.
    """

    def __init__(self, judged: JudgedT, config: AdversarialConfig) -> None:
        self.judged = judged
        self.config = config
        self.discriminator = judges_of(config.discriminator, judged.sample_rate_hz).to(judged.device)
        judge = TrainedModule(
            self.discriminator,
            Constant(config.discriminator_learning_rate),
            OptimiserConfig(betas=(0.5, 0.9), weight_decay=0.0, gradient_clip=10.0),
        )
        self.modules = {**judged.modules, DISCRIMINATOR: judge}
        self.identity = judged.identity
        self.sound_s_per_step = judged.sound_s_per_step
        self.balancer = Balancer(
            {"adversarial": config.adversarial_share, "features": config.features_share},
            distributed=judged.distributed,
        )
        self.rounds = 0

    def settings(self) -> dict[str, object]:
        """Those of the judged task and of this stage."""
        return {**self.judged.settings(), "adversarial": dataclasses.asdict(self.config)}

    def prepare(self) -> dict[str, float]:
        """As without a judge."""
        return self.judged.prepare()

    def validate(self) -> float | None:
        """As without a judge."""
        return self.judged.validate()

    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        """The network's turn; from ``from_progress`` on under the discriminator's eyes, then the discriminator's.

        While the discriminator has its head start, the turn is its alone.
        """
        if progress < self.config.from_progress:
            yield from self.judged.optimiser_steps(step, progress)
            return
        ahead = self.rounds < self.config.head_start_steps
        with torch.set_grad_enabled(not ahead):
            done = self.judged.sound_batch(step, progress)
        seen = self._judge(done)
        if not ahead:
            yield self._network_step(done, seen)
        # The graph of the verdicts serves the discriminator too: its weights have not moved since.
        yield self._discriminator_step(seen)
        self.rounds += 1

    def end_head_start(self) -> None:
        """Let both move from the next step on."""
        self.rounds = max(self.rounds, self.config.head_start_steps)

    def state(self) -> dict[str, object]:
        """The judged task's own, the balancer's averages, and how long the discriminator has been learning."""
        return {**self.judged.state(), "norms": self.balancer.norms, "rounds": self.rounds}

    def load_state(self, state: Mapping[str, object]) -> None:
        """Nothing is there if the stage begins on a checkpoint of the regression stage."""
        own = dict(state)
        norms, rounds = own.pop("norms", {}), own.pop("rounds", 0)
        self.judged.load_state(own)
        if not isinstance(norms, dict) or not isinstance(rounds, int):
            raise TrainingError("the checkpoint's adversarial state is damaged")
        self.balancer.norms, self.rounds = dict(norms), rounds

    def _judge(self, done: SoundPass) -> _Seen:
        """Verdicts on a random piece of every segment and of every draw of it."""
        spare = max(done.original.shape[1] - self.config.crop_samples, 0)
        start = int(torch.randint(spare + 1, ()))
        where = slice(start, start + self.config.crop_samples)
        with torch.autocast(done.original.device.type, torch.bfloat16, enabled=self.judged.bfloat16):
            heard = (done.original, *done.draws[: self.config.judged_draws])
            original, *draws = (self.discriminator(x[:, where], done.bandwidth_hz) for x in heard)
        return _Seen(original, draws)

    def _network_step(self, done: SoundPass, seen: _Seen) -> OptimiserStep:
        others = {"adversarial": _mean([_lead(x.detach(), y) for x, y in seen.pairs()])}
        if self.config.features_share:
            others["features"] = self._feature_distance(seen)
        ramp = min(1.0, (self.rounds - self.config.head_start_steps) / self.config.ramp_steps)
        balanced = self.balancer.combine(done.distance, others, done.outputs, ramp)
        figures = {**done.figures, "loss": done.loss.detach(), **others}
        return OptimiserStep(next(iter(self.modules)), balanced + done.price, figures)

    def _discriminator_step(self, seen: _Seen) -> OptimiserStep:
        misjudged = _mean([_lead(y, x) for x, y in seen.pairs()])
        rights = [(x > y).float().mean() for x, y in seen.pairs()]
        by_judge = {f"right{k}": _mean(rights[k :: len(seen.original)]) for k in range(len(seen.original))}
        return OptimiserStep(DISCRIMINATOR, misjudged, {"right": _mean(rights), **by_judge})

    def _feature_distance(self, seen: _Seen) -> Tensor:
        """Distance in every layer, relative to the original's features; of two draws the energy distance."""
        distances = []
        for original, *draws in zip(seen.original, *seen.draws, strict=True):
            for wanted, *found in zip(original.features, *(draw.features for draw in draws), strict=True):
                x = wanted.detach()
                parts = [(a - x).abs().mean() for a in found]
                parts += [-(a - b).abs().mean() for a, b in itertools.combinations(found, 2)]
                distance = functools.reduce(torch.add, parts).float() / len(found)
                distances.append(distance / x.abs().mean().float().clamp_min(1e-6))
        return _mean(distances)


@dataclass
class _Seen:
    """What the discriminator made of the originals and of each draw of the decoder, by resolution."""

    original: list[Verdict]
    draws: list[list[Verdict]]

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Scores of an original and of a draw, of every draw at every resolution."""
        for draw in self.draws:
            for wanted, found in zip(self.original, draw, strict=True):
                yield wanted.score.float(), found.score.float()


def judges_of(config: DiscriminatorConfig | VoiceJudgesConfig, sample_rate_hz: int) -> Discriminator | VoiceJudges:
    """The judges that a configuration describes."""
    if isinstance(config, VoiceJudgesConfig):
        return VoiceJudges(config, sample_rate_hz)
    return Discriminator(config, sample_rate_hz)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)


def _lead(better: Tensor, worse: Tensor) -> Tensor:
    """By how much one score leads where the other should: nothing far behind, linear far ahead."""
    return nn.functional.softplus(better - worse).mean()
