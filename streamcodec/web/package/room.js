// Everyone in a room, each by the best path: a direct line where there is one, the relay where there is not. As Python's
// `Room`: with a room key nobody counts as here before keys are agreed on with them, names are their own word, and all
// that passes the relay is sealed.

import { EndToEnd } from './end_to_end.js';
import { PacketError, SealError } from './errors.js';
import { Reassembler } from './fragments.js';
import { Deframer, Framer, frameOfReport } from './framing.js';
import { Line } from './line.js';
import { same } from './octets.js';
import { RateLimit } from './rate_limit.js';
import { Packet } from './packet.js';
import { OVERHEAD_BYTES } from './sealed_media.js';
import { EVERYONE, RelayClient } from './relay_client.js';
import { held, reportFromBytes, reportToBytes } from './report.js';

/** @typedef {import('./relay_client.js').PeerInfo} PeerInfo */
/** @typedef {import('./end_to_end.js').SealState} SealState */
/** @typedef {import('./octets.js').Bytes} Bytes */

const LONGEST_WAIT_MS = 130;
const ABSENCE_MS = 3_000;
// Of one other person: each offer costs a connection to be made; our own senders stay below a third of the packets.
const OFFERS_PER_S = 0.2;
const OFFER_BURST = 6;
const PACKETS_PER_S = 200;
const REPORTS_PER_S = 7;
const PIECES_PER_S = 2_000;
const STATUS_EVERY_MS = 5_000;
/** Told per second, and at once: with exchanges of keys below what relays take, which hang up on who signals more. */
const STATUSES = /** @type {const} */ ([3, 8]);
/** Sealed datagrams of one person that wait to be opened: more come only from somebody who floods us. */
const MOST_UNOPENED = 64;

/** @typedef {{muted: boolean, silent_microphone: boolean, foreign: boolean}} Status */

class Member {
  /**
   * @param {PeerInfo} info
   * @param {(member: Member) => Line} makeLine
   */
  constructor(info, makeLine) {
    this.info = info;
    this.line = makeLine(this);
    /** Told to the caller; with a room key not before keys are agreed on. */
    this.here = false;
    /** @type {Bytes | null} Of whom they were agreed on with. */
    this.endpoint = null;
    /** @type {Promise<unknown>} */
    this.opening = Promise.resolve();
    this.unopened = 0;
    /** @type {number | null} On the relay; null while it does not have this peer. */
    this.number = info.peer;
    this.missingSinceMs = 0;
    this.deframer = new Deframer();
    /** @type {{report: Uint8Array, sinceMs: number} | null} */
    this.report = null;
    /** @type {Status} What this person last said of itself. */
    this.status = { muted: false, silent_microphone: false, foreign: false };
    this.told = '';
    this.toldMs = -Infinity;
    this.offers = new RateLimit(OFFERS_PER_S, OFFER_BURST);
    this.packets = new RateLimit(PACKETS_PER_S, PACKETS_PER_S);
    this.reports = new RateLimit(REPORTS_PER_S, REPORTS_PER_S);
    this.pieces = new RateLimit(PIECES_PER_S, PIECES_PER_S);
    this.reassembler = new Reassembler();
  }
}

/**
 * @typedef {object} RoomEvents
 * @property {(identity: string, packet: Packet) => void} onPacket
 * @property {(identity: string, report: Uint8Array) => void} onReport
 * @property {(info: PeerInfo, present: boolean) => void} onPeer
 * @property {(failure: {code: string, reason: string} | null) => void} onLost
 * @property {() => void} onWelcome
 * @property {(identity: string, offers: boolean) => void} makeLine
 * @property {(identity: string) => void} dropLine
 * @property {(identity: string, data: Record<string, unknown>) => void} signalLine
 * @property {(identity: string, data: Uint8Array<ArrayBuffer>) => void} sendOnChannel
 * @property {(identity: string, frames: number) => void} waitOnMedia Something waits for frames of the browser's.
 */

