// Frames in at any time and order, one decision out per frame of playout: `streamcodec/net/jitter_buffer.py`, where
// the reasons are given. A trace that Python's tests write holds this to it, decision for decision.

import { DELAY, DelayEstimator } from './delay_estimator.js';
import { extend, mod, roundHalfEven } from './numbers.js';
import { Flags, MODULUS, Packet } from './packet.js';

const FRAME_MS = 20;
const SLACK_BELOW_MS = 3;
const LEAST_EXCESS_MS = 5;
const STEADY_MS = 2;
const URGENT_BELOW_MS = 40;
const URGENT_ABOVE_MS = 100;
const PATIENCE_BELOW_FRAMES = 50;
const PATIENCE_ABOVE_FRAMES = 500;
const SCALE_SPACING_FRAMES = 3;
const FAST_DRIFT = 0.03;
const RESYNC_MS = 5_000;
const RESTART_RUN = 5;
const LATE_RUN = 12;
const STALL_MS = 400;
const CAPACITY_FRAMES = 256;
const SEEN_FRAMES = 1024;
const LONGEST_LOSS_FRAMES = 16;

/**
 * @typedef {'keep' | 'accelerate' | 'accelerate now' | 'accelerate in a pause'
 *   | 'expand' | 'expand in a pause' | 'expand now'} TimeScale
 */

/**
 * One frame of a packet, by itself: its copies are those that bring its own earlier forms.
 * @typedef {object} Frame
 * @property {Packet} packet
 * @property {number} part Which frame of the packet.
 * @property {number} sequence
 * @property {number} timestamp
 * @property {number} qualityIndex
 * @property {number} flags
 * @property {readonly import('./packet.js').RedundantCopy[]} redundant
 */

/**
 * @typedef {{kind: 'play', frame: Frame, recovered: boolean, scale: TimeScale, mostMs: number}
 *   | {kind: 'lost', underrun: boolean, following: Frame | null} | {kind: 'silence'} | {kind: 'wait'}} Decision
 */
/** @typedef {'held' | 'duplicate' | 'late' | 'suspect' | 'restarted'} Arrival */

/**
 * A packet once for each of its frames, which share payload and copies: whichever are played, in order, can be decoded.
 * @param {Packet} packet
 * @returns {Frame[]}
 */
export function framesOf(packet) {
  const { qualityIndex, flags, redundant } = packet;
  return Array.from({ length: packet.frames }, (_, part) => ({
    packet,
    part,
    sequence: mod(packet.sequence + part, MODULUS),
    timestamp: mod(packet.timestamp + part, MODULUS),
    qualityIndex,
    flags,
    redundant,
  }));
}

export class JitterBuffer {
  // Of the stream at hand; see _clear.
  _next = 0;
  _firstTimestamp = 0;
  _originMs = 0;
  _firstSequence = 0;
  _highestSequence = 0;
  _unique = 0;
  /** @type {number[]} */
  _seenSequences = [];
  /** @type {number[]} */
  _heardTimestamps = [];
  /** @type {number | null} */
  _lastPlayedSequence = null;
  _waited = 0;
  _sinceScaled = 0;
  _offFrames = 0;
  _staleRun = 0;
  _staleSequence = -1;
  _lateRun = 0;
  _ended = false;

  /** @param {number} [frameMs] Duration of a frame, which timestamps count. */
  constructor(frameMs = FRAME_MS) {
    this._frameMs = frameMs;
    this.counts = {
      received: 0, played: 0, late: 0, duplicate: 0, suspect: 0, discarded: 0, recovered: 0, concealed: 0,
      underruns: 0, silent: 0, restarts: 0,
    };
    this._lostBeforeRestart = 0;
    /** @type {'idle' | 'priming' | 'playing' | 'silent'} */
    this._state = 'idle';
    /** Playout delay aimed at. */
    this.targetMs = Number(DELAY.initialMs);
    /** Playout delay of the moment. */
    this.depthMs = 0;
    /** @type {{frames: Frame[], atMs: number} | null} Of one packet far from where the stream should be. */
    this._suspect = null;
    /** @type {Map<number, {frame: Frame, sequence: number | null}>} */
    this._slots = new Map();
    this._delay = new DelayEstimator();
    this._clear();
  }

