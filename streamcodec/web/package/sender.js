// Samples in, packets out, with as many redundant copies as the receivers' reports ask for.

import { CongestionController, agreedRate } from './congestion.js';
import { Encoder } from './encoder.js';
import { Flags, Packet } from './packet.js';
import { FIRST_SHARE, Redundancy } from './redundancy.js';
import { reportFromBytes, roundTripMs } from './report.js';
import { WireRateController } from './wire_rate.js';

/**
 * @typedef {object} SenderSettings
 * @property {number} bitrate
 * @property {number} packetMs
 * @property {boolean} congestion
 * @property {boolean} [dtx] Send next to nothing while there is only background.
 * @property {number} [wireBps] A rate on the wire to keep to, in place of bitrate, packet length and redundancy; 0: none.
 */

/** As Python's `MediaSender`, `WireRateSender` and `Redundancy`. */
export class Sender {
  /**
   * @param {import('./codec.js').Codec} codec
   * @param {SenderSettings} settings
   */
  constructor(codec, { bitrate, packetMs, congestion, dtx = false, wireBps = 0 }) {
    this._encoder = new Encoder(codec, { bitrate, packetMs, dtx });
    this._encoderPacketMs = packetMs;
    this._redundancy = new Redundancy((of, share) => this._encoder.encodeRedundant(of, share));
    /** @type {WireRateController | null} */
    this._wire = wireBps ? new WireRateController(wireBps) : null;
    this._paths = { direct: 1, relayed: 0, sealBytes: 0 };
    this._packetMs = packetMs;
    this._highestBps = bitrate;
    this._congestion = congestion;
    /** @type {Map<string, CongestionController>} */
    this._controllers = new Map();
    /** @type {Map<string, number>} */
    this.roundTripsMs = new Map();
    this.bitrate = bitrate;
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
    for (const controller of this._controllers.values()) controller.packetMs = packetMs;
    this._follow();
  }

  /** @param {number} bitrate the highest, in bits a second */
  setBitrate(bitrate) {
    this._highestBps = bitrate;
    for (const controller of this._controllers.values()) controller.maximumBps = bitrate;
    this._follow();
  }

  /** @param {boolean} dtx */
  setDtx(dtx) {
    this._encoder.setDtx(dtx);
  }

  /**
   * Keep to a rate on the wire from now on, or with 0 to bitrate and packet length again.
   * @param {number} wireBps
   * @param {number} nowMs
   */
  setWireBps(wireBps, nowMs) {
    this._wire = wireBps ? new WireRateController(wireBps) : null;
    this._redundancy.share = FIRST_SHARE;
    this._onPaths(nowMs);
    this._follow();
  }

  /** How many packets ago those were sent that ride along. */
  get ages() {
    return this._redundancy.ages;
  }

  /** @returns {import('./wire_rate.js').SendPlan | null} How the rate on the wire is spent, where one is kept to. */
  get plan() {
    return this._wire?.plan ?? null;
  }

  /**
   * Over how many lines and relayed messages everybody is reached, and what sealing adds to the latter.
   * @param {number} direct
   * @param {number} relayed
   * @param {number} sealBytes
   * @param {number} nowMs
   */
  notePaths(direct, relayed, sealBytes, nowMs) {
    const now = { direct, relayed, sealBytes };
    if (JSON.stringify(now) === JSON.stringify(this._paths)) return;
    this._paths = now;
    this._onPaths(nowMs);
    this._follow();
  }

  /**
   * About once a second: what was measured to go out in the last few.
   * @param {number} sentBps
   * @param {number} nowMs
   */
  noteWire(sentBps, nowMs) {
    this._wire?.onWire(sentBps, nowMs);
  }

  /**
   * Whether what is pushed is somebody talking: packets change their length where nobody does.
   * @param {boolean} talking
   */
  noteVoice(talking) {
    if (this._wire) this._wire.talking = talking;
  }

  /** @param {number} nowMs */
  _onPaths(nowMs) {
    const { direct, relayed, sealBytes } = this._paths;
    this._wire?.onPaths(direct, relayed, sealBytes, nowMs);
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
    if (this._wire) {
      this._wire.onReport(receiver, report, this.roundTripsMs.get(receiver) ?? null, nowMs);
      this._follow();
    }
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
    this._wire?.onTick(nowMs);
    for (const controller of this._controllers.values()) controller.onTick(nowMs);
    this._follow();
  }

  /** @param {string} receiver */
  forget(receiver) {
    this._wire?.forget(receiver);
    this._controllers.delete(receiver);
    this.roundTripsMs.delete(receiver);
    this._follow();
  }

  _follow() {
    const { plan } = this;
    const packetMs = plan?.packetMs ?? this._packetMs;
    if (packetMs !== this._encoderPacketMs) this._encoder.setPacketMs(packetMs);
    this._encoderPacketMs = packetMs;
    if (!plan && !this._congestion) {
      this._aim(this._highestBps, []);
      return;
    }
    const agreed = plan ?? agreedRate([...this._controllers.values()], this._highestBps, this._packetMs);
    this._redundancy.share = plan?.copyShare || FIRST_SHARE;
    this._aim(agreed.bitrate, agreed.ages);
  }

  /**
   * @param {number} bitrate
   * @param {readonly number[]} ages
   */
  _aim(bitrate, ages) {
    this._redundancy.ages = ages;
    if (bitrate !== this.bitrate) this._encoder.setBitrate(bitrate);
    this.bitrate = bitrate;
  }

  /** @param {Packet[]} packets */
  _finish(packets) {
    return packets.map((packet) => {
      this.packets += 1;
      this.payloadBytes += packet.payload.length;
      return this._redundancy.attach(packet);
    });
  }
}
