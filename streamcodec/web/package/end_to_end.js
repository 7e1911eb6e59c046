// End-to-end encryption of one room: a handshake with everybody who comes, keys given out, renewed and taken in. As
// `streamcodec/net/e2e/group.py`, but that browsers' cryptography answers later: what changes anything waits its turn.

import { SealError } from './errors.js';
import { EVERYBODY, Handshake, Introduction, OtherVersionError, context } from './handshake.js';
import { fromText, toText } from './octets.js';
import { RateLimit } from './rate_limit.js';
import { LAST_STEP, MediaSender, SUITE } from './sealed_media.js';
import { Session } from './sealed_session.js';

/** @typedef {import('./octets.js').Bytes} Bytes */
/** @typedef {import('./handshake.js').Message} Message */
/** @typedef {import('./sealed_media.js').MediaKey} MediaKey */
/**
 * How it stands with somebody.
 * @typedef {'none' | 'agreeing' | 'sealed' | 'wrong-passphrase' | 'they-have-no-passphrase' | 'we-have-no-passphrase' |
 *   'other-version' | 'no-answer'} SealState
 */

const NO_ANSWER_MS = 1_500;
/** An exchange that has begun and comes to no end. */
const STUCK_MS = 4_000;
/** The age at which a key for everybody is replaced. */
const RENEW_MS = 3_600_000;
const RENEW_AFTER_LEAVING_MS = 2_000;
const RENEW_APART_MS = 10_000;
/** A new key is used once everybody has it, or after this long. */
const SWITCH_MS = 3_000;
/** First and longest time to wait before what was sent is sent again. */
const PAUSES_MS = [500, 4_000];
const REPEAT_MS = 500;
const KEYS_AGAIN_MS = 1_000;
/** Of one signal, at most. */
const MESSAGES = 8;
const QUEUE = 1_000;
/** What waits for its turn here; beyond, somebody floods us. */
const MOST_WAITING = 500;

// Per second and at once, as Python bounds them.
const GUESSES = /** @type {const} */ ([0.1, 30]);
const SHOWN = /** @type {const} */ ([0.5, 60]);
const HELLOS = /** @type {const} */ ([0.5, 10]);
const SIGNALS = /** @type {const} */ ([6, 48]);

class Peer {
  /**
   * @param {Handshake} handshake
   * @param {number} nowMs
   */
  constructor(handshake, nowMs) {
    this.handshake = handshake;
    /** When this exchange began. */
    this.sinceMs = nowMs;
    /** @type {SealState} */
    this.state = 'agreeing';
    /** @type {Session | null} */
    this.session = null;
    this.answered = false;
    this.hellos = new RateLimit(...HELLOS);
    /** Whether this exchange has cost a guess so far. */
    this.charged = false;
    /** Whether the session is that of the handshake. */
    this.agreed = false;
    this.againMs = 0;
    this.pauseMs = PAUSES_MS[0];
    this.repeatedMs = -Infinity;
    /** @type {Map<number, MediaKey>} Keys given out by generation, until the other end says that it has them. */
    this.unconfirmed = new Map();
    this.keysAgainMs = 0;
  }
}

/**
 * @typedef {object} EndToEndConfig
 * @property {Bytes | null} secret What the people in the room share; null for a room without encryption, in which this
 *   only tells those who do encrypt, and us.
 * @property {string} room
 * @property {string} name
 * @property {string} bitstream
 * @property {(identity: string, data: Record<string, unknown>) => void} send Carries a signal to the other end's `hear`,
 *   or loses it.
 * @property {(identity: string, state: SealState) => void} onState Changes, and 'sealed' again when somebody has agreed
 *   on new keys, perhaps under another name.
 * @property {() => number} nowMs
 */

