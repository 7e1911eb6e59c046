// Packets and reports as they travel on a line, by `streamcodec/net/framing.py` and docs/wire-format.md.

import { PacketError } from './errors.js';
import { isFragment } from './fragments.js';
import { extend, mod } from './numbers.js';
import { Flags, MAX_FRAMES, MAX_REDUNDANT, MODULUS, Packet } from './packet.js';
import { FIRST_BYTE, REPORT_BYTES, withChecksum } from './report.js';

export const WIRE_VERSION = 1;
export const HEARTBEAT = 0xf0;

const SYNC_FRAMES = 8;
const REPEATED_SYNCS = 3;
const LONGEST_GAP_MS = 1_500;
const DETAILED = 12;
const SYNC = 13;
const REPORT = 14;
const RAW = 0xf1;
const COPIES_FROM = 6;
const POSITIONS = 256;
const SYNC_BYTES = 5;
const LONGEST_CHUNK_BYTES = 1 << 14;
const HAS_COPIES = 8;
const COPY_AGE = 0x80;
const COPY_LAST = 0x40;
const COPY_SILENCE = 0x20;
const COPY_KEY = 0x10;

/** The sender's side of one path, or of several that carry the same frames. */
export class Framer {
  /** @param {{numbered?: boolean}} [options] `numbered`: the transport has time stamps of its own (RTP). */
  constructor({ numbered = false } = {}) {
    this._numbered = numbered;
    /** Time stamp of the last packet, extended over wraps, in frames. */
    this.unit = 0;
    this._started = false;
    this._lastSyncUnit = 0;
    this._offset = 0;
    this._tier = 0;
    this._syncsDue = 0;
  }

  /** The transport's time stamps have jumped: say in full where the next packets belong. */
  resync() {
    this._syncsDue = REPEATED_SYNCS;
  }

  /**
   * One packet as it travels, with a report before it if there is one to send.
   * @param {Packet} packet
   * @param {Uint8Array | null} [report]
   * @returns {Uint8Array}
   */
  frame(packet, report = null) {
    const head = report === null ? [] : reportBlock(report);
    const longest = Math.max(packet.payload.length, ...packet.redundant.map((copy) => copy.payload.length));
    const odd = packet.redundant.some((copy) => copy.flags & ~(Flags.KEY | Flags.SILENCE) || copy.age === 0);
    if (odd || longest >= LONGEST_CHUNK_BYTES) return Uint8Array.from([...head, RAW, ...packet.toBytes()]);
    return Uint8Array.from([...this._sync(packet), ...head, ...this._media(packet)]);
  }

  /** @param {Packet} packet */
  _sync(packet) {
    const { sequence, timestamp, tier } = packet;
    const offset = mod(timestamp - sequence, MODULUS);
    if (!this._started || tier !== this._tier) {
      this.unit = this._started ? extend(timestamp, this.unit) : timestamp;
      this._started = true;
      this._tier = tier;
      this._syncsDue = REPEATED_SYNCS;
    } else {
      const before = this.unit;
      this.unit = extend(timestamp, before);
      if (offset !== this._offset || Math.abs(this.unit - before) >= POSITIONS / 4) this._syncsDue = REPEATED_SYNCS;
    }
    this._offset = offset;
    const overdue = this.unit + packet.frames - this._lastSyncUnit > SYNC_FRAMES;
    if (this._syncsDue === 0 && !overdue) return [];
    this._syncsDue = Math.max(0, this._syncsDue - 1);
    this._lastSyncUnit = this.unit;
    return [(SYNC << 4) | (WIRE_VERSION << 2) | tier, sequence >> 8, sequence & 255, timestamp >> 8, timestamp & 255];
  }

