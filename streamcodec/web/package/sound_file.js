// `.sc` files of every tier: read, decode, play. The layout: docs/file-format.md.

import { Codec, readFrom } from './codec.js';
import { crc32 } from './crc32.js';
import { Decoder } from './decoder.js';
import { FileError } from './errors.js';
import { LosslessDecoder } from './lossless.js';
import { LONG_PACKETS, NearLosslessDecoder } from './near_lossless.js';
import { MAX_FRAMES, MAX_PAYLOAD_BYTES, MODULUS, Packet, Tier } from './packet.js';
import { SilenceBudget } from './silence_budget.js';
import { WaveformCodec } from './waveform.js';

const COMPACT_MAGIC = 'SCF2';
const CLUSTER_MARK = [0xc5, 0x53, 0x43, 0x0a];
const PICTURES_MARK = [0xc5, 0x53, 0x50, 0x0a];
const INDEX_MARK = [0xc5, 0x53, 0x58, 0x0a];
const MOST_HEADER_BYTES = 1 << 16;
const MOST_BODY_BYTES = 1 << 24;
/** Bytes read in vain, looking for the next whole cluster of a damaged file, in lengths of the file. */
const WASTED_READS = 3;
/** Searched for an index that is not where the file says: those of a day of sound are shorter. */
const MAX_MOVED_INDEX_BYTES = 1 << 21;
/** Places at which an index may seem to begin that is not where the file says. */
const INDEX_TRIES = 4;
const FRAMES_FOLLOW = 0x80;
const MAX_QUALITY_INDEX = 15;
const MAX_CLUSTER_PACKETS = 1 << 14;
const MAX_SKIPPED = 2 ** 31;
const MAX_VARINT_BYTES = 9;
/** Names of a compact file's header, by what they are short for, and what it leaves out. */
const SHORT_NAMES = {
  tier: 't', sample_rate_hz: 'r', channels: 'c', packets_per_second: 'p', delay_samples: 'd', model: 'm', metadata: 'k',
  bits_per_sample: 's', bitstream: 'b',
};
const USUAL = {
  tier: 'neural', channels: 1, packets_per_second: 50, delay_samples: 0, model: 'speech-24k', metadata: {},
  bits_per_sample: 16,
};
/** Samples of silence made at once. */
const MOST_SILENCE = 1 << 16;
const AHEAD_S = 1;
/** Between decoding and the moment from which that is heard, where nothing is under way. */
const LEAD_S = 0.05;
const PIECE_MS = 500;
const TIERS = { neural: Tier.NEURAL, 'near-lossless': Tier.NEAR_LOSSLESS, lossless: Tier.LOSSLESS };

/** @typedef {{time: number, packet: Packet}} TimedPacket */
/** @typedef {TimedPacket & {size: number}} PacketRecord `size`: bytes that it takes in its cluster. */

/** What is found out about a file while it is read from its beginning; times are in frame durations. */
class Reading {
  /** @param {boolean} neural */
  constructor(neural) {
    this.silence = new SilenceBudget(neural);
    this.endTime = 0;
    this.packets = 0;
    /** Silence that the file claims and its bytes do not account for, left out. */
    this.cut = 0;
    /** Of clusters that are missing, left out since bytes do not account for them either. */
    this.lacking = 0;
    /** Missing, and concealed. */
    this.damaged = 0;
    this.wasDecoded = false;
  }

  /** By how much times of packets are earlier than the file says. */
  get leftOut() {
    return this.cut + this.lacking;
  }
}

