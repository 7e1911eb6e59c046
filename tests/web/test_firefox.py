"""The codec in Firefox, where there is one: all tiers as in Python, and a sealed call with peers of two of them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder, Tier
from streamcodec.codec.options import TierName
from streamcodec.net.e2e import room_key_from_passphrase
from tests.helpers.golden_in_browsers import DECODE, as_hex, check, packets_of, with_losses
from tests.helpers.pulse import pulse_room, what_is_missing
from tests.helpers.web_calls import PythonPeer, serve

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

PAGE = (
    """<!doctype html><meta charset="utf-8"><script type="module">
const answer = (found) => fetch('/found', { method: 'POST', body: JSON.stringify(found) });
try {
  const { Call, Codec, Decoder, Encoder, LosslessDecoder, NearLosslessDecoder, Packet, WaveformCodec, readFrom } =
    await import('/index.js');
  const { golden, relay, stream, exact, sound } = await (await fetch('/given.json')).json();
  const codec = await Codec.load(readFrom('/'));
"""
    + DECODE
    + """
  const raw = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
  const encoder = new Encoder(codec, { bitrate: 6000 });
  const packets = encoder.push(new Float32Array(raw.buffer)).map((packet) => base64(packet.toBytes()));
  const waveform = await WaveformCodec.load(readFrom('/'));
  const exactly = {};
  for (const [tier, { packets, ...form }] of Object.entries(exact)) {
    const decoder = new (tier === 'lossless' ? LosslessDecoder : NearLosslessDecoder)(waveform, form);
    exactly[tier] = packets.map((hex) => decoder.push(Packet.fromBytes(bytes(hex))).map(base64));
  }
  const call = new Call({ url: relay, room: 'fox', name: 'Fox', passphrase: 'fox and geese' });
  await call.join();
  let peer, near;
  for (let tick = 0; tick < 300; tick++) {
    await new Promise((go) => setTimeout(go, 100));
    // Not in a pause.
    const there = (call.state?.peers ?? []).filter(
      ({ path, stats }) => path === 'direct' && stats?.played > 100 && stats.levelRms > 0.003,
    );
    peer = there.find(({ carries, stats }) => carries === 'srtp' && stats.tier === NEURAL) ?? peer;
    near = there.find(({ stats }) => stats.tier === NEAR_LOSSLESS) ?? near;
    if (peer && near) break;
  }
  await answer({ indices, blocks, packets, exactly, peer, near, trouble: call.microphoneTrouble });
} catch (error) {
  await answer({ error: String(error) });
}
</script>"""
)
EXACT: dict[TierName, dict[str, Any]] = {
    "lossless": {"rateHz": 44_100, "channels": 2, "bits": 16},
    "near-lossless": {"rateHz": 48_000, "channels": 1},
}


# A fake microphone that needs no leave, and sound without a click.
PREFERENCES = """
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("media.peerconnection.ice.loopback", true);
"""


def _exact(speech: NDArray[np.float32]) -> tuple[dict[str, Any], dict[str, list[NDArray[np.float64]]]]:
    """Streams of the waveform tiers, and what Python makes of them: blocks of ``[samples, channels]``."""
    given, expected = {}, {}
    for tier, form in EXACT.items():
        sound = np.repeat(speech[:12_000, None], form["channels"], axis=1) * [1.0, 0.5][: form["channels"]]
        samples = np.rint(32_767 * sound).astype(np.int16) if tier == "lossless" else sound.astype(np.float32)
        encoder = StreamEncoder(form["rateHz"], tier=tier, channels=form["channels"])
        decoder = StreamDecoder(form["rateHz"], tier=tier, channels=form["channels"])
        packets = [*encoder.push(samples), *encoder.flush()]
        scale = 32_768.0 if tier == "lossless" else 1.0
        expected[tier] = [np.atleast_2d(decoder.push(packet).T).T / scale for packet in packets]
        given[tier] = {**form, "packets": as_hex(packets)}
    return given, expected


def _check_exact(found: dict[str, Any], expected: dict[str, list[NDArray[np.float64]]]) -> None:
    for tier, blocks in expected.items():
        planes = [[np.frombuffer(base64.b64decode(one), np.float32) for one in block] for block in found[tier]]
        heard = np.concatenate([np.stack(block, axis=1) for block in planes]).astype(np.float64)
        whole = np.concatenate(blocks)
        assert heard.shape == whole.shape
        noise = float(np.sum((heard - whole) ** 2))
        if tier == "lossless":
            assert noise == 0.0
        assert 10 * np.log10(np.sum(whole**2) / max(noise, 1e-20)) > 100.0


def test_firefox_decodes_as_python_does_and_talks_to_it(
    built: Path, fixtures: Path, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("there is no Firefox here: apt-get install firefox-esr")
    golden = json.loads((fixtures / "golden_packets.json").read_text())
    python = packets_of(speech)
    stream = with_losses(python)
    folder = tmp_path / "site"
    shutil.copytree(built, folder)
    page = PAGE.replace("NEAR_LOSSLESS", str(int(Tier.NEAR_LOSSLESS))).replace("NEURAL", str(int(Tier.NEURAL)))
    (folder / "page.html").write_text(page)
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    process, relay = serve()
    key = room_key_from_passphrase("fox and geese", "fox")
    peer = PythonPeer(relay, "fox", speech, room_key=key)
    other = PythonPeer(relay, "fox", speech, tier="near-lossless", room_key=key)
    exact, expected = _exact(speech)
    given = {"relay": relay, "golden": golden, "stream": as_hex(stream), "exact": exact}
    given["sound"] = base64.b64encode(speech.tobytes()).decode()
    (folder / "given.json").write_text(json.dumps(given))
    found: dict[str, Any] = {}
    done = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES)
    address = f"http://127.0.0.1:{server.server_port}/page.html"
    command = [firefox, "--headless", "--no-remote", "--profile", str(profile), address]
    sound = tmp_path / "pulse"
    sound.mkdir()
    # Without a sound card Firefox starts no sound.
    with pulse_room(sound) as environment:
        opened = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert done.wait(60.0), "the page did not answer"
            assert "error" not in found, found
            heard_rms = float(np.sqrt(np.mean(np.concatenate(peer.heard[-50:]) ** 2)))
            theirs = next(each for each in peer.peers.values() if each.name == "Fox")
        finally:
            peer.end()
            other.end()
            for each in (opened, process):
                each.terminate()
                each.wait()
            server.shutdown()
    assert not found["trouble"]
    assert found["peer"]["carries"] == "srtp"
    assert found["peer"]["seal"] == "sealed"
    assert found["peer"]["verification"] == theirs.verification
    assert found["peer"]["stats"]["levelRms"] > 0.001
    assert theirs.path == "direct"
    assert theirs.stream.jitter.played > 50
    assert heard_rms > 0.001
    assert found["near"]["seal"] == "sealed"
    assert found["near"]["stats"]["levelRms"] > 0.001
    assert found["near"]["stats"]["foreign"] == 0
    check(found, golden, stream)
    made = [base64.b64decode(packet) for packet in found["packets"]]
    assert sum(ours == theirs.to_bytes() for ours, theirs in zip(made, python, strict=True)) >= 0.97 * len(python)
    _check_exact(found["exactly"], expected)
