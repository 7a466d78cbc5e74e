import { abs, compact, fixed, floor, grouped, log10, max, min, points, round, wilson } from "./numbers.js";
import { BLANK, DIVERGING, Surface, cellColour, css, fill, frame, inkOn, mosaic, note, pick, write } from "./paint.js";

const PALE = 0.3; // what is left of a colour whose difference may be chance

/** The confusion matrix at the epoch, or A - B, with n_true, n_pred, recall and precision in its margins. */
export class Matrix extends Surface {
  constructor(parent, view, number) {
    super(parent, "matrix", "confusion matrix", { tabindex: "0", role: "application", "aria-roledescription": "confusion matrix" });
    this.view = view;
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => view.hover(this.hit(event), event, number));
    canvas.addEventListener("pointerleave", () => view.hover(null));
    canvas.addEventListener("click", (event) => {
      const cell = this.hit(event);
      if (cell) view.choose(cell, number);
    });
    canvas.addEventListener("blur", () => view.cursor(false));
  }

  layout(avail, tallest = Infinity) {
    const { K, names, theme } = this.view, small = K <= 30;
    this.ctx.font = theme.font;
    const widest = max(...names.map((n) => this.ctx.measureText(n).width));
    const label = small ? min(84, widest) + 6 : 18;
    const bars = small ? 40 : 34, recall = small ? 64 : 44;
    const left = 18 + label + bars + 7, top = 40 + 34 + 7;
    const columns = small ? 12 : 0;
    let cell = (avail - left - recall) / K;
    const slant = small && widest > cell - 4;
    const below = 6 + 26 + columns + (small ? (slant ? min(84, widest) * 0.72 + 12 : 15) : 16) + 18;
    cell = min(cell, (tallest - top - below) / K, K < 5 ? 90 : 46);
    cell = K > 30 ? max(1, floor(cell * (window.devicePixelRatio || 1)) / (window.devicePixelRatio || 1)) : max(8, floor(cell));
    this.fit(left + K * cell + recall, top + K * cell + below);
    Object.assign(this, { left, top, cell, small, slant, label, bars, side: K * cell, recallW: recall });
  }

  hit(event) {
    const box = this.canvas.getBoundingClientRect(), { order } = this.view;
    const col = floor((event.clientX - box.left - this.left) / this.cell), row = floor((event.clientY - box.top - this.top) / this.cell);
    return row >= 0 && col >= 0 && row < order.length && col < order.length ? [order[row], order[col]] : null;
  }

  colour(v, index, t, p, limit) {
    const { view } = this, { normalize, scale } = view.state;
    if (!view.difference) return cellColour(v, normalize, scale, limit);
    if (isNaN(v)) return BLANK;
    const full = pick(DIVERGING, 0.5 + v / (2 * limit));
    return view.difference.noise(normalize, index, t, p) ? full.map((c) => round(255 - PALE * (255 - c))) : full;
  }

  draw(slot, index, focus) {
    const { ctx, view, left, top, cell, small, side } = this, { K, order, theme, state, names, difference } = view, { counts } = slot;
    const e = slot.shown[index], mode = state.normalize, mute = state.mute, limit = view.limit();
    const predicted = state.kind === "test" ? "prediction" : "pseudo-label", thing = state.collapse ? "group" : "class";
    ctx.clearRect(0, 0, this.w, this.h);
    ctx.font = theme.font;
    const late = view.late(...(difference ? view.slots : [slot]));
    write(ctx, `${view.letter(slot)}epoch ${view.timeline[index]}${late}, n = ${grouped(counts.total[e])}`, left, 9, { bold: true, colour: theme.ink, size: 12, room: side + this.recallW });

    const colours = new Array(K * K), values = new Float64Array(K * K);
    for (let r = 0, i = 0; r < K; r++)
      for (let c = 0; c < K; c++, i++) {
        values[i] = view.value(slot, index, order[r], order[c]);
        colours[i] = mute && r === c ? [224, 224, 224] : this.colour(values[i], index, order[r], order[c], limit);
      }
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
    view.groupEdges((from, to, name, colour, edge) => {
      fill(ctx, colour, left - 5, top + from * cell, 4, (to - from) * cell - 0.5);
      ctx.fillRect(left + from * cell, top - 5, (to - from) * cell - 0.5, 4);
      if (edge) {
        fill(ctx, "#333333", left, top + to * cell - 0.75, side, 1.5);
        ctx.fillRect(left + to * cell - 0.75, top, 1.5, side);
      }
      if (!small) {
        write(ctx, name, left - this.bars - 16, top + ((from + to) / 2) * cell, { align: "center", colour: theme.soft, angle: -Math.PI / 2, room: (to - from) * cell });
        write(ctx, name, left + ((from + to) / 2) * cell, top + side + 40, { align: "center", colour: theme.soft, room: (to - from) * cell });
      }
    });
    frame(ctx, theme.line, left - 0.5, top - 0.5, side + 1, side + 1);
    if (cell >= 22 && small) {
      const size = cell >= 32 ? 11 : 9;
      colours.forEach((colour, i) => {
        const r = floor(i / K), c = i % K;
        if (!colour || (mute && r === c) || values[i] === 0) return;
        write(ctx, cellText(values[i], mode, difference), left + (c + 0.5) * cell, top + (r + 0.5) * cell + 0.5, { align: "center", colour: inkOn(colour), size });
      });
    }
    this.marks();
    this.rates(slot, index);
    this.margins(slot, e);
    if (small)
      order.forEach((c, k) => {
        write(ctx, names[c], left - this.bars - 11, top + (k + 0.5) * cell, { align: "right", colour: theme.ink, room: this.label - 6, size: min(11, cell) });
        const y = top + side + 6 + 26 + 12 + 7;
        if (this.slant) write(ctx, names[c], left + (k + 0.5) * cell + 3, y - 3, { align: "right", colour: theme.ink, angle: -Math.PI / 4, room: 80 });
        else write(ctx, names[c], left + (k + 0.5) * cell, y, { align: "center", colour: theme.ink, room: cell });
      });
    write(ctx, `true ${thing} (rows)`, 8, top + side / 2, { align: "center", colour: theme.soft, angle: -Math.PI / 2 });
    write(ctx, `${predicted} (columns)`, left + side / 2, this.h - 8, { align: "center", colour: theme.soft });
    if (focus) this.outline(focus);
  }

  /** Cells of the samples that a linked view has chosen: a ring, larger with more of them. */
  marks() {
    const { ctx, view, left, top, cell } = this, most = max(...view.marked.map((m) => m[2]));
    for (const [t, p, n] of view.marked) {
      ctx.beginPath();
      ctx.arc(left + (view.place(p) + 0.5) * cell, top + (view.place(t) + 0.5) * cell, max(2, (cell / 2) * Math.sqrt(n / most)), 0, 7);
      for (const [width, colour] of [[3.5, "#ffffff"], [1.75, "#111111"]]) Object.assign(ctx, { lineWidth: width, strokeStyle: colour }), ctx.stroke();
    }
    ctx.lineWidth = 1;
  }

  /** A bar beside row k (across) or under column k, between two shares of its length, with a number. */
  bar(across, k, from, to, colour, text, thick = this.cell - (this.small ? 4 : 0)) {
    const { ctx, view, left, top, cell, side, small, recallW } = this, long = across ? (small ? 34 : recallW - 8) : 26, mid = (k + 0.5) * cell;
    const x = left + side + 5, y = top + side + 6;
    if (across) fill(ctx, colour, x + long * from, top + mid - thick / 2, long * (to - from), thick);
    else fill(ctx, colour, left + mid - thick / 2, y + long * from, thick, long * (to - from));
    if (small && text && (across || cell >= 16)) note(ctx, view.theme, text, across ? left + side + recallW - 2 : left + mid, across ? top + mid : y + 33, across ? "right" : "center", view.theme.ink);
  }

  /** Recall and precision with their intervals; of a difference, from the middle, where a full bar is the largest at any epoch. */
  rates(slot, index) {
    const { view, small } = this, { theme, difference, order } = view, { counts } = slot, e = slot.shown[index];
    for (const [name, across, totals] of [["recall", true, counts.nTrue], ["precision", false, counts.nPred]])
      order.forEach((c, k) => {
        const v = difference ? difference.rate(name, index, c) : counts[name](e, c);
        if (isNaN(v)) return this.bar(across, k, 0, 1, this.hatch, "–");
        if (difference) return this.bar(across, k, 0.5, 0.5 + ((across ? v : -v) / difference.rateLimit(name)) * 0.5, css(pick(DIVERGING, v < 0 ? 0.22 : 0.78)), points(v, 0));
        this.bar(across, k, 0, v, theme.rate, fixed(100 * v, 0));
        this.bar(across, k, ...wilson(counts.hits[e * counts.K + c], totals[e * counts.K + c]), theme.ink, "", small ? 1.5 : 0.75);
      });
  }

  margins(slot, e) {
    const { ctx, view, left, top, cell, side, bars, small } = this, { K, order, theme, difference } = view, { counts } = slot;
    const longest = log10(1 + view.longestMargin()), gap = small ? 2 : 0;
    order.forEach((c, k) => {
      const at = e * K + c, mid = (k + 0.5) * cell, nTrue = counts.nTrue[at], nPred = counts.nPred[at];
      const across = (log10(1 + nTrue) / longest) * bars, up = (log10(1 + nPred) / longest) * 34;
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

  outline([t, p]) {
    const { ctx, view, left, top, cell, side, small } = this, { theme, names } = view;
    const x = left + view.place(p) * cell, y = top + view.place(t) * cell;
    if (!small) {
      fill(ctx, "rgba(0,0,0,0.28)", left, y + cell / 2 - 0.5, side, 1);
      fill(ctx, "rgba(0,0,0,0.28)", x + cell / 2 - 0.5, top, 1, side);
      for (const [text, tx, ty, align] of [[names[t], left - 8, y + cell / 2, "right"], [names[p], x + cell / 2, top + side + 12, "center"]]) {
        const w = min(110, ctx.measureText(text).width) + 8, from = align === "right" ? tx - w + 4 : tx - w / 2;
        fill(ctx, theme.paper, from, ty - 8, w, 16);
        frame(ctx, theme.line, from, ty - 8, w, 16);
        write(ctx, text, tx, ty, { align, colour: theme.ink, room: 110 });
      }
    }
    frame(ctx, "#ffffff", x, y, cell, cell, 4);
    frame(ctx, "#111111", x, y, cell, cell, 2);
  }
}

/** What a cell says: percent, a count or log2; in points with its sign where it is a difference. */
export function cellText(v, mode, difference) {
  const sign = v > 0 ? "+" : v < 0 ? "−" : "";
  if (mode === "prior") return Number.isFinite(v) ? sign + fixed(abs(v), 1) : "none";
  if (difference) return sign + (mode === null ? compact(abs(v)) : fixed(100 * abs(v), mode === "all" || abs(v) < 0.01 ? 1 : 0));
  return mode === null ? compact(v) : fixed(100 * v, mode === "all" || v < 0.01 ? 1 : 0);
}
