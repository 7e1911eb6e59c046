// What one other person may make us do in a second, so that nobody spoils the rest's call.

/** A bucket that fills with time. */
export class RateLimit {
  /**
   * @param {number} perS
   * @param {number} burst
   */
  constructor(perS, burst) {
    this._perS = perS;
    this._burst = this._left = burst;
    this._atMs = 0;
  }

  /**
   * Whether one more is within the rate; a cost below zero gives one back.
   * @param {number} nowMs
   * @param {number} [cost]
   */
  allow(nowMs, cost = 1) {
    this._left = Math.min(this._burst, this._left + ((nowMs - this._atMs) / 1_000) * this._perS);
    this._atMs = nowMs;
    if (this._left < cost) return false;
    this._left -= cost;
    return true;
  }
}