export class Room {
  /**
   * @param {import('./relay_client.js').JoinFields} fields
   * @param {RoomEvents} events
   * @param {() => number} nowMs
   * @param {boolean} direct Whether direct lines are made.
   * @param {Bytes | null} [roomKey] What the people in the room share and the relay does not know.
   */
  constructor(fields, events, nowMs, direct, roomKey = null) {
    this._fields = fields;
    this._events = events;
    this._nowMs = nowMs;
    this._direct = direct;
    this.identity = '';
    this.speaks = true;
    this.hears = true;
    /** @type {Map<string, Member>} */
    this._members = new Map();
    this._framer = new Framer();
    this._statuses = new RateLimit(...STATUSES);
    this._e2e = new EndToEnd({
      secret: roomKey, room: fields.room, name: fields.name, bitstream: fields.bitstream, nowMs,
      send: (identity, data) => this._passSignal(identity, data),
      onState: (identity, state) => this._sealChanged(identity, state),
    });
    /** @type {Promise<unknown>} Sealed datagrams go out in the order in which they were numbered. */
    this._sealing = Promise.resolve();
    this.damaged = 0;
    /** Packets and reports beyond what one person may send. */
    this.refused = 0;
    this.relay = new RelayClient(fields, {
      onDatagram: (peer, datagram) => this._hearRelay(peer, datagram),
      onWelcome: (welcome) => {
        this.identity = welcome.identity;
        this.speaks = welcome.speaks;
        this.hears = welcome.hears;
        welcome.peers.forEach((info) => this._arrive(info));
        events.onWelcome();
      },
      onJoined: (info) => this._arrive(info),
      onLeft: (peer) => this._lose(peer),
      onSignal: (peer, data) => this._hearSignal(peer, data),
      onLost: (failure) => {
        for (const member of this._members.values()) this._miss(member);
        events.onLost(failure);
      },
    });
  }

  /**
   * Who is here besides us; with a room key, with whom keys are agreed on.
   * @returns {{info: PeerInfo, path: 'direct' | 'relay' | 'none', carries: string, status: Status, seal: SealState,
   *   verification: string}[]}
   */
  get peers() {
    return this._here.map((member) => ({
      info: member.info,
      path: this._path(member),
      carries: member.line.mediaReady ? 'srtp' : member.line.channelOpen ? 'data-channel' : 'none',
      status: member.status,
      seal: this._e2e.state(member.info.identity),
      verification: this._e2e.verification(member.info.identity),
    }));
  }

  /**
   * Who else is in the room: nobody hears them and they hear nobody, `seal` says why. Their names are the relay's word.
   * @returns {{info: PeerInfo, seal: SealState}[]}
   */
  get strangers() {
    const strangers = [...this._members.values()].filter((member) => !member.here);
    return strangers.map(({ info }) => ({ info, seal: this._e2e.state(info.identity) }));
  }

  /** Lines of their own and messages to the relay that a packet for everybody takes, and what sealing adds to the latter. */
  get ways() {
    const paths = this._here.filter(({ info }) => info.hears).map((member) => this._path(member));
    const direct = paths.filter((path) => path === 'direct').length;
    const relayed = paths.filter((path) => path === 'relay').length;
    // One message to the relay does for all, if it is to go to all.
    return { direct, relayed: direct ? relayed : Math.min(relayed, 1), sealBytes: this._e2e.on ? OVERHEAD_BYTES : 0 };
  }

  /** Datagrams and signals whose seal could not be opened. */
  get unopened() {
    return this._e2e.refused;
  }

  get _here() {
    return [...this._members.values()].filter((member) => member.here);
  }

  start() {
    this.relay.start();
  }

  async leave() {
    for (const identity of this._members.keys()) this._events.dropLine(identity);
    // What was sent last may still be being sealed.
    await this._sealing;
    this.relay.leave();
  }

