"""The codec in WebAssembly and its JavaScript package do what Python does: packets, indices, sound."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.low_cut import cut_lows, make_low_cut
from streamcodec import Packet, PacketFlags, RedundantCopy, StreamDecoder, StreamEncoder, Tier
from streamcodec.web.compile import main as compile_for_the_web
from streamcodec.web.files import PACKAGE, web_files
from streamcodec.web.tools import WebBuildError

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

Float32Array = NDArray[np.float32]
ROOT = Path(__file__).parents[2]
RATE_HZ = 24_000
LEAST_SNR_DB = 80.0
# Logarithms and sums of another mathematics library may now and then round to another quality index.
LEAST_SHARE_THE_SAME = 0.97
SETTINGS: dict[str, dict[str, Any]] = {
    "independent": {},
    "stream": {"mode": "stream", "bitrate": 9_000},
    "long": {"packetMs": 60, "bitrate": 3_000},
    "dtx": {"dtx": True},
}
PYTHON_NAMES = {"bitrate": "bitrate_bps", "packetMs": "packet_ms"}


@pytest.fixture(scope="module")
def sound(speech: Float32Array) -> Float32Array:
    """Speech, then near silence, so that discontinuous transmission has something to leave out."""
    quiet = np.random.default_rng(1).normal(0.0, 1e-5, RATE_HZ).astype(np.float32)
    return np.concatenate([speech, quiet])


@pytest.fixture(scope="module")
def hum(speech: Float32Array) -> Float32Array:
    """Speech with hum that the low cut takes out."""
    made = (speech + 0.05 * np.sin(2.0 * np.pi * 40.0 / RATE_HZ * np.arange(speech.size))).astype(np.float32)
    cut = made.copy()
    cut_lows(make_low_cut(RATE_HZ), cut)
    assert np.abs(cut - made).max() > 0.02
    return made


@pytest.fixture(scope="module")
def tones() -> Float32Array:
    """A whistle that becomes two, and ends."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    one = 0.2 * np.sin(2.0 * np.pi * 3_000.0 * time_s)
    both = one + 0.1 * np.sin(2.0 * np.pi * 4_321.0 * time_s)
    return np.concatenate([one, both, np.zeros(RATE_HZ // 2)]).astype(np.float32)


def _encoder(settings: dict[str, Any]) -> StreamEncoder:
    named = {PYTHON_NAMES.get(name, name): value for name, value in settings.items()}
    return StreamEncoder(RATE_HZ, backend="compiled", **named)


def _play(packets: list[Packet | None], behind: list[Packet | None]) -> tuple[Float32Array, int]:
    decoder = StreamDecoder(RATE_HZ, backend="compiled")
    blocks = [decoder.push(packet, following) for packet, following in zip(packets, behind, strict=True)]
    return np.concatenate([*blocks, decoder.flush()]), decoder.concealed


def _snr_db(sound: Float32Array, reference: Float32Array) -> float:
    assert sound.shape == reference.shape
    noise = np.sum((sound.astype(np.float64) - reference) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / max(noise, 1e-20)))


def _hex(packet: Packet | None) -> str | None:
    return None if packet is None else packet.to_bytes().hex()


def _write_streams(made: Path, sound: Float32Array, tones: Float32Array) -> None:
    """Packets of several streams, some lost, what is known of those behind, and what Python hears in them."""
    packets = {name: _encoder(settings).push(sound) for name, settings in SETTINGS.items()}
    lost = {3, 20, 21, 40, 41, 42, 43, 44, 45, 46, 47}
    streams: dict[str, list[Packet | None]] = {
        "whole": list(packets["independent"]),
        # In stream mode what follows a loss cannot be decoded either, until a key packet.
        "lossy": [None if k in lost else packet for k, packet in enumerate(packets["stream"])],
        "long": list(packets["long"]),
        "quiet": [],
        "bridged": [None if k in lost else packet for k, packet in enumerate(packets["independent"])],
        "tones": [None if k in lost else packet for k, packet in enumerate(_encoder({}).push(tones))],
    }
    for packet, after in pairwise(packets["dtx"]):
        streams["quiet"] += [packet, *[None] * (after.timestamp - packet.timestamp - 1)]
    assert None in streams["quiet"]
    for name, stream in streams.items():
        behind = [next(filter(None, stream[k:]), None) if name == "bridged" else None for k in range(len(stream))]
        heard, concealed = _play(stream, behind)
        heard.tofile(made / f"{name}.f32")
        told = {"packets": [*map(_hex, stream)], "behind": [*map(_hex, behind)], "concealed": concealed}
        (made / f"{name}.json").write_text(json.dumps(told))


def _write_changing(made: Path, sound: Float32Array) -> None:
    before, packet_ms = RATE_HZ, 60
    encoder = _encoder({"mode": "stream"})
    packets = encoder.push(sound[:before])
    encoder.set_packet_ms(packet_ms)
    packets += encoder.push(sound[before:])
    facts = {"before": before, "packetMs": packet_ms, "packets": [*map(_hex, packets)]}
    (made / "changing.json").write_text(json.dumps(facts))


def _write_packets(made: Path) -> None:
    copies = (RedundantCopy(1, 3, PacketFlags.KEY, bytes(range(7))), RedundantCopy(255, 0, PacketFlags.NONE, b""))
    several = [
        Packet(Tier.NEURAL, 0, 65_535, 15, PacketFlags.KEY, b"", copies, frames=6),
        Packet(Tier.LOSSLESS, 65_535, 0, 0, PacketFlags.END | PacketFlags.SILENCE, bytes(300)),
        Packet(Tier.NEAR_LOSSLESS, 256, 255, 1, PacketFlags.NONE, bytes(20_000), copies[:1]),
    ]
    entries = []
    for packet in several:
        fields = {
            "tier": packet.tier,
            "sequence": packet.sequence,
            "timestamp": packet.timestamp,
            "qualityIndex": packet.quality_index,
            "flags": packet.flags,
            "payload": packet.payload.hex(),
            "frames": packet.frames,
            "redundant": [
                {"age": c.age, "qualityIndex": c.quality_index, "flags": c.flags, "payload": c.payload.hex()}
                for c in packet.redundant
            ],
        }
        entries.append({"packet": packet.to_bytes().hex(), "fields": fields})
    (made / "packets.json").write_text(json.dumps(entries))


def test_the_package_does_what_python_does(
    vitest: Callable[..., None],
    sound: Float32Array,
    hum: Float32Array,
    tones: Float32Array,
    fixtures: Path,
    tmp_path: Path,
) -> None:
    shutil.copyfile(fixtures / "golden_packets.json", tmp_path / "golden.json")
    sound.tofile(tmp_path / "sound.f32")
    hum.tofile(tmp_path / "hum.f32")
    tones.tofile(tmp_path / "tones.in.f32")
    _write_streams(tmp_path, sound, tones)
    _write_changing(tmp_path, sound)
    _write_packets(tmp_path)
    encoded: dict[str, list[Packet]] = {}
    settings_of = {**SETTINGS, "hum": {}, "tones": {"packetMs": 40}}
    sounds = {"hum": hum, "tones": tones}
    for name, settings in settings_of.items():
        encoder = _encoder(settings)
        encoded[name] = [*encoder.push(sounds.get(name, sound)), *encoder.flush()]
    (tmp_path / "encoded.json").write_text(
        json.dumps({name: {"settings": settings_of[name], "packets": [*map(_hex, p)]} for name, p in encoded.items()})
    )

    vitest("package.test.mjs", MADE=tmp_path)

    for name, made in json.loads((tmp_path / "made.json").read_text()).items():
        assert len(made["packets"]) == len(encoded[name])
        assert made["same"] >= LEAST_SHARE_THE_SAME * len(encoded[name]), name
        decoder = StreamDecoder(RATE_HZ, backend="compiled")
        blocks = [decoder.push(bytes.fromhex(packet)) for packet in made["packets"]]
        assert decoder.concealed == 0
        heard = np.fromfile(tmp_path / f"{name}.heard.f32", np.float32)
        assert _snr_db(heard, np.concatenate(blocks)) >= LEAST_SNR_DB, name


def test_the_layout_describes_the_files(built: Path) -> None:
    layout = json.loads((built / "codec.json").read_text())
    for name, facts in layout["files"].items():
        content = (built / name).read_bytes()
        assert len(content) == facts["bytes"]
        assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    assert (built / "index.js").exists()
    # What pages must fetch before the first sound.
    assert layout["files"]["codec.wasm"]["bytes"] < 400_000
    assert sum(facts["bytes"] for facts in layout["files"].values()) < 13_000_000


def test_compiling_without_a_linker_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_for_the_web([str(tmp_path / "out")]) == 2
    assert "apt-get install lld-19" in capsys.readouterr().err


def test_kernels_of_another_build_are_refused(tmp_path: Path) -> None:
    """A change of the networks' shapes that nobody compiled must not reach a browser."""
    with pytest.raises(WebBuildError, match=r"streamcodec\.web\.compile"):
        web_files(compiled=tmp_path)
    (tmp_path / "codec.json").write_text('{"image": "of something else"}')
    with pytest.raises(WebBuildError, match="compile it anew"):
        web_files(compiled=tmp_path)


def _luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_call_page_can_be_read_by_weak_eyes() -> None:
    style = (PACKAGE / "call.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme))
        for text in ("text", "faint", "accent", "warn"):
            assert _contrast(colour[text], colour["ground"]) >= 4.5, text
        assert _contrast(colour["on-accent"], colour["accent"]) >= 4.5
        assert _contrast(colour["line"], colour["ground"]) >= 3.0
    # There are no others: the pages' pictures take theirs from these.
    named = re.sub(r":root \{.*?\}", "", style, flags=re.DOTALL)
    drawn = "".join((PACKAGE / name).read_text() for name in ("call_page.js", "try.js"))
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgba?\(|hsl", named + re.sub(r"'#[a-z-]+'", "", drawn))
    # The try page has the browser's own colours, and this around what has the focus.
    (outline,) = re.findall(r"#[0-9a-f]{6}", (PACKAGE / "try.css").read_text())
    assert min(_contrast(outline, ground) for ground in ("#ffffff", "#121212")) >= 3.0


def test_pages_hold_no_script_or_style_that_the_policy_forbids() -> None:
    for page in PACKAGE.glob("*.html"):
        content = page.read_text()
        assert "<style" not in content
        assert " style=" not in content
        assert not re.search(r"<script(?![^>]*src=)|\son[a-z]+=|https?:", content), page.name


BUNDLED = """
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
globalThis.crypto ??= webcrypto;
const [bundle, files, packets] = process.argv.slice(1);
const { Codec, Decoder } = await import(`${bundle}/index.js`);
const codec = await Codec.load(async (name) => new Uint8Array(readFileSync(`${files}/${name}`)));
const decoder = new Decoder(codec);
const blocks = JSON.parse(packets).map((hex) => decoder.push(Uint8Array.from(Buffer.from(hex, 'hex'))));
console.log(JSON.stringify({ samples: blocks.map((block) => block.length), concealed: decoder.concealed }));
"""


def test_types_hold_and_the_bundle_decodes(
    node: str, tools: Path, built: Path, sound: Float32Array, tmp_path: Path
) -> None:
    """By TypeScript's checker and by esbuild, in the words of the package for them."""
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("node_modules", "dist"))
    environment = {**os.environ, "PATH": f"{tools / '.bin'}{os.pathsep}{os.environ['PATH']}"}
    scripts = json.loads((package / "package.json").read_text())["scripts"]
    for name in ("types", "bundle"):
        done = subprocess.run(
            scripts[name], shell=True, cwd=package, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    declared = (package / "dist" / "index.d.ts").read_text()
    assert all(name in declared for name in ("Call", "Decoder", "Encoder", "playFile"))
    assert "push(" in (package / "dist" / "decoder.d.ts").read_text()
    packets = json.dumps([*map(_hex, _encoder({}).push(sound[:RATE_HZ]))])
    command = [node, "--input-type=module", "--eval", BUNDLED, str(package / "dist"), str(built), packets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard == {"samples": [480] * 50, "concealed": 0}