export class SoundFile {
  /**
   * Throws FileError for what is no such file, or is not decoded by this codec; a damaged cluster is left out and what it
   * held concealed.
   * @param {Uint8Array} bytes
   * @param {Codec | WaveformCodec} codec Of the neural tier, or of the waveform tiers: see {@link fileHeader}.
   */
  constructor(bytes, codec) {
    this._codec = codec;
    this._bytes = bytes;
    this._view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { header, end, compact } = readHeader(bytes);
    /** As Python wrote it: metadata are in `header.metadata`. */
    this.header = header;
    const pictures = this._block(end, PICTURES_MARK);
    this._start = pictures === null ? end : end + pictures.length + 12;
    this._end = bytes.length;
    this._packetsOf = compact ? compactPacketsOf : packetsOf;
    const { tier, bitstream, sample_rate_hz: rateHz } = header;
    /** @type {number} */
    this.tier = TIERS[/** @type {keyof typeof TIERS} */ (tier)];
    const neural = this.tier === Tier.NEURAL;
    if (neural !== codec instanceof Codec) {
      throw new FileError(`the file is of the ${tier} tier, which ${neural ? 'a Codec' : 'a WaveformCodec'} decodes`);
    }
    const decodes = codec instanceof Codec ? codec.layout.bitstream : codec.layout.bitstreams[/** @type {'lossless'} */ (tier)];
    if ((this.tier === Tier.NEAR_LOSSLESS ? bitstream?.replace(LONG_PACKETS, '') : bitstream) !== decodes) {
      throw new FileError(`the file holds ${bitstream || 'another bitstream'}, this codec decodes ${decodes}`);
    }
    this.channels = neural ? 1 : header.channels;
    this.sampleRate = codec instanceof Codec ? codec.layout.sampleRate : rateHz;
    const tables = codec instanceof WaveformCodec && this.tier === Tier.NEAR_LOSSLESS ? codec.layout.rates : null;
    if (tables && !tables.includes(rateHz)) {
      throw new FileError(`the file is sampled at ${rateHz} Hz, browsers decode near-lossless ones of ${tables.join(', ')}`);
    }
    this._ownLag = Math.round((header.delay_samples * this.sampleRate) / rateHz);
    /** Media time of the last cluster, as the index says. */
    this._lastIndexed = -1;
    /** Bytes behind the file's own end, and whether they begin as another `.sc` file does. */
    this._bytesBehind = 0;
    this._codedBehind = false;
    this._total = this._totalSamples();
    /** @type {Reading | null} The first that came to its end, or the last of those that decoded. */
    this._done = null;
    /** Samples of the whole sound at `sampleRate`, as the file says; null where its writer did not come to its end. */
    this.samples = this._total === null ? null : this._samplesAt(this._total);
  }

  /**
   * In order; a gap in their times is silence not sent, or damage, and no longer than the file's bytes account for. Takes
   * time in proportion to these, whatever they are.
   * @returns {Generator<TimedPacket>}
   */
  packets() {
    return this._packets(this._reading());
  }

  /**
   * What is wrong with the file, in the words of `streamcodec info`, or of `streamcodec decode` once it has been decoded
   * to its end; null where nothing is. Reads the file through where that has not been done.
   * @param {string} [name] what the sentence calls it
   * @returns {string | null}
   */
  trouble(name = 'the file') {
    const { packets, damaged, lacking, cut, endTime, wasDecoded } = this._readThrough();
    /** @param {number} frames @param {number} digits */
    const seconds = (frames, digits = 2) => (frames / this.header.packets_per_second).toFixed(digits);
    if (!packets) return this._total === 0 ? `${name} holds no sound` : nothingReadable(name);
    const parts = [];
    if (this._total === null) {
      parts.push(`ends after ${seconds(endTime)} s without its index: it was cut off, or is still being written`);
    }
    if (damaged) {
      parts.push(`is damaged: ${seconds(damaged)} s of sound are missing${wasDecoded ? ' and were concealed' : ''}`);
    }
    if (lacking) {
      parts.push(`lacks ${damaged ? 'another ' : ''}${seconds(lacking)} s of sound${wasDecoded ? ', which are left out' : ''}`);
    }
    if (cut) parts.push(`claims ${seconds(cut, 1)} s of silence that its bytes do not account for, left out`);
    if (this._bytesBehind) {
      const what = this._codedBehind ? 'another .sc file: split them to have both' : 'something else';
      parts.push(`is followed by ${this._bytesBehind} bytes, left out, of ${what}`);
    }
    return parts.length ? `${name} ${parts.join(', and ')}` : null;
  }

