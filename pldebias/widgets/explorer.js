/**
 * The explorer of pldebias: one ES module without dependencies, drawn on canvas.
 *
 * Python sends raw counts (see payload.py); every rate is formed here, when it is drawn, from whole rows and columns.
 * The formulas are those of pldebias.metrics, and the tests compare what is shown with what that module returns.
 * Class and run names reach the page through textContent and canvas text only, so markup in a name stays text.
 */

// ------------------------------------------------------------------------------------------------ numbers

const Z = 1.959963984540054; // 97.5 % point of the normal distribution: 95 % intervals

/** Wilson score interval of k successes in n trials; NaN without trials. */
function wilson(k, n) {
  if (!n) return [NaN, NaN];
  const p = k / n, z2 = Z * Z, centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (Z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

const ratio = (a, b) => (b ? a / b : NaN);
const mean = (values) => {
  const known = values.filter((v) => !Number.isNaN(v));
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
};

/** Counts [epoch, true, predicted] of one run, kind and split, with their margins. */
class Counts {
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
      for (let c = e * K; c < e * K + K; c++) this.maxMargin = Math.max(this.maxMargin, this.nTrue[c], this.nPred[c]);
      this.maxCount = Math.max(this.maxCount, top);
      if (total) this.maxShare = Math.max(this.maxShare, top / total);
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
    if (mode === "prior") return nt && np ? Math.log2((c * N) / (nt * np)) : NaN;
    return c;
  }

  /** Upper end of the colour scale, fixed over all epochs so that playing does not change what a colour means. */
  limit(mode, mute) {
    if (!mute) return mode === "true" || mode === "pred" ? 1 : mode === "all" ? this.maxShare : this.maxCount;
    if (!(mode in this.limits)) {
      let top = 0;
      for (let e = 0; e < this.E; e++)
        for (let t = 0; t < this.K; t++)
          for (let p = 0; p < this.K; p++) if (t !== p) top = Math.max(top, this.value(mode, e, t, p) || 0);
      this.limits[mode] = top;
    }
    return this.limits[mode];
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

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const compact = (n) => (n < 10000 ? String(n) : n < 1e6 ? `${Math.round(n / 1000)}k` : `${(n / 1e6).toFixed(1)}M`);
const percent = (v) => (Number.isNaN(v) ? "undefined" : `${(100 * v).toFixed(1)} %`);
const interval = ([a, b]) => (Number.isNaN(a) ? "" : ` [${(100 * a).toFixed(1)}, ${(100 * b).toFixed(1)}]`);

// ------------------------------------------------------------------------------------------------ colour

const hex = (s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16));

/** 256 colours between anchors, evenly spaced. */
function ramp(anchors) {
  const stops = anchors.map(hex);
  return Array.from({ length: 256 }, (_, i) => {
    const x = (i / 255) * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(x)), f = x - k;
    return stops[k].map((v, j) => Math.round(v + f * (stops[k + 1][j] - v)));
  });
}

// One hue, darker is more; it starts visibly off white because white is kept for an exact zero.
const SEQUENTIAL = ramp(["#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"]);
// Blue for less, white for equal, orange for more: told apart with every common colour blindness.
const DIVERGING = ramp(["#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"]);
const WHITE = [255, 255, 255], BLANK = null;
const GROUP_COLOURS = ["#0072B2", "#999999", "#D55E00"];
const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;
const pick = (table, x) => table[Math.max(0, Math.min(255, Math.round(255 * x)))];

/** Relative luminance (WCAG) decides between dark and white figures on a cell. */
function inkOn(c) {
  const [r, g, b] = c.map((v) => ((v /= 255), v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111111" : "#ffffff";
}

/** Position of v > 0 on the colour scale, between 0 and 1. */
function onScale(v, top, mode, scale) {
  if (scale === "sqrt") return Math.sqrt(v / top);
  if (scale === "log") {
    const low = logFloor(top, mode);
    return Math.log10(v / low) / Math.log10(top / low);
  }
  return v / top;
}

/** Where a log scale begins: one sample, or a thousandth of the top. */
const logFloor = (top, mode) => (mode === null ? Math.min(1, top / 2) : top / 1000);

const PRIOR_LIMIT = 4; // log2: sixteen times more or less than prevalence alone would give

function cellColour(v, mode, scale, top) {
  if (Number.isNaN(v) || v === -Infinity) return BLANK;
  if (mode === "prior") return pick(DIVERGING, 0.5 + v / (2 * PRIOR_LIMIT));
  return v === 0 ? WHITE : pick(SEQUENTIAL, onScale(v, top, mode, scale));
}

function hatch(ctx) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const c = tile.getContext("2d");
  c.fillStyle = "#f1f1f1";
  c.fillRect(0, 0, 6, 6);
  c.strokeStyle = "#a8a8a8";
  for (const d of [-6, 0, 6]) {
    c.beginPath();
    c.moveTo(d - 1, 7);
    c.lineTo(d + 7, -1);
    c.stroke();
  }
  return ctx.createPattern(tile, "repeat");
}

// ------------------------------------------------------------------------------------------------ page parts

function make(tag, className, attributes = {}, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// JupyterLab takes keys in the capture phase; it leaves them only to the element that carries this attribute itself.
const KEYS_STAY = { "data-lm-suppress-shortcuts": "true" };

class Surface {
  constructor(parent, name, label, attributes = {}) {
    this.canvas = parent.appendChild(make("canvas", `pld-${name}`, { role: "img", "aria-label": label, ...attributes }));
    this.ctx = this.canvas.getContext("2d");
    this.hatch = hatch(this.ctx);
  }

  fit(w, h) {
    const dpr = window.devicePixelRatio || 1;
    Object.assign(this, { w, h, dpr });
    this.canvas.width = Math.round(w * dpr);
    this.canvas.height = Math.round(h * dpr);
    Object.assign(this.canvas.style, { width: `${w}px`, height: `${h}px` });
    this.ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    this.base = null;
  }

  /** What stays while epochs pass is painted once and copied under every frame. */
  paint(theme, draw) {
    const { ctx, canvas } = this;
    if (!this.base) {
      ctx.clearRect(0, 0, this.w, this.h);
      ctx.font = theme.font;
      draw(ctx);
      this.base = document.createElement("canvas");
      this.base.width = canvas.width;
      this.base.height = canvas.height;
      this.base.getContext("2d").drawImage(canvas, 0, 0);
    } else {
      ctx.save();
      ctx.setTransform(1, 0, 0, 1, 0, 0);
      ctx.clearRect(0, 0, canvas.width, canvas.height);
      ctx.drawImage(this.base, 0, 0);
      ctx.restore();
    }
    ctx.font = theme.font;
  }
}

function write(ctx, text, x, y, { align = "left", colour, bold = false, angle = 0, size = 11, room } = {}) {
  ctx.save();
  ctx.font = `${bold ? "600 " : ""}${size}px ${ctx.font.slice(ctx.font.indexOf("px ") + 3)}`;
  if (room !== undefined && ctx.measureText(text).width > room) {
    while (text.length > 1 && ctx.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    text += "…";
  }
  ctx.translate(x, y);
  ctx.rotate(angle);
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  if (colour) ctx.fillStyle = colour;
  ctx.fillText(text, 0, 0);
  ctx.restore();
}

/** Round tick values for about n ticks over a list of epochs, as [index, label]. */
function epochTicks(epochs, n) {
  const span = epochs[epochs.length - 1] - epochs[0] || 1, raw = span / Math.max(1, n), power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw));
  const ticks = [];
  for (let v = Math.ceil(epochs[0] / step) * step; v <= epochs[epochs.length - 1]; v += step) {
    const i = epochs.findIndex((e) => e >= v);
    if (!ticks.length || i > ticks[ticks.length - 1][0]) ticks.push([i, String(epochs[i])]);
  }
  return ticks;
}

/** An image of rows x columns colours (BLANK = undefined), enlarged without smoothing, with hatching over what is undefined. */
function mosaic(ctx, surface, colours, rows, columns, x, y, w, h) {
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const image = new ImageData(columns, rows);
  const undefinedRuns = [];
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = 0, start = -1; c < columns; c++, i++) {
      const colour = colours[i];
      if (colour) image.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
      if (colour === BLANK && start < 0) start = c;
      if (start >= 0 && (colour !== BLANK || c === columns - 1)) {
        undefinedRuns.push([r, start, colour === BLANK ? c + 1 : c]);
        start = -1;
      }
    }
  small.getContext("2d").putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, x, y, w, h);
  if (!undefinedRuns.length) return;
  ctx.beginPath();
  for (const [r, a, b] of undefinedRuns) ctx.rect(x + (a * w) / columns, y + (r * h) / rows, ((b - a) * w) / columns, h / rows);
  ctx.fillStyle = surface.hatch;
  ctx.fill();
}

