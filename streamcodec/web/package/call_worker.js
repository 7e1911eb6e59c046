// A call's worker: codec, jitter buffers, the relay's websocket and what travels on direct lines. The page's own thread
// may be as busy, or as asleep in a hidden tab, as it likes.

import { Codec, readFrom } from './codec.js';
import { AudioFormatError, CallError, LoadError } from './errors.js';
import { Mixer } from './mixer.js';
import { LONG_PACKETS } from './near_lossless.js';
import { hasCurve } from './cpace.js';
import { roomKeyFromPassphrase } from './passphrase.js';
import { ReadyTarget } from './ready_target.js';
import { Receiver } from './receiver.js';
import { reportFromBytes } from './report.js';
import { Resampler } from './resampler.js';
import { RingBuffer } from './ring_buffer.js';
import { Room } from './room.js';
import { Sender } from './sender.js';
import { VoiceActivity } from './voice_activity.js';
import { WaveformCodec } from './waveform.js';

const TICK_MS = 100;
const FRAME_MS = 20;
/** Of the silence that a connection codes. */
const PACE_HZ = 48_000;
/** What goes out is told to the sender once a second. */
const TICKS_PER_NOTE = 10;
const BLOCK_MS = 10;
const SILENT_MICROPHONE_MS = 1_500;
const RATE_WINDOW_MS = 3_000;

/**
 * @typedef {object} JoinMessage
 * @property {'join'} type
 * @property {string} files Address of the codec's files.
 * @property {import('./relay_client.js').JoinFields} fields without bitstream
 * @property {number} bitrate
 * @property {number} packetMs
 * @property {boolean} congestion
 * @property {boolean} direct
 * @property {boolean} listens no microphone
 * @property {string} passphrase empty for none
 * @property {boolean} dtx
 * @property {number} wireKbps 0 for none
 */

/** @type {any} */
const scope = globalThis;
/** @type {Conversation | undefined} */
let conversation;
/** @type {Promise<Codec> | undefined} */
let loading;

/** @param {Record<string, unknown>} message @param {Transferable[]} [transfer] */
function tell(message, transfer = []) {
  scope.postMessage(message, transfer);
}

class Conversation {
  /**
   * @param {Codec} codec
   * @param {JoinMessage} settings
   * @param {import('./octets.js').Bytes | null} roomKey
   */
  constructor(codec, settings, roomKey) {
    this._codec = codec;
    this._settings = settings;
    this._rateHz = codec.layout.sampleRate;
    this._sender = new Sender(codec, { ...settings, wireBps: 1_000 * settings.wireKbps });
    this._ticks = 0;
    /** @type {Map<string, Receiver>} */
    this._receivers = new Map();
    this._mixer = new Mixer(this._rateHz);
    /** Of what comes at the sound card's own rate. */
    this._cardMixer = new Mixer(this._rateHz);
    /** @type {WaveformCodec | null} Loaded when somebody comes who sends what it decodes. */
    this._waveform = null;
    this._loadingWaveform = false;
    this._activity = new VoiceActivity(this._rateHz);
    this._sealed = roomKey !== null;
    this.muted = false;
    this._listens = settings.listens;
    this._soundAliveMs = performance.now();
    /** @type {MessagePort | null} */
    this._card = null;
    /** @type {RingBuffer | null} */
    this._heard = null;
    /** @type {RingBuffer | null} */
    this._played = null;
    this._cardHz = 0;
    /** @type {Map<string, {generation: number, writer: WritableStreamDefaultWriter<any>, frames: number}>} By person. */
    this._paces = new Map();
    /** @type {Map<number, Resampler>} To the codec's rate, by rate. */
    this._resamplers = new Map();
    /** @type {ReadableStreamDefaultReader<any> | null} Of the microphone, where it does not come from the sound card's thread. */
    this._track = null;
    this._ready = new ReadyTarget();
    /** Samples handed to the sound card's thread since the start. */
    this._given = 0;
    this._joinedMs = 0;
    this._busyMs = 0;
    /** @type {{atMs: number, sent: number, received: number, busyMs: number}[]} */
    this._noted = [];
    /** Bytes on direct lines, as the page's connections count them. */
    this._directBytes = { sent: 0, received: 0 };
    this._room = new Room(
      { ...settings.fields, bitstream: codec.layout.bitstream },
      {
        onPacket: (identity, packet) => this._receivers.get(identity)?.receive(packet, performance.now()),
        onReport: (identity, report) => this._hearReport(identity, report),
        onPeer: (info, present) => this._come(info, present),
        onWelcome: () => {
          this._joinedMs ||= performance.now();
          tell({ type: 'joined', speaks: this._room.speaks, hears: this._room.hears });
        },
        onLost: (failure) => tell({ type: 'lost', failure }),
        makeLine: (identity, offers) => tell({ type: 'make-line', identity, offers }),
        dropLine: (identity) => {
          void this._paces.get(identity)?.writer.close().catch(() => undefined);
          this._paces.delete(identity);
          tell({ type: 'drop-line', identity });
        },
        signalLine: (identity, data) => tell({ type: 'signal-line', identity, data }),
        sendOnChannel: (identity, data) => tell({ type: 'channel', identity, data }, [data.buffer]),
        waitOnMedia: (identity, frames) => this._pace(identity, frames),
      },
      () => performance.now(),
      settings.direct,
      roomKey,
    );
    this._room.start();
    this._timer = setInterval(() => this._tick(), TICK_MS);
  }

