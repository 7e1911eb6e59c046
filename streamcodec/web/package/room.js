// Everyone in a room, each by the best path: a direct line where there is one, the relay where there is not. As Python's
// `Room`, without end-to-end keys.

import { Deframer, Framer, frameOfReport } from './framing.js';
import { Line } from './line.js';
import { RateLimit } from './rate_limit.js';
import { EVERYONE, RelayClient } from './relay_client.js';
import { held, reportFromBytes, reportToBytes } from './report.js';

/** @typedef {import('./packet.js').Packet} Packet */
/** @typedef {import('./relay_client.js').PeerInfo} PeerInfo */

const LONGEST_WAIT_MS = 130;
const ABSENCE_MS = 3_000;
// Of one other person: each offer costs a connection to be made; our own senders stay below a third of the packets.
const OFFERS_PER_S = 0.2;
const OFFER_BURST = 6;
const PACKETS_PER_S = 200;
const REPORTS_PER_S = 7;
const STATUS_EVERY_MS = 5_000;

/** @typedef {{muted: boolean, silent_microphone: boolean, foreign: boolean}} Status */

class Member {
  /**
   * @param {PeerInfo} info
   * @param {Line} line
   */
  constructor(info, line) {
    this.info = info;
    this.line = line;
    /** @type {number | null} On the relay; null while it does not have this peer. */
    this.number = info.peer;
    this.missingSinceMs = 0;
    this.deframer = new Deframer();
    /** @type {{report: Uint8Array, sinceMs: number} | null} */
    this.report = null;
    /** @type {Status} What this person last said of itself. */
    this.status = { muted: false, silent_microphone: false, foreign: false };
    this.encrypted = false;
    this.told = '';
    this.toldMs = 0;
    this.offers = new RateLimit(OFFERS_PER_S, OFFER_BURST);
    this.packets = new RateLimit(PACKETS_PER_S, PACKETS_PER_S);
    this.reports = new RateLimit(REPORTS_PER_S, REPORTS_PER_S);
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
 */

export class Room {
  /**
   * @param {import('./relay_client.js').JoinFields} fields
   * @param {RoomEvents} events
   * @param {() => number} nowMs
   * @param {boolean} direct Whether direct lines are made.
   */
  constructor(fields, events, nowMs, direct) {
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

  /** @returns {{info: PeerInfo, path: 'direct' | 'relay' | 'none', carries: string, status: Status, encrypted: boolean}[]} */
  get peers() {
    return [...this._members.values()].map((member) => ({
      info: member.info,
      path: this._path(member),
      carries: member.line.mediaReady ? 'srtp' : member.line.channelOpen ? 'data-channel' : 'none',
      status: member.status,
      encrypted: member.encrypted,
    }));
  }

  start() {
    this.relay.start();
  }

  leave() {
    for (const identity of this._members.keys()) this._events.dropLine(identity);
    this.relay.leave();
  }

  /**
   * To everyone, each by the best path.
   * @param {Packet} packet
   */
  send(packet) {
    const nowMs = this._nowMs();
    const relayed = [...this._members.values()].filter((each) => each.info.hears && !each.line.send(packet, nowMs));
    const reached = relayed.filter((member) => member.number !== null);
    if (reached.length === 0) return;
    const [first] = reached;
    const frame = this._framer.frame(packet, reached.length === 1 ? this._takeReport(first) : null);
    const all = [...this._members.values()].filter((member) => member.number !== null && member.info.hears);
    if (reached.length === all.length) {
      this.relay.send(frame, reached.length === 1 ? /** @type {number} */ (first.number) : EVERYONE);
      return;
    }
    for (const member of reached) this.relay.send(frame, /** @type {number} */ (member.number));
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
    const number = this._members.get(identity)?.number;
    if (number !== null && number !== undefined) this.relay.signal(number, data);
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
    for (const [identity, member] of this._members) {
      member.line.tick(nowMs);
      this._sendOverdue(member, nowMs);
      this._tellStatus(member, status(member.info), nowMs);
      const absent = member.number === null && nowMs - member.missingSinceMs > ABSENCE_MS;
      // While our own line is down we cannot know who is still there.
      if (absent && this.relay.connected && this._path(member) === 'none') {
        this._members.delete(identity);
        this._events.dropLine(identity);
        this._events.onPeer(member.info, false);
      }
    }
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
    const known = this._members.get(identity);
    if (known) {
      known.number = info.peer;
      known.info = info;
      known.deframer = new Deframer();
      known.told = '';
      return;
    }
    /** @type {Line} */
    const line = new Line({
      onPacket: (packet) => this._take(member, packet),
      onReport: (report) => this._takeTheirReport(member, report),
      sendOnChannel: (data) => this._events.sendOnChannel(identity, data),
      takeReport: () => this._takeReport(member),
    });
    /** @type {Member} */
    const member = new Member(info, line);
    this._members.set(identity, member);
    this._events.onPeer(info, true);
    if (this._direct) this._events.makeLine(identity, this.identity < identity);
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
    if (!member || member.encrypted) return;
    const before = member.deframer.damaged;
    const { packet, report } = member.deframer.take(datagram, this._nowMs());
    this.damaged += member.deframer.damaged - before;
    if (report) this._takeTheirReport(member, report);
    if (packet) this._take(member, packet);
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
    if (Array.isArray(data.e2e)) {
      // They use a passphrase. This client has none, and says so as Python's does.
      member.encrypted = true;
      if (data.e2e.some((message) => message?.kind === 'hello')) {
        this.relay.signal(peer, { e2e: [{ kind: 'none' }] });
      }
    } else if (data.status && typeof data.status === 'object') {
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
    else if (member.number !== null) this.relay.send(frameOfReport(report), member.number);
  }

  /**
   * @param {Member} member
   * @param {Status} status
   * @param {number} nowMs
   */
  _tellStatus(member, status, nowMs) {
    const text = JSON.stringify(status);
    if (member.number === null || (text === member.told && nowMs - member.toldMs < STATUS_EVERY_MS)) return;
    member.told = text;
    member.toldMs = nowMs;
    this.relay.signal(member.number, { status });
  }
}
