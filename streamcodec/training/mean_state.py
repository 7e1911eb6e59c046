"""The mean of trained decoders, kept for a release or for training to go on from.

Example::

    python -m streamcodec.training.mean_state bench/state/voice runs/tuned-state=0.5 speech-24k=0.5

Sources are folders of kept state (the first gives judges, settings and post-filter) and exported models, by name or
folder, each with its share.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamcodec.errors import StreamcodecError
from streamcodec.training.kept_state import keep_mean


def source(text: str) -> tuple[Path, float]:
    """``PATH=SHARE``; raises ArgumentTypeError."""
    path, _, share = text.rpartition("=")
    try:
        return Path(path), float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a source, '=' and its share: runs/state=0.5") from None


def main() -> int:
    """Write the mean and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the state")
    parser.add_argument("sources", type=source, nargs="+", metavar="SOURCE=SHARE", help="states and models")
    options = parser.parse_args()
    paths, shares = zip(*options.sources, strict=True)
    try:
        size = keep_mean(paths, shares, options.folder)
    except StreamcodecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.folder}: kept state, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