  /**
   * @param {MessagePort} port
   * @param {number} cardHz
   * @param {SharedArrayBuffer | undefined} heard
   * @param {SharedArrayBuffer | undefined} played
   */
  connectCard(port, cardHz, heard, played) {
    this._card?.close();
    this._card = port;
    this._cardHz = cardHz;
    this._heard = heard ? new RingBuffer(heard) : null;
    this._played = played ? new RingBuffer(played) : null;
    this._toCard = new Resampler(this._codec, this._rateHz, cardHz);
    this._cardMixer = new Mixer(cardHz);
    this._missed = this._given = 0;
    port.onmessage = ({ data }) => this._wake(data);
  }

  /**
   * Sound of the microphone as it comes, at one of the codec's rates; until it ends, what the sound card's thread hears
   * is nothing.
   * @param {ReadableStream<any>} readable
   */
  async readMicrophone(readable) {
    void this._track?.cancel().catch(() => undefined);
    const reader = (this._track = readable.getReader());
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this._track !== reader) break;
        const start = performance.now();
        const { sampleRate } = value;
        const samples = mono(value);
        if (!this._codec.deviceRates.includes(sampleRate)) {
          tell({ type: 'unread' });
          break;
        }
        if (!this._listens) this._speak(samples, this._resamplerFrom(sampleRate), start);
        this._busyMs += performance.now() - start;
      }
    } finally {
      if (this._track === reader) this._track = null;
      void reader.cancel().catch(() => undefined);
    }
  }

  /**
   * The track that a connection codes, to be given silence whenever something is to go out.
   * @param {string} identity
   * @param {number} generation
   * @param {WritableStream<any>} writable
   */
  setPace(identity, generation, writable) {
    void this._paces.get(identity)?.writer.close().catch(() => undefined);
    this._paces.set(identity, { generation, writer: writable.getWriter(), frames: 0 });
  }

  /**
   * @param {string} identity
   * @param {number} frames
   */
  _pace(identity, frames) {
    const pace = this._paces.get(identity);
    if (!pace || pace.generation !== this._room.line(identity)?.generation) return;
    const numberOfFrames = (PACE_HZ * FRAME_MS * frames) / 1_000;
    const timestamp = 1_000 * FRAME_MS * pace.frames;
    pace.frames += frames;
    const form = { format: 'f32-planar', sampleRate: PACE_HZ, numberOfChannels: 1, numberOfFrames, timestamp };
    const silence = new scope.AudioData({ ...form, data: new Float32Array(numberOfFrames) });
    pace.writer.write(silence).catch(() => undefined);
  }

  /**
   * Kept, since what it takes of the kernels' memory is not given back.
   * @param {number} rateHz
   */
  _resamplerFrom(rateHz) {
    let resampler = this._resamplers.get(rateHz);
    if (!resampler) this._resamplers.set(rateHz, (resampler = new Resampler(this._codec, rateHz, this._rateHz)));
    return resampler;
  }

  /** @param {boolean} listens */
  setListens(listens) {
    this._listens = listens;
    this._soundAliveMs = performance.now();
  }

  /** @param {{bitrate?: number, packetMs?: number, dtx?: boolean, wireKbps?: number}} settings */
  change({ bitrate, packetMs, dtx, wireKbps }) {
    if (bitrate) this._sender.setBitrate(bitrate);
    if (packetMs) this._sender.setPacketMs(packetMs);
    if (dtx !== undefined) this._sender.setDtx(dtx);
    if (wireKbps !== undefined) this._sender.setWireBps(1_000 * wireKbps, performance.now());
  }

  async leave() {
    if (!this._listens) this._sender.flush().forEach((packet) => this._room.send(packet));
    clearInterval(this._timer);
    void this._track?.cancel().catch(() => undefined);
    for (const { writer } of this._paces.values()) void writer.close().catch(() => undefined);
    this._card?.close();
    await this._room.leave();
  }

  get room() {
    return this._room;
  }

  /** @param {{sent: number, received: number}} bytes */
  noteDirect(bytes) {
    this._directBytes = bytes;
  }

  // -- the sound card

  /** @param {{taken: number, missed: number, samples: Float32Array | null}} wake */
  _wake({ taken, missed, samples }) {
    const start = performance.now();
    if (this._heard) {
      samples = new Float32Array(this._heard.held);
      this._heard.read(samples);
    }
    if (samples?.length && !this._listens && !this._track) this._speak(samples, this._resamplerFrom(this._cardHz), start);
    this._ready.note(missed, start);
    this._play(this._played ? this._played.held : this._given - taken, start);
    this._busyMs += performance.now() - start;
  }

  /**
   * @param {Float32Array} samples
   * @param {Resampler} resampler to the codec's rate
   * @param {number} nowMs
   */
  _speak(samples, resampler, nowMs) {
    if (samples.some((x) => x !== 0)) this._soundAliveMs = nowMs;
    const sound = resampler.process(samples);
    if (this.muted) sound.fill(0);
    this._activity.hear(sound);
    this._sender.noteVoice(this._activity.talking);
    if (!this._room.speaks) return;
    for (const packet of this._sender.push(sound)) this._room.send(packet);
  }

  /**
   * @param {number} held
   * @param {number} nowMs
   */
  _play(held, nowMs) {
    // What several messages told at once was true when they were sent: only the card's own count tells what is left.
    const wanted = (this._ready.ms * this._cardHz) / 1_000;
    const count = (this._rateHz * BLOCK_MS) / 1_000;
    while (held < wanted) {
      const receivers = [...this._receivers.values()];
      const usual = receivers.filter(({ rateHz }) => rateHz === this._rateHz);
      const blocks = usual.map((receiver) => receiver.pull(nowMs, count));
      let block = /** @type {Resampler} */ (this._toCard).process(this._mixer.mix(blocks, count));
      if (block.length === 0) continue;
      if (usual.length < receivers.length) {
        // What is sampled as the sound card is goes past the codec's rate.
        const others = receivers.filter((each) => !usual.includes(each));
        const { length } = block;
        const exact = others.map((receiver) => receiver.pull(nowMs, length));
        block = this._cardMixer.mix(usual.length ? [block, ...exact] : exact, length);
      }
      held += block.length;
      this._given += block.length;
      if (this._played) this._played.write(block);
      else this._card?.postMessage(block, [block.buffer]);
    }
  }

  // -- the room

  /**
   * @param {import('./relay_client.js').PeerInfo} info
   * @param {boolean} present
   */
  _come(info, present) {
    const { identity } = info;
    if (!present) {
      this._receivers.get(identity)?.close();
      this._receivers.delete(identity);
      this._sender.forget(identity);
    } else if (this._understands(info)) {
      const waveform = () => this._waveform;
      this._receivers.set(identity, new Receiver(this._codec, { cardHz: this._cardHz, waveform }));
      if (this._isWaveform(info)) void this._loadWaveform();
    }
    tell({ type: 'peer', info, present });
  }

  /** @param {import('./relay_client.js').PeerInfo} info */
  _understands({ bitstream }) {
    return bitstream === '' || bitstream === this._codec.layout.bitstream || this._isWaveform({ bitstream });
  }

  /** @param {{bitstream: string}} info */
  _isWaveform({ bitstream }) {
    return this._codec.layout.waveformBitstreams.includes(bitstream.replace(LONG_PACKETS, ''));
  }

  async _loadWaveform() {
    if (this._loadingWaveform) return;
    this._loadingWaveform = true;
    try {
      this._waveform = await WaveformCodec.load(readFrom(this._settings.files));
    } catch (error) {
      this._loadingWaveform = false;
      console.error(error);
    }
  }

  /**
   * @param {string} identity
   * @param {Uint8Array} bytes
   */
  _hearReport(identity, bytes) {
    const nowMs = performance.now();
    this._receivers.get(identity)?.hearReport(reportFromBytes(bytes), nowMs);
    this._sender.hearReport(identity, bytes, nowMs);
  }

  _tick() {
    const nowMs = performance.now();
    const silent = !this._listens && nowMs - this._soundAliveMs > SILENT_MICROPHONE_MS;
    const { direct, relayed, sealBytes } = this._room.ways;
    this._sender.notePaths(direct, relayed, sealBytes, nowMs);
    this._sender.tick(nowMs);
    for (const [identity, receiver] of this._receivers) {
      const report = receiver.report(nowMs);
      if (report) this._room.sendReport(identity, report);
    }
    this._room.tick((info) => ({
      muted: this.muted || this._listens,
      silent_microphone: silent,
      foreign: !this._understands(info),
    }));
    const state = this._state(nowMs, silent);
    if (++this._ticks % TICKS_PER_NOTE === 0) this._sender.noteWire(1_000 * state.sentKbps, nowMs);
    tell({ type: 'state', state });
  }

  /**
   * @param {number} nowMs
   * @param {boolean} silent
   */
  _state(nowMs, silent) {
    const { relay } = this._room;
    const sent = relay.sentBytes + this._directBytes.sent;
    const received = relay.receivedBytes + this._directBytes.received;
    this._noted.push({ atMs: nowMs, sent, received, busyMs: this._busyMs });
    while (this._noted.length > 2 && nowMs - this._noted[1].atMs >= RATE_WINDOW_MS) this._noted.shift();
    const [before] = this._noted;
    const elapsedMs = Math.max(1, nowMs - before.atMs);
    const peers = this._room.peers.map(({ info, ...rest }) => {
      const stats = this._receivers.get(info.identity)?.stats ?? null;
      const roundTripMs = this._sender.roundTripsMs.get(info.identity) ?? null;
      return { ...info, ...rest, understood: this._understands(info), stats, roundTripMs };
    });
    const strangers = this._room.strangers.map(({ info, seal }) => ({ ...info, seal }));
    return {
      connected: relay.connected,
      joinedMs: this._joinedMs,
      nowMs,
      peers,
      strangers,
      sealed: this._sealed,
      unopened: this._room.unopened,
      talking: this._activity.talking && !this.muted,
      levelRms: this._activity.levelRms,
      silentMicrophone: silent,
      bitrate: this._sender.bitrate,
      copies: this._sender.ages.length,
      plan: this._sender.plan,
      payloadBytes: this._sender.payloadBytes,
      packets: this._sender.packets,
      sentBytes: sent,
      receivedBytes: received,
      sentKbps: (8 * (sent - before.sent)) / elapsedMs,
      receivedKbps: (8 * (received - before.received)) / elapsedMs,
      cpuShare: (this._busyMs - before.busyMs) / elapsedMs,
      readyMs: this._ready.ms,
      missed: this._missed,
    };
  }
}

