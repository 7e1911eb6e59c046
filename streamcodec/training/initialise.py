"""Start values of the linear paths: Karhunen-Loeve transforms measured on training sound."""

from __future__ import annotations

import torch
from torch import Tensor

from streamcodec.models.blocks import CausalBlock
from streamcodec.models.codec import NeuralCodec

TARGET_BITS_PER_PACKET = 110.0


def _principal(rows: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, first principal directions ``[count, dim]`` and their standard deviations."""
    mean = rows.mean(0)
    centred = rows - mean
    covariance = centred.T @ centred / rows.shape[0]
    values, vectors = torch.linalg.eigh(covariance.double())
    order = torch.argsort(values, descending=True)[:count]
    return mean, vectors[:, order].T.float(), values[order].clamp_min(1e-12).sqrt().float()


def _unit_step(deviations: Tensor, bits: float) -> float:
    """Step at which Gaussian latents of these deviations cost about ``bits`` in all."""
    low, high = 1e-6, 1e6
    for _ in range(80):
        middle = (low * high) ** 0.5
        cost = float(0.5 * torch.log2(1.0 + 12.0 * (deviations / middle) ** 2).sum())
        low, high = (middle, high) if cost > bits else (low, middle)
    return float((low * high) ** 0.5)


@torch.no_grad()
def initialise_linear_paths(codec: NeuralCodec, samples: Tensor) -> dict[str, float]:
    """Set both linear paths from ``samples``; returns what was found, for the log.

    Shape: samples ``[segments, samples]``, whole frames.
    """
    config = codec.config
    hops = config.hops_per_frame
    companded = codec.spectrum.compand(codec.spectrum.analyse(samples))[:, 2 * hops :]
    envelope = codec.encoder.envelope(companded)
    frames = companded.reshape(-1, hops * 2 * config.bins)
    bands = envelope.reshape(-1, hops * config.mel_bands)

    # The companded spectrum of a real signal has zero mean over time; only the envelope needs its mean removed.
    covariance = (frames.T @ frames / frames.shape[0]).double()
    values, vectors = torch.linalg.eigh(covariance)
    order = torch.argsort(values, descending=True)[: config.waveform_latents]
    basis = vectors[:, order].T.float()
    deviations = values[order].clamp_min(1e-12).sqrt().float()
    step = _unit_step(deviations, TARGET_BITS_PER_PACKET * 0.75)
    codec.encoder.waveform_path.weight.copy_(basis / step)
    codec.decoder.waveform_path.weight.copy_(basis.T * step)

    mean, directions, spread = _principal(bands, config.envelope_latents)
    envelope_step = _unit_step(spread, TARGET_BITS_PER_PACKET * 0.25)
    codec.encoder.envelope_path.weight.copy_(directions / envelope_step)
    assert codec.encoder.envelope_path.bias is not None
    codec.encoder.envelope_path.bias.copy_(-(directions @ mean) / envelope_step)

    scale = torch.cat([spread / envelope_step, deviations / step])
    codec.decoder.get_buffer("input_scale").copy_(1.0 / scale.clamp_min(1.0))
    for k, group in enumerate(codec.entropy.groups):
        width = group.stop - group.start
        codec.entropy.out_bias[k][..., width:] = torch.log2(scale[group].clamp_min(0.05) * 0.5)
        # Scale the first layer to inputs that are tens of units wide.
        layer = codec.entropy.hidden[k]
        assert isinstance(layer, torch.nn.Linear)
        layer.weight.mul_(0.3)
    kept = float(values[order].sum() / values.sum())
    return {"kept_energy": kept, "waveform_step": step, "envelope_step": envelope_step}


@torch.no_grad()
def grow_from(codec: NeuralCodec, smaller: dict[str, Tensor]) -> None:
    """Take over the weights of a model with fewer blocks or narrower ones; the output stays the same.

    New blocks and new hidden units begin by adding nothing (their last layer is zero), so that training goes on
    where the smaller model stood. Raises ValueError if the models differ in more than that.
    """
    fresh = codec.state_dict()
    for name, weights in smaller.items():
        if name not in fresh or any(a < b for a, b in zip(fresh[name].shape, weights.shape, strict=True)):
            raise ValueError(f"{name} of the smaller model has no place in this one")
    for module_name, module in codec.named_modules():
        if isinstance(module, CausalBlock):
            module.narrow.weight.zero_()
            if f"{module_name}.narrow.bias" not in smaller:
                module.narrow.bias.zero_()
    for name, weights in smaller.items():
        fresh[name][tuple(slice(size) for size in weights.shape)].copy_(weights)
