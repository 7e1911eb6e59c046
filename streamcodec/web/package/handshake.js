// Two ends agree on keys: who each says it is, a commitment, CPace's share, and proof of the key. The messages and why:
// `streamcodec/net/e2e/handshake.py`.

import { CPace } from './cpace.js';
import { SealError } from './errors.js';
import { compare, digest, fromText, hkdf, lvCat, random, same, toText, utf8 } from './octets.js';

/** @typedef {import('./octets.js').Bytes} Bytes */
/** @typedef {import('./cpace.js').AgreedKey} AgreedKey */
/** @typedef {Record<string, any>} Message */

export const VERSION = 2;
export const PROTOCOL = 'streamcodec end-to-end 2';
const NUMBER_BYTES = 16;
const MAX_NAME_CHARACTERS = 64;
const MAX_BITSTREAM_CHARACTERS = 64;

/** The other end speaks another version of this protocol. */
export class OtherVersionError extends SealError {
  name = 'OtherVersionError';
}

/** What one end says about itself. */
export class Introduction {
  /**
   * @param {{endpoint?: Bytes, nonce?: Bytes, name?: string, bitstream?: string}} fields `endpoint`: of one room, for as
   *   long as it lives; `nonce`: of one exchange.
   */
  constructor({ endpoint = random(NUMBER_BYTES), nonce = random(NUMBER_BYTES), name = '', bitstream = '' }) {
    this.endpoint = endpoint;
    this.nonce = nonce;
    this.name = name;
    this.bitstream = bitstream;
  }

  /** What stays the same from exchange to exchange, in bytes. */
  get identity() {
    return lvCat(this.endpoint, this.name, this.bitstream);
  }

  /** All of it in bytes; CPace's associated data. */
  get about() {
    return lvCat(PROTOCOL, this.identity, this.nonce);
  }

  /** @param {Introduction} other */
  equals(other) {
    return same(this.about, other.about);
  }

  /**
   * The hello; `answers`: the nonce of the hello that it is an answer to.
   * @param {Bytes} [answers]
   * @returns {Message}
   */
  toMessage(answers = new Uint8Array(0)) {
    return {
      kind: 'hello', version: VERSION, endpoint: toText(this.endpoint), nonce: toText(this.nonce),
      answers: toText(answers), name: this.name, bitstream: this.bitstream,
    };
  }

  /**
   * Throws OtherVersionError, SealError.
   * @param {Message} message
   */
  static fromMessage(message) {
    if (message.version !== VERSION) {
      throw new OtherVersionError(`speaks version ${message.version} of this, not ${VERSION}`);
    }
    const [endpoint, nonce] = [fromText(message, 'endpoint'), fromText(message, 'nonce')];
    if (endpoint.length !== NUMBER_BYTES || nonce.length !== NUMBER_BYTES) {
      throw new SealError(`a hello's numbers have ${NUMBER_BYTES} bytes`);
    }
    const name = words(message, 'name', MAX_NAME_CHARACTERS);
    return new Introduction({ endpoint, nonce, name, bitstream: words(message, 'bitstream', MAX_BITSTREAM_CHARACTERS) });
  }
}

/** One exchange with one other end, from our hello on; the caller decides when to go on with show and confirm. */
export class Handshake {
  /**
   * @param {Bytes} secret
   * @param {string} room
   * @param {Introduction} own
   */
  constructor(secret, room, own) {
    this._secret = secret;
    this._channel = lvCat(PROTOCOL, room);
    this.own = own;
    /** @type {Introduction | null} */
    this.peer = null;
    /** The other end has shown that its secret, or its view of this exchange, is not ours. */
    this.failed = false;
    this.confirmed = false;
    /** @type {CPace | null} */
    this._cpace = null;
    /** @type {Bytes | null} */
    this._commitment = null;
    /** @type {AgreedKey | null} */
    this._agreed = null;
    this._run = '';
    /** @type {Message[]} All that the other end should have had from us so far, in order. */
    this.sent = [own.toMessage()];
  }

  /** Whether everything is there for show, after which the other end knows what the digits would be. */
  get mayShow() {
    return this._commitment !== null && this._said === 'commit';
  }

