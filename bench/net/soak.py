"""A long call with something going wrong all the time: three people, two relays, NATS, a fault every 20 seconds.

    python bench/net/soak.py --minutes 60 --json soak.json
    python bench/net/soak.py --minutes 2

Each person is a process that talks without a pause and notes when it hears each of the others; so is each relay. The
faults, in a random order that ``--seed`` fixes: a relay, NATS or a person killed (and started again), a relay, NATS
or a person frozen, a person's network cut, a person's disk full under its recording (as root: on a tmpfs of 64 KB),
a person's clock set hours off, and the processors taken away by other work. A fault explains silence while it lasts,
and a moment after for whoever has to come back; any other silence of more than two seconds is a failure, and so is
memory or the number of open files that grows. Loopback range only; relays and people are killed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PEOPLE = ("Ann", "Bob", "Cid")
RATE_HZ = 24_000
LOOK_S = 0.05
LATE_S = 0.3
"""A person's process so far behind its own clock is short of processor time: the machine's doing, told on its own."""
LONGEST_SILENCE_S = 2.0
COMING_BACK_S = 1.0
"""After a fault that took somebody out of the call: until the relay has told everybody."""
WARM_UP_S = 20.0
MOST_GROWTH_MB, MOST_MORE_FILES = 24.0, 12
SETTLED_S = 60.0
"""Memory and files of a process are compared with what they were so long after its start."""
BURNERS_PER_CORE = 2
NATS_SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
Silence = tuple[str, str, float, float]
"""Listener, speaker, from when to when."""


# -- a person -------------------------------------------------------------------------------------------------------


async def person(name: str, urls: list[str]) -> None:
    """Talk and listen until killed; commands on standard input, observations in JSON lines on standard output."""
    from streamcodec import StreamDecoder, StreamEncoder
    from streamcodec.cli.call_sound import FileSink, SoundFormat
    from streamcodec.net.call import Call, CallConfig
    from streamcodec.net.client import ClientConfig
    from streamcodec.net.room import RoomConfig

    offset_s, true_time = 0.0, time.time
    # As far as this program can tell, its clock has been set.
    time.time = lambda: true_time() + offset_s
    sink: Any = None
    asked: asyncio.Queue[list[str]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def hear_commands() -> None:
        while line := await reader.readline():
            await asked.put(line.decode().split())

    client = ClientConfig(urls[0], "soak", name=name, alternates=tuple(urls[1:]))
    config = RoomConfig(client, room_key=bytes(32), webrtc=None)
    encoder = StreamEncoder(RATE_HZ, 6_000)
    call = Call(CallConfig(config), encoder, lambda: StreamDecoder(RATE_HZ), encoder.encode_redundant)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    pitch_hz = 110.0 * (1 + PEOPLE.index(name) / 2)
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 12))
    sound = (0.1 * voice * (1.2 + np.sin(2 * np.pi * 4 * time_s))).astype(np.float32)
    while True:
        try:
            await call.__aenter__()
            break
        except OSError:
            await asyncio.sleep(0.5)
    commands = asyncio.create_task(hear_commands())
    played: dict[str, int] = {}
    start_s, tick = time.monotonic(), 0
    while not commands.done():
        while not asked.empty():
            what, *rest = asked.get_nowait()
            if what == "clock":
                offset_s = float(rest[0])
            elif what == "record":
                sink = FileSink(rest[0], SoundFormat(RATE_HZ))
            elif what == "stop" and sink is not None:
                with contextlib.suppress(ValueError, OSError):
                    sink.close()
                sink = None
        block = sound[(tick * 480) % RATE_HZ :][:480]
        call.push(block, live=True)
        heard = await call.pull(480)
        if sink is not None:
            sink.write(heard)
        if tick % 3 == 0:
            now = {}
            for peer in call.peers.values():
                count = peer.stream.jitter.played + peer.stream.jitter.recovered
                if count != played.get(peer.name):
                    played[peer.name] = count
                    now[peer.name] = count
            if now:
                print(json.dumps({"at_s": time.monotonic(), "heard": list(now)}), flush=True)
        if call.failed is not None:
            raise call.failed
        tick += 1
        late_s = time.monotonic() - start_s - 0.02 * tick
        if late_s > LATE_S:
            print(json.dumps({"at_s": time.monotonic(), "heard": [], "late_s": late_s}), flush=True)
        if late_s > 1.0:  # frozen, or starved: what was missed is not made up for
            start_s += late_s
        await asyncio.sleep(max(0.0, -late_s))


def burn(seconds: float) -> None:
    """Take a processor away."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


# -- the stage ------------------------------------------------------------------------------------------------------


