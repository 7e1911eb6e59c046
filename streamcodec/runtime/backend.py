"""Which backend steps the networks: what can be asked for, what is there, what is chosen and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streamcodec.errors import BackendError
from streamcodec.extras import command_for
from streamcodec.runtime.step import THREADS_PER_STREAM, StepGraph

if TYPE_CHECKING:
    from streamcodec.models.shipped import ShippedModel

Backend = Literal["auto", "onnxruntime", "compiled", "torch", "torch-cuda"]
BACKENDS: tuple[Backend, ...] = ("auto", "onnxruntime", "compiled", "torch", "torch-cuda")


@dataclass(frozen=True)
class Choice:
    """A backend that can be used here, and why it was taken."""

    backend: Backend
    reason: str


def choose(asked: Backend) -> Choice:
    """The backend to use; raises BackendError where the one asked for cannot be used here.

    Nothing is imported unless a GPU is asked for.
    """
    if asked == "auto":
        return Choice(
            "onnxruntime",
            "auto: for CPUs, with nothing to compile; 'compiled' is faster, a GPU is used only when asked for",
        )
    if asked == "onnxruntime":
        return Choice(asked, "asked for")
    if asked not in BACKENDS:
        raise BackendError(f"backend must be one of {', '.join(BACKENDS)}, got {asked!r}")
    if asked == "compiled":
        return Choice(asked, "asked for: the fastest on a CPU, compiled at first use, which takes some 20 s, once")
    if importlib.util.find_spec("torch") is None:
        raise BackendError(
            f"backend {asked!r} needs torch: run '{command_for('torch')}', or leave the backend at 'auto'"
        )
    if asked == "torch":
        return Choice(asked, "asked for: the reference, slower than onnxruntime on a CPU")
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            f"backend 'torch-cuda' needs a CUDA device, and torch {torch.__version__} sees none: "
            "leave the backend at 'auto'"
        )
    return Choice(asked, f"asked for: CUDA graphs on {torch.cuda.get_device_name()}")


def open_graphs(
    choice: Choice, model: ShippedModel, threads: int = THREADS_PER_STREAM
) -> tuple[StepGraph, StepGraph]:
    """Encoder and decoder of a model, loaded; raises ModelError. The compiled backend runs on one thread."""
    weights = model.load_weights()
    if choice.backend == "onnxruntime":
        from streamcodec.runtime.onnx_step import OnnxGraph, graph_weights

        encoder, decoder = (
            OnnxGraph(path, threads, graph_weights(weights, side, model.multiplies_in_8_bits))
            for side, path in (("encoder.", model.encoder_path), ("decoder.", model.decoder_path))
        )
        config = model.config
        hops, latents = config.hops_per_frame, (1, config.latents)
        encoder.check({"companded": (hops, 2 * config.bins)}, latents)
        decoder.check({"latents": latents, "level": (1,)}, (hops, 3 * config.bins))
        return encoder, decoder
    if choice.backend == "compiled":
        from streamcodec.runtime.compiled_step import CompiledGraph

        return (
            CompiledGraph.encoder(model.config, weights),
            CompiledGraph.decoder(model.config, weights),
        )
    from streamcodec.runtime.torch_step import TorchGraph

    device = "cuda" if choice.backend == "torch-cuda" else "cpu"
    return (
        TorchGraph.encoder(model.config, weights, device, threads),
        TorchGraph.decoder(model.config, weights, device, threads),
    )


def device_of(backend: Backend) -> str:
    """What a chosen backend computes on."""
    if backend != "torch-cuda":
        return "cpu"
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def installed(package: str) -> str | None:
    """Version of a package, without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
