"""A call inside an aiortc application, in ten lines. MediaPlayer and MediaRecorder stand for whatever tracks it has.

    python demos/call_in_ten_lines.py ws://127.0.0.1:8080 standup talk.wav heard.wav

Start it twice, with another file, and the two hear each other.
"""

import asyncio
import sys

from aiortc.contrib.media import MediaPlayer, MediaRecorder

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.net import Call, CallConfig, ClientConfig, RoomConfig, SpeakerTrack, feed

RATE_HZ = 24_000  # a call's own rate


async def main(server: str, room: str, spoken: str, heard: str) -> None:
    """Talk to the end of ``spoken``, write what the others say to ``heard``."""
    encoder = StreamEncoder(RATE_HZ)
    config = CallConfig(RoomConfig(ClientConfig(server, room)))
    async with Call(config, encoder, lambda: StreamDecoder(RATE_HZ), encoder.encode_redundant) as call:
        while not call.peers:
            await asyncio.sleep(0.02)
        recorder = MediaRecorder(heard)
        recorder.addTrack(SpeakerTrack(call, RATE_HZ))
        await recorder.start()
        await feed(call, MediaPlayer(spoken).audio, RATE_HZ)
        await asyncio.sleep(0.5)
        await recorder.stop()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print("usage: python demos/call_in_ten_lines.py ws://HOST:PORT ROOM talk.wav heard.wav", file=sys.stderr)
        sys.exit(2)
    asyncio.run(main(*sys.argv[1:]))