  /** Seconds of sound that are missing; reads the file through where that has not been done. */
  get missingS() {
    const { damaged, lacking } = this._readThrough();
    return (damaged + lacking) / this.header.packets_per_second;
  }

  _reading() {
    return new Reading(this.tier === Tier.NEURAL);
  }

  /** @returns {Reading} */
  _readThrough() {
    if (this._done === null) for (const _ of this.packets());
    return /** @type {Reading} */ (this._done);
  }

  /**
   * @param {Reading} reading
   * @returns {Generator<TimedPacket>}
   */
  *_packets(reading) {
    const { silence } = reading;
    // Fake marks may claim large bodies, one inside the other: what turns out to be none is read only so often.
    let leftBytes = WASTED_READS * this._bytes.length + MOST_BODY_BYTES;
    let last = -1;
    let damaged = false;
    let due = 0;
    for (let at = this._start; at < this._end; ) {
      const body = this._block(at, CLUSTER_MARK);
      if (body === null) {
        leftBytes -= this._claimedBytes(at);
        const following = leftBytes > 0 ? this._find(at + 1) : this._end;
        silence.earnDamage(following - at);
        damaged = true;
        at = following;
        continue;
      }
      let begins = true;
      for (const { time: said, packet, size } of this._packetsOf(body, this.tier)) {
        if (said <= last) continue;
        last = said;
        let time = said - reading.leftOut;
        if (time > due) {
          const cut = time - due - silence.spend(time - due);
          // Writers begin a cluster where the one before ends, or after a pause.
          const missing = damaged || (begins && time - due > silence.longestPause);
          time -= cut;
          if (missing) {
            reading.lacking += cut;
            reading.damaged += time - due;
          } else reading.cut += cut;
        }
        damaged = begins = false;
        due = reading.endTime = time + packet.frames;
        silence.earnPacket(packet.frames, size);
        reading.packets += 1;
        const wrapped = time % MODULUS;
        packet.sequence = packet.timestamp = wrapped;
        yield { time, packet };
      }
      at += body.length + 12;
    }
    this._countMissingBehind(reading, damaged);
    this._done ??= reading;
  }

  /**
   * What lies between the last packet and the end of the sound.
   * @param {Reading} reading
   * @param {boolean} damaged whether the last bytes were
   */
  _countMissingBehind(reading, damaged) {
    if (this._total === null) return;
    const { sample_rate_hz: rateHz, packets_per_second: perSecond, delay_samples: delay } = this.header;
    const end = reading.endTime + reading.leftOut;
    const frames = Math.trunc(((this._total + delay) * perSecond) / rateHz) - end;
    const { left, longestPause } = reading.silence;
    if (frames > (damaged || this._lastIndexed >= end ? 0 : longestPause)) {
      const concealed = Math.min(frames, left);
      reading.damaged += concealed;
      reading.lacking += frames - concealed;
    }
  }

  /** @returns {Generator<Float32Array>} The sound, mixed down to mono, piece by piece, as long as the source was. */
  *decode() {
    for (const planes of this.decodeChannels()) {
      const [first, second] = planes;
      yield second ? first.map((sample, k) => (sample + second[k]) / 2) : first;
    }
  }

  /** @returns {Generator<Float32Array[]>} The same, a plane for each channel. */
  *decodeChannels() {
    const [decoder, reading] = [this._decoder(), this._reading()];
    let skip = decoder.delaySamples + this._ownLag;
    let left = this.samples ?? Infinity;
    /** @param {Float32Array[]} block */
    const trim = (block) => {
      const passed = Math.min(skip, block[0].length);
      const part = block.map((plane) => plane.subarray(passed).subarray(0, left));
      skip -= passed;
      left -= part[0].length;
      return part;
    };
    let due = 0;
    /** Frames that are there and cannot be decoded for want of those that are missing. */
    let undecodable = 0;
    try {
      for (const { time, packet } of this._packets(reading)) {
        for (let gap = time - due; gap > 0 && left > 0; gap--) yield trim(decoder.push(null, packet));
        due = time + packet.frames;
        if (left <= 0) continue;
        const concealed = decoder.concealed;
        yield trim(decoder.push(packet));
        undecodable += decoder.concealed - concealed;
      }
      reading.damaged += undecodable;
      reading.wasDecoded = true;
      this._done = reading;
      if (due === 0 && this._total !== 0) throw new FileError(nothingReadable('the file'));
      if (left > 0 && decoder.flush) yield trim(decoder.flush());
      // An index may count more than the packets hold, as far as these account for it.
      let believed = this.samples === null ? 0 : this._accountedSamples(reading, decoder.delaySamples) - (this.samples - left);
      for (; believed > 0 && left > 0; believed -= MOST_SILENCE) {
        yield trim(silence(this.channels, Math.min(left, believed, MOST_SILENCE)));
      }
    } finally {
      decoder.close();
    }
  }

