"""The neural tier: 24 kHz mono speech at 1 to 24 kbps.

May import ``native_dsp``, ``runtime``, ``models`` and the rest of ``codec``; never torch.
"""
