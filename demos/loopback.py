"""Hear yourself through the codec, live. Wear headphones. Run: python demos/loopback.py [kbps] [loss]

The microphone's sound is coded at a few kbps, sent over a link that loses packets, decoded and played.
"""

import sys

from streamcodec.live import DeviceError, Loopback, LoopbackConfig


def main() -> None:
    kbps = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
    loss = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    config = LoopbackConfig(bitrate_bps=round(1000 * kbps), loss=loss, mean_burst_packets=2.0)
    try:
        with Loopback(config) as loopback:
            while True:
                loopback.wait(0.5)
                stats = loopback.stats
                print(
                    f"\rmic {stats.mic_dbfs:6.1f} dBFS  {stats.payload_bps / 1000:.1f} kbps  "
                    f"delay {stats.delay.total_ms:.0f} ms  cost p99 {stats.cost.p99_ms:.2f} ms  "
                    f"concealed {stats.concealed}  {stats.guard.value}   ",
                    end="",
                    flush=True,
                )
    except DeviceError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
