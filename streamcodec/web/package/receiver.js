// One sender's packets in, its sound out: jitter buffer, decoder, time scaling, level, reports. As Python's
// `MediaReceiver` and `Playout`.

import { Decoder } from './decoder.js';
import { JitterBuffer, framesOf } from './jitter_buffer.js';
import { Tier } from './packet.js';
import { ReceptionMonitor, reportToBytes } from './report.js';
import { accelerate, expand } from './time_scale.js';
import { VoiceActivity } from './voice_activity.js';

/** @typedef {import('./packet.js').Packet} Packet */

const FRAME_MS = 20;
/** What a packet takes on a direct line beside its payload, as Python counts it for reports. */
const AROUND_PAYLOAD_BYTES = 52;
/** Share of the loudest of late below which a packet is taken for a pause. */
const PAUSE = 0.06;
const NEAR_FLOOR = 2;
const PAUSE_S = 0.12;
const INAUDIBLE = 1e-4;
/** How the loudest fades, a packet. */
const FORGOTTEN = 0.997;

export class Receiver {
  /** @param {import('./codec.js').Codec} codec */
  constructor(codec) {
    this._decoder = new Decoder(codec);
    this._rateHz = codec.layout.sampleRate;
    this._buffer = new JitterBuffer();
    this._monitor = new ReceptionMonitor();
    this._activity = new VoiceActivity(this._rateHz);
    /** @type {Uint8Array | null} */
    this._read = null;
    this._usable = false;
    /** @type {Float32Array} */
    this._queue = new Float32Array(0);
    /** Packets of another tier, which this codec does not decode. */
    this.foreign = 0;
    this.accelerated = 0;
    this.expanded = 0;
    this._loudest = 0;
    this._quietest = 1;
    this._quietSamples = 0;
    /** @type {number | null} */
    this.firstSoundMs = null;
  }

  get stats() {
    const { accelerated, expanded, foreign } = this;
    const { talking, levelRms } = this._activity;
    return { ...this._buffer.stats, accelerated, expanded, foreign, talking, levelRms, firstSoundMs: this.firstSoundMs };
  }

  /**
   * @param {Packet} packet
   * @param {number} nowMs
   */
  receive(packet, nowMs) {
    if (packet.tier !== Tier.NEURAL) {
      this.foreign += 1;
      return;
    }
    const copies = packet.redundant.reduce((bytes, copy) => bytes + copy.payload.length + 3, 0);
    for (const frame of framesOf(packet)) {
      this._monitor.observe(frame, frame.part ? 0 : packet.payload.length + copies + AROUND_PAYLOAD_BYTES, nowMs);
      this._buffer.put(frame, nowMs);
    }
  }

  /**
   * The other side's report, to be echoed.
   * @param {import('./report.js').Report} report
   * @param {number} nowMs
   */
  hearReport(report, nowMs) {
    this._monitor.hearReport(report, nowMs);
  }

  /**
   * A report to send back, if one is due.
   * @param {number} nowMs
   */
  report(nowMs) {
    return this._monitor.due(nowMs) ? reportToBytes(this._monitor.report(nowMs, this._buffer.stats)) : null;
  }

  /**
   * The next samples to play; zeros while no stream has begun.
   * @param {number} nowMs
   * @param {number} count
   * @returns {Float32Array}
   */
  pull(nowMs, count) {
    const out = new Float32Array(count);
    const blockMs = (1_000 * count) / this._rateHz;
    let filled = 0;
    // A few frames beyond the duration asked for cover what time scaling takes out.
    let attempts = 4 + Math.floor((2 * blockMs) / FRAME_MS);
    for (;;) {
      const part = this._queue.subarray(0, count - filled);
      out.set(part, filled);
      filled += part.length;
      this._queue = this._queue.subarray(part.length);
      if (filled === count || attempts-- === 0) break;
      const decision = this._buffer.get(nowMs, blockMs, (1_000 * filled) / this._rateHz);
      if (decision.kind === 'wait') break;
      this._queue = decision.kind === 'play' ? this._play(decision, nowMs) : this._decoder.conceal();
    }
    this._activity.hear(out);
    return out;
  }

  close() {
    this._decoder.close();
  }

  /**
   * @param {import('./jitter_buffer.js').Decision & {kind: 'play'}} decision
   * @param {number} nowMs
   */
  _play({ frame, scale, mostMs }, nowMs) {
    const { packet } = frame;
    if (this._read !== packet.payload) {
      this._read = packet.payload;
      this._usable = this._decoder.read(packet);
    }
    const block = this._usable ? this._decoder.play(frame.part, frame.flags) : this._decoder.conceal();
    this.firstSoundMs ??= nowMs;
    const pausing = this._pausing(block);
    if (scale === 'keep' || (scale.endsWith('pause') && !pausing)) return block;
    const force = pausing || scale.endsWith('now');
    const scaled = scale.startsWith('accelerate')
      ? accelerate(block, this._rateHz, force, mostMs)
      : expand(block, this._rateHz, force);
    this.accelerated += Number(scaled.length < block.length);
    this.expanded += Number(scaled.length > block.length);
    return scaled;
  }

  /** @param {Float32Array} block */
  _pausing(block) {
    const rms = Math.sqrt(block.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, block.length));
    this._loudest = Math.max(rms, FORGOTTEN * this._loudest);
    this._quietest = Math.max(Math.min(rms, this._quietest / FORGOTTEN), INAUDIBLE);
    const quiet = rms <= Math.min(PAUSE * this._loudest, NEAR_FLOOR * this._quietest);
    this._quietSamples = quiet ? this._quietSamples + block.length : 0;
    return this._quietSamples > PAUSE_S * this._rateHz;
  }
}
