"""The package as a user meets it: no torch on the live path, fast import, what is exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import streamcodec

WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "scipy", "soxr", "matplotlib", "onnx"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, streamcodec
encoder, decoder = streamcodec.StreamEncoder(48000, 6000), streamcodec.StreamDecoder(48000)
packets = encoder.push(np.zeros(4800, np.float32)) + encoder.flush()
sound = [decoder.push(p.to_bytes()) for p in packets]
assert len(sound) >= 5 and all(s.size == 960 for s in sound)
"""


def test_live_path_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=100)


def test_everything_named_is_there() -> None:
    for name in streamcodec.__all__:
        assert getattr(streamcodec, name).__doc__


def test_nothing_compiles_after_the_first_stream_is_made() -> None:
    code = """
import numpy as np, streamcodec
from native_dsp.warm_up import compiled_signatures
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural import synthesis as rendering
def own():
    return [len(f.signatures) for m in (entropy, rendering) for f in vars(m).values() if hasattr(f, "signatures")]
encoders = [streamcodec.StreamEncoder(r, mode=m) for r in (24000, 44100) for m in ("independent", "stream")]
decoder = streamcodec.StreamDecoder(44100)
before = compiled_signatures(), own()
rng = np.random.default_rng(0)
for encoder in encoders:
    encoder.set_bitrate(12000)
    for packet in encoder.push(rng.standard_normal(44100).astype(np.float32)) + encoder.flush():
        decoder.push(packet.to_bytes())
    for junk in (None, b"", b"x" * 30):
        decoder.push(junk)
decoder.flush()
assert (compiled_signatures(), own()) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


WITHOUT_EXTRAS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in (
            "torch", "scipy", "matplotlib", "onnx", "websockets", "aiortc", "av", "cryptography", "zxcvbn",
            "xkcdpass", "nats", "prometheus_client", "sounddevice", "shtab", "ray", "lhotse", "datasets",
            "webdataset", "livekit",
        ):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from streamcodec.cli import build_parser, main
build_parser()
sys.exit(main(["encode", sys.argv[1], sys.argv[2]]))
"""


def test_the_command_line_needs_no_extra(tmp_path: Path, speech_file: Path) -> None:
    """As ``pip install streamcodec`` alone leaves it."""
    arguments = [str(speech_file), str(tmp_path / "a.sc")]
    subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS, *arguments], check=True, timeout=100)
    assert (tmp_path / "a.sc").is_file()