  /**
   * To everyone, each by the best path.
   * @param {Packet} packet
   */
  send(packet) {
    const nowMs = this._nowMs();
    const relayed = this._here.filter((each) => each.info.hears && !each.line.send(packet, nowMs));
    const reached = relayed.filter((member) => member.number !== null);
    if (reached.length === 0) return;
    const [first] = reached;
    const frame = this._framer.frame(packet, reached.length === 1 ? this._takeReport(first) : null);
    if (reached.length === 1) {
      // What is for one is sealed for that one: nobody else can be made to take it for theirs.
      this._relay(first, frame);
      return;
    }
    const all = [...this._members.values()].filter((member) => member.number !== null && member.info.hears);
    const everyone = reached.length === all.length;
    this._send(frame, (bytes) => this._e2e.sealMedia(bytes), (bytes) => {
      if (everyone) this.relay.send(bytes, EVERYONE);
      else for (const { number } of reached) if (number !== null) this.relay.send(bytes, number);
    });
  }

  /**
   * To one peer: with the next packet, or alone where none comes soon.
   * @param {string} identity
   * @param {Uint8Array} report
   */
  sendReport(identity, report) {
    const member = this._members.get(identity);
    if (member) member.report = { report, sinceMs: this._nowMs() };
  }

  /**
   * What a connection of the page's has to say to its other end.
   * @param {string} identity
   * @param {Record<string, unknown>} data
   */
  signal(identity, data) {
    const member = this._members.get(identity);
    if (!this._e2e.on) {
      this._passSignal(identity, data);
    } else if (member?.here) {
      this._e2e
        .sealSignal(identity, data)
        .then((sealed) => this._passSignal(identity, sealed))
        .catch(ignoreSeals);
    }
  }

  /** @param {string} identity */
  line(identity) {
    return this._members.get(identity)?.line;
  }

  /**
   * Ten times a second.
   * @param {(info: PeerInfo) => Status} status How we are, for one peer.
   */
  tick(status) {
    const nowMs = this._nowMs();
    this.relay.tick(nowMs);
    this._e2e.tick();
    for (const [identity, member] of this._members) {
      if (member.here) {
        member.line.tick(nowMs);
        this._sendOverdue(member, nowMs);
      }
      const absent = member.number === null && nowMs - member.missingSinceMs > ABSENCE_MS;
      // While our own line is down we cannot know who is still there.
      if (absent && this.relay.connected && this._path(member) === 'none') {
        this._members.delete(identity);
        this._e2e.forget(identity);
        this._part(member);
      }
    }
    this._tellStatuses(status, nowMs);
  }

  // -- inside

  /** @param {Member} member */
  _path(member) {
    if (member.line.isOpen(this._nowMs())) return 'direct';
    return member.number !== null && this.relay.connected ? 'relay' : 'none';
  }

  /** @param {PeerInfo} info */
  _arrive(info) {
    const { identity } = info;
    let member = this._members.get(identity);
    if (member) {
      member.number = info.peer;
      member.deframer = new Deframer();
      member.told = '';
      member.toldMs = -Infinity;
    } else {
      member = new Member(info, (made) => this._makeLine(identity, made));
      this._members.set(identity, member);
    }
    member.info = this._authentic(info);
    this._e2e.meet(identity);
    if (!this._e2e.on) this._welcome(member);
  }

  /**
   * @param {string} identity
   * @param {Member} member
   */
  _makeLine(identity, member) {
    return new Line({
      onPacket: (packet) => this._take(member, packet),
      onReport: (report) => this._takeTheirReport(member, report),
      onPiece: (piece) => this._takePiece(member, piece),
      sendOnChannel: (data) => this._events.sendOnChannel(identity, data),
      takeReport: () => this._takeReport(member),
      onWait: (frames) => this._events.waitOnMedia(identity, frames),
    });
  }

