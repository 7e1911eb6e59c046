"""What rooms, microphones and lines do to a voice before it is coded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.clips import Clip
from streamcodec.training.augment import reverberate, room_response

Samples = NDArray[np.float32]
REVERB_S, DIRECT_TO_REVERB_DB = 0.5, 0.0
CLIPPED_DB = 12.0
"""How far below the loudest peak a clipped microphone ends."""
QUIET_DB = 40.0
TELEPHONE_HZ = (300.0, 3_400.0)
EDGE_HZ = 100.0
ACTIVE_DB = 30.0
"""Frames this far below the loudest do not count for a level."""


@dataclass(frozen=True)
class Beside:
    """Sound that stands beside a voice: some noise, some music, another voice; mono at the clip's rate."""

    noise: Samples
    music: Samples
    voice: Samples


Room = Callable[[Samples, int, Beside], Samples]
"""From a clip ``[samples]``, its rate in Hz and what is beside it to what a codec gets, of the same length."""


def level(samples: Samples, sample_rate_hz: int) -> float:
    """Root mean square of the frames of 20 ms that are within 30 dB of the loudest.

    Shape: ``[samples]``.
    """
    frame = sample_rate_hz // 50
    whole = max(len(samples) // frame, 1) * frame
    power = np.square(np.resize(samples, whole).astype(np.float64)).reshape(-1, frame).mean(1)
    return float(np.sqrt(power[power >= power.max() * 10.0 ** (-ACTIVE_DB / 10.0)].mean()))


def fitted(samples: Samples, length: int) -> Samples:
    """Cut to a length, or repeated up to it."""
    return np.resize(samples, length).astype(np.float32)


def mixed(clip: Samples, other: Samples, sample_rate_hz: int, ratio_db: float) -> Samples:
    """A clip and another sound at a ratio of their levels, kept from clipping.

    Shape: ``[samples]`` and any length -> ``[samples]``.
    """
    beside = fitted(other, len(clip))
    gain = level(clip, sample_rate_hz) / max(level(beside, sample_rate_hz), 1e-9) * 10.0 ** (-ratio_db / 20.0)
    both = clip + np.float32(gain) * beside
    return np.asarray(both / max(1.0, float(np.abs(both).max())), np.float32)


def clean(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return clip


def noise_15_db(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return mixed(clip, beside.noise, sample_rate_hz, 15.0)


def noise_5_db(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return mixed(clip, beside.noise, sample_rate_hz, 5.0)


def reverb(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    """A room whose sound falls by 60 dB in half a second, as loud as what comes straight from the mouth."""
    response = room_response(sample_rate_hz, REVERB_S, DIRECT_TO_REVERB_DB, np.random.default_rng(5))
    wet = reverberate(clip, response)
    return np.asarray(wet / max(1.0, float(np.abs(wet).max())), np.float32)


def two_talkers(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return mixed(clip, beside.voice, sample_rate_hz, 0.0)


def music_behind(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return mixed(clip, beside.music, sample_rate_hz, 10.0)


def quiet(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    return np.asarray(clip * 10.0 ** (-QUIET_DB / 20.0), np.float32)


def clipped(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    most = float(np.abs(clip).max()) * 10.0 ** (-CLIPPED_DB / 20.0)
    return np.asarray(np.clip(clip, -most, most), np.float32)


def telephone(clip: Samples, sample_rate_hz: int, beside: Beside) -> Samples:
    """300 to 3,400 Hz, without delay."""
    spectrum = np.fft.rfft(clip.astype(np.float64))
    bins_hz = np.fft.rfftfreq(len(clip), 1.0 / sample_rate_hz)
    low_hz, high_hz = TELEPHONE_HZ
    rise = np.clip((bins_hz - low_hz) / EDGE_HZ + 1.0, 0.0, 1.0)
    fall = np.clip((high_hz - bins_hz) / EDGE_HZ + 1.0, 0.0, 1.0)
    return np.asarray(np.fft.irfft(spectrum * rise * fall, len(clip)), np.float32)


TWICE = "coded twice"
ROOMS: dict[str, Room] = {
    "clean": clean,
    "noise, 15 dB": noise_15_db,
    "noise, 5 dB": noise_5_db,
    "reverb, 0.5 s": reverb,
    "two talkers": two_talkers,
    "music behind, 10 dB": music_behind,
    "40 dB down": quiet,
    "clipped": clipped,
    "telephone band": telephone,
    TWICE: clean,
}
"""By name. What is coded twice is the codec's business."""


@dataclass(frozen=True)
class RoomClip(Clip):
    """A clip as it sounds in a room: what a codec gets, and what decoded sound is held against."""

    room: str = "clean"
    seconds: float = 6.0
    noise: Clip | None = None
    music: Clip | None = None
    voice: Clip | None = None

    def read(self) -> tuple[Samples, int]:
        """The first seconds of the clip, spoilt; see :meth:`Clip.read`."""
        clip, sample_rate_hz = super().read()
        clip = clip[: round(self.seconds * sample_rate_hz)]
        beside = Beside(*(_read_at(other, sample_rate_hz) for other in (self.noise, self.music, self.voice)))
        return ROOMS[self.room](clip, sample_rate_hz, beside), sample_rate_hz


def _read_at(clip: Clip | None, sample_rate_hz: int) -> Samples:
    if clip is None:
        return np.zeros(1, np.float32)
    samples, rate_hz = clip.read()
    return resample(samples, rate_hz, sample_rate_hz).astype(np.float32)


def in_rooms(
    voices: Sequence[Clip], noises: Sequence[Clip], music: Sequence[Clip], rooms: Sequence[str], seconds: float
) -> dict[str, list[RoomClip]]:
    """Every voice in every room, each with a noise, music and another voice of its own, by room."""
    return {
        room: [
            RoomClip(
                clip.path,
                "speech",
                room=room,
                seconds=seconds,
                noise=noises[k % len(noises)] if noises else None,
                music=music[k % len(music)] if music else None,
                voice=voices[(k + 1) % len(voices)],
            )
            for k, clip in enumerate(voices)
        ]
        for room in rooms
    }
