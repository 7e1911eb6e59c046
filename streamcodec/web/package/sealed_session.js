// What two ends have once they have agreed: keys for signals and media in both directions, and digits to compare. As
// `streamcodec/net/e2e/session.py`.

import { SealError } from './errors.js';
import { EVERYBODY, context } from './handshake.js';
import { utf8 } from './octets.js';
import { MediaReceiver, MediaSender, ReplayWindow, SUITE } from './sealed_media.js';
import { AES_256_GCM_SHA512_128, SFrameKey, decodeHeader } from './sframe.js';

/** @typedef {import('./octets.js').Bytes} Bytes */
/** @typedef {import('./handshake.js').Handshake} Handshake */
/** @typedef {import('./handshake.js').Introduction} Introduction */
/** @typedef {import('./sealed_media.js').MediaKey} MediaKey */

const SIGNALS = AES_256_GCM_SHA512_128;

export class Session {
  /**
   * Of a confirmed handshake.
   * @param {Handshake} handshake
   * @param {string} room
   */
  static async make(handshake, room) {
    const { own } = handshake;
    const peer = /** @type {Introduction} */ (handshake.peer);
    const out = [own.endpoint, peer.endpoint];
    const back = [peer.endpoint, own.endpoint];
    const digits = await handshake.derive('verification', [], 16);
    const number = digits.reduce((rest, byte) => (256 * rest + byte) % 100_000_000, 0);
    const text = String(number).padStart(8, '0');
    const session = new Session(peer, room, `${text.slice(0, 4)} ${text.slice(4)}`);
    const signalKey = async (/** @type {Bytes[]} */ way) =>
      SFrameKey.make(SIGNALS, 0, await handshake.derive('signals', way, SIGNALS.keyBytes));
    session._signalsOut = await signalKey(out);
    session._signalsIn = await signalKey(back);
    session._contextOut = await context('signals', room, own, peer.endpoint);
    session._contextIn = await context('signals', room, peer, own.endpoint);
    session.toOne = await MediaSender.make(await context('media', room, own, peer.endpoint), {
      one: true, baseKey: await handshake.derive('media', out, SUITE.keyBytes),
    });
    const baseKey = await handshake.derive('media', back, SUITE.keyBytes);
    const key = { generation: 0, step: 0, baseKey, counter: 0 };
    session.fromOne = await MediaReceiver.make(await context('media', room, peer, own.endpoint), key, { one: true });
    return session;
  }

  /** @type {SFrameKey} */ _signalsOut = /** @type {any} */ (null);
  /** @type {SFrameKey} */ _signalsIn = /** @type {any} */ (null);
  /** @type {Bytes} */ _contextOut = new Uint8Array(0);
  /** @type {Bytes} */ _contextIn = new Uint8Array(0);
  /** @type {MediaSender} */ toOne = /** @type {any} */ (null);
  /** @type {MediaReceiver} */ fromOne = /** @type {any} */ (null);
  /** @type {MediaReceiver | null} Once the other end has given us the key that it seals with for everybody. */
  fromAll = null;

  /**
   * @param {Introduction} peer who the other end is, as it said itself
   * @param {string} room
   * @param {string} verification eight digits that are the same on both screens, unless somebody sits between them
   */
  constructor(peer, room, verification) {
    this.peer = peer;
    this.verification = verification;
    this._room = room;
    this._signalsSent = 0;
    this._signalsSeen = new ReplayWindow();
  }

  /**
   * The key with which the other end seals, or will seal, for everybody.
   * @param {MediaKey} key
   */
  async takeKey(key) {
    if (this.fromAll) await this.fromAll.expect(key);
    else this.fromAll = await MediaReceiver.make(await context('media', this._room, this.peer, EVERYBODY), key);
  }

  /**
   * Encrypt a JSON object for the other end alone.
   * @param {Record<string, unknown>} data
   */
  seal(data) {
    return this._signalsOut.encrypt(this._signalsSent++, this._contextOut, utf8(JSON.stringify(data)));
  }

  /**
   * The inverse. Throws SealError.
   * @param {Bytes} sealed
   * @returns {Promise<Record<string, any>>}
   */
  async open(sealed) {
    const { counter } = decodeHeader(sealed);
    this._signalsSeen.check(counter);
    const opened = await this._signalsIn.decrypt(this._contextIn, sealed);
    this._signalsSeen.mark(counter);
    try {
      const data = JSON.parse(new TextDecoder().decode(opened));
      if (data !== null && typeof data === 'object' && !Array.isArray(data)) return data;
    } catch {
      // Said below.
    }
    throw new SealError('a signal that is not a JSON object');
  }
}
