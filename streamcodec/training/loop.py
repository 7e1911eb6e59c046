"""The one training loop: resumable, timed by steps or minutes, with a live line and written curves."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.training.data import SegmentSource
from streamcodec.training.initialise import grow_from, initialise_linear_paths
from streamcodec.training.losses import ReconstructionLoss, loss_weights
from streamcodec.training.schedule import (
    TrainingConfig,
    draw_conditions,
    learning_rate,
    rate_weights,
)

Report = Callable[[dict[str, object]], None]


@dataclass
class RunLimits:
    """How long a run lasts: whichever bound is met first."""

    minutes: float
    max_steps: int | None = None
    checkpoint_minutes: float = 3.0
    log_steps: int = 25


class Trainer:
    """State of one run; :meth:`run` goes on from wherever the run's folder says it stands."""

    def __init__(
        self,
        model_config: NeuralConfig,
        config: TrainingConfig,
        cache: Path,
        run_folder: Path,
        device: str = "cpu",
        compile_model: bool = False,
        start_from: Path | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.config = config
        self.folder = run_folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(device)
        self.bfloat16 = bfloat16
        torch.manual_seed(config.seed)
        self.codec = NeuralCodec(model_config).to(self.device)
        self.loss = ReconstructionLoss(model_config.sample_rate_hz, config.repulsion).to(self.device)
        segment = config.segment_packets * model_config.packet_samples
        self.source = SegmentSource(cache, segment, model_config.sample_rate_hz, config.seed)
        quantizer = [p for name, p in self.codec.named_parameters() if "log2_step" in name]
        others = [p for name, p in self.codec.named_parameters() if "log2_step" not in name]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": others, "weight_decay": config.weight_decay, "scale": 1.0},
                {"params": quantizer, "weight_decay": 0.0, "scale": 3.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.ema = {k: v.detach().clone() for k, v in self.codec.state_dict().items()}
        self.step = 0
        self.minutes_done = 0.0
        if (self.folder / "checkpoint.pt").is_file():
            self._restore()
        elif start_from is not None:
            stored = torch.load(start_from, map_location=self.device, weights_only=True)
            grow_from(self.codec, stored["ema"])
            self.ema = {k: v.detach().clone() for k, v in self.codec.state_dict().items()}
        else:
            samples, _ = self.source.batch(step=2**31, size=config.initial_segments)
            found = initialise_linear_paths(self.codec, torch.from_numpy(samples).to(self.device))
            self.ema = {k: v.detach().clone() for k, v in self.codec.state_dict().items()}
            self._append({"step": 0, **found})
        self._forward = torch.compile(self.codec) if compile_model else self.codec

    def _append(self, row: dict[str, object]) -> None:
        with (self.folder / "log.jsonl").open("a") as handle:
            handle.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write a checkpoint; the old one stays whole until the new one is complete."""
        temporary = self.folder / "checkpoint.tmp"
        torch.save(
            {
                "codec": self.codec.state_dict(),
                "ema": self.ema,
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "minutes_done": self.minutes_done,
                "model_config": self.codec.config.to_json(),
                "training_config": dataclasses.asdict(self.config),
                "torch_rng": torch.get_rng_state(),
            },
            temporary,
        )
        temporary.replace(self.folder / "checkpoint.pt")

    def _restore(self) -> None:
        stored = torch.load(self.folder / "checkpoint.pt", map_location=self.device, weights_only=True)
        if stored["model_config"] != self.codec.config.to_json():
            raise ValueError(f"{self.folder} holds a run of another model configuration; choose another --out")
        self.codec.load_state_dict(stored["codec"])
        self.ema = stored["ema"]
        self.optimiser.load_state_dict(stored["optimiser"])
        self.step = stored["step"]
        self.minutes_done = stored["minutes_done"]
        torch.set_rng_state(stored["torch_rng"].cpu())

    def _update_ema(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        names = [k for k, v in self.ema.items() if v.dtype.is_floating_point]
        current = self.codec.state_dict()
        torch._foreach_lerp_([self.ema[k] for k in names], [current[k] for k in names], 1 - decay)

    def train_step(self, progress: float) -> dict[str, object]:
        """One optimiser step; returns the figures of the step."""
        config, model = self.config, self.codec.config
        samples, bandwidth = self.source.batch(self.step, config.batch_segments)
        x = torch.from_numpy(samples).to(self.device)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        conditions = draw_conditions(model, x.shape[0], config.segment_packets, generator)
        level = conditions.level.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            out = self._forward(x, level, conditions.available.to(self.device), conditions.lost.to(self.device))
        lag = model.overlap_samples
        band = torch.from_numpy(bandwidth).to(self.device)
        fineness = level.float().mean(1) / (model.levels - 1)
        distance, parts = self.loss(
            out.samples[:, lag:],
            out.second[:, lag:],
            x[:, :-lag],
            band,
            loss_weights(fineness, progress, config.late_losses_from),
        )
        kbps = out.packet_bits * (model.packets_per_second / 1000.0)
        price = rate_weights(config, model.levels, self.step).to(self.device)[level]
        loss = distance.mean() + (price * kbps).mean()
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * learning_rate(config, self.step, progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.codec.parameters(), config.gradient_clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self._update_ema()
        return {
            "loss": float(loss.detach()),
            "grad_norm": float(norm),
            **parts,
            "kbps_by_level": _by_level(out.packet_bits_hard * (model.packets_per_second / 1000), level, model.levels),
        }

    def run(self, limits: RunLimits, report: Report | None = None) -> None:
        """Train until a limit is met, writing checkpoints and ``log.jsonl`` on the way."""
        began = last_save = last_log = time.monotonic()
        before = self.minutes_done
        sums: dict[str, float] = {}
        level_sums = torch.zeros(2, self.codec.config.levels)
        count = 0
        while True:
            self.minutes_done = before + (time.monotonic() - began) / 60.0
            progress = self.minutes_done / limits.minutes
            if limits.max_steps is not None:
                progress = max(progress, self.step / limits.max_steps)
            if progress >= 1.0:
                break
            row = self.train_step(progress)
            by_level = row.pop("kbps_by_level")
            assert isinstance(by_level, Tensor)
            level_sums += by_level
            for key, value in row.items():
                assert isinstance(value, float)
                sums[key] = sums.get(key, 0.0) + value
            count += 1
            now = time.monotonic()
            if count == limits.log_steps:
                self._log(progress, sums, level_sums, count, now - last_log, report)
                sums, count, last_log = {}, 0, now
                level_sums.zero_()
            if now - last_save > 60.0 * limits.checkpoint_minutes:
                self.save()
                last_save = now
        if count:
            self._log(progress, sums, level_sums, count, time.monotonic() - last_log, report)
        self.save()

    def _log(
        self,
        progress: float,
        sums: dict[str, float],
        level_sums: Tensor,
        count: int,
        seconds: float,
        report: Report | None,
    ) -> None:
        """Append the means of the last ``count`` steps to the log."""
        segments = count * self.config.batch_segments
        sound_s = segments * self.config.segment_packets / self.codec.config.packets_per_second
        entry: dict[str, object] = {
            "step": self.step,
            "minutes": round(self.minutes_done, 2),
            "progress": round(progress, 4),
            **{k: round(v / count, 4) for k, v in sums.items()},
            "audio_s_per_s": round(sound_s / seconds, 2),
            "kbps": [round(float(v), 2) for v in level_sums[0] / level_sums[1].clamp_min(1)],
        }
        self._append(entry)
        if report is not None:
            report(entry)


def _by_level(kbps: Tensor, level: Tensor, levels: int) -> Tensor:
    sums = torch.zeros(2, levels)
    flat = level.flatten().cpu()
    sums[0].scatter_add_(0, flat, kbps.detach().flatten().float().cpu())
    sums[1].scatter_add_(0, flat, torch.ones(flat.shape))
    return sums
