"""Learn what the near-lossless coder's models know before the first block, from a folder of training sound.

Example::

    python -m streamcodec.training.learn_coefficients train --clips 120

Clips of every kind take turns; each is coded at steps from coarse to fine, once as a chain of blocks and once as key
blocks only, and the models go on learning from one to the next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from native_dsp.transforms.mdct import make_mdct, mdct_forward
from streamcodec.codec.near_lossless.format import (
    FULL_SCALE,
    SMALLEST_STEP_LOG2,
    STEPS_PER_OCTAVE,
    NearLosslessFormat,
    default_block_samples,
)
from streamcodec.codec.near_lossless.learnt_coefficients import LEARNT_PATH, LearntModels, fresh_models, save_learnt
from streamcodec.codec.near_lossless.spectra import Layout, SpectrumContexts

SECONDS = 4.0
# Steps in 16-bit units, relative to a clip's root mean square: about 10 to 50 dB of signal-to-noise ratio.
RELATIVE_STEPS = (2.0, 0.5, 0.12, 0.03)
# Step indexes of shaped streams, whose steps follow the level by themselves: about 16 to 96 kbps.
SHAPED_INDEXES = (140, 125, 110, 85)


def learn_clip(models: LearntModels, samples: NDArray[np.float32], sample_rate_hz: int, kind: int) -> None:
    """Let the models code one mono clip, plain and shaped, chained and as key blocks, at step ``kind`` of four."""
    length = default_block_samples(sample_rate_hz)
    form = NearLosslessFormat(sample_rate_hz, 1, length)
    blocks = samples[: len(samples) // length * length].reshape(-1, length) * np.float32(FULL_SCALE)
    step_log2 = np.log2(max(RELATIVE_STEPS[kind] * float(np.sqrt(np.mean(blocks**2))), 2.0**-6))
    plain_index = max(round(STEPS_PER_OCTAVE * (step_log2 - SMALLEST_STEP_LOG2)), 0)
    for shaped, index in ((False, plain_index), (True, SHAPED_INDEXES[kind])):
        layout = Layout.of(form, shaped)
        for key in (False, True):
            contexts = SpectrumContexts.fresh(layout)
            mixer = models.shaped if shaped else models.plain
            contexts.coefficients = contexts.coefficients._replace(mixer=mixer)
            contexts.energies = contexts.energies._replace(mixer=models.energies)
            transform = make_mdct(length, layout.overlap_samples)
            spectrum = np.zeros((1, length), np.float32)
            for number, block in enumerate(blocks):
                mdct_forward(transform, block, spectrum[0])
                is_key = key or number == 0
                if is_key:
                    contexts.forget()
                contexts.encode(contexts.shape(spectrum, index, is_key), index, is_key)


def learn(root: Path, clips: int) -> LearntModels:
    """Models after ``clips`` clips, evenly from the kinds in the subfolders of ``root``."""
    models = fresh_models()
    kinds = [sorted(path for path in folder.rglob("*") if path.is_file()) for folder in sorted(root.iterdir())]
    kinds = [files for files in kinds if files]
    for number in range(clips):
        files = kinds[number % len(kinds)]
        path = files[(number // len(kinds)) * len(files) * len(kinds) // clips % len(files)]
        with soundfile.SoundFile(path) as sound:
            samples = sound.read(int(SECONDS * sound.samplerate), dtype="float32", always_2d=True)[:, 0]
            learn_clip(models, samples, sound.samplerate, number // len(kinds) % len(RELATIVE_STEPS))
    return models


def main() -> None:
    """Learn and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one subfolder of sound files per kind")
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--out", type=Path, default=LEARNT_PATH)
    arguments = parser.parse_args()
    save_learnt(learn(arguments.root, arguments.clips), arguments.out)


if __name__ == "__main__":
    main()
