// One sender's packets in, its sound out: jitter buffer, decoder, time scaling, level, reports. As Python's
// `MediaReceiver` and `Playout`.

import { Decoder } from './decoder.js';
import { AudioFormatError } from './errors.js';
import { piecesOf } from './fragments.js';
import { JitterBuffer, framesOf } from './jitter_buffer.js';
import { LosslessDecoder } from './lossless.js';
import { NearLosslessDecoder, blockPacket } from './near_lossless.js';
import { Tier } from './packet.js';
import { ReceptionMonitor, reportToBytes } from './report.js';
import { Resampler } from './resampler.js';
import { formatOf, sameFormat } from './stream_format.js';
import { accelerate, expand } from './time_scale.js';
import { VoiceActivity } from './voice_activity.js';

/** @typedef {import('./packet.js').Packet} Packet */
/** @typedef {import('./stream_format.js').StreamFormat} StreamFormat */
/** @typedef {import('./waveform.js').WaveformCodec} WaveformCodec */

/** What a packet has around its payload, and takes on a direct line; the same for a piece; as Python counts for reports. */
const AROUND_PAYLOAD_BYTES = 10;
const HEADER_BYTES = 42;
const PIECE_HEADER_BYTES = 96;
/** Share of the loudest of late below which a packet is taken for a pause. */
const PAUSE = 0.06;
const NEAR_FLOOR = 2;
const PAUSE_S = 0.12;
const INAUDIBLE = 1e-4;
/** How the loudest fades, a packet. */
const FORGOTTEN = 0.997;

/**
 * The first packet that tells its format decides how long packets are, and that no other tier is taken.
 */
export class Receiver {
  /**
   * @param {import('./codec.js').Codec} codec
   * @param {{cardHz?: number, waveform?: () => WaveformCodec | null}} [options] `cardHz`: the sound card's rate, at which
   *   streams that have it are given untouched; `waveform`: what decodes the waveform tiers, once it is there.
   */
  constructor(codec, { cardHz = 0, waveform = () => null } = {}) {
    this._codec = codec;
    this._cardHz = cardHz;
    this._waveform = waveform;
    /** Samples a second of what {@link Receiver.pull} gives. */
    this.rateHz = codec.layout.sampleRate;
    this._decoder = new Decoder(codec);
    /** @type {LosslessDecoder | NearLosslessDecoder | null} In place of it, for a waveform tier. */
    this._exact = null;
    /** @type {Resampler | null} */
    this._resampler = null;
    /** @type {StreamFormat | null} */
    this._form = null;
    this._buffer = new JitterBuffer();
    this._monitor = new ReceptionMonitor();
    this._activity = new VoiceActivity(this.rateHz);
    /** @type {Uint8Array | null} */
    this._read = null;
    this._usable = false;
    /** @type {Float32Array} */
    this._queue = new Float32Array(0);
    /** Packets of another tier or format than the stream's, or of one that is not decoded here. */
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
    const { firstSoundMs, _form: form } = this;
    const tier = form ? form.tier : null;
    return { ...this._buffer.stats, accelerated, expanded, foreign, talking, levelRms, firstSoundMs, tier };
  }

  /**
   * @param {Packet} packet
   * @param {number} nowMs
   */
  receive(packet, nowMs) {
    if (!this._fits(packet)) return;
    const copies = packet.redundant.reduce((bytes, copy) => bytes + copy.payload.length + 3, 0);
    const whole = packet.payload.length + copies + AROUND_PAYLOAD_BYTES;
    const pieces = piecesOf(whole);
    const wireBytes = whole + (pieces === 1 ? HEADER_BYTES : pieces * PIECE_HEADER_BYTES);
    for (const frame of framesOf(packet)) {
      this._monitor.observe(frame, frame.part ? 0 : wireBytes, nowMs);
      this._buffer.put(frame, nowMs);
    }
  }

  /**
   * Whether a packet is of the stream; the first that tells its format begins one.
   * @param {Packet} packet
   */
  _fits(packet) {
    const told = formatOf(packet);
    if (this._form === null) {
      if (told === null) return false; // Before the first key packet, which is on its way.
      if (told.tier !== Tier.NEURAL && !this._begin(told)) return false;
      this._form = told;
      return true;
    }
    // A stream keeps its format: one that changed it from packet to packet would have decoders made without end.
    const fits = packet.tier === this._form.tier && (told === null || sameFormat(told, this._form));
    this.foreign += Number(!fits);
    return fits;
  }