// ------------------------------------------------------------------------------------------------ panels

const METRICS = {
  recall: { label: "recall", say: "recall: share of a class's samples that carry its label" },
  precision: { label: "precision", say: "precision: share of a label's bearers that truly belong to the class" },
  ratio: { label: "log2(labels / true)", say: "log2(labels given / true count): above 0 the class receives too many" },
};

/** Classes (rows, head to tail) by epochs (columns). */
class Carpet extends Surface {
  constructor(parent, view) {
    super(parent, "carpet", "classes by epochs");
    this.view = view;
    view.scrubbable(this);
  }

  layout(w, h) {
    this.fit(w, h);
    const { K, names, theme } = this.view;
    this.ctx.font = theme.font;
    const label = K <= 30 ? Math.min(84, Math.max(...names.map((n) => this.ctx.measureText(n).width))) + 6 : 0;
    Object.assign(this, { left: 24 + label, top: 22, plotW: w - 24 - label - 8, plotH: h - 22 - 32 });
  }

  colours(slot) {
    const { view } = this, { K, meta, timeline } = view, { counts } = slot, metric = view.state.metric;
    const columns = Math.min(timeline.length, Math.max(1, Math.round(this.plotW * this.dpr)));
    const colours = new Array(K * columns);
    const top = view.ratioLimit();
    for (let x = 0; x < columns; x++) {
      // Several epochs share a pixel column when there are more epochs than pixels: their counts are added before the ratio is formed.
      const from = Math.floor((x * timeline.length) / columns), to = Math.max(from + 1, Math.floor(((x + 1) * timeline.length) / columns));
      const members = [];
      for (let i = from; i < to; i++) if (slot.exact[i] >= 0) members.push(slot.exact[i]);
      meta.order.forEach((c, row) => {
        let hits = 0, nTrue = 0, nPred = 0;
        for (const e of members) {
          hits += counts.hits[e * K + c];
          nTrue += counts.nTrue[e * K + c];
          nPred += counts.nPred[e * K + c];
        }
        let colour;
        if (members.length) {
          if (metric === "ratio") {
            const v = nTrue ? Math.log2(nPred / nTrue) : NaN;
            colour = Number.isNaN(v) ? BLANK : pick(DIVERGING, 0.5 + v / (2 * top));
          } else {
            const v = metric === "recall" ? ratio(hits, nTrue) : ratio(hits, nPred);
            colour = Number.isNaN(v) ? BLANK : v === 0 ? WHITE : pick(SEQUENTIAL, v);
          }
        }
        colours[row * columns + x] = colour;
      });
    }
    return [colours, columns];
  }

  draw(slot, index) {
    const { view, left, top, plotW, plotH } = this, { K, theme, meta, timeline } = view;
    this.paint(theme, (ctx) => {
      write(ctx, `${slot.letter ? `${slot.letter}  ` : ""}${METRICS[view.state.metric].label} of each class, epoch by epoch`, left, 9, { bold: true, colour: theme.ink, size: 12, room: plotW });
      const [colours, columns] = this.colours(slot);
      mosaic(ctx, this, colours, K, columns, left, top, plotW, plotH);
      const row = plotH / K;
      view.groupEdges((from, to, group, colour, last) => {
        ctx.fillStyle = colour;
        ctx.fillRect(left - 5, top + from * row, 4, (to - from) * row - 0.5);
        write(ctx, group.name, 8, top + ((from + to) / 2) * row, { align: "center", colour: theme.soft, angle: -Math.PI / 2, room: (to - from) * row });
        if (!last) {
          ctx.fillStyle = theme.edge;
          ctx.fillRect(left, top + to * row - 0.75, plotW, 1.5);
        }
      });
      if (K <= 30) meta.order.forEach((c, r) => write(ctx, view.names[c], left - 9, top + (r + 0.5) * row, { align: "right", colour: theme.ink, room: left - 26, size: Math.min(11, row - 1) }));
      ctx.strokeStyle = theme.line;
      ctx.strokeRect(left - 0.5, top - 0.5, plotW + 1, plotH + 1);
      for (const [i, label] of epochTicks(timeline, plotW / 70)) {
        const x = left + ((i + 0.5) / timeline.length) * plotW;
        ctx.fillStyle = theme.line;
        ctx.fillRect(x, top + plotH, 1, 4);
        write(ctx, label, x, top + plotH + 11, { align: "center", colour: theme.soft });
      }
      write(ctx, "epoch", left + plotW / 2, top + plotH + 25, { align: "center", colour: theme.soft });
    });
    const { ctx } = this, x = left + ((index + 0.5) / timeline.length) * plotW;
    ctx.fillStyle = "#ffffff";
    ctx.fillRect(x - 1.75, top - 3, 3.5, plotH + 6);
    ctx.fillStyle = "#111111";
    ctx.fillRect(x - 0.75, top - 4, 1.5, plotH + 8);
  }
}

/** Balanced accuracy, tail recall and tail share over all epochs; A solid, B dashed. */
class Overview extends Surface {
  constructor(parent, view) {
    super(parent, "overview", "balanced accuracy, tail recall and tail labels per true tail sample, over epochs");
    this.view = view;
    view.scrubbable(this);
  }

  layout(w) {
    const high = 74, low = 38, left = 46, right = 150;
    this.fit(w, high + low + 26);
    Object.assign(this, { left, top: 8, high, low, lowTop: high + 18, plotW: w - left - right });
  }