/**
 * The mean of all channels, of sound that is let go of.
 * @param {any} sound AudioData
 */
function mono(sound) {
  const { numberOfFrames: count, numberOfChannels: channels } = sound;
  const samples = new Float32Array(count);
  const plane = channels > 1 ? new Float32Array(count) : samples;
  for (let planeIndex = 0; planeIndex < channels; planeIndex++) {
    sound.copyTo(plane, { planeIndex, format: 'f32-planar' });
    if (plane !== samples) for (let k = 0; k < count; k++) samples[k] += plane[k] / channels;
  }
  sound.close();
  return samples;
}

/** @param {JoinMessage} message */
async function join(message) {
  try {
    loading ??= Codec.load(readFrom(message.files), { resample: true });
    const roomKey = message.passphrase ? await keyOf(message) : null;
    conversation = new Conversation(await loading, message, roomKey);
    tell({ type: 'loaded', rates: (await loading).deviceRates });
  } catch (error) {
    loading = undefined;
    const sentence =
      error instanceof CallError ? error.message
      : error instanceof LoadError || error instanceof AudioFormatError ? `${error.message}.`
      : `The codec cannot be started here: ${error}.`;
    tell({ type: 'failed', sentence });
  }
}

/** @param {JoinMessage} message */
async function keyOf({ passphrase, fields }) {
  if (!(await hasCurve())) {
    throw new CallError(
      'This browser cannot agree on keys (it has no X25519): Chrome 133, Firefox 130 or Safari 17 and newer can, or join without a passphrase.',
    );
  }
  return roomKeyFromPassphrase(passphrase, fields.room);
}