export class EndToEnd {
  /** @param {EndToEndConfig} config */
  constructor(config) {
    this._config = config;
    const { name, bitstream, nowMs } = config;
    this._own = new Introduction({ name, bitstream });
    /** @type {Map<string, Peer>} */
    this._peers = new Map();
    /** @type {Map<string, SealState>} */
    this._plain = new Map();
    this._keyMadeMs = nowMs();
    /** @type {MediaKey | null} */
    this._next = null;
    this._switchMs = 0;
    /** @type {number | null} */
    this._leftMs = null;
    this._guesses = new RateLimit(...GUESSES);
    this._shown = new RateLimit(...SHOWN);
    this._signals = new RateLimit(...SIGNALS);
    /** @type {{identity: string, messages: Message[]}[]} */
    this._outgoing = [];
    /** Messages and datagrams that could not be opened, or made no sense. */
    this.refused = 0;
    /** Exchanges that ended after we had shown our share. */
    this.brokenOff = 0;
    this._waiting = 0;
    /** @type {MediaSender} made before anything else is done */
    this._sender = /** @type {any} */ (null);
    /** @type {Promise<unknown>} */
    this._turns = this.on ? this._begin() : Promise.resolve();
  }

  /** Whether this room is encrypted, on our side. */
  get on() {
    return this._config.secret !== null;
  }

  /** All that has been asked for so far is done. */
  get settled() {
    return this._turns;
  }

  // -- who is here

  /**
   * Somebody has come, or come back.
   * @param {string} identity
   */
  meet(identity) {
    if (!this.on) {
      if (!this._plain.has(identity)) this._plain.set(identity, 'none');
      return;
    }
    void this._turn(() => {
      const nowMs = this._nowMs();
      const known = this._peers.get(identity);
      if (known) {
        known.againMs = known.keysAgainMs = nowMs;
        return;
      }
      const peer = new Peer(this._newHandshake(), nowMs);
      this._peers.set(identity, peer);
      this._post(identity, peer.handshake.sent);
      peer.againMs = nowMs + peer.pauseMs;
    });
  }

  /**
   * Somebody has gone for good; what we say from now on is not for them.
   * @param {string} identity
   */
  forget(identity) {
    this._plain.delete(identity);
    void this._turn(() => {
      this._outgoing = this._outgoing.filter((item) => item.identity !== identity);
      const peer = this._peers.get(identity);
      if (!peer) return;
      this._peers.delete(identity);
      this._breakOff(peer);
      if (peer.session) this._leftMs ??= this._nowMs();
    });
  }

  /**
   * @param {string} identity
   * @returns {SealState}
   */
  state(identity) {
    return this._peers.get(identity)?.state ?? this._plain.get(identity) ?? (this.on ? 'agreeing' : 'none');
  }

  /**
   * Who somebody is, by their own authenticated word; null before there is any.
   * @param {string} identity
   */
  introduction(identity) {
    return this._peers.get(identity)?.session?.peer ?? null;
  }

  /**
   * Eight digits to compare by voice; empty before there are any.
   * @param {string} identity
   */
  verification(identity) {
    return this._peers.get(identity)?.session?.verification ?? '';
  }

  // -- what is said

  /**
   * Encrypt a datagram for everybody who is, or will be, here while this key lasts.
   * @param {Bytes} datagram
   */
  sealMedia(datagram) {
    return this._sender.seal(datagram);
  }

  /**
   * Encrypt a datagram for one person. Throws SealError before there is a key.
   * @param {string} identity
   * @param {Bytes} datagram
   */
  async sealMediaFor(identity, datagram) {
    return this._session(identity).toOne.seal(datagram);
  }

  /**
   * Decrypt a datagram that came from somebody; one at a time of each. Throws SealError.
   * @param {string} identity
   * @param {Bytes} sealed
   */
  async openMedia(identity, sealed) {
    try {
      const session = this._session(identity);
      const receiver = sealed.length && sealed[0] & 0x40 ? session.fromOne : session.fromAll;
      if (!receiver) throw new SealError('sealed with a key that was never given to us');
      return await receiver.open(sealed);
    } catch (error) {
      if (error instanceof SealError) this.refused += 1;
      throw error;
    }
  }

  /**
   * Encrypt a signal for one person; the result goes to their `hear`. Throws SealError.
   * @param {string} identity
   * @param {Record<string, unknown>} data
   */
  async sealSignal(identity, data) {
    return { e2e: [await this._seal(this._session(identity), { kind: 'signal', data })] };
  }

