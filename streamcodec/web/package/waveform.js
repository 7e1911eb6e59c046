// The waveform tiers' kernels, and memory for their streams; loaded only where something of theirs is to be heard.

import { Kernels, instantiate, readChecked, readLayout } from './kernels.js';

const WORD_BYTES = 4;
const FORMAT = 1;

/** @typedef {import('./kernels.js').ReadFile} ReadFile */
/**
 * One array of a stream: zero at the start, unless it lies in `waveform.bin` or begins as what was learnt.
 * @typedef {{name: string, shape: number[], bytes: number, at?: number, learnt?: [LearntModels, 'counters' | 'weights']}}
 *   Entry
 */
/** @typedef {'plain' | 'shaped' | 'energies'} LearntModels */
/**
 * @typedef {object} WaveformLayout What `waveform.json` says.
 * @property {number} format
 * @property {number} shift Bits of a counter below its probability.
 * @property {{'near-lossless': string, lossless: string}} bitstreams
 * @property {number[]} rates Of near-lossless streams that there are tables for, in Hz.
 * @property {number[]} blocks
 * @property {Record<LearntModels, {probabilities: number, seen: number, counters: number, weights: number, sets: number}>}
 *   learnt
 * @property {Record<string, Entry[]>} streams
 * @property {Record<string, {bytes: number, sha256: string}>} files
 */

/** A stream's memory: the address of its table, and of each of its arrays by name. */
export class WaveformStream {
  /**
   * @param {string} kind
   * @param {number} table
   * @param {Map<string, number>} places
   */
  constructor(kind, table, places) {
    this.kind = kind;
    this.table = table;
    this._places = places;
  }

  /** @param {string} name */
  at(name) {
    return /** @type {number} */ (this._places.get(name));
  }
}

export class WaveformCodec extends Kernels {
  /**
   * Fetch, check and start. Throws LoadError.
   * @param {ReadFile} read
   */
  static async load(read) {
    /** @type {WaveformLayout} */
    const layout = await readLayout(read, 'waveform.json', FORMAT);
    const [code, tables] = await Promise.all(
      ['waveform.wasm', 'waveform.bin'].map((name) => readChecked(read, name, layout.files)),
    );
    const { memory, exports } = await instantiate(code, 64);
    return new WaveformCodec(layout, memory, exports, tables);
  }

  /**
   * @param {WaveformLayout} layout
   * @param {WebAssembly.Memory} memory
   * @param {WebAssembly.Exports} exports
   * @param {Uint8Array} tables
   */
  constructor(layout, memory, exports, tables) {
    super(memory, exports);
    this.layout = layout;
    this._tables = tables;
    /** @type {Map<LearntModels, {counters: Int32Array, weights: Int32Array}>} */
    this._learnt = new Map();
    /** @type {Map<string, WaveformStream[]>} */
    this._free = new Map();
  }

  /**
   * A new stream; undefined where there are no tables of its kind.
   * @param {string} kind a name in `layout.streams`
   */
  open(kind) {
    const entries = this.layout.streams[kind];
    if (!entries) return undefined;
    const stream = this._free.get(kind)?.pop() ?? this._make(kind, entries);
    this.restart(stream);
    return stream;
  }

  /**
   * Back to the start.
   * @param {WaveformStream} stream
   */
  restart(stream) {
    for (const { name, bytes, at, learnt } of this.layout.streams[stream.kind]) {
      const place = this.bytes(stream.at(name), bytes);
      if (learnt) this.ints(stream.at(name), bytes / 4).set(this.learnt(learnt[0])[learnt[1]]);
      else if (at === undefined) place.fill(0);
      else place.set(this._tables.subarray(at, at + bytes));
    }
  }

  /**
   * Memory of a stream that has ended goes to the next one of its kind.
   * @param {WaveformStream} stream
   */
  close(stream) {
    this._free.set(stream.kind, [...(this._free.get(stream.kind) ?? []), stream]);
  }

  /**
   * Make the first part of what models have learnt what it was in the beginning: all, or the half that key blocks use.
   * @param {WaveformStream} stream
   * @param {boolean} all
   */
  relearn(stream, all) {
    for (const { name, learnt } of this.layout.streams[stream.kind]) {
      if (!learnt) continue;
      const known = this.learnt(learnt[0])[learnt[1]];
      const end = all ? known.length : known.length / 2;
      this.ints(stream.at(name), end).set(known.subarray(0, end));
    }
  }

  /**
   * What models know before the first block.
   * @param {LearntModels} name
   */
  learnt(name) {
    let known = this._learnt.get(name);
    if (!known) {
      const { probabilities, seen, counters, weights, sets } = this.layout.learnt[name];
      const { buffer, byteOffset } = this._tables;
      const chances = new Uint16Array(buffer.slice(byteOffset + probabilities, byteOffset + probabilities + 2 * counters));
      const counts = this._tables.subarray(seen, seen + counters);
      const begin = byteOffset + weights;
      known = {
        counters: Int32Array.from(chances, (chance, k) => (chance << this.layout.shift) | counts[k]),
        weights: new Int32Array(buffer.slice(begin, begin + 4 * sets)),
      };
      this._learnt.set(name, known);
    }
    return known;
  }

  /**
   * @param {string} kind
   * @param {Entry[]} entries
   */
  _make(kind, entries) {
    const words = entries.reduce((count, { shape }) => count + 1 + shape.length, 0);
    const table = this._allocate(WORD_BYTES * words);
    const places = new Map(entries.map(({ name, bytes }) => [name, this._allocate(bytes)]));
    const values = entries.flatMap(({ name, shape }) => [/** @type {number} */ (places.get(name)), ...shape]);
    this.ints(table, words).set(values);
    return new WaveformStream(kind, table, places);
  }
}
