"""A relay as a process of its own. Arguments: NATS URL to share rooms over, or ``-``; address. Prints its own URL."""

from __future__ import annotations

import asyncio
import sys

from streamcodec.net.relay.cluster import ClusterConfig, NatsBackbone
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay


async def main(nats_url: str, host: str) -> None:
    cluster = ClusterConfig(heartbeat_s=0.1, death_s=0.5, snapshot_s=0.3)
    backbone = None if nats_url == "-" else NatsBackbone(nats_url)
    async with Relay(RelayConfig(host=host), backbone=backbone, cluster=cluster) as relay:
        print(relay.url, flush=True)
        await relay.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