  /**
   * @returns {{push(packet: Packet | null, following?: Packet): Float32Array[], flush?(): Float32Array[], close(): void, delaySamples: number,
   *   concealed: number}}
   */
  _decoder() {
    const codec = this._codec;
    if (codec instanceof Codec) {
      const decoder = new Decoder(codec);
      return {
        push: (packet, following) => [decoder.push(packet, following)], flush: () => [decoder.flush()], close: () => decoder.close(),
        delaySamples: decoder.delaySamples,
        get concealed() {
          return decoder.concealed;
        },
      };
    }
    const form = { rateHz: this.sampleRate, channels: this.channels, bits: this.header.bits_per_sample ?? 16 };
    return this.tier === Tier.LOSSLESS ? new LosslessDecoder(codec, form) : new NearLosslessDecoder(codec, form);
  }

  /** @param {number} coded at the file's rate, as samples at the decoder's */
  _samplesAt(coded) {
    return Math.ceil((coded * this.sampleRate) / this.header.sample_rate_hz);
  }

  /**
   * How much of the total the packets account for, at the decoder's rate.
   * @param {Reading} reading
   * @param {number} decoderDelay
   */
  _accountedSamples({ endTime, silence, leftOut: left }, decoderDelay) {
    const { sample_rate_hz: rateHz, packets_per_second: perSecond } = this.header;
    const frames = endTime + silence.left;
    const accounted = Math.trunc((frames * rateHz) / perSecond) + (endTime ? decoderDelay + this._ownLag : 0);
    const leftOut = Math.trunc((left * rateHz) / perSecond);
    return this._samplesAt(Math.min(Math.max((this._total ?? 0) - leftOut, 0), accounted));
  }

  /** @returns {number | null} Samples of each channel, as the index says; null where there is none. */
  _totalSamples() {
    const last = this._bytes.length - 12;
    const { where, isEnd } = this._tail(last);
    const told = isEnd ? this._takeIndex(where, last) : null;
    if (told !== null) return told;
    const found = this._walkToIndex();
    const walked = found && this._takeIndex(found.where, found.end);
    if (found && walked !== null) {
      if (this._tail(found.end).isEnd) {
        this._bytesBehind = last - found.end;
        this._codedBehind = beginsAsCoded(this._bytes.subarray(found.end + 12));
      }
      return walked;
    }
    for (const at of isEnd ? this._movedIndexes() : []) {
      const moved = this._takeIndex(at, last);
      if (moved !== null) return moved;
    }
    return null;
  }

  /**
   * Where the index is, as the last bytes of a file say, and whether these are such bytes.
   * @param {number} at
   */
  _tail(at) {
    const isEnd = at >= this._start && text(this._bytes.subarray(at + 8, at + 12)) === 'SCFE';
    return { where: isEnd ? Number(this._view.getBigUint64(at)) : -1, isEnd };
  }

  /**
   * @param {number} where
   * @param {number} end
   * @returns {number | null} the total of the index that stands from one place to the other, which is taken; null where
   *   none does
   */
  _takeIndex(where, end) {
    const body = where < this._start ? null : this._block(where, INDEX_MARK);
    if (body === null || body.length < 12 || where + 12 + body.length !== end) return null;
    const view = new DataView(body.buffer, body.byteOffset);
    const clusters = view.getUint32(8);
    if (body.length !== 12 + 16 * clusters) return null;
    this._end = where;
    if (clusters) this._lastIndexed = Number(view.getBigUint64(body.length - 8));
    return Number(view.getBigUint64(0));
  }

