"""A decoder with a small network after its noise: it sees what was drawn, and the sound so far carried on in pitch.

A decoder that ends by adding noise of independent phases to each bin can make no texture but that, whatever its
losses and judges ask for. The refiner comes after the draw. It may let each bin go on as the sound so far would if it
repeated itself at the pitch (as the adaptive codebook of speech coders does; Schroeder and Atal, "Code-excited linear
prediction", 1985) or put a pulse train there, both only as far as there is a voice, and add what it likes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.blocks import Trunk
from streamcodec.models.codec import CodecOutput, NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.neural import Decoder
from streamcodec.models.pitch_follower import PitchFollower

TOP_HZ = 8_250.0
"""Bins from here on stay as they are drawn."""
LIKENESS_BANDS = 16
MOST_CARRIED = 0.9
"""Largest share of the sound so far in what follows: above 1 it would feed on itself."""
SOURCES = 3
"""Gains per bin: of the draw, of the sound carried on, of pulses."""


class Refiner(nn.Module):
    """Gains of each source and an addition, bin by bin; begins by changing nothing.

    All spectra are companded and hold the lowest ``bins`` bins, real parts, then imaginary ones.
    """

    def __init__(self, config: NeuralConfig, dim: int = 256, blocks: int = 2, expansion: int = 2) -> None:
        super().__init__()
        width_hz = config.sample_rate_hz / config.fft_samples
        bins = min(int(TOP_HZ / width_hz), config.bins)
        self.bins = bins - bins % LIKENESS_BANDS
        self.enter = nn.Linear(config.decoder_dim_hop + 4 * self.bins + 1, dim)
        self.enter_carried = nn.Linear(2 * self.bins + LIKENESS_BANDS, dim, bias=False)
        self.trunk = Trunk(dim, (1,) * blocks, config.kernel_size, expansion)
        self.norm = nn.LayerNorm(dim)
        self.gains = nn.Linear(dim, SOURCES * self.bins)
        self.add = nn.Linear(dim, 2 * self.bins)
        for head in (self.gains, self.add):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return self.trunk.initial_state(batch)

    def known(self, drawn: Drawn) -> Tensor:
        """The part of the first layer that needs no sound so far.

        Shape: ``[batch, hops, ...]`` -> ``[batch, hops, dim]``.
        """
        parts = [drawn.hidden, drawn.predicted + drawn.noise, drawn.pulses, drawn.voicing]
        known: Tensor = self.enter(torch.cat(parts, dim=-1))
        return known

    def forward(
        self, known: Tensor, drawn: Drawn, carried: Tensor, state: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Refined spectrum of some hops, and the next state.

        Shape: known ``[batch, hops, dim]``, carried ``[batch, hops, 2 * bins]`` -> the latter.
        """
        predicted = drawn.predicted
        x = known + self.enter_carried(torch.cat([carried, likeness(predicted, carried)], dim=-1))
        x, after = self.trunk(x, state)
        x = self.norm(x)
        gains, added = self.gains(x).float(), self.add(x).float()
        noise, repeat, pulses = (torch.cat([gain, gain], -1) for gain in gains.chunk(SOURCES, dim=-1))
        refined = (
            predicted
            + 2.0 * torch.sigmoid(noise) * drawn.noise
            + MOST_CARRIED * drawn.voicing * torch.tanh(repeat) * (carried - predicted)
            + drawn.voicing * torch.tanh(pulses) * drawn.pulses
            + added
        )
        return refined, after


