"""Frames in, packets out: encoder, decoder, rate control, packet and file format.

May import ``runtime``, ``models`` (the torch-free loader) and ``native_dsp``. Never imports torch, never touches a
socket or a device; a damaged or missing packet never raises out of a decoder.

``stream.py`` is the face of all tiers, ``options.py`` what can be asked of each, ``registry.py`` the shape each has;
``neural``, ``near_lossless`` and ``lossless`` are the tiers, each with a ``tier.py``; ``files`` codes whole sounds.
"""
