/** Shares, means and intervals, by the formulas of pldebias.metrics. */

export const { abs, ceil, floor, log10, log2, max, min, round } = Math;

const Z = 1.959963984540054; // 97.5 % point of the normal distribution: 95 % intervals

/**
 * Wilson score interval of k successes in n trials; NaN without trials.
 * @param {number} k @param {number} n @returns {[number, number]}
 */
export function wilson(k, n) {
  if (!n) return [NaN, NaN];
  const p = k / n;
  const z2 = Z * Z;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (Z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [max(0, centre - half), min(1, centre + half)];
}

/**
 * Interval of the difference k/n - l/m of two independent shares (Newcombe 1998, method 10); NaN without trials.
 * @param {number} k @param {number} n @param {number} l @param {number} m @returns {[number, number]}
 */
export function newcombe(k, n, l, m) {
  const p = k / n;
  const q = l / m;
  const [pl, ph] = wilson(k, n);
  const [ql, qh] = wilson(l, m);
  return [p - q - Math.hypot(p - pl, qh - q), p - q + Math.hypot(ph - p, q - ql)];
}

/** @param {number} a @param {number} b */
export const ratio = (a, b) => (b ? a / b : NaN);

/**
 * Mean of the known values; NaN without any.
 * @param {number[]} values
 */
export const mean = (values) => {
  const known = values.filter((v) => !isNaN(v));
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
};

/**
 * Quantile q of the known values, linear between neighbours (as numpy's); NaN without any.
 * @param {number[]} values @param {number} q
 */
export function quantile(values, q) {
  const known = values.filter((v) => !isNaN(v)).sort((a, b) => a - b);
  const at = q * (known.length - 1);
  const i = floor(at);
  return known.length ? known[i] + (at - i) * ((known[i + 1] ?? known[i]) - known[i]) : NaN;
}
