"""A pipecat agent at 6 kbps that answers with what it hears. Start it: uvicorn --app-dir demos pipecat_agent:app"""

from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from streamcodec.adapters.pipecat import StreamcodecSerializer

app = FastAPI()


class Echo(FrameProcessor):
    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        heard = isinstance(frame, InputAudioRawFrame)
        await self.push_frame(OutputAudioRawFrame(frame.audio, 16_000, 1) if heard else frame, direction)


@app.websocket("/talk")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)
    params.serializer = StreamcodecSerializer(bitrate_bps=6_000, packet_ms=40)
    transport = FastAPIWebsocketTransport(websocket, params)
    rates = PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=16_000)
    worker = PipelineWorker(Pipeline([transport.input(), Echo(), transport.output()]), params=rates)

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