  /** @param {Member} member who has come, and is who they say they are as far as that can be known */
  _welcome(member) {
    if (member.here) return;
    const { identity } = member.info;
    member.here = true;
    this._events.onPeer(member.info, true);
    if (this._direct) this._events.makeLine(identity, this.identity < identity);
  }

  /** @param {Member} member */
  _part(member) {
    if (!member.here) return;
    member.here = false;
    member.deframer = new Deframer();
    member.line.restart(0);
    this._events.dropLine(member.info.identity);
    this._events.onPeer(member.info, false);
  }

  /**
   * With what a peer has said of itself in place of what the relay says.
   * @param {PeerInfo} info
   * @returns {PeerInfo}
   */
  _authentic(info) {
    const word = this._e2e.introduction(info.identity);
    return word ? { ...info, name: word.name, bitstream: word.bitstream } : info;
  }

  /**
   * @param {string} identity
   * @param {SealState} state
   */
  _sealChanged(identity, state) {
    const member = this._members.get(identity);
    const word = this._e2e.introduction(identity);
    if (!member || !word || state !== 'sealed') return;
    // The relay may have put somebody else into this place.
    if (member.here && member.endpoint && !same(member.endpoint, word.endpoint)) this._part(member);
    member.endpoint = word.endpoint;
    member.info = this._authentic(member.info);
    this._welcome(member);
  }

  /** @param {number} peer */
  _lose(peer) {
    const member = this._byNumber(peer);
    if (member) this._miss(member);
  }

  /** @param {Member} member */
  _miss(member) {
    if (member.number !== null) member.missingSinceMs = this._nowMs();
    member.number = null;
  }

  /** @param {number} peer */
  _byNumber(peer) {
    return [...this._members.values()].find((member) => member.number === peer);
  }

  /**
   * @param {number} peer
   * @param {Uint8Array} datagram
   */
  _hearRelay(peer, datagram) {
    const member = this._byNumber(peer);
    if (!member) return;
    const { identity } = member.info;
    if (!this._e2e.on) {
      // Of somebody who does encrypt there is nothing to be heard.
      if (this._e2e.state(identity) === 'none') this._hearFrame(member, datagram);
      return;
    }
    if (member.unopened >= MOST_UNOPENED) {
      this.refused += 1;
      return;
    }
    member.unopened += 1;
    member.opening = member.opening
      .then(() => this._e2e.openMedia(identity, new Uint8Array(datagram)))
      .then((frame) => this._hearFrame(member, frame))
      .catch(ignoreSeals)
      .finally(() => (member.unopened -= 1));
  }

  /**
   * @param {Member} member
   * @param {Uint8Array} frame
   */
  _hearFrame(member, frame) {
    const before = member.deframer.damaged;
    const { packet, report, piece } = member.deframer.take(frame, this._nowMs());
    this.damaged += member.deframer.damaged - before;
    if (piece) this._takePiece(member, piece);
    if (report) this._takeTheirReport(member, report);
    if (packet) this._take(member, packet);
  }

  /**
   * @param {Member} member
   * @param {Uint8Array} piece
   */
  _takePiece(member, piece) {
    if (!member.pieces.allow(this._nowMs())) {
      this.refused += 1;
      return;
    }
    try {
      const whole = member.reassembler.add(piece, this._nowMs());
      if (whole) this._take(member, Packet.fromBytes(whole));
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.damaged += 1;
    }
  }

  /**
   * @param {Member} member
   * @param {Packet} packet
   */
  _take(member, packet) {
    if (member.info.speaks && member.packets.allow(this._nowMs())) {
      this._events.onPacket(member.info.identity, packet);
    } else {
      this.refused += 1;
    }
  }

  /**
   * @param {Member} member
   * @param {Uint8Array} report
   */
  _takeTheirReport(member, report) {
    if (member.reports.allow(this._nowMs())) this._events.onReport(member.info.identity, report);
    else this.refused += 1;
  }

