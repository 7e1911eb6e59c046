// How much to send and how redundantly, from receiver reports: `streamcodec/net/{congestion,copy_plan,listeners}.py`,
// where the reasons are given.

import { roundHalfEven } from './numbers.js';

const MINIMUM_BPS = 1_500;
const MOST_REDUNDANCY = 4;
const REDUNDANCY_COST = 0.6;
const COPY_WORTH = 0.004;
const EXPECTED_LOSS = 0.1;
const QUEUE_MS = 30;
const GROWTH_MS_PER_S = 10;
const FULL_QUEUE_MS = 120;
const HEAVY_LOSS = 0.3;
const TRIAL_MS = 5_000;
const EXCUSED_MS = 60_000;
const EXCUSED_MORE = 0.1;
const RECENT_REPORTS = 8;
const RETREAT = 0.7;
const ADVANCE_PER_S = 0.08;
const HOLD_MS = 1_000;
const FEEDBACK_TIMEOUT_MS = 2_500;
const LESS_REDUNDANCY_AFTER_MS = 5_000;
export const USUAL_BURST_PACKETS = 2;
const USUAL_LOSS = 0.1;
const LONGEST_WAIT_MS = 100;
const PRICE_PER_MS = 0.00005;
const FRAME_MS = 20;

/** @typedef {import('./report.js').Report} Report */
/** @typedef {{bitrate: number, ages: readonly number[]}} SendRate */

/** Feed it reports and the time; read `rate`. */
export class CongestionController {
  /**
   * @param {number} maximumBps
   * @param {number} packetMs
   * @param {{minimumBps?: number, mostRedundancy?: number}} [bounds]
   */
  constructor(maximumBps, packetMs, { minimumBps = MINIMUM_BPS, mostRedundancy = MOST_REDUNDANCY } = {}) {
    this._minimumBps = minimumBps;
    this._mostRedundancy = mostRedundancy;
    this.maximumBps = maximumBps;
    this.packetMs = packetMs;
    this._loss = EXPECTED_LOSS;
    this._burstPackets = USUAL_BURST_PACKETS;
    this._ages = this._wanted();
    this._budgetBps = maximumBps * share(this._ages.length);
    /** @type {number | null} */
    this._fewerSinceMs = null;
    this._meanLoss = 0;
    /** @type {number | null} */
    this._lastReportMs = null;
    this._lastRetreatMs = -Infinity;
    this._starved = false;
    /** @type {number[]} Shares lost, of the last reports. */
    this._losses = [];
    /** @type {{begunMs: number, loss: number, budgetBps: number, lost: number, reports: number} | null} */
    this._trial = null;
    this._excusedLoss = 0;
    this._excusedUntilMs = -Infinity;
    this._ceilingBps = Infinity;
    this._ceilingUntilMs = -Infinity;
  }

  /** @returns {SendRate} */
  get rate() {
    let ages = this._ages;
    while (ages.length && this._budgetBps / share(ages.length) < this._minimumBps) ages = ages.slice(0, -1);
    const bps = this._budgetBps / share(ages.length);
    return { bitrate: roundHalfEven(Math.min(Math.max(bps, this._minimumBps), this.maximumBps)), ages };
  }

  /**
   * @param {Report} report
   * @param {number} nowMs
   */
  onReport(report, nowMs) {
    const elapsedMs = this._lastReportMs === null ? 500 : Math.min(nowMs - this._lastReportMs, 2_000);
    this._lastReportMs = nowMs;
    this._starved = false;
    // Up at once, down slowly: a burst now is likely followed by another.
    this._loss += (report.loss > this._loss ? 0.5 : 0.1) * (report.loss - this._loss);
    this._meanLoss += 0.1 * (report.loss - this._meanLoss);
    this._losses.push(report.loss);
    if (this._losses.length > RECENT_REPORTS) this._losses.shift();
    if (report.meanBurstPackets >= 1) {
      const lostPackets = Math.max(1, (report.meanBurstPackets * FRAME_MS) / this.packetMs);
      this._burstPackets += 0.2 * (lostPackets - this._burstPackets);
    }
    const before = this._ages.length;
    this._chooseAges(nowMs);
    if (this._ages.length > before && report.queueMs < QUEUE_MS) {
      // Copies are small beside a datagram's headers, so where nothing queues they need not be saved up for.
      this._budgetBps *= share(this._ages.length) / share(before);
    }
    if (congested(report)) {
      this._trial = null;
      this._retreat(nowMs, RETREAT);
    } else if (this._trial) this._tryOn(this._trial, report.loss, nowMs);
    else if (this._meanLoss > this._bearableLoss(nowMs)) {
      this._try(this._losses.reduce((sum, loss) => sum + loss, 0) / this._losses.length, this._budgetBps, nowMs);
    } else if (report.queueMs < QUEUE_MS && nowMs - this._lastRetreatMs > HOLD_MS) {
      this._budgetBps *= 1 + (ADVANCE_PER_S * elapsedMs) / 1_000;
    }
    if (nowMs < this._ceilingUntilMs) this._budgetBps = Math.min(this._budgetBps, this._ceilingBps);
    const highestBps = this.maximumBps * share(this._ages.length);
    this._budgetBps = Math.min(Math.max(this._budgetBps, this._minimumBps), highestBps);
  }

