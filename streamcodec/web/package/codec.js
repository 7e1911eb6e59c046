// The kernels in WebAssembly, their constants, and memory for streams. One codec holds any number of streams.

import { LoadError } from './errors.js';
import { Kernels, instantiate, readChecked, readLayout } from './kernels.js';

const FORMAT = 2;

/**
 * @typedef {object} Layout What `codec.json` says: addresses in bytes from the start of a stream.
 * @property {number} format
 * @property {string} model
 * @property {string} bitstream What packets are in, as Python's ends tell each other.
 * @property {string[]} waveformBitstreams What packets of the waveform tiers are in, which `WaveformCodec` decodes.
 * @property {number} sampleRate
 * @property {number} frameSamples
 * @property {number} delaySamples
 * @property {number} sampleLimit Louder samples count as this loud.
 * @property {number} latents
 * @property {number} maxFrames
 * @property {{decoder: number, encoder: number}} constants
 * @property {{size: number, payload: number, payloadBytes: number, indices: number, out: number}} decoder
 * @property {{size: number, payload: number, block: number, qualityIndex: number, flags: number,
 *   dtx: number, copyQualityIndex: number}} encoder
 * @property {{from: number, to: number, at: number, up: number, count: number, down: number, chunk: number}[]}
 *   resamplers
 * @property {Record<string, {bytes: number, sha256: string}>} files
 */

/** @typedef {import('./kernels.js').ReadFile} ReadFile */

/**
 * Reads files that lie beside each other under an address; the browser's cache keeps them.
 * @param {string | URL} folder
 * @returns {ReadFile}
 */
export function readFrom(folder) {
  const base = new URL(folder, globalThis.location?.href);
  return async (name) => {
    const response = await fetch(new URL(name, base));
    if (!response.ok) throw new LoadError(`${name} cannot be fetched from ${base}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

export class Codec extends Kernels {
  /**
   * Fetch, check and start. Throws LoadError.
   * @param {ReadFile} read
   * @param {{encode?: boolean, resample?: boolean}} [options] `encode: false` leaves out what only encoders need, 3 MB;
   *   `resample: true` brings the filters of {@link Resampler}.
   * @returns {Promise<Codec>}
   */
  static async load(read, { encode = true, resample = false } = {}) {
    /** @type {Layout} */
    const layout = await readLayout(read, 'codec.json', FORMAT);
    const checked = (/** @type {string} */ name) => readChecked(read, name, layout.files);
    const [code, decoding, encoding, filters] = await Promise.all([
      checked('codec.wasm'),
      checked('decoder.bin'),
      encode ? checked('encoder.bin') : undefined,
      resample ? checked('resampler.bin') : undefined,
    ]);
    const { memory, exports } = await instantiate(code, 256);
    return new Codec(layout, memory, exports, decoding, encoding, filters);
  }

  /**
   * @param {Layout} layout
   * @param {WebAssembly.Memory} memory
   * @param {WebAssembly.Exports} exports
   * @param {Uint8Array} decoding
   * @param {Uint8Array | undefined} encoding
   * @param {Uint8Array | undefined} [filters]
   */
  constructor(layout, memory, exports, decoding, encoding, filters) {
    super(memory, exports);
    this.layout = layout;
    /** @type {Record<'decoder' | 'encoder', number[]>} */
    this._free = { decoder: [], encoder: [] };
    const { decoder, encoder } = layout.constants;
    this.constants = this._allocate(decoder + (encoding ? encoder : 0));
    this._put(this.constants, decoding.subarray(0, decoder));
    /** @type {{decoder: Uint8Array, encoder?: Uint8Array}} */
    this._first = { decoder: decoding.slice(decoder) };
    if (encoding) {
      this._put(this.constants + decoder, encoding.subarray(0, encoder));
      this._first.encoder = encoding.slice(encoder);
    }
    /** Address of the resampler's filters; -1 where they were not asked for. */
    this.filters = -1;
    if (filters) {
      this.filters = this._allocate(filters.length);
      this._put(this.filters, filters);
    }
  }

  /**
   * Address of a new stream.
   * @param {'decoder' | 'encoder'} kind
   */
  open(kind) {
    const first = this._first[kind];
    if (!first) throw new LoadError('the codec was loaded to decode only: leave out encode: false');
    const stream = this._free[kind].pop() ?? this._allocate(first.length);
    this.restart(kind, stream);
    return stream;
  }

  /**
   * Back to the start.
   * @param {'decoder' | 'encoder'} kind
   * @param {number} stream
   */
  restart(kind, stream) {
    this._put(stream, /** @type {Uint8Array} */ (this._first[kind]));
  }

  /**
   * Memory of a stream that has ended goes to the next one.
   * @param {'decoder' | 'encoder'} kind
   * @param {number} stream
   */
  close(kind, stream) {
    this._free[kind].push(stream);
  }

  /** @param {number} address */
  int64(address) {
    const [low, high] = this.ints(address, 2);
    return high * 2 ** 32 + (low >>> 0);
  }

  /**
   * @param {number} address
   * @param {number} value
   */
  setInt64(address, value) {
    new DataView(this.memory.buffer).setBigInt64(address, BigInt(value), true);
  }

  /** Sound cards' rates that there are filters for. */
  get deviceRates() {
    const { resamplers, sampleRate } = this.layout;
    return resamplers.filter(({ to }) => to === sampleRate).map(({ from }) => from);
  }

  /**
   * Address of zeros, kept for good.
   * @param {number} size
   */
  memoryFor(size) {
    const address = this._allocate(size);
    this.bytes(address, size).fill(0);
    return address;
  }

  /**
   * @param {number} address
   * @param {Uint8Array} content
   */
  _put(address, content) {
    this.bytes(address, content.length).set(content);
  }
}