  /** @param {Packet} packet */
  _media(packet) {
    const plain = packet.flags === Flags.KEY;
    const hasCopies = packet.redundant.length > 0;
    const kind = plain ? packet.frames - 1 + (hasCopies ? COPIES_FROM : 0) : DETAILED;
    /** @type {number[]} */
    const out = [(kind << 4) | packet.qualityIndex];
    if (!this._numbered) out.push(packet.timestamp % POSITIONS);
    if (!plain) out.push(((packet.frames - 1) << 4) | (hasCopies ? HAS_COPIES : 0) | packet.flags);
    if (hasCopies) appendLength(out, packet.payload.length);
    out.push(...packet.payload);
    let usualAge = 0;
    packet.redundant.forEach((copy, index) => {
      usualAge += packet.frames;
      const last = index === packet.redundant.length - 1;
      out.push(
        (copy.age === usualAge ? 0 : COPY_AGE) |
          (last ? COPY_LAST : 0) |
          (copy.flags & Flags.SILENCE ? COPY_SILENCE : 0) |
          (copy.flags & Flags.KEY ? COPY_KEY : 0) |
          copy.qualityIndex,
      );
      if (copy.age !== usualAge) out.push(copy.age);
      usualAge = copy.age;
      if (!last) appendLength(out, copy.payload.length);
      out.push(...copy.payload);
    });
    return out;
  }
}

/**
 * A report that travels without a packet.
 * @param {Uint8Array} report
 */
export function frameOfReport(report) {
  return Uint8Array.from(reportBlock(report));
}

/** `piece`: of a packet that is too long for a datagram.
 * @typedef {{packet: Packet | null, report: Uint8Array | null, piece: Uint8Array | null}} Found */

/** The receiver's side, for one sender on one path. Never throws: what is damaged is counted and left out. */
export class Deframer {
  constructor() {
    /** Frames that are none, or of another version of this framing. */
    this.damaged = 0;
    /** Packets that came before it was known where they belong. */
    this.unplaced = 0;
    /** @type {number | null} */
    this._tier = null;
    this._offset = 0;
    this._unit = 0;
    this._base = 0;
    this._heardMs = -Infinity;
  }

  /**
   * What is in a frame: up to one report and one packet.
   * @param {Uint8Array} frame
   * @param {number} nowMs
   * @param {number | null} [unit] The transport's own time stamp in frames, extended over wraps.
   * @returns {Found}
   */
  take(frame, nowMs, unit = null) {
    /** @type {Found} */
    const found = { packet: null, report: null, piece: null };
    try {
      this._parse(frame, nowMs, unit, found);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.damaged += 1;
    }
    return found;
  }

  /**
   * @param {Uint8Array} frame
   * @param {number} nowMs
   * @param {number | null} unit
   * @param {Found} found
   */
  _parse(frame, nowMs, unit, found) {
    if (unit === null && nowMs - this._heardMs > LONGEST_GAP_MS) this._tier = null;
    const reader = new Reader(frame);
    while (reader.left > 0) {
      const first = reader.byte();
      const kind = first >> 4;
      if (first === HEARTBEAT) continue;
      if (first === RAW) {
        const whole = reader.rest();
        if (isFragment(whole)) found.piece = whole;
        else found.packet = Packet.fromBytes(whole);
        return;
      }
      if (kind === SYNC) {
        this._takeSync(first, reader, unit);
      } else if (kind === REPORT) {
        takeReport(first, reader, found);
      } else if (kind <= DETAILED) {
        this._takeMedia(first, reader, unit, found);
        this._heardMs = nowMs;
        return;
      } else {
        throw new PacketError(`byte ${first} begins no frame that this build knows`);
      }
    }
  }

  /**
   * @param {number} first
   * @param {Reader} reader
   * @param {number | null} unit
   */
  _takeSync(first, reader, unit) {
    if (reader.left < SYNC_BYTES - 1) throw new PacketError('a frame ends inside its sequence number');
    const version = (first >> 2) & 3;
    if (version !== WIRE_VERSION) {
      throw new PacketError(`framing version ${version} is not the ${WIRE_VERSION} this build reads`);
    }
    const tier = first & 3;
    if (tier > 2) throw new PacketError(`packet tier ${tier} is unknown to this build`);
    const sequence = reader.short();
    const timestamp = reader.short();
    this._offset = mod(timestamp - sequence, MODULUS);
    this._unit = this._tier === null ? timestamp : extend(timestamp, this._unit);
    this._base = this._unit - (unit ?? 0);
    this._tier = tier;
  }

