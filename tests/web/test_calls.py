"""Calls from pages of Chromium, with each other and with Python: every path, losses, a reload, a dead relay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.codec.options import TierName, tier_of
from streamcodec.net.e2e import SealState, room_key_from_passphrase
from tests.helpers.web_calls import BLOCK, PythonPeer, serve

pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

WITHIN_S = 25.0
# Of other browsers than Chromium: no track gives its sound to a script, none takes a script's.
BY_THE_SOUND_CONTEXT = "delete globalThis.MediaStreamTrackProcessor; delete globalThis.MediaStreamTrackGenerator;"


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    process, url = serve()
    yield url
    process.terminate()
    process.wait()


class Tabs:
    """Pages in rooms; whatever they complain of, or ask of others, fails the test."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self.contexts: list[Any] = []

    def open(
        self,
        relay: str,
        room: str,
        name: str,
        address: str | None = None,
        /,
        script: str = "",
        worker: str = "",
        **link: str,
    ) -> Any:
        """``script`` runs before the page's own, ``worker`` before that of its worker."""
        address = address or f"http{relay.removeprefix('ws')}/"
        origin = address.rpartition("/")[0]
        context = self._browser.new_context(permissions=["microphone"], viewport={"width": 390, "height": 844})
        self.contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        if worker:
            context.route("**/call_worker.js", partial(_put_before, worker))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((origin, "data:")) else self.complaints.append(r.url))
        fields = "&".join(f"{key}={value}" for key, value in {"room": room, "name": name, **link}.items())
        page.goto(f"{address}#{fields}")
        return page

    def join(self, relay: str, room: str, name: str, address: str | None = None, /, **more: str) -> Any:
        """The same, and into the room."""
        page = self.open(relay, room, name, address, **more)
        page.click("#join")
        page.wait_for_selector("#call:not([hidden])", timeout=1_000 * WITHIN_S)
        _until(lambda: _state(page) is not None, page)  # the worker's first word
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def _put_before(script: str, route: Any) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=script + response.text())


@pytest.fixture
def tabs(browser: Any) -> Iterator[Tabs]:
    made = Tabs(browser)
    yield made
    made.close()
    assert not made.complaints


def _state(page: Any) -> Any:
    """What the page knows of its call; None until the worker has said it."""
    return page.evaluate("call.state")


def _until(condition: Callable[[], Any], page: Any, within_s: float = WITHIN_S) -> Any:
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, page.evaluate("[call?.state, document.body.innerText]")
        page.wait_for_timeout(100)
    return found


def _hears(page: Any, name: str, carries: str, frames: int = 100) -> Callable[[], Any]:
    """Whether a tab has played that many frames of somebody who talks, the last of them by this way."""

    def hears() -> Any:
        for peer in _state(page)["peers"]:
            stats = peer["stats"] or {"played": 0, "levelRms": 0.0}
            way = peer["carries"] if peer["path"] == "direct" else peer["path"]
            if peer["name"] == name and way == carries and stats["played"] > frames and stats["levelRms"] > 0.003:
                return peer
        return None

    return hears


def _likeness(blocks: list[NDArray[np.float32]], speech: NDArray[np.float32]) -> float:
    """How well the loudness of the last two seconds heard follows that of the speech, wherever in it it begins."""
    if len(blocks) < 100:
        return 0.0

    def loudness(sound: NDArray[np.float32]) -> NDArray[np.float64]:
        frames = sound[: len(sound) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.float64)
        return np.asarray(np.sqrt((frames**2).mean(axis=1)) ** 0.5)

    ours, theirs = loudness(np.concatenate(blocks[-100:])), loudness(np.tile(speech, 3))
    ours = ours - ours.mean()
    best = 0.0
    for lag in range(len(theirs) - len(ours)):
        part = theirs[lag : lag + len(ours)]
        part = part - part.mean()
        best = max(best, float(ours @ part / np.sqrt((ours @ ours) * (part @ part) + 1e-12)))
    return best


