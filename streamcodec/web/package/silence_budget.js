// How much silence a file may claim, as in Python: a bound on what is decoded where no packets stand.

import { MAX_FRAMES } from './packet.js';

/** Frame durations without a packet behind one: discontinuous transmission sends one each 0.4 s. */
const SILENT_FRAMES = 25;
/** Of a packet that may be followed by so many. */
const LEAST_PACKET_BYTES = 3;
/** Of those that no damage accounts for, at once. */
const MAX_SILENT_FRAMES = 1_500;
/** Frames that a byte of a neural stream in its pauses stands for. */
const FRAMES_PER_DAMAGED_BYTE = 5;
/** What the waveform tiers need at least for a frame, of silence. */
const BYTES_PER_DAMAGED_FRAME = 5;

/** Frame durations that may pass without a packet, earned by packets and by bytes that are damaged. */
export class SilenceBudget {
  /** @param {boolean} neural */
  constructor(neural) {
    /** Frame durations between clusters in which nothing need have been sent; more are missing. */
    this.longestPause = neural ? SILENT_FRAMES : 0;
    this._perPacket = neural ? SILENT_FRAMES : 1;
    this._framesPerByte = neural ? FRAMES_PER_DAMAGED_BYTE : 1 / BYTES_PER_DAMAGED_FRAME;
    this.left = 0;
  }

  /**
   * Frames and silence together are bounded by the bytes that a packet takes in its cluster.
   * @param {number} frames
   * @param {number} size
   */
  earnPacket(frames, size) {
    let earned = this._perPacket;
    if (size < LEAST_PACKET_BYTES) {
      earned = Math.min(earned, Math.floor((size * (SILENT_FRAMES + MAX_FRAMES)) / LEAST_PACKET_BYTES) - frames);
    }
    this.left = Math.min(this.left + earned, MAX_SILENT_FRAMES);
  }

  /** @param {number} bytes */
  earnDamage(bytes) {
    this.left += Math.floor(this._framesPerByte * bytes);
  }

  /** @param {number} frames */
  spend(frames) {
    const spent = Math.min(frames, this.left);
    this.left -= spent;
    return spent;
  }
}