  series() {
    const tail = this.view.meta.groups.at(-1).classes;
    return this.view.slots.map(({ counts, exact, letter }, s) => {
      const over = (f) => exact.map((e) => (e < 0 ? NaN : f(e)));
      return {
        dash: s ? [5, 3] : [],
        letter,
        balanced: over((e) => counts.balancedAccuracy(e)),
        tail: over((e) => counts.groupRecall(e, tail)),
        share: over((e) => counts.groupRatio(e, tail)),
      };
    });
  }

  draw(index) {
    const { view, left, top, high, low, lowTop, plotW } = this, { theme, timeline } = view, n = timeline.length;
    const x = (i) => left + ((i + 0.5) / n) * plotW, upper = (v) => top + high * (1 - v);
    this.paint(theme, (ctx) => {
      const lines = (this.lines = this.series());
      const finite = lines.flatMap((l) => l.share).filter((v) => v > 0 && Number.isFinite(v)).map((v) => Math.abs(Math.log2(v)));
      this.span = Math.max(1, Math.min(6, Math.ceil(finite.reduce((a, b) => Math.max(a, b), 0))));
      const colour = [theme.blue, theme.orange];
      for (const v of [0, 0.5, 1]) {
        ctx.fillStyle = theme.line;
        ctx.fillRect(left, upper(v) - 0.5, plotW, 1);
        write(ctx, `${100 * v}`, left - 6, upper(v), { align: "right", colour: theme.soft, size: 10 });
      }
      write(ctx, "%", 12, upper(0.5), { colour: theme.soft });
      for (const v of [-this.span, 0, this.span]) {
        ctx.fillStyle = theme.line;
        ctx.fillRect(left, this.lower(2 ** v) - 0.5, plotW, 1);
        write(ctx, v < 0 ? `1/${2 ** -v}` : `${2 ** v}`, left - 6, this.lower(2 ** v), { align: "right", colour: theme.soft, size: 10 });
      }
      const stroke = (values, y, c, dash) => {
        ctx.strokeStyle = c;
        ctx.lineWidth = 1.75;
        ctx.setLineDash(dash);
        ctx.beginPath();
        let pen = false;
        values.forEach((v, i) => {
          if (Number.isNaN(v)) pen = false;
          else if (pen) ctx.lineTo(x(i), y(v));
          else ctx.moveTo(x(i), y(v)), ctx.lineTo(x(i) + 0.01, y(v)), (pen = true);
        });
        ctx.stroke();
        ctx.setLineDash([]);
        ctx.lineWidth = 1;
      };
      for (const l of lines) {
        stroke(l.balanced, upper, colour[0], l.dash);
        stroke(l.tail, upper, colour[1], l.dash);
        stroke(l.share, (v) => this.lower(v), colour[1], l.dash);
      }
      const key = left + plotW + 12;
      write(ctx, "balanced accuracy", key, top + 8, { colour: colour[0], bold: true });
      write(ctx, "tail recall", key, top + 24, { colour: colour[1], bold: true });
      if (lines.length > 1)
        lines.forEach((l, i) => {
          ctx.strokeStyle = theme.ink;
          ctx.lineWidth = 1.75;
          ctx.setLineDash(l.dash);
          ctx.beginPath();
          ctx.moveTo(key + 60 * i, top + 44);
          ctx.lineTo(key + 60 * i + 24, top + 44);
          ctx.stroke();
          ctx.setLineDash([]);
          ctx.lineWidth = 1;
          write(ctx, l.letter, key + 60 * i + 30, top + 44, { colour: theme.ink, bold: true });
        });
      write(ctx, "tail: labels given", key, lowTop + 11, { colour: colour[1], bold: true });
      write(ctx, "per true sample", key, lowTop + 26, { colour: colour[1], bold: true });
    });
    const { ctx } = this;
    ctx.fillStyle = theme.ink;
    ctx.fillRect(x(index) - 0.75, top - 4, 1.5, high + low + 18);
    for (const l of this.lines)
      for (const [v, y, c] of [[l.balanced[index], upper, theme.blue], [l.tail[index], upper, theme.orange], [l.share[index], (s) => this.lower(s), theme.orange]]) {
        if (Number.isNaN(v)) continue;
        ctx.beginPath();
        ctx.arc(x(index), y(v), 3.5, 0, 7);
        ctx.fillStyle = c;
        ctx.fill();
        ctx.strokeStyle = theme.paper;
        ctx.stroke();
      }
  }

  lower(v) {
    const u = Math.max(-this.span, Math.min(this.span, Math.log2(v)));
    return this.lowTop + this.low * (0.5 - u / (2 * this.span));
  }
}

