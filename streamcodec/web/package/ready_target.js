// How much sound is kept ready for the sound card: more after it ran dry, less again where it has not for long.

const START_MS = 20;
const LEAST_MS = 15;
const MOST_MS = 100;
const GROW_MS = 10;
const EASE_MS = 5;
/** One stall is told of again and again while it lasts, and counts once. */
const GROW_PAUSE_MS = 300;
/** Without a gap before less is tried; twice as long after each try that ended in one. */
const FIRST_PATIENCE_MS = 4_000;
const MOST_PATIENCE_MS = 64_000;

export class ReadyTarget {
  constructor() {
    this.ms = START_MS;
    this._missed = 0;
    /** @type {number | null} When sound was last missing, or less was last tried. */
    this._sinceMs = null;
    this._patienceMs = FIRST_PATIENCE_MS;
    this._trying = false;
  }

  /**
   * @param {number} missed times so far that the sound card found nothing
   * @param {number} nowMs
   */
  note(missed, nowMs) {
    this._sinceMs ??= nowMs;
    const sinceMs = nowMs - this._sinceMs;
    if (missed > this._missed) {
      if (this._trying && sinceMs <= this._patienceMs) {
        this._patienceMs = Math.min(MOST_PATIENCE_MS, 2 * this._patienceMs);
        this.ms += EASE_MS;
      } else if (sinceMs > GROW_PAUSE_MS) this.ms += GROW_MS;
      this.ms = Math.min(MOST_MS, this.ms);
      this._trying = false;
      this._sinceMs = nowMs;
    } else if (sinceMs > this._patienceMs && this.ms > LEAST_MS) {
      this.ms = Math.max(LEAST_MS, this.ms - EASE_MS);
      this._trying = true;
      this._sinceMs = nowMs;
    }
    this._missed = missed;
  }
}