  /**
   * Take a signal of somebody that `meet` was told of; gives the sealed signals inside. Never throws.
   * @param {string} identity
   * @param {Record<string, any>} data
   * @returns {Promise<Record<string, any>[]>}
   */
  async hear(identity, data) {
    const messages = data.e2e;
    if (!Array.isArray(messages) || messages.length > MESSAGES) {
      if (!this.on) return [];
      this.refused += 1;
      await this._turn(() => {
        const peer = this._peers.get(identity);
        if (peer && 'sealed' in data && !peer.answered) this._become(identity, peer, 'other-version');
      });
      return [];
    }
    /** @type {Record<string, any>[]} */
    const opened = [];
    await this._turn(async () => {
      for (const message of messages) {
        try {
          if (message === null || typeof message !== 'object') throw new SealError('not a message');
          const signal = await this._hear(identity, message);
          if (signal) opened.push(signal);
        } catch (error) {
          if (!(error instanceof SealError)) throw error;
          this.refused += 1;
        }
      }
    });
    return opened;
  }

  /** Several times a second: say again what may have been lost, renew keys, notice who does not answer. */
  tick() {
    if (!this.on) return;
    void this._turn(async () => {
      const nowMs = this._nowMs();
      for (const [identity, peer] of [...this._peers]) await this._tick(identity, peer, nowMs);
      await this._renew(nowMs);
      this._flush();
    });
  }

  // -- inside: turns

  async _begin() {
    const { room } = this._config;
    this._sender = await MediaSender.make(await context('media', room, this._own, EVERYBODY));
  }

  /** @param {() => void | Promise<void>} work */
  _turn(work) {
    if (this._waiting >= MOST_WAITING) {
      this.refused += 1;
      return Promise.resolve();
    }
    this._waiting += 1;
    const done = this._turns.then(work).finally(() => (this._waiting -= 1));
    this._turns = done.catch((error) => console.error(error));
    return this._turns;
  }

  _nowMs() {
    return this._config.nowMs();
  }

  // -- inside: handshakes

  _newHandshake() {
    const { secret, room, name, bitstream } = this._config;
    const own = new Introduction({ endpoint: this._own.endpoint, name, bitstream });
    return new Handshake(/** @type {Bytes} */ (secret), room, own);
  }