/** The confusion matrix at the epoch, with n_true, n_pred, recall and precision in its margins. */
class Matrix extends Surface {
  constructor(parent, view, number) {
    super(parent, "matrix", "confusion matrix", { tabindex: "0", role: "application", "aria-roledescription": "confusion matrix", ...KEYS_STAY });
    this.view = view;
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => view.hover(this.hit(event), event, number));
    canvas.addEventListener("pointerleave", () => view.hover(null));
    canvas.addEventListener("click", (event) => {
      const cell = this.hit(event);
      if (cell) view.set("cell", cell);
    });
    canvas.addEventListener("blur", () => view.cursor(false));
  }

  layout(avail, tallest = Infinity) {
    const { K, names, theme } = this.view, small = K <= 30;
    this.ctx.font = theme.font;
    const widest = Math.max(...names.map((n) => this.ctx.measureText(n).width));
    const label = small ? Math.min(84, widest) + 6 : 18;
    const bars = small ? 40 : 34, recall = small ? 64 : 44;
    const left = 18 + label + bars + 7, top = 40 + 34 + 7;
    const columns = small ? 12 : 0;
    let cell = (avail - left - recall) / K;
    const slant = small && widest > cell - 4;
    const below = 6 + 26 + columns + (small ? (slant ? Math.min(84, widest) * 0.72 + 12 : 15) : 16) + 18;
    cell = Math.min(cell, (tallest - top - below) / K, 46);
    cell = K > 30 ? Math.max(1, Math.floor(cell * (window.devicePixelRatio || 1)) / (window.devicePixelRatio || 1)) : Math.max(8, Math.floor(cell));
    this.fit(left + K * cell + recall, top + K * cell + below);
    Object.assign(this, { left, top, cell, small, slant, label, bars, side: K * cell, recallW: recall });
  }

  hit(event) {
    const box = this.canvas.getBoundingClientRect(), { order } = this.view.meta;
    const col = Math.floor((event.clientX - box.left - this.left) / this.cell), row = Math.floor((event.clientY - box.top - this.top) / this.cell);
    return row >= 0 && col >= 0 && row < order.length && col < order.length ? [order[row], order[col]] : null;
  }

  draw(slot, index, focus) {
    const { ctx, view, left, top, cell, small, side } = this, { K, meta, theme, state, names } = view, { counts } = slot;
    const e = slot.shown[index], mode = state.normalize, mute = state.mute, limit = view.limit(), order = meta.order;
    const predicted = state.kind === "test" ? "prediction" : "pseudo-label";
    ctx.clearRect(0, 0, this.w, this.h);
    ctx.font = theme.font;
    const late = slot.epochs[e] !== view.timeline[index] ? ` (nearest recorded: ${slot.epochs[e]})` : "";
    write(ctx, `${slot.letter ? `${slot.letter}  ` : ""}epoch ${view.timeline[index]}${late}, n = ${grouped(counts.total[e])}`, left, 9, { bold: true, colour: theme.ink, size: 12, room: side + this.recallW });

    const colours = new Array(K * K);
    for (let r = 0, i = 0; r < K; r++)
      for (let c = 0; c < K; c++, i++) colours[i] = mute && r === c ? [224, 224, 224] : cellColour(counts.value(mode, e, order[r], order[c]), mode, state.scale, limit);
    mosaic(ctx, this, colours, K, K, left, top, side, side);
    if (small) {
      ctx.strokeStyle = "rgba(120,120,120,0.22)";
      ctx.beginPath();
      for (let k = 1; k < K; k++) {
        ctx.moveTo(left + k * cell, top), ctx.lineTo(left + k * cell, top + side);
        ctx.moveTo(left, top + k * cell), ctx.lineTo(left + side, top + k * cell);
      }
      ctx.stroke();
    }
    view.groupEdges((from, to, group, colour, last) => {
      ctx.fillStyle = colour;
      ctx.fillRect(left - 5, top + from * cell, 4, (to - from) * cell - 0.5);
      ctx.fillRect(left + from * cell, top - 5, (to - from) * cell - 0.5, 4);
      if (!last) {
        ctx.fillStyle = "#333333";
        ctx.fillRect(left, top + to * cell - 0.75, side, 1.5);
        ctx.fillRect(left + to * cell - 0.75, top, 1.5, side);
      }
      if (!small) {
        write(ctx, group.name, left - this.bars - 16, top + ((from + to) / 2) * cell, { align: "center", colour: theme.soft, angle: -Math.PI / 2, room: (to - from) * cell });
        write(ctx, group.name, left + ((from + to) / 2) * cell, top + side + 40, { align: "center", colour: theme.soft, room: (to - from) * cell });
      }
    });
    ctx.strokeStyle = theme.line;
    ctx.strokeRect(left - 0.5, top - 0.5, side + 1, side + 1);
    if (cell >= 22 && small) {
      const size = cell >= 32 ? 11 : 9;
      for (let r = 0, i = 0; r < K; r++)
        for (let c = 0; c < K; c++, i++) {
          if (!colours[i] || (mute && r === c)) continue;
          const v = counts.value(mode, e, order[r], order[c]);
          if (v === 0) continue;
          const text = mode === null ? compact(v) : mode === "prior" ? (v > 0 ? "+" : "") + v.toFixed(1) : mode === "all" || v < 0.01 ? (100 * v).toFixed(1) : (100 * v).toFixed(0);
          write(ctx, text, left + (c + 0.5) * cell, top + (r + 0.5) * cell + 0.5, { align: "center", colour: inkOn(colours[i]), size });
        }
    }
    this.margins(slot, e);
    if (small)
      order.forEach((c, k) => {
        write(ctx, names[c], left - this.bars - 11, top + (k + 0.5) * cell, { align: "right", colour: theme.ink, room: this.label - 6, size: Math.min(11, cell) });
        const y = top + side + 6 + 26 + 12 + 7;
        if (this.slant) write(ctx, names[c], left + (k + 0.5) * cell + 3, y - 3, { align: "right", colour: theme.ink, angle: -Math.PI / 4, room: 80 });
        else write(ctx, names[c], left + (k + 0.5) * cell, y, { align: "center", colour: theme.ink, room: cell });
      });
    write(ctx, "true class (rows)", 8, top + side / 2, { align: "center", colour: theme.soft, angle: -Math.PI / 2 });
    write(ctx, `${predicted} (columns)`, left + side / 2, this.h - 8, { align: "center", colour: theme.soft });
    if (focus) this.outline(focus);
  }

  margins(slot, e) {
    const { ctx, view, left, top, cell, side, bars, small, recallW } = this, { K, meta, theme } = view, { counts } = slot;
    const longest = Math.log10(1 + view.longestMargin());
    const gap = small ? 2 : 0, bottom = top + side + 6, barW = small ? 34 : recallW - 8;
    meta.order.forEach((c, k) => {
      const at = e * K + c, mid = (k + 0.5) * cell, nTrue = counts.nTrue[at], nPred = counts.nPred[at];
      const across = (Math.log10(1 + nTrue) / longest) * bars, up = (Math.log10(1 + nPred) / longest) * 34;
      ctx.fillStyle = theme.bar;
      ctx.fillRect(left - 7 - across, top + k * cell + gap, across, cell - 2 * gap);
      ctx.fillRect(left + k * cell + gap, top - 7 - up, cell - 2 * gap, up);
      if (small) {
        write(ctx, compact(nTrue), left - 9, top + mid, { align: "right", colour: theme.ink, size: 10 });
        if (cell >= 24) write(ctx, compact(nPred), left + mid, top - 13, { align: "center", colour: theme.ink, size: 10 });
      }
      const recall = counts.recall(e, c), precision = counts.precision(e, c);
      ctx.fillStyle = Number.isNaN(recall) ? this.hatch : theme.rate;
      ctx.fillRect(left + side + 5, top + k * cell + gap, Number.isNaN(recall) ? barW : barW * recall, cell - 2 * gap);
      ctx.fillStyle = Number.isNaN(precision) ? this.hatch : theme.rate;
      ctx.fillRect(left + k * cell + gap, bottom, cell - 2 * gap, Number.isNaN(precision) ? 26 : 26 * precision);
      ctx.fillStyle = theme.ink;
      const [rl, rh] = wilson(counts.hits[at], nTrue), [pl, ph] = wilson(counts.hits[at], nPred), thin = small ? 1.5 : 0.75;
      if (!Number.isNaN(rl)) ctx.fillRect(left + side + 5 + barW * rl, top + mid - thin / 2, barW * (rh - rl), thin);
      if (!Number.isNaN(pl)) ctx.fillRect(left + mid - thin / 2, bottom + 26 * pl, thin, 26 * (ph - pl));
      if (small) {
        write(ctx, Number.isNaN(recall) ? "–" : (100 * recall).toFixed(0), left + side + recallW - 2, top + mid, { align: "right", colour: theme.ink, size: 10 });
        if (cell >= 16) write(ctx, Number.isNaN(precision) ? "–" : (100 * precision).toFixed(0), left + mid, bottom + 33, { align: "center", colour: theme.ink, size: 10 });
      }
    });
    write(ctx, "n true", left - 7, top - 14, { align: "right", colour: theme.soft, size: 10 });
    write(ctx, "n predicted", left - 7, top - 36, { align: "right", colour: theme.soft, size: 10 });
    write(ctx, "recall %", left + side + 5, top - 7, { colour: theme.soft, size: 10 });
    write(ctx, "precision %", left - 7, bottom + 13, { align: "right", colour: theme.soft, size: 10 });
  }

  outline([t, p]) {
    const { ctx, view, left, top, cell, side, small } = this, { order } = view.meta, { theme, names } = view;
    const x = left + order.indexOf(p) * cell, y = top + order.indexOf(t) * cell;
    ctx.fillStyle = "rgba(0,0,0,0.28)";
    if (!small) {
      ctx.fillRect(left, y + cell / 2 - 0.5, side, 1);
      ctx.fillRect(x + cell / 2 - 0.5, top, 1, side);
      for (const [text, tx, ty, align] of [[names[t], left - 8, y + cell / 2, "right"], [names[p], x + cell / 2, top + side + 12, "center"]]) {
        const w = Math.min(110, ctx.measureText(text).width) + 8, from = align === "right" ? tx - w + 4 : tx - w / 2;
        ctx.fillStyle = theme.paper;
        ctx.fillRect(from, ty - 8, w, 16);
        ctx.strokeStyle = theme.line;
        ctx.strokeRect(from, ty - 8, w, 16);
        write(ctx, text, tx, ty, { align, colour: theme.ink, room: 110 });
      }
    }
    ctx.strokeStyle = "#ffffff";
    ctx.lineWidth = 4;
    ctx.strokeRect(x, y, cell, cell);
    ctx.strokeStyle = "#111111";
    ctx.lineWidth = 2;
    ctx.strokeRect(x, y, cell, cell);
    ctx.lineWidth = 1;
  }
}

