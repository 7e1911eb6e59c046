"""How many streams one core (or one GPU) carries: the curve of cost against their number.

    python -m bench.pool --json bench/results/pool_cpu.json --plot docs/images/pool.png

Uses ``streamcodec.evaluation.latency`` alone.
"""
