// Coarser copies of earlier packets ride along with each new one: `streamcodec/net/redundancy.py`, where the reasons are
// given. A trace that Python's tests write holds this to it.

import { Flags, MAX_REDUNDANT, MODULUS, Packet } from './packet.js';
import { LATER_COPIES } from './wire_rate.js';

export const FIRST_SHARE = 0.5;

/** @typedef {{sequence: number, timestamp: number, frames: number, qualityIndex: number, flags: number}} Stretch */
/** @typedef {(of: Stretch, share: number) => {qualityIndex: number, payload: Uint8Array} | null} RedundantForm */

/** Attaches to each packet sent coarser payloads of earlier ones, those that went out `ages` packets ago. */
export class Redundancy {
  /** @param {RedundantForm} encodeRedundant Gives what was coded a moment ago at a share of its rate. */
  constructor(encodeRedundant) {
    this._encodeRedundant = encodeRedundant;
    /** @type {Packet[]} */
    this._recent = [];
    /** @type {readonly number[]} How many packets ago those were sent that ride along, ascending. */
    this.ages = [];
    /** Size of the first copy beside its packet. */
    this.share = FIRST_SHARE;
  }

  /**
   * The packet with copies of those before it, newest first. A copy is as long as the packet that carries it; after a
   * change of length it may begin and end within earlier packets.
   * @param {Packet} packet
   * @returns {Packet}
   */
  attach(packet) {
    const oldest = this.ages.at(-1) ?? 0;
    const chosen = [];
    for (const back of this.ages) {
      const copy = back <= this._recent.length ? this._copy(back, packet, oldest) : null;
      if (copy) chosen.push(copy);
    }
    const carried = Math.max(0, ...chosen.map((copy) => copy.age));
    const short = carried < oldest * packet.frames && this._recent.length < oldest;
    if (short && this._encodeRedundant(packet, this.share)) {
      // The receiver had better begin with the delay that the copies to come ask for.
      chosen.push({ age: oldest * packet.frames, qualityIndex: 0, flags: Flags.KEY, payload: new Uint8Array(0) });
    }
    this._recent.push(packet);
    if (this._recent.length > MAX_REDUNDANT) this._recent.shift();
    return chosen.length ? new Packet({ ...packet, redundant: chosen }) : packet;
  }

  /**
   * @param {number} back
   * @param {Packet} carrier
   * @param {number} oldest
   */
  _copy(back, carrier, oldest) {
    /** @type {Stretch | null} */
    let earlier = this._recent[this._recent.length - back];
    if (earlier.frames !== carrier.frames) {
      earlier = this._stretch((carrier.timestamp - back * carrier.frames + MODULUS) % MODULUS, carrier.frames);
    }
    if (!earlier) return null;
    const age = (carrier.timestamp - earlier.timestamp + MODULUS) % MODULUS;
    if (age === 0 || age > oldest * carrier.frames) return null;
    const coarse = this._encodeRedundant(earlier, back === this.ages[0] ? this.share : LATER_COPIES * this.share);
    return coarse && { age, flags: earlier.flags, ...coarse };
  }

  /**
   * So many frames that were sent without a pause in packets of another length, named as one packet.
   * @param {number} timestamp
   * @param {number} frames
   * @returns {Stretch | null}
   */
  _stretch(timestamp, frames) {
    /** @type {Stretch | null} */
    let named = null;
    let found = 0;
    for (const packet of this._recent) {
      const into = (timestamp + found - packet.timestamp + MODULUS) % MODULUS;
      if (into >= packet.frames) continue;
      const { flags, qualityIndex } = packet;
      if (named && flags !== named.flags) return null;
      named ??= { sequence: (packet.sequence + into) % MODULUS, timestamp, frames, qualityIndex, flags };
      found += packet.frames - into;
    }
    return found >= frames ? named : null;
  }
}