/** @param {MessageEvent} event */
scope.onmessage = ({ data }) => {
  if (data.type === 'join') void join(data);
  else if (data.type === 'card') conversation?.connectCard(data.port, data.cardHz, data.heard, data.played);
  else if (data.type === 'microphone') void conversation?.readMicrophone(data.readable);
  else if (data.type === 'pace') conversation?.setPace(data.identity, data.generation, data.writable);
  else if (data.type === 'mute') conversation && (conversation.muted = data.muted);
  else if (data.type === 'listens') conversation?.setListens(data.listens);
  else if (data.type === 'change') conversation?.change(data);
  else if (data.type === 'signal-line') conversation?.room.signal(data.identity, data.data);
  else if (data.type === 'line') hearLine(data);
  else if (data.type === 'channel') conversation?.room.line(data.identity)?.hearChannel(data.data, performance.now());
  else if (data.type === 'wire') conversation?.noteDirect(data);
  else if (data.type === 'leave') void leave();
};

async function leave() {
  const ending = conversation;
  conversation = undefined;
  await ending?.leave();
  tell({ type: 'left' });
}

/** @param {{identity: string, generation: number, event: 'fresh' | 'channel' | 'media' | 'closed'}} message */
function hearLine({ identity, generation, event }) {
  const line = conversation?.room.line(identity);
  if (!line) return;
  if (event === 'channel') line.channelOpen = true;
  else if (event === 'media') line.mediaReady = true;
  else line.restart(event === 'fresh' ? generation : 0);
}

// Coded audio on its way through a connection of the page's: ours goes out in place of the browser's, and theirs never
// reaches its decoder.
/** @param {{transformer: any}} event */
scope.onrtctransform = ({ transformer }) => {
  const { identity, generation, side } = transformer.options;
  const writer = transformer.writable.getWriter();
  const reader = transformer.readable.getReader();
  const pump = async () => {
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) return;
      const line = conversation?.room.line(identity);
      if (!line || line.generation !== generation) continue;
      const ticks = frame.getMetadata().rtpTimestamp ?? frame.timestamp;
      if (side === 'receive') {
        line.hearMedia(new Uint8Array(frame.data), ticks, performance.now());
        continue;
      }
      const data = line.nextFrame(ticks, performance.now());
      if (data === null) continue;
      frame.data = new Uint8Array(data).buffer;
      await writer.write(frame);
    }
  };
  pump().catch(() => undefined);
};
