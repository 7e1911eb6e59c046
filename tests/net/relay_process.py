"""A relay as a process of its own, sharing rooms over NATS. Argument: NATS URL. Prints its own URL."""

from __future__ import annotations

import asyncio
import sys

from streamcodec.net.cluster import ClusterConfig, NatsBackbone
from streamcodec.net.relay import Relay


async def main(nats_url: str) -> None:
    cluster = ClusterConfig(heartbeat_s=0.1, death_s=0.5, snapshot_s=0.3)
    async with Relay(backbone=NatsBackbone(nats_url), cluster=cluster) as relay:
        print(relay.url, flush=True)
        await relay.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
