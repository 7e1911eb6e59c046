// Media sealed once by their sender for everybody in the room, with keys that their sender gives to each. The layout and
// the keys: `streamcodec/net/e2e/media.py`.

import { SealError } from './errors.js';
import { concat, random } from './octets.js';
import { AES_128_CTR_HMAC_SHA256_64, SFrameKey, decodeHeader, encodeHeader } from './sframe.js';

/** @typedef {import('./octets.js').Bytes} Bytes */
/** What a receiver must know to open a sender's datagrams from `counter` on.
 * @typedef {{generation: number, step: number, baseKey: Bytes, counter: number}} MediaKey */

export const SUITE = AES_128_CTR_HMAC_SHA256_64;
export const OVERHEAD_BYTES = 10;
/** A sender makes a new generation rather than go further. */
export const LAST_STEP = 64;
const FULL = 0x80;
const ONE = 0x40;
const FORM_SHORT = 0x00;
const FORM_FULL = 0x80;
const STEPS_OF_A_GENERATION = 1 << 16;
const STEPS = 4;
const COUNTERS = 1 << 11;
const FULL_EVERY = 64;
const FULL_AT_FIRST = 3;
/** Datagrams of a new key after which the one before is forgotten: the reordering that is borne. */
const KEPT = 64;
const WINDOW = 1_024;

/** Which numbers have come: each may come once, and none that is too far behind the highest. */
export class ReplayWindow {
  /** @param {number} [first] Those below count as seen. */
  constructor(first = 0) {
    this._first = first;
    /** By number modulo the window. */
    this._seen = new Uint8Array(WINDOW);
    this.highest = first - 1;
  }

  /**
   * Throws SealError for one that has come already, or is too old to tell. Changes nothing.
   * @param {number} counter
   */
  check(counter) {
    const behind = this.highest - counter;
    if (counter < this._first || (behind >= 0 && (behind >= WINDOW || this._seen[counter % WINDOW]))) {
      throw new SealError('replayed, or came too late to tell');
    }
  }

  /**
   * It has come, and was genuine.
   * @param {number} counter
   */
  mark(counter) {
    const ahead = counter - this.highest;
    if (ahead >= WINDOW) this._seen.fill(0);
    else for (let k = 1; k < ahead; k++) this._seen[(this.highest + k) % WINDOW] = 0;
    this.highest = Math.max(this.highest, counter);
    this._seen[counter % WINDOW] = 1;
  }
}

/** Seals datagrams for everybody, or for a single receiver. */
export class MediaSender {
  /**
   * @param {Bytes} context goes into every tag
   * @param {{one?: boolean, baseKey?: Bytes}} [options]
   */
  static async make(context, { one = false, baseKey = random(SUITE.keyBytes) } = {}) {
    return new MediaSender(context, one, await SFrameKey.make(SUITE, 0, baseKey));
  }

  /**
   * @param {Bytes} context
   * @param {boolean} one
   * @param {SFrameKey} key
   */
  constructor(context, one, key) {
    this._context = context;
    this._flags = one ? ONE : 0;
    this._counter = 0;
    this._generation = 0;
    this._step = 0;
    this._key = key;
    this._inFull = FULL_AT_FIRST;
    /** Whether anything has been sealed with the present key. */
    this.keyUsed = false;
  }

  /** @returns {MediaKey} For somebody who is to open what comes from now on. */
  get key() {
    const { _generation: generation, _step: step, _counter: counter } = this;
    return { generation, step, baseKey: this._key.baseKey, counter };
  }

  /** Whether receivers will still follow another step. */
  get mayStep() {
    return this._step < LAST_STEP;
  }

  /** Make sure that who is given the key from now on cannot open what was sealed until now. */
  async step() {
    const key = await this._key.ratchet(keyNumber(this._generation, this._step + 1));
    this._step += 1;
    this._use(key);
  }

  /** @returns {MediaKey} A new generation, to be given to the receivers before {@link MediaSender.begin}. */
  following() {
    return { generation: this._generation + 1, step: 0, baseKey: random(SUITE.keyBytes), counter: this._counter };
  }

  /**
   * Seal with a new generation from now on.
   * @param {MediaKey} following
   */
  async begin({ generation, baseKey }) {
    const key = await SFrameKey.make(SUITE, keyNumber(generation, 0), baseKey);
    this._generation = generation;
    this._step = 0;
    this._use(key);
  }

  /**
   * Encrypt and number a datagram; numbers are given in the order of the calls.
   * @param {Bytes} datagram
   * @returns {Promise<Bytes>}
   */
  async seal(datagram) {
    const counter = this._counter++;
    const { _key: key, _flags: flags, _generation: generation, _step: step } = this;
    this.keyUsed = true;
    if (this._inFull > 0 || counter % FULL_EVERY === 0) {
      this._inFull = Math.max(0, this._inFull - 1);
      const sealed = await key.seal(counter, concat(this._context, [FORM_FULL]), datagram);
      return concat([FULL | flags], encodeHeader(key.kid, counter), sealed);
    }
    const sealed = await key.seal(counter, concat(this._context, [FORM_SHORT]), datagram);
    const low = counter % COUNTERS;
    return concat([flags | ((generation & 1) << 5) | ((step % STEPS) << 3) | (low >> 8), low & 255], sealed);
  }

  /** @param {SFrameKey} key */
  _use(key) {
    this._key = key;
    this._inFull = FULL_AT_FIRST;
    this.keyUsed = false;
  }
}