/** A colour bar that says in words what it measures, beside white (zero) and hatching (undefined). */
class Legend extends Surface {
  draw(view, { table, title, low, high, middle, zero, hatched, swatch }, w) {
    this.fit(w, 46);
    const { ctx } = this, { theme } = view, length = Math.min(190, w * 0.42);
    ctx.font = theme.font;
    write(ctx, title, 8, 8, { colour: theme.ink, room: w - 10 });
    for (let i = 0; i < length; i++) {
      ctx.fillStyle = css(pick(table, i / length));
      ctx.fillRect(8 + i, 18, 1.5, 11);
    }
    ctx.strokeStyle = theme.line;
    ctx.strokeRect(7.5, 17.5, length + 1, 12);
    write(ctx, low, 8, 38, { colour: theme.soft, size: 10 });
    if (middle) write(ctx, middle, 8 + length / 2, 38, { align: "center", colour: theme.soft, size: 10 });
    write(ctx, high, 8 + length, 38, { align: "right", colour: theme.soft, size: 10 });
    let x = length + 24;
    for (const [text, fill] of [[zero, "#ffffff"], [hatched, this.hatch], ...(swatch ? [swatch] : [])]) {
      if (!text) continue;
      ctx.fillStyle = fill;
      ctx.fillRect(x, 18, 16, 11);
      ctx.strokeRect(x - 0.5, 17.5, 17, 12);
      write(ctx, text, x + 22, 24, { colour: theme.soft, size: 10 });
      x += 34 + ctx.measureText(text).width;
    }
  }
}

// ------------------------------------------------------------------------------------------------ the explorer

