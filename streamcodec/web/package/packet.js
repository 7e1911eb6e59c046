// The packet as `streamcodec/codec/packet.py` lays it out, where the bytes are explained.

import { PacketError } from './errors.js';
import { varint } from './octets.js';

export const VERSION = 1;
export const MIN_PACKET_BYTES = 10;
export const MAX_PAYLOAD_BYTES = 60_000;
export const MAX_REDUNDANT = 8;
export const MAX_FRAMES = 6;
export const MAX_QUALITY_INDEX = 15;
export const MODULUS = 1 << 16;

export const Tier = Object.freeze({ NEURAL: 0, NEAR_LOSSLESS: 1, LOSSLESS: 2 });
export const Flags = Object.freeze({ NONE: 0, KEY: 1, SILENCE: 2, END: 4 });

/**
 * @typedef {object} RedundantCopy A coarser copy of an earlier packet's payload.
 * @property {number} age Frame durations before the carrying packet's timestamp, 1 to 255.
 * @property {number} qualityIndex
 * @property {number} flags
 * @property {Uint8Array} payload
 */

/**
 * @typedef {object} PacketFields
 * @property {number} [tier]
 * @property {number} sequence Counts frames sent, below 65,536.
 * @property {number} timestamp Media time of the first frame in frame durations, below 65,536.
 * @property {number} qualityIndex
 * @property {number} flags
 * @property {Uint8Array} payload
 * @property {readonly RedundantCopy[]} [redundant]
 * @property {number} [frames]
 */

/** One packet of coded sound. Constructing and parsing throw PacketError for fields out of range. */
export class Packet {
  /** @param {PacketFields} fields */
  constructor({ tier = Tier.NEURAL, sequence, timestamp, qualityIndex, flags, payload, redundant = [], frames = 1 }) {
    check('tier', tier, 0, 2);
    check('sequence', sequence, 0, MODULUS - 1);
    check('timestamp', timestamp, 0, MODULUS - 1);
    check('qualityIndex', qualityIndex, 0, MAX_QUALITY_INDEX);
    check('flags', flags, 0, 7);
    check('bytes of payload', payload.length, 0, MAX_PAYLOAD_BYTES);
    check('number of redundant copies', redundant.length, 0, MAX_REDUNDANT);
    check('frames', frames, 1, MAX_FRAMES);
    for (const copy of redundant) {
      check('age of a copy', copy.age, 0, 255);
      check('qualityIndex of a copy', copy.qualityIndex, 0, MAX_QUALITY_INDEX);
      check('flags of a copy', copy.flags, 0, 7);
      check('bytes of a copy', copy.payload.length, 0, MAX_PAYLOAD_BYTES);
    }
    this.tier = tier;
    this.sequence = sequence;
    this.timestamp = timestamp;
    this.qualityIndex = qualityIndex;
    this.flags = flags;
    this.payload = payload;
    this.redundant = redundant;
    this.frames = frames;
  }

  /** Whether this packet decodes without any earlier one. */
  get isKey() {
    return (this.flags & Flags.KEY) !== 0;
  }

  /** @returns {Uint8Array} what travels; the inverse of {@link Packet.fromBytes}. */
  toBytes() {
    /** @type {number[]} */
    const out = [
      (VERSION << 4) | this.tier,
      (this.flags << 4) | this.qualityIndex,
      this.sequence >> 8,
      this.sequence & 255,
      this.timestamp >> 8,
      this.timestamp & 255,
    ];
    appendChunk(out, this.payload);
    out.push(((this.frames - 1) << 4) | this.redundant.length);
    for (const copy of this.redundant) {
      out.push(copy.age, (copy.flags << 4) | copy.qualityIndex);
      appendChunk(out, copy.payload);
    }
    const crc = crc16(out, out.length);
    out.push(crc >> 8, crc & 255);
    return Uint8Array.from(out);
  }

  /**
   * Every length and the CRC are checked before anything is used.
   * @param {Uint8Array} data
   * @returns {Packet}
   */
  static fromBytes(data) {
    if (data.length < MIN_PACKET_BYTES) {
      throw new PacketError(`a packet has at least ${MIN_PACKET_BYTES} bytes, got ${data.length}`);
    }
    if (data[0] >> 4 !== VERSION) {
      throw new PacketError(`packet version ${data[0] >> 4} is not the ${VERSION} that can be read here`);
    }
    const end = data.length - 2;
    if (crc16(data, end) !== ((data[end] << 8) | data[end + 1])) {
      throw new PacketError('packet checksum does not match: the packet is damaged or cut short');
    }
    const reader = new Reader(data.subarray(0, end), 6);
    const payload = reader.chunk();
    const counts = reader.byte();
    const redundant = [];
    for (let k = 0; k < (counts & 15); k++) {
      const age = reader.byte();
      const mark = reader.byte();
      redundant.push({ age, qualityIndex: mark & 15, flags: mark >> 4, payload: reader.chunk() });
    }
    if (reader.position !== end) {
      throw new PacketError(`packet has ${end - reader.position} bytes more than its lengths account for`);
    }
    return new Packet({
      tier: data[0] & 15,
      flags: data[1] >> 4,
      qualityIndex: data[1] & 15,
      sequence: (data[2] << 8) | data[3],
      timestamp: (data[4] << 8) | data[5],
      payload,
      redundant,
      frames: 1 + (counts >> 4),
    });
  }
}

class Reader {
  /**
   * @param {Uint8Array} data
   * @param {number} position
   */
  constructor(data, position) {
    this.data = data;
    this.position = position;
  }

  byte() {
    if (this.position >= this.data.length) throw new PacketError('packet ends before its fields do');
    return this.data[this.position++];
  }

  /** A length in up to three bytes of seven bits, lowest first, then so many bytes. */
  chunk() {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift > 14) throw new PacketError('packet has a length of more than three bytes');
      const byte = this.byte();
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    const start = this.position;
    if (length > MAX_PAYLOAD_BYTES || start + length > this.data.length) {
      throw new PacketError(`packet claims a chunk of ${length} bytes where ${this.data.length - start} remain`);
    }
    this.position = start + length;
    return this.data.slice(start, this.position);
  }
}

/**
 * @param {number[]} out
 * @param {Uint8Array} chunk
 */
function appendChunk(out, chunk) {
  out.push(...varint(chunk.length), ...chunk);
}

/**
 * CRC-16 (CCITT), seed 0xFFFF.
 * @param {ArrayLike<number>} data
 * @param {number} length
 */
export function crc16(data, length) {
  let crc = 0xffff;
  for (let k = 0; k < length; k++) {
    crc ^= data[k] << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
    crc &= 0xffff;
  }
  return crc;
}

/**
 * @param {string} name
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function check(name, value, least, most) {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new PacketError(`${name} must be a whole number from ${least} to ${most}, got ${value}`);
  }
}
