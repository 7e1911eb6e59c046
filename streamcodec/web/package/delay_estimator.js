// How much delay to play at: `streamcodec/net/{delay_estimator,drift,recovery}.py`, where the reasons are given. A trace
// that Python's tests write holds this to it.

const SLICE_MS = 500;
const SLICES = 9;
const FEWEST_SLICES = 5;
const STILL = 0.003;

/** How fast a sender's clock runs away from ours: the slope of its fastest packets' transit times. */
class DriftEstimator {
  constructor() {
    /** @type {[number, number][]} */
    this._floors = [];
    /** @type {number | null} */
    this._sliceStartsMs = null;
    /** @type {[number, number]} */
    this._lowest = [0, 0];
    /** Growth of transit time in ms per ms. */
    this.slope = 0;
    /** @type {[number, number]} */
    this._offset = [0, 0];
  }

  /** @param {number} nowMs */
  offsetMs(nowMs) {
    return this._offset[1] + this.slope * (nowMs - this._offset[0]);
  }

  /**
   * @param {number} transitMs
   * @param {number} arrivalMs
   */
  observe(transitMs, arrivalMs) {
    const startMs = this._sliceStartsMs;
    if (startMs === null) {
      this._offset = [arrivalMs, 0];
    } else if (arrivalMs - startMs < SLICE_MS) {
      if (transitMs < this._lowest[1]) this._lowest = [arrivalMs, transitMs];
      return;
    } else {
      this._floors.push(this._lowest);
      if (this._floors.length > SLICES) this._floors.shift();
      this._update(arrivalMs);
    }
    this._sliceStartsMs = arrivalMs;
    this._lowest = [arrivalMs, transitMs];
  }

  /** @param {number} nowMs */
  _update(nowMs) {
    this._offset = [nowMs, this.offsetMs(nowMs)];
    const floors = this._floors;
    if (floors.length < FEWEST_SLICES) return;
    const slopes = floors.slice(2).map((after, k) => (after[1] - floors[k][1]) / (after[0] - floors[k][0]));
    const slope = median(slopes);
    this.slope = Math.abs(slope) < STILL ? 0 : Math.min(Math.max(slope, -0.5), 0.5);
  }
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const MEMORY_PACKETS = 500;
const CARRIED_MEMORY_PACKETS = 50;
const LONGEST_LAG_PACKETS = 15;
const PRIOR_PACKETS = 50;
const PRIOR_LOST = 1;

/** Counts how many packet durations late each packet of a stream became playable. */
class RecoveryDelay {
  /** @param {number} worth */
  constructor(worth) {
    this._worth = worth;
    this._total = PRIOR_PACKETS;
    this._byLag = new Array(LONGEST_LAG_PACKETS + 1).fill(0);
    this._reach = 0;
    this._sinceCarried = 0;
  }

  get waitPackets() {
    let longer = this._reach ? PRIOR_LOST : 0;
    for (let lag = this._reach; lag > 0; lag--) {
      longer += this._byLag[lag];
      if (longer > this._worth * this._total) return lag;
    }
    return 0;
  }

  /** @param {number} oldestPackets */
  carried(oldestPackets) {
    this._sinceCarried += 1;
    if (oldestPackets >= this._reach || this._sinceCarried > CARRIED_MEMORY_PACKETS) {
      this._reach = Math.min(oldestPackets, LONGEST_LAG_PACKETS);
      this._sinceCarried = 0;
    }
  }

  /** @param {number} lagPackets */
  observe(lagPackets) {
    this._total += 1;
    this._byLag[Math.min(lagPackets, LONGEST_LAG_PACKETS)] += 1;
    if (this._total > PRIOR_PACKETS + MEMORY_PACKETS) {
      const kept = 1 - 1 / (PRIOR_PACKETS + MEMORY_PACKETS);
      this._total *= kept;
      this._byLag = this._byLag.map((count) => kept * count);
    }
  }
}

export const DELAY = Object.freeze({
  minimumMs: 12,
  maximumMs: 1_000,
  initialMs: 30,
  quantile: 0.99,
  marginMs: 6,
  carrierQuantile: 0.9,
  worth: 0.004,
  longestWaitMs: 120,
  windowPackets: 200,
  windowMs: 6_000,
  spikeMs: 40,
  spikeHoldMs: 300,
  spikeLongestMs: 1_000,
  spikeMemoryMs: 10_000,
  spikeRecurrence: 3,
});

const SETTLED_PACKETS = 16;
const DOUBT_MS = 100;
const MOST_DOUBTFUL = 64;
const MOST_SPIKES = 16;

/** Watches transit times (arrival minus media time, any constant offset) and answers with a target delay. */
export class DelayEstimator {
  constructor() {
    this.recovery = new RecoveryDelay(DELAY.worth);
    this._drift = new DriftEstimator();
    /** @type {[number, number][]} */
    this._window = [];
    /** @type {number[]} */
    this._sorted = [];
    this._quantileMs = Number(DELAY.initialMs);
    this._carrierMs = 0;
    this._floorMs = Number(DELAY.initialMs);
    // The quantile as it was before the last few packets: a spike must not raise the bar it is measured against.
    this._calmMs = Number(DELAY.initialMs);
    /** @type {[number, number][]} */
    this._doubtful = [];
    /** @type {[number, number][]} */
    this._inSpike = [];
    this._spikePeakMs = 0;
    /** @type {[number, number][]} */
    this._spikes = [];
  }

  /**
   * Transit time that the fastest packet remembered would have now.
   * @param {number} nowMs
   */
  baseMs(nowMs) {
    return this._sorted.length ? this._sorted[0] + this._drift.offsetMs(nowMs) : 0;
  }

  get drift() {
    return this._drift.slope;
  }

