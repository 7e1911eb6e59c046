// WAV files, put together piece by piece: a long sound never lies in memory as floats.

const HEADER_BYTES = 44;
const LARGEST_BYTES = 2 ** 31;

/** More sound than a page should hold. */
export class TooLongError extends Error {}

export class WaveFile {
  /**
   * @param {number} channels
   * @param {number} rateHz
   * @param {16 | 24} [bits] of a sample
   */
  constructor(channels, rateHz, bits = 16) {
    this.channels = channels;
    this.rateHz = rateHz;
    this.bits = bits;
    this.samples = 0;
    /** @type {ArrayBuffer[]} */
    this._parts = [];
  }

  get _frameBytes() {
    return (this.channels * this.bits) / 8;
  }

  /**
   * Sound that follows, a plane for each channel. Throws TooLongError where there are more than 2 GiB of it.
   * @param {readonly Float32Array[]} planes
   */
  push(planes) {
    const [bytes, length] = [this.bits / 8, planes[0].length];
    if ((this.samples + length) * this._frameBytes > LARGEST_BYTES) throw new TooLongError('more than 2 GiB of sound');
    const view = new DataView(new ArrayBuffer(length * this._frameBytes));
    const scale = 2 ** (this.bits - 1);
    planes.forEach((plane, channel) => {
      for (let k = 0; k < length; k++) {
        const value = Math.min(Math.max(Math.round(scale * plane[k]), -scale), scale - 1);
        const at = k * this._frameBytes + channel * bytes;
        view.setInt16(at + bytes - 2, value >> (this.bits - 16), true);
        if (bytes === 3) view.setUint8(at, value & 255);
      }
    });
    this._parts.push(view.buffer);
    this.samples += length;
  }

  /** The file of all that was pushed. */
  blob() {
    const size = this.samples * this._frameBytes;
    const pad = size % 2;
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    /** @param {number} at @param {string} word */
    const word = (at, word) => [...word].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
    word(0, 'RIFF');
    view.setUint32(4, HEADER_BYTES - 8 + size + pad, true);
    word(8, 'WAVEfmt ');
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, this.channels, true);
    view.setUint32(24, this.rateHz, true);
    view.setUint32(28, this.rateHz * this._frameBytes, true);
    view.setUint16(32, this._frameBytes, true);
    view.setUint16(34, this.bits, true);
    word(36, 'data');
    view.setUint32(40, size, true);
    return new Blob([view.buffer, ...this._parts, new Uint8Array(pad)], { type: 'audio/wav' });
  }
}