def test_two_tabs_talk_over_srtp_and_one_that_reloads_is_back(relay: str, tabs: Tabs) -> None:
    ann, bob = tabs.join(relay, "two", "Ann"), tabs.join(relay, "two", "Bob", script=BY_THE_SOUND_CONTEXT)
    assert ann.evaluate("crossOriginIsolated")
    for page, other in ((ann, "Bob"), (bob, "Ann")):
        _until(_hears(page, other, "srtp"), page)
        assert "direct line" in page.inner_text("#people")
    bob.click("#mute")
    _until(lambda: "Bob is muted." in ann.inner_text("#trouble"), ann)
    assert "you are muted" in bob.inner_text("#trouble")
    bob.click("summary")
    bob.check("#push")
    bob.keyboard.press("Tab")
    bob.keyboard.down("Space")
    _until(lambda: "Bob is muted." not in ann.inner_text("#trouble"), ann)
    bob.keyboard.up("Space")
    _until(lambda: "Bob is muted." in ann.inner_text("#trouble"), ann)
    before = _state(ann)["peers"][0]["identity"]
    bob.reload()
    # By the keyboard alone, on a phone's width.
    bob.wait_for_selector("#entry:not([hidden])")
    bob.focus("#passphrase")
    for _ in range(2):
        bob.keyboard.press("Tab")
    assert bob.evaluate("document.activeElement.id") == "join"
    bob.keyboard.press("Enter")
    assert bob.evaluate("document.documentElement.scrollWidth <= innerWidth")
    _until(lambda: before not in [peer["identity"] for peer in _state(ann)["peers"]], ann)
    _until(_hears(ann, "Bob", "srtp", 20), ann)
    assert len(_state(ann)["peers"]) == 1


# Of what a page sends one packet of eight is lost, behind the page's own transform.
LOSES = """
addEventListener('rtctransform', ({ transformer }) => {
  if (transformer.options.side === 'receive') return;
  const writer = transformer.writable.getWriter();
  let count = 0;
  const write = (frame) => (++count % 8 ? writer.write(frame) : Promise.resolve());
  Object.defineProperty(transformer, 'writable', { value: { getWriter: () => ({ write }) } });
});
"""


def test_a_tab_and_python_talk_over_srtp_with_a_passphrase_and_losses(
    relay: str, tabs: Tabs, speech: NDArray[np.float32]
) -> None:
    peer = PythonPeer(relay, "python", speech, loss=0.1, room_key=room_key_from_passphrase("of its own", "python"))
    try:
        page = tabs.join(relay, "python", "Tab", worker=LOSES, passphrase="of%20its%20own")
        found = _until(_hears(page, "Py", "srtp", 250), page)
        assert found["seal"] == "sealed"
        assert found["stats"]["lost"] > 5
        assert found["stats"]["recovered"] > 0, "nothing was played from redundant copies"
        _until(lambda: _state(page)["copies"] > 0 and peer.redundancy > 0, page)
        _until(lambda: [p for p in peer.peers.values() if p.stream.jitter.recovered > 0], page)
        _until(lambda: _likeness(peer.heard, speech) > 0.7, page)
        page.click("summary")
        page.select_option("#wire", "16")
        _until(lambda: _state(page)["plan"] and _state(page)["plan"]["packetMs"] > 20, page)
        assert page.is_disabled("#packet")
        _until(lambda: "% lost" in (page.get_attribute("canvas.trend >> nth=1", "title") or ""), page)
    finally:
        peer.end()
    (theirs,) = peer.peers.values()
    assert theirs.path == "direct"
    assert theirs.seal is SealState.SEALED
    assert theirs.stream.damaged == 0
    assert theirs.stream.jitter.lost + theirs.stream.jitter.recovered > 0.05 * theirs.stream.jitter.received
    assert theirs.round_trip_ms is not None


NO_TRANSFORM = "delete globalThis.RTCRtpScriptTransform; delete RTCRtpSender.prototype.transform;"


@pytest.mark.parametrize("transport", ["data-channel", "relay"])
def test_a_page_without_shared_memory_or_transform_talks_over_the_other_paths(
    relay: str, tabs: Tabs, speech: NDArray[np.float32], built: Path, transport: str
) -> None:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peer = PythonPeer(relay, transport, speech)
    try:
        address = f"http://127.0.0.1:{server.server_port}/call.html"
        # On a data channel because the browser offers nothing better, as an older one.
        lacking, link = (NO_TRANSFORM, {}) if transport == "data-channel" else ("", {"transport": transport})
        page = tabs.join(relay, transport, "Tab", address, script=lacking, relay=relay, **link)
        assert not page.evaluate("crossOriginIsolated")
        _until(_hears(page, "Py", transport), page)
        _until(lambda: _likeness(peer.heard, speech) > 0.7, page)
    finally:
        peer.end()
        server.shutdown()