  get stats() {
    const lost = this._lostBeforeRestart + this._lostSinceRestart();
    return {
      ...this.counts, lost, held: this._heldPrimaries(), depthMs: this.depthMs, targetMs: this.targetMs,
    };
  }

  /**
   * Take a frame that arrived at `arrivalMs`, with the redundant copies it carries.
   * @param {Frame} frame
   * @param {number} arrivalMs
   * @returns {Arrival}
   */
  put(frame, arrivalMs) {
    if (this._state === 'idle') this._begin(frame, arrivalMs);
    const expected = this._expectedTimestamp(arrivalMs);
    const timestamp = extend(frame.timestamp, expected);
    const sequence = extend(frame.sequence, this._highestSequence);
    if (Math.abs(timestamp - expected) * this._frameMs > RESYNC_MS) return this._doubt(frame, arrivalMs);
    this._suspect = null;
    const arrival = this._file(frame, timestamp, sequence, arrivalMs);
    if (arrival === 'held') {
      this._staleRun = this._lateRun = 0;
      return arrival;
    }
    if (arrival === 'late') this._lateRun += 1;
    if (this._continuesStaleRun(frame, sequence) || this._lateRun >= LATE_RUN) {
      this._uncount(arrival);
      return this._restart([frame], arrivalMs);
    }
    return arrival;
  }

  /**
   * Decide what to play for the next frame; the device takes `blockMs` at a time, and `queuedMs` of what was decoded
   * before is still to be played.
   * @param {number} nowMs
   * @param {number} [blockMs]
   * @param {number} [queuedMs]
   * @returns {Decision}
   */
  get(nowMs, blockMs = 10, queuedMs = 0) {
    this.targetMs = this._delay.targetMs(nowMs, this._frameMs);
    if ((this._state === 'priming' || this._state === 'silent') && !this._resume(nowMs)) {
      if (this._state === 'priming') return { kind: 'wait' };
      this.counts.silent += 1;
      return { kind: 'silence' };
    }
    if (this._state === 'idle') return { kind: 'wait' };
    // Else nothing is waiting, however long ago the next was due.
    if (this._slots.size) this.depthMs = this._delayMs(this._next, nowMs);
    this._skipOverdue(nowMs);
    if (!this._slots.has(this._next)) {
      const missing = this._miss(nowMs);
      if (missing !== null) return missing;
    }
    return this._play(nowMs, blockMs, queuedMs);
  }

  // -- arrivals

  _clear() {
    this._slots.clear();
    this._delay = new DelayEstimator();
    this._next = 0;
    this._firstTimestamp = 0;
    this._originMs = 0;
    this._firstSequence = 0;
    this._highestSequence = 0;
    this._unique = 0;
    this._seenSequences = new Array(SEEN_FRAMES).fill(-1);
    this._heardTimestamps = new Array(SEEN_FRAMES).fill(-1);
    this._lastPlayedSequence = null;
    this._waited = 0;
    this._sinceScaled = 0;
    this._offFrames = 0;
    this._staleRun = 0;
    this._staleSequence = -1;
    this._lateRun = 0;
    this._ended = false;
  }

  /**
   * @param {Frame} frame
   * @param {number} arrivalMs
   */
  _begin(frame, arrivalMs) {
    // One modulus up, so that neither a reordered first frame nor an old copy makes a negative timestamp.
    const timestamp = frame.timestamp + MODULUS;
    this._firstSequence = this._highestSequence = frame.sequence + MODULUS;
    this._originMs = arrivalMs - timestamp * this._frameMs;
    this._firstTimestamp = this._next = timestamp;
    this._state = 'priming';
  }

  /** @param {number} arrivalMs */
  _expectedTimestamp(arrivalMs) {
    return roundHalfEven((arrivalMs - this._originMs - this._delay.baseMs(arrivalMs)) / this._frameMs);
  }

