"""Compile the kernels for WebAssembly into the package: ``python -m streamcodec.web.compile``.

Wanted after a change of kernels that a browser runs; takes a minute or two of processor time, LLVM's linker and a
pinned numba (the ``web-build`` extra). What it writes is part of the repository, so that nobody else needs these.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from streamcodec.codec.files.output_file import write_whole
from streamcodec.codec.options import DEFAULT_MODEL
from streamcodec.errors import StreamcodecError
from streamcodec.web.files import COMPILED
from streamcodec.web.image import fingerprint, plan_image
from streamcodec.web.memory_image import make_view
from streamcodec.web.tools import NUMBA, check_numba, find_linker, link
from streamcodec.web.waveform_image import waveform_fingerprint

Part = Literal["decoder", "encoder", "waveform"]


def compile_part(model: str, part: Part) -> tuple[list[str], bytes]:
    """Names and object code of the functions of one part; the process can run no kernels afterwards."""
    # What is imported here takes hold of numba's compiler.
    from streamcodec.web import cross_compile
    from streamcodec.web.entry_points import decoder_exports, encoder_exports, sound_exports
    from streamcodec.web.waveform_entry_points import lossless_exports, spectrum_exports, transform_exports

    image = plan_image(model)
    cross_compile.target_wasm()
    exports: dict[str, Any]
    if part == "waveform":
        exports = {**lossless_exports(), **spectrum_exports(), **transform_exports()}
    elif part == "decoder":
        view = make_view(image.constants, image.decoder_region, image.decoder)
        exports = {**decoder_exports(view), **sound_exports()}
    else:
        exports = dict(encoder_exports(make_view(image.constants, image.encoder_region, image.encoder)))
    return list(exports), cross_compile.compile_module(exports)


def compile_codec(out: Path, model: str = DEFAULT_MODEL) -> None:
    """Write ``codec.wasm``, ``waveform.wasm`` and what they take for granted, each part compiled in its own process.

    Errors: WebBuildError, ModelError.
    """
    check_numba()
    linker = find_linker()
    image = plan_image(model)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        *neural, waveform = pool.map(compile_part, (model,) * 3, ("decoder", "encoder", "waveform"))
    out.mkdir(parents=True, exist_ok=True)
    for module, compiled in (("codec.wasm", neural), ("waveform.wasm", [waveform])):
        names = [name for names, _ in compiled for name in names]
        write_whole(out / module, link(linker, [code for _, code in compiled], names))
    facts = {"image": fingerprint(image), "waveform": waveform_fingerprint(), "numba": NUMBA}
    write_whole(out / "codec.json", json.dumps(facts, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 where something that compiling needs is missing."""
    parser = argparse.ArgumentParser(prog="python -m streamcodec.web.compile", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=COMPILED, help="where to (default: into the package)")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        compile_codec(options.folder)
    except StreamcodecError as error:
        print(f"streamcodec.web.compile: {error}", file=sys.stderr)
        return 2
    sizes = [f"{path.name}, {path.stat().st_size:,} bytes" for path in sorted(options.folder.glob("*.wasm"))]
    print(f"{'; '.join(sizes)}, in {options.folder}, after {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