  /**
   * @param {string} identity
   * @param {Message} message
   * @returns {Promise<Record<string, any> | null>}
   */
  async _hear(identity, message) {
    const { kind } = message;
    if (!this.on) {
      if (kind === 'hello' && this._plain.has(identity)) {
        if (this._plain.get(identity) !== 'we-have-no-passphrase') {
          this._plain.set(identity, 'we-have-no-passphrase');
          this._config.onState(identity, 'we-have-no-passphrase');
        }
        this._post(identity, [{ kind: 'none' }]);
      }
      return null;
    }
    const peer = this._peers.get(identity);
    if (!peer) throw new SealError('of somebody who is not here');
    if (kind === 'none') {
      peer.answered = true;
      if (!peer.session) this._become(identity, peer, 'they-have-no-passphrase');
    } else if (kind === 'hello') {
      await this._greet(identity, peer, message);
    } else if (kind === 'sealed') {
      return this._open(identity, peer, fromText(message, 'value'));
    } else {
      if (peer.handshake.confirmed || peer.handshake.failed) this._repeat(identity, peer);
      await peer.handshake.hear(message);
      await this._proceed(identity, peer);
    }
    return null;
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   * @param {Message} message
   */
  async _greet(identity, peer, message) {
    let other;
    try {
      other = Introduction.fromMessage(message);
    } catch (error) {
      if (error instanceof OtherVersionError && !peer.session) this._become(identity, peer, 'other-version');
      throw error;
    }
    let { handshake } = peer;
    if (handshake.peer?.equals(other)) {
      this._repeat(identity, peer);
      return;
    }
    if (!peer.hellos.allow(this._nowMs())) throw new SealError('begins anew more often than need be');
    this._breakOff(peer);
    const answers = message.answers === toText(handshake.own.nonce);
    /** @type {Message[]} */
    const said = [];
    if (handshake.peer && !answers) {
      // They have begun anew, and so do we: a number of an exchange is not used twice.
      handshake = this._newHandshake();
      said.push(handshake.own.toMessage(other.nonce));
    }
    said.push(...(await handshake.meet(other)));
    peer.handshake = handshake;
    peer.answered = true;
    peer.charged = peer.agreed = false;
    peer.pauseMs = PAUSES_MS[0];
    peer.sinceMs = this._nowMs();
    peer.againMs = peer.sinceMs + peer.pauseMs;
    if (!peer.session) this._become(identity, peer, 'agreeing');
    this._post(identity, said);
  }

  /**
   * They lack something that we have said; not more often than need be.
   * @param {string} identity
   * @param {Peer} peer
   */
  _repeat(identity, peer) {
    const nowMs = this._nowMs();
    if ((peer.handshake.confirmed || peer.handshake.failed) && nowMs - peer.repeatedMs >= REPEAT_MS) {
      peer.repeatedMs = nowMs;
      this._post(identity, peer.handshake.sent);
    }
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   */
  async _proceed(identity, peer) {
    const { handshake } = peer;
    const nowMs = this._nowMs();
    if (handshake.mayShow && !this._somebodyWaits(peer) && this._shown.allow(nowMs)) {
      this._post(identity, handshake.show());
    }
    // Who has proved to know the secret needs no guess.
    if (handshake.mayConfirm && (handshake.confirmed || this._guesses.allow(nowMs))) {
      peer.charged = !handshake.confirmed;
      this._post(identity, handshake.confirm());
    }
    if (handshake.failed && !peer.session) this._become(identity, peer, 'wrong-passphrase');
    if (handshake.confirmed && !handshake.mayConfirm && !peer.agreed) await this._agree(identity, peer);
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   */
  async _agree(identity, peer) {
    this._shown.allow(this._nowMs(), -1);
    if (peer.charged) this._guesses.allow(this._nowMs(), -1); // It was no guess.
    peer.charged = false;
    peer.session = await Session.make(peer.handshake, this._config.room);
    peer.agreed = true;
    peer.unconfirmed.clear();
    if (this._sender.key.step >= LAST_STEP / 2) this._leftMs ??= this._nowMs();
    if (this._sender.keyUsed) {
      if (!this._sender.mayStep) return; // Given the next key, which is on its way.
      await this._sender.step();
    }
    await this._give(identity, peer, this._sender.key);
    if (this._next) await this._give(identity, peer, this._next);
  }

  /** @param {Peer} peer Whether somebody who came before this one is still to be shown our share. */
  _somebodyWaits(peer) {
    for (const other of this._peers.values()) {
      if (other === peer) return false;
      if (other.handshake.mayShow) return true;
    }
    return false;
  }

  /** @param {Peer} peer whose exchange is given up */
  _breakOff(peer) {
    if (peer.handshake.shown && !peer.agreed) this.brokenOff += 1;
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   * @param {SealState} state
   */
  _become(identity, peer, state) {
    if (peer.state === state) return;
    peer.state = state;
    this._config.onState(identity, state);
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   * @param {number} nowMs
   */
  async _tick(identity, peer, nowMs) {
    const { handshake } = peer;
    const waitedMs = nowMs - peer.sinceMs;
    if (peer.state === 'agreeing' && waitedMs >= (peer.answered ? STUCK_MS : NO_ANSWER_MS)) {
      this._become(identity, peer, 'no-answer');
    }
    if (handshake.mayShow || handshake.mayConfirm) await this._proceed(identity, peer);
    const settled = handshake.confirmed || handshake.failed || peer.state === 'they-have-no-passphrase';
    if (!settled && nowMs >= peer.againMs) {
      if (this._outgoing.every((item) => item.identity !== identity)) this._post(identity, handshake.sent);
      peer.pauseMs = Math.min(2 * peer.pauseMs, PAUSES_MS[1]);
      peer.againMs = nowMs + peer.pauseMs;
    }
    if (peer.session && nowMs >= peer.keysAgainMs) {
      for (const key of [...peer.unconfirmed.values()]) await this._give(identity, peer, key);
    }
  }

  // -- inside: keys

  /**
   * @param {string} identity
   * @param {Peer} peer
   * @param {MediaKey} key
   */
  async _give(identity, peer, key) {
    const current = this._sender.key.generation;
    for (const number of [...peer.unconfirmed.keys()]) if (number < current) peer.unconfirmed.delete(number);
    peer.unconfirmed.set(key.generation, key);
    peer.keysAgainMs = this._nowMs() + KEYS_AGAIN_MS;
    const { generation, step, counter, baseKey } = key;
    const told = { kind: 'key', generation, step, counter, key: toText(baseKey) };
    this._post(identity, [await this._seal(/** @type {Session} */ (peer.session), told)]);
  }

  /**
   * @param {string} identity
   * @param {Peer} peer
   * @param {Bytes} sealed
   * @returns {Promise<Record<string, any> | null>}
   */
  async _open(identity, peer, sealed) {
    const { session } = peer;
    if (!session) throw new SealError('sealed, and no key has been agreed on yet');
    const message = await session.open(sealed);
    const { kind, generation, data } = message;
    if (kind === 'signal') return data !== null && typeof data === 'object' && !Array.isArray(data) ? data : null;
    if (kind === 'has' && Number.isInteger(generation)) {
      peer.unconfirmed.delete(generation);
    } else if (kind === 'key') {
      const first = session.fromAll === null;
      await session.takeKey(readKey(message));
      this._post(identity, [await this._seal(session, { kind: 'has', generation })]);
      if (first) {
        peer.state = 'sealed';
        this._config.onState(identity, 'sealed');
      }
    }
    return null;
  }

  /**
   * A new key once somebody has gone, and when the old one is old; used when everybody has it.
   * @param {number} nowMs
   */
  async _renew(nowMs) {
    const next = this._next;
    if (next) {
      const waiting = [...this._peers.values()].some((peer) => peer.unconfirmed.has(next.generation));
      if (!waiting || nowMs >= this._switchMs) {
        await this._sender.begin(next);
        this._next = null;
        this._keyMadeMs = nowMs;
      }
      return;
    }
    const ageMs = nowMs - this._keyMadeMs;
    const left = this._leftMs !== null && nowMs - this._leftMs >= RENEW_AFTER_LEAVING_MS && ageMs >= RENEW_APART_MS;
    if (!left && ageMs < RENEW_MS) return;
    this._leftMs = null;
    this._next = this._sender.following();
    this._switchMs = nowMs + SWITCH_MS;
    for (const [identity, peer] of this._peers) if (peer.session) await this._give(identity, peer, this._next);
  }

  // -- inside: sending

  /** @param {string} identity */
  _session(identity) {
    const session = this._peers.get(identity)?.session;
    if (!session) throw new SealError('no key has been agreed on yet');
    return session;
  }

  /**
   * @param {Session} session
   * @param {Record<string, unknown>} data
   * @returns {Promise<Message>}
   */
  async _seal(session, data) {
    return { kind: 'sealed', value: toText(await session.seal(data)) };
  }

  /**
   * @param {string} identity
   * @param {readonly Message[]} messages
   */
  _post(identity, messages) {
    if (messages.length === 0) return;
    this._outgoing.push({ identity, messages: [...messages] });
    if (this._outgoing.length > QUEUE) this._outgoing.shift();
    this._flush();
  }

  /** Send what the relay's limits let us send; the rest waits for the next tick. */
  _flush() {
    while (this._outgoing.length && this._signals.allow(this._nowMs())) {
      const { identity, messages } = /** @type {{identity: string, messages: Message[]}} */ (this._outgoing.shift());
      this._config.send(identity, { e2e: messages });
    }
  }
}

/**
 * @param {Message} message
 * @returns {MediaKey}
 */
function readKey(message) {
  const { generation, step, counter } = message;
  const baseKey = fromText(message, 'key');
  if (![generation, step, counter].every((number) => Number.isInteger(number))) {
    throw new SealError("a key's numbers must be whole");
  }
  const inRange = 0 <= generation && generation < 2 ** 32 && 0 <= step && step <= LAST_STEP;
  if (!inRange || counter < 0 || counter >= 2 ** 48) throw new SealError("a key's numbers are out of range");
  if (baseKey.length !== SUITE.keyBytes) throw new SealError(`a key has ${SUITE.keyBytes} bytes`);
  return { generation, step, baseKey, counter };
}
