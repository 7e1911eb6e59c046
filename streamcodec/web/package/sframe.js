// SFrame (RFC 9605): the header and the encryption of one frame. As `streamcodec/net/e2e/sframe.py`.

import { SealError } from './errors.js';
import { concat, hkdf, same, utf8 } from './octets.js';

/** @typedef {import('./octets.js').Bytes} Bytes */

const NONCE_BYTES = 12;

/**
 * A row of RFC 9605, table 1: AES-CTR with HMAC, or AES-GCM.
 * @typedef {object} CipherSuite
 * @property {number} number
 * @property {'SHA-256' | 'SHA-512'} hash
 * @property {number} cipherKeyBytes
 * @property {number} keyBytes With the HMAC's key behind that of the cipher.
 * @property {number} tagBytes
 * @property {boolean} counterMode
 */

/** @type {CipherSuite} */
export const AES_128_CTR_HMAC_SHA256_64 = {
  number: 2, hash: 'SHA-256', cipherKeyBytes: 16, keyBytes: 48, tagBytes: 8, counterMode: true,
};
/** @type {CipherSuite} */
export const AES_256_GCM_SHA512_128 = {
  number: 5, hash: 'SHA-512', cipherKeyBytes: 32, keyBytes: 32, tagBytes: 16, counterMode: false,
};

/** One base key under its key number, for one sender. */
export class SFrameKey {
  /**
   * @param {CipherSuite} suite
   * @param {number} kid
   * @param {Bytes} baseKey
   */
  static async make(suite, kid, baseKey) {
    const label = concat(bigEndian(kid), [0, suite.number]);
    const [key, salt] = await Promise.all([
      hkdf(suite.hash, baseKey, concat(utf8('SFrame 1.0 Secret key '), label), suite.keyBytes),
      hkdf(suite.hash, baseKey, concat(utf8('SFrame 1.0 Secret salt '), label), NONCE_BYTES),
    ]);
    const { subtle } = crypto;
    const name = suite.counterMode ? 'AES-CTR' : 'AES-GCM';
    const cipher = await subtle.importKey('raw', key.slice(0, suite.cipherKeyBytes), name, false, ['encrypt', 'decrypt']);
    const authentic = suite.counterMode
      ? await subtle.importKey('raw', key.slice(suite.cipherKeyBytes), { name: 'HMAC', hash: suite.hash }, false, ['sign'])
      : null;
    return new SFrameKey(suite, kid, baseKey, salt, cipher, authentic);
  }

  /**
   * @param {CipherSuite} suite
   * @param {number} kid
   * @param {Bytes} baseKey
   * @param {Bytes} salt
   * @param {CryptoKey} cipher
   * @param {CryptoKey | null} authentic
   */
  constructor(suite, kid, baseKey, salt, cipher, authentic) {
    this.suite = suite;
    this.kid = kid;
    /** What others must be given to open what is sealed with this. */
    this.baseKey = baseKey;
    this._salt = salt;
    this._cipher = cipher;
    this._authentic = authentic;
  }

  /**
   * A whole SFrame ciphertext: header, then {@link SFrameKey.seal}.
   * @param {number} counter
   * @param {Bytes} metadata
   * @param {Bytes} plaintext
   */
  async encrypt(counter, metadata, plaintext) {
    return concat(encodeHeader(this.kid, counter), await this.seal(counter, metadata, plaintext));
  }

  /**
   * The inverse. Throws SealError.
   * @param {Bytes} metadata
   * @param {Bytes} ciphertext
   */
  async decrypt(metadata, ciphertext) {
    const { kid, counter, length } = decodeHeader(ciphertext);
    if (kid !== this.kid) throw new SealError(`sealed with key ${kid}, not with key ${this.kid}`);
    return this.open(counter, metadata, ciphertext.subarray(length));
  }

  /**
   * Ciphertext and tag without the header, which is authenticated all the same, with the metadata.
   * @param {number} counter
   * @param {Bytes} metadata
   * @param {Bytes} plaintext
   * @returns {Promise<Bytes>}
   */
  async seal(counter, metadata, plaintext) {
    const nonce = this._nonce(counter);
    const authenticated = concat(encodeHeader(this.kid, counter), metadata);
    if (!this._authentic) {
      const algorithm = { name: 'AES-GCM', iv: nonce, additionalData: authenticated, tagLength: 8 * this.suite.tagBytes };
      return new Uint8Array(await crypto.subtle.encrypt(algorithm, this._cipher, plaintext));
    }
    const ciphertext = new Uint8Array(await crypto.subtle.encrypt(counterMode(nonce), this._cipher, plaintext));
    return concat(ciphertext, await this._tag(this._authentic, nonce, authenticated, ciphertext));
  }

