/** Counts of a run, and the difference of two runs. Python sends raw counts; every rate is formed here, from whole rows and columns. */

import { abs, log2, max, mean, min, newcombe, ratio } from "./intervals.js";

/** Counts [epoch, true, predicted] of one run, kind and split, with their margins. */
export class Counts {
  maxCount = 0;
  maxShare = 0;
  maxMargin = 1;
  /** @type {Record<string, number>} */
  limits = {};

  /** @param {Series} cube @param {number} K */
  constructor(cube, K) {
    const E = cube.length / (K * K);
    this.cube = cube;
    this.K = K;
    this.E = E;
    this.hits = new Float64Array(E * K);
    this.nTrue = new Float64Array(E * K);
    this.nPred = new Float64Array(E * K);
    this.total = new Float64Array(E);
    for (let e = 0, i = 0; e < E; e++) {
      let total = 0;
      let top = 0;
      for (let t = 0; t < K; t++) {
        let row = 0;
        for (let p = 0; p < K; p++, i++) {
          const c = cube[i];
          row += c;
          this.nPred[e * K + p] += c;
          if (c > top) top = c;
          if (t === p) this.hits[e * K + t] = c;
        }
        this.nTrue[e * K + t] = row;
        total += row;
      }
      this.total[e] = total;
      for (let c = e * K; c < e * K + K; c++) this.maxMargin = max(this.maxMargin, this.nTrue[c], this.nPred[c]);
      this.maxCount = max(this.maxCount, top);
      if (total) this.maxShare = max(this.maxShare, top / total);
    }
  }

  /** @param {number} e @param {number} t @param {number} p */
  at(e, t, p) {
    return this.cube[(e * this.K + t) * this.K + p];
  }

  /**
   * What a cell shows under a normalisation; NaN where the denominator is zero.
   * @param {Mode} mode @param {number} e @param {number} t @param {number} p
   */
  value(mode, e, t, p) {
    const c = this.at(e, t, p);
    const nt = this.nTrue[e * this.K + t];
    const np = this.nPred[e * this.K + p];
    const N = this.total[e];
    if (mode === "true") return ratio(c, nt);
    if (mode === "pred") return ratio(c, np);
    if (mode === "all") return ratio(c, N);
    if (mode === "prior") return nt && np ? log2((c * N) / (nt * np)) : NaN;
    return c;
  }

  /**
   * Upper end of the colour scale, fixed over all epochs so that playing does not change what a colour means.
   * @param {Mode} mode @param {boolean} mute
   */
  limit(mode, mute) {
    if (!mute) return mode === "true" || mode === "pred" ? 1 : mode === "all" ? this.maxShare : this.maxCount;
    const key = String(mode);
    if (!(key in this.limits)) {
      let top = 0;
      for (let e = 0; e < this.E; e++)
        for (let t = 0; t < this.K; t++) for (let p = 0; p < this.K; p++) if (t !== p) top = max(top, this.value(mode, e, t, p) || 0);
      this.limits[key] = top;
    }
    return this.limits[key];
  }

  /** The same counts between groups of classes. @param {Group[]} groups */
  merged(groups) {
    const { K, E } = this;
    const G = groups.length;
    const cube = new Float64Array(E * G * G);
    /** @type {number[]} */
    const of = [];
    groups.forEach((group, g) => group.classes.forEach((c) => (of[c] = g)));
    for (let e = 0, i = 0; e < E; e++)
      for (let t = 0; t < K; t++) for (let p = 0; p < K; p++, i++) cube[(e * G + of[t]) * G + of[p]] += this.cube[i];
    return new Counts(cube, G);
  }

  /**
   * Numerator and denominator of the share that a normalisation shows, for intervals.
   * @param {Mode} mode @param {number} e @param {number} t @param {number} p @returns {[number, number]}
   */
  share(mode, e, t, p) {
    const k = this.at(e, t, p);
    if (mode === "pred") return [k, this.nPred[e * this.K + p]];
    return [k, mode === "true" || mode === "prior" ? this.nTrue[e * this.K + t] : this.total[e]];
  }

  /** @param {number} e @param {number} c */
  recall(e, c) {
    return ratio(this.hits[e * this.K + c], this.nTrue[e * this.K + c]);
  }

  /** @param {number} e @param {number} c */
  precision(e, c) {
    return ratio(this.hits[e * this.K + c], this.nPred[e * this.K + c]);
  }

