// Kernels in WebAssembly, and the memory that they share with what calls them.

import { LoadError } from './errors.js';

const PAGE = 65_536;
const ALIGNMENT = 64;
// A function that fills a vector and counts its bits: valid only where WebAssembly has SIMD.
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

/** @typedef {(name: string) => Promise<Uint8Array>} ReadFile */

export class Kernels {
  /**
   * @param {WebAssembly.Memory} memory
   * @param {WebAssembly.Exports} exports
   */
  constructor(memory, exports) {
    this.memory = memory;
    this.kernels = /** @type {Record<string, (...numbers: number[]) => number>} */ (/** @type {unknown} */ (exports));
    this._next = align(/** @type {WebAssembly.Global} */ (exports.__heap_base).value);
  }

  /**
   * Bytes at an address, a view of memory as the others: of use until the next stream is opened, when memory may move.
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
  ints(address, length) {
    return new Int32Array(this.memory.buffer, address, length);
  }

  /**
   * @param {number} address
   * @param {number} length
   */
  floats(address, length) {
    return new Float32Array(this.memory.buffer, address, length);
  }

  /** @param {number} size */
  _allocate(size) {
    const start = this._next;
    this._next = align(start + size);
    const missing = this._next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    return start;
  }
}

/** @param {number} address */
function align(address) {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}

/**
 * What `NAME.json` says of a build, if it is of the format that this code reads. Throws LoadError.
 * @param {ReadFile} read
 * @param {string} name
 * @param {number} format
 */
export async function readLayout(read, name, format) {
  checkBrowser();
  const layout = JSON.parse(new TextDecoder().decode(await read(name)));
  if (layout.format !== format) {
    throw new LoadError(`${name} is of format ${layout.format}, this code reads ${format}: build both together`);
  }
  return layout;
}

/**
 * @param {Uint8Array} code
 * @param {number} pages of memory to begin with
 */
export async function instantiate(code, pages) {
  const memory = new WebAssembly.Memory({ initial: pages });
  const { instance } = await WebAssembly.instantiate(/** @type {BufferSource} */ (code), { env: { memory } });
  return { memory, exports: instance.exports };
}

/** Throws LoadError where a browser cannot run the kernels. */
function checkBrowser() {
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