  /**
   * The inverse of {@link SFrameKey.seal}. Throws SealError.
   * @param {number} counter
   * @param {Bytes} metadata
   * @param {Bytes} sealed
   * @returns {Promise<Bytes>}
   */
  async open(counter, metadata, sealed) {
    const { tagBytes } = this.suite;
    if (sealed.length < tagBytes) throw new SealError('shorter than its tag');
    const nonce = this._nonce(counter);
    const authenticated = concat(encodeHeader(this.kid, counter), metadata);
    if (!this._authentic) {
      const algorithm = { name: 'AES-GCM', iv: nonce, additionalData: authenticated, tagLength: 8 * tagBytes };
      try {
        return new Uint8Array(await crypto.subtle.decrypt(algorithm, this._cipher, sealed));
      } catch {
        throw new SealError('not sealed with this key, or damaged');
      }
    }
    const ciphertext = sealed.slice(0, -tagBytes);
    const tag = await this._tag(this._authentic, nonce, authenticated, ciphertext);
    if (!same(tag, sealed.slice(-tagBytes))) throw new SealError('not sealed with this key, or damaged');
    return new Uint8Array(await crypto.subtle.decrypt(counterMode(nonce), this._cipher, ciphertext));
  }

  /**
   * The key that follows this one, from which this one cannot be found (section 5.1).
   * @param {number} kid
   */
  async ratchet(kid) {
    const { suite } = this;
    return SFrameKey.make(suite, kid, await hkdf(suite.hash, this.baseKey, utf8('SFrame 1.0 Ratchet'), suite.keyBytes));
  }

  /** @param {number} counter */
  _nonce(counter) {
    const nonce = this._salt.slice();
    bigEndian(counter).forEach((byte, k) => (nonce[NONCE_BYTES - 8 + k] ^= byte));
    return nonce;
  }

  /**
   * @param {CryptoKey} key
   * @param {Bytes} nonce
   * @param {Bytes} authenticated
   * @param {Bytes} ciphertext
   */
  async _tag(key, nonce, authenticated, ciphertext) {
    const { tagBytes } = this.suite;
    const lengths = [authenticated.length, ciphertext.length, tagBytes].map(bigEndian);
    const tag = await crypto.subtle.sign('HMAC', key, concat(...lengths, nonce, authenticated, ciphertext));
    return new Uint8Array(tag, 0, tagBytes);
  }
}

/** @param {Bytes} nonce */
function counterMode(nonce) {
  return { name: 'AES-CTR', counter: concat(nonce, [0, 0, 0, 0]), length: 32 };
}

/**
 * Config byte, key number, counter (section 4.3).
 * @param {number} kid
 * @param {number} counter
 */
export function encodeHeader(kid, counter) {
  const [kidBits, kidBytes] = field(kid);
  const [counterBits, counterBytes] = field(counter);
  return concat([(kidBits << 4) | counterBits], kidBytes, counterBytes);
}

/**
 * Throws SealError, also for a longer form than is needed, and for numbers that no sender here comes to.
 * @param {Uint8Array} data
 * @returns {{kid: number, counter: number, length: number}} the last of the header
 */
export function decodeHeader(data) {
  if (data.length === 0) throw new SealError('an SFrame header has at least one byte');
  const kid = readField(data[0] >> 4, data, 1);
  const counter = readField(data[0] & 15, data, kid.end);
  return { kid: kid.value, counter: counter.value, length: counter.end };
}

/**
 * @param {number} value
 * @returns {[number, Uint8Array]} four bits of the config byte, and bytes that follow
 */
function field(value) {
  if (value < 8) return [value, new Uint8Array(0)];
  const bytes = bigEndian(value);
  const first = bytes.findIndex((byte) => byte !== 0);
  return [8 | (bytes.length - first - 1), bytes.subarray(first)];
}

/**
 * @param {number} bits
 * @param {Uint8Array} data
 * @param {number} at
 */
function readField(bits, data, at) {
  if (bits < 8) return { value: bits, end: at };
  const end = at + (bits & 7) + 1;
  const value = data.subarray(at, end).reduce((all, byte) => 256 * all + byte, 0);
  if (end > data.length || value > Number.MAX_SAFE_INTEGER || field(value)[0] !== bits) {
    throw new SealError('not an SFrame header');
  }
  return { value, end };
}

/** @param {number} value eight bytes of it */
function bigEndian(value) {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value % 2 ** 32);
  return bytes;
}