  /**
   * @param {Frame} frame
   * @param {number} timestamp
   * @param {number} sequence
   * @param {number} arrivalMs
   * @returns {Arrival}
   */
  _file(frame, timestamp, sequence, arrivalMs) {
    const { counts } = this;
    if (this._seenSequences[mod(sequence, SEEN_FRAMES)] === sequence) {
      counts.duplicate += 1;
      return 'duplicate';
    }
    this._seenSequences[mod(sequence, SEEN_FRAMES)] = sequence;
    counts.received += 1;
    this._unique += 1;
    this._highestSequence = Math.max(this._highestSequence, sequence);
    if (sequence < this._firstSequence && this._state === 'priming') this._firstSequence = sequence;
    this._delay.observe(arrivalMs - this._originMs - timestamp * this._frameMs, arrivalMs);
    if (this._firstHeard(timestamp)) this._delay.recovery.observe(0);
    this._makeRoom(timestamp);
    if (this._state === 'priming' && timestamp < this._next && !this._ended) this._next = timestamp;
    this._storeRedundancy(frame, timestamp);
    if (timestamp < this._next) {
      counts.late += 1;
      return 'late';
    }
    const held = this._slots.get(timestamp);
    if (held && held.sequence !== null) {
      counts.received -= 1;
      counts.duplicate += 1;
      return 'duplicate';
    }
    this._slots.set(timestamp, { frame, sequence });
    return 'held';
  }

  /**
   * @param {Frame} frame
   * @param {number} timestamp
   */
  _storeRedundancy(frame, timestamp) {
    this._delay.recovery.carried(Math.max(0, ...frame.redundant.map((copy) => copy.age)));
    for (const copy of frame.redundant) {
      if (copy.payload.length === 0) continue;
      const copiedTimestamp = timestamp - copy.age;
      if (copiedTimestamp >= this._firstTimestamp && this._firstHeard(copiedTimestamp)) this._delay.recovery.observe(copy.age);
      if (copiedTimestamp < this._next) continue;
      const held = this._slots.get(copiedTimestamp);
      if (held && (held.sequence !== null || held.frame.qualityIndex >= copy.qualityIndex)) continue;
      const fields = {
        sequence: mod(frame.sequence - copy.age, MODULUS),
        timestamp: mod(copiedTimestamp, MODULUS),
        qualityIndex: copy.qualityIndex,
        flags: copy.flags,
        redundant: [],
      };
      const { tier, frames } = frame.packet;
      const first = { sequence: mod(fields.sequence - frame.part, MODULUS), timestamp: mod(copiedTimestamp - frame.part, MODULUS) };
      const packet = new Packet({ ...fields, ...first, tier, payload: copy.payload, frames });
      this._slots.set(copiedTimestamp, { frame: { ...fields, packet, part: frame.part }, sequence: null });
    }
  }

  /** @param {number} timestamp */
  _firstHeard(timestamp) {
    const place = mod(timestamp, SEEN_FRAMES);
    if (this._heardTimestamps[place] >= timestamp) return false;
    this._heardTimestamps[place] = timestamp;
    return true;
  }

  /** @param {number} timestamp */
  _makeRoom(timestamp) {
    while (timestamp - this._next >= CAPACITY_FRAMES) {
      if (this._slots.size === 0) {
        this._next = timestamp;
        return;
      }
      this._next = Math.max(this._head(), timestamp - CAPACITY_FRAMES + 1);
      for (const held of [...this._slots.keys()]) if (held < this._next) this._discard(held);
    }
  }

  /** @param {number} timestamp */
  _discard(timestamp) {
    if (this._slots.get(timestamp)?.sequence !== null) this.counts.discarded += 1;
    this._slots.delete(timestamp);
  }

  /**
   * @param {Frame} frame
   * @param {number} arrivalMs
   * @returns {Arrival}
   */
  _doubt(frame, arrivalMs) {
    const { frames, atMs } = this._suspect ?? { frames: [], atMs: 0 };
    const last = frames.at(-1);
    // Frames of one packet agree with each other, which proves nothing.
    const alone = last !== undefined && frame.part > 0 && frame.sequence === mod(last.sequence + 1, MODULUS);
    if (last && !alone && agrees(frame, arrivalMs, last, atMs, this._frameMs)) {
      this.counts.suspect -= frames.length;
      return this._restart([...frames, frame], arrivalMs);
    }
    this._suspect = alone ? { frames: [...frames, frame], atMs } : { frames: [frame], atMs: arrivalMs };
    this.counts.suspect += 1;
    return 'suspect';
  }