def likeness(predicted: Tensor, carried: Tensor) -> Tensor:
    """Cosines of two spectra by bands.

    Shape: two ``[batch, hops, 2 * bins]`` -> ``[batch, hops, LIKENESS_BANDS]``.
    """
    batch, hops, width = predicted.shape
    shape = (batch, hops, 2, LIKENESS_BANDS, width // 2 // LIKENESS_BANDS)
    one, other = predicted.reshape(shape), carried.reshape(shape)
    product = (one * other).sum((2, 4))
    power = one.square().sum((2, 4)) * other.square().sum((2, 4))
    return product * (power + 1e-8).rsqrt()


@dataclass
class Drawn:
    """What the refiner sees of a draw, the lowest bins of it. Shape: ``[batch, hops, ...]``."""

    hidden: Tensor
    """What the decoder's heads saw."""
    predicted: Tensor
    noise: Tensor
    pulses: Tensor
    """At the amplitude of the noise."""
    voicing: Tensor

    def hop(self, t: int) -> Drawn:
        """One hop of it."""
        here = slice(t, t + 1)
        parts = (self.hidden, self.predicted, self.noise, self.pulses, self.voicing)
        return Drawn(*(part[:, here] for part in parts))


class RefinedDecoder(Decoder):
    """The decoder with a refiner for what is drawn from its output.

    Shape: as :class:`~streamcodec.models.neural.Decoder`, but the output is ``[batch, hops, 3 * bins + dim]``, with
    what the heads saw at the end.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__(config)
        self.refiner = Refiner(config)

    def forward(self, latents: Tensor, quality_index: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        predicted, x, after = self._predict(latents, quality_index, state)
        return torch.cat([predicted, x.float()], dim=-1), after


class RefinedCodec(NeuralCodec):
    """The codec with a :class:`RefinedDecoder`."""

    decoder: RefinedDecoder

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__(config)
        self.decoder = RefinedDecoder(config)
        self.follower = PitchFollower(config)

    def forward(
        self, samples: Tensor, quality_index: Tensor, available: Tensor, lost: Tensor, gains: Tensor | None = None
    ) -> CodecOutput:
        """As :meth:`NeuralCodec.forward`."""
        width = 3 * self.config.bins
        coded, seen_quality, decoded = self._send(samples, quality_index, available, lost)
        decoded, hidden = decoded[..., :width].float(), decoded[..., width:]
        decoded = self._with_gains(decoded, seen_quality, gains)
        # Both draws at once, one after the other along the batch.
        companded = self._refine(decoded.repeat(2, 1, 1), hidden.repeat(2, 1, 1))
        sound, tails = self._overlap_add(companded)
        (first, second), (first_tails, second_tails) = sound.chunk(2), tails.chunk(2)
        return CodecOutput(first, second, coded.bits, coded.bits_hard, decoded, first_tails, second_tails)

    def _refine(self, decoded: Tensor, hidden: Tensor) -> Tensor:
        """Companded spectra with one draw of noise each, refined.

        The sound so far is that of the refiner itself: it is made hop by hop, without gradient, and then all hops at
        once with what has been found, which gives the same and a gradient that does not run through the past.

        Shape: ``[batch, hops, 3 * bins]``, ``[batch, hops, dim]`` -> ``[batch, hops, 2 * bins]``.
        """
        c, refiner = self.config, self.decoder.refiner
        predicted, gain = decoded[..., : 2 * c.bins], decoded[..., 2 * c.bins :]
        phase = (2.0 * torch.pi) * torch.rand_like(gain)
        noise = torch.cat([gain * torch.cos(phase), gain * torch.sin(phase)], dim=-1)
        one = slice(len(predicted) // 2)
        pulses, voicing, lags = (
            part.repeat(2, *(1,) * (part.dim() - 1))
            for part in self.follower(self.spectrum, self.spectrum.expand(predicted[one].detach()))
        )
        drawn = Drawn(
            hidden, self._low(predicted), self._low(noise), self._low(pulses * gain.repeat(1, 1, 2)), voicing
        )
        whole = predicted + noise
        places = carried_places(lags, c.hop_samples, c.overlap_samples, c.fft_samples)
        known = refiner.known(drawn)
        with torch.no_grad(), torch.autocast(decoded.device.type, enabled=False):
            sound = self._roll_out(known.detach().float(), drawn, whole.detach(), places)
            carried = self._carry(sound, places)
        refined, _ = refiner(known, drawn, carried, refiner.initial_state(len(known)))
        return self._with_low(whole, refined)

    def _roll_out(self, known: Tensor, drawn: Drawn, whole: Tensor, places: Tensor) -> Tensor:
        """Sound made hop by hop, each from all before it; ``fft_samples`` of silence go before.

        Shape: known ``[batch, hops, dim]``, whole ``[batch, hops, 2 * bins]``, places ``[batch, hops, fft]`` ->
        ``[batch, fft_samples + hops * hop_samples + overlap_samples]``.
        """
        c, refiner, spectrum = self.config, self.decoder.refiner, self.spectrum
        batch, hops = known.shape[:2]
        window = spectrum.get_buffer("synthesis_window")
        support = c.hop_samples + c.overlap_samples
        sound = known.new_zeros(batch, c.fft_samples + hops * c.hop_samples + c.overlap_samples)
        state = refiner.initial_state(batch)
        for t in range(hops):
            here = slice(t, t + 1)
            carried = self._carry(sound, places[:, here])
            refined, state = refiner(known[:, here], drawn.hop(t), carried, state)
            companded = self._with_low(whole[:, here], refined)
            frame = (torch.fft.irfft(spectrum.expand(companded), n=c.fft_samples) * window)[:, 0, -support:]
            start = c.fft_samples + t * c.hop_samples
            sound[:, start : start + support] += frame
        return sound

    def _carry(self, sound: Tensor, places: Tensor) -> Tensor:
        """Companded spectra of the sound so far as it would go on if it repeated itself.

        Shape: ``[batch, samples]``, ``[batch, hops, fft]`` -> ``[batch, hops, 2 * refined bins]``.
        """
        batch, hops, fft = places.shape
        frames = sound.gather(1, places.reshape(batch, -1)).reshape(batch, hops, fft)
        low = torch.fft.rfft(frames * self.spectrum.get_buffer("analysis_window"))[..., : self.decoder.refiner.bins]
        return self.spectrum.compand(low)

    def _low(self, spectra: Tensor) -> Tensor:
        bins = self.decoder.refiner.bins
        return torch.unflatten(spectra, -1, (2, -1))[..., :bins].flatten(-2)

    def _with_low(self, whole: Tensor, low: Tensor) -> Tensor:
        bins = self.decoder.refiner.bins
        high = torch.unflatten(whole, -1, (2, -1))[..., bins:]
        return torch.cat([torch.unflatten(low, -1, (2, -1)), high], dim=-1).flatten(-2)


def carried_places(lags: Tensor, hop_samples: int, overlap_samples: int, fft_samples: int) -> Tensor:
    """Where in the sound, ``fft_samples`` of silence before it, each sample of each hop's analysis window is taken.

    What is complete before a hop is taken from where it is, the rest from whole lags before.

    Shape: lags in samples ``[batch, hops]`` -> int64 ``[batch, hops, fft_samples]``.
    """
    hops = lags.shape[1]
    starts = fft_samples + hop_samples * torch.arange(hops, device=lags.device)[:, None]
    within = torch.arange(fft_samples, device=lags.device) - (fft_samples - hop_samples - overlap_samples)
    period = lags.round().clamp(1, fft_samples).long()[..., None]
    # Period by period, back to before the hop.
    back = torch.where(within < 0, 0, within // period + 1) * period
    return starts + within - back
