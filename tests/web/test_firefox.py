"""The codec in Firefox, where there is one: golden packets and sound as in Python."""

from __future__ import annotations

import base64
import hashlib
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

from streamcodec import StreamDecoder, StreamEncoder

RATE_HZ = 24_000
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
const answer = (found) => fetch('/found', { method: 'POST', body: JSON.stringify(found) });
try {
  const { Call, Codec, Decoder, readFrom } = await import('/index.js');
  const { golden, stream } = await (await fetch('/given.json')).json();
  const codec = await Codec.load(readFrom('/'), { encode: false });
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
  const letters = (array) => Array.from(new Uint8Array(array.buffer), (one) => String.fromCharCode(one));
  const base64 = (array) => btoa(letters(array).join(''));
  const indices = [];
  let decoder, name;
  for (const entry of golden) {
    if (entry.stream !== name) decoder = new Decoder(codec);
    name = entry.stream;
    decoder.push(bytes(entry.packet));
    indices.push(base64(decoder.indices()));
  }
  decoder = new Decoder(codec);
  const blocks = stream.map((hex) => base64(decoder.push(hex === null ? null : bytes(hex))));
  await answer({ indices, blocks, transport: Call.transport, agent: navigator.userAgent });
} catch (error) {
  await answer({ error: String(error) });
}
</script>"""


def test_firefox_decodes_as_python_does(
    built: Path, fixtures: Path, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("there is no Firefox here: apt-get install firefox-esr")
    golden = json.loads((fixtures / "golden_packets.json").read_text())
    packets = StreamEncoder(RATE_HZ, 6_000, backend="compiled").push(speech)
    stream = [None if k in (5, 30, 31, 32, 33, 34) else packet for k, packet in enumerate(packets)]
    folder = tmp_path / "site"
    shutil.copytree(built, folder)
    (folder / "page.html").write_text(PAGE)
    given = {"golden": golden, "stream": [packet and packet.to_bytes().hex() for packet in stream]}
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
    address = f"http://127.0.0.1:{server.server_port}/page.html"
    command = [firefox, "--headless", "--no-remote", "--profile", str(profile), address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert done.wait(90.0), "the page did not answer"
    finally:
        process.terminate()
        process.wait()
        server.shutdown()
    assert "error" not in found, found
    assert found["transport"] == "srtp"
    for entry, indices in zip(golden, found["indices"], strict=True):
        assert hashlib.sha256(base64.b64decode(indices)).hexdigest()[:16] == entry["indices_sha256"]
    decoder = StreamDecoder(RATE_HZ, backend="compiled")
    reference = np.concatenate([decoder.push(packet) for packet in stream]).astype(np.float64)
    heard = np.concatenate([np.frombuffer(base64.b64decode(block), np.float32) for block in found["blocks"]])
    noise = np.sum((heard - reference) ** 2)
    assert 10 * np.log10(np.sum(reference**2) / noise) >= 80.0