class Cable:
    """A TCP forwarder that can go dead without closing anything, as a network does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.dead = False

    async def lay(self) -> str:
        """Listen; the URL to connect to."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.dead:
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        pumps = [self._pump(reader, there_writer), self._pump(there_reader, writer)]
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        lost = False
        try:
            while data := await source.read(65_536):
                lost = lost or self.dead
                if not lost:
                    sink.write(data)
        finally:
            sink.transport.abort()


@dataclass
class Actor:
    """One process that can be killed, frozen and started again."""

    command: list[str]
    process: asyncio.subprocess.Process | None = None
    began_s: float = 0.0
    settled: tuple[float, int] | None = None
    last: tuple[float, int] | None = None

    async def start(self, log: Path) -> asyncio.subprocess.Process:
        """Start it, or start it again."""
        pipe = asyncio.subprocess.PIPE
        with log.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe, stderr=errors)
        self.began_s, self.settled = time.monotonic(), None
        return self.process

    def signal(self, number: int) -> None:
        """Send a signal, if it is there."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    def measure(self) -> None:
        """Note memory in MB and open files."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
            self.last = pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files
            if self.settled is None and time.monotonic() - self.began_s > SETTLED_S:
                self.settled = self.last

    @property
    def growth(self) -> tuple[float, int] | None:
        """Memory in MB and files more than when it had settled; None before."""
        if self.settled is None or self.last is None:
            return None
        return self.last[0] - self.settled[0], self.last[1] - self.settled[1]


