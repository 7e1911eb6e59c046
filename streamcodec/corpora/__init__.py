"""Corpora: thousands of files coded and decoded on all cores, gone on with where a run was stopped.

``pack.py`` says what is to be done and writes the manifest, ``work.py`` is what a worker does to one file or one
shard, ``engines.py`` runs that in processes or on Ray. May import ``codec``, ``models``, ``runtime`` and
``native_dsp``; never imports torch or a data loader (those live in ``streamcodec.adapters``).
"""
