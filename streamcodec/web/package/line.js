// The worker's end of a direct line to one peer: what travels on SRTP or the data channel, framed. The connection itself
// belongs to the page (`direct_line.js`), since browsers give workers none.

import { Deframer, Framer, HEARTBEAT, frameOfReport } from './framing.js';
import { Packet } from './packet.js';

const SILENCE_MS = 2_000;
const HEARTBEAT_MS = 500;
/** Of the time stamps on an Opus line, in a frame of 20 ms. */
const FRAME_TICKS = 960;
/** More packets than these wait only where the browser's own frames come too slowly: the oldest take the channel. */
const MOST_WAITING = 3;
/** So does one where something has waited at each of so many of the browser's frames: the delay would stay for good. */
const PATIENCE_FRAMES = 50;
const WRAP = 2 ** 32;

/**
 * @typedef {object} LineEvents
 * @property {(packet: Packet) => void} onPacket
 * @property {(report: Uint8Array) => void} onReport
 * @property {(piece: Uint8Array) => void} onPiece
 * @property {(data: Uint8Array<ArrayBuffer>) => void} sendOnChannel
 * @property {() => Uint8Array | null} takeReport One that waits for a packet to ride with.
 * @property {(frames: number) => void} onWait Something waits for a frame of the browser's, and takes as long as so many.
 */

export class Line {
  /** Which connection of the page's is in use. */
  generation = 0;
  _mediaFramer = new Framer({ numbered: true });
  _channelFramer = new Framer();
  _mediaDeframer = new Deframer();
  _channelDeframer = new Deframer();
  /** @type {(Packet | Uint8Array)[]} */
  _waiting = [];
  _offset = NaN;
  _heardMs = -Infinity;
  _sentMs = -Infinity;
  channelOpen = false;
  mediaReady = false;
  /** @type {number | null} */
  _lastTicks = null;
  _ticks = 0;
  /** @type {number | null} */
  _sentTicks = null;
  _sentUnits = 0;
  _leastWaiting = Infinity;
  _watchedFrames = 0;

  /** @param {LineEvents} events */
  constructor(events) {
    this._events = events;
    this.sentFrames = 0;
    this.receivedFrames = 0;
    this.damaged = 0;
    this.dropped = 0;
  }

  /**
   * A fresh connection: nothing is known of the other end.
   * @param {number} generation 0 for none
   */
  restart(generation) {
    this.generation = generation;
    this._mediaFramer = new Framer({ numbered: true });
    this._channelFramer = new Framer();
    this._mediaDeframer = new Deframer();
    this._channelDeframer = new Deframer();
    this._waiting = [];
    this._offset = NaN;
    this._heardMs = -Infinity;
    this._sentMs = -Infinity;
    this.channelOpen = false;
    this.mediaReady = false;
    this._lastTicks = null;
    this._ticks = 0;
    this._sentTicks = null;
    this._sentUnits = 0;
  }

  /** @param {number} nowMs */
  isOpen(nowMs) {
    return nowMs - this._heardMs <= SILENCE_MS && (this.mediaReady || this.channelOpen);
  }

  /**
   * @param {Packet} packet
   * @param {number} nowMs
   * @returns {boolean} whether it went this way
   */
  send(packet, nowMs) {
    if (!this.isOpen(nowMs)) return false;
    if (this.mediaReady) this._wait(packet, nowMs);
    else this._onChannel(this._channelFramer.frame(packet, this._events.takeReport()), nowMs);
    return true;
  }

  /**
   * A report that no packet took along.
   * @param {Uint8Array} report
   * @param {number} nowMs
   */
  sendReport(report, nowMs) {
    if (this.mediaReady) this._wait(frameOfReport(report), nowMs);
    else if (this.channelOpen) this._onChannel(frameOfReport(report), nowMs);
  }

