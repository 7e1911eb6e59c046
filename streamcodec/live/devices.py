"""Sound devices through PortAudio, looked for only when asked: this folder imports without either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streamcodec.extras import command_for
from streamcodec.live.errors import DeviceError
from streamcodec.live.ring_buffer import Samples

MAX_CHANNELS = 2
"""Some devices refuse to be opened as mono; two channels are averaged on the way in, and equal on the way out."""
HOW_TO_GET_ONE = (
    "connect one; on Linux without a sound card, start PulseAudio or PipeWire and install its ALSA plugin "
    "('sudo apt install libasound2-plugins' or 'pipewire-alsa')"
)

Device = int | str | None
"""Number or part of the name of a device; None for the default one."""


class SoundStream(Protocol):
    """A stream of one direction or both."""

    @property
    def active(self) -> bool: ...

    def start(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class DuplexStream(SoundStream, Protocol):
    """What a loopback needs of a full-duplex stream."""

    @property
    def latency(self) -> tuple[float, float]: ...


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device as PortAudio lists it."""

    number: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    sample_rate_hz: int
    is_default_input: bool
    is_default_output: bool


def list_devices() -> list[DeviceInfo]:
    """Every device there is; raises DeviceError where PortAudio is missing or knows of none."""
    sounddevice = sounddevice_module()
    if not len(sounddevice.query_devices()):
        raise DeviceError(f"there is no sound device: {HOW_TO_GET_ONE}")
    hosts = sounddevice.query_hostapis()
    default_input, default_output = sounddevice.default.device
    return [
        DeviceInfo(
            number=number,
            name=device["name"],
            host_api=hosts[device["hostapi"]]["name"],
            inputs=device["max_input_channels"],
            outputs=device["max_output_channels"],
            sample_rate_hz=round(device["default_samplerate"]),
            is_default_input=number == default_input,
            is_default_output=number == default_output,
        )
        for number, device in enumerate(sounddevice.query_devices())
    ]


def check_devices(
    input_device: Device = None, output_device: Device = None, *, captures: bool = True, plays: bool = True
) -> None:
    """Raise DeviceError where a device that will be opened is not there, before work is done for it."""
    sounddevice = sounddevice_module()
    if captures:
        _channels(sounddevice, input_device, "input")
    if plays:
        _channels(sounddevice, output_device, "output")


def open_duplex(
    sample_rate_hz: int,
    block_samples: int,
    callback: Callable[[Samples, Samples], None],
    input_device: Device = None,
    output_device: Device = None,
) -> DuplexStream:
    """A full-duplex stream, not yet started, that calls ``callback(captured, played)`` for each block.

    Raises DeviceError.
    """
    sounddevice = sounddevice_module()
    channels = (
        min(MAX_CHANNELS, _channels(sounddevice, input_device, "input")),
        min(MAX_CHANNELS, _channels(sounddevice, output_device, "output")),
    )

    def on_block(captured: Samples, played: Samples, frames: int, times: object, status: object) -> None:
        callback(captured, played)

    return _open(
        sounddevice,
        sounddevice.Stream,
        sample_rate_hz,
        block_samples,
        (input_device, output_device),
        channels,
        on_block,
    )


def open_microphone(
    sample_rate_hz: int, block_samples: int, callback: Callable[[Samples], None], device: Device = None
) -> SoundStream:
    """An input alone, not yet started, that calls ``callback(captured)`` for each block; raises DeviceError."""
    return _open_one(sample_rate_hz, block_samples, callback, device, "input")


def open_loudspeaker(
    sample_rate_hz: int, block_samples: int, callback: Callable[[Samples], None], device: Device = None
) -> SoundStream:
    """An output alone, not yet started, that calls ``callback(played)`` for each block; raises DeviceError."""
    return _open_one(sample_rate_hz, block_samples, callback, device, "output")


def _open_one(
    sample_rate_hz: int, block_samples: int, callback: Callable[[Samples], None], device: Device, kind: str
) -> SoundStream:
    sounddevice = sounddevice_module()
    channels = min(MAX_CHANNELS, _channels(sounddevice, device, kind))

    def on_block(block: Samples, frames: int, times: object, status: object) -> None:
        callback(block)

    make = sounddevice.InputStream if kind == "input" else sounddevice.OutputStream
    return _open(sounddevice, make, sample_rate_hz, block_samples, device, channels, on_block)


def _open(
    sounddevice: Any,
    make: Callable[..., Any],
    sample_rate_hz: int,
    block_samples: int,
    device: Device | tuple[Device, Device],
    channels: int | tuple[int, int],
    on_block: Callable[..., None],
) -> _PortAudioStream:
    try:
        stream = make(
            samplerate=sample_rate_hz,
            blocksize=block_samples,
            device=device,
            channels=channels,
            dtype="float32",
            latency="low",
            callback=on_block,
        )
    except sounddevice.PortAudioError as error:
        both = " in both directions" if isinstance(device, tuple) else ""
        raise DeviceError(
            f"the sound devices cannot be opened at {sample_rate_hz} Hz{both}: {_first_line(error)}; "
            "try another --rate, or pick devices of one host API from streamcodec loopback --list-devices"
        ) from error
    return _PortAudioStream(stream, sounddevice.PortAudioError)


class _PortAudioStream:
    """A stream of sounddevice whose errors are ours."""

    def __init__(self, stream: Any, error_type: type[Exception]) -> None:
        self._stream = stream
        self._error_type = error_type

    @property
    def active(self) -> bool:
        return bool(self._stream.active)

    @property
    def latency(self) -> tuple[float, float]:
        into, out_of = self._stream.latency
        return float(into), float(out_of)

    def start(self) -> None:
        try:
            self._stream.start()
        except self._error_type as error:
            raise DeviceError(f"the sound devices cannot be started: {_first_line(error)}") from error

    def abort(self) -> None:
        self._stream.abort()

    def close(self) -> None:
        self._stream.close()


def _channels(sounddevice: Any, device: Device, kind: str) -> int:
    """Channels of a device in one direction; raises DeviceError where there is none."""
    what = "microphone" if kind == "input" else "loudspeaker"
    try:
        channels = int(sounddevice.query_devices(device, kind)[f"max_{kind}_channels"])
    except (sounddevice.PortAudioError, ValueError) as error:
        if device is None:
            raise DeviceError(f"there is no {what}: {HOW_TO_GET_ONE}") from error
        raise DeviceError(
            f"no {what} {device!r}: {_first_line(error)}; see streamcodec loopback --list-devices"
        ) from error
    return channels


def sounddevice_module() -> Any:
    """sounddevice, loaded when it is needed; raises DeviceError that says how to get it."""
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError(f"live sound needs sounddevice: run '{command_for('live')}'") from error
    except OSError as error:
        raise DeviceError(
            "live sound needs the PortAudio library: run 'sudo apt install libportaudio2' "
            "(Fedora: 'sudo dnf install portaudio', macOS: 'brew install portaudio')"
        ) from error
    return sounddevice


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