/** Opens one sender's datagrams, one after the other. Keys of the past are let go once the next has been in use. */
export class MediaReceiver {
  /**
   * @param {Bytes} context
   * @param {MediaKey} key
   * @param {{one?: boolean}} [options]
   */
  static async make(context, key, { one = false } = {}) {
    return new MediaReceiver(context, key.counter, await keyOf(key), one);
  }

  /**
   * @param {Bytes} context
   * @param {number} counter
   * @param {SFrameKey} key
   * @param {boolean} one
   */
  constructor(context, counter, key, one) {
    this._context = context;
    this._flags = one ? ONE : 0;
    this._window = new ReplayWindow(counter);
    this._key = key;
    /** @type {SFrameKey | null} */
    this._before = null;
    /** @type {SFrameKey | null} */
    this._next = null;
    this._openedWithKey = 0;
  }

  /**
   * The sender will use this one next, or uses it already.
   * @param {MediaKey} key
   */
  async expect(key) {
    if (key.generation <= this.generation) return;
    const coming = await keyOf(key);
    if (key.generation === generationOf(this._key.kid) + 1) {
      this._next = coming;
      return;
    }
    // Who gives out the one after the next has left the present one, even if nothing came with the next.
    this._before = this._key;
    this._key = this._next ?? coming;
    this._next = this._next && coming;
  }

  /** The newest generation that this receiver has been given. */
  get generation() {
    return generationOf((this._next ?? this._key).kid);
  }

  /**
   * Decrypt a datagram. Throws SealError.
   * @param {Bytes} sealed
   * @returns {Promise<Bytes>}
   */
  async open(sealed) {
    if (sealed.length < OVERHEAD_BYTES) {
      throw new SealError(`a sealed datagram has at least ${OVERHEAD_BYTES} bytes, got ${sealed.length}`);
    }
    let counter, key, form, body;
    if (sealed[0] & FULL) {
      if (sealed[0] !== (FULL | this._flags)) throw new SealError('flags that mean nothing here');
      const header = decodeHeader(sealed.subarray(1));
      counter = header.counter;
      [form, body] = [FORM_FULL, sealed.subarray(1 + header.length)];
      this._window.check(counter);
      key = await this._keyOf(header.kid);
    } else {
      if ((sealed[0] & ONE) !== this._flags) throw new SealError('sealed for others');
      counter = this._fullCounter(((sealed[0] & 7) << 8) | sealed[1]);
      [form, body] = [FORM_SHORT, sealed.subarray(2)];
      this._window.check(counter);
      key = await this._keyLike((sealed[0] >> 5) & 1, (sealed[0] >> 3) & (STEPS - 1));
    }
    const datagram = await key.open(counter, concat(this._context, [form]), body);
    this._window.check(counter);
    this._window.mark(counter);
    this._note(key);
    return datagram;
  }

  /**
   * The counter nearest to the highest so far that ends in these bits.
   * @param {number} low
   */
  _fullCounter(low) {
    const expected = this._window.highest + 1;
    const away = (((low - expected + COUNTERS / 2) % COUNTERS) + COUNTERS) % COUNTERS;
    const counter = expected + away - COUNTERS / 2;
    return counter >= 0 ? counter : counter + COUNTERS;
  }

  get _known() {
    return [this._key, this._next, this._before].filter((key) => key !== null);
  }

  /**
   * The key of this number: one we have, or one that follows from it. Throws SealError.
   * @param {number} kid
   */
  async _keyOf(kid) {
    return this._known.find((key) => key.kid === kid) ?? this._follow(generationOf(kid), stepOf(kid));
  }

  /**
   * The same for a number of which only these bits are told.
   * @param {number} parity
   * @param {number} lowStep
   */
  async _keyLike(parity, lowStep) {
    const known = this._known.find(({ kid }) => generationOf(kid) % 2 === parity && stepOf(kid) % STEPS === lowStep);
    if (known) return known;
    const base = [this._key, this._next].find((key) => key !== null && generationOf(key.kid) % 2 === parity);
    if (!base) throw new SealError('sealed with a key that was never given to us');
    const step = stepOf(base.kid);
    return this._follow(generationOf(base.kid), step + ((lowStep - step + STEPS * STEPS_OF_A_GENERATION) % STEPS));
  }

  /**
   * @param {number} generation
   * @param {number} step
   */
  async _follow(generation, step) {
    const base = [this._key, this._next].find(
      (key) => key !== null && generationOf(key.kid) === generation && stepOf(key.kid) < step && step <= LAST_STEP,
    );
    if (!base) throw new SealError('sealed with a key that was never given to us');
    let key = base;
    for (let next = stepOf(base.kid) + 1; next <= step; next++) key = await key.ratchet(keyNumber(generation, next));
    return key;
  }

  /**
   * A genuine datagram of this key has come.
   * @param {SFrameKey} key
   */
  _note(key) {
    if (key.kid > this._key.kid) {
      [this._before, this._key, this._openedWithKey] = [this._key, key, 0];
      if (this._next !== null && this._next.kid <= key.kid) this._next = null;
    } else if (key.kid === this._key.kid) {
      this._openedWithKey += 1;
      if (this._openedWithKey >= KEPT) this._before = null;
    }
  }
}

/** @param {MediaKey} key */
function keyOf({ generation, step, baseKey }) {
  return SFrameKey.make(SUITE, keyNumber(generation, step), baseKey);
}

/**
 * @param {number} generation
 * @param {number} step
 */
function keyNumber(generation, step) {
  return generation * STEPS_OF_A_GENERATION + step;
}

/** @param {number} kid */
function generationOf(kid) {
  return Math.floor(kid / STEPS_OF_A_GENERATION);
}

/** @param {number} kid */
function stepOf(kid) {
  return kid % STEPS_OF_A_GENERATION;
}
