"""Take what ``streamcodec experiment`` found into the documentation: figures, pictures, sounds to listen to.

Example::

    python -m bench.published runs          # a folder for each experiment, as its --output has them
    python -m bench.tables

Figures go to ``bench/results/research``, pictures to ``docs/images``, and sounds that may be shown to
``docs/published/sounds``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

from bench.listening import write_opus
from streamcodec import StreamcodecError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "research"
IMAGES = ROOT / "docs" / "images"
SOUNDS = ROOT / "docs" / "published" / "sounds"
PICTURES = {
    "deep-autoencoder": {"convergence": "-convergence", "plane": ""},
    "linear-latents": {"latents": ""},
    "per-file-vae": {"convergence": "-convergence", "rmse": "-rmse", "plane": ""},
    "probes": {
        f"{kind}-{question}": f"-{kind}-{question}"
        for kind in ("confusion", "map")
        for question in ("kind", "sound-class", "instrument")
    },
    "restoration-segments": {"held-back": "-held-back"},
    "architecture": {"held-back": "-held-back"},
    "representation": {"held-back": "-held-back"},
    "loss": {"held-back": "-held-back"},
    "representation-22k": {"held-back": "-held-back"},
    "near-lossless": {"plane": ""},
    "latent-size": {"held-back": "-held-back", "ladder": "-ladder"},
    "latent-size-2s": {"held-back": "-held-back", "ladder": "-ladder"},
}
"""By experiment: its pictures, and what follows its name in ``docs/images``."""
OF_EPOCHS = "held-back"
"""The picture that only runs by epochs draw; one of an earlier run gives way."""
FREE = {
    "karoryfer-emilyguitar__notes__000": "guitar",
    "karoryfer-bearsax__notes__000": "saxophone",
    "cyberoo-ambient__bees-buzzing__000": "bees",
    "cyberoo-ambient__frogs-pond__000": "frogs",
}
"""Files in the public domain (CC0 1.0), and what they are called on the page."""


def collect(run: Path) -> list[Path]:
    """Copy one experiment's results; returns what was written.

    Raises:
        StreamcodecError: no finished experiment stands there.
    """
    name = run.name
    if not (run / "metrics.json").is_file():
        raise StreamcodecError(f"{run} holds no finished experiment; run 'streamcodec experiment {name}' to its end")
    copies = {
        run / "metrics.json": RESULTS / f"{name}.json",
        run / "timings.json": RESULTS / f"{name}-timings.json",
        **{run / f"{own}.png": IMAGES / f"research-{name}{after}.png" for own, after in PICTURES[name].items()},
    }
    curve = run / f"{OF_EPOCHS}.png"
    if curve in copies and not curve.is_file():
        copies.pop(curve).unlink(missing_ok=True)
    for source, target in copies.items():
        shutil.copyfile(source, target)
    written = list(copies.values())
    for file, shown in FREE.items():
        for path in sorted((run / "sounds" / file).glob("*.flac")):
            samples, rate_hz = soundfile.read(path, dtype="float32")
            target = SOUNDS / f"{name}-{shown}-{path.stem}.opus"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_opus(target, samples, rate_hz)
            written.append(target)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = argparse.ArgumentParser("python -m bench.published", description="Research results to documentation.")
    options.add_argument("runs", type=Path, help="folder with one folder for each experiment")
    chosen = options.parse_args(arguments)
    try:
        found = [chosen.runs / name for name in PICTURES if (chosen.runs / name / "metrics.json").is_file()]
        if not found:
            raise StreamcodecError(f"{chosen.runs} holds no finished experiment of {', '.join(PICTURES)}")
        for run in found:
            for path in collect(run):
                print(path.relative_to(ROOT))
    except StreamcodecError as error:
        print(f"bench.published: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