  /**
   * @param {number} peer
   * @param {Record<string, any>} data
   */
  _hearSignal(peer, data) {
    const member = this._byNumber(peer);
    if (!member) return;
    if (!this._e2e.on && !('e2e' in data)) {
      this._heed(member, data);
      return;
    }
    void this._e2e.hear(member.info.identity, data).then((signals) => {
      for (const signal of signals) this._heed(member, signal);
    });
  }

  /**
   * What a member has signalled, opened: a status, or word of a direct line.
   * @param {Member} member
   * @param {Record<string, any>} data
   */
  _heed(member, data) {
    if (data.status && typeof data.status === 'object') {
      const { muted, silent_microphone, foreign } = data.status;
      member.status = {
        muted: muted === true, silent_microphone: silent_microphone === true, foreign: foreign === true,
      };
    } else if (member.offers.allow(this._nowMs())) {
      this._events.signalLine(member.info.identity, data);
    }
  }

  /**
   * @param {Member} member
   * @returns {Uint8Array | null}
   */
  _takeReport(member) {
    const waiting = member.report;
    member.report = null;
    if (!waiting) return null;
    return reportToBytes(held(reportFromBytes(waiting.report), this._nowMs() - waiting.sinceMs));
  }

  /**
   * @param {Member} member
   * @param {number} nowMs
   */
  _sendOverdue(member, nowMs) {
    if (!member.report || nowMs - member.report.sinceMs < LONGEST_WAIT_MS) return;
    const report = /** @type {Uint8Array} */ (this._takeReport(member));
    if (member.line.isOpen(nowMs)) member.line.sendReport(report, nowMs);
    else this._relay(member, frameOfReport(report));
  }

  /**
   * To one peer alone, over the relay.
   * @param {Member} member
   * @param {Uint8Array} frame
   */
  _relay(member, frame) {
    const { identity } = member.info;
    this._send(frame, (bytes) => this._e2e.sealMediaFor(identity, bytes), (bytes) => {
      if (member.number !== null) this.relay.send(bytes, member.number);
    });
  }

  /**
   * @param {Uint8Array} frame
   * @param {(frame: Bytes) => Promise<Bytes>} seal
   * @param {(bytes: Uint8Array) => void} send
   */
  _send(frame, seal, send) {
    if (!this._e2e.on) {
      send(frame);
      return;
    }
    const sealed = seal(new Uint8Array(frame));
    sealed.catch(ignoreSeals);
    this._sealing = this._sealing.then(() => sealed).then(send).catch(ignoreSeals);
  }

  /**
   * @param {string} identity
   * @param {Record<string, unknown>} data
   */
  _passSignal(identity, data) {
    const number = this._members.get(identity)?.number;
    if (number !== null && number !== undefined) this.relay.signal(number, data);
  }

  /**
   * Tell everybody how we are, where that is news or was said some time ago; who has waited longest first.
   * @param {(info: PeerInfo) => Status} status
   * @param {number} nowMs
   */
  _tellStatuses(status, nowMs) {
    const due = this._here
      .map((member) => ({ member, text: JSON.stringify(status(member.info)) }))
      .filter(({ member, text }) => text !== member.told || nowMs - member.toldMs >= STATUS_EVERY_MS)
      .filter(({ member }) => member.number !== null)
      .sort((a, b) => (a.member.toldMs < b.member.toldMs ? -1 : Number(a.member.toldMs > b.member.toldMs)));
    for (const { member, text } of due) {
      if (!this._statuses.allow(nowMs)) break;
      member.told = text;
      member.toldMs = nowMs;
      this.signal(member.info.identity, { status: JSON.parse(text) });
    }
  }
}

/** @param {unknown} error Lost, as on any line; counted by who refused it. */
function ignoreSeals(error) {
  if (!(error instanceof SealError)) throw error;
}
