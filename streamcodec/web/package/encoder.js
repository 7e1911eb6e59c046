import { AudioFormatError } from './errors.js';
import { MAX_FRAMES, MODULUS, Packet, Tier } from './packet.js';

/** @typedef {import('./codec.js').Codec} Codec */

const FRAME_MS = 20;
const LEAST_BPS = 1_000;
const MOST_BPS = 24_000;
const RECENT_PACKETS = 9;

/**
 * @typedef {object} EncoderSettings
 * @property {number} [bitrate] Bits a second on average, 1,000 to 24,000; 6,000 unless given.
 * @property {'independent' | 'stream'} [mode] Packets decode alone, or lean on those before.
 * @property {number} [packetMs] 20, 40, ... 120.
 * @property {boolean} [dtx] Send next to nothing while there is only background.
 * @property {number} [keyPeriod] Seconds between key packets in stream mode.
 */

/** Sound at 24 kHz becomes packets. As Python's `StreamEncoder`, whose packets these are. */
export class Encoder {
  /**
   * @param {Codec} codec
   * @param {EncoderSettings} [settings]
   */
  constructor(codec, { bitrate = 6_000, mode = 'independent', packetMs = 20, dtx = false, keyPeriod = 1 } = {}) {
    if (mode !== 'independent' && mode !== 'stream') {
      throw new AudioFormatError(`mode must be 'independent' or 'stream', got ${String(mode)}`);
    }
    if (!(keyPeriod > 0)) throw new AudioFormatError(`keyPeriod must be a time in seconds, got ${keyPeriod}`);
    this._settings = { bitrate: checkBitrate(bitrate), mode, dtx, keyPeriod };
    this._frames = this._wantedFrames = framesOf(codec, packetMs);
    this._codec = codec;
    this._stream = codec.open('encoder');
    this._closed = false;
    /** What a frame still lacks is filled up. */
    this._pending = new Float32Array(codec.layout.frameSamples);
    this._filled = 0;
    /** Frames of the packet that have been collected. */
    this._collected = 0;
    this._sequence = 0;
    this._timestamp = 0;
    /** @type {number[]} Sequence numbers of the last packets. */
    this._recent = [];
    this._start();
  }

  /** Samples a second. */
  get sampleRate() {
    return this._codec.layout.sampleRate;
  }

  /** Samples that make a packet. */
  get blockSamples() {
    return this._frames * this._codec.layout.frameSamples;
  }

  /**
   * Take any number of samples, give the packets that they complete.
   * @param {Float32Array} samples mono, full scale 1
   * @returns {Packet[]}
   */
  push(samples) {
    this._open();
    if (!(samples instanceof Float32Array)) throw new AudioFormatError('an encoder takes a Float32Array');
    const packets = [];
    for (let taken = 0; taken < samples.length; ) {
      const part = samples.subarray(taken, taken + this._pending.length - this._filled);
      this._pending.set(part, this._filled);
      taken += part.length;
      this._filled += part.length;
      if (this._filled === this._pending.length) {
        const packet = this._collect();
        if (packet) packets.push(packet);
      }
    }
    return packets;
  }

  /**
   * Packets that carry what is still inside, so that a decoder gives out every sample pushed.
   * @returns {Packet[]}
   */
  flush() {
    const { layout } = this._codec;
    const inside = this._collected * layout.frameSamples + this._filled;
    // 8 ms for what any decoder lags by, as Python's encoder allows.
    const needed = inside + Math.floor(0.008 * layout.sampleRate);
    const blocks = Math.ceil(needed / this.blockSamples);
    return this.push(new Float32Array(blocks * this.blockSamples - inside));
  }

  /**
   * One of the last 9 packets again, at about a share of its rate, to ride along with others; null where it is older,
   * and in stream mode. Where packets have changed their length, `packet` may also name a stretch of frames, by
   * `sequence` and `frames`, that begins and ends within packets. Packets to come are not affected.
   * @param {{sequence: number, frames: number, qualityIndex: number}} packet
   * @param {number} [share]
   * @returns {{qualityIndex: number, payload: Uint8Array} | null}
   */
  encodeRedundant({ sequence, frames, qualityIndex }, share = 0.5) {
    const codec = this._open();
    const into = (/** @type {number} */ start) => (sequence - start + MODULUS) % MODULUS;
    const at = this._recent.findLastIndex((start) => into(start) < MAX_FRAMES);
    if (at < 0) return null;
    const age = this._recent.length - 1 - at;
    const first = into(this._recent[at]);
    const length = codec.kernels.encoder_copy(codec.constants, this._stream, age, first, frames, qualityIndex, share);
    if (length < 0) return null;
    const { payload, copyQualityIndex } = codec.layout.encoder;
    return {
      qualityIndex: codec.int64(this._stream + copyQualityIndex),
      payload: codec.bytes(this._stream + payload, length).slice(),
    };
  }

