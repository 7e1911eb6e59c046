"""Write what a browser needs to code, decode and call into a folder: ``python -m streamcodec.web.build FOLDER``.

``codec.wasm``, the kernels; ``decoder.bin`` and ``encoder.bin``, weights, tables and the first state of a stream;
``resampler.bin``, filters; ``codec.json``, where in these what lies, and their SHA-256; pages and scripts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamcodec.codec.files.output_file import write_whole
from streamcodec.codec.options import DEFAULT_MODEL
from streamcodec.errors import StreamcodecError
from streamcodec.web.files import COMPILED, web_files


def build(out: Path, model: str = DEFAULT_MODEL, compiled: Path = COMPILED) -> dict[str, int]:
    """Write all files into a folder; their sizes. Errors: WebBuildError, ModelError."""
    files = web_files(model, compiled)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(out / name, content)
    return {name: len(content) for name, content in files.items()}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 where the files cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m streamcodec.web.build", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a shipped model, or a folder that holds one")
    parser.add_argument(
        "--compiled", type=Path, default=COMPILED, help="folder of compiled kernels (default: the package's own)"
    )
    options = parser.parse_args(arguments)
    try:
        sizes = build(options.folder, options.model, options.compiled)
    except StreamcodecError as error:
        print(f"streamcodec.web.build: {error}", file=sys.stderr)
        return 2
    for name, size in sizes.items():
        print(f"{name:20} {size:>10,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
