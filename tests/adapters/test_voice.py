"""Voice adapters, each with the real package: what is sent is packets, what is heard is what was said."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    Packet,
    PacketError,
    PacketFlags,
    RedundantCopy,
    StreamEncoder,
    Tier,
    encode_file,
)
from streamcodec.adapters.messages import MessageDecoder, MessageEncoder, join, split

Float32Array = NDArray[np.float32]
DEMOS = Path(__file__).parents[2] / "demos"


def alike(said: NDArray[Any], heard: NDArray[Any]) -> float:
    """Highest correlation at any lag up to a second."""
    spectrum = np.fft.rfft(heard, 1 << 18) * np.conj(np.fft.rfft(said, 1 << 18))
    return float(np.abs(np.fft.irfft(spectrum)).max() / (np.linalg.norm(said) * np.linalg.norm(heard) + 1e-9))


def test_messages_hold_packets_and_pauses_last(speech: Float32Array) -> None:
    encoder, decoder = MessageEncoder(24_000, 6_000), MessageDecoder(16_000)
    message = encoder.push(speech[:4_800]) + encoder.flush()
    assert len(split(message)) >= 10
    assert 8 * len(message) < 30_000 * 0.25
    heard = decoder.push(message)
    assert heard.size == 320 * len(split(message))
    assert decoder.push(b"").size == 0
    packets = StreamEncoder(24_000).push(speech[:9_600])
    paused = MessageDecoder(24_000)
    assert paused.push(join(packets[:3])).size == 3 * 480
    assert paused.push(join(packets[8:])).size == (len(packets) - 3) * 480
    damaged = bytearray(join(packets[:2]))
    damaged[20] ^= 255
    assert MessageDecoder(24_000).push(bytes(damaged)).size == 480
    for cut in (message[:-1], b"\0"):
        with pytest.raises(PacketError, match="ends inside a packet"):
            split(cut)


def test_messages_that_are_lost_late_or_doubled_move_nothing(speech: Float32Array) -> None:
    sent = [join([packet]) for packet in StreamEncoder(24_000).push(np.tile(speech, 2))]
    received = [sent[k] for k in (*range(40), 38, 39, *range(40, 60), 45, *range(61, 70))]
    decoder = MessageDecoder(24_000)
    assert sum(decoder.push(message).size for message in received) == 70 * 480
    assert decoder.stream.concealed == 1
    # A long loss is a second at most.
    assert decoder.push(sent[70 + 60]).size == (50 + 1) * 480
    # One that begins again is heard from its fifth packet on.
    heard = [decoder.push(message).size for message in sent[:8]]
    assert heard == [0, 0, 0, 0, 480, 480, 480, 480]
    for other in (5, "message", None):
        with pytest.raises(PacketError, match="a message is bytes"):
            decoder.push(other)  # type: ignore[arg-type]
    assert decoder.push(bytearray(sent[8])).size == 480


@pytest.mark.parametrize("pause_s", [0.2, 20.0, 60.0, 1_290.0, 1_310.7, 1_311.0, 4_000.0])
def test_a_pause_of_any_length_loses_nothing_of_what_follows(speech: Float32Array, pause_s: float) -> None:
    """Timestamps begin anew every 1,310.72 s: what follows a pause of nearly as long is not late."""
    packets = StreamEncoder(24_000).push(speech[: 20 * 480])
    decoder = MessageDecoder(24_000)
    assert decoder.push(join(packets[:10])).size == 10 * 480
    pause_frames = round(50 * pause_s)
    later = [replace(packet, timestamp=(packet.timestamp + pause_frames) % 65_536) for packet in packets[10:]]
    sizes = [decoder.push(join([packet])).size // 480 for packet in later]
    assert 1 <= sizes[0] <= 1 + 50
    assert sizes[1:] == [1] * 9
    assert decoder.push(join(later[-3:])).size == 0


def test_bytes_of_sound_are_16_bit_samples_whatever_holds_them(speech: Float32Array) -> None:
    sound = (speech[:9_600] * 32_767).astype("<i2")
    said = MessageEncoder(24_000).push(sound)
    for held in (sound.tobytes(), bytearray(sound.tobytes()), memoryview(sound.tobytes()), memoryview(sound)):
        assert MessageEncoder(24_000).push(held) == said
    for kind in (bytes, bytearray, lambda odd: memoryview(bytes(odd))):
        with pytest.raises(AudioFormatError, match="two bytes each, got 641 bytes"):
            MessageEncoder(16_000).push(kind(641))


def test_a_packet_too_long_for_a_message_is_refused() -> None:
    copies = (RedundantCopy(1, 0, PacketFlags.KEY, bytes(60_000)),)
    with pytest.raises(PacketError, match="at most 65535 bytes"):
        join([Packet(Tier.LOSSLESS, 0, 0, 0, PacketFlags.KEY, bytes(60_000), copies)])


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An ASGI application on a port of its own, on a thread."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"ws://127.0.0.1:{port}/talk"
    finally:
        server.should_exit = True
        thread.join(20)


def demo(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def test_a_fastapi_websocket_answers(tmp_path: Path, speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    assert alike(speech[:24_000], talk_to("websocket_agent", tmp_path, speech[:24_000], monkeypatch)) > 0.6


def talk_to(agent: str, folder: Path, said: Float32Array, monkeypatch: pytest.MonkeyPatch) -> Float32Array:
    """What an agent of ``demos`` answers to the client of ``demos``, at most as long as what was said."""
    soundfile.write(folder / "talk.wav", said, 24_000)
    with served(demo(agent, monkeypatch).app) as url:
        client = demo("websocket_client", monkeypatch)
        asyncio.run(client.call(url, str(folder / "talk.wav"), str(folder / "heard.wav")))
    heard = np.asarray(soundfile.read(folder / "heard.wav", dtype="float32")[0], np.float32)
    assert 0.8 * said.size < heard.size <= said.size
    return heard


def test_pipecat_serialises_both_ways(speech: Float32Array) -> None:
    pytest.importorskip("pipecat")
    from pipecat.frames.frames import (
        EndFrame,
        InputAudioRawFrame,
        InputTransportMessageFrame,
        InterruptionFrame,
        OutputAudioRawFrame,
        OutputTransportMessageFrame,
        TextFrame,
    )

    from streamcodec.adapters.pipecat import StreamcodecSerializer

    async def run() -> None:
        agent = StreamcodecSerializer(bitrate_bps=6_000)
        client = StreamcodecSerializer(sample_rate_hz=24_000)
        sound = (speech[:24_000] * 32_767).astype("<i2")
        messages: list[bytes] = []
        for start in range(0, sound.size, 960):
            frame = OutputAudioRawFrame(sound[start : start + 960].tobytes(), 24_000, 1)
            message = await agent.serialize(frame)
            assert isinstance(message, bytes)
            assert len(split(message)) == 1
            messages.append(message)
        last = await agent.serialize(EndFrame())
        assert isinstance(last, bytes)
        frames = [await client.deserialize(message) for message in [*messages, last]]
        assert all(isinstance(frame, InputAudioRawFrame) and frame.sample_rate == 24_000 for frame in frames)
        heard = np.frombuffer(b"".join(frame.audio for frame in frames), "<i2")
        assert alike(sound.astype(float), heard.astype(float)) > 0.7
        assert 8 * sum(map(len, messages)) < 10_000
        told = await agent.serialize(InterruptionFrame())
        assert isinstance(await client.deserialize(told), InterruptionFrame)
        told = await agent.serialize(OutputTransportMessageFrame(message={"a": 1}))
        back = await client.deserialize(told)
        assert isinstance(back, InputTransportMessageFrame)
        assert back.message == {"a": 1}
        assert await agent.serialize(TextFrame("nothing to hear")) is None
        for nonsense in (b"\1", "{", "[]", '{"type": "x"}'):
            assert await client.deserialize(nonsense) is None

    asyncio.run(run())


def test_a_pipecat_agent_answers(tmp_path: Path, speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pipecat")
    pytest.importorskip("fastapi")
    assert alike(speech[:24_000], talk_to("pipecat_agent", tmp_path, speech[:24_000], monkeypatch)) > 0.5


def test_a_pipecat_client_talks_to_a_pipecat_agent(speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends are pipelines; the client's transport is as it comes, with a WAV header before each piece."""
    pytest.importorskip("pipecat")
    pytest.importorskip("fastapi")
    from pipecat.frames.frames import EndFrame, InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.transports.websocket.client import WebsocketClientParams, WebsocketClientTransport
    from pipecat.workers.runner import WorkerRunner

    from streamcodec.adapters.pipecat import StreamcodecSerializer

    agent, said, heard = demo("pipecat_agent", monkeypatch), speech[:24_000], bytearray()

    class Ears(FrameProcessor):  # type: ignore[misc]
        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InputAudioRawFrame):
                heard.extend(frame.audio)
            else:
                await self.push_frame(frame, direction)

    async def talk(url: str) -> None:
        params = WebsocketClientParams(audio_in_enabled=True, audio_out_enabled=True)
        params.serializer = StreamcodecSerializer(bitrate_bps=6_000)
        transport = WebsocketClientTransport(url, params)
        rates = PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
        worker = PipelineWorker(Pipeline([transport.input(), Ears(), transport.output()]), params=rates)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        await worker.queue_frame(OutputAudioRawFrame((said * 32_767).astype("<i2").tobytes(), 24_000, 1))
        deadline = time.monotonic() + 30
        while len(heard) < 1.8 * said.size and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await worker.queue_frame(EndFrame())
        await running

    with served(agent.app) as url:
        asyncio.run(talk(url))
    assert alike(said, np.frombuffer(bytes(heard), "<i2").astype(float)) > 0.7


