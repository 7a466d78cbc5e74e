/**
 * Counts and what is formed from them.
 *
 * Python sends raw counts (see payload.py); every rate is formed here, when it is drawn, from whole rows and columns.
 * The formulas are those of pldebias.metrics, and the tests compare what is shown with what that module returns.
 */

export const { abs, ceil, floor, log10, log2, max, min, round } = Math;

const Z = 1.959963984540054; // 97.5 % point of the normal distribution: 95 % intervals

/** Wilson score interval of k successes in n trials; NaN without trials. */
export function wilson(k, n) {
  if (!n) return [NaN, NaN];
  const p = k / n, z2 = Z * Z, centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (Z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [max(0, centre - half), min(1, centre + half)];
}

/** Interval of the difference k/n - l/m of two independent shares (Newcombe 1998, method 10); NaN without trials. */
export function newcombe(k, n, l, m) {
  const p = k / n, q = l / m, [pl, ph] = wilson(k, n), [ql, qh] = wilson(l, m);
  return [p - q - Math.hypot(p - pl, qh - q), p - q + Math.hypot(ph - p, q - ql)];
}

export const ratio = (a, b) => (b ? a / b : NaN);
export const known = (values) => values.filter((v) => !isNaN(v));
export const mean = (values) => {
  const told = known(values);
  return told.length ? told.reduce((a, b) => a + b, 0) / told.length : NaN;
};

/** Quantile q of the known values, between neighbours by their distance (as numpy's); NaN without any. */
export function quantile(values, q) {
  const told = known(values).sort((a, b) => a - b), at = q * (told.length - 1), i = floor(at);
  return told.length ? told[i] + (at - i) * ((told[i + 1] ?? told[i]) - told[i]) : NaN;
}

/** Counts [epoch, true, predicted] of one run, kind and split, with their margins. */
export class Counts {
  constructor(cube, K) {
    const E = cube.length / (K * K);
    Object.assign(this, { cube, K, E, maxCount: 0, maxShare: 0, maxMargin: 1, limits: {} });
    this.hits = new Float64Array(E * K);
    this.nTrue = new Float64Array(E * K);
    this.nPred = new Float64Array(E * K);
    this.total = new Float64Array(E);
    for (let e = 0, i = 0; e < E; e++) {
      let total = 0, top = 0;
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

  at(e, t, p) {
    return this.cube[(e * this.K + t) * this.K + p];
  }

  /** What a cell shows under a normalisation; NaN where the denominator is zero. */
  value(mode, e, t, p) {
    const c = this.at(e, t, p), nt = this.nTrue[e * this.K + t], np = this.nPred[e * this.K + p], N = this.total[e];
    if (mode === "true") return ratio(c, nt);
    if (mode === "pred") return ratio(c, np);
    if (mode === "all") return ratio(c, N);
    if (mode === "prior") return nt && np ? log2((c * N) / (nt * np)) : NaN;
    return c;
  }

  /** Upper end of the colour scale, fixed over all epochs so that playing does not change what a colour means. */
  limit(mode, mute) {
    if (!mute) return mode === "true" || mode === "pred" ? 1 : mode === "all" ? this.maxShare : this.maxCount;
    if (!(mode in this.limits)) {
      let top = 0;
      for (let e = 0; e < this.E; e++)
        for (let t = 0; t < this.K; t++)
          for (let p = 0; p < this.K; p++) if (t !== p) top = max(top, this.value(mode, e, t, p) || 0);
      this.limits[mode] = top;
    }
    return this.limits[mode];
  }

  /** The same counts between groups of classes. */
  merged(groups) {
    const { K, E } = this, G = groups.length, cube = new Float64Array(E * G * G), of = [];
    groups.forEach((group, g) => group.classes.forEach((c) => (of[c] = g)));
    for (let e = 0, i = 0; e < E; e++) for (let t = 0; t < K; t++) for (let p = 0; p < K; p++, i++) cube[(e * G + of[t]) * G + of[p]] += this.cube[i];
    return new Counts(cube, G);
  }

  /** Numerator and denominator of the share that a normalisation shows, for intervals. */
  share(mode, e, t, p) {
    return [this.at(e, t, p), mode === "pred" ? this.nPred[e * this.K + p] : mode === "true" || mode === "prior" ? this.nTrue[e * this.K + t] : this.total[e]];
  }

  recall(e, c) {
    return ratio(this.hits[e * this.K + c], this.nTrue[e * this.K + c]);
  }

  precision(e, c) {
    return ratio(this.hits[e * this.K + c], this.nPred[e * this.K + c]);
  }

  balancedAccuracy(e) {
    return mean(Array.from({ length: this.K }, (_, c) => this.recall(e, c)));
  }

  groupRecall(e, classes) {
    return mean(classes.map((c) => this.recall(e, c)));
  }

  /** Pseudo-labels given to these classes for each sample that truly belongs to them. */
  groupRatio(e, classes) {
    let predicted = 0, truth = 0;
    for (const c of classes) {
      predicted += this.nPred[e * this.K + c];
      truth += this.nTrue[e * this.K + c];
    }
    return ratio(predicted, truth);
  }
}

/** A - B at every place of a common timeline; a and b are slots: counts, and the epoch shown at each place. */
export class Difference {
  constructor(a, b) {
    Object.assign(this, { a, b, limits: {} });
  }

  value(mode, i, t, p) {
    const v = this.a.counts.value(mode, this.a.shown[i], t, p) - this.b.counts.value(mode, this.b.shown[i], t, p);
    return Number.isFinite(v) ? v : NaN;
  }

  interval(mode, i, t, p) {
    return newcombe(...this.a.counts.share(mode, this.a.shown[i], t, p), ...this.b.counts.share(mode, this.b.shown[i], t, p));
  }

  /** Whether the 95 % interval of the difference of shares holds zero. */
  noise(mode, i, t, p) {
    const [low, high] = this.interval(mode, i, t, p);
    return !(low > 0 || high < 0);
  }

  /** Recall or precision of a class, A - B. */
  rate(name, i, c) {
    return this.a.counts[name](this.a.shown[i], c) - this.b.counts[name](this.b.shown[i], c);
  }

  /** Largest of these differences, of any class at any epoch. */
  rateLimit(name) {
    if (!(name in this.limits)) {
      const classes = [...Array(this.a.counts.K).keys()];
      this.limits[name] = this.a.shown.reduce((top, _, i) => classes.reduce((most, c) => max(most, abs(this.rate(name, i, c)) || 0), top), 0) || 1;
    }
    return this.limits[name];
  }

  /** End of the symmetric colour scale, the same at all epochs. */
  limit(mode, mute) {
    const key = `${mode} ${mute}`, K = this.a.counts.K;
    if (!(key in this.limits)) {
      let top = 0;
      for (let i = 0; i < this.a.shown.length; i++)
        for (let t = 0; t < K; t++) for (let p = 0; p < K; p++) if (!mute || t !== p) top = max(top, abs(this.value(mode, i, t, p)) || 0);
      this.limits[key] = top || 1;
    }
    return this.limits[key];
  }
}

export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Counts of n cells, each over all epochs, turned to epochs of n cells; strip by strip, as a processor's cache likes it. */
export const turned = (v, n) => {
  const E = v.length / n, out = new v.constructor(v.length);
  for (let i = 0; i < n; i += 16) for (let e = 0; e < E; e++) for (let c = i; c < min(i + 16, n); c++) out[e * n + c] = v[c * E + e];
  return out;
};

/** v with d decimals; of two equally near, the even one, as Python prints it. */
export const fixed = (v, d) => (abs((v * 2 ** (d + 1)) % 2) === 1 ? (2 * round((v * 10 ** d) / 2)) / 10 ** d : v).toFixed(d);
export const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
export const compact = (n) => (n < 10000 ? String(n) : n < 1e6 ? `${round(n / 1000)}k` : `${(n / 1e6).toFixed(1)}M`);
export const percent = (v) => (isNaN(v) ? "undefined" : `${fixed(100 * v, 1)} %`);
export const points = (v, digits = 1) => (isNaN(v) ? "undefined" : `${v < 0 ? "−" : "+"}${fixed(100 * abs(v), digits)}`);
export const interval = ([a, b]) => (isNaN(a) ? "" : ` [${fixed(100 * a, 1)}, ${fixed(100 * b, 1)}]`);
