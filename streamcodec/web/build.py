"""Write what a browser needs to code and decode: ``python -m streamcodec.web.build FOLDER``.

``codec.wasm``, the kernels; ``decoder.bin`` and ``encoder.bin``, weights, tables and the first state of a stream;
``codec.json``, where in these what lies, and their SHA-256; and the JavaScript package.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from streamcodec.codec.audio_format import SAMPLE_LIMIT
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.packet import MAX_FRAMES, Tier
from streamcodec.errors import StreamcodecError
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.compiled_step import CompiledGraph
from streamcodec.web.memory_image import Region, make_view
from streamcodec.web.streams import (
    DecoderStream,
    EncoderStream,
    make_constants,
    make_decoder_stream,
    make_encoder_stream,
    without_denormals,
)
from streamcodec.web.tools import check_numba, find_linker, link

FORMAT = 1
PACKAGE = Path(__file__).parent / "package"
PAGE_FILES = (".js", ".html", ".css")
Direction = Literal["decoder", "encoder"]


@dataclass(frozen=True)
class Image:
    """Where everything lies: constants, of which encoders need the last part, and a stream of either direction."""

    runtime: NeuralModel
    constants: Region
    needed_to_decode: int
    decoder: DecoderStream
    encoder: EncoderStream
    decoder_region: Region
    encoder_region: Region


def plan_image(model: str) -> Image:
    """The same places every time; raises ModelError."""
    runtime = load_runtime(model, "compiled")
    assert isinstance(runtime.decoder, CompiledGraph)
    assert isinstance(runtime.encoder, CompiledGraph)
    constants, region = make_constants(runtime), Region()
    decoder_weights, encoder_weights = map(without_denormals, (runtime.decoder.weights, runtime.encoder.weights))
    for part in (constants, decoder_weights):
        region.place(part)
    needed_to_decode = region.size
    region.place(encoder_weights)
    decoder = make_decoder_stream(runtime, decoder_weights, constants)
    encoder = make_encoder_stream(runtime, encoder_weights, constants)
    decoder_region, encoder_region = Region(), Region()
    decoder_region.place_others(region, decoder)
    encoder_region.place_others(region, encoder)
    return Image(runtime, region, needed_to_decode, decoder, encoder, decoder_region, encoder_region)


def compile_direction(model: str, direction: Direction) -> tuple[list[str], bytes]:
    """Names and object code of the functions of one direction; the process can run no kernels afterwards."""
    # What is imported here takes hold of numba's compiler.
    from streamcodec.web import cross_compile
    from streamcodec.web.entry_points import decoder_exports, encoder_exports

    image = plan_image(model)
    cross_compile.target_wasm()
    if direction == "decoder":
        exports = decoder_exports(make_view(image.constants, image.decoder_region, image.decoder))
    else:
        exports = encoder_exports(make_view(image.constants, image.encoder_region, image.encoder))
    return list(exports), cross_compile.compile_module(exports)


def build(out: Path, model: str = DEFAULT_MODEL) -> dict[str, Any]:
    """Write all files into a folder, the two directions compiled in processes of their own; returns the layout.

    Errors: WebBuildError, ModelError.
    """
    check_numba()
    linker = find_linker()
    image = plan_image(model)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        compiled = list(pool.map(compile_direction, (model, model), ("decoder", "encoder")))
    out.mkdir(parents=True, exist_ok=True)
    link(
        linker, [code for _, code in compiled], [name for names, _ in compiled for name in names], out / "codec.wasm"
    )
    content, split = image.constants.content(), image.needed_to_decode
    (out / "decoder.bin").write_bytes(content[:split] + image.decoder_region.content())
    (out / "encoder.bin").write_bytes(content[split:] + image.encoder_region.content())
    layout = _layout(image, model)
    layout["files"] = {name: _describe(out / name) for name in ("codec.wasm", "decoder.bin", "encoder.bin")}
    (out / "codec.json").write_text(json.dumps(layout, indent=1) + "\n")
    for path in sorted(PACKAGE.iterdir()):
        if path.suffix in PAGE_FILES:
            shutil.copyfile(path, out / path.name)
    return layout


def _layout(image: Image, model: str) -> dict[str, Any]:
    config = image.runtime.model.config
    decoder, decoder_region = image.decoder, image.decoder_region
    encoder, encoder_region = image.encoder, image.encoder_region
    return {
        "format": FORMAT,
        "model": image.runtime.model.name,
        "bitstream": bitstream_of(Tier.NEURAL, model),
        "sampleRate": config.sample_rate_hz,
        "frameSamples": config.frame_samples,
        "sampleLimit": SAMPLE_LIMIT,
        "delaySamples": config.overlap_samples,
        "latents": config.latents,
        "maxFrames": MAX_FRAMES,
        "constants": {
            "decoder": image.needed_to_decode,
            "encoder": image.constants.size - image.needed_to_decode,
        },
        "decoder": {
            "size": decoder_region.size,
            "payload": decoder_region.offset(decoder.coding.payload),
            "payloadBytes": decoder.coding.payload.size,
            "indices": decoder_region.offset(decoder.indices),
            "out": decoder_region.offset(decoder.out),
        },
        "encoder": {
            "size": encoder_region.size,
            "payload": encoder_region.offset(encoder.coding.payload),
            "block": encoder_region.offset(encoder.block),
            "qualityIndex": encoder_region.offset(encoder.control.quality_index),
            "flags": encoder_region.offset(encoder.control.flags),
        },
    }


def _describe(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 where something that building needs is missing."""
    parser = argparse.ArgumentParser(prog="python -m streamcodec.web.build", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a shipped model, or a folder that holds one")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        layout = build(options.folder, options.model)
    except StreamcodecError as error:
        print(f"streamcodec.web.build: {error}", file=sys.stderr)
        return 2
    for name, facts in layout["files"].items():
        print(f"{name:12} {facts['bytes']:>10,} bytes")
    print(f"in {options.folder}, after {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
