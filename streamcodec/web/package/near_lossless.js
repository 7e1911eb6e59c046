// The near-lossless tier's decoder: `streamcodec/codec/near_lossless/{engine,spectra,tier}.py`, where the layout is given.
// What is played in gaps is the kernels' of `concealment.py`.

import { crc32 } from './crc32.js';
import { DamagedPayload } from './errors.js';
import { Packet, Tier } from './packet.js';

/** @typedef {import('./waveform.js').WaveformCodec} WaveformCodec */
/** @typedef {import('./waveform.js').WaveformStream} WaveformStream */

const [KEY, STEP, SHAPED, MID_SIDE] = [1, 2, 4, 8];
const RATES_HZ = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];
const OTHER_RATE = 15;
const LEAST_LOG2_BLOCK = 6;
const MOST_BLOCK_SAMPLES = 2_048;
const STEP_INDEXES = 400;
const FULL_SCALE = 32_768;
const LONGEST_BLOCK_MS = 20;
const MOST_LENGTH_BYTES = 3;
/** Ends the name of a bitstream whose packets hold several blocks. */
export const LONG_PACKETS = /-long-packets$/;

/** @typedef {{rateHz: number, channels: number, blockSamples: number, length: number}} NearLosslessFormat */

/**
 * What a key block says of its stream, and in how many bytes; null for another block, or where it says what cannot be.
 * @param {Uint8Array} payload
 * @returns {NearLosslessFormat | null}
 */
export function nearLosslessFormat(payload) {
  if (payload.length < 2 || !(payload[0] & KEY)) return null;
  const mark = payload[1];
  const other = (mark & 15) === OTHER_RATE;
  const rateHz = other ? (payload[2] << 16) | (payload[3] << 8) | payload[4] : RATES_HZ[mark & 15];
  const blockSamples = 1 << (LEAST_LOG2_BLOCK + (mark >> 5));
  if (!(rateHz >= 8_000 && rateHz <= 96_000) || blockSamples > MOST_BLOCK_SAMPLES) return null;
  return { rateHz, channels: ((mark >> 4) & 1) + 1, blockSamples, length: other ? 4 : 1 };
}

/**
 * The payload of one of a packet's blocks, of which all but the last have their length before them; null where it
 * holds no such block.
 * @param {{payload: Uint8Array, frames: number}} packet
 * @param {number} part
 * @returns {Uint8Array | null}
 */
export function blockOf({ payload, frames }, part) {
  let at = 0;
  for (let k = 0; k < frames - 1; k++) {
    let length = 0;
    let count = 0;
    for (let more = true; more; count++) {
      if (count === MOST_LENGTH_BYTES || at >= payload.length) return null;
      length |= (payload[at] & 127) << (7 * count);
      more = payload[at++] >= 128;
    }
    if (at + length > payload.length) return null;
    if (k === part) return payload.subarray(at, at + length);
    at += length;
  }
  return part === frames - 1 ? payload.subarray(at) : null;
}

/**
 * One of a packet's blocks as a packet; without a payload where it holds no such block.
 * @param {Packet} packet
 * @param {number} part
 */
export function blockPacket(packet, part) {
  return new Packet({ ...packet, payload: blockOf(packet, part) ?? new Uint8Array(0), frames: 1 });
}

/**
 * The longest block of a power of two of samples that lasts 20 ms at most.
 * @param {number} rateHz
 */
function defaultBlockSamples(rateHz) {
  return 2 ** Math.floor(Math.log2((rateHz * LONGEST_BLOCK_MS) / 1_000));
}

/**
 * Packets in order become sound, which lags by one block; what cannot be decoded is concealed, up to the next key block.
 */
export class NearLosslessDecoder {
  /**
   * @param {WaveformCodec} codec
   * @param {{rateHz: number, channels: number}} form
   */
  constructor(codec, { rateHz, channels }) {
    this._codec = codec;
    this.sampleRate = rateHz;
    this.channels = channels;
    this.blockSamples = defaultBlockSamples(rateHz);
    /** Blocks that were made up. */
    this.concealed = 0;
    /** @type {boolean | null} Whether the stream is shaped; null before the first key block. */
    this._shaped = null;
    /** @type {WaveformStream | null} */
    this._spectrum = null;
    /** @type {WaveformStream[]} */
    this._transforms = [];
    this._inStep = false;
    /** Whether a block that is no key block was coded since the last key block. */
    this._chained = false;
    this._stepIndex = 0;
    this._counter = 0;
  }

  /** Samples by which the sound lags what was encoded. */
  get delaySamples() {
    return this.blockSamples;
  }

