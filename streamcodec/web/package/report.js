// Receiver reports as `streamcodec/net/report.py` lays them out, where the bytes are explained.

import { PacketError } from './errors.js';
import { extend, roundHalfEven } from './numbers.js';
import { crc16 } from './packet.js';

export const REPORT_BYTES = 36;
export const FIRST_BYTE = 0x1a;
export const INTERVAL_MS = 500;
const NEVER = 0xffff;
const BASE_INTERVALS = 60;
/** After so long without a packet delays are compared with later ones alone: see Python's monitor. */
const PAUSE_MS = 1_000;
const LONGEST_GAP_PACKETS = 3_000;
const PACKET_MS = 20;

/**
 * @typedef {object} Report
 * @property {number} loss 0 to 1, in the interval.
 * @property {number} concealed
 * @property {number} meanBurstPackets
 * @property {number} highestSequence
 * @property {number} jitterMs
 * @property {number} queueMs
 * @property {number} queueGrowthMsPerS
 * @property {number} playoutDelayMs
 * @property {number} receivedBps
 * @property {number} receivedPackets
 * @property {number} lostPackets
 * @property {number} madeMs
 * @property {number} echoMadeMs
 * @property {number} echoAgeMs
 */

/**
 * @param {Report} report
 * @returns {Uint8Array}
 */
