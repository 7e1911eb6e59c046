"""What an ablation run leaves out or exchanges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.training.residual_stages import Codebook, FiniteScalars, ResidualCodec
from streamcodec.models.blocks import Trunk
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.training.codec_task import CodecTask

NO_NOISE = -30.0


class GruTrunk(Trunk):
    """As many residual GRU layers as the convolutional trunk has blocks, in its place.

    Shape: x ``[batch, frames, dim]``; one state ``[batch, 1, dim]`` per layer.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__(dim, (), kernel_size=1, expansion=1)
        self.dim = dim
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.layers = nn.ModuleList(nn.GRU(dim, dim, batch_first=True) for _ in range(layers))
        self.scale = nn.Parameter(torch.full((layers, dim), 0.2))

    def initial_state(self, batch: int) -> list[Tensor]:
        return [torch.zeros(batch, 1, self.dim, device=self.scale.device) for _ in self.layers]

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        after = []
        for norm, layer, scale, before in zip(self.norms, self.layers, self.scale, state, strict=True):
            y, last = layer(norm(x).float(), before.transpose(0, 1).contiguous())
            x = x + scale * y
            after.append(last.transpose(0, 1))
        return x, after


def with_gru_trunks(codec: NeuralCodec) -> None:
    """Exchange the trunks at packet rate, which is where the codec looks far back."""
    c = codec.config
    codec.encoder.packet_trunk = GruTrunk(c.encoder_dim_frame, len(c.encoder_dilations_frame))
    codec.decoder.packet_trunk = GruTrunk(c.decoder_dim_frame, len(c.decoder_dilations_frame))


def without_noise(codec: NeuralCodec) -> None:
    """Turn the decoder's noise off for good: its gain is 0 and has no gradient there."""
    nn.init.constant_(codec.decoder.noise.bias, NO_NOISE)


@torch.no_grad()
def with_random_directions(task: CodecTask) -> None:
    """Linear path onto random orthogonal directions, scaled as the Karhunen-Loeve ones."""
    for path in (task.codec.encoder.waveform_path, task.codec.decoder.waveform_path):
        size = path.weight.norm()
        nn.init.orthogonal_(path.weight)
        path.weight.mul_(size / path.weight.norm())
    # The same directions on both sides, so that the start is a projection here too.
    encoder, decoder = task.codec.encoder.waveform_path.weight, task.codec.decoder.waveform_path.weight
    decoder.copy_(encoder.T * (decoder.norm() / encoder.norm()))


def with_started_stages(task: CodecTask) -> None:
    """Let every stage of a residual quantiser begin with what the stages before leave of some sound."""
    assert isinstance(task.codec, ResidualCodec)
    samples, _ = task.source.batch(step=2**31, size=task.config.initial_segments)
    task.codec.start_stages(torch.from_numpy(samples))


def _nothing(subject: object) -> None:
    """Leave it as it is."""


@dataclass(frozen=True)
class Variant:
    """One ablation: another configuration, other networks, or other start values."""

    what: str
    model: NeuralConfig
    make: Callable[[NeuralConfig], NeuralCodec] = NeuralCodec
    change_networks: Callable[[NeuralCodec], None] = _nothing
    change_start: Callable[[CodecTask], None] = _nothing


BASE = NeuralConfig()


def variants() -> dict[str, Variant]:
    """By name; the first is what the others are compared with."""
    envelope, waveform = BASE.envelope_latents, BASE.waveform_latents
    long = {"hops_per_frame": 4, "envelope_latents": 2 * envelope, "waveform_latents": 2 * waveform}
    return {
        "base": Variant("as it is shipped", BASE),
        "no_envelope": Variant(
            "all latents on the waveform, none on the log-mel envelope",
            dataclasses.replace(BASE, envelope_latents=0, envelope_groups=0, waveform_latents=envelope + waveform),
        ),
        "no_companding": Variant(
            "linear spectra, power 1 instead of 0.5", dataclasses.replace(BASE, compand_power=1.0)
        ),
        "no_noise": Variant("a decoder that draws no noise", BASE, change_networks=without_noise),
        "random_directions": Variant(
            "linear path onto random directions instead of Karhunen-Loeve ones",
            BASE,
            change_start=with_random_directions,
        ),
        "gru_trunk": Variant(
            "GRU layers in place of the convolutional blocks at packet rate", BASE, change_networks=with_gru_trunks
        ),
        "residual_vq": Variant(
            "residual vector quantisation of whole packets, 10 bits a stage, k-means start and restarts, in place of "
            "scalars under an entropy model",
            BASE,
            make=lambda config: ResidualCodec(config, Codebook),
            change_start=with_started_stages,
        ),
        "residual_fsq": Variant(
            "residual finite scalar quantisation, five scalars of four levels a stage, in place of scalars under an "
            "entropy model",
            BASE,
            make=lambda config: ResidualCodec(config, FiniteScalars),
            change_start=with_started_stages,
        ),
        "latents_25hz": Variant(
            "packets of 40 ms, twice the latents at half the rate (45 ms of delay instead of 25)",
            dataclasses.replace(BASE, **long),
        ),
        "low_overlap": Variant(
            "overlap of 2.5 instead of 5 ms (22.5 ms of delay)", dataclasses.replace(BASE, overlap_samples=60)
        ),
        "small_trunks": Variant(
            "one block in each trunk at packet rate",
            dataclasses.replace(BASE, encoder_dilations_frame=(1,), decoder_dilations_frame=(1,)),
        ),
    }
