import { abs, floor, max, min } from "./intervals.js";

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array };
export const GROUP_NAMES = ["head", "medium", "tail", "all"];
export const UNDEFINED = 65535; // a confidence or a place that is not there
export const BINS = 16; // of confidence; one more code stands for what was not logged
export const FILLS = {
  pseudo: "pseudo-label",
  true: "true class",
  flipped: "change since last snapshot",
  confidence: "confidence",
};

/** The points of an embedding over the snapshots: what Python sent, and what follows from it. Nothing is estimated here. */
export class Cloud {
  /** @param {EmbeddingMeta} meta @param {ArrayBuffer} buffer */
  constructor(meta, buffer) {
    this.meta = meta;
    this.n = meta.n;
    this.E = meta.epochs.length;
    this.K = meta.classes.length;
    const blocks = Object.entries(meta.blocks).map(([name, [offset, type, length]]) => {
      return [name, new TYPES[/** @type {keyof typeof TYPES} */ (type)](buffer, offset, length)];
    });
    this.arrays = /** @type {CloudArrays} */ (Object.fromEntries(blocks));
    const { ids, group } = this.arrays;
    this.row = new Map(Array.from(ids, (id, i) => [id, i]));
    // The tail is drawn last.
    this.order = Uint32Array.from({ length: this.n }, (_, i) => i).sort((a, b) => group[a] - group[b] || a - b);
    this.selected = new Uint8Array(this.n);
    this.absent = 0; // samples that were chosen elsewhere and are not in this picture
  }

  /** @param {number} c */
  name(c) {
    return c < 0 ? "any" : this.meta.classes[c];
  }

  /** Points for which a test holds. @param {(i: number) => unknown} test */
  rows(test) {
    const found = [];
    for (let i = 0; i < this.n; i++) if (test(i)) found.push(i);
    return found;
  }

  /** @param {number} i @param {number} f snapshot */
  label(i, f) {
    return this.arrays.label[f * this.n + i];
  }

  /** @param {number} i @param {number} f */
  wrong(i, f) {
    return this.arrays.true[i] >= 0 && this.label(i, f) !== this.arrays.true[i];
  }

  /** Number of the snapshot nearest to an epoch; the earlier of two as near. @param {number} epoch */
  frameOf(epoch) {
    return this.meta.epochs.reduce((best, e, i, all) => (abs(e - epoch) < abs(all[best] - epoch) ? i : best), 0);
  }

  /**
   * What a point's fill says: a group (3: unknown), a kind of change, or a bin of confidence (BINS: not logged).
   * @param {string} colour @param {number} i @param {number} f
   */
  code(colour, i, f) {
    const { group_of } = this.meta;
    const c = this.arrays.true[i];
    const p = this.label(i, f);
    if (colour === "pseudo") return group_of[p];
    if (colour === "true") return c < 0 ? 3 : group_of[c];
    if (colour === "confidence") {
      const v = this.arrays.confidence[f * this.n + i];
      return v === UNDEFINED ? BINS : min(BINS - 1, floor((v * BINS) / 1000));
    }
    const before = this.label(i, max(0, f - 1));
    if (before === p) return 0;
    return c < 0 ? 4 : p === c ? 1 : before === c ? 2 : 3;
  }

  /** Whether a point belongs to a cell; -1 is any class. @param {Cell | []} cell @param {number} i @param {number} f */
  inCell(cell, i, f) {
    const [c, p] = cell;
    if (c === undefined || p === undefined) return true;
    return (c < 0 || this.arrays.true[i] === c) && (p < 0 || this.label(i, f) === p);
  }

  /** Mark samples as selected; returns those that this picture has. @param {number[]} ids */
  select(ids) {
    this.selected.fill(0);
    for (const id of ids) {
      const i = this.row.get(id);
      if (i !== undefined) this.selected[i] = 1;
    }
    const known = Array.from(this.arrays.ids).filter((_, i) => this.selected[i]);
    this.absent = new Set(ids).size - known.length;
    return known;
  }

  /**
   * Counts [true class, pseudo-label, n] of the selected samples at a snapshot, largest first.
   * @param {number} f @returns {[number, number, number][]}
   */
  cells(f) {
    /** @type {Map<number, number>} */
    const counts = new Map();
    for (let i = 0; i < this.n; i++)
      if (this.selected[i] && this.arrays.true[i] >= 0) {
        const key = this.arrays.true[i] * this.K + this.label(i, f);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    return sorted.map(([key, count]) => [floor(key / this.K), key % this.K, count]);
  }

  /** Position of a point between two snapshots, in the units of the data. @param {number} i @param {number} t */
  at(i, t) {
    const { position } = this.arrays;
    const f = min(floor(t), this.E - 1);
    const [a, b] = [2 * (f * this.n + i), 2 * (min(f + 1, this.E - 1) * this.n + i)];
    const part = t - f;
    return [position[a] + part * (position[b] - position[a]), position[a + 1] + part * (position[b + 1] - position[a + 1])];
  }
}

/** Whether a place lies inside an outline, by the even-odd rule. @param {[number, number][]} outline @param {number} u @param {number} v */
export function inside(outline, u, v) {
  let odd = false;
  outline.forEach(([a, b], i) => {
    const [c, d] = outline[(i || outline.length) - 1];
    if (b > v !== d > v && u < ((c - a) * (v - b)) / (d - b) + a) odd = !odd;
  });
  return odd;
}
