"""How many streams one core (or one GPU) carries: the curve of cost against their number.

    python -m bench.pool --json bench/results/pool_cpu.json --plot bench/results/pool_cpu.png

Uses ``streamcodec.evaluation.latency`` alone.
"""