  /** Whether everything is there for confirm, which lets the other end try one passphrase. */
  get mayConfirm() {
    return this._agreed !== null && this._said === 'share';
  }

  /** Whether our share has been shown. */
  get shown() {
    return this.sent.length > 2;
  }

  get _said() {
    return this.sent[this.sent.length - 1].kind;
  }

  /**
   * Take the other end's hello; give our commitment. Throws SealError for our own hello.
   * @param {Introduction} peer
   * @param {Bytes} [scalar]
   * @returns {Promise<Message[]>}
   */
  async meet(peer, scalar) {
    if (same(peer.endpoint, this.own.endpoint)) throw new SealError('our own hello was sent back to us');
    this.peer = peer;
    this.failed = this.confirmed = false;
    const abouts = [this.own.about, peer.about].sort(compare);
    const session = await digest('SHA-256', lvCat('session', ...abouts));
    this._run = toText(session.slice(0, 9));
    this._cpace = await CPace.make(this._secret, this._channel, session, this.own.about, scalar);
    this._commitment = this._agreed = null;
    this.sent = [this.own.toMessage(peer.nonce)];
    return this._say('commit', await commitment(this.own, this._cpace.share));
  }

  /**
   * Take anything but a hello. Throws SealError for what does not belong here, which changes nothing.
   * @param {Message} message
   */
  async hear(message) {
    if (message.run !== this._run || !this._cpace || !this.peer) throw new SealError('of another exchange');
    const value = fromText(message, 'value');
    if (message.kind === 'commit' && !this._commitment) {
      this._commitment = value;
    } else if (message.kind === 'share' && this._commitment && !this._agreed) {
      if (!same(await commitment(this.peer, value), this._commitment)) {
        throw new SealError('a share that is not the one committed to');
      }
      this._agreed = await this._cpace.finish(value, this.peer.about);
    } else if (message.kind === 'confirm' && this._agreed && !this.confirmed) {
      this.confirmed = this._agreed.confirms(value);
      this.failed = !this.confirmed;
    }
  }

  /** Our share. */
  show() {
    return this._say('share', /** @type {CPace} */ (this._cpace).share);
  }

  /** Prove that we have the key. */
  confirm() {
    return this._say('confirm', /** @type {AgreedKey} */ (this._agreed).tag);
  }

  /**
   * Key material for one purpose; the same on both ends. Throws SealError before the key is confirmed.
   * @param {string} purpose
   * @param {readonly Bytes[]} endpoints
   * @param {number} length
   */
  async derive(purpose, endpoints, length) {
    if (!this._agreed || !this.confirmed) throw new SealError('no key has been agreed on yet');
    return hkdf('SHA-512', this._agreed.key, lvCat(PROTOCOL, purpose, ...endpoints), length);
  }

  /**
   * @param {string} kind
   * @param {Bytes} value
   * @returns {Message[]}
   */
  _say(kind, value) {
    const message = { kind, run: this._run, value: toText(value) };
    this.sent.push(message);
    return [message];
  }
}

/**
 * @param {Introduction} introduction
 * @param {Bytes} share
 */
function commitment(introduction, share) {
  return digest('SHA-256', lvCat('commitment', introduction.about, share));
}

/**
 * @param {Message} message
 * @param {string} key
 * @param {number} longest
 * @returns {string}
 */
function words(message, key, longest) {
  const value = message[key];
  // What may be shown: nothing that controls, formats or is no character, and no space but the plain one.
  if (typeof value !== 'string' || [...value].length > longest || !/^(?: |[^\p{C}\p{Z}])*$/u.test(value)) {
    throw new SealError(`${key} must be printable text of at most ${longest} characters`);
  }
  return value;
}

/**
 * What every tag binds besides the bytes themselves: 32 bytes that both ends know and nobody sends.
 * @param {string} purpose
 * @param {string} room
 * @param {Introduction} sender
 * @param {Bytes} receiver
 */
export function context(purpose, room, sender, receiver) {
  return digest('SHA-256', lvCat(PROTOCOL, purpose, room, sender.identity, receiver));
}

export const EVERYBODY = utf8('everybody');
