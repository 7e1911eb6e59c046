// What to send for a given rate on the wire: packet length, payload rate and redundancy, chosen together. As
// `streamcodec/net/wire_rate.py`, where the reasons are given; a trace that Python's tests write holds this to it.

import { CongestionController, USUAL_BURST_PACKETS, agreedRate, leftOver, reach, spread } from './congestion.js';
import { AudioFormatError } from './errors.js';
import { roundHalfEven } from './numbers.js';
import { MAX_FRAMES } from './packet.js';

/** @typedef {import('./report.js').Report} Report */

const FRAME_MS = 20;
export const MIN_WIRE_BPS = 7_000;
export const MAX_WIRE_BPS = 200_000;
const DIRECT_HEADER_BYTES = 51;
const RELAY_HEADER_BYTES = 84;
const OTHER_BPS = 1_100;
const LONGER_SAVES = 0.15;
const COPY_SHARES = [0.5, 0.35, 0.25];
export const LATER_COPIES = 0.8;
const COPY_BYTES = 2.5;
const PESQ_BY_KBPS = [
  [1.5, 1.45], [2.2, 1.77], [3.3, 2.21], [6, 3], [9, 3.48], [12, 3.76], [16, 3.88], [20, 3.98], [24, 4],
];
const LOWEST = 0.999;
const MAP_SLOPE = 1.3669;
const MAP_OFFSET = 3.8224;
const HIGHEST_RAW = 4.5;
const CONCEALED_HARM = 58;
const COPY_HARM = 1;
const SWITCH_HARM = 5;
const KNEE_MS = 177.3;
const DELAY_PER_MS = 0.024 / 20;
const LATE_PER_MS = 0.11 / 20;
const CODEC_MS = 10;
const BUFFER_MS = 20;
const LONGEST_PLAYOUT_MS = 100;
const UNKNOWN_ROUND_TRIP_MS = 80;
const USUAL_LOSS = 0.1;
const USUAL_JITTER_MS = 20;
const EXPECTED_LOSS = 0.04;
const EXPECTED_PACKETS = 18;
const LONG_MEMORY_PACKETS = 300;
const SHORT_MEMORY_PACKETS = 60;
const SMALLEST_GAIN = 0.09;
const REPORT_INTERVAL_MS = 500;
const LONGEST_INTERVAL_MS = 2_000;
const SETTLE_MS = 4_000;
const PATIENCE_MS = 10_000;
const MOST_REDUNDANCY = 3;
const MINIMUM_BPS = 1_500;
const MAXIMUM_BPS = 24_000;

/**
 * What the sender should do.
 * @typedef {object} SendPlan
 * @property {number} bitrate
 * @property {number} packetMs
 * @property {readonly number[]} ages How many packets ago the copies in each packet were sent.
 * @property {number} copyShare Size of the first of them beside a packet.
 * @property {number} wireBps What this is expected to come to on the wire.
 * @property {number} score
 */

/** Share of packets that a path loses: an expectation that gives way to what reports tell, the last above all. */
class LossEstimate {
  /** @param {number} memoryPackets */
  constructor(memoryPackets) {
    this._memoryPackets = memoryPackets;
    this._lost = EXPECTED_LOSS * EXPECTED_PACKETS;
    this._packets = EXPECTED_PACKETS;
  }

  get loss() {
    return this._lost / this._packets;
  }

  /**
   * @param {number} loss
   * @param {number} packets
   */
  hear(loss, packets) {
    const kept = Math.min(1, this._memoryPackets / (this._packets + packets));
    this._lost = kept * (this._lost + loss * packets);
    this._packets = kept * (this._packets + packets);
  }
}

/** One receiver, as its reports tell. */
class Path {
  /** @param {number} wireBps */
  constructor(wireBps) {
    this.congestion = new CongestionController(wireBps, FRAME_MS, {
      minimumBps: Math.min(MIN_WIRE_BPS, wireBps), mostRedundancy: 0,
    });
    this.losses = [new LossEstimate(LONG_MEMORY_PACKETS), new LossEstimate(SHORT_MEMORY_PACKETS)];
    this.burstPackets = USUAL_BURST_PACKETS;
    this.roundTripMs = UNKNOWN_ROUND_TRIP_MS;
    this.jitterMs = 0;
    /** @type {number | null} */
    this.heardMs = null;
  }