  /**
   * Aim at another rate from the next packet on.
   * @param {number} bitrate bits a second
   */
  setBitrate(bitrate) {
    const { kernels, constants } = this._open();
    this._settings.bitrate = checkBitrate(bitrate);
    kernels.encoder_set_bitrate(constants, this._stream, bitrate);
  }

  /**
   * Whether next to nothing is sent while there is only background, from the next packet on.
   * @param {boolean} dtx
   */
  setDtx(dtx) {
    const codec = this._open();
    this._settings.dtx = dtx;
    codec.setInt64(this._stream + codec.layout.encoder.dtx, Number(dtx));
  }

  /**
   * Packets of another length; one that has begun is finished first.
   * @param {number} packetMs 20, 40, ... 120
   */
  setPacketMs(packetMs) {
    this._wantedFrames = framesOf(this._open(), packetMs);
    if (this._collected === 0) this._takeFrames();
  }

  /** Back to the start of a stream. */
  reset() {
    this._open().restart('encoder', this._stream);
    this._frames = this._wantedFrames;
    this._filled = this._collected = this._sequence = this._timestamp = 0;
    this._recent = [];
    this._start();
  }

  /** Give the memory back; nothing may be called any more. */
  close() {
    if (!this._closed) this._codec.close('encoder', this._stream);
    this._closed = true;
  }

  _open() {
    if (this._closed) throw new AudioFormatError('this encoder has been closed');
    return this._codec;
  }

  _start() {
    const { bitrate, mode, dtx, keyPeriod } = this._settings;
    const { kernels, constants } = this._codec;
    const interCoded = Number(mode === 'stream');
    kernels.encoder_start(constants, this._stream, bitrate, this._frames, interCoded, Number(dtx), keyPeriod);
  }

  _takeFrames() {
    if (this._wantedFrames === this._frames) return;
    const { kernels, constants } = this._codec;
    kernels.encoder_set_frames(constants, this._stream, this._wantedFrames);
    this._frames = this._wantedFrames;
  }

  /** @returns {Packet | null} */
  _collect() {
    const { kernels, constants, layout } = this._codec;
    const place = layout.encoder;
    const block = this._codec.floats(this._stream + place.block, layout.frameSamples);
    const limit = layout.sampleLimit;
    // What is no number would stay in the filters for good.
    for (let k = 0; k < block.length; k++) {
      const sample = this._pending[k];
      block[k] = Number.isNaN(sample) ? 0 : Math.min(Math.max(sample, -limit), limit);
    }
    this._filled = 0;
    kernels.encoder_collect(constants, this._stream, this._collected++);
    if (this._collected < this._frames) return null;
    this._collected = 0;
    const length = kernels.encoder_code(constants, this._stream);
    const frames = this._frames;
    const timestamp = this._timestamp;
    this._timestamp = (timestamp + frames) % MODULUS;
    this._takeFrames();
    if (length < 0) return null;
    const sequence = this._sequence;
    this._sequence = (sequence + frames) % MODULUS;
    this._recent.push(sequence);
    if (this._recent.length > RECENT_PACKETS) this._recent.shift();
    return new Packet({
      tier: Tier.NEURAL,
      sequence,
      timestamp,
      qualityIndex: this._codec.int64(this._stream + place.qualityIndex),
      flags: this._codec.int64(this._stream + place.flags),
      payload: this._codec.bytes(this._stream + place.payload, length).slice(),
      frames,
    });
  }
}

/** @param {number} bitrate */
function checkBitrate(bitrate) {
  if (!(bitrate >= LEAST_BPS && bitrate <= MOST_BPS)) {
    throw new AudioFormatError(`bitrate must be ${LEAST_BPS} to ${MOST_BPS} bits a second, got ${bitrate}`);
  }
  return bitrate;
}

/**
 * @param {Codec} codec
 * @param {number} packetMs
 */
function framesOf(codec, packetMs) {
  const frames = packetMs / FRAME_MS;
  if (!Number.isInteger(frames) || frames < 1 || frames > codec.layout.maxFrames) {
    throw new AudioFormatError(`packetMs must be 20, 40, ... ${FRAME_MS * codec.layout.maxFrames}, got ${packetMs}`);
  }
  return frames;
}
