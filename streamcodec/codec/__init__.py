"""Frames in, packets out: encoder, decoder, rate control, packet and file format.

May import ``runtime``, ``models`` (the torch-free loader) and ``native_dsp``. Never imports torch, never touches a
socket or a device; a damaged or missing packet never raises out of a decoder.

``stream.py`` is the face of all tiers, ``tiers.py`` the shape each has, ``*_tier.py`` the tiers, and beside each its
engine: ``neural_encoder.py`` and ``neural_decoder.py``, ``near_lossless.py``, ``lossless.py``.
"""
