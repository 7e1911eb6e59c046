// Numbers that wrap, and rounding as Python's.

/**
 * @param {number} value
 * @param {number} modulus
 */
export function mod(value, modulus) {
  return ((value % modulus) + modulus) % modulus;
}

/**
 * The number nearest to `near` that wraps to `wrapped`.
 * @param {number} wrapped
 * @param {number} near
 * @param {number} [modulus]
 */
export function extend(wrapped, near, modulus = 65_536) {
  const half = modulus / 2;
  return near + mod(wrapped - near + half, modulus) - half;
}

/**
 * Ties to even, as Python rounds.
 * @param {number} value
 */
export function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
