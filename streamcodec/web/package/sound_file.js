// `.sc` files of the neural tier: read, decode, play. The layout: docs/file-format.md.

import { Codec, readFrom } from './codec.js';
import { Decoder } from './decoder.js';
import { FileError } from './errors.js';
import { MAX_FRAMES, MAX_PAYLOAD_BYTES, MODULUS, Packet, Tier } from './packet.js';

const CLUSTER_MARK = [0xc5, 0x53, 0x43, 0x0a];
const INDEX_MARK = [0xc5, 0x53, 0x58, 0x0a];
const MOST_HEADER_BYTES = 1 << 16;
const FRAMES_FOLLOW = 0x80;
/** Frames without a packet that one packet may stand before: a claim beyond is cut to this. */
const MOST_SILENT_FRAMES = 1_500;
const AHEAD_S = 0.5;
const PIECE_FRAMES = 25;

/** @typedef {{time: number, packet: Packet}} TimedPacket */

export class SoundFile {
  /**
   * Throws FileError for what is no such file, or of a tier or model that is not decoded here; a damaged cluster is
   * left out and what it held concealed.
   * @param {Uint8Array} bytes
   * @param {Codec} codec
   */
  constructor(bytes, codec) {
    this._codec = codec;
    this._bytes = bytes;
    this._view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes.length < 12 || text(bytes.subarray(0, 4)) !== 'SCF1') {
      throw new FileError("this is no .sc file: it does not begin with 'SCF1'");
    }
    const length = this._view.getUint32(4);
    if (length > Math.min(MOST_HEADER_BYTES, bytes.length - 12)) {
      throw new FileError(`the file claims a header of ${length} bytes, more than it can hold`);
    }
    const head = bytes.subarray(8, 8 + length);
    if (crc32(head) !== this._view.getUint32(8 + length)) {
      throw new FileError("the file's header is damaged or cut short: its checksum does not match");
    }
    /** @type {Record<string, any>} As Python wrote it: metadata are in `header.metadata`. */
    this.header = parse(head);
    this._start = 12 + length;
    const { tier, bitstream, sample_rate_hz: rateHz } = this.header;
    if (tier !== 'neural') {
      throw new FileError(`the file is of the ${tier} tier: browsers decode the neural one (streamcodec decode takes all)`);
    }
    if (bitstream !== codec.layout.bitstream) {
      throw new FileError(`the file holds ${bitstream || 'another bitstream'}, this codec decodes ${codec.layout.bitstream}`);
    }
    if (!(rateHz >= 1_000 && rateHz <= 1_000_000)) throw new FileError("the file's header holds values out of range");
    this.sampleRate = codec.layout.sampleRate;
    const ratio = this.sampleRate / rateHz;
    this._lag = codec.layout.delaySamples + Math.round((Number(this.header.delay_samples) || 0) * ratio);
    const total = this._totalSamples();
    /** Samples of the whole sound at `sampleRate`; null where the file's writer did not come to its end. */
    this.samples = total === null ? null : Math.round(total * ratio);
  }

  /** @returns {Generator<TimedPacket>} in order; a gap in their times is silence not sent, or damage. */
  *packets() {
    let last = -1;
    for (let at = this._start; at + 12 <= this._bytes.length; ) {
      const body = this._block(at, CLUSTER_MARK);
      if (body === null) {
        at = this._find(at + 1);
        continue;
      }
      for (const timed of packetsOf(body)) {
        if (timed.time <= last) continue;
        last = timed.time + timed.packet.frames - 1;
        yield timed;
      }
      at += body.length + 12;
    }
  }

  /** @returns {Generator<Float32Array>} The sound, mono, piece by piece, as long as the source was. */
  *decode() {
    const decoder = new Decoder(this._codec);
    let skip = this._lag;
    let left = this.samples ?? Infinity;
    /** @param {Float32Array} block */
    const trim = (block) => {
      const part = block.subarray(Math.min(skip, block.length)).subarray(0, left);
      skip -= Math.min(skip, block.length);
      left -= part.length;
      return part;
    };
    let due = 0;
    try {
      for (const { time, packet } of this.packets()) {
        for (let gap = Math.min(time - due, MOST_SILENT_FRAMES); gap > 0 && left > 0; gap--) yield trim(decoder.push(null));
        due = time + packet.frames;
        if (left > 0) yield trim(decoder.push(packet));
      }
      if (left > 0) yield trim(decoder.flush());
      // An index may count more than the packets hold, but not without end.
      const most = MOST_SILENT_FRAMES * decoder.frameSamples;
      if (Number.isFinite(left) && left > 0) yield new Float32Array(Math.min(left, most));
    } finally {
      decoder.close();
    }
  }

  _totalSamples() {
    const end = this._bytes.length;
    if (end < this._start + 12 || text(this._bytes.subarray(end - 4)) !== 'SCFE') return null;
    const where = Number(this._view.getBigUint64(end - 12));
    const body = where >= this._start && where < end ? this._block(where, INDEX_MARK) : null;
    if (body === null || body.length < 12) return null;
    return Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0));
  }

  /**
   * @param {number} at
   * @param {number[]} mark
   * @returns {Uint8Array | null} what is between a mark and its checksum; null where that is damaged
   */
  _block(at, mark) {
    const bytes = this._bytes;
    if (at + 12 > bytes.length || mark.some((byte, k) => bytes[at + k] !== byte)) return null;
    const length = this._view.getUint32(at + 4);
    if (at + 12 + length > bytes.length) return null;
    const body = bytes.subarray(at + 8, at + 8 + length);
    return crc32(body) === this._view.getUint32(at + 8 + length) ? body : null;
  }

  /** @param {number} at Place of the next cluster's mark, or the end. */
  _find(at) {
    const bytes = this._bytes;
    for (; at + 12 <= bytes.length; at++) {
      at = bytes.indexOf(CLUSTER_MARK[0], at);
      if (at < 0) break;
      if (CLUSTER_MARK.every((byte, k) => bytes[at + k] === byte)) return at;
    }
    return bytes.length;
  }
}

