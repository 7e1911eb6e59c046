// Run by test_call_parts.py, with the built package's folder and that of what Python made in the environment.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto;

const { BUILT, MADE } = process.env;
const load = (name) => import(pathToFileURL(join(BUILT, name)).href);
const { Codec, Encoder, FileError, JitterBuffer, Packet, PacketError, Resampler, SoundFile } = await load('index.js');
const { Reassembler, piecesOf } = await load('fragments.js');
const { Deframer, Framer, frameOfReport } = await load('framing.js');
const { framesOf } = await load('jitter_buffer.js');
const { ReceptionMonitor, reportFromBytes, reportToBytes } = await load('report.js');
const { CongestionController } = await load('congestion.js');
const { Line } = await load('line.js');
const { Room } = await load('room.js');
const { Sender } = await load('sender.js');
const { Redundancy } = await load('redundancy.js');
const { RelayClient } = await load('relay_client.js');
const { WireRateController } = await load('wire_rate.js');
const { ReadyTarget } = await load('ready_target.js');
const { RingBuffer } = await load('ring_buffer.js');

const json = (name) => JSON.parse(readFileSync(join(MADE, name), 'utf8'));
const floats = (name) => {
  const bytes = readFileSync(join(MADE, name));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (array) => Buffer.from(array).toString('hex');
const codec = await Codec.load(async (name) => new Uint8Array(readFileSync(join(BUILT, name))), { resample: true });

test('golden frames are made, and read', () => {
  let count = 0;
  for (const line of json('frames.json')) {
    const framer = new Framer({ numbered: line.time_stamps });
    const deframer = new Deframer();
    for (const { at_ms: atMs, datagram, frame, report, unit } of line.steps) {
      if (datagram.startsWith('1b')) {
        // Pieces of long packets, which browsers read and never send.
        assert.equal(hex(deframer.take(bytes(frame), atMs, line.time_stamps ? unit : null).piece), datagram);
        continue;
      }
      const isReport = datagram.length === 72 && datagram.startsWith('1a');
      const own = isReport
        ? frameOfReport(bytes(datagram))
        : framer.frame(Packet.fromBytes(bytes(datagram)), report ? bytes(report) : null);
      assert.equal(hex(own), frame);
      const found = deframer.take(bytes(frame), atMs, line.time_stamps ? (unit ?? framer.unit) : null);
      const heard = isReport ? found.report : found.packet?.toBytes();
      assert.equal(heard ? hex(heard) : null, datagram);
      if (report) assert.equal(hex(found.report), report);
      count += 1;
    }
    assert.equal(deframer.damaged, 0);
  }
  assert.ok(count > 20);
});

test('damaged frames are counted and never thrown', () => {
  const lines = json('frames.json');
  let damaged = 0;
  for (const line of lines) {
    const deframer = new Deframer();
    line.steps.forEach(({ at_ms: atMs, frame }, k) => {
      const data = bytes(frame);
      data[(k * 7) % data.length] ^= 1 << (k % 8);
      deframer.take(data.subarray(0, 1 + ((k * 5) % data.length)), atMs, line.time_stamps ? k : null);
    });
    deframer.take(Uint8Array.of(0xff), 0);
    damaged += deframer.damaged;
  }
  assert.ok(damaged > 0);
});

for (const [name, { packetMs, events, stats }] of Object.entries(json('traces.json'))) {
  test(`jitter buffer, reports and rate decide as Python's: ${name}`, () => {
    const buffer = new JitterBuffer(packetMs);
    const monitor = new ReceptionMonitor(packetMs);
    const congestion = new CongestionController(6_000, 20);
    let reports = 0;
    let sameAges = 0;
    for (const event of events) {
      if (event.put) {
        const packet = Packet.fromBytes(bytes(event.put));
        const arrivals = framesOf(packet).map((frame) => {
          monitor.observe(frame, 60, event.at);
          return buffer.put(frame, event.at);
        });
        assert.deepEqual(arrivals, event.arrivals, `put at ${event.at}`);
      } else if (event.report) {
        const own = reportToBytes(monitor.report(event.at, buffer.stats));
        assert.equal(hex(own), event.report);
        congestion.onReport(reportFromBytes(own), event.at);
        const { bitrate, ages } = congestion.rate;
        assert.deepEqual([bitrate, ages.length], [event.bps, event.ages.length]);
        reports += 1;
        // Of two plans that are worth the same to the last digit either may win.
        sameAges += Number(ages.join() === event.ages.join());
      } else {
        const decision = buffer.get(event.get, 10, event.queued);
        const where = `get at ${event.get}`;
        assert.equal(decision.kind, event.kind, where);
        assert.ok(Math.abs(buffer.targetMs - event.target) < 1e-6, where);
        assert.ok(Math.abs(buffer.depthMs - event.depth) < 1e-6, where);
        if (decision.kind === 'lost') assert.equal(decision.following?.timestamp ?? null, event.following, where);
        if (decision.kind === 'play') {
          const { frame, recovered, scale, mostMs } = decision;
          assert.ok(Math.abs(mostMs - event.most) < 1e-6, where);
          const own = { timestamp: frame.timestamp, recovered, scale, part: frame.part };
          const { timestamp, recovered: theirs, scale: scaled, part } = event;
          assert.deepEqual(own, { timestamp, recovered: theirs, scale: scaled, part }, where);
        }
        monitor.due(event.get);
      }
    }
    assert.ok(sameAges >= 0.97 * reports, `${sameAges} of ${reports}`);
    const found = buffer.stats;
    for (const [key, value] of Object.entries(stats)) assert.equal(found[key], value, key);
  });
}

for (const { wireBps, events } of json('wire.json')) {
  test(`a rate on the wire is spent as Python spends it: ${wireBps} bps`, () => {
    const controller = new WireRateController(wireBps);
    for (const event of events) {
      const { at, paths, sent, who, forget } = event;
      if (paths) controller.onPaths(...paths, at);
      else if (sent) controller.onWire(sent, at);
      else if (forget) controller.forget(forget);
      else if (who) controller.onReport(who, reportFromBytes(bytes(event.report)), event.trip, at);
      else {
        controller.talking = event.talking;
        controller.onTick(at);
      }
      const { bitrate, packetMs, ages, copyShare, wireBps: planned } = controller.plan;
      assert.deepEqual([bitrate, packetMs, [...ages], copyShare, planned], event.plan, `at ${at}`);
    }
  });
}

test('a rate on the wire decides packets and rate of a sender, and lets go again', () => {
  assert.throws(() => new WireRateController(3_000), /7 to 200 kbps/);
  const speech = floats('speech.f32');
  const sender = new Sender(codec, { bitrate: 6_000, packetMs: 20, congestion: true, wireBps: 12_000 });
  const first = sender.push(speech);
  assert.ok(first.at(-1).frames > 1, 'a thin wire gets long packets');
  const bits = first.reduce((all, packet) => all + 8 * (51 + packet.toBytes().length - 10), 0);
  assert.ok(bits / (speech.length / 24_000) < 13_500, `${bits}`);
  sender.setWireBps(0, 1_000);
  sender.push(speech.subarray(0, 4_800));
  assert.equal(sender.push(speech).at(-1).frames, 1);
});

test('discontinuous transmission is switched in mid-stream', () => {
  const encoder = new Encoder(codec, { bitrate: 6_000 });
  const quiet = Float32Array.from({ length: 48_000 }, (_, k) => 1e-5 * Math.sin(k * k));
  assert.equal(encoder.push(quiet).length, 100);
  encoder.setDtx(true);
  assert.ok(encoder.push(quiet).length < 60);
  encoder.setDtx(false);
  assert.equal(encoder.push(quiet).length, 100);
});

test("heavy loss is answered as Python answers it", () => {
  const congestion = new CongestionController(24_000, 20);
  for (const { at, report, bps } of json('rates.json')) {
    congestion.onReport(reportFromBytes(bytes(report)), at);
    assert.equal(congestion.rate.bitrate, bps, `at ${at}`);
  }
});

test("redundant copies are Python's", () => {
  const speech = floats('speech.f32');
  const copies = new Map(json('copies.json').map((copy) => [copy.of, copy]));
  const encoder = new Encoder(codec, { bitrate: 6_000 });
  const packets = [];
  let same = 0;
  for (let start = 0; start < 48_000; start += 480) {
    packets.push(...encoder.push(speech.subarray(start, start + 480)));
    const of = packets.length > 3 && packets.at(-3);
    const expected = of && copies.get(hex(of.toBytes()));
    if (!expected) continue;
    const { qualityIndex, payload } = encoder.encodeRedundant(of, 0.5);
    same += Number(qualityIndex === expected.qualityIndex && hex(payload) === expected.payload);
  }
  assert.ok(same >= 0.97 * copies.size, `${same} of ${copies.size}`);
  assert.equal(encoder.encodeRedundant(packets[0]), null);
  const plain = new Encoder(codec, { bitrate: 6_000 }).push(speech.subarray(0, 48_000));
  assert.deepEqual(plain.map((packet) => hex(packet.toBytes())), packets.map((packet) => hex(packet.toBytes())));
});

test("through changes of length copies are Python's", () => {
  const speech = floats('speech.f32');
  const encoder = new Encoder(codec, { bitrate: 9_000 });
  const redundancy = new Redundancy((of, share) => encoder.encodeRedundant(of, share));
  let count = 0;
  let same = 0;
  json('changing-copies.json').forEach(({ packetMs, ages, share, sent }, step) => {
    encoder.setPacketMs(packetMs);
    Object.assign(redundancy, { ages, share });
    const packets = encoder.push(speech.subarray(step * 5_760, (step + 1) * 5_760)).map((packet) => redundancy.attach(packet));
    assert.equal(packets.length, sent.length);
    const expected = sent.map((each) => Packet.fromBytes(bytes(each)));
    const places = (packet) => [packet.timestamp, packet.frames, ...packet.redundant.map(({ age }) => age)];
    assert.deepEqual(packets.map(places), expected.map(places));
    count += packets.length;
    same += packets.filter((packet, k) => hex(packet.toBytes()) === sent[k]).length;
  });
  assert.ok(same >= 0.95 * count, `${same} of ${count}`);
});

test("what rides along is Python's choice", () => {
  const named = ({ sequence, timestamp, frames, qualityIndex }, share) => sequence % 17 === 0 ? null
    : { qualityIndex: 1, payload: new TextEncoder().encode([sequence, timestamp, frames, qualityIndex, share.toFixed(3)].join()) };
  const redundancy = new Redundancy(named);
  json('attached.json').forEach(({ packet, ages, share, sent }, k) => {
    Object.assign(redundancy, { ages, share });
    assert.equal(hex(redundancy.attach(Packet.fromBytes(bytes(packet))).toBytes()), sent, `packet ${k}`);
  });
});

test("resampling is Python's between every rate of sound cards and the codec's", () => {
  const speech = floats('speech.f32');
  for (const { from, to, file } of json('resampled.json')) {
    const resampler = new Resampler(codec, from, to);
    const blocks = [];
    for (let k = 0; k < 8_820; k += 441) blocks.push(...resampler.process(speech.subarray(k, k + 441)));
    const expected = floats(file);
    assert.equal(blocks.length, expected.length);
    expected.forEach((x, k) => assert.ok(Math.abs(x - blocks[k]) < 1e-5, `${from} to ${to} at ${k}`));
  }
  assert.throws(() => new Resampler(codec, 11_025, 24_000), /11025 to 24000/);
});

const file = (name) => new Uint8Array(readFileSync(join(MADE, name)));
const joined = (blocks) => {
  const all = [...blocks];
  const out = new Float32Array(all.reduce((length, block) => length + block.length, 0));
  all.reduce((at, block) => (out.set(block, at), at + block.length), 0);
  return out;
};

for (const name of ['speech', 'short', 'low']) {
  test(`files sound as Python's decoder lets them, to the sample: ${name}`, () => {
    const sound = joined(new SoundFile(file(`${name}.sc`), codec).decode());
    const expected = floats(`${name}-decoded.f32`);
    assert.equal(sound.length, expected.length);
    let noise = 0;
    let signal = 0;
    expected.forEach((x, k) => {
      noise += (x - sound[k]) ** 2;
      signal += x * x;
    });
    const db = 10 * Math.log10(signal / noise);
    // Files are decoded by onnxruntime in Python, whose sums round otherwise.
    assert.ok(db > 40, `${db} dB`);
  });
}

for (const name of ['speech', 'low']) test(`what is damaged in a file is concealed, and what is none says so: ${name}`, () => {
  const whole = file(`${name}.sc`);
  const expected = floats(`${name}-decoded.f32`);
  const damaged = whole.slice();
  damaged[damaged.length >> 1] ^= 255;
  const decodeDamaged = () => joined(new SoundFile(damaged, codec).decode());
  // At the low rate the file is one cluster.
  if (name === 'low') assert.throws(decodeDamaged, /no packet that can be read/);
  else assert.equal(decodeDamaged().length, expected.length);
  // What stands behind a file is no part of it.
  const expectedAgain = joined(new SoundFile(whole, codec).decode());
  for (const behind of [whole, file('speech.sc'), new Uint8Array(999)]) {
    assert.deepEqual(joined(new SoundFile(Uint8Array.of(...whole, ...behind), codec).decode()), expectedAgain);
  }
  const cut = new SoundFile(whole.subarray(0, whole.length - 20), codec);
  assert.equal(cut.samples, null);
  assert.ok(Math.abs(joined(cut.decode()).length - expected.length) < 4_000);
  for (let k = 0; k < whole.length; k += Math.ceil(whole.length / 16)) {
    const bad = whole.slice();
    bad[k] ^= 1 + (k % 255);
    try {
      joined(new SoundFile(bad, codec).decode());
    } catch (error) {
      assert.ok(error instanceof FileError, String(error));
    }
  }
  assert.throws(() => new SoundFile(file('lossless.sc'), codec), /lossless tier, which a WaveformCodec decodes/);
  assert.throws(() => new SoundFile(Uint8Array.of(1, 2, 3), codec), FileError);
});

test('in clusters of nonsense whose checksum is right are the packets that Python reads', () => {
  for (const { file: hex, packets } of json('forged.json')) {
    const found = [...new SoundFile(Uint8Array.from(Buffer.from(hex, 'hex')), codec).packets()];
    const read = found.map(({ time, packet }) => [
      time, packet.frames, packet.qualityIndex, packet.flags, Buffer.from(packet.payload).toString('hex'),
    ]);
    assert.deepEqual(read, packets, hex);
  }
  const endless = new Uint8Array(40).fill(255);
  endless.set([...'SCF2'].map((letter) => letter.charCodeAt(0)));
  assert.throws(() => new SoundFile(endless, codec), { message: "the length of the file's header cannot be read" });
});

test('files that claim more than they hold are as long as in Python, and read in linear time', () => {
  for (const { file: hex, samples, trouble } of json('bombs.json')) {
    const began = process.cpuUsage();
    const decode = () => joined(new SoundFile(bytes(hex), codec).decode());
    if (samples === null) assert.throws(decode, FileError);
    else assert.equal(decode().length, samples, hex.slice(0, 400));
    assert.equal(new SoundFile(bytes(hex), codec).trouble('it.sc'), trouble);
    const { user } = process.cpuUsage(began);
    // A mebibyte of marks, each of which claims half of what is left, took minutes.
    assert.ok(user < 3e6, `${user / 1e6} s for ${hex.length / 2} bytes`);
  }
});

/** A websocket that a test answers for. */
class FakeSocket {
  bufferedAmount = 0;
  sent = [];
  constructor() {
    FakeSocket.last = this;
  }
  send(message) {
    this.sent.push(message);
  }
  close() {}
  text(fields) {
    this.onmessage({ data: JSON.stringify(fields) });
  }
  datagram(peer, frame) {
    this.onmessage({ data: Uint8Array.of(peer, ...frame).buffer });
  }
}

const packetAt = (k, more = {}) =>
  new Packet({ sequence: k, timestamp: k, qualityIndex: 3, flags: 1, payload: Uint8Array.of(1, 2, 3), ...more });

test('packets in pieces are put together in any order, and what is missing or nonsense is dropped', () => {
  const pieces = (number, content, count) =>
    Array.from({ length: count }, (_, k) => Uint8Array.of(0x1b, k, count, number >> 8, number & 255, ...content.subarray(k * 1_000, k * 1_000 + 1_000)));
  const content = Uint8Array.from({ length: 2_500 }, (_, k) => k % 251);
  const reassembler = new Reassembler();
  const [first, second, third] = pieces(7, content, 3);
  for (const piece of [third, first, first]) assert.equal(reassembler.add(piece, 0), null);
  assert.deepEqual(reassembler.add(second, 5), content);
  assert.equal(reassembler.add(second, 6), null, 'a duplicate');
  assert.throws(() => reassembler.add(pieces(7, content, 2)[0], 7), PacketError);
  for (const bad of [[], [0x1b, 0, 1, 0, 0, 1], [0x1b, 3, 3, 0, 0, 1], [0x1a, 0, 2, 0, 0, 1], [0x1b, 0, 65, 0, 0, 1]]) {
    assert.throws(() => reassembler.add(Uint8Array.from(bad), 8), PacketError);
  }
  for (let number = 100; number < 200; number++) reassembler.add(pieces(number, content, 3)[0], 10);
  assert.ok(reassembler._wholes.size <= 16);
  reassembler.add(pieces(300, content, 3)[0], 5_000);
  assert.equal(reassembler._wholes.size, 1);
  assert.equal(reassembler.incomplete, 100);
  assert.deepEqual([0, 1_070, 1_071, 5_000].map(piecesOf), [1, 1, 2, 5]);
});

test('a flood of one person is bounded, and another is heard as before', () => {
  globalThis.WebSocket = FakeSocket;
  const heard = new Map();
  let reports = 0;
  let nowMs = 1_000;
  const nothing = () => undefined;
  const room = new Room(
    { url: 'ws://x', room: 'r', name: '', token: '', bitstream: '' },
    {
      onPacket: (who) => heard.set(who, (heard.get(who) ?? 0) + 1),
      onReport: () => (reports += 1),
      onPeer: nothing, onLost: nothing, onWelcome: nothing, makeLine: nothing, dropLine: nothing, signalLine: nothing,
      sendOnChannel: nothing,
    },
    () => nowMs,
    false,
  );
  room.start();
  const socket = FakeSocket.last;
  socket.onopen();
  assert.equal(JSON.parse(socket.sent[0]).type, 'join');
  const peers = ['a', 'b'].map((identity, k) => ({ peer: k + 1, name: identity, identity, bitstream: '' }));
  socket.text({ type: 'welcome', peer: 0, identity: 'us', peers });
  const framers = [new Framer(), new Framer()];
  const report = frameOfReport(reportToBytes(new ReceptionMonitorWithOne().report(0, { concealed: 0, played: 1, recovered: 0, depthMs: 0 })));
  for (let k = 0; k < 1_000; k++) {
    nowMs += 1;
    socket.datagram(1, framers[0].frame(packetAt(k)));
    socket.datagram(1, report);
    if (k % 20 === 0) socket.datagram(2, framers[1].frame(packetAt(k / 20)));
  }
  assert.ok(heard.get('a') <= 401, `${heard.get('a')}`);
  assert.equal(heard.get('b'), 50);
  assert.ok(reports <= 15, `${reports}`);
  // Nonsense of any kind changes nothing.
  for (const text of ['', '[]', '{"type":"welcome"}', '{"type":"signal","peer":9,"data":{}}', 'null', '{"type":"peer-joined"}']) {
    socket.onmessage({ data: text });
  }
  socket.datagram(9, [1, 2, 3]);
  assert.equal(room.peers.length, 2);
  void room.leave();
});

test('a large room is told how we are no faster than its relay takes signals', () => {
  globalThis.WebSocket = FakeSocket;
  let nowMs = 1_000;
  const nothing = () => undefined;
  const fields = { url: 'ws://x', room: 'r', name: '', token: '', bitstream: '' };
  const events = { onPeer: nothing, onLost: nothing, onWelcome: nothing, makeLine: nothing, dropLine: nothing };
  const room = new Room(fields, events, () => nowMs, false);
  room.start();
  const socket = FakeSocket.last;
  socket.onopen();
  const peers = Array.from({ length: 70 }, (_, k) => ({ peer: k + 1, name: '', identity: `p${k}`, bitstream: '' }));
  socket.text({ type: 'welcome', peer: 0, identity: 'us', peers });
  const told = () =>
    socket.sent.filter((sent) => typeof sent === 'string').map((sent) => JSON.parse(sent)).filter(({ data }) => data?.status);
  for (let tick = 0; tick < 300; tick++) {
    nowMs += 100;
    room.tick(() => ({ muted: true, silent_microphone: false, foreign: false }));
    assert.ok(told().length <= 8 + 3 * 0.1 * (tick + 1), `${told().length}`);
  }
  assert.equal(new Set(told().map(({ peer }) => peer)).size, 70);
  assert.deepEqual(told()[0].data.status, { muted: true, silent_microphone: false, foreign: false });
  void room.leave();
});

test('who leaves lets go of the line once all is sealed and sent', async () => {
  globalThis.WebSocket = FakeSocket;
  const nothing = () => undefined;
  const fields = { url: 'ws://x', room: 'r', name: '', token: '', bitstream: '' };
  const room = new Room(fields, { onPeer: nothing, onLost: nothing, onWelcome: nothing, dropLine: nothing }, () => 0, false);
  room.start();
  const socket = FakeSocket.last;
  socket.onopen();
  socket.text({ type: 'welcome', peer: 0, identity: 'us', peers: [] });
  const closings = [];
  socket.close = () => closings.push(socket.sent.length);
  let seal;
  room._sealing = new Promise((go) => (seal = go)).then(() => room.relay.send(Uint8Array.of(1)));
  const left = room.leave();
  await Promise.resolve();
  assert.deepEqual(closings, []);
  const before = socket.sent.length;
  seal();
  await left;
  assert.deepEqual(closings, [before + 1]);
});

test('a full room ends a first try alone', () => {
  globalThis.WebSocket = FakeSocket;
  const failures = [];
  const nothing = () => undefined;
  const make = () => {
    const events = { onWelcome: nothing, onLost: (failure) => failures.push(failure?.code ?? null) };
    const client = new RelayClient({ url: 'ws://x', room: 'r', name: '', token: '', bitstream: '' }, events);
    client.start();
    FakeSocket.last.onopen();
    return client;
  };
  const full = { type: 'failure', code: 'room-full', reason: 'the room is full' };
  make();
  FakeSocket.last.text(full);
  assert.deepEqual(failures.splice(0), ['room-full']);
  const client = make();
  FakeSocket.last.text({ type: 'welcome', peer: 0, identity: 'us', peers: [] });
  FakeSocket.last.onclose();
  client.start();
  FakeSocket.last.onopen();
  FakeSocket.last.text(full);
  FakeSocket.last.onclose();
  assert.deepEqual(failures, [null, null]);
  client.leave();
});

class ReceptionMonitorWithOne extends ReceptionMonitor {
  constructor() {
    super();
    this.observe({ sequence: 1, timestamp: 1, part: 0, packet: { frames: 1 } }, 60, 0);
  }
}

test('a line says in full where packets belong when the time stamps of either side have jumped', () => {
  const heard = [];
  const make = (onPacket) =>
    new Line({
      onPacket, onReport: () => undefined, onPiece: () => undefined, sendOnChannel: () => undefined, takeReport: () => null,
      onWait: () => undefined,
    });
  const sender = make(() => undefined);
  const receiver = make((packet) => heard.push(packet));
  sender.mediaReady = true;
  sender._heardMs = 0;
  let ticks = 2 ** 32 - 5 * 960;
  const sent = [];
  for (let k = 0; k < 200; k++) {
    // The browser leaves frames out now and then, and so does our sender.
    ticks = (ticks + (k % 37 === 5 ? 3 : 1) * 960) % 2 ** 32;
    if (k % 11 !== 3) {
      const packet = packetAt(65_500 + k + (k > 100 ? 9 : 0) > 65_535 ? (65_500 + k + (k > 100 ? 9 : 0)) % 65_536 : 65_500 + k);
      sender.send(packet, 0);
      sent.push(packet.timestamp);
    }
    const frame = sender.nextFrame(ticks, 0);
    // One frame in ten is lost, but of those that say where they belong there are three.
    if (frame && k % 10 !== 9) receiver.hearMedia(frame, (ticks + 123 * 960) % 2 ** 32, 20 * k);
  }
  assert.ok(heard.length > 150);
  for (const packet of heard) assert.ok(sent.includes(packet.timestamp), `${packet.timestamp}`);
  assert.deepEqual([...heard].map((p) => p.timestamp), sent.filter((at) => heard.some((p) => p.timestamp === at)));
});

test('a line whose audio frames come too slowly lets the rest take the channel', () => {
  const channel = [];
  const waits = [];
  const line = new Line({
    onPacket: () => undefined, onReport: () => undefined, onPiece: () => undefined, sendOnChannel: (data) => channel.push(data),
    takeReport: () => null, onWait: (frames) => waits.push(frames),
  });
  line.mediaReady = line.channelOpen = true;
  line._heardMs = 0;
  for (let k = 0; k < 10; k++) line.send(packetAt(k), 0);
  assert.equal(channel.length, 7);
  // Each is told of, so that the browser's frames can be asked for.
  assert.deepEqual(waits, Array(10).fill(1));
  assert.equal(line.dropped, 0);
  // What waits at every frame goes too, in time: the delay must not stay for good.
  let more = 0;
  for (let k = 10; k < 400; k++) {
    line.send(packetAt(k), 20 * k - 1_000 > 0 ? line._heardMs : 0);
    line.nextFrame(960 * k, 0);
    more = line._waiting.length;
  }
  assert.equal(more, 0);
});

test('a ring gives what was put in, across its end', () => {
  const shared = RingBuffer.make(64);
  const [writer, reader] = [new RingBuffer(shared), new RingBuffer(shared)];
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 100; round++) {
    const block = Float32Array.from({ length: 1 + (round * 7) % 40 }, () => next++);
    const taken = writer.write(block);
    next -= block.length - taken;
    const out = new Float32Array(1 + (round * 5) % 50);
    const count = reader.read(out);
    for (let k = 0; k < count; k++) assert.equal(out[k], expected++);
  }
  assert.equal(reader.held, next - expected);
});