@dataclass
class Stage:
    """Everything that runs, and what has been observed."""

    folder: Path
    actors: dict[str, Actor] = field(default_factory=dict)
    cables: dict[str, list[Cable]] = field(default_factory=dict)
    heard_s: dict[tuple[str, str], float] = field(default_factory=dict)
    silences: list[Silence] = field(default_factory=list)
    explained: list[tuple[str, str, float, float]] = field(default_factory=list)
    """What, whom it concerns (empty: everybody), from when to when."""
    ended: list[str] = field(default_factory=list)
    behind_s: float = 0.0
    """How long people's processes were short of processor time, together."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start_person(self, name: str) -> None:
        """Start a person, and note what it hears."""
        process = await self.actors[name].start(self.folder / f"{name}.log")
        self.tasks.append(asyncio.create_task(self._note(name, process)))

    def _explain(self, reason: tuple[str, str, float, float]) -> float:
        """Take a reason down, joined to the last one where they overlap; by how many seconds it adds."""
        what, whom, from_s, to_s = reason
        for index in range(len(self.explained) - 1, max(-1, len(self.explained) - 20), -1):
            _, other, start_s, end_s = self.explained[index]
            if self.explained[index][0] == what and other == whom and from_s <= end_s:
                self.explained[index] = (what, whom, min(start_s, from_s), max(end_s, to_s))
                return max(0.0, to_s - end_s)
        self.explained.append(reason)
        return to_s - from_s

    async def _note(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            fields = json.loads(line)
            if "late_s" in fields:
                behind = ("behind", name, fields["at_s"] - fields["late_s"], fields["at_s"] + COMING_BACK_S)
                self.behind_s += self._explain(behind)
            for speaker in fields["heard"]:
                before_s = self.heard_s.get((name, speaker))
                if before_s is not None and fields["at_s"] - before_s > LONGEST_SILENCE_S:
                    self.silences.append((name, speaker, before_s, fields["at_s"]))
                self.heard_s[name, speaker] = fields["at_s"]
        code = await process.wait()
        if code not in (-signal.SIGKILL, -signal.SIGTERM):
            self.ended.append(f"{name} ended by itself with {code}")

    def tell(self, name: str, command: str) -> None:
        """Give a person a command."""
        process = self.actors[name].process
        if process is not None and process.stdin is not None:
            process.stdin.write(command.encode() + b"\n")

    def unexplained(self) -> list[Silence]:
        """Silences of which more than two seconds are left once the faults are taken away."""
        left = []
        now_s = time.monotonic()
        still = [(*pair, since_s, now_s) for pair, since_s in self.heard_s.items()]
        for listener, speaker, start_s, end_s in self.silences + still:
            inside = [
                (max(start_s, from_s), min(end_s, to_s))
                for _, whom, from_s, to_s in self.explained
                if whom in ("", listener, speaker) and from_s < end_s and to_s > start_s
            ]
            covered_s, reached_s = 0.0, start_s
            for from_s, to_s in sorted(inside):
                covered_s += max(0.0, to_s - max(from_s, reached_s))
                reached_s = max(reached_s, to_s)
            if end_s - start_s - covered_s > LONGEST_SILENCE_S:
                left.append((listener, speaker, start_s, end_s))
        return left


# -- faults ---------------------------------------------------------------------------------------------------------

Fault = Callable[[Stage, random.Random], Any]


async def kill_relay(stage: Stage, dice: random.Random) -> str:
    """The people there go to the other relay: it explains no silence of more than two seconds."""
    name = dice.choice(["relay 1", "relay 2"])
    stage.actors[name].signal(signal.SIGKILL)
    await asyncio.sleep(1.0)
    process = await stage.actors[name].start(stage.folder / f"{name}.log")
    assert process.stdout is not None
    await process.stdout.readline()
    return name


async def freeze_relay(stage: Stage, dice: random.Random) -> str:
    name = dice.choice(["relay 1", "relay 2"])
    start_s = time.monotonic()
    stage.actors[name].signal(signal.SIGSTOP)
    await asyncio.sleep(3.0)
    stage.actors[name].signal(signal.SIGCONT)
    stage.explained.append((f"{name} frozen", "", start_s, time.monotonic()))
    return name


async def kill_nats(stage: Stage, dice: random.Random) -> str:
    start_s = time.monotonic()
    stage.actors["nats"].signal(signal.SIGKILL)
    await asyncio.sleep(2.0)
    await stage.actors["nats"].start(stage.folder / "nats.log")
    stage.explained.append(("nats killed", "", start_s, time.monotonic() + COMING_BACK_S))
    return "nats"


async def freeze_nats(stage: Stage, dice: random.Random) -> str:
    start_s = time.monotonic()
    stage.actors["nats"].signal(signal.SIGSTOP)
    await asyncio.sleep(3.0)
    stage.actors["nats"].signal(signal.SIGCONT)
    stage.explained.append(("nats frozen", "", start_s, time.monotonic() + COMING_BACK_S))
    return "nats"


async def kill_person(stage: Stage, dice: random.Random) -> str:
    name = dice.choice(PEOPLE)
    start_s = time.monotonic()
    stage.actors[name].signal(signal.SIGKILL)
    await asyncio.sleep(1.0)
    for pair in [pair for pair in stage.heard_s if pair[0] == name]:
        stage.heard_s.pop(pair)
    await stage.start_person(name)
    # Until it is heard again: how long a process takes to start is not the call's doing.
    others = [other for other in PEOPLE if other != name]
    while any(stage.heard_s.get((other, name), 0.0) < start_s + 1.0 for other in others):
        await asyncio.sleep(LOOK_S)
        if time.monotonic() - start_s > 60.0:
            break
    stage.explained.append((f"{name} killed", name, start_s, time.monotonic()))
    return name


async def freeze_person(stage: Stage, dice: random.Random) -> str:
    name = dice.choice(PEOPLE)
    start_s = time.monotonic()
    stage.actors[name].signal(signal.SIGSTOP)
    await asyncio.sleep(4.0)
    stage.actors[name].signal(signal.SIGCONT)
    stage.explained.append((f"{name} frozen", name, start_s, time.monotonic() + COMING_BACK_S))
    return name


async def cut(stage: Stage, dice: random.Random) -> str:
    name = dice.choice(PEOPLE)
    start_s = time.monotonic()
    for cable in stage.cables[name]:
        cable.dead = True
    await asyncio.sleep(3.0)
    for cable in stage.cables[name]:
        cable.dead = False
    # An attempt begun while the line was dead has its time to fail.
    stage.explained.append((f"{name} cut", name, start_s, time.monotonic() + COMING_BACK_S))
    return name


async def fill_disk(stage: Stage, dice: random.Random) -> str:
    """A recording on a disk that is full at once; it explains nothing."""
    name = dice.choice(PEOPLE)
    full = stage.folder / "full"
    full.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        return f"{name}: left out, for it takes root to make a small disk"
    stage.tell(name, f"record {full}/call.wav")
    await asyncio.sleep(5.0)
    stage.tell(name, "stop")
    await asyncio.sleep(0.5)
    subprocess.run(["umount", "-l", str(full)], check=False, capture_output=True)
    return name


async def step_clock(stage: Stage, dice: random.Random) -> str:
    """It explains nothing."""
    name = dice.choice(PEOPLE)
    hours = dice.choice([-5, 3, 30])
    stage.tell(name, f"clock {3_600 * hours}")
    await asyncio.sleep(8.0)
    stage.tell(name, "clock 0")
    return f"{name} by {hours} h"


async def starve(stage: Stage, dice: random.Random) -> str:
    start_s = time.monotonic()
    cores = os.cpu_count() or 1
    burners = [multiprocessing.Process(target=burn, args=(3.0,)) for _ in range(BURNERS_PER_CORE * cores)]
    for burner in burners:
        burner.start()
    await asyncio.sleep(3.2)
    for burner in burners:
        burner.join()
    stage.explained.append(("processors taken", "", start_s, time.monotonic() + COMING_BACK_S))
    return f"{len(burners)} burners"


FAULTS: tuple[Fault, ...] = (
    kill_relay,
    freeze_relay,
    kill_nats,
    freeze_nats,
    kill_person,
    freeze_person,
    cut,
    fill_disk,
    step_clock,
    starve,
)


# -- the play -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def stage_of(folder: Path) -> AsyncIterator[Stage]:
    """NATS, two relays, three people in a call, each through cables of its own."""
    assert NATS_SERVER is not None
    stage = Stage(folder)
    nats_port, ports = free_port(), [free_port(), free_port()]
    serve = [sys.executable, "-c", "from streamcodec.cli import console; console()", "serve"]
    stage.actors["nats"] = Actor([NATS_SERVER, "-a", "127.0.0.1", "-p", str(nats_port)])
    for number, port in enumerate(ports, 1):
        stage.actors[f"relay {number}"] = Actor(
            [*serve, "--port", str(port), "--nats", f"nats://127.0.0.1:{nats_port}", "--address-people", "0"]
        )
    try:
        await stage.actors["nats"].start(folder / "nats.log")
        await asyncio.sleep(1.0)
        for number in (1, 2):
            process = await stage.actors[f"relay {number}"].start(folder / f"relay {number}.log")
            assert process.stdout is not None
            if not await process.stdout.readline():
                raise OSError(f"relay {number} did not start")
        for index, name in enumerate(PEOPLE):
            stage.cables[name] = [Cable(port) for port in ports]
            urls = [await cable.lay() for cable in stage.cables[name]]
            first = urls if index % 2 == 0 else urls[::-1]
            stage.actors[name] = Actor([sys.executable, __file__, "--person", name, *first])
            await stage.start_person(name)
        pairs = [(one, other) for one in PEOPLE for other in PEOPLE if one != other]
        deadline_s = time.monotonic() + 120.0
        while any(pair not in stage.heard_s for pair in pairs):
            if time.monotonic() > deadline_s:
                raise OSError(f"the call did not come about; see {folder}")
            await asyncio.sleep(LOOK_S)
        yield stage
    finally:
        for actor in stage.actors.values():
            actor.signal(signal.SIGKILL)
        await asyncio.gather(*stage.tasks, return_exceptions=True)


async def play(minutes: float, every_s: float, seed: int, folder: Path, left_out: list[str]) -> dict[str, Any]:
    """The whole run; its figures."""
    kinds = [fault for fault in FAULTS if fault.__name__ not in left_out]
    dice = random.Random(seed)
    async with stage_of(folder) as stage:
        await asyncio.sleep(min(WARM_UP_S, every_s))
        stage.silences.clear()
        begin_s = time.monotonic()
        faults: list[dict[str, Any]] = []
        bag: list[Fault] = []
        while time.monotonic() - begin_s < 60.0 * minutes:
            bag = bag or dice.sample(kinds, len(kinds))
            fault = bag.pop()
            at_s = time.monotonic()
            detail = await fault(stage, dice)
            faults.append({"at_s": round(at_s - begin_s, 1), "fault": fault.__name__, "of": detail})
            print(f"{at_s - begin_s:7.1f} s  {fault.__name__}: {detail}", file=sys.stderr, flush=True)
            while time.monotonic() < at_s + every_s:
                await asyncio.sleep(0.5)
                for actor in stage.actors.values():
                    actor.measure()
        left = [
            {"listener": a, "speaker": b, "from_s": round(c - begin_s, 2), "seconds": round(d - c, 2)}
            for a, b, c, d in stage.unexplained()
        ]
        longest_s = max((d - c for _, _, c, d in stage.silences), default=0.0)
        growth = {name: actor.growth for name, actor in stage.actors.items() if actor.growth is not None}
        ended, behind_s = list(stage.ended), stage.behind_s
    grown = [name for name, (mb, files) in growth.items() if mb > MOST_GROWTH_MB or files > MOST_MORE_FILES]
    return {
        "minutes": minutes,
        "faults": faults,
        "silences_over_2_s": len(stage.silences),
        "longest_silence_s": round(longest_s, 2),
        "people_behind_s": round(behind_s, 1),
        "unexplained": left,
        "ended": ended,
        "growth_mb_and_files": {name: [round(mb, 1), files] for name, (mb, files) in growth.items()},
        "grown": grown,
        "holds": not left and not ended and not grown,
    }


def main() -> int:
    """Play, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=20.0, metavar="S", help="seconds from fault to fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        choices=[fault.__name__ for fault in FAULTS],
        help="a fault that is not to happen (repeatable)",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs of all processes there")
    parser.add_argument("--person", nargs=3, metavar=("NAME", "URL", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.person is not None:
        asyncio.run(person(options.person[0], options.person[1:]))
        return 0
    if NATS_SERVER is None:
        print("this needs nats-server: sudo apt install nats-server", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        result = asyncio.run(play(options.minutes, options.every, options.seed, folder, options.leave_out))
    print(json.dumps(result, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