def test_a_tab_hears_python_in_the_waveform_tiers(relay: str, tabs: Tabs, speech: NDArray[np.float32]) -> None:
    tiers: tuple[TierName, ...] = ("near-lossless", "lossless")
    peers = [PythonPeer(relay, "exact", speech, tier=tier) for tier in tiers]
    try:
        page = tabs.join(relay, "exact", "Tab", transport="data-channel")

        def heard() -> dict[int, Any] | None:
            found = [peer for peer in _state(page)["peers"] if peer["stats"] and peer["stats"]["played"] > 150]
            return {peer["stats"]["tier"]: peer for peer in found} if len(found) == len(tiers) else None

        found = _until(heard, page)
        assert set(found) == {tier_of(tier) for tier in tiers}
        for peer in found.values():
            assert peer["path"] == "direct"
            assert peer["stats"]["foreign"] == 0

        def mostly_whole() -> bool:
            stats = (heard() or {}).values()
            return bool(stats) and all(each["stats"]["concealed"] < 0.2 * each["stats"]["played"] for each in stats)

        # Three programs that start at once miss each other's first second on a busy machine.
        _until(mostly_whole, page)
        # The level is that of the last block, and speech pauses.
        audible: set[int] = set()

        def all_audible() -> bool:
            stats = [peer["stats"] for peer in _state(page)["peers"] if peer["stats"]]
            audible.update(each["tier"] for each in stats if each["levelRms"] > 0.001)
            return audible == set(found)

        _until(all_audible, page)
        trips = [each.round_trip_ms for each in peers[0].peers.values() if each.name == "Tab"]
        assert trips[0] is not None
    finally:
        for python in peers:
            python.end()


def test_with_a_passphrase_a_tab_and_python_hear_each_other_and_nobody_else(
    relay: str, tabs: Tabs, speech: NDArray[np.float32]
) -> None:
    peer = PythonPeer(relay, "sealed", speech, room_key=room_key_from_passphrase("a room of their own", "sealed"))
    try:
        page = tabs.join(relay, "sealed", "Tab", transport="relay", passphrase="a%20room%20of%20their%20own")
        found = _until(_hears(page, "Py", "relay"), page)
        _until(lambda: _likeness(peer.heard, speech) > 0.7, page)
        theirs = next(each for each in peer.peers.values() if each.name == "Tab")
        assert found["seal"] == "sealed"
        assert theirs.seal is SealState.SEALED
        assert found["verification"] == theirs.verification
        assert found["verification"] in page.inner_text("#people")
        assert "encrypted from end to end" in page.inner_text("#status")
        assert found["roundTripMs"] is not None, "no report has been opened"
        assert _state(page)["unopened"] == 0

        wrong = tabs.join(relay, "sealed", "Wrong", passphrase="another")
        none = tabs.join(relay, "sealed", "None")
        _until(lambda: "Py has another passphrase" in wrong.inner_text("#trouble"), wrong)
        _until(lambda: "None came without a passphrase" in wrong.inner_text("#trouble"), wrong)
        _until(lambda: "Py speaks encrypted and you have no passphrase" in none.inner_text("#trouble"), none)
        states = {SealState.SEALED, SealState.WRONG_PASSPHRASE, SealState.THEY_HAVE_NONE}
        _until(lambda: {each.seal for each in peer.peers.values()} == states, wrong)
        for each in (wrong, none):
            assert not [other for other in _state(each)["peers"] if (other["stats"] or {}).get("played")]
        assert "Wrong has another passphrase" in page.inner_text("#trouble")
    finally:
        peer.end()


def test_a_call_outlives_its_relay(tabs: Tabs) -> None:
    process, url = serve()
    try:
        ann, bob = tabs.join(url, "room", "Ann"), tabs.join(url, "room", "Bob")
        _until(_hears(ann, "Bob", "srtp", 20), ann)
        _until(_hears(bob, "Ann", "srtp", 20), bob)
    finally:
        process.kill()
        process.wait()
    before = _state(ann)["peers"][0]["stats"]["played"]
    _until(lambda: "trying again" in ann.inner_text("#status"), ann)
    _until(_hears(ann, "Bob", "srtp", before + 50), ann)
    # The browser itself writes down every attempt that fails.
    tabs.complaints = [each for each in tabs.complaints if "WebSocket" not in each and "ERR_CONNECTION" not in each]


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("self.WebAssembly = undefined;", "this browser has no WebAssembly, or it is turned off"),
        ("WebAssembly.validate = () => false;", "no WebAssembly SIMD"),
    ],
)
def test_a_page_that_cannot_run_the_kernels_says_so(relay: str, tabs: Tabs, lacking: str, sentence: str) -> None:
    page = tabs.open(relay, "lacking", "Ann", worker=lacking)
    page.click("#join")
    _until(lambda: sentence in page.inner_text("#status"), page)
    assert page.is_visible("#entry")


NO_MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('denied', 'NotAllowedError'); };
"""


def test_a_page_without_a_microphone_listens_and_a_relay_that_refuses_says_why(relay: str, tabs: Tabs) -> None:
    page = tabs.join(relay, "refused", "Ann", script=NO_MICROPHONE)
    _until(lambda: "allow it beside the address" in page.inner_text("#status"), page)
    assert _state(page)["connected"]
    page.click("#leave")
    page.wait_for_selector("#entry:not([hidden])")
    page.evaluate("for (const each of [room]) { each.removeAttribute('pattern'); each.value = 'no room'; }")
    page.click("#join")
    _until(lambda: "The relay refused: room must match" in page.inner_text("#status"), page)
