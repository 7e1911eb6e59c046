// The lossless tier's decoder: `streamcodec/codec/lossless/{engine,tier}.py`, where the layout is given.

import { crc32 } from './crc32.js';
import { DamagedPayload } from './errors.js';
import { Tier } from './packet.js';

/** @typedef {import('./packet.js').Packet} Packet */
/** @typedef {import('./waveform.js').WaveformCodec} WaveformCodec */
/** @typedef {import('./waveform.js').WaveformStream} WaveformStream */


const CONSTANT = 1;
const RAW = 2;
const [KIND, KEY, LENGTH, SHIFT, UNKNOWN] = [3, 4, 8, 16, 224];
const FORMAT_BYTES = 7;
const LEAST_BITS = 8;
const MOST_BLOCK_SAMPLES = 8_192;
const BLOCK_MS = 20;

/** @typedef {{rateHz: number, channels: number, bits: number, blockSamples: number}} LosslessFormat */

/**
 * What a key block says of its stream; null for another block, or where it says what cannot be.
 * @param {Uint8Array} payload
 * @returns {LosslessFormat | null}
 */
export function losslessFormat(payload) {
  if (payload.length < 2 + FORMAT_BYTES || !(payload[0] & KEY)) return null;
  const [bits, channels] = payload.subarray(2);
  const rateHz = (payload[4] << 16) | (payload[5] << 8) | payload[6];
  const blockSamples = (payload[7] << 8) | payload[8];
  const sound = rateHz >= 8_000 && rateHz <= 96_000 && (channels === 1 || channels === 2);
  if (!sound || bits < LEAST_BITS || bits > 24 || blockSamples < 1 || blockSamples > MOST_BLOCK_SAMPLES) return null;
  return { rateHz, channels, bits, blockSamples };
}

/** Blocks of one stream, bit for bit; after a gap or damage it waits for the next key block. */
class Engine {
  /**
   * @param {WaveformCodec} codec
   * @param {LosslessFormat} form
   */
  constructor(codec, form) {
    this._codec = codec;
    this.form = form;
    this._stream = /** @type {WaveformStream} */ (codec.open(`lossless-${form.channels}`));
    this._inStep = false;
    this._counter = 0;
    this._shift = 0;
  }

  close() {
    this._codec.close(this._stream);
  }

  /**
   * Interleaved samples of one block. Throws DamagedPayload; payloads are then refused until the next key block.
   * @param {Uint8Array} payload
   */
  decode(payload) {
    const inStep = this._inStep;
    this._inStep = false;
    let at = 0;
    const take = (/** @type {number} */ count) => {
      if (at + count > payload.length) throw new DamagedPayload(`a payload of ${payload.length} bytes ends too early`);
      at += count;
      return payload.subarray(at - count, at);
    };
    const [flags, counter] = take(2);
    if (flags & UNKNOWN || (flags & KIND) > RAW) throw new DamagedPayload('flags that this build does not know');
    if (flags & KEY) {
      take(FORMAT_BYTES);
      const form = losslessFormat(payload);
      if (form === null || form.channels !== this.form.channels) throw new DamagedPayload('a damaged format');
      this.form = form;
      this._restart(0);
    } else if (!inStep || counter !== this._counter) {
      throw new DamagedPayload('depends on blocks that are missing');
    }
    const { form } = this;
    let count = form.blockSamples;
    if (flags & LENGTH) {
      const [high, low] = take(2);
      count = (high << 8) | low;
      if (count < 1 || count > form.blockSamples) throw new DamagedPayload(`claims ${count} samples`);
    }
    if (flags & SHIFT) {
      const [shift] = take(1);
      if (shift >= form.bits) throw new DamagedPayload(`a shift of ${shift} for ${form.bits} bits`);
      this._restart(shift);
    }
    const [a, b, c, d] = take(4);
    const samples = this._samples(flags & KIND, count, payload.subarray(at));
    if (crc32(new Uint8Array(samples.buffer)) !== ((a << 24) | (b << 16) | (c << 8) | d) >>> 0) {
      throw new DamagedPayload('does not match its checksum');
    }
    this._counter = (counter + 1) & 255;
    this._inStep = true;
    return samples;
  }

  /** @param {number} shift */
  _restart(shift) {
    this._codec.restart(this._stream);
    this._shift = shift;
  }

