// CPace: two ends that know the same passphrase agree on a key, and nobody else learns anything to guess it from. As
// `streamcodec/net/e2e/cpace.py`: draft-irtf-cfrg-cpace, suite CPACE-X25519-SHA512, symmetric. The multiplications by
// secret numbers are the browser's own.

import { SealError } from './errors.js';
import { compare, concat, digest, hmac, lvCat, random, same, utf8 } from './octets.js';

/** @typedef {import('./octets.js').Bytes} Bytes */

const SHARE_BYTES = 32;
const DSI = utf8('CPace255');
/** Input block of SHA-512. */
const BLOCK_BYTES = 128;
const PRIME = 2n ** 255n - 19n;
const CURVE_A = 486_662n;
/** What stands before a private key of X25519 in PKCS #8 (RFC 8410). */
const PRIVATE_HEAD = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];

/** Whether this browser has the curve. */
export async function hasCurve() {
  try {
    await privateKey(random(32));
    return true;
  } catch {
    return false;
  }
}

/** One end of one exchange; use once. */
export class CPace {
  /**
   * @param {Bytes} secret what both know
   * @param {Bytes} channel what both must agree on besides
   * @param {Bytes} session a public number of this exchange, never used before
   * @param {Bytes} about what this end says about itself
   * @param {Bytes} [scalar]
   */
  static async make(secret, channel, session, about, scalar = random(32)) {
    const key = await privateKey(scalar);
    return new CPace(session, about, key, await multiply(key, await generator(secret, channel, session)));
  }

  /**
   * @param {Bytes} session
   * @param {Bytes} about
   * @param {CryptoKey} key
   * @param {Bytes} share
   */
  constructor(session, about, key, share) {
    this._session = session;
    this._about = about;
    this._key = key;
    /** Goes to the other end. */
    this.share = share;
  }

  /**
   * What both ends now have in common, if they knew the same secret and saw the same messages. Throws SealError for a
   * share that is none, or is our own sent back.
   * @param {Bytes} share
   * @param {Bytes} about what the other end said about itself
   */
  async finish(share, about) {
    if (share.length !== SHARE_BYTES || same(share, this.share)) throw new SealError('not a share of a key exchange');
    const common = await multiply(this._key, share);
    const own = lvCat(this.share, this._about);
    const other = lvCat(share, about);
    const [first, last] = compare(own, other) > 0 ? [own, other] : [other, own];
    const begin = lvCat(concat(DSI, utf8('_ISK')), this._session, common);
    const key = await digest('SHA-512', concat(begin, utf8('oc'), first, last));
    return AgreedKey.make(key, this._session, own, other);
  }
}

/** The key of an exchange, as yet unconfirmed: check the other end's tag before anything else is done with it. */
export class AgreedKey {
  /**
   * @param {Bytes} key
   * @param {Bytes} session
   * @param {Bytes} own
   * @param {Bytes} other
   */
  static async make(key, session, own, other) {
    const macKey = await digest('SHA-512', concat(utf8('CPaceMac'), session, key));
    return new AgreedKey(key, await hmac('SHA-512', macKey, own), await hmac('SHA-512', macKey, other));
  }

  /**
   * @param {Bytes} key
   * @param {Bytes} tag
   * @param {Bytes} expected
   */
  constructor(key, tag, expected) {
    this.key = key;
    /** Shows the other end that we have the key. */
    this.tag = tag;
    this._expected = expected;
  }

  /**
   * Whether the other end has the same key.
   * @param {Bytes} tag
   */
  confirms(tag) {
    return same(tag, this._expected);
  }
}

/**
 * The point, by its u coordinate, that this exchange multiplies.
 * @param {Bytes} secret
 * @param {Bytes} channel
 * @param {Bytes} session
 * @returns {Promise<Bytes>}
 */
export async function generator(secret, channel, session) {
  const padding = Math.max(0, BLOCK_BYTES - 1 - lvCat(secret).length - lvCat(DSI).length);
  const hashed = (await digest('SHA-512', lvCat(DSI, secret, new Uint8Array(padding), channel, session))).slice(0, 32);
  hashed[31] &= 0x7f;
  const field = hashed.reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n);
  let point = elligator2(field % PRIME);
  return Uint8Array.from({ length: 32 }, () => {
    const byte = Number(point & 255n);
    point >>= 8n;
    return byte;
  });
}

/**
 * A u coordinate on Curve25519 (RFC 9380, section 6.7.1). Not in constant time, like Python's; what could be timed is a
 * hash of the secret with this exchange's own number, once.
 * @param {bigint} field
 */
function elligator2(field) {
  const first = modulo(-CURVE_A * power(1n + 2n * field * field, PRIME - 2n));
  const second = modulo(-first - CURVE_A);
  const square = power(first ** 3n + CURVE_A * first * first + first, (PRIME - 1n) / 2n);
  return square <= 1n ? first : second;
}

/** @param {bigint} value */
function modulo(value) {
  return ((value % PRIME) + PRIME) % PRIME;
}

/**
 * @param {bigint} base
 * @param {bigint} exponent
 */
function power(base, exponent) {
  let result = 1n;
  for (let square = modulo(base); exponent > 0n; exponent >>= 1n, square = (square * square) % PRIME) {
    if (exponent & 1n) result = (result * square) % PRIME;
  }
  return result;
}

/** @param {Bytes} scalar */
function privateKey(scalar) {
  return crypto.subtle.importKey('pkcs8', concat(PRIVATE_HEAD, scalar), { name: 'X25519' }, false, ['deriveBits']);
}

/**
 * X25519 (RFC 7748). Throws SealError where the result is zero.
 * @param {CryptoKey} key
 * @param {Bytes} point
 * @returns {Promise<Bytes>}
 */
async function multiply(key, point) {
  try {
    const other = await crypto.subtle.importKey('raw', point, { name: 'X25519' }, false, []);
    const product = new Uint8Array(await crypto.subtle.deriveBits({ name: 'X25519', public: other }, key, 256));
    if (product.some((byte) => byte !== 0)) return product;
  } catch {
    // Said below.
  }
  throw new SealError('a share of low order, which would make the key known to all');
}
