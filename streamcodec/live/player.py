"""Files played to a loudspeaker: read, or decoded, as they are played."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from streamcodec.codec.files.container import is_coded
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.decoding import decoded_blocks, decoder_for
from streamcodec.codec.files.output_file import readable_name
from streamcodec.codec.files.sound_file import SoundReader, SoundSource, open_binary
from streamcodec.codec.options import Samples
from streamcodec.codec.packet import Tier
from streamcodec.live.devices import Device, check_devices, sounddevice_module
from streamcodec.live.errors import DeviceError


class OpenSound(NamedTuple):
    """Sound to be played: blocks ``[n]`` or ``[n, channels]``, floats of full scale 1 or integers of a depth."""

    sample_rate_hz: int
    channels: int
    bits_per_sample: int
    blocks: Iterable[Samples]


@contextlib.contextmanager
def open_sound(source: SoundSource, model: str | None = None) -> Iterator[OpenSound]:
    """A ``.sc`` file or a sound file, by its first bytes; raises FileFormatError, AudioFormatError or ModelError."""
    with open_binary(source) as file:
        if is_coded(file):
            reader = FileReader(file)
            header = reader.header
            decoder = decoder_for(header, None, model)
            blocks = decoded_blocks(reader, decoder, readable_name(source))
            yield OpenSound(header.sample_rate_hz, header.channels, header.bits_per_sample, blocks)
            return
        with SoundReader(file, Tier.NEAR_LOSSLESS) as sound:
            yield OpenSound(sound.sample_rate_hz, sound.channels, sound.bits_per_sample, sound.blocks())


def play_file(source: SoundSource, output_device: Device = None, *, model: str | None = None) -> float:
    """Play a ``.sc`` file or a sound file to its end; returns its seconds.

    Errors: DeviceError where it cannot be played at the file's rate, and those of :func:`open_sound`.
    """
    sounddevice = sounddevice_module()
    check_devices(output_device=output_device, captures=False)
    played = 0
    with open_sound(source, model) as sound:
        try:
            with sounddevice.OutputStream(
                samplerate=sound.sample_rate_hz,
                device=output_device,
                channels=sound.channels,
                dtype="float32",
                latency="high",
            ) as stream:
                for block in sound.blocks:
                    stream.write(_as_floats(block, sound))
                    played += len(block)
        except sounddevice.PortAudioError as error:
            raise DeviceError(
                f"the loudspeaker cannot play {sound.channels} channels at {sound.sample_rate_hz} Hz: {error}; "
                "decode the file to a rate that it takes, or name another with --output-device"
            ) from error
    return played / sound.sample_rate_hz


def _as_floats(block: Samples, sound: OpenSound) -> Samples:
    """Shape: output ``[n, channels]``, float32."""
    plane = block.reshape(-1, sound.channels)
    if plane.dtype.kind == "i":
        plane = plane / np.float64(1 << (sound.bits_per_sample - 1))
    return np.ascontiguousarray(plane, np.float32)