  /**
   * @param {number} kind
   * @param {number} count
   * @param {Uint8Array} body
   */
  _samples(kind, count, body) {
    const { _codec: codec, _stream: stream, _shift: shift } = this;
    const { channels, bits } = this.form;
    const samples = new Int32Array(count * channels);
    if (kind === CONSTANT) {
      if (body.length) {
        const first = unpack(body, 3, channels);
        samples.forEach((_, k) => (samples[k] = first[k % channels]));
      }
      return samples;
    }
    const coded = Math.max(bits - shift, LEAST_BITS);
    const place = codec.ints(stream.at('samples'), samples.length);
    if (kind === RAW) {
      samples.set(unpack(body, (bits + 7) >> 3, samples.length));
      place.set(samples);
      codec.kernels.lossless_follow(stream.table, count, coded, shift);
      return samples;
    }
    codec.bytes(stream.at('payload'), body.length).set(body);
    place.fill(0);
    codec.kernels.lossless_decode(stream.table, body.length, count, coded, shift);
    samples.set(place);
    return samples;
  }
}

/**
 * Big-endian integers of so many bytes.
 * @param {Uint8Array} body
 * @param {number} sampleBytes
 * @param {number} count
 */
function unpack(body, sampleBytes, count) {
  if (body.length !== count * sampleBytes) throw new DamagedPayload(`${body.length} bytes of raw samples`);
  const samples = new Int32Array(count);
  for (let k = 0; k < count; k++) {
    let value = (body[k * sampleBytes] << 24) >> 24;
    for (let byte = 1; byte < sampleBytes; byte++) value = (value << 8) | body[k * sampleBytes + byte];
    samples[k] = value;
  }
  return samples;
}

/**
 * Packets in order become sound; a block that cannot be decoded is replaced by the one before it, backwards and fading
 * out, and those after it, up to the next key block, by silence.
 */
export class LosslessDecoder {
  /**
   * @param {WaveformCodec} codec
   * @param {{rateHz: number, channels: number, bits: number}} form
   */
  constructor(codec, { rateHz, channels, bits }) {
    this._form = { rateHz, channels, bits };
    this._engine = new Engine(codec, { rateHz, channels, bits, blockSamples: Math.floor((rateHz * BLOCK_MS) / 1_000) });
    this.sampleRate = rateHz;
    this.channels = channels;
    this.delaySamples = 0;
    /** Blocks that were made up. */
    this.concealed = 0;
    /** @type {Int32Array | null} */
    this._last = null;
  }

  get blockSamples() {
    return this._engine.form.blockSamples;
  }

  /**
   * Sound of the next block, a plane for each channel; full scale is 1, and 24 bits fit exactly. Null for a lost one.
   * @param {Packet | null} packet
   * @returns {Float32Array<ArrayBuffer>[]}
   */
  push(packet) {
    let samples;
    try {
      samples = this._engine.decode(packet && this._isOurs(packet) ? packet.payload : new Uint8Array(0));
      this._last = samples;
    } catch (error) {
      if (!(error instanceof DamagedPayload)) throw error;
      this.concealed += 1;
      samples = this._concealed();
    }
    const { channels, bits } = this._form;
    const scale = 2 ** (1 - bits);
    const sound = samples;
    return Array.from({ length: channels }, (_, channel) =>
      Float32Array.from({ length: sound.length / channels }, (_, k) => sound[k * channels + channel] * scale),
    );
  }

  close() {
    this._engine.close();
  }

  /** @param {Packet} packet */
  _isOurs({ tier, payload }) {
    if (tier !== Tier.LOSSLESS) return false;
    if (!payload.length || !(payload[0] & KEY)) return true;
    const form = losslessFormat(payload);
    const { rateHz, channels, bits } = this._form;
    return form !== null && form.rateHz === rateHz && form.channels === channels && form.bits === bits;
  }

  _concealed() {
    const { channels } = this._form;
    const last = this._last;
    const block = new Int32Array(this.blockSamples * channels);
    if (last) {
      const count = Math.min(last.length, block.length) / channels;
      const whole = last.length / channels;
      for (let n = 0; n < count; n++) {
        const fade = Math.cos(whole > 1 ? (Math.PI / 2) * (n / (whole - 1)) : 0);
        for (let channel = 0; channel < channels; channel++) {
          block[n * channels + channel] = Math.round(last[(whole - 1 - n) * channels + channel] * fade);
        }
      }
      this._last = null;
    }
    return block;
  }
}

