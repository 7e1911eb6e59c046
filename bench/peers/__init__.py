"""The codec beside its peers in one run: whole codecs (``codecs``) and short-time transforms (``transforms``).

    python -m bench.peers --json bench/results/peers_cpu.json

Uses the public API, ``streamcodec.evaluation.latency`` and ``streamcodec.evaluation``; never anything of the live
path's inside.
"""
