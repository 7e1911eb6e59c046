"""Losses and tasks of the research models, for the one loop in ``streamcodec.training.loop``.

May import ``training``, ``research.models`` and torch.
"""
