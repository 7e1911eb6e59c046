"""The codec in Firefox, where there is one: golden packets and sound as in Python, and a sealed call with it."""

from __future__ import annotations

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
  const { Call, Codec, Decoder, readFrom } = await import('/index.js');
  const { golden, relay, stream } = await (await fetch('/given.json')).json();
  const codec = await Codec.load(readFrom('/'), { encode: false });
"""
    + DECODE
    + """
  const call = new Call({ url: relay, room: 'fox', name: 'Fox', passphrase: 'fox and geese' });
  await call.join();
  let peer;
  for (let tick = 0; tick < 300; tick++) {
    await new Promise((go) => setTimeout(go, 100));
    peer = call.state?.peers.find(({ name }) => name === 'Py');
    if (peer?.carries === 'srtp' && peer.path === 'direct' && peer.stats.played > 100) break;
  }
  await answer({ indices, blocks, peer, trouble: call.microphoneTrouble });
} catch (error) {
  await answer({ error: String(error) });
}
</script>"""
)


# A fake microphone that needs no leave, and sound without a click.
PREFERENCES = """
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("media.peerconnection.ice.loopback", true);
"""


def test_firefox_decodes_as_python_does_and_talks_to_it(
    built: Path, fixtures: Path, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("there is no Firefox here: apt-get install firefox-esr")
    golden = json.loads((fixtures / "golden_packets.json").read_text())
    stream = with_losses(packets_of(speech))
    folder = tmp_path / "site"
    shutil.copytree(built, folder)
    (folder / "page.html").write_text(PAGE)
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    process, relay = serve()
    peer = PythonPeer(relay, "fox", speech, room_key=room_key_from_passphrase("fox and geese", "fox"))
    given = {"relay": relay, "golden": golden, "stream": as_hex(stream)}
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
            (theirs,) = peer.peers.values()
        finally:
            peer.end()
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
    check(found, golden, stream)
