"""Published datasets read from local folders: one file per dataset, splits, preprocessing. Nothing is downloaded.

``catalogue`` finds an adapter by name; every adapter gives a list of ``recording.Recording``, which ``split`` divides
without a speaker, artist or instrument on two sides, and ``preprocess`` turns into arrays.

May import ``training.data`` and ``errors``; must never import torch, models or the network.
"""
