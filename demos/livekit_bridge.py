"""A streamcodec room in a LiveKit room: both sides hear each other. Give LiveKit's address and token in LIVEKIT_*.

streamcodec serve --port 8080 &
LIVEKIT_URL=wss://... LIVEKIT_TOKEN=... python demos/livekit_bridge.py ws://127.0.0.1:8080 standup
"""

import asyncio
import os
import sys

from livekit import rtc

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.adapters.livekit import feed, play_call
from streamcodec.net.call import Call, CallConfig
from streamcodec.net.client import ClientConfig
from streamcodec.net.room import RoomConfig

RATE_HZ = 24_000


async def main(server: str, room: str) -> None:
    encoder, there, tasks = StreamEncoder(RATE_HZ, bitrate_bps=6_000), rtc.Room(), set()
    config = CallConfig(RoomConfig(ClientConfig(server, room, name="livekit")))
    async with Call(config, encoder, lambda: StreamDecoder(RATE_HZ), encoder.encode_redundant) as call:

        @there.on("track_subscribed")
        def subscribed(track: rtc.Track, *_: object) -> None:
            if track.kind == rtc.TrackKind.KIND_AUDIO:
                tasks.add(asyncio.ensure_future(feed(call, rtc.AudioStream(track, None, 0, RATE_HZ, 1))))

        await there.connect(os.environ["LIVEKIT_URL"], os.environ["LIVEKIT_TOKEN"])
        source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=60)
        await there.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("streamcodec", source))
        await play_call(call, source)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
