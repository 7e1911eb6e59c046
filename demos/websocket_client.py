"""Talk to an agent behind a websocket at 6 kbps: what it answers is written to a file.

python demos/websocket_client.py ws://127.0.0.1:8000/talk talk.wav heard.wav
"""

import asyncio
import sys

import numpy as np
import soundfile
import websockets

from streamcodec.adapters.messages import MessageDecoder, MessageEncoder


async def listen(line: websockets.ClientConnection, ears: MessageDecoder) -> np.ndarray:
    return np.concatenate([ears.push(message) async for message in line if isinstance(message, bytes)])


async def call(url: str, spoken: str, heard: str) -> None:
    sound, rate_hz = soundfile.read(spoken, dtype="float32")
    voice, ears = MessageEncoder(rate_hz, bitrate_bps=6_000), MessageDecoder(rate_hz)
    async with websockets.connect(url) as line:
        listening = asyncio.create_task(listen(line, ears))
        for start in range(0, len(sound), rate_hz // 50):  # 20 ms every 20 ms, as a microphone gives it
            message = voice.push(sound[start : start + rate_hz // 50])
            await asyncio.gather(line.send(message), asyncio.sleep(0.02))
        await line.send(voice.flush())
        await asyncio.sleep(1)  # for the end of the answer
    soundfile.write(heard, (await listening)[: len(sound)], rate_hz)


if __name__ == "__main__":
    asyncio.run(call(*sys.argv[1:4]))
