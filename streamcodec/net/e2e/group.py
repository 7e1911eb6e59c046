"""End-to-end encryption of one room: a handshake with everybody who comes, keys given out, renewed and taken in.

Nothing here knows a socket or a clock: the caller brings both. People are known by the relay's ``identity``, which is
no more than the name of a slot: who sits in it is what the handshake finds out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e.handshake import (
    Handshake,
    Introduction,
    Message,
    OtherVersionError,
    from_text,
    to_text,
)
from streamcodec.net.e2e.media import LAST_STEP, SUITE, MediaKey, MediaSender
from streamcodec.net.e2e.passphrase import KEY_BYTES
from streamcodec.net.e2e.session import EVERYBODY, Session, context
from streamcodec.net.e2e.sframe import SealError
from streamcodec.net.e2e.states import SealState
from streamcodec.net.relay.rate_limit import RateLimit

NO_ANSWER_S = 1.5
STUCK_S = 4.0
"""An exchange that has begun and comes to no end: signals are lost, or changed on the way."""
RENEW_S = 3_600.0
"""The age at which a key for everybody is replaced."""
_RENEW_AFTER_LEAVING_S = 2.0
_RENEW_APART_S = 10.0
_SWITCH_S = 3.0
"""A new key is used once everybody has it, or after this long."""
_PAUSES_S = (0.5, 4.0)
"""First and longest time to wait before what was sent is sent again."""
_REPEAT_S = 0.5
_MESSAGES = 8
"""Of one signal, at most."""
GUESSES = (0.1, 30.0)
"""Exchanges with people who do not turn out to know the secret: per second, and at once."""
SHOWN = (0.5, 60.0)
"""Exchanges in which we have shown our share and that have come to no good end: each lets somebody in between who
knows the secret try to hit the digits."""
HELLOS = (0.5, 10.0)
"""New exchanges that one person may begin with us, per second and at once."""
_QUEUE = 1_000
SIGNALS = (6.0, 48.0)
"""Signals sent, per second and at once; below what relays take."""


@dataclass(slots=True)
class _Peer:
    handshake: Handshake
    since_s: float
    """When this exchange began."""
    state: SealState = SealState.AGREEING
    session: Session | None = None
    answered: bool = False
    hellos: RateLimit = field(default_factory=lambda: RateLimit(*HELLOS))
    charged: bool = False
    """Whether this exchange has cost a guess so far."""
    agreed: bool = False
    """Whether the session is that of the handshake."""
    again_s: float = 0.0
    pause_s: float = _PAUSES_S[0]
    repeated_s: float = float("-inf")
    unconfirmed: dict[int, MediaKey] = field(default_factory=dict)
    """Keys given out by generation, until the other end says that it has them."""
    keys_again_s: float = 0.0


class EndToEnd:
    """``secret``: 32 bytes that the people in the room share, or None for a room without encryption, in which this
    only tells those who do encrypt, and us.

    ``send(identity, data)`` carries a JSON object to the other end's :meth:`hear`, or loses it; ``on_state`` hears of
    changes, and of SEALED again when somebody has agreed on new keys, perhaps under another name. Call :meth:`tick`
    several times a second. Errors: StreamcodecError for a secret that is not 32 bytes.
    """

    def __init__(
        self,
        secret: bytes | None,
        room: str,
        send: Callable[[str, dict[str, Any]], None],
        *,
        name: str = "",
        bitstream: str = "",
        clock_s: Callable[[], float],
        on_state: Callable[[str, SealState], None] = lambda identity, state: None,
    ) -> None:
        if secret is not None and len(secret) != KEY_BYTES:
            raise StreamcodecError(f"a room key has {KEY_BYTES} bytes, got {len(secret)}")
        self._secret = secret
        self._room = room
        self._send = send
        self._on_state = on_state
        self._clock_s = clock_s
        self._own = Introduction(name=name, bitstream=bitstream)
        self._peers: dict[str, _Peer] = {}
        self._plain: dict[str, SealState] = {}
        self._sender = MediaSender(context(b"media", room, self._own, EVERYBODY))
        self._key_made_s = clock_s()
        self._key_used = 0
        self._next: MediaKey | None = None
        self._switch_s = 0.0
        self._left_s: float | None = None
        self._guesses = RateLimit(*GUESSES)
        self._shown = RateLimit(*SHOWN)
        self._signals = RateLimit(*SIGNALS)
        self._outgoing: deque[tuple[str, list[Message]]] = deque(maxlen=_QUEUE)
        self.refused = 0
        """Messages and datagrams that could not be opened, or made no sense."""
        self.broken_off = 0
        """Exchanges that ended after we had shown our share: wrong passphrases, lost lines, or somebody in between
        who tries again and again."""

    def __repr__(self) -> str:
        return "EndToEnd(keys hidden)"

    @property
    def on(self) -> bool:
        """Whether this room is encrypted, on our side."""
        return self._secret is not None

    # -- who is here --------------------------------------------------------------------------------------------

    def meet(self, identity: str) -> None:
        """A peer has come, or come back."""
        if self._secret is None:
            self._plain.setdefault(identity, SealState.NONE)
            return
        peer = self._peers.get(identity)
        now_s = self._clock_s()
        if peer is None:
            peer = self._peers[identity] = _Peer(self._begin(), now_s)
            self._post(identity, peer.handshake.sent)
            peer.again_s = now_s + peer.pause_s
        else:
            peer.again_s = peer.keys_again_s = now_s

    def forget(self, identity: str) -> None:
        """A peer has left for good: it gets no key to what is sealed from now on."""
        self._plain.pop(identity, None)
        self._outgoing = deque((item for item in self._outgoing if item[0] != identity), _QUEUE)
        peer = self._peers.pop(identity, None)
        if peer is not None:
            self._break_off(peer)
        if peer is not None and peer.session is not None and self._left_s is None:
            self._left_s = self._clock_s()

    def state(self, identity: str) -> SealState:
        """How it stands with a peer's encryption."""
        peer = self._peers.get(identity)
        return self._plain.get(identity, SealState.NONE) if peer is None else peer.state

    def introduction(self, identity: str) -> Introduction | None:
        """Who a peer is, by its own authenticated word; None before there is any."""
        peer = self._peers.get(identity)
        return None if peer is None or peer.session is None else peer.session.peer

    def verification(self, identity: str) -> str:
        """Eight digits to compare by voice, such as ``4829 1357``; empty before there are any."""
        peer = self._peers.get(identity)
        return "" if peer is None or peer.session is None else peer.session.verification

    # -- what is said -------------------------------------------------------------------------------------------

    def seal_media(self, datagram: bytes) -> bytes:
        """Encrypt a datagram for everybody who is, or will be, here while this key lasts."""
        self._key_used += 1
        return self._sender.seal(datagram)

    def seal_media_for(self, identity: str, datagram: bytes) -> bytes:
        """Encrypt a datagram for one person. Errors: SealError before there is a key."""
        return self._session(identity).to_one.seal(datagram)

    def open_media(self, identity: str, sealed: bytes) -> bytes:
        """Decrypt a datagram that came from a peer, or leave it as it is where neither of us encrypts. Errors:
        SealError."""
        try:
            if self._secret is None:
                if self.state(identity) is not SealState.NONE:
                    raise SealError("sealed, and we have no passphrase")
                return sealed
            session = self._session(identity)
            receiver = session.from_one if sealed and sealed[0] & 0x40 else session.from_all
            if receiver is None:
                raise SealError("sealed with a key that was never given to us")
            return receiver.open(sealed)
        except SealError:
            self.refused += 1
            raise

    def seal_signal(self, identity: str, data: dict[str, Any]) -> dict[str, Any]:
        """Encrypt a signal for one person; the result goes to their :meth:`hear`. Errors: SealError."""
        return {"e2e": [self._seal(self._session(identity), {"kind": "signal", "data": data})]}

    def hear(self, identity: str, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Take a signal of a peer that :meth:`meet` was told of; gives the sealed signals inside. Never raises."""
        messages = data.get("e2e")
        if not isinstance(messages, list) or len(messages) > _MESSAGES:
            if self.on:
                self.refused += 1
                peer = self._peers.get(identity)
                if peer is not None and "sealed" in data and not peer.answered:
                    self._become(identity, peer, SealState.OTHER_VERSION)
            return []
        opened = [self._take(identity, message) for message in messages]
        return [signal for signal in opened if signal is not None]

    def tick(self) -> None:
        """Say again what may have been lost, renew keys, notice who does not answer."""
        now_s = self._clock_s()
        for identity, peer in list(self._peers.items()):
            self._tick(identity, peer, now_s)
        self._renew(now_s)
        self._flush()

    # -- inside: handshakes -------------------------------------------------------------------------------------

    def _begin(self) -> Handshake:
        assert self._secret is not None
        own = Introduction(endpoint=self._own.endpoint, name=self._own.name, bitstream=self._own.bitstream)
        return Handshake(self._secret, self._room, own)

    def _take(self, identity: str, message: object) -> dict[str, Any] | None:
        try:
            if not isinstance(message, dict):
                raise SealError("not a message")
            return self._hear(identity, message)
        except SealError:
            self.refused += 1
            return None

    def _hear(self, identity: str, message: Message) -> dict[str, Any] | None:
        kind = message.get("kind")
        if self._secret is None:
            if kind == "hello" and identity in self._plain:
                if self._plain[identity] is not SealState.WE_HAVE_NONE:
                    self._plain[identity] = SealState.WE_HAVE_NONE
                    self._on_state(identity, SealState.WE_HAVE_NONE)
                self._post(identity, [{"kind": "none"}])
            return None
        peer = self._peers.get(identity)
        if peer is None:
            raise SealError("of somebody who is not here")
        if kind == "none":
            peer.answered = True
            if peer.session is None:
                self._become(identity, peer, SealState.THEY_HAVE_NONE)
        elif kind == "hello":
            self._greet(identity, peer, message)
        elif kind == "sealed":
            return self._open(identity, peer, from_text(message, "value"))
        else:
            if peer.handshake.confirmed or peer.handshake.failed:
                self._repeat(identity, peer)
            peer.handshake.hear(message)
            self._proceed(identity, peer)
        return None

    def _greet(self, identity: str, peer: _Peer, message: Message) -> None:
        try:
            other = Introduction.from_message(message)
        except OtherVersionError:
            if peer.session is None:
                self._become(identity, peer, SealState.OTHER_VERSION)
            raise
        handshake = peer.handshake
        if handshake.peer == other:
            self._repeat(identity, peer)
            return
        if not peer.hellos.allow(self._clock_s()):
            raise SealError("begins anew more often than need be")
        self._break_off(peer)
        answers = message.get("answers") == to_text(handshake.own.nonce)
        first: list[Message] = []
        if handshake.peer is not None and not answers:
            # They have begun anew, and so do we: a number of an exchange is not used twice.
            handshake = self._begin()
            first = [handshake.own.to_message(other.nonce)]
        said = first + handshake.meet(other)
        peer.handshake, peer.answered, peer.charged, peer.agreed = handshake, True, False, False
        peer.pause_s, peer.since_s = _PAUSES_S[0], self._clock_s()
        peer.again_s = peer.since_s + peer.pause_s
        if peer.session is None:
            self._become(identity, peer, SealState.AGREEING)
        self._post(identity, said)

    def _repeat(self, identity: str, peer: _Peer) -> None:
        """They lack something that we have said; not more often than need be."""
        now_s = self._clock_s()
        if (peer.handshake.confirmed or peer.handshake.failed) and now_s - peer.repeated_s >= _REPEAT_S:
            peer.repeated_s = now_s
            self._post(identity, peer.handshake.sent)

    def _proceed(self, identity: str, peer: _Peer) -> None:
        handshake, now_s = peer.handshake, self._clock_s()
        if handshake.may_show and not self._somebody_waits(peer) and self._shown.allow(now_s):
            self._post(identity, handshake.show())
        # Who has proved to know the secret needs no guess.
        if handshake.may_confirm and (handshake.confirmed or self._guesses.allow(now_s)):
            peer.charged = not handshake.confirmed
            self._post(identity, handshake.confirm())
        if handshake.failed and peer.session is None:
            self._become(identity, peer, SealState.WRONG_PASSPHRASE)
        if handshake.confirmed and not handshake.may_confirm and not peer.agreed:
            self._agree(identity, peer)

    def _agree(self, identity: str, peer: _Peer) -> None:
        self._shown.allow(self._clock_s(), -1.0)
        if peer.charged:
            self._guesses.allow(self._clock_s(), -1.0)  # It was no guess.
            peer.charged = False
        peer.session, peer.agreed = Session(peer.handshake, self._room), True
        peer.unconfirmed.clear()
        if self._sender.key.step >= LAST_STEP // 2:
            self._left_s = self._left_s or self._clock_s()
        if self._key_used and not self._sender.may_step:
            return  # Given the next key, which is on its way.
        if self._key_used:
            self._sender.step()
            self._key_used = 0
        self._give(identity, peer, self._sender.key)
        if self._next is not None:
            self._give(identity, peer, self._next)

    def _somebody_waits(self, peer: _Peer) -> bool:
        """Whether a peer who came before this one is still to be shown our share: first come, first served."""
        for other in self._peers.values():
            if other is peer:
                return False
            if other.handshake.may_show:
                return True
        return False

    def _break_off(self, peer: _Peer) -> None:
        """This exchange is given up."""
        if peer.handshake.shown and not peer.agreed:
            self.broken_off += 1

    def _become(self, identity: str, peer: _Peer, state: SealState) -> None:
        if peer.state is not state:
            peer.state = state
            self._on_state(identity, state)

    def _tick(self, identity: str, peer: _Peer, now_s: float) -> None:
        handshake = peer.handshake
        waited_s = now_s - peer.since_s
        if peer.state is SealState.AGREEING and waited_s >= (STUCK_S if peer.answered else NO_ANSWER_S):
            self._become(identity, peer, SealState.NO_ANSWER)
        if handshake.may_show or handshake.may_confirm:
            self._proceed(identity, peer)
        settled = handshake.confirmed or handshake.failed or peer.state is SealState.THEY_HAVE_NONE
        if not settled and now_s >= peer.again_s:
            if all(waiting != identity for waiting, _ in self._outgoing):
                self._post(identity, handshake.sent)
            peer.pause_s = min(2 * peer.pause_s, _PAUSES_S[1])
            peer.again_s = now_s + peer.pause_s
        if peer.session is not None and peer.unconfirmed and now_s >= peer.keys_again_s:
            for key in list(peer.unconfirmed.values()):
                self._give(identity, peer, key)

    # -- inside: keys -------------------------------------------------------------------------------------------

    def _give(self, identity: str, peer: _Peer, key: MediaKey) -> None:
        assert peer.session is not None
        current = self._sender.key.generation
        peer.unconfirmed = {number: old for number, old in peer.unconfirmed.items() if number >= current}
        peer.unconfirmed[key.generation] = key
        peer.keys_again_s = self._clock_s() + 1.0
        told = {
            "kind": "key",
            "generation": key.generation,
            "step": key.step,
            "counter": key.counter,
            "key": to_text(key.base_key),
        }
        self._post(identity, [self._seal(peer.session, told)])

    def _open(self, identity: str, peer: _Peer, sealed: bytes) -> dict[str, Any] | None:
        if peer.session is None:
            raise SealError("sealed, and no key has been agreed on yet")
        message = peer.session.open(sealed)
        kind, generation = message.get("kind"), message.get("generation")
        if kind == "signal":
            data = message.get("data")
            return data if isinstance(data, dict) else None
        if kind == "has" and type(generation) is int:
            peer.unconfirmed.pop(generation, None)
        elif kind == "key":
            first = peer.session.from_all is None
            peer.session.take_key(_read_key(message))
            self._post(identity, [self._seal(peer.session, {"kind": "has", "generation": generation})])
            if first:
                peer.state = SealState.SEALED
                self._on_state(identity, SealState.SEALED)
        return None

    def _renew(self, now_s: float) -> None:
        """A new key once a peer has left, and when the old one is old; used when every peer has it."""
        if self._next is not None:
            waiting = any(self._next.generation in peer.unconfirmed for peer in self._peers.values())
            if not waiting or now_s >= self._switch_s:
                self._sender.begin(self._next)
                self._next, self._key_used, self._key_made_s = None, 0, now_s
            return
        age_s = now_s - self._key_made_s
        left = self._left_s is not None and now_s - self._left_s >= _RENEW_AFTER_LEAVING_S and age_s >= _RENEW_APART_S
        if left or age_s >= RENEW_S:
            self._left_s = None
            self._next = self._sender.following()
            self._switch_s = now_s + _SWITCH_S
            for identity, peer in self._peers.items():
                if peer.session is not None:
                    self._give(identity, peer, self._next)

    # -- inside: sending ----------------------------------------------------------------------------------------

    def _session(self, identity: str) -> Session:
        peer = self._peers.get(identity)
        if peer is None or peer.session is None:
            raise SealError("no key has been agreed on yet")
        return peer.session

    def _seal(self, session: Session, data: dict[str, Any]) -> Message:
        return {"kind": "sealed", "value": to_text(session.seal(data))}

    def _post(self, identity: str, messages: Iterable[Message]) -> None:
        kept = list(messages)
        if kept:
            self._outgoing.append((identity, kept))
            self._flush()

    def _flush(self) -> None:
        """Send what the relay's limits let us send; the rest waits for the next tick."""
        while self._outgoing and self._signals.allow(self._clock_s()):
            identity, messages = self._outgoing.popleft()
            self._send(identity, {"e2e": messages})


def _read_key(message: Message) -> MediaKey:
    generation, step, counter = (message.get(name) for name in ("generation", "step", "counter"))
    base_key = from_text(message, "key")
    if type(generation) is not int or type(step) is not int or type(counter) is not int:
        raise SealError("a key's numbers must be whole")
    if not (0 <= generation < 1 << 32 and 0 <= step <= LAST_STEP and 0 <= counter < 1 << 48):
        raise SealError("a key's numbers are out of range")
    if len(base_key) != SUITE.key_bytes:
        raise SealError(f"a key has {SUITE.key_bytes} bytes")
    return MediaKey(generation, step, base_key, counter)
