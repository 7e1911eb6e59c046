// Bytes put together, compared and written as text.

import { SealError } from './errors.js';

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * @param {...ArrayLike<number>} parts
 * @returns {Bytes}
 */
export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return out;
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/**
 * Each part after its length (LEB128), so that no two lists of parts look alike.
 * @param {...(ArrayLike<number> | string)} parts
 * @returns {Bytes}
 */
export function lvCat(...parts) {
  return concat(
    ...parts.flatMap((part) => {
      const bytes = typeof part === 'string' ? utf8(part) : part;
      return [varint(bytes.length), bytes];
    }),
  );
}

/**
 * A number from 0 on in as few bytes as it needs (LEB128).
 * @param {number} value
 */
export function varint(value) {
  const encoded = [];
  for (; value >= 128; value = Math.floor(value / 128)) encoded.push((value % 128) | 128);
  return [...encoded, value];
}

/**
 * Whether two are the same; how long it takes tells nothing of where they differ.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function same(one, other) {
  if (one.length !== other.length) return false;
  let differing = 0;
  for (let k = 0; k < one.length; k++) differing |= one[k] ^ other[k];
  return differing === 0;
}

/**
 * Order as Python sorts bytes: below zero where the first comes first.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function compare(one, other) {
  const both = Math.min(one.length, other.length);
  for (let k = 0; k < both; k++) if (one[k] !== other[k]) return one[k] - other[k];
  return one.length - other.length;
}

/**
 * Bytes in JSON.
 * @param {Uint8Array} bytes
 */
export function toText(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/**
 * The inverse, of one field. Throws SealError.
 * @param {Record<string, unknown>} message
 * @param {string} key
 * @returns {Bytes}
 */
export function fromText(message, key) {
  const text = message[key];
  if (typeof text !== 'string' || text.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new SealError(`${key} is not base64`);
  }
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * @param {'SHA-256' | 'SHA-512'} hash
 * @param {Bytes} bytes
 * @returns {Promise<Bytes>}
 */
export async function digest(hash, bytes) {
  return new Uint8Array(await crypto.subtle.digest(hash, bytes));
}

/**
 * @param {'SHA-256' | 'SHA-512'} hash
 * @param {Bytes} key
 * @param {Bytes} bytes
 * @returns {Promise<Bytes>}
 */
export async function hmac(hash, key, bytes) {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, bytes));
}

/**
 * HKDF (RFC 5869) without a salt.
 * @param {'SHA-256' | 'SHA-512'} hash
 * @param {Bytes} key
 * @param {Bytes} info
 * @param {number} length
 * @returns {Promise<Bytes>}
 */
export async function hkdf(hash, key, info, length) {
  const imported = await crypto.subtle.importKey('raw', key, 'HKDF', false, ['deriveBits']);
  const salt = new Uint8Array(0);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash, salt, info }, imported, 8 * length));
}

/**
 * @param {number} length
 * @returns {Bytes}
 */
export function random(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}