  /**
   * Sound of the packet's blocks from one block before on, a plane for each channel, full scale 1. Null for a lost block.
   * @param {Packet | null} packet
   * @returns {Float32Array<ArrayBuffer>[]}
   */
  push(packet) {
    if (packet && packet.frames > 1) {
      const blocks = Array.from({ length: packet.frames }, (_, k) => this.push(blockPacket(packet, k)));
      return blocks[0].map((_, channel) => joined(blocks.map((block) => block[channel])));
    }
    try {
      this._read(packet && this._isOurs(packet) ? packet.payload : new Uint8Array(0));
    } catch (error) {
      if (!(error instanceof DamagedPayload)) throw error;
      this._inStep = false;
      this.concealed += 1;
      if (!this._spectrum) return Array.from({ length: this.channels }, () => new Float32Array(this.blockSamples));
      this._codec.kernels.spectrum_lose(this._spectrum.table);
      this._eachChannel('conceal');
    }
    this._eachChannel('block');
    return this._transforms.map((transform) =>
      this._codec.floats(transform.at('out'), this.blockSamples).map((sample) => sample / FULL_SCALE),
    );
  }

  close() {
    if (this._spectrum) [this._spectrum, ...this._transforms].forEach((stream) => this._codec.close(stream));
    this._spectrum = null;
    this._transforms = [];
  }

  // -- inside

  /** @param {Packet} packet */
  _isOurs({ tier, payload }) {
    if (tier !== Tier.NEAR_LOSSLESS) return false;
    if (!payload.length || !(payload[0] & KEY)) return true;
    const form = nearLosslessFormat(payload);
    // Encoders make blocks of one length for each rate, and there are transforms for these.
    return (
      form !== null && form.rateHz === this.sampleRate && form.channels === this.channels &&
      form.blockSamples === this.blockSamples
    );
  }

  /**
   * Spectra of a block, into the stream's memory.
   * @param {Uint8Array} payload
   */
  _read(payload) {
    if (payload.length === 0) throw new DamagedPayload('missing');
    const flags = payload[0];
    const counter = flags >> 4;
    const key = (flags & KEY) !== 0;
    const shaped = (flags & SHAPED) !== 0;
    let at = 1;
    if (key) {
      const { length } = /** @type {NearLosslessFormat} */ (nearLosslessFormat(payload));
      const index = (payload[1 + length] << 8) | payload[2 + length];
      if (payload.length < length + 3 || index >= STEP_INDEXES) throw new DamagedPayload('a damaged step index');
      at += length + 2;
      this._prepare(shaped);
      this._stepIndex = index;
    } else if (!this._inStep || counter !== ((this._counter + 1) & 15) || shaped !== this._shaped) {
      throw new DamagedPayload('not the one after the last');
    } else if (flags & STEP) {
      if (payload.length < 2) throw new DamagedPayload('ends before its step');
      this._stepIndex += (payload[1] << 24) >> 24;
      at = 2;
      if (this._stepIndex < 0 || this._stepIndex >= STEP_INDEXES) throw new DamagedPayload('a step out of range');
    }
    this._counter = counter;
    const body = payload.subarray(at);
    const stream = /** @type {WaveformStream} */ (this._spectrum);
    this._chained ||= !key && body.length > 0;
    this._codec.bytes(stream.at('payload'), body.length).set(body);
    // Noise that depends on the payload alone is the same wherever decoding began.
    const split = this._codec.kernels.spectrum_decode(
      stream.table, body.length, Number(shaped), Number(shaped), this._stepIndex, Number(key), crc32(body) | 0,
    );
    if (split === 1) this._eachChannel('join');
    if (flags & MID_SIDE && this.channels === 2) this._rotate();
    this._inStep = true;
  }

  /** @param {boolean} shaped Contexts of a key block. */
  _prepare(shaped) {
    const codec = this._codec;
    if (this._spectrum && shaped === this._shaped) {
      codec.relearn(this._spectrum, this._chained);
      codec.kernels.spectrum_forget(this._spectrum.table);
    } else {
      this.close();
      const word = shaped ? 'shaped' : 'plain';
      const spectrum = codec.open(`spectrum-${word}-${this.sampleRate}-${this.channels}`);
      const transforms = Array.from({ length: this.channels }, () => codec.open(`transform-${word}-${this.blockSamples}`));
      this._spectrum = /** @type {WaveformStream} */ (spectrum);
      this._transforms = /** @type {WaveformStream[]} */ (transforms);
      this._shaped = shaped;
    }
    this._chained = false;
  }

  /** @param {'join' | 'conceal' | 'block'} kernel of transforms */
  _eachChannel(kernel) {
    const { table } = /** @type {WaveformStream} */ (this._spectrum);
    this._transforms.forEach((transform, channel) => {
      this._codec.kernels[`${kernel}_${this.blockSamples}`](transform.table, this._spectrumAt(channel), table, channel);
    });
  }

  /** @param {number} channel */
  _spectrumAt(channel) {
    return /** @type {WaveformStream} */ (this._spectrum).at('spectra') + 4 * channel * this.blockSamples;
  }

  /** Mid and side to left and right. */
  _rotate() {
    const size = this.blockSamples;
    const [one, other] = [0, 1].map((channel) => this._codec.floats(this._spectrumAt(channel), size));
    const half = Math.fround(Math.sqrt(0.5));
    for (let k = 0; k < size; k++) {
      const [mid, side] = [one[k], other[k]];
      one[k] = Math.fround(mid + side) * half;
      other[k] = Math.fround(mid - side) * half;
    }
  }
}

/** @param {Float32Array[]} blocks */
function joined(blocks) {
  const whole = new Float32Array(blocks.reduce((length, block) => length + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}
