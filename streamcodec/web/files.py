"""The files that a browser fetches: pages and scripts of the package, compiled kernels, and weights.

Weights are in the package once, in the form that Python reads; their form for browsers is made here, in a second.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from native_dsp.transforms.polyphase import PolyphaseState
from streamcodec.codec.options import DEFAULT_MODEL
from streamcodec.codec.stream_resampler import StreamResampler
from streamcodec.web.image import Image, fingerprint, layout_of, plan_image
from streamcodec.web.tools import WebBuildError
from streamcodec.web.waveform_image import waveform_files, waveform_fingerprint

PACKAGE = Path(__file__).parent / "package"
COMPILED = Path(__file__).parent / "compiled"
PAGE_FILES = (".js", ".html", ".css")
DEVICE_RATES_HZ = (16_000, 32_000, 44_100, 48_000, 96_000)
"""Sound cards' rates that the kernel's resampler has filters for; a browser converts others itself."""


def web_files(model: str = DEFAULT_MODEL, compiled: Path = COMPILED) -> dict[str, bytes]:
    """Every file by its name. Errors: WebBuildError where the compiled kernels are of another build; ModelError."""
    image = plan_image(model)
    _check(image, model, compiled)
    content, split = image.constants.content(), image.needed_to_decode
    resamplers, filters = _resamplers(image.runtime.model.config.sample_rate_hz)
    waveform, tables = waveform_files()
    exact = {"waveform.wasm": (compiled / "waveform.wasm").read_bytes(), "waveform.bin": tables}
    waveform["files"] = _checksums(exact)
    binary = {
        "codec.wasm": (compiled / "codec.wasm").read_bytes(),
        "decoder.bin": content[:split] + image.decoder_region.content(),
        "encoder.bin": content[split:] + image.encoder_region.content(),
        "resampler.bin": filters,
    }
    layout = layout_of(image, model)
    layout["waveformBitstreams"] = sorted(waveform["bitstreams"].values())
    layout["resamplers"] = resamplers
    layout["files"] = _checksums(binary)
    pages = {path.name: path.read_bytes() for path in sorted(PACKAGE.iterdir()) if path.suffix in PAGE_FILES}
    described = {
        "codec.json": (json.dumps(layout, indent=1) + "\n").encode(),
        "waveform.json": (json.dumps(waveform, separators=(",", ":")) + "\n").encode(),
    }
    return {**pages, **binary, **exact, **described}


def _checksums(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: {"bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()} for name, each in files.items()}


def _check(image: Image, model: str, compiled: Path) -> None:
    try:
        facts = json.loads((compiled / "codec.json").read_text())
    except (OSError, ValueError) as error:
        raise WebBuildError(
            f"there are no compiled kernels in {compiled}: python -m streamcodec.web.compile makes them"
        ) from error
    if facts.get("waveform") != waveform_fingerprint() or not (compiled / "waveform.wasm").exists():
        raise WebBuildError(
            "waveform.wasm was compiled for another build: compile it anew (python -m streamcodec.web.compile)"
        )
    if facts.get("image") != fingerprint(image):
        raise WebBuildError(
            f"codec.wasm was compiled for other networks than those of {model}: compile it anew "
            "(python -m streamcodec.web.compile)"
        )


def _resamplers(rate_hz: int) -> tuple[list[dict[str, Any]], bytes]:
    """Filters between sound cards' rates and the codec's, and where they lie in one file."""
    found: list[dict[str, Any]] = []
    filters: list[bytes] = []
    at = 0
    for device_hz in DEVICE_RATES_HZ:
        for in_hz, out_hz in ((device_hz, rate_hz), (rate_hz, device_hz)):
            resampler = StreamResampler(in_hz, out_hz)
            state: PolyphaseState = resampler.filter
            up, count = state.taps.shape
            found.append(
                {
                    "from": in_hz, "to": out_hz, "at": at, "up": up, "count": count, "down": state.down,
                    "chunk": len(state.sound) - (count - 1),
                }
            )  # fmt: skip
            filters.append(np.ascontiguousarray(state.taps, np.float32).tobytes())
            at += len(filters[-1])
    return found, b"".join(filters)
