"""Training tests run on one thread: the networks are tiny, and threads waiting for each other cost more."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