  get loss() {
    return Math.max(...this.losses.map((each) => each.loss));
  }
}

/** Feed it reports, paths and what the wire was seen to carry; read `plan`. Times: the sender's own. */
export class WireRateController {
  /**
   * Throws AudioFormatError for a rate that no call fits in.
   * @param {number} wireBps in one direction, all destinations together
   */
  constructor(wireBps) {
    if (!(wireBps >= MIN_WIRE_BPS && wireBps <= MAX_WIRE_BPS)) {
      const range = `${MIN_WIRE_BPS / 1_000} to ${MAX_WIRE_BPS / 1_000} kbps`;
      throw new AudioFormatError(`a call takes ${range} on the wire, got ${wireBps / 1_000}`);
    }
    this._askedBps = wireBps;
    /** @type {Map<string, Path>} */
    this._paths = new Map();
    this._headerBytes = DIRECT_HEADER_BYTES;
    this._destinations = 1;
    this._ways = '';
    this._excessBps = 0;
    this._changedMs = -Infinity;
    /** @type {number | null} */
    this._wantedSinceMs = null;
    /** Whether what is sent is somebody talking. */
    this.talking = false;
    /** @type {number | null} */
    this._steadySinceMs = null;
    /** What to do now. */
    this.plan = this._best(null);
  }

  /**
   * @param {string} receiver
   * @param {Report} report
   * @param {number | null} roundTripMs
   * @param {number} nowMs
   */
  onReport(receiver, report, roundTripMs, nowMs) {
    if (this._paths.size === 0) this._changedMs = nowMs;
    const path = this._paths.get(receiver) ?? new Path(this._askedBps);
    this._paths.set(receiver, path);
    path.congestion.onReport(report, nowMs);
    const sinceMs = path.heardMs === null ? REPORT_INTERVAL_MS : Math.min(nowMs - path.heardMs, LONGEST_INTERVAL_MS);
    path.heardMs = nowMs;
    for (const estimate of path.losses) estimate.hear(report.loss, sinceMs / this.plan.packetMs);
    if (report.meanBurstPackets >= 1) {
      const lostPackets = Math.max(1, (report.meanBurstPackets * FRAME_MS) / this.plan.packetMs);
      path.burstPackets += 0.2 * (lostPackets - path.burstPackets);
    }
    path.jitterMs = report.jitterMs;
    if (roundTripMs !== null) path.roundTripMs += 0.3 * (roundTripMs - path.roundTripMs);
    this._choose(nowMs);
  }

  /**
   * Several times a second: a receiver that has fallen silent counts as a path that is stuck.
   * @param {number} nowMs
   */
  onTick(nowMs) {
    for (const path of this._paths.values()) path.congestion.onTick(nowMs);
    this._choose(nowMs);
  }

  /**
   * How many are reached by lines of their own, how many messages to the relay the others take, and what each of those is
   * longer for being sealed.
   * @param {number} direct
   * @param {number} relayed
   * @param {number} sealBytes
   * @param {number} nowMs
   */
  onPaths(direct, relayed, sealBytes, nowMs) {
    const ways = `${direct},${relayed}`;
    if (ways !== this._ways) {
      this._ways = ways;
      this._steadySinceMs = nowMs;
    }
    this._destinations = Math.max(1, direct + relayed);
    const headers = direct * DIRECT_HEADER_BYTES + relayed * (RELAY_HEADER_BYTES + sealBytes);
    this._headerBytes = direct + relayed ? headers / (direct + relayed) : DIRECT_HEADER_BYTES;
    this._choose(nowMs);
  }