  /**
   * @param {Frame} frame
   * @param {number} sequence
   */
  _continuesStaleRun(frame, sequence) {
    // Packets are counted, however many frames they have.
    const follows = sequence === this._staleSequence + 1;
    this._staleRun = follows ? this._staleRun + Number(frame.part === 0) : 1;
    this._staleSequence = sequence;
    return this._staleRun >= (this._ended ? 2 : RESTART_RUN);
  }

  /** @param {Arrival} arrival */
  _uncount(arrival) {
    if (arrival === 'late') {
      this.counts.late -= 1;
      this.counts.received -= 1;
    } else {
      this.counts.duplicate -= 1;
    }
  }

  /**
   * @param {Frame[]} frames
   * @param {number} arrivalMs
   * @returns {Arrival}
   */
  _restart(frames, arrivalMs) {
    this.counts.restarts += 1;
    this._lostBeforeRestart += this._lostSinceRestart();
    this.counts.discarded += this._heldPrimaries();
    this._suspect = null;
    this._clear();
    this._begin(frames[0], arrivalMs);
    for (const frame of frames) {
      const sequence = extend(frame.sequence, this._highestSequence);
      this._file(frame, extend(frame.timestamp, this._next), sequence, arrivalMs);
    }
    return 'restarted';
  }

  _lostSinceRestart() {
    return this._unique === 0 ? 0 : Math.max(0, this._highestSequence - this._firstSequence + 1 - this._unique);
  }

  _heldPrimaries() {
    let count = 0;
    for (const slot of this._slots.values()) if (slot.sequence !== null) count += 1;
    return count;
  }

  _head() {
    return Math.min(...this._slots.keys());
  }

  // -- playout

  /**
   * @param {number} timestamp
   * @param {number} nowMs
   */
  _delayMs(timestamp, nowMs) {
    return nowMs - this._originMs - this._delay.baseMs(nowMs) - timestamp * this._frameMs;
  }

  /** @param {number} nowMs */
  _resume(nowMs) {
    if (this._slots.size === 0) return false;
    const head = this._head();
    if (this._delayMs(head, nowMs) < this.targetMs - SLACK_BELOW_MS) return false;
    this._next = head;
    this._waited = 0;
    this._state = 'playing';
    return true;
  }

  /** @param {number} nowMs */
  _skipOverdue(nowMs) {
    const limitMs = DELAY.maximumMs + URGENT_BELOW_MS;
    if (this._slots.size === 0 || this._delayMs(this._next, nowMs) <= limitMs) return;
    const last = Math.max(...this._slots.keys());
    while (this._delayMs(this._next, nowMs) > limitMs && (last - this._next) * this._frameMs > limitMs) {
      if (this._slots.has(this._next)) this._discard(this._next);
      this._next += 1;
    }
  }

  /**
   * Decide about an absent frame; null when playout may go on with a later one that is now next.
   * @param {number} nowMs
   * @returns {Decision | null}
   */
  _miss(nowMs) {
    const { counts } = this;
    if (this._slots.size === 0) {
      this._waited += 1;
      counts.concealed += 1;
      counts.underruns += 1;
      if (this._waited * this._frameMs >= STALL_MS) this._state = 'silent';
      return { kind: 'lost', underrun: true, following: null };
    }
    const head = this._head();
    const { frame, sequence } = /** @type {{frame: Frame, sequence: number | null}} */ (this._slots.get(head));
    const after = this._lastPlayedSequence === null ? null : this._lastPlayedSequence + 1;
    if (sequence !== null && sequence === after) {
      this._state = 'silent';
      if (this._resume(nowMs)) return null;
      counts.silent += 1;
      return { kind: 'silence' };
    }
    // Playing earlier than wanted: waiting costs nothing that expanding would not, and the packet may still come.
    if (this._delayMs(this._next, nowMs) < this.targetMs - this._frameMs) {
      this._waited += 1;
      counts.concealed += 1;
      return { kind: 'lost', underrun: false, following: frame };
    }
    // What was concealed while waiting stands for frames that are missing now.
    this._next += Math.min(this._waited, head - this._next);
    this._waited = 0;
    if (this._next === head) return null;
    this._next += 1;
    counts.concealed += 1;
    return { kind: 'lost', underrun: false, following: frame };
  }

