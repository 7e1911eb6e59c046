// Packets that are longer than a datagram may be, put together from their pieces: `streamcodec/net/fragments.py`.

import { PacketError } from './errors.js';

const MARK = 0x1b;
const HEADER_BYTES = 5;
const MAX_WHOLE_BYTES = 1_070;
const MAX_PIECE_BYTES = MAX_WHOLE_BYTES - HEADER_BYTES;
const MAX_PIECES = 64;
const CAPACITY_PACKETS = 16;
const LONGEST_MS = 1_000;

/**
 * Whether a datagram begins as pieces do.
 * @param {Uint8Array} datagram
 */
export function isFragment(datagram) {
  return datagram[0] === MARK;
}

/**
 * How many datagrams a packet of this size takes.
 * @param {number} sizeBytes
 */
export function piecesOf(sizeBytes) {
  return sizeBytes <= MAX_WHOLE_BYTES ? 1 : Math.ceil(sizeBytes / MAX_PIECE_BYTES);
}

/** Of one sender. Memory is bounded: 16 packets at a time, each for a second at most. */
export class Reassembler {
  constructor() {
    /** @type {Map<number, {count: number, firstMs: number, pieces: Map<number, Uint8Array>, done: boolean}>} */
    this._wholes = new Map();
    /** Packets given up because a piece never came. */
    this.incomplete = 0;
  }

  /**
   * Take a piece; the packet's bytes if it was the last one missing. Throws PacketError.
   * @param {Uint8Array} datagram
   * @param {number} nowMs
   * @returns {Uint8Array | null}
   */
  add(datagram, nowMs) {
    if (datagram.length <= HEADER_BYTES || !isFragment(datagram)) throw new PacketError('not a piece of a packet');
    const [, index, count, high, low] = datagram;
    const piece = datagram.subarray(HEADER_BYTES);
    if (count < 2 || count > MAX_PIECES || index >= count || piece.length > MAX_PIECE_BYTES) {
      throw new PacketError(`piece ${index} of ${count}, with ${piece.length} bytes`);
    }
    for (const [number, { firstMs }] of this._wholes) {
      if (nowMs - firstMs <= LONGEST_MS) break;
      this._drop(number);
    }
    const number = (high << 8) | low;
    let whole = this._wholes.get(number);
    if (!whole) {
      whole = { count, firstMs: nowMs, pieces: new Map(), done: false };
      this._wholes.set(number, whole);
      if (this._wholes.size > CAPACITY_PACKETS) this._drop(/** @type {number} */ (this._wholes.keys().next().value));
    }
    if (count !== whole.count) throw new PacketError(`a piece of ${count} where the others are of ${whole.count}`);
    if (whole.done) return null;
    if (!whole.pieces.has(index)) whole.pieces.set(index, piece.slice());
    if (whole.pieces.size < whole.count) return null;
    const parts = Array.from({ length: count }, (_, k) => /** @type {Uint8Array} */ (whole.pieces.get(k)));
    // Remembered for a while without its pieces, so that a duplicate does not begin it anew.
    whole.done = true;
    whole.pieces.clear();
    const packet = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    parts.reduce((at, part) => (packet.set(part, at), at + part.length), 0);
    return packet;
  }

  /** @param {number} number */
  _drop(number) {
    this.incomplete += Number(!this._wholes.get(number)?.done);
    this._wholes.delete(number);
  }
}