  /**
   * What was measured to go out in the last seconds, about once a second.
   * @param {number} sentBps
   * @param {number} nowMs
   */
  onWire(sentBps, nowMs) {
    this._steadySinceMs ??= nowMs;
    if (nowMs - this._steadySinceMs < SETTLE_MS) return;
    this._excessBps += 0.1 * (sentBps - this.plan.wireBps - this._excessBps);
    this._excessBps = Math.min(Math.max(this._excessBps, -0.02 * this._askedBps), 0.25 * this._askedBps);
  }

  /** @param {string} receiver */
  forget(receiver) {
    this._paths.delete(receiver);
  }

  // -- inside

  get _wireBps() {
    const controllers = [...this._paths.values()].map((path) => path.congestion);
    return controllers.length ? agreedRate(controllers, this._askedBps, FRAME_MS).bitrate : this._askedBps;
  }

  /** @param {number} nowMs */
  _choose(nowMs) {
    let best = this._best(null);
    const same = best.packetMs === this.plan.packetMs ? best : this._best(this.plan.packetMs);
    if (best !== same && this._mayChange(best, same, nowMs)) {
      this._changedMs = nowMs;
      this._wantedSinceMs = null;
    } else {
      best = same;
    }
    const moved = Math.abs(best.wireBps - this.plan.wireBps) > 0.05 * this.plan.wireBps;
    if (moved || best.ages.join() !== this.plan.ages.join()) this._steadySinceMs = nowMs;
    this.plan = best;
  }

  /**
   * Whether packets may take another length now: where they must, at once, else in a pause.
   * @param {SendPlan} best
   * @param {SendPlan} same
   * @param {number} nowMs
   */
  _mayChange(best, same, nowMs) {
    if (same.wireBps > 1.02 * this._aim()) return true;
    if (best.score < same.score + SMALLEST_GAIN) {
      this._wantedSinceMs = null;
      return false;
    }
    this._wantedSinceMs ??= nowMs;
    const patient = this.talking && nowMs - this._wantedSinceMs < PATIENCE_MS;
    return !patient && nowMs - this._changedMs >= SETTLE_MS;
  }

  _aim() {
    return Math.max(0.5 * this._wireBps, this._wireBps - this._excessBps);
  }

  /** @param {number | null} packetMs */
  _best(packetMs) {
    return this._plans(packetMs).reduce((best, plan) => (plan.score > best.score ? plan : best));
  }

  /**
   * @param {number | null} packetMs
   * @returns {SendPlan[]}
   */
  _plans(packetMs) {
    const paths = [...this._paths.values()];
    const loss = paths.length ? believed(paths.map((path) => path.loss), USUAL_LOSS) : EXPECTED_LOSS;
    const burst = believed(paths.map((path) => path.burstPackets), USUAL_BURST_PACKETS);
    const aimBps = this._aim();
    const plans = [];
    for (let frames = 1; frames <= MAX_FRAMES; frames++) {
      const lengthMs = FRAME_MS * frames;
      if (packetMs !== null && lengthMs !== packetMs) continue;
      const most = Math.min(MOST_REDUNDANCY, reach(lengthMs));
      for (let redundancy = 0; redundancy <= most; redundancy++) {
        const ages = spread(redundancy, lengthMs);
        const waitedMs = lengthMs - FRAME_MS + Math.max(0, ...ages) * lengthMs;
        if (ages.length && waitedMs > LONGEST_PLAYOUT_MS) continue;
        for (const copyShare of ages.length ? COPY_SHARES : [0]) {
          plans.push(this._planFor(frames, ages, copyShare, loss, burst, aimBps));
        }
      }
    }
    return plans;
  }

