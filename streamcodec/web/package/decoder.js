import { AudioFormatError, PacketError } from './errors.js';
import { Flags, Packet, Tier } from './packet.js';

/** @typedef {import('./codec.js').Codec} Codec */

// In place of a frame's number in its packet.
const LOST = -1;
const TAIL = -2;

/**
 * Packets, in order, become sound, 20 ms for each frame, whatever came: damaged, foreign and missing packets are
 * concealed and counted, and nothing is thrown for them. As Python's `StreamDecoder` at 24 kHz.
 */
export class Decoder {
  /** @param {Codec} codec */
  constructor(codec) {
    this._codec = codec;
    this._stream = codec.open('decoder');
    /** Frames that were made up. */
    this.concealed = 0;
    this._closed = false;
  }

  /** Samples a second. */
  get sampleRate() {
    return this._codec.layout.sampleRate;
  }

  /** Samples of one frame. */
  get frameSamples() {
    return this._codec.layout.frameSamples;
  }

  /** Samples by which the sound lags what was encoded. */
  get delaySamples() {
    return this._codec.layout.delaySamples;
  }

  /**
   * Sound of the packet's frames; null says that the next frame is lost. Whoever has the first packet after a gap
   * already gives it as `following` with each null: gaps of up to 80 ms are bridged with it.
   * @param {Packet | Uint8Array | null} packet
   * @param {Packet | Uint8Array | null} [following]
   * @returns {Float32Array}
   */
  push(packet, following = null) {
    const whole = asPacket(packet);
    const behind = packet === null ? asPacket(following) : null;
    if (behind) return this.conceal({ packet: behind, part: 0 });
    const frames = whole?.frames ?? 1;
    const usable = whole !== null && this.read(whole);
    const out = new Float32Array(frames * this.frameSamples);
    for (let k = 0; k < frames; k++) {
      out.set(usable ? this.play(k, whole.flags) : this.conceal(), k * this.frameSamples);
    }
    return out;
  }

  /**
   * The next frame is one of a packet's, or lost: for receivers that play frames at their own times.
   * @param {Packet} packet
   * @returns {boolean} whether its frames can be played
   */
  read(packet) {
    if (!this._hand(packet)) return false;
    const { kernels, constants } = this._open();
    const { qualityIndex, isKey, timestamp, frames, payload } = packet;
    return (
      kernels.decoder_read(constants, this._stream, qualityIndex, Number(isKey), timestamp, frames, payload.length) === 1
    );
  }

  /**
   * Put a packet's payload where the kernels read it.
   * @param {Packet} packet
   * @returns {boolean} whether it is of the tier, and fits
   */
  _hand({ tier, payload: bytes }) {
    const { payload, payloadBytes } = this._open().layout.decoder;
    if (tier !== Tier.NEURAL || bytes.length > payloadBytes) return false;
    this._codec.bytes(this._stream + payload, bytes.length).set(bytes);
    return true;
  }

  /**
   * Sound of one frame of the packet read last.
   * @param {number} part
   * @param {number} flags
   * @returns {Float32Array}
   */
  play(part, flags) {
    const { kernels, constants } = this._open();
    kernels.decoder_play(constants, this._stream, part, Number((flags & Flags.SILENCE) !== 0));
    return this._sound();
  }

  /**
   * Sound in place of a frame that is missing.
   * @param {{packet: Packet, part: number} | null} [following] The next frame that is there.
   * @returns {Float32Array}
   */
  conceal(following = null) {
    const { kernels, constants } = this._open();
    if (following) this._lookAhead(following);
    this.concealed += 1;
    kernels.decoder_play(constants, this._stream, LOST, 0);
    return this._sound();
  }

  /** @param {{packet: Packet, part: number}} following */
  _lookAhead({ packet, part }) {
    if (!packet.isKey || !this._hand(packet)) return;
    const { kernels, constants } = this._open();
    const { payload, qualityIndex, timestamp, frames } = packet;
    kernels.decoder_look_ahead(constants, this._stream, qualityIndex, timestamp, frames, payload.length, part);
  }

  /**
   * The tail of the last frame.
   * @returns {Float32Array}
   */
  flush() {
    const { kernels, constants } = this._open();
    kernels.decoder_play(constants, this._stream, TAIL, 0);
    return this._sound().slice(0, this.delaySamples);
  }

  /**
   * Quantisation indices of the packet read last.
   * @param {number} part
   * @returns {Int32Array}
   */
  indices(part = 0) {
    const { layout, memory } = this._open();
    const start = this._stream + layout.decoder.indices + 4 * part * layout.latents;
    return new Int32Array(memory.buffer, start, layout.latents).slice();
  }

  /** Back to the start of a stream. */
  reset() {
    this._open().restart('decoder', this._stream);
    this.concealed = 0;
  }

  /** Give the memory back; nothing may be called any more. */
  close() {
    if (!this._closed) this._codec.close('decoder', this._stream);
    this._closed = true;
  }

  _open() {
    if (this._closed) throw new AudioFormatError('this decoder has been closed');
    return this._codec;
  }

  _sound() {
    return this._codec.floats(this._stream + this._codec.layout.decoder.out, this.frameSamples).slice();
  }
}

/**
 * @param {Packet | Uint8Array | null} packet
 * @returns {Packet | null}
 */
function asPacket(packet) {
  if (packet === null || packet instanceof Packet) return packet;
  if (!(packet instanceof Uint8Array)) {
    throw new PacketError('a decoder takes a Packet, its bytes, or null for a lost one');
  }
  try {
    return Packet.fromBytes(packet);
  } catch (error) {
    if (error instanceof PacketError) return null;
    throw error;
  }
}
