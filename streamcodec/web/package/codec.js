// The kernels in WebAssembly, their constants, and memory for streams. One codec holds any number of streams.

import { LoadError } from './errors.js';

const PAGE = 65_536;
const ALIGNMENT = 64;
const FORMAT = 2;
// A function that fills a vector and counts its bits: valid only where WebAssembly has SIMD.
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

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

/** @typedef {(name: string) => Promise<Uint8Array>} ReadFile */

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

export class Codec {
  /**
   * Fetch, check and start. Throws LoadError.
   * @param {ReadFile} read
   * @param {{encode?: boolean, resample?: boolean}} [options] `encode: false` leaves out what only encoders need, 3 MB;
   *   `resample: true` brings the filters of {@link Resampler}.
   * @returns {Promise<Codec>}
   */
  static async load(read, { encode = true, resample = false } = {}) {
    checkBrowser();
    /** @type {Layout} */
    const layout = JSON.parse(new TextDecoder().decode(await read('codec.json')));
    if (layout.format !== FORMAT) {
      throw new LoadError(`codec.json is of format ${layout.format}, this code reads ${FORMAT}: build both together`);
    }
    const checked = (/** @type {string} */ name) => readChecked(read, name, layout.files);
    const [code, decoding, encoding, filters] = await Promise.all([
      checked('codec.wasm'),
      checked('decoder.bin'),
      encode ? checked('encoder.bin') : undefined,
      resample ? checked('resampler.bin') : undefined,
    ]);
    const memory = new WebAssembly.Memory({ initial: 256 });
    const { instance } = await WebAssembly.instantiate(/** @type {BufferSource} */ (code), { env: { memory } });
    return new Codec(layout, memory, instance.exports, decoding, encoding, filters);
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
    this.layout = layout;
    this.memory = memory;
    this.kernels = /** @type {Record<string, (...numbers: number[]) => number>} */ (/** @type {unknown} */ (exports));
    this._next = align(/** @type {WebAssembly.Global} */ (exports.__heap_base).value);
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

  /**
   * Bytes at an address; of use until the next stream is opened, when memory may move.
   * @param {number} address
   * @param {number} length
   */
  bytes(address, length) {
    return new Uint8Array(this.memory.buffer, address, length);
  }

  /**
   * @param {number} address
   * @param {number} length
   */
  floats(address, length) {
    return new Float32Array(this.memory.buffer, address, length);
  }

  /** @param {number} address */
  int64(address) {
    return Number(new DataView(this.memory.buffer).getBigInt64(address, true));
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

  /** @param {number} size */
  _allocate(size) {
    const start = this._next;
    this._next = align(start + size);
    const missing = this._next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    return start;
  }

  /**
   * @param {number} address
   * @param {Uint8Array} content
   */
  _put(address, content) {
    this.bytes(address, content.length).set(content);
  }
}

/** @param {number} address */
function align(address) {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}

/** Throws LoadError where a browser cannot run the kernels. */
export function checkBrowser() {
  if (typeof WebAssembly === 'undefined') throw new LoadError('this browser has no WebAssembly, or it is turned off');
  if (!WebAssembly.validate(SIMD_PROBE)) {
    throw new LoadError('this browser has no WebAssembly SIMD: Chrome 91, Firefox 89, Safari 16.4 or newer do');
  }
}

/**
 * A file whose SHA-256 is what its build says. Throws LoadError.
 * @param {ReadFile} read
 * @param {string} name
 * @param {Record<string, {sha256: string}>} files
 */
export async function readChecked(read, name, files) {
  const bytes = await read(name);
  if ((await sha256(bytes)) !== files[name].sha256) {
    throw new LoadError(`${name} is damaged or of another build: its SHA-256 is not what its list says`);
  }
  return bytes;
}

/** @param {Uint8Array} bytes */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new LoadError('the page must come over https or from this machine: browsers check nothing elsewhere');
  }
  const digest = await crypto.subtle.digest('SHA-256', /** @type {BufferSource} */ (bytes));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