  /** @param {number} e */
  balancedAccuracy(e) {
    return mean(Array.from({ length: this.K }, (_, c) => this.recall(e, c)));
  }

  /** @param {number} e @param {number[]} classes */
  groupRecall(e, classes) {
    return mean(classes.map((c) => this.recall(e, c)));
  }

  /** Pseudo-labels given to these classes for each sample that truly belongs to them. @param {number} e @param {number[]} classes */
  groupRatio(e, classes) {
    let predicted = 0;
    let truth = 0;
    for (const c of classes) {
      predicted += this.nPred[e * this.K + c];
      truth += this.nTrue[e * this.K + c];
    }
    return ratio(predicted, truth);
  }

  /**
   * A metric of a class over some epochs, whose counts are added before the ratio is formed.
   * @param {Metric} metric @param {number[]} epochs @param {number} c
   */
  rateOver(metric, epochs, c) {
    let hits = 0;
    let nTrue = 0;
    let nPred = 0;
    for (const e of epochs) {
      hits += this.hits[e * this.K + c];
      nTrue += this.nTrue[e * this.K + c];
      nPred += this.nPred[e * this.K + c];
    }
    return metric === "ratio" ? (nTrue ? log2(nPred / nTrue) : NaN) : ratio(hits, metric === "recall" ? nTrue : nPred);
  }
}

/** A - B at every place of a common timeline; a and b hold counts, and the epoch shown at each place. */
export class Difference {
  /** @type {Record<string, number>} */
  limits = {};

  /** @param {Slot} a @param {Slot} b */
  constructor(a, b) {
    this.a = a;
    this.b = b;
  }

  /** @param {Mode} mode @param {number} i @param {number} t @param {number} p */
  value(mode, i, t, p) {
    const v = this.a.counts.value(mode, this.a.shown[i], t, p) - this.b.counts.value(mode, this.b.shown[i], t, p);
    return Number.isFinite(v) ? v : NaN;
  }

  /** The 95 % interval of the difference of two shares. @param {Mode} mode @param {number} i @param {number} t @param {number} p */
  interval(mode, i, t, p) {
    return newcombe(...this.a.counts.share(mode, this.a.shown[i], t, p), ...this.b.counts.share(mode, this.b.shown[i], t, p));
  }

  /** Whether the 95 % interval of the difference holds zero. @param {Mode} mode @param {number} i @param {number} t @param {number} p */
  noise(mode, i, t, p) {
    const [low, high] = this.interval(mode, i, t, p);
    return !(low > 0 || high < 0);
  }

  /** Recall or precision of a class, A - B. @param {"recall" | "precision"} name @param {number} i @param {number} c */
  rate(name, i, c) {
    return this.a.counts[name](this.a.shown[i], c) - this.b.counts[name](this.b.shown[i], c);
  }

  /** Largest of these differences, of any class at any epoch. @param {"recall" | "precision"} name */
  rateLimit(name) {
    if (!(name in this.limits)) {
      let top = 0;
      for (let i = 0; i < this.a.shown.length; i++)
        for (let c = 0; c < this.a.counts.K; c++) top = max(top, abs(this.rate(name, i, c)) || 0);
      this.limits[name] = top || 1;
    }
    return this.limits[name];
  }

  /** End of the symmetric colour scale, the same at all epochs. @param {Mode} mode @param {boolean} mute */
  limit(mode, mute) {
    const key = `${mode} ${mute}`;
    const { K } = this.a.counts;
    if (!(key in this.limits)) {
      let top = 0;
      for (let i = 0; i < this.a.shown.length; i++)
        for (let t = 0; t < K; t++) for (let p = 0; p < K; p++) if (!mute || t !== p) top = max(top, abs(this.value(mode, i, t, p)) || 0);
      this.limits[key] = top || 1;
    }
    return this.limits[key];
  }
}

/**
 * Counts of n cells, each over all epochs, turned to epochs of n cells; strip by strip, as a processor's cache likes it.
 * @template {Uint16Array | Uint32Array} T
 * @param {T} v @param {number} n @returns {T}
 */
export function turned(v, n) {
  const E = v.length / n;
  const out = v.slice();
  for (let i = 0; i < n; i += 16) for (let e = 0; e < E; e++) for (let c = i; c < min(i + 16, n); c++) out[e * n + c] = v[c * E + e];
  return /** @type {T} */ (out);
}
