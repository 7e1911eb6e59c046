"""Speech over a FastAPI websocket at 6 kbps, not 384: an agent that answers with what it hears, and its client.
python demos/websocket_pair.py serve
python demos/websocket_pair.py ws://127.0.0.1:8000/talk talk.wav heard.wav
"""

import asyncio
import sys

import numpy as np
import soundfile
import uvicorn
import websockets
from fastapi import FastAPI, WebSocket

from streamcodec.adapters.messages import MessageDecoder, MessageEncoder

app = FastAPI()


@app.websocket("/talk")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    ears, voice = MessageDecoder(16_000), MessageEncoder(16_000, bitrate_bps=6_000)
    async for message in websocket.iter_bytes():
        await websocket.send_bytes(voice.push(ears.push(message)))  # between the two: floats at 16 kHz


async def call(url: str, spoken: str, heard: str) -> None:
    sound, rate_hz = soundfile.read(spoken, dtype="float32")
    voice, ears, answers = MessageEncoder(rate_hz, bitrate_bps=6_000), MessageDecoder(rate_hz), []
    async with websockets.connect(url) as line:
        for start in range(0, len(sound), rate_hz // 50):  # 20 ms, one packet
            await line.send(voice.push(sound[start : start + rate_hz // 50]))
            answers.append(ears.push(await line.recv()))
    soundfile.write(heard, np.concatenate(answers), rate_hz)


if __name__ == "__main__":
    uvicorn.run(app) if sys.argv[1] == "serve" else asyncio.run(call(*sys.argv[1:4]))
