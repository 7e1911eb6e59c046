"""Speech over a FastAPI websocket at 6 kbps, not 384: an agent that answers with what it hears.

python demos/websocket_agent.py
"""

import uvicorn
from fastapi import FastAPI, WebSocket

from streamcodec.adapters.messages import MessageDecoder, MessageEncoder

app = FastAPI()


@app.websocket("/talk")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    ears, voice = MessageDecoder(16_000), MessageEncoder(16_000, bitrate_bps=6_000)
    async for message in websocket.iter_bytes():
        await websocket.send_bytes(voice.push(ears.push(message)))  # between the two: floats at 16 kHz


if __name__ == "__main__":
    uvicorn.run(app)