  /**
   * @param {number} frames
   * @param {readonly number[]} ages
   * @param {number} copyShare
   * @param {number} loss
   * @param {number} burst
   * @param {number} aimBps
   * @returns {SendPlan}
   */
  _planFor(frames, ages, copyShare, loss, burst, aimBps) {
    const packetMs = FRAME_MS * frames;
    const perSecond = 1_000 / packetMs;
    const framingBps = 8 * perSecond * (this._headerBytes + COPY_BYTES * ages.length);
    const share = 1 + copiesShare(copyShare, ages.length);
    const destinations = this._destinations;
    const roomBps = (aimBps - OTHER_BPS * destinations) / destinations - framingBps;
    const bitrate = Math.min(Math.max(roomBps / share, MINIMUM_BPS), MAXIMUM_BPS);
    const wireBps = destinations * (framingBps + share * bitrate + OTHER_BPS);
    const left = leftOver(loss, burst, ages);
    const kbps = (bitrate / 1_000) * (1 + (LONGER_SAVES * (frames - 1)) / frames);
    let score = pesq(kbps, left, loss - left, copyShare);
    score -= delayPenalty(this._delayMs(packetMs, ages));
    // What does not fit is a last resort: the less it exceeds the rate, the better.
    const excess = wireBps / aimBps - 1;
    if (excess > 0.02) score -= 10 * (1 + excess);
    return { bitrate: roundHalfEven(bitrate), packetMs, ages, copyShare, wireBps: roundHalfEven(wireBps), score };
  }

  /**
   * @param {number} packetMs
   * @param {readonly number[]} ages
   */
  _delayMs(packetMs, ages) {
    const paths = [...this._paths.values()];
    const roundTripMs = believed(paths.map((path) => path.roundTripMs), UNKNOWN_ROUND_TRIP_MS);
    const jitterMs = paths.length ? believed(paths.map((path) => path.jitterMs), USUAL_JITTER_MS) : 0;
    const waitedMs = Math.max(0, ...ages) * packetMs;
    return roundTripMs / 2 + packetMs + CODEC_MS + Math.max(BUFFER_MS + 2 * jitterMs, waitedMs);
  }
}

/**
 * The worst that listeners report; what one of several reports alone, no further than is usual.
 * @param {number[]} reported
 * @param {number} usual
 */
function believed(reported, usual) {
  if (reported.length < 2) return reported[0] ?? usual;
  const [worst, second] = reported.sort((a, b) => b - a);
  return Math.min(worst, Math.max(second, usual));
}

/**
 * Rate of so many copies together beside a packet's.
 * @param {number} firstShare
 * @param {number} count
 */
function copiesShare(firstShare, count) {
  return count ? firstShare * (1 + LATER_COPIES * (count - 1)) : 0;
}

/**
 * What a listener is taken to think of a payload rate, with a share of packets concealed.
 * @param {number} kbps
 * @param {number} concealed
 * @param {number} copied
 * @param {number} copyShare
 */
function pesq(kbps, concealed, copied, copyShare) {
  const clean = cleanPesq(kbps);
  if (concealed + copied <= 0) return clean;
  let square = disturbance(clean) ** 2;
  if (copied > 0) {
    const coarser = disturbance(cleanPesq(copyShare * kbps)) ** 2 - square;
    square += copied * (COPY_HARM * coarser + SWITCH_HARM);
  }
  const raw = HIGHEST_RAW - Math.sqrt(square + CONCEALED_HARM * concealed);
  return LOWEST + 4 / (1 + Math.exp(MAP_OFFSET - MAP_SLOPE * raw));
}

/** @param {number} score */
function disturbance(score) {
  return HIGHEST_RAW - (MAP_OFFSET - Math.log(4 / (score - LOWEST) - 1)) / MAP_SLOPE;
}

/** @param {number} kbps */
function cleanPesq(kbps) {
  const points = PESQ_BY_KBPS;
  const at = Math.min(Math.max(kbps, points[0][0]), points[points.length - 1][0]);
  for (let k = 1; k < points.length; k++) {
    const [[low, lowScore], [high, highScore]] = [points[k - 1], points[k]];
    if (at <= high) return lowScore + (Math.log(at / low) / Math.log(high / low)) * (highScore - lowScore);
  }
  return points[points.length - 1][1];
}

/** @param {number} delayMs */
function delayPenalty(delayMs) {
  return DELAY_PER_MS * delayMs + LATE_PER_MS * Math.max(0, delayMs - KNEE_MS);
}
