import { abs, floor, log2, max, min, ratio, round } from "./numbers.js";
import { BLANK, DIVERGING, NONE, SEQUENTIAL, Surface, WHITE, epochTicks, fill, frame, mosaic, pick, write } from "./paint.js";

/** A metric of a class over some epochs, whose counts are added before the ratio is formed. */
function rate(metric, { counts }, epochs, c) {
  let hits = 0, nTrue = 0, nPred = 0;
  for (const e of epochs) {
    hits += counts.hits[e * counts.K + c];
    nTrue += counts.nTrue[e * counts.K + c];
    nPred += counts.nPred[e * counts.K + c];
  }
  return metric === "ratio" ? (nTrue ? log2(nPred / nTrue) : NaN) : ratio(hits, metric === "recall" ? nTrue : nPred);
}

/** Classes (rows, head to tail) by epochs (columns). */
export class Carpet extends Surface {
  constructor(parent, view) {
    super(parent, "carpet", "classes by epochs");
    this.view = view;
    view.scrubbable(this);
  }

  layout(w, h) {
    this.fit(w, h);
    const { K, names, theme } = this.view;
    this.ctx.font = theme.font;
    const label = K <= 30 ? min(84, max(...names.map((n) => this.ctx.measureText(n).width))) + 6 : 0;
    Object.assign(this, { left: 24 + label, top: 22, plotW: w - 24 - label - 8, plotH: h - 22 - 32 });
  }

  colours(slot) {
    const { view } = this, { K, order, timeline, difference } = view, metric = view.state.metric, top = view.ratioLimit();
    // Several epochs share a pixel column when there are more epochs than pixels.
    const columns = min(timeline.length, max(1, round(this.plotW * this.dpr))), colours = new Array(K * columns);
    for (let x = 0; x < columns; x++) {
      const from = floor((x * timeline.length) / columns), to = max(from + 1, floor(((x + 1) * timeline.length) / columns));
      const [members, others] = [slot, difference?.b].map((s) => s?.exact.slice(from, to).filter((e) => e >= 0));
      const told = members.length && others?.length !== 0; // else no epoch is there, which no colour may stand for
      order.forEach((c, row) => {
        let v = told ? rate(metric, slot, members, c) : NaN;
        if (told && difference) v -= rate(metric, difference.b, others, c);
        const signed = difference || metric === "ratio";
        colours[row * columns + x] = isNaN(v) ? BLANK : abs(v) === Infinity ? NONE : signed ? pick(DIVERGING, 0.5 + v / (2 * top)) : v === 0 ? WHITE : pick(SEQUENTIAL, v);
      });
    }
    return [colours, columns];
  }

  draw(slot, index) {
    const { view, left, top, plotW, plotH } = this, { K, theme, order, timeline } = view;
    this.paint(theme, (ctx) => {
      const title = `${view.word("metrics", view.state.metric)} of each ${view.state.collapse ? "group" : "class"}, epoch by epoch`;
      write(ctx, `${view.letter(slot)}${title}`, left, 9, { bold: true, colour: theme.ink, size: 12, room: plotW });
      const [colours, columns] = this.colours(slot);
      mosaic(ctx, this, colours, K, columns, left, top, plotW, plotH);
      const row = plotH / K;
      view.groupEdges((from, to, name, colour, edge) => {
        fill(ctx, colour, left - 5, top + from * row, 4, (to - from) * row - 0.5);
        write(ctx, name, 8, top + ((from + to) / 2) * row, { align: "center", colour: theme.soft, angle: -Math.PI / 2, room: (to - from) * row });
        if (edge) {
          fill(ctx, theme.edge, left, top + to * row - 0.75, plotW, 1.5);
        }
      });
      if (K <= 30) order.forEach((c, r) => write(ctx, view.names[c], left - 9, top + (r + 0.5) * row, { align: "right", colour: theme.ink, room: left - 26, size: min(11, row - 1) }));
      frame(ctx, theme.line, left - 0.5, top - 0.5, plotW + 1, plotH + 1);
      epochAxis(ctx, this, top + plotH, view);
    });
    const { ctx } = this, x = left + ((index + 0.5) / timeline.length) * plotW;
    fill(ctx, "#ffffff", x - 1.75, top - 3, 3.5, plotH + 6);
    fill(ctx, "#111111", x - 0.75, top - 4, 1.5, plotH + 8);
  }
}

/** Ticks and name of the axis under a panel with epochs along x. */
export function epochAxis(ctx, { left, plotW }, y, { timeline, theme }) {
  for (const [i, label] of epochTicks(timeline, plotW / 70)) {
    const x = left + ((i + 0.5) / timeline.length) * plotW;
    fill(ctx, theme.line, x, y, 1, 4);
    write(ctx, label, x, y + 11, { align: "center", colour: theme.soft });
  }
  write(ctx, "epoch", left + plotW / 2, y + 25, { align: "center", colour: theme.soft });
}