  /**
   * Without reports for long, the rate falls to the minimum and redundancy stops.
   * @param {number} nowMs
   */
  onTick(nowMs) {
    const lastMs = this._lastReportMs;
    if (lastMs !== null && !this._starved && nowMs - lastMs > FEEDBACK_TIMEOUT_MS) {
      this._starved = true;
      this._budgetBps = this._minimumBps;
      this._ages = [];
      this._trial = null;
    }
  }

  /**
   * @param {number} nowMs
   * @param {number} factor
   */
  _retreat(nowMs, factor) {
    if (nowMs - this._lastRetreatMs < HOLD_MS) return;
    this._lastRetreatMs = nowMs;
    this._budgetBps *= factor;
  }

  /** @param {number} nowMs */
  _bearableLoss(nowMs) {
    return Math.max(HEAVY_LOSS, nowMs < this._excusedUntilMs ? this._excusedLoss : 0);
  }

  /**
   * A lower rate for a while, where much is lost.
   * @param {number} loss
   * @param {number} budgetBps
   * @param {number} nowMs
   */
  _try(loss, budgetBps, nowMs) {
    this._trial = { begunMs: nowMs, loss, budgetBps, lost: 0, reports: 0 };
    this._lastRetreatMs = nowMs;
    this._budgetBps *= RETREAT;
  }

  /**
   * Whether a lower rate has helped: of what a full link loses, all that is sent less would get through.
   * @param {{begunMs: number, loss: number, budgetBps: number, lost: number, reports: number}} trial
   * @param {number} loss
   * @param {number} nowMs
   */
  _tryOn(trial, loss, nowMs) {
    const elapsedMs = nowMs - trial.begunMs;
    if (elapsedMs < HOLD_MS) return;
    trial.lost += loss;
    trial.reports += 1;
    if (elapsedMs < HOLD_MS + TRIAL_MS) return;
    const nowLost = trial.lost / trial.reports;
    const ifFull = Math.max(0, 1 - (1 - trial.loss) / RETREAT);
    this._trial = null;
    this._meanLoss = nowLost;
    if (nowLost > 0.5 * (trial.loss + ifFull)) {
      this._budgetBps = trial.budgetBps;
      this._excusedLoss = Math.max(nowLost, trial.loss) + EXCUSED_MORE;
      this._excusedUntilMs = nowMs + EXCUSED_MS;
    } else if (nowLost > HEAVY_LOSS) this._try(nowLost, trial.budgetBps, nowMs);
    else {
      this._ceilingBps = this._budgetBps;
      this._ceilingUntilMs = nowMs + EXCUSED_MS;
    }
  }

  _wanted() {
    return plan(this._loss, this._burstPackets, this.packetMs, this._mostRedundancy);
  }

  /** @param {number} nowMs More copies at once, fewer only after a while. */
  _chooseAges(nowMs) {
    const wanted = this._wanted();
    if (wanted.length >= this._ages.length) {
      this._ages = wanted;
      this._fewerSinceMs = null;
    } else if (this._fewerSinceMs === null) {
      this._fewerSinceMs = nowMs;
    } else if (nowMs - this._fewerSinceMs >= LESS_REDUNDANCY_AFTER_MS) {
      this._ages = wanted;
      this._fewerSinceMs = nowMs;
    }
  }
}

/**
 * What to send when each listener's path allows one of the rates: the worst path decides, down to half of the highest.
 * @param {CongestionController[]} controllers
 * @param {number} maximumBps
 * @param {number} packetMs
 * @returns {SendRate}
 */
export function agreedRate(controllers, maximumBps, packetMs) {
  if (controllers.length === 0) return new CongestionController(maximumBps, packetMs).rate;
  const rates = controllers.map((controller) => controller.rate);
  const sorted = rates.map(({ bitrate }) => bitrate).sort((a, b) => a - b);
  const floor = Math.min(sorted[sorted.length >> 1], roundHalfEven(maximumBps / 2));
  const most = rates.reduce((best, rate) => (moreCopies(rate.ages, best.ages) ? rate : best));
  return { bitrate: rates.length > 1 ? Math.max(sorted[0], floor) : sorted[0], ages: most.ages };
}