  /** Where the index begins and ends to which one cluster after the other leads; null where they do not. */
  _walkToIndex() {
    for (let at = this._start; at + 12 <= this._bytes.length; ) {
      const end = at + 12 + this._view.getUint32(at + 4);
      if (this._marks(at, INDEX_MARK)) return { where: at, end };
      if (!this._marks(at, CLUSTER_MARK)) break;
      at = end;
    }
    return null;
  }

  /** @returns {Generator<number>} Where an index may begin that ends where the file does, though that says another place. */
  *_movedIndexes() {
    const last = this._bytes.length - 12;
    const first = Math.max(this._start, last - MAX_MOVED_INDEX_BYTES);
    for (let at = last, tries = INDEX_TRIES; tries > 0 && at > first; ) {
      at = this._bytes.lastIndexOf(INDEX_MARK[0], at - 1);
      if (at < first || !this._marks(at, INDEX_MARK) || at + 12 + this._view.getUint32(at + 4) !== last) continue;
      tries -= 1;
      yield at;
    }
  }

  /**
   * @param {number} at
   * @param {number[]} mark
   */
  _marks(at, mark) {
    return mark.every((byte, k) => this._bytes[at + k] === byte);
  }

  /**
   * @param {number} at
   * @param {number[]} mark
   * @returns {Uint8Array | null} what is between a mark and its checksum; null where that is damaged
   */
  _block(at, mark) {
    const bytes = this._bytes;
    if (at + 12 > bytes.length || !this._marks(at, mark)) return null;
    const length = this._view.getUint32(at + 4);
    if (length > Math.min(MOST_BODY_BYTES, bytes.length - at - 12)) return null;
    const body = bytes.subarray(at + 8, at + 8 + length);
    return crc32(body) === this._view.getUint32(at + 8 + length) ? body : null;
  }

  /** @param {number} at How many bytes it took to see that there is no cluster here. */
  _claimedBytes(at) {
    const bytes = this._bytes;
    if (at + 12 > bytes.length || !this._marks(at, CLUSTER_MARK)) return 8;
    const length = this._view.getUint32(at + 4);
    return length > Math.min(MOST_BODY_BYTES, bytes.length - at - 12) ? 8 : 8 + length;
  }

  /** @param {number} at Place of the next cluster's mark, or the end. */
  _find(at) {
    const bytes = this._bytes;
    for (; at < this._end; at++) {
      at = bytes.indexOf(CLUSTER_MARK[0], at);
      if (at < 0 || at >= this._end) break;
      if (this._marks(at, CLUSTER_MARK)) return at;
    }
    return this._end;
  }
}

/**
 * What a file says of itself: its tier, among others. Throws FileError.
 * @param {Uint8Array} bytes
 * @returns {Record<string, any>}
 */
export function fileHeader(bytes) {
  return readHeader(bytes).header;
}

/**
 * Fetch a file and play it, decoding just ahead of what is heard.
 * @param {string | URL} url
 * @param {{codec?: Codec | WaveformCodec, context?: AudioContext}} [options] The codec's files lie beside this script
 *   unless given, and are fetched as the file's tier needs them.
 * @returns {Promise<{file: SoundFile, ended: Promise<void>, stop: () => void}>}
 */