/**
 * Fetch a file and play it, decoding just ahead of what is heard.
 * @param {string | URL} url
 * @param {{codec?: Codec, context?: AudioContext}} [options] The codec's files lie beside this script unless given.
 * @returns {Promise<{file: SoundFile, ended: Promise<void>, stop: () => void}>}
 */
export async function playFile(url, { codec, context } = {}) {
  const response = await fetch(url);
  if (!response.ok) throw new FileError(`${url} cannot be fetched: ${response.status}`);
  codec ??= await Codec.load(readFrom(new URL('./', import.meta.url)), { encode: false });
  const file = new SoundFile(new Uint8Array(await response.arrayBuffer()), codec);
  const player = context ?? new AudioContext();
  await player.resume();
  let stopped = false;
  /** @type {AudioBufferSourceNode | null} */
  let last = null;
  const ended = (async () => {
    let at = player.currentTime + 0.05;
    for (const sound of pieces(file.decode())) {
      if (stopped) break;
      const buffer = player.createBuffer(1, sound.length, file.sampleRate);
      buffer.copyToChannel(sound, 0);
      last = new AudioBufferSourceNode(player, { buffer });
      last.connect(player.destination);
      last.start(at);
      at += buffer.duration;
      const waitMs = 1_000 * (at - AHEAD_S - player.currentTime);
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    const node = last;
    if (node && !stopped && at > player.currentTime) await new Promise((resolve) => (node.onended = resolve));
    if (!context) await player.close();
  })();
  return {
    file,
    ended,
    stop: () => {
      stopped = true;
      last?.stop();
    },
  };
}

/**
 * Half seconds, so that seams are few.
 * @param {Iterable<Float32Array>} blocks
 * @returns {Generator<Float32Array<ArrayBuffer>>}
 */
function* pieces(blocks) {
  /** @type {Float32Array[]} */
  let held = [];
  const joined = () => {
    const out = new Float32Array(held.reduce((length, block) => length + block.length, 0));
    held.reduce((at, block) => (out.set(block, at), at + block.length), 0);
    held = [];
    return out;
  };
  for (const block of blocks) {
    if (block.length) held.push(block);
    if (held.length >= PIECE_FRAMES) yield joined();
  }
  if (held.length) yield joined();
}

/**
 * @param {Uint8Array} body of a cluster whose checksum was right
 * @returns {Generator<TimedPacket>}
 */
function* packetsOf(body) {
  if (body.length < 9) return;
  let due = Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0));
  let at = 8;
  const varint = () => {
    let value = 0;
    for (let scale = 1; at < body.length; scale *= 128) {
      const byte = body[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return NaN;
  };
  let frames = 1;
  for (let count = varint(); count > 0; count--) {
    const time = due + varint();
    const mark = body[at++];
    if (mark & FRAMES_FOLLOW) frames = body[at++];
    const length = varint();
    // A checksum does not make sense of nonsense: what cannot be is the end of this cluster.
    if (!(time <= Number.MAX_SAFE_INTEGER && frames >= 1 && frames <= MAX_FRAMES)) return;
    if (!(length <= MAX_PAYLOAD_BYTES && at + length <= body.length)) return;
    const wrapped = time % MODULUS;
    const payload = body.slice(at, at + length);
    at += length;
    due = time + frames;
    const packet = new Packet({
      tier: Tier.NEURAL, sequence: wrapped, timestamp: wrapped, qualityIndex: mark & 15,
      flags: (mark & ~FRAMES_FOLLOW) >> 4, payload, frames,
    });
    yield { time, packet };
  }
}

/** @param {Uint8Array} bytes */
function text(bytes) {
  return String.fromCharCode(...bytes);
}

/**
 * @param {Uint8Array} head
 * @returns {Record<string, any>}
 */
function parse(head) {
  try {
    const value = JSON.parse(new TextDecoder().decode(head));
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // Said below.
  }
  throw new FileError("the file's header cannot be read");
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}