  /**
   * @param {StreamFormat} form of a waveform tier
   * @returns {boolean} whether it is decoded here, and now
   */
  _begin(form) {
    const codec = this._waveform();
    if (!codec) return false;
    try {
      const near = form.tier === Tier.NEAR_LOSSLESS;
      if (near && !codec.layout.rates.includes(form.rateHz)) {
        throw new AudioFormatError(`there are no tables for ${form.rateHz} Hz`);
      }
      const exact = near ? new NearLosslessDecoder(codec, form) : new LosslessDecoder(codec, form);
      if (exact.blockSamples !== form.blockSamples && near) throw new AudioFormatError('blocks of an unusual length');
      if (form.rateHz === this._cardHz) this.rateHz = form.rateHz;
      else if (form.rateHz !== this.rateHz) this._resampler = new Resampler(this._codec, form.rateHz, this.rateHz);
      this._exact = exact;
    } catch (error) {
      if (!(error instanceof AudioFormatError)) throw error;
      this.foreign += 1;
      return false;
    }
    // Nothing has been put into the buffer yet.
    this._buffer = new JitterBuffer(form.packetMs);
    this._monitor = new ReceptionMonitor(form.packetMs);
    this._activity = new VoiceActivity(this.rateHz);
    return true;
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
    const blockMs = (1_000 * count) / this.rateHz;
    let filled = 0;
    // A few frames beyond the duration asked for cover what time scaling takes out.
    let attempts = 4 + Math.floor((2 * blockMs) / (this._form?.packetMs ?? blockMs));
    for (;;) {
      const part = this._queue.subarray(0, count - filled);
      out.set(part, filled);
      filled += part.length;
      this._queue = this._queue.subarray(part.length);
      if (filled === count || attempts-- === 0) break;
      const decision = this._buffer.get(nowMs, blockMs, (1_000 * filled) / this.rateHz);
      if (decision.kind === 'wait') break;
      this._queue = decision.kind === 'play' ? this._play(decision, nowMs) : this._conceal(decision);
    }
    this._activity.hear(out);
    return out;
  }

  close() {
    this._decoder.close();
    this._exact?.close();
  }

  /**
   * @param {import('./jitter_buffer.js').Decision & {kind: 'play'}} decision
   * @param {number} nowMs
   */
  _play({ frame, scale, mostMs }, nowMs) {
    const block = this._decode(frame);
    this.firstSoundMs ??= nowMs;
    const pausing = this._pausing(block);
    if (scale === 'keep' || this._form?.tier === Tier.LOSSLESS || (scale.endsWith('pause') && !pausing)) return block;
    const force = pausing || scale.endsWith('now');
    const scaled = scale.startsWith('accelerate')
      ? accelerate(block, this.rateHz, force, mostMs)
      : expand(block, this.rateHz, force);
    this.accelerated += Number(scaled.length < block.length);
    this.expanded += Number(scaled.length > block.length);
    return scaled;
  }

  /**
   * @param {import('./jitter_buffer.js').Frame} frame
   * @returns {Float32Array}
   */
  _decode({ packet, part, flags }) {
    if (this._exact) return this._converted(this._exact.push(packet.frames > 1 ? blockPacket(packet, part) : packet));
    if (this._read !== packet.payload) {
      this._read = packet.payload;
      this._usable = this._decoder.read(packet);
    }
    return this._usable ? this._decoder.play(part, flags) : this._decoder.conceal();
  }

  /** @param {import('./jitter_buffer.js').Decision & {kind: 'lost' | 'silence'}} decision */
  _conceal(decision) {
    if (this._exact) return this._converted(this._exact.push(null));
    return this._decoder.conceal(decision.kind === 'lost' ? decision.following : null);
  }

  /**
   * Mixed down to mono, at the rate at which sound is given.
   * @param {Float32Array[]} planes
   * @returns {Float32Array}
   */
  _converted([first, second]) {
    const mono = second ? first.map((sample, k) => (sample + second[k]) / 2) : first;
    return this._resampler ? this._resampler.process(mono) : mono;
  }

  /** @param {Float32Array} block */
  _pausing(block) {
    let sum = 0;
    for (let k = 0; k < block.length; k++) sum += block[k] * block[k];
    const rms = Math.sqrt(sum / Math.max(1, block.length));
    this._loudest = Math.max(rms, FORGOTTEN * this._loudest);
    this._quietest = Math.max(Math.min(rms, this._quietest / FORGOTTEN), INAUDIBLE);
    const quiet = rms <= Math.min(PAUSE * this._loudest, NEAR_FLOOR * this._quietest);
    this._quietSamples = quiet ? this._quietSamples + block.length : 0;
    return this._quietSamples > PAUSE_S * this.rateHz;
  }
}
