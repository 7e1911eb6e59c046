// Who is talking: `streamcodec/net/voice_activity.py`.

const START_RMS = 0.01;
const STOP_RMS = 0.005;
const SMOOTHING_MS = 50;
const PATIENCE_MS = 400;

/** Takes one voice's sound as it goes by. Its only clock is the count of samples. */
export class VoiceActivity {
  /** @param {number} rateHz */
  constructor(rateHz) {
    this._rateHz = rateHz;
    this._power = 0;
    this._quietMs = 0;
    this.talking = false;
  }

  /** Smoothed root mean square. */
  get levelRms() {
    return Math.sqrt(this._power);
  }

  /** @param {Float32Array} samples */
  hear(samples) {
    if (samples.length === 0) return;
    const durationMs = (1_000 * samples.length) / this._rateHz;
    let sum = 0;
    for (let k = 0; k < samples.length; k++) sum += samples[k] * samples[k];
    this._power += (1 - Math.exp(-durationMs / SMOOTHING_MS)) * (sum / samples.length - this._power);
    this._quietMs = this.levelRms > STOP_RMS ? 0 : this._quietMs + durationMs;
    this.talking = this.levelRms > START_RMS || (this.talking && this._quietMs < PATIENCE_MS);
  }
}
