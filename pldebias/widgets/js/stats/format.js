/** Numbers as text, as Python prints them. */

import { abs, round } from "./intervals.js";

/**
 * v with d decimals; of two equally near, the even one.
 * @param {number} v @param {number} d
 */
export const fixed = (v, d) => (abs((v * 2 ** (d + 1)) % 2) === 1 ? (2 * round((v * 10 ** d) / 2)) / 10 ** d : v).toFixed(d);

/** @param {number} n */
export const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** @param {number} n */
export const compact = (n) => (n < 10000 ? String(n) : n < 1e6 ? `${round(n / 1000)}k` : `${(n / 1e6).toFixed(1)}M`);

/** @param {number} v */
export const percent = (v) => (isNaN(v) ? "undefined" : `${fixed(100 * v, 1)} %`);

/** A difference of shares in percentage points, with its sign. @param {number} v */
export const points = (v, digits = 1) => (isNaN(v) ? "undefined" : `${v < 0 ? "−" : "+"}${fixed(100 * abs(v), digits)}`);

/** @param {[number, number]} ends */
export const interval = ([a, b]) => (isNaN(a) ? "" : ` [${fixed(100 * a, 1)}, ${fixed(100 * b, 1)}]`);

/** @param {number} v */
export const sign = (v) => (v > 0 ? "+" : v < 0 ? "−" : "");
