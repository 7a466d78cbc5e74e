import { fill, frame, mosaic, note, Surface, write } from "../core/surface.js";
import { BLANK, css, DIVERGING, GROUP_COLOURS, inkOn, pick, SEQUENTIAL, WHITE } from "../core/theme.js";
import { compact, fixed, grouped, points, sign } from "../stats/format.js";
import { abs, floor, log10, max, min, round, wilson } from "../stats/intervals.js";

const PALE = 0.3; // what is left of a colour whose difference may be chance
/** @type {Colour} */
const MUTED = [224, 224, 224];
export const PRIOR_LIMIT = 4; // log2: sixteen times more or less than prevalence alone would give

/** Where a log scale begins: one sample, or a thousandth of the top. @param {number} top @param {Mode} mode */
export const logFloor = (top, mode) => (mode === null ? min(1, top / 2) : top / 1000);

/** Position of v > 0 on the colour scale, between 0 and 1. @param {number} v @param {number} top @param {Mode} mode @param {Scale} scale */
export function onScale(v, top, mode, scale) {
  if (scale === "sqrt") return Math.sqrt(v / top);
  if (scale !== "log") return v / top;
  const low = logFloor(top, mode);
  return log10(v / low) / log10(top / low);
}

/** @param {number} v @param {Mode} mode @param {Scale} scale @param {number} top @returns {Colour | null} */
export function cellColour(v, mode, scale, top) {
  if (isNaN(v) || v === -Infinity) return BLANK;
  if (mode === "prior") return pick(DIVERGING, 0.5 + v / (2 * PRIOR_LIMIT));
  return v === 0 ? WHITE : pick(SEQUENTIAL, onScale(v, top, mode, scale));
}

/**
 * The colour of A - B, pale where it may be chance.
 * @param {number} v @param {number} limit @param {boolean} noise @returns {Colour | null}
 */
export function gapColour(v, limit, noise) {
  if (isNaN(v)) return BLANK;
  const full = pick(DIVERGING, 0.5 + v / (2 * limit));
  const [r, g, b] = full.map((c) => round(255 - PALE * (255 - c)));
  return noise ? [r, g, b] : full;
}

/**
 * What a cell says: percent, a count or log2; in points with its sign where it is a difference.
 * @param {number} v @param {Mode} mode @param {boolean} difference
 */
export function cellText(v, mode, difference) {
  if (mode === "prior") return Number.isFinite(v) ? sign(v) + fixed(abs(v), 1) : "none";
  if (difference) return sign(v) + (mode === null ? compact(abs(v)) : fixed(100 * abs(v), mode === "all" || abs(v) < 0.01 ? 1 : 0));
  return mode === null ? compact(v) : fixed(100 * v, mode === "all" || v < 0.01 ? 1 : 0);
}

/** The confusion matrix at the epoch, or A - B, with n_true, n_pred, recall and precision in its margins. */
export class Matrix extends Surface {
  left = 0;
  top = 0;
  cell = 1;
  side = 1;
  label = 0;
  bars = 0;
  recallW = 0;
  small = true;
  slant = false;

