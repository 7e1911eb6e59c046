// scrypt (RFC 7914), which browsers do not have: without parallelism, on top of their HMAC.

import { concat, hmac } from './octets.js';

const HASH_BYTES = 32;

/** @typedef {import('./octets.js').Bytes} Bytes */

/**
 * @param {Bytes} secret
 * @param {Bytes} salt
 * @param {number} cost a power of two; takes 128 * blocks * cost bytes of memory
 * @param {number} blocks the RFC's r
 * @param {number} length
 * @returns {Promise<Bytes>}
 */
export async function scrypt(secret, salt, cost, blocks, length) {
  const words = 32 * blocks;
  const bytes = await pbkdf2(secret, salt, 4 * words);
  const state = new Uint32Array(words);
  const view = new DataView(bytes.buffer);
  for (let k = 0; k < words; k++) state[k] = view.getUint32(4 * k, true);
  mix(state, cost);
  for (let k = 0; k < words; k++) view.setUint32(4 * k, state[k], true);
  return pbkdf2(secret, bytes, length);
}

/**
 * PBKDF2 with a single iteration (RFC 8018): an HMAC for every 32 bytes. Browsers' own gives too few bytes in Firefox.
 * @param {Bytes} secret
 * @param {Bytes} salt
 * @param {number} length
 * @returns {Promise<Bytes>}
 */
async function pbkdf2(secret, salt, length) {
  const count = Math.ceil(length / HASH_BYTES);
  const numbered = Array.from({ length: count }, (_, k) => concat(salt, [0, 0, (k + 1) >> 8, (k + 1) & 255]));
  const blocks = await Promise.all(numbered.map((block) => hmac('SHA-256', secret, block)));
  return concat(...blocks).slice(0, length);
}

/**
 * scryptROMix (section 5).
 * @param {Uint32Array} state
 * @param {number} cost
 */
function mix(state, cost) {
  const words = state.length;
  const table = new Uint32Array(cost * words);
  const scratch = new Uint32Array(words);
  for (let k = 0; k < cost; k++) {
    table.set(state, k * words);
    mixBlocks(state, scratch);
  }
  for (let k = 0; k < cost; k++) {
    const row = (state[words - 16] & (cost - 1)) * words;
    for (let word = 0; word < words; word++) state[word] ^= table[row + word];
    mixBlocks(state, scratch);
  }
}

const x = new Uint32Array(16);

/**
 * scryptBlockMix (section 4), in place.
 * @param {Uint32Array} state
 * @param {Uint32Array} scratch as long
 */
function mixBlocks(state, scratch) {
  const words = state.length;
  x.set(state.subarray(words - 16));
  for (let at = 0; at < words; at += 16) {
    for (let k = 0; k < 16; k++) x[k] ^= state[at + k];
    salsa();
    // Even blocks to the front half, odd ones to the other.
    scratch.set(x, (at & 16 ? words / 2 : 0) + (at >> 5) * 16);
  }
  state.set(scratch);
}

/** Salsa20/8 (section 3) of `x`, in place. */
function salsa() {
  let [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15] = x;
  for (let round = 0; round < 8; round += 2) {
    x4 ^= left(x0 + x12, 7); x8 ^= left(x4 + x0, 9); x12 ^= left(x8 + x4, 13); x0 ^= left(x12 + x8, 18);
    x9 ^= left(x5 + x1, 7); x13 ^= left(x9 + x5, 9); x1 ^= left(x13 + x9, 13); x5 ^= left(x1 + x13, 18);
    x14 ^= left(x10 + x6, 7); x2 ^= left(x14 + x10, 9); x6 ^= left(x2 + x14, 13); x10 ^= left(x6 + x2, 18);
    x3 ^= left(x15 + x11, 7); x7 ^= left(x3 + x15, 9); x11 ^= left(x7 + x3, 13); x15 ^= left(x11 + x7, 18);
    x1 ^= left(x0 + x3, 7); x2 ^= left(x1 + x0, 9); x3 ^= left(x2 + x1, 13); x0 ^= left(x3 + x2, 18);
    x6 ^= left(x5 + x4, 7); x7 ^= left(x6 + x5, 9); x4 ^= left(x7 + x6, 13); x5 ^= left(x4 + x7, 18);
    x11 ^= left(x10 + x9, 7); x8 ^= left(x11 + x10, 9); x9 ^= left(x8 + x11, 13); x10 ^= left(x9 + x8, 18);
    x12 ^= left(x15 + x14, 7); x13 ^= left(x12 + x15, 9); x14 ^= left(x13 + x12, 13); x15 ^= left(x14 + x13, 18);
  }
  x[0] += x0; x[1] += x1; x[2] += x2; x[3] += x3; x[4] += x4; x[5] += x5; x[6] += x6; x[7] += x7;
  x[8] += x8; x[9] += x9; x[10] += x10; x[11] += x11; x[12] += x12; x[13] += x13; x[14] += x14; x[15] += x15;
}

/**
 * @param {number} value
 * @param {number} bits
 */
function left(value, bits) {
  return (value << bits) | (value >>> (32 - bits));
}