  /**
   * Take the transit time of a packet that came by itself.
   * @param {number} transitMs
   * @param {number} arrivalMs
   */
  observe(transitMs, arrivalMs) {
    this._drift.observe(transitMs, arrivalMs);
    transitMs -= this._drift.offsetMs(arrivalMs);
    const relativeMs = transitMs - (this._sorted.length ? this._sorted[0] : 0);
    const limitMs = this._calmMs + Math.max(DELAY.spikeMs, this._calmMs);
    const settled = this._window.length >= SETTLED_PACKETS;
    if (this._inSpike.length) {
      this._continueSpike(transitMs, relativeMs, arrivalMs);
    } else if (settled && relativeMs > limitMs) {
      this._doubtful.length = 0;
      this._inSpike.push([arrivalMs, transitMs]);
      this._spikePeakMs = relativeMs;
    } else if (settled && relativeMs > this._calmMs) {
      const last = this._spikes.at(-1);
      if (!last || arrivalMs - last[0] > DOUBT_MS) {
        this._doubtful.push([arrivalMs, transitMs]);
        if (this._doubtful.length > MOST_DOUBTFUL) this._doubtful.shift();
      }
    } else {
      this._insert(arrivalMs, transitMs);
    }
    while (this._doubtful.length && arrivalMs - this._doubtful[0][0] > DOUBT_MS) {
      this._insert(...(/** @type {[number, number]} */ (this._doubtful.shift())));
    }
    this._update();
  }

  /**
   * Delay to play at, counted from the arrival of the fastest packets.
   * @param {number} nowMs
   * @param {number} packetMs
   */
  targetMs(nowMs, packetMs) {
    while (this._spikes.length && nowMs - this._spikes[0][0] > DELAY.spikeMemoryMs) this._spikes.shift();
    const waitMs = Math.min(this.recovery.waitPackets * packetMs, DELAY.longestWaitMs);
    // Few packets are both lost and in need of the margin.
    let wantedMs = Math.max(this._quantileMs, waitMs ? this._carrierMs + waitMs - DELAY.marginMs : 0);
    if (this._inSpike.length) wantedMs = Math.max(wantedMs, this._spikePeakMs);
    const last = this._spikes.at(-1);
    if (this._spikes.length >= DELAY.spikeRecurrence) {
      wantedMs = Math.max(wantedMs, ...this._spikes.map(([, peakMs]) => peakMs));
    } else if (last && nowMs - last[0] < DELAY.spikeHoldMs) {
      wantedMs = Math.max(wantedMs, last[1]);
    }
    return Math.min(Math.max(wantedMs + DELAY.marginMs, DELAY.minimumMs), DELAY.maximumMs);
  }

  /**
   * @param {number} transitMs
   * @param {number} relativeMs
   * @param {number} arrivalMs
   */
  _continueSpike(transitMs, relativeMs, arrivalMs) {
    const startMs = this._inSpike[0][0];
    if (relativeMs <= this._calmMs + DELAY.spikeMs / 2) {
      this._rememberSpike(arrivalMs);
      this._inSpike.length = 0;
      if (relativeMs <= this._calmMs) this._insert(arrivalMs, transitMs);
    } else if (arrivalMs - startMs > DELAY.spikeLongestMs) {
      this._window.length = 0;
      this._sorted.length = 0;
      for (const old of this._inSpike.slice(-DELAY.windowPackets)) this._insert(...old);
      this._insert(arrivalMs, transitMs);
      this._inSpike.length = 0;
    } else {
      this._spikePeakMs = Math.max(this._spikePeakMs, relativeMs);
      this._inSpike.push([arrivalMs, transitMs]);
      const kept = Math.max(1, this._inSpike.length - DELAY.windowPackets);
      this._inSpike.splice(1, kept - 1);
    }
  }

  /** @param {number} endMs */
  _rememberSpike(endMs) {
    let peakMs = this._spikePeakMs;
    const last = this._spikes.at(-1);
    if (last && endMs - last[0] < DELAY.spikeLongestMs) {
      peakMs = Math.max(peakMs, last[1]);
      this._spikes.pop();
    }
    this._spikes.push([endMs, peakMs]);
    if (this._spikes.length > MOST_SPIKES) this._spikes.shift();
  }

  /**
   * @param {number} arrivalMs
   * @param {number} transitMs
   */
  _insert(arrivalMs, transitMs) {
    const window = this._window;
    const newest = window.at(-1);
    if (newest && arrivalMs - newest[0] > DELAY.windowMs) this._floorMs = this._quantileMs;
    while (
      window.length &&
      (window.length >= DELAY.windowPackets || arrivalMs - window[0][0] > DELAY.windowMs)
    ) {
      const [, oldMs] = /** @type {[number, number]} */ (window.shift());
      this._sorted.splice(lowerBound(this._sorted, oldMs), 1);
    }
    window.push([arrivalMs, transitMs]);
    this._sorted.splice(lowerBound(this._sorted, transitMs), 0, transitMs);
  }

  _update() {
    const sorted = this._sorted;
    const count = sorted.length;
    if (count === 0) return;
    const index = Math.min(count - 1, Math.floor(DELAY.quantile * count));
    let quantileMs = sorted[index] - sorted[0];
    if (count < SETTLED_PACKETS) quantileMs = Math.max(quantileMs, this._floorMs);
    this._quantileMs = quantileMs;
    this._carrierMs = sorted[Math.floor(DELAY.carrierQuantile * count)] - sorted[0];
    this._calmMs += (quantileMs - this._calmMs) / (quantileMs > this._calmMs ? 64 : 8);
  }
}

/**
 * First place at which a value may stand among sorted ones.
 * @param {number[]} sorted
 * @param {number} value
 */
function lowerBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
