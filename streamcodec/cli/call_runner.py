"""One stay in a room: sound paced in and out in real time, who was there, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamcodec.cli.call_keys import MicrophoneSwitch
from streamcodec.cli.call_screen import Screen
from streamcodec.cli.call_sound import Sink, SoundFormat, Source
from streamcodec.errors import StreamcodecError
from streamcodec.net.trouble import UNHEARD, MicrophoneWatch, Trouble
from streamcodec.net.wire_meter import WireBytes

if TYPE_CHECKING:
    from streamcodec.net.call import Call, PeerStats

BLOCK_S = 0.01
LOOK_EVERY_BLOCKS = 10
TAIL_S = 1.0
"""How long a scripted call goes on after its sound, so that the others hear the end of it."""


@dataclass(frozen=True)
class CallPlan:
    """How to spend the time in the room."""

    source: Source | None
    spoken: SoundFormat
    sink: Sink | None
    heard: SoundFormat
    wait_s: float
    """How long to wait for somebody before the sound begins; a call on devices waits for ever."""
    seconds: float | None
    """How long to stay after that; None: to the end of the source and a little more, or until everybody has left."""
    microphone: bool = False
    """Whether the source is a microphone, which may be dead."""
    underruns: Callable[[], int] = lambda: 0
    """Times that the loudspeaker had too little to play."""


def path_of_packets(told: str, before: PeerStats, now: PeerStats) -> str:
    """How somebody's packets came, ``direct``, ``relay`` or ``none``, from what two looks in a row show.

    Who leaves closes the direct line a moment before the relay says so: a path that nothing came over does not count.
    """
    over_relay = before.path == "relay" and now.stream.jitter.received > before.stream.jitter.received
    gone = now.path == "none" or (told == "direct" and now.path == "relay" and not over_relay)
    return told if gone else now.path


class CallRunner:
    """Moves sound between a call and its source and sink, and keeps count of who was there."""

    def __init__(
        self, call: Call, plan: CallPlan, stop: asyncio.Event, switch: MicrophoneSwitch, screen: Screen
    ) -> None:
        self._call = call
        self._plan = plan
        self._stop = stop
        self._switch = switch
        self._screen = screen
        self._seen: dict[str, PeerStats] = {}
        self._paths: dict[str, str] = {}
        self._here: set[str] = set()
        self._spoke_s: dict[str, float] = {}
        self._own_voice_s = 0.0
        self._seconds = 0.0
        self._said: tuple[int, int] | None = None
        self._wire_before = self._wire = WireBytes()
        self._microphone = MicrophoneWatch()
        self._told: dict[str, set[Trouble]] = {}
        self._ever: dict[str, list[Trouble]] = {}

    async def run(self) -> None:
        """Wait for somebody, then talk and listen to the end; raises StreamcodecError."""
        start_s = time.monotonic()
        while not self._call.peers and not self._stop.is_set():
            self._check()
            if time.monotonic() - start_s > self._plan.wait_s:
                raise StreamcodecError(f"nobody else came within {self._plan.wait_s:g} s")
            await asyncio.sleep(0.02)
        self._say_grants()
        await self._voice_activity()
        self._look()

    async def _voice_activity(self) -> None:
        plan = self._plan
        spoken_block = round(BLOCK_S * plan.spoken.sample_rate_hz)
        heard_block = round(BLOCK_S * plan.heard.sample_rate_hz)
        self._wire_before = self._call.wire_bytes
        start_s = time.monotonic()
        shape = (spoken_block,) if plan.spoken.channels == 1 else (spoken_block, plan.spoken.channels)
        silence = np.zeros(shape, np.float32)
        if plan.source is not None:
            # What the microphone heard before anybody came is not sent.
            plan.source.read(0)
        end_s = plan.seconds
        index = 0
        while not self._stop.is_set() and (end_s is None or self._seconds < end_s):
            # Late blocks are made up for at once; the pace is that of the clock, whatever a block costs.
            await asyncio.sleep(max(0.0, start_s + index * BLOCK_S - time.monotonic()))
            self._call.muted = self._switch.muted(time.monotonic())
            if plan.source is not None:
                samples = plan.source.read(spoken_block)
                if samples is None and end_s is None:
                    end_s = self._seconds + TAIL_S
                if plan.microphone:
                    self._watch_microphone(samples)
                # A speaker who has finished is still there.
                self._call.push(silence if samples is None else samples, live=True)
            if plan.sink is not None:
                plan.sink.write(await self._call.pull(plan.sink.wanted(heard_block)))
            if index % LOOK_EVERY_BLOCKS == 0:
                self._look()
                if plan.source is None and end_s is None and not self._here:
                    return
            index += 1
            self._seconds = index * BLOCK_S

    def _check(self) -> None:
        if self._call.failed is not None:
            raise self._call.failed

    def _look(self) -> None:
        """Note who is there and who talks, and say who came and went."""
        self._check()
        self._wire = self._call.wire_bytes
        peers = self._call.peers
        for identity in peers.keys() - self._here:
            self._say_who_came(peers[identity])
        for identity in self._here - peers.keys():
            self._screen.say(f"{self._seen[identity].name or 'somebody'} has left")
        for identity in self._here & peers.keys():
            if peers[identity].seal is not self._seen[identity].seal:
                self._say_who_came(peers[identity])
        self._here = set(peers)
        between_looks_s = LOOK_EVERY_BLOCKS * BLOCK_S
        for identity, peer in peers.items():
            known = self._seen.get(identity)
            self._say_troubles(identity, peer)
            if known is None or known.stream.format != peer.stream.format:
                self._say_what_is_lost(peer)
            self._paths[identity] = path_of_packets(self._paths.get(identity, "none"), known or peer, peer)
            self._seen[identity] = peer
            self._spoke_s[identity] = self._spoke_s.get(identity, 0.0) + between_looks_s * peer.stream.talking
        self._own_voice_s += between_looks_s * self._call.talking
        self._say_what_is_sent()
        if self._screen.draws:
            self._draw(peers)

    def _say_grants(self) -> None:
        if self._plan.source is not None and not self._call.may_speak:
            self._screen.say("this token lets you listen and not speak: nobody hears you; --listen-only says as much")
        if self._plan.sink is not None and not self._call.may_hear:
            self._screen.say("this token lets you speak and not listen: you hear nobody; --speak-only says as much")

    def _say_who_came(self, peer: PeerStats) -> None:
        if peer.seal.silent:
            return  # said as a trouble
        digits = (
            f"; {peer.verification} on both screens means that nobody sits between you" if peer.verification else ""
        )
        self._screen.say(f"{peer.name or 'somebody'} is here{digits}")

    def _watch_microphone(self, samples: np.ndarray[Any, Any] | None) -> None:
        has_sound = samples is not None and samples.size > 0 and bool(np.any(samples))
        dead = self._microphone.hear(has_sound, time.monotonic())
        if dead and not self._call.silent_microphone:
            self._screen.say(
                "your microphone gives nothing but silence: is it switched off, muted in the system, or another "
                "--input-device?"
            )
        self._call.silent_microphone = dead

    def _say_troubles(self, identity: str, peer: PeerStats) -> None:
        """Say each trouble when it begins, and that it is over where somebody can be heard again."""
        sentences = peer.sentences()
        if self._plan.sink is None:
            # Who only sends need not know what cannot be heard here; that they cannot hear us they say themselves.
            sentences.pop(Trouble.FOREIGN, None)
        told = self._told.setdefault(identity, set())
        ever = self._ever.setdefault(identity, [])
        for trouble, text in sentences.items():
            if trouble not in told:
                self._screen.say(text)
            if trouble not in ever:
                ever.append(trouble)
        over = told - sentences.keys()
        for trouble, text in (
            (Trouble.MUTED, "is no longer muted"),
            (Trouble.NO_DIRECT_LINE, "is reached by a direct line now"),
            (Trouble.NO_TURN, "is reached by a direct line now"),
        ):
            if trouble in over:
                self._screen.say(f"{peer.name or 'somebody'} {text}")
        if over & UNHEARD:
            self._screen.say(f"{peer.name or 'somebody'} can be heard now")
        self._told[identity] = set(sentences)

    def _say_what_is_sent(self) -> None:
        """How the rate on the wire is spent, whenever that changes for the ear."""
        plan = self._call.plan
        if plan is None or self._plan.source is None:
            return
        kind = (plan.packet_ms, len(plan.ages))
        if kind != self._said:
            self._said = kind
            redundancy = {0: "no copies", 1: "one copy"}.get(len(plan.ages), f"{len(plan.ages)} copies")
            self._screen.say(
                f"sending {plan.bitrate_bps / 1_000:.1f} kbps in packets of {plan.packet_ms} ms with {redundancy}: "
                f"{plan.wire_bps / 1_000:.1f} kbps on the wire"
            )

    def _say_what_is_lost(self, peer: PeerStats) -> None:
        """Somebody sends more than is kept of it here: say so once, and what to do."""
        form, heard = peer.stream.format, self._plan.heard
        if self._plan.sink is None or form is None or form.sample_rate_hz is None:
            return
        kept = (heard.sample_rate_hz, heard.channels, heard.bits_per_sample)
        if (form.sample_rate_hz, form.channels, form.bits_per_sample) != kept:
            self._screen.say(
                f"{peer.name or 'somebody'} sends {form.bits_per_sample}-bit sound at {form.sample_rate_hz} Hz, "
                f"{form.channels} channel(s), converted here: keep it with --rate {form.sample_rate_hz} "
                f"--channels {form.channels} --bits {form.bits_per_sample}"
            )

    def _draw(self, peers: dict[str, PeerStats]) -> None:
        from streamcodec.live.call_meter import OwnVoice, call_meter

        call = self._call
        own = None
        if self._plan.source is not None:
            own = OwnVoice(
                call.muted,
                call.talking,
                call.level_rms,
                call.sender_stats,
                self._seconds,
                call.silent_microphone,
                self._plan.underruns(),
                call.wire,
                call.plan,
            )
        self._screen.draw(call_meter(own, peers.values()))

    def check_heard(self) -> None:
        """Raise StreamcodecError where there were others, and none of them could be heard for a reason that is known.

        For scripts: silence from beginning to end must not look like success.
        """
        seen = self._seen
        causes = [UNHEARD.intersection(self._ever.get(identity, [])) for identity in seen]
        silent = all(peer.stream.jitter.received == 0 for peer in seen.values())
        if seen and silent and all(causes):
            known = sorted({cause.value for found in causes for cause in found})
            raise StreamcodecError(f"nobody could be heard: {', '.join(known)}")

    def figures(self) -> dict[str, Any]:
        """What was sent, and what was received from whom."""
        sent = self._call.sender_stats
        seconds = max(self._seconds, BLOCK_S)
        wire, before, plan = self._wire, self._wire_before, self._call.plan
        return {
            "seconds": round(self._seconds, 3),
            "sent": {
                "packets": sent.packets,
                "datagrams": sent.datagrams,
                "payload_bytes": sent.payload_bytes,
                "not_finite": self._call.not_finite,
                "wire_bytes": wire.sent,
                "payload_kbps": round(0.008 * sent.payload_bytes / seconds, 3),
                "wire_kbps": round(0.008 * (wire.sent - before.sent) / seconds, 3),
                "plan": None
                if plan is None
                else {
                    "payload_kbps": plan.bitrate_bps / 1_000,
                    "packet_ms": plan.packet_ms,
                    "copies": len(plan.ages),
                    "wire_kbps": plan.wire_bps / 1_000,
                },
                "talked_s": round(self._own_voice_s, 1),
                "refused": self._call.refused,
                "muted": self._call.muted,
                "silent_microphone": self._call.silent_microphone,
            },
            "received": {
                "wire_bytes": wire.received,
                "wire_kbps": round(0.008 * (wire.received - before.received) / seconds, 3),
            },
            "unopened": self._call.unopened,
            "underruns": self._plan.underruns(),
            "peers": [
                {
                    "name": peer.name,
                    "path": self._paths[identity],
                    "seal": peer.seal.value,
                    "verification": peer.verification,
                    "tier": None if peer.stream.format is None else peer.stream.format.tier.name.lower(),
                    "round_trip_ms": peer.round_trip_ms,
                    "received": peer.stream.jitter.received,
                    "late": peer.stream.jitter.late,
                    "discarded": peer.stream.jitter.discarded,
                    "lost": peer.stream.jitter.lost,
                    "incomplete": peer.stream.incomplete,
                    "recovered": peer.stream.jitter.recovered,
                    "concealed": peer.stream.jitter.concealed,
                    "damaged": peer.stream.damaged,
                    "refused": peer.refused,
                    "troubles": [trouble.value for trouble in self._ever.get(identity, [])],
                    "talked_s": round(self._spoke_s[identity], 1),
                }
                for identity, peer in self._seen.items()
            ],
        }

    def summary(self) -> str:
        """The same in a few lines."""
        figures = self.figures()
        sent = figures["sent"]
        lines = [
            f"{figures['seconds']:.1f} s; sent {sent['packets']} packets, {sent['payload_kbps']:.2f} kbps payload, "
            f"{sent['wire_kbps']:.1f} kbps on the wire; received {figures['received']['wire_kbps']:.1f} kbps"
        ]
        lines += [
            f"{peer['name'] or 'somebody'} ({peer['path']}): {peer['received']} packets, {peer['lost']} lost, "
            f"{peer['recovered']} recovered, {peer['late']} late, {peer['concealed']} concealed"
            for peer in figures["peers"]
        ]
        return "\n".join(lines)