  /**
   * Several times a second: heartbeats into silence.
   * @param {number} nowMs
   */
  tick(nowMs) {
    if (nowMs - this._sentMs < 0.9 * HEARTBEAT_MS) return;
    if (this.mediaReady) {
      if (this._waiting.length === 0) this._wait(Uint8Array.of(HEARTBEAT), nowMs);
      this._sentMs = nowMs;
    } else if (this.channelOpen) {
      this._onChannel(Uint8Array.of(HEARTBEAT), nowMs);
    }
  }

  /**
   * The browser has coded 20 ms of something: what goes out in its place, or null for nothing.
   * @param {number} ticks its RTP time stamp
   * @param {number} nowMs
   * @returns {Uint8Array | null}
   */
  nextFrame(ticks, nowMs) {
    if (this._sentTicks !== null) this._sentUnits += Math.round(difference(ticks, this._sentTicks) / FRAME_TICKS);
    this._sentTicks = ticks;
    const next = this._waiting.shift();
    this._watch(nowMs);
    if (next === undefined) return null;
    this._sentMs = nowMs;
    this.sentFrames += 1;
    if (!(next instanceof Packet)) return next;
    const framer = this._mediaFramer;
    // The browser's stamps and ours drift apart by whole frames where either left one out.
    const offset = (next.timestamp - this._sentUnits) & 0xffff;
    if (offset !== this._offset) framer.resync();
    this._offset = offset;
    return framer.frame(next, this._events.takeReport());
  }

  /**
   * @param {Uint8Array} frame
   * @param {number} ticks its RTP time stamp
   * @param {number} nowMs
   */
  hearMedia(frame, ticks, nowMs) {
    if (this._lastTicks !== null) this._ticks += difference(ticks, this._lastTicks);
    this._lastTicks = ticks;
    this._hear(this._mediaDeframer, frame, nowMs, Math.round(this._ticks / FRAME_TICKS));
  }

  /**
   * @param {Uint8Array} frame
   * @param {number} nowMs
   */
  hearChannel(frame, nowMs) {
    this._hear(this._channelDeframer, frame, nowMs, null);
  }

  /**
   * @param {Deframer} deframer
   * @param {Uint8Array} frame
   * @param {number} nowMs
   * @param {number | null} unit
   */
  _hear(deframer, frame, nowMs, unit) {
    this._heardMs = nowMs;
    this.receivedFrames += 1;
    const before = deframer.damaged;
    const { packet, report, piece } = deframer.take(frame, nowMs, unit);
    this.damaged += deframer.damaged - before;
    if (piece) this._events.onPiece(piece);
    if (report) this._events.onReport(report);
    if (packet) this._events.onPacket(packet);
  }

  /**
   * @param {Packet | Uint8Array} what
   * @param {number} nowMs
   */
  _wait(what, nowMs) {
    this._waiting.push(what);
    this._events.onWait(what instanceof Packet ? what.frames : 1);
    if (this._waiting.length > MOST_WAITING) this._divert(nowMs);
  }

  /** @param {number} nowMs */
  _watch(nowMs) {
    this._leastWaiting = Math.min(this._leastWaiting, this._waiting.length);
    this._watchedFrames += 1;
    if (this._watchedFrames < PATIENCE_FRAMES) return;
    if (this._leastWaiting > 0) this._divert(nowMs);
    this._leastWaiting = Infinity;
    this._watchedFrames = 0;
  }

  /** @param {number} nowMs */
  _divert(nowMs) {
    const oldest = this._waiting.shift();
    if (oldest === undefined) return;
    if (!this.channelOpen) this.dropped += 1;
    else this._onChannel(oldest instanceof Packet ? this._channelFramer.frame(oldest) : oldest, nowMs);
  }

  /**
   * @param {Uint8Array} frame
   * @param {number} nowMs
   */
  _onChannel(frame, nowMs) {
    this._sentMs = nowMs;
    this.sentFrames += 1;
    this._events.sendOnChannel(new Uint8Array(frame));
  }
}

/**
 * @param {number} ticks
 * @param {number} before
 */
function difference(ticks, before) {
  return ((((ticks - before + WRAP / 2) % WRAP) + WRAP) % WRAP) - WRAP / 2;
}
