"""The card of a model: what its description says in numbers, and what its recipe says in words, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamcodec.evaluation.metrics import METRICS
from streamcodec.evaluation.report import ARROWS
from streamcodec.models.shipped import ShippedModel
from streamcodec.models.weights import Int8Matrix
from streamcodec.training.recipe import CardRecipe

CARD = "README.md"


def card_of(model: ShippedModel, words: CardRecipe) -> str:
    """The card's text."""
    parts = [f"# Model card: {model.name}", _table(["", ""], _properties(model, words))]
    figures = model.facts.get("figures", [])
    if figures:
        clips = max(row["clips"] for row in figures)
        parts += [
            "## Figures",
            f"{clips} clips of speech that the model was not trained on, real payload bits of packets, mean and half "
            "of the 95 % interval. Independent: each packet decodes without the others.",
            _figures(figures),
        ]
    parts += ["## Rates", "Mean payload in kbps on speech, frames of 20 ms, whole bytes.", _rates(model)]
    if words.data:
        rows = [[kind, source, licence, f"{minutes:g}"] for kind, source, licence, minutes in words.data]
        parts += ["## Data", _table(["kind", "source", "licence", "minutes"], rows)]
    if words.limits:
        parts += ["## Limits", words.limits.strip()]
    return "\n\n".join(parts) + "\n"


def _properties(model: ShippedModel, words: CardRecipe) -> list[list[str]]:
    config, facts = model.config, model.facts
    rates = {mode: model.kbps_by_quality(mode) for mode in ("stream", "independent")}
    stored = model.load_weights().values()
    weights = sum(_count(weight.shape) for weight in stored)
    in_8_bits = sum(_count(weight.shape) for weight in stored if isinstance(weight, Int8Matrix))
    delay_ms, frame_ms, overlap_ms = (
        1000.0 * samples / config.sample_rate_hz
        for samples in (config.delay_samples, config.frame_samples, config.overlap_samples)
    )
    rows = [
        ["what", words.what],
        [
            "rates",
            f"{rates['stream'][0]:.1f} to {rates['stream'][-1]:.1f} kbps in {config.qualities} quality indices from "
            f"one set of weights, frames that decode alone from {rates['independent'][0]:.1f}; "
            f"{config.sample_rate_hz / 1000:g} kHz mono",
        ],
        ["delay", f"{delay_ms:g} ms ({frame_ms:g} ms frame + {overlap_ms:g} ms overlap)"],
        [
            "size",
            f"{model.size_bytes / 1e6:.2f} MB: {weights / 1e6:.2f} M weights of the networks, "
            f"{in_8_bits / 1e6:.2f} M of them in 8 bits with a scale for each output, the rest in 16 and 32",
        ],
        ["bitstream", model.fingerprint],
        ["post-filter", " ".join([_post_filter(model), words.post_filter]).strip()],
        ["training", words.training],
        ["licence", words.licence],
    ]
    if "cost" in facts:
        rows.append(["cost", "{p50_ms:g} ms (p50), {p99_ms:g} ms (p99), {measured}".format(**facts["cost"])])
    return [row for row in rows if row[1]]


def _post_filter(model: ShippedModel) -> str:
    """Ranges of what the post-filter does."""
    parameters = model.post_filter
    share = parameters.noise_gains[:, 0] / parameters.band_gains[:, 0]
    strengths = parameters.pitch_strengths
    bands = parameters.band_gains
    text = (
        f"noise at low frequencies {share.min():.2f} to {share.max():.2f} of what the network says, bands "
        f"{bands.min():.2f} to {bands.max():.2f} in companded amplitude, pitch filter of strength "
        f"{strengths.min():g} to {strengths.max():g}"
    )
    networks = {"spectral": parameters.envelope, "temporal": parameters.temporal}
    for name, weights in networks.items():
        size = sum(np.count_nonzero(values) for values in weights)
        if size:
            text += f", {name}-envelope filter with a network of {size:,} weights"
    return text + "."


def _figures(figures: Sequence[dict[str, object]]) -> str:
    names = [name for name in METRICS if any(name in _scores(row) for row in figures)]
    head = ["packets", "kbps", *(f"{METRICS[name].title} {ARROWS[METRICS[name].better]}" for name in names)]
    rows = []
    for row in figures:
        cells = [str(row["packets"]), f"{row['kbps']:.2f}"]
        for name in names:
            decimals = METRICS[name].decimals
            cells.append(" ± ".join(f"{value:.{decimals}f}" for value in _scores(row).get(name, [])) or "-")
        rows.append(cells)
    return _table(head, rows)


def _scores(row: dict[str, object]) -> dict[str, list[float]]:
    scores = row["scores"]
    assert isinstance(scores, dict)
    return scores


def _rates(model: ShippedModel) -> str:
    rows = [
        [str(index), f"{alone:.2f}", f"{stream:.2f}"]
        for index, (alone, stream) in enumerate(
            zip(model.kbps_by_quality("independent"), model.kbps_by_quality("stream"), strict=True)
        )
    ]
    return _table(["quality index", "independent", "stream"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