  /** @param {HTMLElement} parent @param {Stage} stage @param {number} number */
  constructor(parent, stage, number) {
    const role = { tabindex: "0", role: "application", "aria-roledescription": "confusion matrix" };
    super(parent, "matrix", "confusion matrix", role);
    this.stage = stage;
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => stage.hover(this.hit(event), event, number));
    canvas.addEventListener("pointerleave", () => stage.hover(null));
    canvas.addEventListener("click", (event) => {
      const cell = this.hit(event);
      if (cell) stage.choose(cell, number);
    });
    canvas.addEventListener("blur", () => stage.cursor(false));
  }

  /** @param {number} avail @param {number} tallest */
  layout(avail, tallest = Infinity) {
    const { scene, theme } = this.stage;
    const { K, names } = scene;
    this.small = K <= 30;
    this.ctx.font = theme.font;
    const widest = max(...names.map((n) => this.ctx.measureText(n).width));
    this.label = this.small ? min(84, widest) + 6 : 18;
    this.bars = this.small ? 40 : 34;
    this.recallW = this.small ? 64 : 44;
    this.left = 18 + this.label + this.bars + 7;
    this.top = 40 + 34 + 7;
    let cell = (avail - this.left - this.recallW) / K;
    this.slant = this.small && widest > cell - 4;
    const labels = this.slant ? min(84, widest) * 0.72 + 12 : 15;
    const below = 6 + 26 + (this.small ? 12 + labels : 16) + 18;
    cell = min(cell, (tallest - this.top - below) / K, K < 5 ? 90 : 46);
    const dpr = window.devicePixelRatio || 1;
    this.cell = this.small ? max(8, floor(cell)) : max(1, floor(cell * dpr) / dpr);
    this.side = K * this.cell;
    this.fit(this.left + this.side + this.recallW, this.top + this.side + below);
  }

  /** @param {MouseEvent} event @returns {Cell | null} */
  hit(event) {
    const box = this.canvas.getBoundingClientRect();
    const { order } = this.stage.scene;
    const col = floor((event.clientX - box.left - this.left) / this.cell);
    const row = floor((event.clientY - box.top - this.top) / this.cell);
    return row >= 0 && col >= 0 && row < order.length && col < order.length ? [order[row], order[col]] : null;
  }

  /** @param {Slot} slot @param {number} index @param {Cell | null} focus */
  draw(slot, index, focus) {
    const { ctx, left, top, side, small } = this;
    const { scene, theme } = this.stage;
    const { state } = scene;
    ctx.clearRect(0, 0, this.w, this.h);
    ctx.font = theme.font;
    const late = scene.late(scene.difference ? scene.slots : [slot]);
    const title = `${scene.letter(slot)}epoch ${scene.timeline[index]}${late}, n = ${grouped(slot.counts.total[slot.shown[index]])}`;
    write(ctx, title, left, 9, { bold: true, colour: theme.ink, size: 12, room: side + this.recallW });
    const { colours, values } = this.cells(slot, index);
    mosaic(this, colours, scene.K, scene.K, left, top, side, side);
    this.grid();
    if (small && this.cell >= 22) this.figures(colours, values);
    this.marks();
    this.rates(slot, index);
    this.margins(slot, slot.shown[index]);
    if (small) this.names();
    const thing = state.collapse ? "group" : "class";
    const predicted = state.kind === "test" ? "prediction" : "pseudo-label";
    write(ctx, `true ${thing} (rows)`, 8, top + side / 2, { align: "center", colour: theme.soft, angle: -Math.PI / 2 });
    write(ctx, `${predicted} (columns)`, left + side / 2, this.h - 8, { align: "center", colour: theme.soft });
    if (focus) this.outline(focus);
  }

  /** Values and colours, row by row. @param {Slot} slot @param {number} index */
  cells(slot, index) {
    const { scene } = this.stage;
    const { K, order, state, difference } = scene;
    const limit = scene.limit();
    const values = new Float64Array(K * K);
    /** @type {(Colour | null)[]} */
    const colours = new Array(K * K);
    for (let r = 0, i = 0; r < K; r++)
      for (let c = 0; c < K; c++, i++) {
        const [t, p] = [order[r], order[c]];
        const v = scene.value(slot, index, t, p);
        values[i] = v;
        if (state.mute && r === c) colours[i] = MUTED;
        else if (difference) colours[i] = gapColour(v, limit, difference.noise(state.normalize, index, t, p));
        else colours[i] = cellColour(v, state.normalize, state.scale, limit);
      }
    return { colours, values };
  }

  grid() {
    const { ctx, left, top, cell, side, small } = this;
    const { scene, theme } = this.stage;
    if (small) {
      ctx.strokeStyle = "rgba(120,120,120,0.22)";
      ctx.beginPath();
      for (let k = 1; k < scene.K; k++) {
        ctx.moveTo(left + k * cell, top);
        ctx.lineTo(left + k * cell, top + side);
        ctx.moveTo(left, top + k * cell);
        ctx.lineTo(left + side, top + k * cell);
      }
      ctx.stroke();
    }
    scene.groupEdges((from, to, name, group, edge) => {
      const room = (to - from) * cell;
      fill(ctx, GROUP_COLOURS[group % 3], left - 5, top + from * cell, 4, room - 0.5);
      ctx.fillRect(left + from * cell, top - 5, room - 0.5, 4);
      if (edge) {
        fill(ctx, "#333333", left, top + to * cell - 0.75, side, 1.5);
        ctx.fillRect(left + to * cell - 0.75, top, 1.5, side);
      }
      if (small) return;
      const look = { align: /** @type {const} */ ("center"), colour: theme.soft, room };
      write(ctx, name, left - this.bars - 16, top + ((from + to) / 2) * cell, { ...look, angle: -Math.PI / 2 });
      write(ctx, name, left + ((from + to) / 2) * cell, top + side + 40, look);
    });
    frame(ctx, theme.line, left - 0.5, top - 0.5, side + 1, side + 1);
  }

  /** @param {(Colour | null)[]} colours @param {Float64Array} values */
  figures(colours, values) {
    const { ctx, left, top, cell } = this;
    const { K, state, difference } = this.stage.scene;
    const size = cell >= 32 ? 11 : 9;
    colours.forEach((colour, i) => {
      const [r, c] = [floor(i / K), i % K];
      if (!colour || (state.mute && r === c) || values[i] === 0) return;
      const text = cellText(values[i], state.normalize, Boolean(difference));
      write(ctx, text, left + (c + 0.5) * cell, top + (r + 0.5) * cell + 0.5, { align: "center", colour: inkOn(colour), size });
    });
  }

  names() {
    const { ctx, left, top, cell, side } = this;
    const { scene, theme } = this.stage;
    const y = top + side + 6 + 26 + 12 + 7;
    scene.order.forEach((c, k) => {
      const name = scene.names[c];
      const [x, colour] = [left + (k + 0.5) * cell, theme.ink];
      const row = { align: /** @type {const} */ ("right"), colour, room: this.label - 6, size: min(11, cell) };
      write(ctx, name, left - this.bars - 11, top + (k + 0.5) * cell, row);
      if (this.slant) write(ctx, name, x + 3, y - 3, { align: "right", colour, angle: -Math.PI / 4, room: 80 });
      else write(ctx, name, x, y, { align: "center", colour, room: cell });
    });
  }

  /** Cells of the samples that a linked view has chosen: a ring, larger with more of them. */
  marks() {
    const { ctx, left, top, cell } = this;
    const { scene, marked } = this.stage;
    const most = max(...marked.map((m) => m[2]));
    for (const [t, p, n] of marked) {
      const radius = max(2, (cell / 2) * Math.sqrt(n / most));
      ctx.beginPath();
      ctx.arc(left + (scene.place(p) + 0.5) * cell, top + (scene.place(t) + 0.5) * cell, radius, 0, 7);
      for (const [lineWidth, strokeStyle] of [
        [3.5, "#ffffff"],
        [1.75, "#111111"],
      ]) {
        Object.assign(ctx, { lineWidth, strokeStyle });
        ctx.stroke();
      }
    }
    ctx.lineWidth = 1;
  }

  /**
   * A bar beside row k (across) or under column k, between two shares of its length, with a number.
   * @param {boolean} across @param {number} k @param {number} from @param {number} to @param {string | CanvasPattern} colour
   * @param {string} text @param {number} thick
   */
  bar(across, k, from, to, colour, text, thick = this.cell - (this.small ? 4 : 0)) {
    const { ctx, left, top, cell, side, small, recallW } = this;
    const { theme } = this.stage;
    const mid = (k + 0.5) * cell;
    const [x, y] = [left + side + 5, top + side + 6];
    if (across) {
      const long = small ? 34 : recallW - 8;
      fill(ctx, colour, x + long * from, top + mid - thick / 2, long * (to - from), thick);
      if (small && text) note(ctx, theme, text, left + side + recallW - 2, top + mid, "right", theme.ink);
    } else {
      fill(ctx, colour, left + mid - thick / 2, y + 26 * from, thick, 26 * (to - from));
      if (small && text && cell >= 16) note(ctx, theme, text, left + mid, y + 33, "center", theme.ink);
    }
  }

  /**
   * Recall and precision with their intervals; of a difference, from the middle, where a full bar is the largest at any epoch.
   * @param {Slot} slot @param {number} index
   */
  rates(slot, index) {
    const { scene, theme } = this.stage;
    const { difference, order } = scene;
    const { counts } = slot;
    const e = slot.shown[index];
    for (const name of /** @type {const} */ (["recall", "precision"])) {
      const across = name === "recall";
      const totals = across ? counts.nTrue : counts.nPred;
      order.forEach((c, k) => {
        const v = difference ? difference.rate(name, index, c) : counts[name](e, c);
        if (isNaN(v)) return this.bar(across, k, 0, 1, this.hatch, "–");
        if (difference) {
          const length = ((across ? v : -v) / difference.rateLimit(name)) * 0.5;
          return this.bar(across, k, 0.5, 0.5 + length, css(pick(DIVERGING, v < 0 ? 0.22 : 0.78)), points(v, 0));
        }
        this.bar(across, k, 0, v, theme.rate, fixed(100 * v, 0));
        const [low, high] = wilson(counts.hits[e * counts.K + c], totals[e * counts.K + c]);
        return this.bar(across, k, low, high, theme.ink, "", this.small ? 1.5 : 0.75);
      });
    }
  }

  /** @param {Slot} slot @param {number} e */
  margins(slot, e) {
    const { ctx, left, top, cell, side, bars, small } = this;
    const { scene, theme } = this.stage;
    const { K, order, difference } = scene;
    const longest = log10(1 + scene.longestMargin());
    const gap = small ? 2 : 0;
    order.forEach((c, k) => {
      const mid = (k + 0.5) * cell;
      const [nTrue, nPred] = [slot.counts.nTrue[e * K + c], slot.counts.nPred[e * K + c]];
      const [across, up] = [(log10(1 + nTrue) / longest) * bars, (log10(1 + nPred) / longest) * 34];
      fill(ctx, theme.bar, left - 7 - across, top + k * cell + gap, across, cell - 2 * gap);
      fill(ctx, theme.bar, left + k * cell + gap, top - 7 - up, cell - 2 * gap, up);
      if (small) note(ctx, theme, compact(nTrue), left - 9, top + mid, "right", theme.ink);
      if (cell >= 24) note(ctx, theme, compact(nPred), left + mid, top - 13, "center", theme.ink);
    });
    note(ctx, theme, "n true", left - 7, top - 14, "right");
    note(ctx, theme, difference ? "n pred. of A" : "n predicted", left - 7, top - 36, "right");
    note(ctx, theme, difference ? "± recall" : "recall %", left + side + 5, top - 7);
    note(ctx, theme, difference ? "± precision" : "precision %", left - 7, top + side + 19, "right");
  }

  /** @param {Cell} cell */
  outline([t, p]) {
    const { ctx, left, top, cell, side, small } = this;
    const { scene, theme } = this.stage;
    const [x, y] = [left + scene.place(p) * cell, top + scene.place(t) * cell];
    /** @param {string} text @param {number} tx @param {number} ty @param {"right" | "center"} align */
    const tag = (text, tx, ty, align) => {
      const w = min(110, ctx.measureText(text).width) + 8;
      const from = align === "right" ? tx - w + 4 : tx - w / 2;
      fill(ctx, theme.paper, from, ty - 8, w, 16);
      frame(ctx, theme.line, from, ty - 8, w, 16);
      write(ctx, text, tx, ty, { align, colour: theme.ink, room: 110 });
    };
    if (!small) {
      fill(ctx, "rgba(0,0,0,0.28)", left, y + cell / 2 - 0.5, side, 1);
      fill(ctx, "rgba(0,0,0,0.28)", x + cell / 2 - 0.5, top, 1, side);
      tag(scene.names[t], left - 8, y + cell / 2, "right");
      tag(scene.names[p], x + cell / 2, top + side + 12, "center");
    }
    frame(ctx, "#ffffff", x, y, cell, cell, 4);
    frame(ctx, "#111111", x, y, cell, cell, 2);
  }
}
