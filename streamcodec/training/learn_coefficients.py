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

from native_dsp.band_steps import make_bands, measure_offsets
from native_dsp.bit_mixing import Mixer
from native_dsp.coefficient_coder import (
    LARGEST,
    encode_coefficients,
    make_coefficient_coder,
    make_coefficient_mixer,
)
from native_dsp.mdct import make_mdct, mdct_forward
from native_dsp.quantiser import quantise
from native_dsp.range_coder import encoder_init, make_state
from streamcodec.codec.learnt_coefficients import LEARNT_PATH, save_learnt
from streamcodec.codec.near_lossless import FULL_SCALE, default_block_samples

SECONDS = 4.0
# Steps in 16-bit units, relative to a clip's root mean square: about 10 to 50 dB of signal-to-noise ratio.
RELATIVE_STEPS = (2.0, 0.5, 0.12, 0.03)


def learn_clip(mixer: Mixer, samples: NDArray[np.float32], sample_rate_hz: int, relative_step: float) -> None:
    """Let the models code one mono clip: plain steps and steps that follow the envelope, chained and key blocks."""
    length = default_block_samples(sample_rate_hz)
    blocks = samples[: len(samples) // length * length].reshape(-1, length) * np.float32(FULL_SCALE)
    step = max(relative_step * float(np.sqrt(np.mean(blocks**2))), 2.0**-6)
    coder, buffer = make_state(), np.zeros(1 << 20, np.uint8)
    for shaped in (False, True):
        for key in (False, True):
            transform, bands = make_mdct(length), make_bands(1, length, sample_rate_hz)
            models = make_coefficient_coder(1, length)._replace(mixer=mixer)
            spectrum = np.zeros(length, np.float32)
            quantised = np.zeros((1, length), np.int32)
            for block in blocks:
                mdct_forward(transform, block, spectrum)
                if shaped:
                    measure_offsets(bands, 0, spectrum, bands.offsets[0])
                width = step * 2.0 ** (-0.5 * float(bands.offsets.mean()))
                quantise(spectrum, bands.edges, bands.offsets[0], width, LARGEST, quantised[0])
                encoder_init(coder)
                if quantised.any():
                    encode_coefficients(coder, buffer, models, quantised, key)


def learn(root: Path, clips: int) -> Mixer:
    """Models after ``clips`` clips, evenly from the kinds in the subfolders of ``root``."""
    mixer = make_coefficient_mixer()
    kinds = [sorted(path for path in folder.rglob("*") if path.is_file()) for folder in sorted(root.iterdir())]
    kinds = [files for files in kinds if files]
    for number in range(clips):
        files = kinds[number % len(kinds)]
        path = files[(number // len(kinds)) * len(files) * len(kinds) // clips % len(files)]
        with soundfile.SoundFile(path) as sound:
            samples = sound.read(int(SECONDS * sound.samplerate), dtype="float32", always_2d=True)[:, 0]
            learn_clip(mixer, samples, sound.samplerate, RELATIVE_STEPS[number // len(kinds) % len(RELATIVE_STEPS)])
    return mixer


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
