"""From a trained causal restorer to the form that is stepped live: one ONNX step graph and a description."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcodec.codec.files.output_file import whole_folder
from streamcodec.research.models.causal_restoration import CausalRestorer
from streamcodec.research.restorer import DESCRIPTION, GRAPH
from streamcodec.training.graph_export import export_graph


class _RestorerStep(nn.Module):
    def __init__(self, restorer: CausalRestorer) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, companded: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        restored, after = self.restorer(companded, list(state))
        return (restored, *after)


def export_restorer(restorer: CausalRestorer, folder: Path, facts: dict[str, object]) -> None:
    """Write ``restorer.onnx`` and ``restorer.json`` (the configuration and ``facts``) into ``folder``."""
    config = restorer.config
    companded = torch.zeros(1, config.hops_per_step, 2 * config.bins)
    described = {"config": json.loads(config.to_json()), **facts}
    with whole_folder(folder, DESCRIPTION) as made:
        export_graph(_RestorerStep(restorer), {"companded": companded}, restorer.initial_state(1), made / GRAPH)
        (made / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n")