  /**
   * @param {number} nowMs
   * @param {number} blockMs
   * @param {number} queuedMs
   * @returns {Decision}
   */
  _play(nowMs, blockMs, queuedMs) {
    const slot = /** @type {{frame: Frame, sequence: number | null}} */ (this._slots.get(this._next));
    this._slots.delete(this._next);
    const beyondMs = this._delayMs(this._next, nowMs) - this.targetMs;
    const mostMs = this._excessMs(beyondMs, blockMs, queuedMs);
    const scale = this._scale(mostMs > 0 ? mostMs : Math.min(beyondMs, 0));
    this._next += 1;
    this._waited = 0;
    if (slot.sequence === null) this.counts.recovered += 1;
    else this.counts.played += 1;
    this._lastPlayedSequence = slot.sequence;
    if (slot.frame.flags & Flags.SILENCE) this._state = 'silent';
    if (slot.frame.flags & Flags.END) {
      this._state = 'priming';
      this._ended = true;
    }
    return { kind: 'play', frame: slot.frame, recovered: slot.sequence === null, scale, mostMs };
  }

  /**
   * What may be taken out so that the next frame is asked for no sooner than the target wants.
   * @param {number} beyondMs
   * @param {number} blockMs
   * @param {number} queuedMs
   */
  _excessMs(beyondMs, blockMs, queuedMs) {
    // Nothing to hurry for where what comes next should be there and is not.
    if (!this._slots.has(this._next + 1) && beyondMs + this.targetMs > this._frameMs) return 0;
    const steps = Math.floor((beyondMs + SLACK_BELOW_MS - STEADY_MS) / blockMs);
    return Math.max(0, queuedMs + steps * blockMs);
  }

  /**
   * @param {number} excessMs
   * @returns {TimeScale}
   */
  _scale(excessMs) {
    this._sinceScaled += 1;
    if (excessMs < -URGENT_BELOW_MS || excessMs > URGENT_ABOVE_MS) {
      this._sinceScaled = 0;
      return excessMs > 0 ? 'accelerate now' : 'expand now';
    }
    const drifting = Math.abs(this._delay.drift) > FAST_DRIFT;
    if (excessMs >= -SLACK_BELOW_MS && excessMs < LEAST_EXCESS_MS) {
      this._offFrames = 0;
      return 'keep';
    }
    this._offFrames += 1;
    if (this._sinceScaled < (drifting ? 1 : SCALE_SPACING_FRAMES)) return 'keep';
    this._sinceScaled = 0;
    const patience = excessMs > 0 ? PATIENCE_ABOVE_FRAMES : PATIENCE_BELOW_FRAMES;
    if (!drifting && this._offFrames < patience) return excessMs > 0 ? 'accelerate in a pause' : 'expand in a pause';
    return excessMs > 0 ? 'accelerate' : 'expand';
  }
}

/**
 * Whether a frame follows another, with losses between them at most, no sooner than time allows.
 * @param {Frame} frame
 * @param {number} arrivalMs
 * @param {Frame} earlier
 * @param {number} earlierMs
 * @param {number} frameMs
 */
function agrees(frame, arrivalMs, earlier, earlierMs, frameMs) {
  const skipped = mod(frame.sequence - earlier.sequence, MODULUS);
  const laterMs = mod(frame.timestamp - earlier.timestamp, MODULUS) * frameMs;
  return skipped >= 1 && skipped <= LONGEST_LOSS_FRAMES && laterMs <= arrivalMs - earlierMs + STALL_MS;
}