/** What is kept ready after so many seconds with a gap whenever `dry` says so, looked at a hundred times a second. */
function readyAfter(seconds, dry, ready = new ReadyTarget()) {
  let missed = 0;
  const seen = [];
  for (let tick = 0; tick <= 100 * seconds; tick++) {
    if (dry(ready.ms, tick / 100)) missed += 1;
    ready.note(missed, 1e6 + 10 * tick);
    seen.push(ready.ms);
  }
  return { seen, missed };
}

test('what is kept ready for the sound card grows with gaps and comes back, ever more slowly where that fails', () => {
  const steady = readyAfter(10, () => false).seen;
  assert.equal(steady[0], 20);
  assert.equal(steady.at(-1), 15);

  const stalls = readyAfter(1, (ms, s) => s < 0.25);
  assert.equal(Math.max(...stalls.seen), 20, 'one stall that goes on counts once');
  const often = readyAfter(20, (ms, s) => s % 0.5 === 0 && s > 0).seen;
  assert.equal(often.at(-1), 100);

  // A machine on which 15 ms runs dry at once, and 20 never.
  const { seen, missed } = readyAfter(300, (ms) => ms < 20);
  assert.ok(missed <= 8, `${missed} gaps in five minutes`);
  assert.ok(seen.filter((ms) => ms >= 20).length > 0.99 * seen.length);
  assert.ok(Math.max(...seen) === 20);
});
