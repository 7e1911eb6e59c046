// Several people into one loudspeaker: `streamcodec/net/mixer.py`.

const KNEE = 0.9;
const CEILING = 0.999;
const RELEASE_S = 0.3;

/** A sum that cannot clip and does not pump when nobody shouts. */
export class Mixer {
  /** @param {number} rateHz */
  constructor(rateHz) {
    this._releasePerSample = 1 / (RELEASE_S * rateHz);
    this._gain = 1;
  }

  /**
   * @param {Float32Array[]} blocks
   * @param {number} count
   * @returns {Float32Array}
   */
  mix(blocks, count) {
    const total = new Float32Array(count);
    let peak = 0;
    for (const block of blocks) for (let k = 0; k < count; k++) total[k] += block[k];
    for (let k = 0; k < count; k++) peak = Math.max(peak, Math.abs(total[k]));
    if (count === 0 || (blocks.length <= 1 && this._gain === 1 && peak <= 1)) return total;
    const released = Math.min(1, this._gain + count * this._releasePerSample);
    const target = Math.min(released, peak > KNEE ? KNEE / peak : 1);
    const step = count > 1 ? (target - this._gain) / (count - 1) : 0;
    for (let k = 0; k < count; k++) total[k] = softClip(total[k] * (this._gain + k * step));
    this._gain = target;
    return total;
  }
}

/** @param {number} x */
function softClip(x) {
  const size = Math.abs(x);
  if (size <= KNEE) return x;
  const room = CEILING - KNEE;
  return Math.sign(x) * (KNEE + room * Math.tanh((size - KNEE) / room));
}