def test_pipecat_keeps_the_codec_that_both_transports_ask_for(speech: Float32Array) -> None:
    """Input and output each set the serializer up; sound that came between the two is not forgotten."""
    pytest.importorskip("pipecat")
    from types import SimpleNamespace

    from pipecat.frames.frames import InputAudioRawFrame

    from streamcodec.adapters.pipecat import StreamcodecSerializer

    rates = SimpleNamespace(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
    encoder = MessageEncoder(24_000, 6_000)
    messages = [encoder.push(speech[start : start + 960]) for start in range(0, 9_600, 960)]

    async def heard(again_before: int) -> bytes:
        serializer = StreamcodecSerializer()
        await serializer.setup(rates)
        sound = b""
        for number, message in enumerate(messages):
            if number == again_before:
                await serializer.setup(rates)
            frame = await serializer.deserialize(message)
            assert isinstance(frame, InputAudioRawFrame)
            sound += frame.audio
        return sound

    assert asyncio.run(heard(5)) == asyncio.run(heard(0))


def test_fastrtc_puts_a_coded_line_behind_a_page(speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastrtc")
    pytest.importorskip("fastapi")
    websockets = pytest.importorskip("websockets")
    from streamcodec.adapters.fastrtc import CodedLine

    agent = demo("websocket_agent", monkeypatch)

    async def visit(url: str) -> NDArray[np.int16]:
        handler = CodedLine(lambda: websockets.connect(url), bitrate_bps=6_000).copy()
        await handler.start_up()
        heard = []
        for start in range(0, 24_000, 480):
            block = (speech[start : start + 480] * 32_767).astype(np.int16)
            await handler.receive((24_000, block[np.newaxis]))
            answer = await handler.emit()
            if answer is not None:
                rate_hz, sound = answer
                assert (rate_hz, sound.shape[0], sound.dtype) == (24_000, 1, np.int16)
                heard.append(sound[0])
        await handler.shutdown()
        return np.concatenate(heard)

    with served(agent.app) as url:
        heard = asyncio.run(visit(url))
    assert alike(speech[:24_000], heard.astype(np.float32)) > 0.6


def test_a_visitor_of_fastrtc_hears_the_agent(speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebRTC peer in place of a browser: what it says goes over the coded line and comes back."""
    fastrtc = pytest.importorskip("fastrtc")
    fastapi = pytest.importorskip("fastapi")
    websockets = pytest.importorskip("websockets")
    from fractions import Fraction

    import av
    from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

    from streamcodec.adapters.fastrtc import CodedLine

    agent = demo("websocket_agent", monkeypatch)
    said = np.asarray(speech[:96_000] * 32_767, np.int16)
    whole: list[NDArray[Any]] = []

    class Voice(MediaStreamTrack):
        kind = "audio"
        began = position = 0

        async def recv(self) -> Any:
            self.began = self.began or time.monotonic_ns()
            await asyncio.sleep(max(0.0, self.began / 1e9 + self.position / 24_000 - time.monotonic()))
            block = np.take(said, np.arange(self.position, self.position + 480), mode="wrap")
            frame = av.AudioFrame.from_ndarray(block[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 24_000, self.position, Fraction(1, 24_000)
            self.position += 480
            return frame

    async def visit(offer: Any) -> None:
        peer = RTCPeerConnection()
        peer.addTrack(Voice())
        peer.createDataChannel("text")
        tracks: asyncio.Queue[Any] = asyncio.Queue()
        peer.on("track", tracks.put_nowait)
        await peer.setLocalDescription(await peer.createOffer())
        local = peer.localDescription
        answer = await asyncio.to_thread(offer, {"sdp": local.sdp, "type": local.type, "webrtc_id": "visitor"})
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        track, loud, deadline = await tracks.get(), 0, time.monotonic() + 30
        while loud < 100 and time.monotonic() < deadline:
            frame = await asyncio.wait_for(track.recv(), 20)
            block = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            whole.append(block[:: frame.sample_rate // 24_000])
            loud += int(np.abs(block).max() > 500)
        await peer.close()

    def offer(description: dict[str, str]) -> Any:
        body = json.dumps(description).encode()
        request = urllib.request.Request(f"{page_url}/webrtc/offer", body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)

    with served(agent.app) as url:
        page = fastapi.FastAPI()
        line = CodedLine(lambda: websockets.connect(url), bitrate_bps=6_000)
        fastrtc.Stream(line, modality="audio", mode="send-receive").mount(page)
        with served(page) as page_ws:
            page_url = page_ws.replace("ws://", "http://").removesuffix("/talk")
            asyncio.run(visit(offer))
    heard = np.concatenate(whole).astype(float)
    assert alike(heard, np.tile(said.astype(float), 2)) > 0.5


def test_livekit_plays_and_is_heard(tmp_path: Path, speech: Float32Array) -> None:
    """Through the SDK's own tracks and streams; no server is needed for a local track."""
    rtc = pytest.importorskip("livekit.rtc")
    from streamcodec.adapters.livekit import feed, messages_of, play_call, play_file, play_messages

    said = speech[:24_000]
    soundfile.write(tmp_path / "a.wav", said, 24_000)
    encode_file(tmp_path / "a.wav", tmp_path / "a.sc")

    class Room:
        """What a call is to the bridge."""

        def __init__(self) -> None:
            self.heard: list[Float32Array] = []
            self.position = 0

        def push(self, samples: Float32Array, /) -> None:
            self.heard.append(samples)

        async def pull(self, count_samples: int, /) -> Float32Array:
            self.position = (self.position + count_samples) % said.size
            return np.roll(said, -self.position)[:count_samples]

    def track() -> tuple[Any, Any]:
        source = rtc.AudioSource(24_000, 1)
        local = rtc.LocalAudioTrack.create_audio_track("x", source)
        return source, rtc.AudioStream(local, sample_rate=24_000, num_channels=1)

    async def hear(playing: Any, stream: Any) -> Float32Array:
        room = Room()
        feeding, played = asyncio.create_task(feed(room, stream)), asyncio.create_task(playing)
        deadline = time.monotonic() + 20
        while sum(map(len, room.heard)) < 18_000 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for task in (feeding, played):
            task.cancel()
        await asyncio.gather(feeding, played, return_exceptions=True)
        await stream.aclose()
        return np.concatenate(room.heard)

    async def coded() -> AsyncIterator[bytes]:
        encoder = MessageEncoder(24_000, 6_000)
        for start in range(0, said.size, 480):
            yield encoder.push(said[start : start + 480])

    async def run() -> None:
        for way in ("file", "messages", "call"):
            source, stream = track()
            playing: Any = {
                "file": lambda source=source: play_file(tmp_path / "a.sc", source),
                "messages": lambda source=source: play_messages(coded(), source),
                "call": lambda source=source: play_call(Room(), source),
            }[way]()
            heard = await hear(playing, stream)
            assert alike(said, heard) > 0.5, way
            await source.aclose()
        source, stream = track()
        playing = asyncio.create_task(play_call(Room(), source))
        messages = []
        async for message in messages_of(stream, 6_000):
            messages.append(message)
            if len(messages) == 30:
                break
        playing.cancel()
        await stream.aclose()
        await source.aclose()
        decoder = MessageDecoder(24_000)
        assert alike(said, np.concatenate([decoder.push(message) for message in messages])) > 0.4

    asyncio.run(run())


@pytest.mark.parametrize("bits_per_sample", [16, 24])
def test_livekit_takes_lossless_sound_of_any_width(
    tmp_path: Path, speech: Float32Array, bits_per_sample: int
) -> None:
    pytest.importorskip("livekit.rtc")
    from streamcodec.adapters.livekit import play_file, play_messages

    said = np.stack([speech[:4_800], -0.5 * speech[:4_800]], axis=1)
    lossless: dict[str, Any] = {"tier": Tier.LOSSLESS, "channels": 2, "bits_per_sample": bits_per_sample}
    soundfile.write(tmp_path / "a.wav", said, 24_000, subtype=f"PCM_{bits_per_sample}")
    encode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier=Tier.LOSSLESS)

    class Source:
        """An audio source that keeps what it is given."""

        sample_rate, num_channels = 24_000, 2

        def __init__(self) -> None:
            self.heard: list[NDArray[np.int16]] = []

        async def capture_frame(self, frame: Any) -> None:
            self.heard.append(np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels).copy())

        async def wait_for_playout(self) -> None:
            pass

    async def coded() -> AsyncIterator[bytes]:
        encoder = MessageEncoder(24_000, **lossless)
        samples = np.round(said * (2 ** (bits_per_sample - 1) - 1)).astype(np.int32)
        yield encoder.push(samples)
        yield encoder.flush()

    for play in (
        lambda source: play_file(tmp_path / "a.sc", source),
        lambda source: play_messages(coded(), source, **lossless),
    ):
        source: Any = Source()
        asyncio.run(play(source))
        heard = np.concatenate(source.heard)[: len(said)] / 32_768.0
        np.testing.assert_allclose(heard, said, atol=2e-4)


def test_the_livekit_bridge_carries_both_ways(speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of ``demos`` between a real relay and a double of LiveKit's room, with the SDK's own tracks."""
    rtc = pytest.importorskip("livekit.rtc")
    pytest.importorskip("aiortc")
    from streamcodec import StreamDecoder
    from streamcodec.net.call import Call, CallConfig
    from streamcodec.net.client import ClientConfig
    from streamcodec.net.relay.server import Relay
    from streamcodec.net.room import RoomConfig

    bridge = demo("livekit_bridge", monkeypatch)
    there, here = speech[:24_000], speech[24_000:48_000]
    monkeypatch.setenv("LIVEKIT_URL", "wss://livekit.test")
    monkeypatch.setenv("LIVEKIT_TOKEN", "token")
    published: asyncio.Queue[Any] = asyncio.Queue()

    class Participant:
        async def publish_track(self, track: Any) -> None:
            published.put_nowait(track)

    class Room:
        local_participant = Participant()

        def on(self, event: str) -> Any:
            assert event == "track_subscribed"
            return lambda handler: setattr(self, "subscribed", handler)

        async def connect(self, url: str, token: str) -> None:
            assert (url, token) == ("wss://livekit.test", "token")
            self.source = rtc.AudioSource(48_000, 1)
            self.subscribed(rtc.LocalAudioTrack.create_audio_track("guest", self.source), None, None)
            self.talking = asyncio.create_task(self.talk())

        async def talk(self) -> None:
            block, position = np.repeat((there * 32_767).astype(np.int16), 2), 0
            while True:
                piece = np.take(block, np.arange(position, position + 960), mode="wrap")
                await self.source.capture_frame(rtc.AudioFrame(piece.tobytes(), 48_000, 1, 960))
                position += 960

    monkeypatch.setattr(bridge.rtc, "Room", Room)

    async def talk() -> None:
        heard: dict[str, list[NDArray[Any]]] = {"here": [], "there": []}
        async with Relay() as relay:
            bridging = asyncio.create_task(bridge.main(relay.url, "standup"))
            encoder = StreamEncoder(24_000)
            config = CallConfig(RoomConfig(ClientConfig(relay.url, "standup", name="friend")))
            async with Call(config, encoder, lambda: StreamDecoder(24_000), encoder.encode_redundant) as call:

                async def hear_there() -> None:
                    stream = rtc.AudioStream(await published.get(), sample_rate=24_000, num_channels=1)
                    async for event in stream:
                        heard["there"].append(np.frombuffer(event.frame.data, np.int16).astype(float))

                hearing = asyncio.create_task(hear_there())
                began, position = time.monotonic(), 0
                while time.monotonic() < began + 8:
                    call.push(np.take(here, np.arange(position, position + 480), mode="wrap"))
                    heard["here"].append(await call.pull(480))
                    position += 480
                    await asyncio.sleep(max(0.0, began + position / 24_000 - time.monotonic()))
                hearing.cancel()
            bridging.cancel()
            await asyncio.gather(hearing, bridging, return_exceptions=True)
        for side, said, other in (("here", there, here), ("there", here, there)):
            sound = np.concatenate(heard[side])[-96_000:]
            assert alike(sound, np.tile(said, 4)) > 0.4, side
            assert alike(sound, np.tile(said, 4)) > 1.5 * alike(sound, np.tile(other, 4)), side

    asyncio.run(asyncio.wait_for(talk(), 60))
