/** Numbers of the views against those of pldebias.metrics, which tests/test_javascript.py writes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Counts } from "../../pldebias/widgets/js/stats/counts.js";
import { fixed, grouped } from "../../pldebias/widgets/js/stats/format.js";
import { newcombe, quantile, wilson } from "../../pldebias/widgets/js/stats/intervals.js";

const path = process.env.PLDEBIAS_FIXTURES;
const skip = path ? false : "PLDEBIAS_FIXTURES names no file; pytest tests/test_javascript.py writes one";
const fixtures = path ? JSON.parse(readFileSync(path, "utf8")) : {};

/**
 * Equal within the last bits; null stands for NaN.
 * @param {ArrayLike<number>} ours @param {(number | null)[]} theirs @param {string} what
 */
function close(ours, theirs, what) {
  assert.equal(ours.length, theirs.length, what);
  theirs.forEach((v, i) => {
    if (v === null) assert.ok(Number.isNaN(ours[i]), `${what}: ${ours[i]} where it is undefined`);
    else assert.ok(Math.abs(ours[i] - v) <= 1e-12 * Math.max(1, Math.abs(v)), `${what}: ${ours[i]}, not ${v}`);
  });
}

test("intervals", { skip }, () => {
  for (const [k, n, low, high] of fixtures.wilson) close(wilson(k, n), [low, high], `wilson(${k}, ${n})`);
  for (const [k, n, l, m, low, high] of fixtures.newcombe) close(newcombe(k, n, l, m), [low, high], `newcombe(${[k, n, l, m]})`);
  for (const [values, q, expected] of fixtures.quantile) close([quantile(values, q)], [expected], `quantile(${values}, ${q})`);
});

test("rates of classes and groups", { skip }, () => {
  for (const { matrix, groups, recall, precision, balanced, groupRecall, groupRatio } of fixtures.matrices) {
    const K = matrix.length;
    const counts = new Counts(matrix.flat(), K);
    const each = (/** @type {(c: number) => number} */ f) => Array.from({ length: K }, (_, c) => f(c));
    close(
      each((c) => counts.recall(0, c)),
      recall,
      "recall",
    );
    close(
      each((c) => counts.precision(0, c)),
      precision,
      "precision",
    );
    close([counts.balancedAccuracy(0)], [balanced], "balanced accuracy");
    close(
      groups.map((/** @type {number[]} */ g) => counts.groupRecall(0, g)),
      groupRecall,
      "recall of groups",
    );
    close(
      groups.map((/** @type {number[]} */ g) => counts.groupRatio(0, g)),
      groupRatio,
      "labels per true sample",
    );
  }
});

test("cells of every normalisation", { skip }, () => {
  for (const { matrix, shares } of fixtures.matrices) {
    const K = matrix.length;
    const counts = new Counts(matrix.flat(), K);
    for (const mode of /** @type {const} */ (["true", "pred", "all", "prior"])) {
      const ours = Array.from({ length: K * K }, (_, i) => counts.value(mode, 0, Math.floor(i / K), i % K));
      close(
        ours.map((v) => (v === -Infinity ? -1e308 : v)),
        shares[mode],
        mode,
      );
    }
  }
});

test("numbers as Python prints them", { skip }, () => {
  for (const [v, digits, text] of fixtures.fixed) assert.equal(fixed(v, digits), text);
  for (const [v, text] of fixtures.grouped) assert.equal(grouped(v), text);
});
