// `.sc` files of the neural tier, written in one piece. The layout: docs/file-format.md.

import { crc32 } from './crc32.js';
import { varint } from './octets.js';
import { MODULUS } from './packet.js';

const CLUSTER_PACKETS = 50;
const CLUSTER_MARK = [0xc5, 0x53, 0x43, 0x0a];
const INDEX_MARK = [0xc5, 0x53, 0x58, 0x0a];
const FRAMES_FOLLOW = 0x80;
const FRAMES_PER_SECOND = 50;

/** @typedef {import('./packet.js').Packet} Packet */

/**
 * The packets of one encoder, from its first on.
 * @param {import('./codec.js').Codec} codec
 * @param {readonly Packet[]} packets
 * @param {number} samples of the sound, at the codec's rate
 * @param {Record<string, string>} [metadata]
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function soundFileOf(codec, packets, samples, metadata = {}) {
  const { bitstream, model, sampleRate } = codec.layout;
  const frames = packets[0]?.frames ?? 1;
  const header = {
    tier: 'neural', sample_rate_hz: sampleRate, channels: 1, packets_per_second: FRAMES_PER_SECOND / frames,
    delay_samples: 0, model, metadata, bits_per_sample: 16, bitstream,
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  /** @type {number[]} */
  const out = [...ascii('SCF1'), ...bigEndian(text.length, 4), ...text, ...bigEndian(crc32(text), 4)];
  /** @type {number[]} */
  const index = [];
  let clusters = 0;
  /** @type {{time: number, packet: Packet}[]} */
  let cluster = [];
  const flush = () => {
    if (cluster.length === 0) return;
    index.push(...bigEndian(out.length, 8), ...bigEndian(cluster[0].time, 8));
    clusters += 1;
    append(out, block(CLUSTER_MARK, bodyOf(cluster)));
    cluster = [];
  };
  let time = 0;
  let before = packets[0]?.timestamp ?? 0;
  for (const packet of packets) {
    time += (packet.timestamp - before + MODULUS) % MODULUS;
    before = packet.timestamp;
    // A cluster starts with a key packet, so it is a place to seek to.
    if (packet.isKey && cluster.length && time - cluster[0].time >= CLUSTER_PACKETS) flush();
    cluster.push({ time, packet });
  }
  flush();
  const where = out.length;
  append(out, block(INDEX_MARK, [...bigEndian(samples, 8), ...bigEndian(clusters, 4), ...index]));
  out.push(...bigEndian(where, 8), ...ascii('SCFE'));
  return Uint8Array.from(out);
}

/** @param {{time: number, packet: Packet}[]} cluster */
function bodyOf(cluster) {
  const body = [...bigEndian(cluster[0].time, 8), ...varint(cluster.length)];
  let due = cluster[0].time;
  let frames = 1;
  for (const { time, packet } of cluster) {
    body.push(...varint(time - due));
    const changed = packet.frames !== frames;
    body.push((changed ? FRAMES_FOLLOW : 0) | (packet.flags << 4) | packet.qualityIndex);
    if (changed) body.push(packet.frames);
    body.push(...varint(packet.payload.length));
    append(body, packet.payload);
    frames = packet.frames;
    due = time + frames;
  }
  return body;
}

/**
 * @param {number[]} mark
 * @param {number[]} body
 */
function block(mark, body) {
  return [...mark, ...bigEndian(body.length, 4), ...body, ...bigEndian(crc32(Uint8Array.from(body)), 4)];
}

/**
 * @param {number[]} out
 * @param {Iterable<number>} bytes
 */
function append(out, bytes) {
  for (const byte of bytes) out.push(byte);
}

/**
 * @param {number} value
 * @param {number} size
 */
function bigEndian(value, size) {
  return Array.from({ length: size }, (_, k) => Math.floor(value / 256 ** (size - 1 - k)) % 256);
}

/** @param {string} word */
function ascii(word) {
  return [...word].map((letter) => letter.charCodeAt(0));
}
