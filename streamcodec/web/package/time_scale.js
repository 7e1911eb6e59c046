// Shorten or lengthen a block by one similar stretch: `streamcodec/net/time_scale.py`.

const SHORTEST_LAG_S = 0.0025;
const LONGEST_LAG_S = 0.0125;
const OVERLAP_S = 0.005;
const SIMILAR = 0.7;
const QUIET = 1e-3;

/**
 * The block with one lag removed, or the block itself where that would be heard and `force` is not set.
 * @param {Float32Array} block
 * @param {number} rateHz
 * @param {boolean} force
 * @param {number} [mostMs] longest that may be removed
 */
export function accelerate(block, rateHz, force, mostMs = Infinity) {
  const splice = bestSplice(block, rateHz, force, Math.min(LONGEST_LAG_S, mostMs / 1_000));
  if (splice === null) return block;
  const [lag, overlap] = splice;
  const out = new Float32Array(block.length - lag);
  for (let k = 0; k < overlap; k++) out[k] = faded(block[k], block[lag + k], k, overlap);
  out.set(block.subarray(lag + overlap), overlap);
  return out;
}

/**
 * The block with one lag repeated, or the block itself where that would be heard and `force` is not set.
 * @param {Float32Array} block
 * @param {number} rateHz
 * @param {boolean} force
 */
export function expand(block, rateHz, force) {
  const splice = bestSplice(block, rateHz, force, LONGEST_LAG_S);
  if (splice === null) return block;
  const [lag, overlap] = splice;
  const out = new Float32Array(block.length + lag);
  out.set(block.subarray(0, lag));
  for (let k = 0; k < overlap; k++) out[lag + k] = faded(block[lag + k], block[k], k, overlap);
  out.set(block.subarray(overlap), lag + overlap);
  return out;
}

/**
 * @param {number} old
 * @param {number} fresh
 * @param {number} k
 * @param {number} overlap
 */
function faded(old, fresh, k, overlap) {
  return old + ((k + 1) / (overlap + 1)) * (fresh - old);
}

/**
 * @param {Float32Array} block
 * @param {number} rateHz
 * @param {boolean} force
 * @param {number} longestS
 * @returns {[number, number] | null} lag and overlap in samples; null if no lag is similar enough
 */
function bestSplice(block, rateHz, force, longestS) {
  const overlap = Math.round(OVERLAP_S * rateHz);
  const shortest = Math.round(SHORTEST_LAG_S * rateHz);
  const longest = Math.min(Math.round(longestS * rateHz), block.length - overlap);
  if (longest < shortest) return null;
  let templateEnergy = 0;
  for (let k = 0; k < overlap; k++) templateEnergy += block[k] ** 2;
  let most = templateEnergy;
  let best = shortest;
  let bestSimilarity = -Infinity;
  for (let lag = shortest; lag <= longest; lag++) {
    let energy = 0;
    let product = 0;
    for (let k = 0; k < overlap; k++) {
      const heard = block[lag + k];
      energy += heard * heard;
      product += heard * block[k];
    }
    most = Math.max(most, energy);
    const similarity = product / Math.sqrt(Math.max(templateEnergy * energy, 1e-20));
    if (similarity > bestSimilarity) {
      bestSimilarity = similarity;
      best = lag;
    }
  }
  if (most <= QUIET * QUIET * overlap) return [longest, overlap];
  return bestSimilarity < SIMILAR && !force ? null : [best, overlap];
}