/**
 * @param {readonly number[]} ages
 * @param {readonly number[]} others
 */
function moreCopies(ages, others) {
  if (ages.length !== others.length) return ages.length > others.length;
  const differs = ages.findIndex((age, k) => age !== others[k]);
  return differs >= 0 && ages[differs] > others[differs];
}

/** @param {number} redundancy */
function share(redundancy) {
  return 1 + redundancy * REDUNDANCY_COST;
}

/** @param {Report} report */
function congested({ queueMs, queueGrowthMsPerS }) {
  const growing = queueMs > QUEUE_MS && queueGrowthMsPerS > GROWTH_MS_PER_S;
  return growing || (queueMs > FULL_QUEUE_MS && queueGrowthMsPerS >= 0);
}

/**
 * Share of packets lost together with all their copies, under Gilbert's model of bursts.
 * @param {number} loss
 * @param {number} burstPackets
 * @param {readonly number[]} ages
 */
export function leftOver(loss, burstPackets, ages) {
  const leave = 1 / Math.max(burstPackets, 1);
  const memory = 1 - leave - (loss * leave) / Math.max(1 - loss, 1e-6);
  let left = loss;
  let before = 0;
  for (const age of ages) {
    left *= Math.min(Math.max(loss + (1 - loss) * memory ** (age - before), 0), 1);
    before = age;
  }
  return left;
}

/** @type {Map<string, readonly number[]>} */
const planned = new Map();

/**
 * Ages, in packets, of the copies to send.
 * @param {number} loss
 * @param {number} burstPackets
 * @param {number} packetMs
 * @param {number} [most]
 */
export function plan(loss, burstPackets, packetMs, most = MOST_REDUNDANCY) {
  const rounded = [roundHalfEven(Math.min(loss, 0.9) * 1_000) / 1_000, roundHalfEven(burstPackets * 10) / 10];
  const key = [...rounded, packetMs, most].join();
  let best = planned.get(key);
  if (!best) {
    best = choose(rounded[0], rounded[1], packetMs, most);
    planned.set(key, best);
  }
  return best;
}

/**
 * @param {number} loss
 * @param {number} burstPackets
 * @param {number} packetMs
 * @param {number} most
 */
function choose(loss, burstPackets, packetMs, most) {
  /** @type {readonly number[]} */
  let best = [];
  let bestPrice = leftOver(loss, burstPackets, best);
  for (let count = 1; count <= Math.min(most, reach(packetMs)); count++) {
    const ages = bestOf(loss, burstPackets, packetMs, count);
    const total = leftOver(loss, burstPackets, ages) + COPY_WORTH * count;
    if (total < bestPrice) [best, bestPrice] = [ages, total];
  }
  return best;
}

/**
 * @param {number} loss
 * @param {number} burstPackets
 * @param {number} packetMs
 * @param {number} count
 */
function bestOf(loss, burstPackets, packetMs, count) {
  const price = (/** @type {number[]} */ ages) =>
    leftOver(loss, burstPackets, ages) + PRICE_PER_MS * /** @type {number} */ (ages.at(-1)) * packetMs;
  return combinations(reach(packetMs), count).reduce((one, other) => (price(other) < price(one) ? other : one));
}

/**
 * The latest packet that a copy may ride on; the next one always may.
 * @param {number} packetMs
 */
export function reach(packetMs) {
  return Math.max(1, Math.floor(LONGEST_WAIT_MS / packetMs));
}

/**
 * Ages of so many copies where nothing is known of the line; more than fit the longest wait follow each other.
 * @param {number} redundancy
 * @param {number} packetMs
 * @returns {readonly number[]}
 */
export function spread(redundancy, packetMs) {
  if (redundancy === 0) return [];
  if (redundancy > reach(packetMs)) return Array.from({ length: redundancy }, (_, k) => k + 1);
  return bestOf(USUAL_LOSS, USUAL_BURST_PACKETS, packetMs, redundancy);
}

/**
 * Ascending choices of `count` of the numbers 1 to `most`, in order.
 * @param {number} most
 * @param {number} count
 * @param {number} [from]
 * @returns {number[][]}
 */
function combinations(most, count, from = 1) {
  if (count === 0) return [[]];
  const found = [];
  for (let first = from; first <= most - count + 1; first++) {
    for (const rest of combinations(most, count - 1, first + 1)) found.push([first, ...rest]);
  }
  return found;
}
