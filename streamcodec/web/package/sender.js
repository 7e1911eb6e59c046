// Samples in, packets out, with as many redundant copies as the receivers' reports ask for.

import { CongestionController, agreedRate } from './congestion.js';
import { Encoder } from './encoder.js';
import { Flags, MAX_REDUNDANT, MODULUS, Packet } from './packet.js';
import { reportFromBytes, roundTripMs } from './report.js';

const FIRST_SHARE = 0.5;
const LATER_SHARE = 0.4;

/** @typedef {{bitrate: number, packetMs: number, congestion: boolean}} SenderSettings */

/** As Python's `MediaSender` and `Redundancy`. */
export class Sender {
  /**
   * @param {import('./codec.js').Codec} codec
   * @param {SenderSettings} settings
   */
  constructor(codec, { bitrate, packetMs, congestion }) {
    this._encoder = new Encoder(codec, { bitrate, packetMs });
    this._packetMs = packetMs;
    this._highestBps = bitrate;
    this._congestion = congestion;
    /** @type {Map<string, CongestionController>} */
    this._controllers = new Map();
    /** @type {Map<string, number>} */
    this.roundTripsMs = new Map();
    /** @type {Packet[]} */
    this._recent = [];
    this.bitrate = bitrate;
    /** @type {readonly number[]} How many packets ago those were sent that ride along. */
    this.ages = [];
    this.packets = 0;
    this.payloadBytes = 0;
    this._follow();
  }

  /**
   * @param {Float32Array} samples
   * @returns {Packet[]}
   */
  push(samples) {
    return this._finish(this._encoder.push(samples));
  }

  /** The rest, the last packet marked as the end. */
  flush() {
    const packets = this._encoder.flush();
    const last = packets.pop();
    if (last) packets.push(new Packet({ ...last, flags: last.flags | Flags.END }));
    return this._finish(packets);
  }

  /** @param {number} packetMs */
  setPacketMs(packetMs) {
    this._packetMs = packetMs;
    this._encoder.setPacketMs(packetMs);
    for (const controller of this._controllers.values()) controller.packetMs = packetMs;
    this._follow();
  }

  /** @param {number} bitrate the highest, in bits a second */
  setBitrate(bitrate) {
    this._highestBps = bitrate;
    for (const controller of this._controllers.values()) controller.maximumBps = bitrate;
    this._follow();
  }

  /**
   * @param {string} receiver
   * @param {Uint8Array} bytes
   * @param {number} nowMs
   */
  hearReport(receiver, bytes, nowMs) {
    const report = reportFromBytes(bytes);
    const tripMs = roundTripMs(report, nowMs);
    if (tripMs !== null) this.roundTripsMs.set(receiver, tripMs);
    if (!this._congestion) return;
    let controller = this._controllers.get(receiver);
    if (!controller) {
      controller = new CongestionController(this._highestBps, this._packetMs);
      this._controllers.set(receiver, controller);
    }
    controller.onReport(report, nowMs);
    this._follow();
  }

  /** @param {number} nowMs */
  tick(nowMs) {
    for (const controller of this._controllers.values()) controller.onTick(nowMs);
    this._follow();
  }

  /** @param {string} receiver */
  forget(receiver) {
    this._controllers.delete(receiver);
    this.roundTripsMs.delete(receiver);
    this._follow();
  }

  _follow() {
    if (!this._congestion) return;
    const { bitrate, ages } = agreedRate([...this._controllers.values()], this._highestBps, this._packetMs);
    this.ages = ages;
    if (bitrate !== this.bitrate) this._encoder.setBitrate(bitrate);
    this.bitrate = bitrate;
  }

  /** @param {Packet[]} packets */
  _finish(packets) {
    return packets.map((packet) => {
      this.packets += 1;
      this.payloadBytes += packet.payload.length;
      return this._attach(packet);
    });
  }

  /** @param {Packet} packet */
  _attach(packet) {
    const chosen = [];
    for (const back of this.ages) {
      const earlier = this._recent.at(-back);
      if (back > this._recent.length || !earlier || earlier.frames !== packet.frames) continue;
      const age = (packet.timestamp - earlier.timestamp + MODULUS) % MODULUS;
      if (age === 0 || age > /** @type {number} */ (this.ages.at(-1)) * packet.frames) continue;
      const coarse = this._encoder.encodeRedundant(earlier, back === this.ages[0] ? FIRST_SHARE : LATER_SHARE);
      if (coarse) chosen.push({ age, flags: earlier.flags, ...coarse });
    }
    const oldest = (this.ages.at(-1) ?? 0) * packet.frames;
    const carried = Math.max(0, ...chosen.map((copy) => copy.age));
    if (carried < oldest && this._recent.length < /** @type {number} */ (this.ages.at(-1))) {
      // The receiver had better begin with the delay that the copies to come ask for.
      chosen.push({ age: oldest, qualityIndex: 0, flags: Flags.KEY, payload: new Uint8Array(0) });
    }
    this._recent.push(packet);
    if (this._recent.length > MAX_REDUNDANT) this._recent.shift();
    return chosen.length ? new Packet({ ...packet, redundant: chosen }) : packet;
  }
}
