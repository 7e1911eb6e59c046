"""Torch definitions of the networks, quantisers and entropy models, and the shipped models.

May import ``native_dsp`` and torch; the loaders of models (``shipped``, ``weights``, ``packed_weights``,
``post_filter_file``) stay importable without torch. Never imports any other folder of ``streamcodec``.
"""