const STATE = ["epoch", "kind", "split", "metric", "normalize", "scale", "cell", "swapped", "mute", "speed"];
const KINDS = ["visits", "sweep", "test"];
const SPLITS = ["all", "accepted", "rejected"];
const MODES = [[null, "count"], ["true", "by true (rows = recall)"], ["pred", "by predicted (columns = precision)"], ["all", "joint (share of all)"], ["prior", "versus prior (log2)"]];
const SCALES = ["linear", "sqrt", "log"];
const SPEEDS = [1, 2, 5, 10, 30];
const SYNC_MS = 100; // the kernel hears of a change at most this often, and always of the last one
const HELP = [
  ["← →", "one epoch back, forward"], ["Shift + ← →", "ten epochs"], ["Home End", "first, last epoch"], ["Space", "play, pause"], [", .", "slower, faster"],
  ["1 2 3 4 5", "cells: count, by true, by predicted, joint, versus prior"], ["s", "colour scale: linear, square root, log"], ["c", "carpet: recall, precision, labels/true"],
  ["m", "mute the diagonal"], ["x", "swap the two runs"], ["Enter", "in the matrix: move a cell cursor with the arrow keys"], ["Esc", "leave the cursor, then the explorer"], ["?", "this list"],
];

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.cleanups = [];
    this.cache = new Map();
    this.state = Object.fromEntries(STATE.map((k) => [k, model.get(k)]));
    this.pending = new Set();
    this.frame = 0;
    this.playing = false;
    this.busy = 0;
    this.build(el);
    this.adopt();
    for (const key of STATE) this.listen(model, `change:${key}`, () => this.receive(key));
    this.listen(model, "change:meta", () => (this.cache.clear(), this.adopt()));
    const resize = new ResizeObserver(() => this.relayout());
    resize.observe(this.root);
    const theme = new MutationObserver(() => this.relayout(true));
    for (const node of [document.documentElement, document.body])
      theme.observe(node, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"] });
    const dark = matchMedia("(prefers-color-scheme: dark)"), again = () => this.relayout(true), pause = () => document.hidden && this.play(false);
    dark.addEventListener("change", again);
    document.addEventListener("visibilitychange", pause);
    this.cleanups.push(() => resize.disconnect(), () => theme.disconnect(), () => dark.removeEventListener("change", again),
      () => document.removeEventListener("visibilitychange", pause), () => cancelAnimationFrame(this.frame), () => this.play(false), () => this.flush());
  }

  listen(model, name, f) {
    model.on(name, f);
    this.cleanups.push(() => model.off(name, f));
  }

  // ---- page

  build(el) {
    const root = (this.root = el.appendChild(make("div", "pldebias", { role: "group", "aria-label": "explorer of pseudo-labels over a training", tabindex: "-1", ...KEYS_STAY })));
    const bar = root.appendChild(make("div", "pld-bar"));
    this.titles = bar.appendChild(make("div", "pld-titles"));
    this.buttons = {};
    const group = (label) => bar.appendChild(make("span", "pld-group", { role: "group", "aria-label": label }));
    const field = (label, node) => {
      const wrap = bar.appendChild(make("label", "pld-field"));
      wrap.append(make("span", "", {}, label), node);
      return node;
    };
    for (const [key, options] of [["kind", KINDS], ["split", SPLITS]]) {
      const box = group(key === "kind" ? "which pseudo-labels the matrix counts" : "all, accepted or rejected pseudo-labels");
      for (const option of options) {
        const button = (this.buttons[option] = box.appendChild(this.button(option, () => this.choose(key, option))));
        button.addEventListener("focus", () => button.title && this.root.contains(button) && button.getAttribute("aria-disabled") === "true" && this.say(button.title));
      }
    }
    const choice = (label, key, options) => {
      const node = make("select", "", { "aria-label": label, ...KEYS_STAY });
      options.forEach(([value, text], i) => node.append(make("option", "", { value: i }, text)));
      node.addEventListener("change", () => this.set(key, options[node.value][0]));
      node.show = (value) => (node.value = options.findIndex(([v]) => v === value));
      return field(label, node);
    };
    this.selects = {
      metric: choice("carpet", "metric", Object.entries(METRICS).map(([k, m]) => [k, m.label])),
      normalize: choice("cells", "normalize", MODES),
      scale: choice("scale", "scale", SCALES.map((s) => [s, s === "sqrt" ? "square root" : s])),
    };
    this.counting = root.appendChild(make("div", "pld-counting"));
    this.overview = new Overview(root, this);

    this.slider = root.appendChild(make("input", "pld-slider", { type: "range", min: "0", step: "1", "aria-label": "epoch", ...KEYS_STAY }));
    this.slider.addEventListener("input", () => this.go(+this.slider.value));
    const transport = root.appendChild(make("div", "pld-transport"));
    const at = () => this.index;
    for (const [name, act] of [["first epoch", () => this.go(0)], ["previous epoch", () => this.go(at() - 1)], ["play", () => this.play(!this.playing)],
      ["next epoch", () => this.go(at() + 1)], ["last epoch", () => this.go(this.timeline.length - 1)]]) {
      const button = transport.appendChild(this.button("", act));
      button.append(icon(name));
      button.setAttribute("aria-label", name);
      button.title = name;
      if (name === "play") this.playButton = button;
    }
    this.readout = transport.appendChild(make("output", "pld-readout"));
    const speed = make("select", "", { "aria-label": "epochs per second", ...KEYS_STAY });
    SPEEDS.forEach((s) => speed.append(make("option", "", { value: s }, `${s} epochs/s`)));
    speed.addEventListener("change", () => this.set("speed", +speed.value));
    transport.append(speed);
    this.selects.speed = Object.assign(speed, { show: (v) => (speed.value = String(v)) });
    transport.append(this.button("keys ?", () => this.help()));

    this.panels = root.appendChild(make("div", "pld-panels"));
    this.slotNodes = [0, 1].map((i) => ({ carpet: new Carpet(this.panels, this), matrix: new Matrix(this.panels, this, i) }));
    this.carpetLegend = new Legend(this.panels, "carpet-legend", "colour bar of the carpet");
    this.matrixLegend = new Legend(this.panels, "matrix-legend", "colour bar of the matrix");
    this.status = root.appendChild(make("div", "pld-status", { role: "status", "aria-live": "polite" }));
    this.helpBox = root.appendChild(make("dl", "pld-help", { hidden: "" }));
    for (const [keys, text] of HELP) this.helpBox.append(make("dt", "", {}, keys), make("dd", "", {}, text));
    this.tip = root.appendChild(make("div", "pld-tip", { hidden: "", "aria-hidden": "true" }));
    root.addEventListener("keydown", (event) => this.key(event));
  }

  button(text, act) {
    const node = make("button", "", { type: "button", ...KEYS_STAY }, text);
    node.addEventListener("click", act);
    return node;
  }

  /** Pointer drags over a panel with epochs along x move the timeline. */
  scrubbable(panel) {
    const { canvas } = panel;
    const seek = (event) => {
      const x = event.clientX - canvas.getBoundingClientRect().left - panel.left;
      this.go(Math.floor((x / panel.plotW) * this.timeline.length));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.play(false);
      this.slider.focus({ preventScroll: true });
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && seek(event));
  }

  // ---- data

  /** Take over what Python sent: runs, their common timeline, what each has recorded. */
  adopt() {
    const meta = (this.meta = this.model.get("meta"));
    this.K = meta.classes.length;
    this.names = meta.classes;
    this.timeline = [...new Set(meta.runs.flatMap((r) => r.epochs))].sort((a, b) => a - b);
    this.slider.max = String(this.timeline.length - 1);
    this.load();
  }

  /** Why a kind or split cannot be shown, or "" if it can. */
  obstacle(kind, split) {
    for (const run of this.meta.runs) {
      if (run.missing[kind]) return run.missing[kind];
      if (!run.blocks[kind][split === "rejected" ? "accepted" : split])
        return kind === "test" ? "test predictions pass no threshold, so none is accepted or rejected" : `${run.name} did not record which ${kind} were accepted`;
    }
    return "";
  }

  async counts(r, kind, split) {
    const key = `${r}/${kind}/${split}`;
    if (!this.cache.has(key)) {
      const { K } = this;
      const cube = async (s) => {
        const [offset, length, type] = this.meta.runs[r].blocks[kind][s], data = this.model.get("data");
        const buffer = await inflate(new Uint8Array(data.buffer, data.byteOffset + offset, length));
        return type === "uint16" ? new Uint16Array(buffer) : new Uint32Array(buffer);
      };
      const work = async () => {
        if (split !== "rejected") return new Counts(await cube(split), K);
        const [all, accepted] = await Promise.all([cube("all"), cube("accepted")]);
        return new Counts(all.map((v, i) => v - accepted[i]), K);
      };
      this.cache.set(key, work());
    }
    return this.cache.get(key);
  }

  async load() {
    const ticket = ++this.busy, { kind, split } = this.state, { meta, timeline } = this;
    this.root.setAttribute("aria-busy", "true");
    const order = this.state.swapped && meta.runs.length > 1 ? [1, 0] : meta.runs.map((_, i) => i);
    let all;
    try {
      all = await Promise.all(order.map((r) => this.counts(r, kind, split)));
    } catch (error) {
      this.say(`The data could not be read: ${error.message}`);
      return;
    }
    if (ticket !== this.busy) return;
    this.slots = order.map((r, s) => {
      const run = meta.runs[r], index = new Map(run.epochs.map((e, i) => [e, i]));
      let last = 0;
      const exact = timeline.map((e) => index.get(e) ?? -1);
      // A run without this epoch shows the last one before it, and says so.
      const shown = exact.map((i) => (last = i < 0 ? last : i));
      return { ...this.slotNodes[s], run, counts: all[s], exact, shown, epochs: run.epochs, letter: meta.runs.length > 1 ? "AB"[s] : "" };
    });
    this.limits = null;
    this.root.removeAttribute("aria-busy");
    this.controls();
    this.relayout(true);
  }

  limit() {
    return Math.max(...this.slots.map((s) => s.counts.limit(this.state.normalize, this.state.mute))) || 1;
  }

  longestMargin() {
    return Math.max(...this.slots.map((s) => s.counts.maxMargin));
  }

  /** Symmetric limit of the log-ratio colours, the same for all epochs and both runs. */
  ratioLimit() {
    if (!this.limits) {
      let top = 1;
      for (const { counts } of this.slots)
        counts.nTrue.forEach((n, i) => {
          if (n && counts.nPred[i]) top = Math.max(top, Math.abs(Math.log2(counts.nPred[i] / n)));
        });
      this.limits = Math.min(5, Math.ceil(top));
    }
    return this.limits;
  }

  groupEdges(f) {
    let from = 0;
    this.meta.groups.forEach((group, i, all) => {
      if (group.classes.length) f(from, from + group.classes.length, group, GROUP_COLOURS[i % 3], i === all.length - 1);
      from += group.classes.length;
    });
  }

  // ---- state

  get index() {
    const i = this.timeline.findIndex((e) => e >= this.state.epoch);
    return i < 0 ? this.timeline.length - 1 : i;
  }

  /** Change one part of the state here, draw at once, and tell the kernel soon. */
  set(key, value) {
    if (JSON.stringify(this.state[key]) === JSON.stringify(value)) return;
    this.state[key] = value;
    this.pending.add(key);
    if (!this.timer) this.timer = setTimeout(() => this.flush(), Math.max(0, (this.sent ?? -Infinity) + SYNC_MS - performance.now()));
    this.changed(key);
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.pending.size) return;
    this.sent = performance.now();
    for (const key of this.pending) this.model.set(key, this.state[key]);
    this.pending.clear();
    this.model.save_changes();
  }

  receive(key) {
    const value = this.model.get(key);
    if (this.pending.has(key) || JSON.stringify(this.state[key]) === JSON.stringify(value)) return;
    this.state[key] = value;
    this.changed(key);
  }

  changed(key) {
    if (key === "kind" || key === "split" || key === "swapped") return this.load();
    if (key === "metric") for (const s of this.slots ?? []) s.carpet.base = null;
    if (key !== "epoch") this.controls();
    this.request();
  }

  go(i) {
    const last = this.timeline.length - 1;
    this.set("epoch", this.timeline[Math.max(0, Math.min(last, i))]);
    if (this.playing && i >= last) this.play(false);
  }

  choose(key, value) {
    const kind = key === "kind" ? value : this.state.kind, split = key === "split" ? value : this.state.split;
    let why = this.obstacle(kind, split);
    if (why && key === "kind" && !this.obstacle(kind, "all")) {
      this.set("split", "all");
      why = "";
    }
    if (why) this.say(why);
    else this.set(key, value);
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "pause" : "play");
    this.playButton.title = on ? "pause" : "play";
    // A screen reader would never finish reading thirty epochs a second.
    this.status.setAttribute("aria-live", on ? "off" : "polite");
    if (!on) return;
    if (this.index === this.timeline.length - 1) this.go(0);
    let before = performance.now(), owed = 0;
    const tick = (now) => {
      if (!this.playing) return;
      owed += (Math.min(now - before, 500) / 1000) * this.state.speed;
      before = now;
      const steps = Math.floor(owed);
      owed -= steps;
      if (steps) this.go(this.index + steps);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  key(event) {
    const { target } = event, name = event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (name === "Escape") {
      event.preventDefault();
      return this.leave();
    }
    if (target.tagName === "SELECT" || (target.tagName === "BUTTON" && (name === " " || name === "Enter"))) return;
    if (this.cursorOn && name.startsWith("Arrow")) this.moveCursor(name);
    else if (name === "Enter" && target.classList.contains("pld-matrix")) this.cursor(!this.cursorOn);
    else {
      const step = event.shiftKey ? 10 : 1, s = this.state;
      const next = (list, v, d = 1) => list[(list.indexOf(v) + d + list.length) % list.length];
      const actions = {
        ArrowLeft: () => this.go(this.index - step), ArrowRight: () => this.go(this.index + step), Home: () => this.go(0), End: () => this.go(this.timeline.length - 1),
        " ": () => this.play(!this.playing), ",": () => this.set("speed", SPEEDS[Math.max(0, SPEEDS.indexOf(s.speed) - 1)]),
        ".": () => this.set("speed", SPEEDS[Math.min(SPEEDS.length - 1, SPEEDS.indexOf(s.speed) + 1)]),
        s: () => this.set("scale", next(SCALES, s.scale)), c: () => this.set("metric", next(Object.keys(METRICS), s.metric)), m: () => this.set("mute", !s.mute),
        x: () => this.meta.runs.length > 1 && this.set("swapped", !s.swapped), "?": () => this.help(),
      };
      MODES.forEach(([mode], i) => (actions[String(i + 1)] = () => this.set("normalize", mode)));
      if (!Object.hasOwn(actions, name)) return;
      if (name.startsWith("Arrow") || name === "Home" || name === "End") this.play(false);
      actions[name]();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  leave() {
    if (!this.helpBox.hidden) return this.help();
    if (this.cursorOn) return this.cursor(false);
    this.play(false);
    document.activeElement?.blur();
    // JupyterLab listens for keys on the cell that holds this output.
    this.root.closest(".jp-Cell, .jp-Notebook")?.focus({ preventScroll: true });
  }

  help() {
    this.helpBox.hidden = !this.helpBox.hidden;
  }

  cursor(on) {
    if (Boolean(this.cursorOn) === on) return;
    this.cursorOn = on;
    this.root.classList.toggle("pld-cursor", on);
    if (on && !this.state.cell.length) this.set("cell", [this.meta.order[0], this.meta.order[0]]);
    this.request();
  }

  moveCursor(name) {
    const { order } = this.meta, [t, p] = this.state.cell.map((c) => order.indexOf(c)), clip = (v) => Math.max(0, Math.min(this.K - 1, v));
    const [dt, dp] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[name];
    this.set("cell", [order[clip(t + dt)], order[clip(p + dp)]]);
  }

  hover(cell, event, s) {
    if (JSON.stringify(cell) !== JSON.stringify(this.hovered)) {
      this.hovered = cell;
      this.request();
    }
    this.tip.hidden = !cell || !this.slots?.[s];
    if (this.tip.hidden) return;
    this.tipSlot = s;
    this.fillTip();
    const box = this.root.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    this.tip.style.left = `${x + 16 + this.tip.offsetWidth > box.width ? Math.max(0, x - this.tip.offsetWidth - 12) : x + 16}px`;
    this.tip.style.top = `${Math.max(0, y - this.tip.offsetHeight - 10)}px`;
  }

  fillTip() {
    const slot = this.slots[this.tipSlot], [t, p] = this.hovered, lines = this.cellLines(slot, t, p);
    this.tip.replaceChildren(make("b", "", {}, `${this.names[t]} → ${this.names[p]}`), ...lines.map((l) => make("div", "", {}, l)));
  }

  // ---- words

  cellLines(slot, t, p) {
    const { counts, shown } = slot, e = shown[this.index], at = e * this.K, c = counts.at(e, t, p), nt = counts.nTrue[at + t], np = counts.nPred[at + p];
    return [
      `count ${grouped(c)}`,
      `${percent(ratio(c, nt))} of true${interval(wilson(c, nt))} (n = ${grouped(nt)})`,
      `${percent(ratio(c, np))} of predicted${interval(wilson(c, np))} (n = ${grouped(np)})`,
      `${percent(ratio(c, counts.total[e]))} of all (n = ${grouped(counts.total[e])})`,
    ];
  }

  say(text) {
    this.status.textContent = text;
  }

  describe() {
    const { state, slots, meta, index } = this, cell = this.hovered ?? (state.cell.length ? state.cell : null);
    const head = `epoch ${this.timeline[index]}, ${state.kind}, ${state.split}`;
    const each = slots.map((slot) => {
      const name = `${slot.letter ? `${slot.letter} ` : ""}${slot.run.name}`, e = slot.shown[index], { counts } = slot;
      if (cell) return `${name}: ${this.cellLines(slot, ...cell).join(", ")}`;
      const groups = meta.groups.map((g) => `${g.name} ${percent(counts.groupRecall(e, g.classes))}`).join(", ");
      const share = counts.groupRatio(e, meta.groups.at(-1).classes);
      return `${name}: balanced accuracy ${percent(counts.balancedAccuracy(e))}; recall ${groups}; tail labels per true sample ${Number.isNaN(share) ? "undefined" : share.toFixed(2)}`;
    });
    const about = cell ? `: true ${this.names[cell[0]]} → ${state.kind === "test" ? "prediction" : "pseudo-label"} ${this.names[cell[1]]}. ` : ". ";
    return head + about + each.join(". ") + ".";
  }

  controls() {
    const { state, meta } = this;
    for (const key of ["metric", "normalize", "scale", "speed"]) this.selects[key].show(state[key]);
    this.selects.scale.disabled = state.normalize === "prior";
    for (const kind of KINDS) this.enable(this.buttons[kind], state.kind === kind, this.obstacle(kind, "all"), meta.kinds[kind]);
    for (const split of SPLITS) this.enable(this.buttons[split], state.split === split, this.obstacle(state.kind, split), meta.splits[split]);
    const order = state.swapped && meta.runs.length > 1 ? [1, 0] : meta.runs.map((_, i) => i);
    this.titles.replaceChildren();
    order.forEach((r, s) => {
      const title = this.titles.appendChild(make("span", `pld-title pld-run-${s}`));
      if (meta.runs.length > 1) title.append(make("b", "", {}, "AB"[s]), " ");
      title.append(make("span", "", {}, meta.runs[r].name));
      if (meta.runs.length > 1 && !s) this.titles.append(this.button("swap ⇄", () => this.set("swapped", !this.state.swapped)));
    });
    const notes = meta.runs.map((run) => run.note).filter(Boolean);
    this.counting.replaceChildren(make("b", "", {}, `Counted: ${state.kind}, ${state.split}. `),
      make("span", "", {}, [meta.kinds[state.kind], meta.splits[state.split], meta.rule, ...new Set(notes)].filter(Boolean).join(" ")));
  }

  enable(button, pressed, why, tip) {
    button.setAttribute("aria-pressed", String(pressed));
    if (why) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
    button.title = why || tip;
  }

  // ---- drawing

  request() {
    if (!this.frame) this.frame = requestAnimationFrame(() => ((this.frame = 0), this.draw()));
  }

  relayout(force) {
    const width = this.root.clientWidth;
    if (!this.slots || width < 40 || (!force && width === this.width)) return;
    this.width = width;
    const style = getComputedStyle(this.root), value = (name) => style.getPropertyValue(name).trim();
    this.theme = Object.fromEntries(["ink", "soft", "line", "edge", "paper", "bar", "rate", "blue", "orange"].map((n) => [n, value(`--pld-${n}`)]));
    this.theme.font = `11px ${style.fontFamily}`;
    const W = width - 2 * parseFloat(style.paddingLeft), gap = 14, two = this.slots.length > 1, narrow = W < (two ? 640 : 720), small = this.K <= 30;
    this.root.classList.toggle("pld-two", two);
    this.root.classList.toggle("pld-narrow", narrow);
    this.overview.layout(W);
    const step = this.overview.plotW / this.timeline.length;
    this.slider.style.marginLeft = `${this.overview.left + step / 2 - 8}px`; // the middle of the 16 px thumb lies under the epoch's rule
    this.slider.style.width = `${this.overview.plotW - step + 16}px`;
    const half = two && !narrow ? Math.floor((W - gap) / 2) : W;
    const matrixRoom = two || narrow ? half : Math.min(580, Math.max(400, Math.round(W * 0.5)));
    this.slotNodes.forEach(({ carpet, matrix }, s) => {
      carpet.canvas.hidden = matrix.canvas.hidden = s >= this.slots.length;
      if (s >= this.slots.length) return;
      matrix.layout(matrixRoom, narrow ? Infinity : small ? 600 : 720);
      if (two || narrow) carpet.layout(half, small ? 30 + this.K * 15 + 24 : 300);
      else carpet.layout(W - matrix.w - gap, matrix.h);
      for (const [node, name] of [[carpet, "carpet"], [matrix, "matrix"]]) node.canvas.setAttribute("aria-label", `${name} of ${this.slots[s].run.name}`);
    });
    this.draw();
  }

  legends() {
    const { state, slots } = this, single = slots.length === 1 && !this.root.classList.contains("pld-narrow"), W = this.overview.w;
    const lim = this.ratioLimit(), metric = METRICS[state.metric], carpetW = single ? slots[0].carpet.w : W, matrixW = single ? slots[0].matrix.w : W;
    this.carpetLegend.draw(this, state.metric === "ratio"
      ? { table: DIVERGING, title: metric.say, low: `≤ −${lim}`, middle: "0", high: `≥ ${lim}`, hatched: "no true sample" }
      : { table: SEQUENTIAL, title: metric.say, low: "> 0", high: "100 %", zero: "exactly 0", hatched: "undefined (0/0)" }, carpetW);
    const mode = state.normalize, top = this.limit(), show = (v) => (mode === null ? grouped(Math.round(v * 10) / 10) : `${+(100 * v).toPrecision(3)} %`);
    const title = { none: "count", true: "share of the true class (row)", pred: "share of the label's bearers (column)", all: "share of all" }[mode ?? "none"];
    const mute = state.mute ? ["diagonal muted", "#e0e0e0"] : null;
    this.matrixLegend.draw(this, mode === "prior"
      ? { table: DIVERGING, title: "log2(count / count expected from the margins alone)", low: `≤ −${PRIOR_LIMIT}`, middle: "0", high: `≥ ${PRIOR_LIMIT}`, hatched: "no count", swatch: mute }
      : { table: SEQUENTIAL, title: `${title}, ${state.scale === "sqrt" ? "square-root" : state.scale} scale`, low: state.scale === "log" ? `≤ ${show(logFloor(top, mode))}` : "> 0", high: show(top),
        zero: "exactly 0", hatched: "undefined (0/0)", swatch: mute }, matrixW);
  }

  draw() {
    if (!this.slots || !this.theme) return;
    const began = performance.now(), { index, state, root } = this;
    this.slider.value = String(index);
    const lead = this.slots[0], iteration = lead.run.iterations[lead.shown[index]];
    const when = `epoch ${this.timeline[index]} of ${this.timeline.at(-1)}${iteration === undefined ? "" : `, iteration ${grouped(iteration)}`}`;
    this.slider.setAttribute("aria-valuetext", when);
    this.readout.textContent = when;
    this.overview.draw(index);
    const focus = this.hovered ?? (state.cell.length ? state.cell : null);
    for (const slot of this.slots) {
      slot.carpet.draw(slot, index);
      slot.matrix.draw(slot, index, focus);
    }
    this.legends();
    if (this.hovered && !this.tip.hidden) this.fillTip();
    this.say(this.describe());
    root.dataset.epoch = this.timeline[index];
    root.dataset.drawMs = (performance.now() - began).toFixed(2);
  }
}

/** Transport signs as paths: emoji fonts would draw them as coloured tiles. */
function icon(name) {
  const shapes = { "first epoch": "M3 3h2v10H3zM13 3v10L6 8z", "previous epoch": "M11 3v10L4 8z", play: "M4 2v12l10-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z", "next epoch": "M5 3v10l7-5z", "last epoch": "M11 3h2v10h-2zM3 3v10l7-5z" };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", shapes[name]);
  svg.append(path);
  return svg;
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.cleanups.forEach((f) => f());
}

export default { render };
