// Sound over time and frequency on a canvas.

const SIZE = 512;
const LEAST_DB = -90;
const MOST_DB = -20;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} sound
 */
export function drawSpectrogram(canvas, sound) {
  const context = canvas.getContext('2d');
  if (!context) return;
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio)));
  const height = (canvas.height = SIZE / 2);
  const image = context.createImageData(width, height);
  const window = Float64Array.from({ length: SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / SIZE));
  const scale = window.reduce((sum, weight) => sum + weight, 0) / 2;
  for (let x = 0; x < width; x++) {
    const start = Math.round((x / width) * Math.max(0, sound.length - SIZE));
    const real = Float64Array.from(window, (weight, n) => weight * (sound[start + n] ?? 0));
    const imaginary = new Float64Array(SIZE);
    transform(real, imaginary);
    for (let bin = 0; bin < height; bin++) {
      const size = Math.hypot(real[bin], imaginary[bin]) / scale;
      const db = 20 * Math.log10(size + 1e-9);
      const level = Math.min(Math.max((db - LEAST_DB) / (MOST_DB - LEAST_DB), 0), 1);
      image.data.set(colour(level), 4 * ((height - 1 - bin) * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

/**
 * Dark to bright, told apart without hue.
 * @param {number} level 0 to 1
 */
function colour(level) {
  return [255 * Math.min(1, 1.6 * level), 255 * level ** 1.6, 255 * (0.25 + 0.6 * level - 0.7 * level * (1 - level)), 255];
}

/**
 * Fourier transform in place, of a power of two of points.
 * @param {Float64Array} real
 * @param {Float64Array} imaginary
 */
function transform(real, imaginary) {
  const size = real.length;
  for (let k = 1, j = 0; k < size; k++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (k < j) [real[k], real[j]] = [real[j], real[k]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let at = 0; at < length / 2; at++) {
      const angle = (-2 * Math.PI * at) / length;
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      for (let low = at; low < size; low += length) {
        const high = low + length / 2;
        const re = real[high] * cosine - imaginary[high] * sine;
        const im = real[high] * sine + imaginary[high] * cosine;
        real[high] = real[low] - re;
        imaginary[high] = imaginary[low] - im;
        real[low] += re;
        imaginary[low] += im;
      }
    }
  }
}
