"""Make the sounds of the documentation's listening page, and score their naturalness.

Example::

    python -m bench.listening dev --libopus libopus.so

Writes one small Ogg Opus file for each clip and version to ``docs/listening``, and what they are to
``bench/results/listening.json``; ``python -m bench.tables`` then writes the page. ``dev`` holds the development clips
(``speech``, ``music``, ``environment``).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec import EncodedAudio, StreamcodecError, decode_array, encode_array
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.errors import EvaluationError, require
from streamcodec.evaluation.libopus import LibOpus, OpusDecoder, OpusEncoder, OpusSettings, load_libopus
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "listening"
RESULTS = ROOT / "bench" / "results" / "listening.json"

Float32Array = NDArray[np.float32]
PLAYED_HZ = 48_000
PLAYED_BPS = 40_000
"""Rate of the files on the page: transparent for mono speech, and small."""
PEAK = 0.7
FADE_S = 0.02
LOSS, MEAN_BURST_PACKETS = 0.1, 2.0
LOSS_SEED = 7
DISTILL_MOS_HZ = 16_000


@dataclass(frozen=True)
class Clip:
    """A piece of a development clip, with noise under it if wanted."""

    name: str
    title: str
    file: str
    start_s: float
    seconds: float
    credit: str
    noise_file: str = ""
    snr_db: float = 0.0


LIBRITTS = "LibriTTS (Zen et al., from LibriVox), CC BY 4.0"
VCTK = "CSTR VCTK Corpus (Yamagishi, Veaux, MacDonald), CC BY 4.0"
MLS = "Multilingual LibriSpeech (Pratap et al., from LibriVox), CC BY 4.0"
FLEURS = "FLEURS (Conneau et al.), CC BY 4.0"
CYBEROO = "Cyberoo ambient recordings, CC0 1.0"

CLIPS = (
    Clip("voice-1", "English, recorded at 44.1 kHz", "speech/voicefixer-vctk__p361__000.flac", 0.0, 3.6, VCTK),
    Clip("voice-2", "English, recorded at 24 kHz", "speech/univnet-gt__6294__000.flac", 0.0, 3.6, LIBRITTS),
    Clip("voice-3", "French, recorded at 16 kHz", "speech/df-conformer-mls__fr-fr__000.flac", 0.5, 3.6, MLS),
    Clip("voice-4", "Polish, recorded at 16 kHz", "speech/df-conformer-mls__pl-pl__000.flac", 0.5, 3.6, MLS),
    Clip("voice-5", "Swahili, recorded at 16 kHz", "speech/df-conformer-fleurs__sw-ke__000.flac", 1.5, 3.6, FLEURS),
    Clip(
        "noise-1",
        "English in a café, 10 dB above the noise",
        "speech/voicefixer-vctk__p363__000.flac",
        0.5,
        3.6,
        f"{VCTK}; {CYBEROO}",
        "environment/cyberoo-ambient__cafe-murmur__000.flac",
        10.0,
    ),
    Clip(
        "noise-2",
        "English in a metro, 10 dB above the noise",
        "speech/univnet-gt__8224__000.flac",
        0.0,
        3.6,
        f"{LIBRITTS}; {CYBEROO}",
        "environment/cyberoo-ambient__metro-cabin__000.flac",
        10.0,
    ),
    Clip(
        "music-1",
        "Music",
        "music/opensurge__waterworks__000.flac",
        1.0,
        3.6,
        "Waterworks by cynicmusic, from Open Surge, CC0 1.0",
    ),
)


@dataclass(frozen=True)
class Coded:
    """What came out, and what it took."""

    samples: Float32Array
    """Shape: ``[n]``, as long as what went in."""
    sample_rate_hz: int
    kbps: float
    """Payload bits."""


@dataclass(frozen=True)
class Version:
    """A codec at a rate."""

    name: str
    title: str
    code: Callable[[Float32Array, int], Coded]
    """(samples ``[n]``, sample_rate_hz) to what is heard."""


def read_clip(data: Path, clip: Clip) -> tuple[Float32Array, int]:
    """Mono samples ``[n]`` and their rate; peak at 0.7, short fades; raises EvaluationError."""
    sound, rate_hz = _read(data / clip.file, clip.start_s, clip.seconds)
    if clip.noise_file:
        noise, noise_hz = _read(data / clip.noise_file, 0.0, clip.seconds)
        noise = np.resize(resample(noise, noise_hz, rate_hz), len(sound))
        gain = np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10.0 ** (-clip.snr_db / 20.0)
        sound = sound + gain * noise
    sound = sound * (PEAK / np.abs(sound).max())
    fade = np.linspace(0.0, 1.0, round(FADE_S * rate_hz))
    sound[: len(fade)] *= fade
    sound[-len(fade) :] *= fade[::-1]
    return sound.astype(np.float32), rate_hz


def _read(path: Path, start_s: float, seconds: float) -> tuple[NDArray[np.float64], int]:
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(min(round(start_s * file.samplerate), file.frames))
            samples = file.read(round(seconds * file.samplerate), dtype="float64", always_2d=True)
            return samples.mean(axis=1), file.samplerate
    except (OSError, RuntimeError) as error:
        raise EvaluationError(f"Cannot read {path}: {error}; give the folder of development clips.") from error


def losses(packets: int) -> list[bool]:
    """Which packets of 20 ms are lost: the same ones for every codec."""
    model = GilbertElliott(GilbertElliottConfig(LOSS, MEAN_BURST_PACKETS), LOSS_SEED)
    return [model.lost() for _ in range(packets)]


def streamcodec(kbps: float, lossy: bool = False) -> Callable[[Float32Array, int], Coded]:
    """The neural tier as in calls: independent packets of 20 ms, lost ones concealed."""

    def code(samples: Float32Array, sample_rate_hz: int) -> Coded:
        encoded = encode_array(samples, sample_rate_hz, round(1000 * kbps))
        heard: EncodedAudio = encoded
        if lossy:
            lost = losses(len(encoded.packets))
            arrived = [packet for packet, gone in zip(encoded.packets, lost, strict=True) if not gone]
            heard = dataclasses.replace(encoded, packets=tuple(arrived))
        return Coded(decode_array(heard), sample_rate_hz, encoded.payload_bps / 1000)

    return code


def opus(library: LibOpus, kbps: float, settings: OpusSettings, lossy: bool = False) -> Callable[..., Coded]:
    """libopus, 20 ms, VBR, complexity 10; its lookahead removed, lost packets concealed."""

    def code(samples: Float32Array, sample_rate_hz: int) -> Coded:
        encoder = OpusEncoder(library, settings, round(1000 * kbps))
        decoder = OpusDecoder(library, settings)
        sound = resample(samples, sample_rate_hz, settings.sample_rate_hz)
        frame, lookahead = settings.frame_samples, encoder.lookahead_samples
        padded = np.pad(sound, (0, -(len(sound) + lookahead) % frame + lookahead)).astype(np.float32)
        packets = [encoder.encode(each) for each in padded.reshape(-1, frame)]
        lost = losses(len(packets)) if lossy else [False] * len(packets)
        played = [decoder.decode(None if gone else packet) for packet, gone in zip(packets, lost, strict=True)]
        heard = np.concatenate(played)[lookahead : lookahead + len(sound)]
        bits = 8 * sum(map(len, packets))
        return Coded(heard, settings.sample_rate_hz, bits / (len(samples) / sample_rate_hz) / 1000)

    return code


def versions(library: LibOpus) -> list[Version]:
    """Everything that is put side by side."""
    plain = OpusSettings()
    enhanced = OpusSettings(bandwidth="wide", decoder_complexity=7)
    found = [Version(f"opus-{rate:g}", f"Opus {rate:g}", opus(library, rate, plain)) for rate in (6.0, 9.0)]
    with_enhancement = library.has_speech_enhancement
    if with_enhancement:
        found += [
            Version(f"opus-nolace-{rate:g}", f"Opus {rate:g} + NoLACE", opus(library, rate, enhanced))
            for rate in (6.0, 9.0)
        ]
    found += [
        Version(f"streamcodec-{rate:g}", f"streamcodec {rate:g}", streamcodec(rate)) for rate in (3.0, 6.0, 9.0)
    ]
    lossy = enhanced if with_enhancement else plain
    name = "Opus 9 + NoLACE" if with_enhancement else "Opus 9"
    return [
        *found,
        Version("opus-lossy", f"{name}, 10 % lost", opus(library, 9.0, lossy, lossy=True)),
        Version("streamcodec-lossy", "streamcodec 6, 10 % lost", streamcodec(6.0, lossy=True)),
    ]


def write_opus(path: Path, samples: Float32Array, sample_rate_hz: int) -> None:
    """Store a sound for browsers, without time stamps. Shape: samples ``[n]``."""
    av = require("av", "Writing Ogg Opus files")
    played = resample(samples, sample_rate_hz, PLAYED_HZ).astype(np.float32)
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=PLAYED_HZ, layout="mono")
        stream.bit_rate = PLAYED_BPS
        frame = av.AudioFrame.from_ndarray(np.clip(played, -1.0, 1.0)[None], format="flt", layout="mono")
        frame.sample_rate = PLAYED_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def distill_mos() -> Callable[[Float32Array, int], float] | None:
    """Distill-MOS (Stahl and Gamper, 2025), 1 to 5, no reference; None where ``distillmos`` is not installed."""
    if importlib.util.find_spec("distillmos") is None:
        return None
    # Only the package's own command reads files by torchaudio, whose wheels fit few builds of torch.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    distillmos, torch = require("distillmos", "Distill-MOS"), require("torch", "Distill-MOS")
    model: Any = distillmos.ConvTransformerSQAModel().eval()

    def score(samples: Float32Array, sample_rate_hz: int) -> float:
        sound = resample(samples, sample_rate_hz, DISTILL_MOS_HZ).astype(np.float32)
        with torch.inference_mode():
            return float(model(torch.from_numpy(sound)[None])[0])

    return score


def entries(
    clip: Clip, samples: Float32Array, rate_hz: int, made: Sequence[Version]
) -> Iterator[tuple[Version, Coded]]:
    """The original, then every version of it."""
    original = Coded(samples, rate_hz, 0.0)
    yield Version("original", "Original", lambda *_: original), original
    for version in made:
        coded = version.code(samples, rate_hz)
        if not len(coded.samples):
            raise EvaluationError(f"{version.title} gave no sound for {clip.name}.")
        yield version, coded


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.listening", description="Sounds of the listening page.")
    options.add_argument("data", type=Path, help="folder of the development clips")
    options.add_argument("--libopus", type=Path, help="a particular libopus, e.g. a build with NoLACE")
    options.add_argument("--out", type=Path, default=FOLDER, help="folder for the sounds")
    options.add_argument("--json", type=Path, default=RESULTS, help="file for what they are")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        library = load_libopus(options.libopus)
        sounds = [read_clip(options.data, clip) for clip in CLIPS]
        made, score = versions(library), distill_mos()
        options.out.mkdir(parents=True, exist_ok=True)
        clips = []
        for clip, (samples, rate_hz) in zip(CLIPS, sounds, strict=True):
            rows = []
            for version, coded in entries(clip, samples, rate_hz, made):
                file = f"{clip.name}-{version.name}.opus"
                write_opus(options.out / file, coded.samples, coded.sample_rate_hz)
                row: dict[str, object] = {"version": version.title, "file": file, "kbps": round(coded.kbps, 2)}
                if score is not None and not clip.name.startswith("music"):
                    row["distill_mos"] = round(score(coded.samples, coded.sample_rate_hz), 3)
                rows.append(row)
            clips.append({"name": clip.name, "title": clip.title, "credit": clip.credit, "versions": rows})
            print(f"{clip.name}: {len(rows)} files")
        settings = {"libopus": library.description, "loss": LOSS, "mean_burst_packets": MEAN_BURST_PACKETS}
        options.json.write_text(
            json.dumps({"settings": settings, "clips": clips}, indent=1, ensure_ascii=False) + "\n"
        )
    except StreamcodecError as error:
        print(f"bench.listening: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
