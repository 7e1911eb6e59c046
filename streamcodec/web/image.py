"""Where everything lies in a browser's memory: constants once, every stream at an address of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import SAMPLE_LIMIT
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.packet import MAX_FRAMES, Tier
from streamcodec.runtime.compiled_step import CompiledGraph
from streamcodec.web.memory_image import Region
from streamcodec.web.streams import (
    DecoderStream,
    EncoderStream,
    make_constants,
    make_decoder_stream,
    make_encoder_stream,
    without_denormals,
)

FORMAT = 2


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


def fingerprint(image: Image) -> str:
    """What compiled code takes for granted of an image: places, shapes and the numbers beside the arrays."""
    regions = (image.constants, image.decoder_region, image.encoder_region)

    def describe(value: Any) -> str:
        if isinstance(value, tuple):
            return f"{type(value).__name__}({','.join(map(describe, value))})"
        if isinstance(value, np.ndarray):
            array: NDArray[Any] = value
            region = next(k for k, each in enumerate(regions) if each.holds(array))
            return f"{region}:{regions[region].offset(array)}:{array.dtype}{array.shape}{array.strides}"
        return repr(value)

    return hashlib.sha256(describe((image.decoder, image.encoder)).encode()).hexdigest()


def layout_of(image: Image, model: str) -> dict[str, Any]:
    """What JavaScript must know of an image, as it stands in ``codec.json``."""
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
            "dtx": encoder_region.offset(encoder.control.dtx),
            "copyQualityIndex": encoder_region.offset(encoder.control.copy_quality_index),
        },
    }