export function reportToBytes(report) {
  const bytes = new Uint8Array(REPORT_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = FIRST_BYTE;
  bytes[1] = clamp(report.loss * 255, 0xff);
  bytes[2] = clamp(report.concealed * 255, 0xff);
  bytes[3] = clamp(report.meanBurstPackets * 8, 0xff);
  view.setUint16(4, report.highestSequence & 0xffff);
  view.setUint16(6, clamp(report.jitterMs * 10, 0xffff));
  view.setUint16(8, clamp(report.queueMs * 10, 0xffff));
  view.setInt16(10, clamp(report.queueGrowthMsPerS, 0x7fff, -0x8000));
  view.setUint16(12, clamp(report.playoutDelayMs, 0xffff));
  view.setUint16(14, clamp(report.receivedBps / 100, 0xffff));
  view.setUint32(16, report.receivedPackets);
  view.setUint32(20, report.lostPackets);
  view.setUint32(24, report.madeMs);
  view.setUint32(28, report.echoMadeMs);
  view.setUint16(32, clamp(report.echoAgeMs, NEVER));
  return withChecksum(bytes.subarray(0, REPORT_BYTES - 2));
}

/**
 * After checking length, version and CRC; throws PacketError.
 * @param {Uint8Array} data
 * @returns {Report}
 */
export function reportFromBytes(data) {
  if (data.length !== REPORT_BYTES) throw new PacketError(`a report has ${REPORT_BYTES} bytes, got ${data.length}`);
  if (data[0] !== FIRST_BYTE) throw new PacketError(`byte ${data[0]} begins no receiver report of version 1`);
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (crc16(data, REPORT_BYTES - 2) !== view.getUint16(REPORT_BYTES - 2)) {
    throw new PacketError('receiver report checksum does not match: the report is damaged');
  }
  return {
    loss: data[1] / 255,
    concealed: data[2] / 255,
    meanBurstPackets: data[3] / 8,
    highestSequence: view.getUint16(4),
    jitterMs: view.getUint16(6) / 10,
    queueMs: view.getUint16(8) / 10,
    queueGrowthMsPerS: view.getInt16(10),
    playoutDelayMs: view.getUint16(12),
    receivedBps: view.getUint16(14) * 100,
    receivedPackets: view.getUint32(16),
    lostPackets: view.getUint32(20),
    madeMs: view.getUint32(24),
    echoMadeMs: view.getUint32(28),
    echoAgeMs: view.getUint16(32),
  };
}

/**
 * Round trip seen by whoever this report is for; null while it has none of ours to echo.
 * @param {Report} report
 * @param {number} nowMs
 */
export function roundTripMs(report, nowMs) {
  if (report.echoAgeMs === NEVER) return null;
  const elapsedMs = (roundHalfEven(nowMs) - report.echoMadeMs) >>> 0;
  return elapsedMs < 0x80000000 ? Math.max(0, elapsedMs - report.echoAgeMs) : null;
}

/**
 * The same report sent so much later than it was made: what it says of round trips stays true.
 * @param {Report} report
 * @param {number} milliseconds
 * @returns {Report}
 */
export function held(report, milliseconds) {
  const { echoAgeMs } = report;
  return {
    ...report,
    madeMs: (report.madeMs + roundHalfEven(milliseconds)) >>> 0,
    echoAgeMs: echoAgeMs === NEVER ? NEVER : echoAgeMs + roundHalfEven(milliseconds),
  };
}

/**
 * @param {Uint8Array} body
 * @returns {Uint8Array}
 */
export function withChecksum(body) {
  const crc = crc16(body, body.length);
  return Uint8Array.from([...body, crc >> 8, crc & 255]);
}

/** Watches frames as they arrive and makes the report when it is due; as Python's `ReceptionMonitor`. */
export class ReceptionMonitor {
  // Of the interval at hand.
  _intervalReceived = 0;
  _intervalMissing = 0;
  _intervalBursts = 0;
  _intervalBytes = 0;
  /** @type {number | null} */
  _intervalFastestMs = null;

  constructor(packetMs = PACKET_MS) {
    this._packetMs = packetMs;
    /** @type {number | null} */
    this._highest = null;
    this._first = 0;
    this._received = 0;
    this._jitterMs = 0;
    /** @type {number | null} */
    this._lastTransitMs = null;
    this._arrivalMs = -Infinity;
    /** @type {number[]} */
    this._baseMs = [];
    /** @type {[number, number] | null} */
    this._lastFastest = null;
    /** @type {number | null} */
    this._lastReportMs = null;
    /** @type {[number, number] | null} */
    this._echo = null;
    this._lastConcealed = 0;
    this._lastPlayed = 0;
    this._unit = 0;
  }

  /**
   * @param {{sequence: number, timestamp: number, part: number, packet: {frames: number}}} frame
   * @param {number} sizeBytes on the wire
   * @param {number} arrivalMs
   */
  observe(frame, sizeBytes, arrivalMs) {
    const far = (/** @type {number} */ highest) =>
      Math.abs(extend(frame.sequence, highest) - highest) > LONGEST_GAP_PACKETS;
    if (this._highest === null || far(this._highest)) this._beginStream(frame);
    else if (arrivalMs - this._arrivalMs > PAUSE_MS) this._forgetDelays();
    this._arrivalMs = arrivalMs;
    const highest = /** @type {number} */ (this._highest);
    const sequence = extend(frame.sequence, highest);
    this._unit = extend(frame.timestamp, this._unit);
    this._received += 1;
    this._intervalReceived += 1;
    this._intervalBytes += sizeBytes;
    if (sequence > highest) {
      const gap = sequence - highest - 1;
      if (gap) {
        this._intervalBursts += 1;
        this._intervalMissing += gap;
      }
      this._highest = sequence;
    } else if (sequence < highest && this._intervalMissing) {
      // Out of order: what looked lost has come after all.
      this._intervalMissing -= 1;
    }
    this._observeDelay(arrivalMs - this._unit * this._packetMs, frame.part === frame.packet.frames - 1);
  }

  /**
   * Remember the other side's report, to be echoed for its measurement of the round trip.
   * @param {Report} report
   * @param {number} nowMs
   */
  hearReport(report, nowMs) {
    this._echo = [report.madeMs, nowMs];
  }

  /** @param {number} nowMs */
  due(nowMs) {
    if (this._highest === null) return false;
    this._lastReportMs ??= nowMs;
    return nowMs - this._lastReportMs >= INTERVAL_MS;
  }

  /**
   * Close the interval and report on it.
   * @param {number} nowMs
   * @param {{concealed: number, played: number, recovered: number, depthMs: number}} stats
   * @returns {Report}
   */
  report(nowMs, stats) {
    const highest = this._highest;
    if (highest === null) throw new PacketError('there is nothing to report before the first packet');
    const sinceMs = nowMs - (this._lastReportMs ?? nowMs - INTERVAL_MS);
    const expected = this._intervalReceived + this._intervalMissing;
    const [queueMs, growth] = this._queue(nowMs);
    const concealed = stats.concealed - this._lastConcealed;
    const ticks = concealed + stats.played + stats.recovered - this._lastPlayed;
    const report = {
      loss: expected ? this._intervalMissing / expected : 0,
      concealed: ticks > 0 ? concealed / ticks : 0,
      meanBurstPackets: this._intervalBursts ? this._intervalMissing / this._intervalBursts : 0,
      highestSequence: ((highest % 65_536) + 65_536) % 65_536,
      jitterMs: this._jitterMs,
      queueMs,
      queueGrowthMsPerS: growth,
      playoutDelayMs: Math.max(0, stats.depthMs),
      receivedBps: sinceMs > 0 ? (8_000 * this._intervalBytes) / sinceMs : 0,
      receivedPackets: this._received,
      lostPackets: Math.max(0, highest - this._first + 1 - this._received),
      madeMs: roundHalfEven(nowMs) >>> 0,
      echoMadeMs: this._echo ? this._echo[0] : 0,
      echoAgeMs: this._echo ? Math.min(NEVER, roundHalfEven(nowMs - this._echo[1])) : NEVER,
    };
    this._lastReportMs = nowMs;
    this._lastConcealed = stats.concealed;
    this._lastPlayed = stats.played + stats.recovered;
    this._beginInterval();
    return report;
  }

  /** @param {{sequence: number, timestamp: number}} frame */
  _beginStream(frame) {
    this._first = frame.sequence;
    this._highest = frame.sequence - 1;
    this._received = 0;
    this._unit = frame.timestamp;
    this._forgetDelays();
    this._beginInterval();
  }

  _forgetDelays() {
    this._lastTransitMs = null;
    this._lastFastest = null;
    this._intervalFastestMs = null;
    this._baseMs = [];
  }

  _beginInterval() {
    this._intervalReceived = 0;
    this._intervalMissing = 0;
    this._intervalBursts = 0;
    this._intervalBytes = 0;
    this._intervalFastestMs = null;
  }

  /**
   * Frames of a packet come together: only its last one tells of the network, however long packets are.
   * @param {number} transitMs
   * @param {boolean} whole
   */
  _observeDelay(transitMs, whole) {
    if (whole) {
      if (this._lastTransitMs !== null) {
        this._jitterMs += (Math.abs(transitMs - this._lastTransitMs) - this._jitterMs) / 16;
      }
      this._lastTransitMs = transitMs;
    }
    const fastestMs = this._intervalFastestMs;
    this._intervalFastestMs = fastestMs === null ? transitMs : Math.min(fastestMs, transitMs);
  }

  /**
   * @param {number} nowMs
   * @returns {[number, number]}
   */
  _queue(nowMs) {
    const fastestMs = this._intervalFastestMs;
    if (fastestMs === null) return [0, 0];
    const before = this._lastFastest;
    const growth = before && nowMs > before[0] ? (1_000 * (fastestMs - before[1])) / (nowMs - before[0]) : 0;
    this._lastFastest = [nowMs, fastestMs];
    this._baseMs.push(fastestMs);
    if (this._baseMs.length > BASE_INTERVALS) this._baseMs.shift();
    return [fastestMs - Math.min(...this._baseMs), growth];
  }
}

/**
 * @param {number} value
 * @param {number} highest
 * @param {number} [lowest]
 */
function clamp(value, highest, lowest = 0) {
  return Math.min(Math.max(roundHalfEven(value), lowest), highest);
}