  /**
   * @param {number} first
   * @param {Reader} reader
   * @param {number | null} unit
   * @param {Found} found
   */
  _takeMedia(first, reader, unit, found) {
    const kind = first >> 4;
    const position = unit === null ? reader.byte() : null;
    let flags = Flags.KEY;
    let frames = (kind % COPIES_FROM) + 1;
    let hasCopies = kind >= COPIES_FROM;
    if (kind === DETAILED) {
      const details = reader.byte();
      frames = (details >> 4) + 1;
      hasCopies = (details & HAS_COPIES) !== 0;
      flags = /** @type {any} */ (details & 7);
      if (frames > MAX_FRAMES) throw new PacketError(`a frame claims ${frames} frames of sound`);
    }
    if (this._tier === null) {
      this.unplaced += 1;
      return;
    }
    const payload = hasCopies ? reader.chunk() : reader.rest();
    const redundant = hasCopies ? takeCopies(reader, frames) : [];
    this._unit = position === null ? (unit ?? 0) + this._base : extend(position, this._unit, POSITIONS);
    found.packet = new Packet({
      tier: this._tier,
      sequence: mod(this._unit - this._offset, MODULUS),
      timestamp: mod(this._unit, MODULUS),
      qualityIndex: first & 15,
      flags,
      payload,
      redundant,
      frames,
    });
  }
}

class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this._data = data;
    this._at = 0;
  }

  get left() {
    return this._data.length - this._at;
  }

  byte() {
    if (this.left < 1) throw new PacketError('a frame ends before its fields do');
    return this._data[this._at++];
  }

  short() {
    return (this.byte() << 8) | this.byte();
  }

  /** @param {number} length */
  bytes(length) {
    if (length > this.left) throw new PacketError(`a frame claims ${length} bytes where ${this.left} remain`);
    this._at += length;
    return this._data.slice(this._at - length, this._at);
  }

  rest() {
    return this.bytes(this.left);
  }

  chunk() {
    const length = this.byte();
    return this.bytes(length < 128 ? length : ((length & 127) << 7) | this.byte());
  }
}

/** @param {Uint8Array} report without its checksum: what carries it is authenticated. */
function reportBlock(report) {
  return [REPORT << 4, report.length - 3, ...report.subarray(1, -2)];
}

/**
 * @param {number} first
 * @param {Reader} reader
 * @param {Found} found
 */
function takeReport(first, reader, found) {
  const body = reader.bytes(reader.byte());
  // Of another version its length is known, and what comes after it may still be of use.
  if (first === REPORT << 4 && body.length === REPORT_BYTES - 3) {
    found.report = withChecksum(Uint8Array.from([FIRST_BYTE, ...body]));
  }
}

/**
 * @param {Reader} reader
 * @param {number} frames
 */
function takeCopies(reader, frames) {
  const copies = [];
  let age = 0;
  for (let last = false; !last; ) {
    if (copies.length === MAX_REDUNDANT) throw new PacketError(`a frame has over ${MAX_REDUNDANT} redundant copies`);
    const mark = reader.byte();
    age += frames;
    if (mark & COPY_AGE) age = reader.byte();
    last = (mark & COPY_LAST) !== 0;
    const flags = (mark & COPY_KEY ? Flags.KEY : 0) | (mark & COPY_SILENCE ? Flags.SILENCE : 0);
    const payload = last ? reader.rest() : reader.chunk();
    copies.push({ age: Math.min(Math.max(age, 1), 255), qualityIndex: mark & 15, flags, payload });
  }
  return copies;
}

/**
 * @param {number[]} out
 * @param {number} length
 */
function appendLength(out, length) {
  if (length >= 128) out.push((length >> 7) | 128);
  out.push(length & 127);
}