export async function playFile(url, { codec, context } = {}) {
  const response = await fetch(url);
  if (!response.ok) throw new FileError(`${url} cannot be fetched: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const read = readFrom(new URL('./', import.meta.url));
  codec ??= fileHeader(bytes).tier === 'neural' ? await Codec.load(read, { encode: false }) : await WaveformCodec.load(read);
  const file = new SoundFile(bytes, codec);
  const player = context ?? new AudioContext();
  await player.resume();
  let stopped = false;
  /** @type {AudioBufferSourceNode | null} */
  let last = null;
  const ended = (async () => {
    let at = 0;
    for (const planes of pieces(file.decodeChannels(), file.sampleRate)) {
      if (stopped) break;
      // At the start, and where decoding did not keep up: what was due in the past would be heard with what follows.
      if (at < player.currentTime) at = player.currentTime + LEAD_S;
      const buffer = player.createBuffer(planes.length, planes[0].length, file.sampleRate);
      planes.forEach((plane, channel) => buffer.copyToChannel(plane, channel));
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
 * @param {Iterable<Float32Array[]>} blocks
 * @param {number} rateHz
 * @returns {Generator<Float32Array<ArrayBuffer>[]>}
 */
function* pieces(blocks, rateHz) {
  /** @type {Float32Array[][]} */
  let held = [];
  let length = 0;
  const joined = () => {
    const out = silence(held[0].length, length);
    held.reduce((at, block) => (block.forEach((plane, channel) => out[channel].set(plane, at)), at + block[0].length), 0);
    held = [];
    length = 0;
    return out;
  };
  for (const block of blocks) {
    if (block[0].length) held.push(block);
    length += block[0].length;
    if (1_000 * length >= PIECE_MS * rateHz) yield joined();
  }
  if (held.length) yield joined();
}

/**
 * @param {number} channels
 * @param {number} samples
 */
function silence(channels, samples) {
  return Array.from({ length: channels }, () => new Float32Array(samples));
}

/**
 * @param {Uint8Array} body of a cluster whose checksum was right
 * @param {number} tier
 * @returns {Generator<PacketRecord>}
 */
function* packetsOf(body, tier) {
  if (body.length < 9) return;
  const read = new Octets(body, 8);
  let due = Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0));
  let frames = 1;
  for (let count = countOf(read); count > 0; count--) {
    const begins = read.at;
    const time = due + skippedOf(read);
    const mark = read.byte();
    if (!(mark >= 0)) return;
    if (mark & FRAMES_FOLLOW) frames = read.byte();
    const timed = packetAt(read, read.varint(), { tier, time, mark: mark & ~FRAMES_FOLLOW, frames });
    if (timed === null) return;
    yield { ...timed, size: read.at - begins };
    due = time + frames;
  }
}

/**
 * The same of a compact file.
 * @param {Uint8Array} body
 * @param {number} tier
 * @returns {Generator<PacketRecord>}
 */
function* compactPacketsOf(body, tier) {
  const read = new Octets(body, 0);
  let due = read.varint();
  let frames = 1;
  let mark = NaN;
  for (let count = countOf(read); count > 0; count--) {
    const begins = read.at;
    const joined = read.varint();
    const kind = joined % 4;
    let time = due;
    if (kind === 3) {
      time += skippedOf(read);
      mark = read.byte();
      if (!(mark >= 0)) return;
      if (mark & FRAMES_FOLLOW) frames = read.byte();
      mark &= ~FRAMES_FOLLOW;
    } else {
      const step = [0, 1, -1][kind];
      const qualityIndex = (mark & MAX_QUALITY_INDEX) + step;
      if (!(mark >= 0 && qualityIndex >= 0 && qualityIndex <= MAX_QUALITY_INDEX)) return;
      mark += step;
    }
    const timed = packetAt(read, Math.floor(joined / 4), { tier, time, mark, frames });
    if (timed === null) return;
    yield { ...timed, size: read.at - begins };
    due = time + frames;
  }
}

/** Numbers of a cluster's body, one behind the other; NaN behind its end. */
class Octets {
  /**
   * @param {Uint8Array} body
   * @param {number} at
   */
  constructor(body, at) {
    this.body = body;
    this.at = at;
  }

  byte() {
    return this.at < this.body.length ? this.body[this.at++] : NaN;
  }

  varint() {
    let value = 0;
    const end = Math.min(this.at + MAX_VARINT_BYTES, this.body.length);
    for (let scale = 1; this.at < end; scale *= 128) {
      const byte = this.body[this.at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return NaN;
  }
}

/** @param {Octets} read at a cluster's number of packets: none where that is more than any writer makes */
function countOf(read) {
  const count = read.varint();
  return count <= MAX_CLUSTER_PACKETS ? count : 0;
}

/** @param {Octets} read at the frames that were skipped: NaN where those are more than can be */
function skippedOf(read) {
  const skipped = read.varint();
  return skipped <= MAX_SKIPPED ? skipped : NaN;
}

/**
 * @param {Octets} read at its payload
 * @param {number} length
 * @param {{tier: number, time: number, mark: number, frames: number}} record
 * @returns {TimedPacket | null} A checksum does not make sense of nonsense: what cannot be is the end of its cluster.
 */
function packetAt(read, length, { tier, time, mark, frames }) {
  if (!(time <= Number.MAX_SAFE_INTEGER && frames >= 1 && frames <= MAX_FRAMES)) return null;
  if (!(length <= MAX_PAYLOAD_BYTES && read.at + length <= read.body.length)) return null;
  const payload = read.body.slice(read.at, read.at + length);
  read.at += length;
  const wrapped = time % MODULUS;
  const packet = new Packet({
    tier, sequence: wrapped, timestamp: wrapped, qualityIndex: mark & MAX_QUALITY_INDEX, flags: mark >> 4, payload, frames,
  });
  return { time, packet };
}

/** @param {Uint8Array} bytes */
function text(bytes) {
  return String.fromCharCode(...bytes);
}

/** @param {string} name */
function nothingReadable(name) {
  return `${name} holds no packet that can be read: it was cut off or damaged; take another copy`;
}

/** @param {Uint8Array} bytes */
function beginsAsCoded(bytes) {
  return ['SCF1', COMPACT_MAGIC].includes(text(bytes.subarray(0, 4)));
}

/** @param {Uint8Array} bytes */
function readHeader(bytes) {
  if (bytes.length < 12 || !beginsAsCoded(bytes)) {
    throw new FileError("this is no .sc file: it does not begin with 'SCF1' or 'SCF2'");
  }
  const compact = text(bytes.subarray(0, 4)) === COMPACT_MAGIC;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const read = new Octets(bytes, 4);
  const length = compact ? read.varint() : view.getUint32(4);
  const from = compact ? read.at : 8;
  if (Number.isNaN(length)) throw new FileError("the length of the file's header cannot be read");
  if (!(length <= Math.min(MOST_HEADER_BYTES, bytes.length - from - 4))) {
    throw new FileError(`the file claims a header of ${length} bytes, more than it can hold`);
  }
  const head = bytes.subarray(from, from + length);
  if (crc32(head) !== view.getUint32(from + length)) {
    throw new FileError("the file's header is damaged or cut short: its checksum does not match");
  }
  const said = parse(head);
  return { header: checked(compact ? spelledOut(said) : said), end: from + length + 4, compact };
}

/** @param {Record<string, any>} said by a compact file's header */
function spelledOut(said) {
  const told = Object.entries(SHORT_NAMES).filter(([, short]) => Object.hasOwn(said, short));
  return { ...USUAL, ...Object.fromEntries(told.map(([name, short]) => [name, said[short]])) };
}

/** @param {Record<string, any>} header */
function checked(header) {
  const { tier, sample_rate_hz: rateHz, channels, delay_samples: delay, bits_per_sample: bits = 16 } = header;
  const perSecond = header.packets_per_second;
  if (!Object.hasOwn(TIERS, tier)) throw new FileError(`the file is of the ${tier} tier, which this build does not know`);
  const waveform = tier !== 'neural';
  const rates = waveform ? [8_000, 96_000] : [1_000, 1_000_000];
  const inRange =
    rateHz >= rates[0] && rateHz <= rates[1] && Number.isInteger(channels) && channels >= 1 &&
    channels <= (waveform ? 2 : 64) && Number.isInteger(delay) && delay >= 0 && delay <= rateHz &&
    perSecond >= 1 && perSecond <= 1_000 && Number.isInteger(bits) && bits >= 8 && bits <= 24;
  if (!inRange) throw new FileError("the file's header holds values out of range");
  return header;
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
