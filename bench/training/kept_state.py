"""Measure the decoder of a kept training state beside the shipped one, packets decoded alone.

Example::

    python -m bench.training.kept_state --data data/dev/speech --state bench/state/voice --clips 8

Prints a row per decoder and quality index: rate, Distill-MOS, PESQ, ViSQOL, Zimtohrli and harmonicity, the means of
all clips, of sound as it leaves the post-filter. ``--json`` writes them to a file as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.training.decoded_alone import Scores, decode_alone, mean_scores, read_sound, scores_of
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.evaluation import METRICS, read_clips
from streamcodec.evaluation.alignment import AlignedPair, Samples
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.decoder_kinds import CODECS
from streamcodec.models.shipped import DEFAULT_MODEL, load_model
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.kept_state import read_kept_state
from streamcodec.training.post_filter import as_played, output_gains

METRIC_NAMES = (
    "distill_mos",
    "pesq",
    "visqol",
    "zimtohrli",
    "harmonicity_1_2k",
    "harmonicity_2_4k",
    "harmonicity_4_7k",
)
QUALITY_INDICES = (2, 4, 7)


def decoder_of(state: Path | None) -> tuple[NeuralCodec, PostFilter]:
    """The networks of a kept state, or of the shipped model, and the post-filter they are heard through."""
    if state is None:
        model = load_model(DEFAULT_MODEL)
        return codec_of(model).eval(), PostFilter(model.config, model.post_filter)
    kept = read_kept_state(state)
    codec = CODECS[kept.decoder](load_model(kept.base).config)
    kept.fill(codec)
    return codec.eval(), PostFilter(codec.config, kept.post_filter)


@torch.no_grad()
def measure(codec: NeuralCodec, post_filter: PostFilter, sounds: Sequence[Samples], quality_index: int) -> Scores:
    """Mean rate in kbps and metrics of one quality index. Shape: each sound ``[samples]`` at the codec's rate."""
    rate_hz, lag = codec.config.sample_rate_hz, codec.config.overlap_samples
    rows: list[Scores] = []
    for sound in sounds:
        decoded = decode_alone(codec, sound, quality_index, output_gains(post_filter.parameters))
        played, _ = as_played(post_filter, decoded.out, decoded.quality_index, decoded.lost)
        pair = AlignedPair(decoded.sound[0, :-lag].numpy(), rate_hz, played[0, lag:].numpy(), rate_hz)
        rows.append(scores_of(codec, decoded.out, pair, METRIC_NAMES))
    return mean_scores(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of speech")
    parser.add_argument("--state", type=Path, nargs="+", required=True, help="folders of kept state")
    parser.add_argument("--clips", type=int, default=8, help="clips at most (default 8)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each clip (default 6)")
    parser.add_argument("--without-shipped", action="store_true", help="leave the shipped model out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    clips = read_clips(options.data, limit=options.clips)
    states: list[Path | None] = [*([] if options.without_shipped else [None]), *options.state]
    table = Table("decoder", "kbps", *(METRICS[name].title for name in METRIC_NAMES))
    rows: list[dict[str, object]] = []
    for state in states:
        codec, post_filter = decoder_of(state)
        sounds = [read_sound(clip, codec.config.sample_rate_hz, options.seconds) for clip in clips]
        for index in QUALITY_INDICES:
            scores = measure(codec, post_filter, sounds, index)
            name = "shipped" if state is None else str(state)
            rows.append({"decoder": name, "quality_index": index, **scores})
            table.add_row(name, f"{scores['kbps']:.1f}", *(f"{scores[metric]:.3f}" for metric in METRIC_NAMES))
            print(json.dumps(rows[-1]), flush=True)
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
