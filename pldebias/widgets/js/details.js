import { epochAxis } from "./carpet.js";
import { cellText } from "./matrix.js";
import { abs, ceil, fixed, floor, grouped, max, min, points, quantile, ratio, wilson } from "./numbers.js";
import { GROUP_COLOURS, Surface, band, fill, frame, make, note, stroke, write } from "./paint.js";

/** The chosen cell over all epochs with Wilson bands; without one, the median class of each group. */
export class Curves extends Surface {
  constructor(parent, view) {
    super(parent, "curves", "the chosen cell over the epochs");
    this.view = view;
    view.scrubbable(this);
  }

  layout(w) {
    this.fit(w, 236);
    Object.assign(this, { left: 40, top: 40, plotW: w - 52, plotH: 160 });
  }

  lines(cell) {
    const { slots, theme, meta, names, state, timeline } = this.view, lines = [];
    slots.forEach(({ counts, base, over }, s) => {
      const dash = s ? [5, 3] : [];
      if (cell) {
        const [t, p] = cell, k = (e) => counts.at(e, t, p);
        [[theme.blue, counts.nTrue, t], [theme.orange, counts.nPred, p]].forEach(([colour, totals, c]) => {
          const n = (e) => totals[e * counts.K + c];
          lines.push({ colour, dash, mid: over((e) => ratio(k(e), n(e))), low: over((e) => wilson(k(e), n(e))[0]), high: over((e) => wilson(k(e), n(e))[1]) });
        });
      } else
        meta.groups.forEach(({ classes }, g) => {
          const at = (q) => over((e) => quantile(classes.map((c) => base.recall(e, c)), q));
          if (classes.length) lines.push({ colour: GROUP_COLOURS[g], dash, mid: at(0.5), low: at(0.1), high: at(0.9) });
        });
    });
    const to = state.kind === "test" ? "prediction" : "label";
    const keys = cell
      ? [[theme.blue, `share of true ${names[cell[0]]}`], [theme.orange, `share of ${to} ${names[cell[1]]}`]]
      : meta.groups.map((g, i) => [GROUP_COLOURS[i], g.name]);
    return { lines, keys, title: cell ? `true ${names[cell[0]]} → ${to} ${names[cell[1]]}, 95 % bands` : "recall: median class of each group, 10 to 90 % of its classes", n: timeline.length };
  }

  draw(index, cell) {
    const { view, left, top, plotW, plotH } = this, { theme } = view, key = `${cell}`;
    if (key !== this.key) this.base = null;
    this.key = key;
    if (!this.base) this.drawn = this.lines(cell);
    const { lines, keys, title, n } = this.drawn, x = (i) => left + ((i + 0.5) / n) * plotW, y = (v) => top + plotH * (1 - v);
    this.paint(theme, (ctx) => {
      write(ctx, title, left, 9, { bold: true, colour: theme.ink, size: 12, room: plotW });
      let at = left;
      for (const [colour, text] of keys) {
        write(ctx, text, at, 26, { colour, bold: true, room: plotW / keys.length });
        at += min(plotW / keys.length, ctx.measureText(text).width * 1.12 + 16);
      }
      for (const v of [0, 0.25, 0.5, 0.75, 1]) {
        fill(ctx, theme.line, left, y(v) - 0.5, plotW, 1);
        note(ctx, theme, `${100 * v}`, left - 6, y(v), "right");
      }
      write(ctx, "%", 8, y(0.5), { colour: theme.soft });
      for (const l of lines) if (!l.dash.length) band(ctx, l.low, l.high, x, y, l.colour);
      for (const l of lines) stroke(ctx, l.mid, x, y, l.colour, l.dash);
      epochAxis(ctx, this, top + plotH, view);
    });
    fill(this.ctx, theme.ink, x(index) - 0.75, top - 4, 1.5, plotH + 8);
  }
}

const LISTED = 12;

/** The largest cells beside the diagonal, as a list that keys and screen readers reach. */
export class Confusions {
  constructor(parent, view) {
    this.view = view;
    this.box = parent.appendChild(make("div", "pld-confusions"));
    this.heading = this.box.appendChild(make("div", "pld-heading"));
    const list = this.box.appendChild(make("ol", "", { "aria-label": "largest confusions" }));
    this.rows = Array.from({ length: LISTED }, () => {
      const item = list.appendChild(make("li", "")), button = item.appendChild(view.button("", () => view.choose(row.cell)));
      const row = { item, button, pair: button.appendChild(make("span", "pld-pair")), line: button.appendChild(make("canvas", "", { "aria-hidden": "true", width: 180, height: 32 })), value: button.appendChild(make("span", "pld-value")) };
      return row;
    });
  }

  /** Cells with the largest values, largest first; of equal ones, those with more samples. */
  largest(slot, index) {
    const { view } = this, { order } = view, e = slot.shown[index], found = [];
    const above = (a, b) => a.size - b.size || a.count - b.count;
    for (const t of order)
      for (const p of order) {
        const v = view.value(slot, index, t, p), size = abs(v);
        if (t === p || !Number.isFinite(v) || !v || (view.state.normalize === "prior" && !view.difference && v < 0)) continue;
        if (found.length === LISTED && size < found[LISTED - 1].size) continue;
        const cell = { cell: [t, p], v, size, count: slot.counts.at(e, t, p) };
        let i = found.length;
        while (i && above(cell, found[i - 1]) > 0) i--;
        found.splice(i, 0, cell);
        found.length = min(found.length, LISTED);
      }
    return found;
  }

  draw(slot, index) {
    const { view } = this, { names, state, difference, theme } = view, mode = state.normalize;
    const of = view.word("cells", mode, 2);
    this.heading.textContent = difference ? `Largest differences, A − B: ${of}` : `Largest confusions${slot.letter && " of "}${slot.letter}: ${of}`;
    const found = this.largest(slot, index);
    this.rows.forEach((row, i) => {
      const cell = found[i];
      row.item.hidden = !cell;
      if (!cell) return;
      const [t, p] = (row.cell = cell.cell), n = slot.counts.share(mode, slot.shown[index], t, p)[1];
      const unit = mode === null || mode === "prior" ? "" : difference ? " points" : " %";
      const value = mode === null || mode === "prior" ? cellText(cell.v, mode, difference) : difference ? points(cell.v) : fixed(100 * cell.v, 1);
      const text = value + unit + (difference ? (difference.noise(mode, index, t, p) ? ", may be chance" : "") : mode === null ? "" : ` (${grouped(cell.count)} of ${grouped(n)})`);
      if (row.value.textContent !== text) row.value.textContent = text;
      const key = `${t},${p},${mode},${state.kind},${state.split},${view.version},${theme.orange}`;
      row.button.setAttribute("aria-pressed", String(state.cell[0] === t && state.cell[1] === p));
      if (row.key === key) return;
      row.key = key;
      row.pair.textContent = `${names[t]} → ${names[p]}`;
      this.spark(row.line, slot, t, p);
    });
  }

  spark(canvas, slot, t, p) {
    const { view } = this, ctx = canvas.getContext("2d"), n = view.timeline.length, { width, height } = canvas;
    const values = slot.exact.map((e, i) => (e < 0 ? NaN : view.value(slot, i, t, p))).map((v) => (Number.isFinite(v) ? v : NaN));
    const top = max(...values.map((v) => abs(v) || 0)) || 1, low = values.some((v) => v < 0) ? -top : 0;
    ctx.clearRect(0, 0, width, height);
    stroke(ctx, values, (i) => ((i + 0.5) * width) / n, (v) => height - 3 - ((v - low) / (top - low)) * (height - 6), view.theme.orange, [], 2.5);
  }
}

const TILE = 34;
const SAYS = { right: ["#6baed6", "true class"], chosen: ["#e08214", "the chosen label"], other: ["#bdbdbd", "another label"] };

/** Samples of the chosen cell: picture, index, and the label of every epoch as a strip. */
export class Samples {
  constructor(parent, view) {
    this.view = view;
    this.box = parent.appendChild(make("div", "pld-samples", { hidden: "" }));
    const head = this.box.appendChild(make("div", "pld-heading"));
    this.title = head.appendChild(make("span", ""));
    head.append(view.button("close", () => view.drop()));
    this.surface = new Surface(this.box, "strips", "labels of these samples over the epochs");
  }

  /** Take a reply of the kernel (or of the page): ids, labels and acceptance [n, E], one picture with all thumbnails. */
  async show(reply, buffers) {
    this.box.hidden = false;
    this.title.textContent = [reply.title, reply.problem].filter(Boolean).join(" ");
    const [labels, accepted, sheet] = buffers.map((b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength));
    this.sheet = sheet?.byteLength ? await createImageBitmap(new Blob([sheet], { type: "image/png" })) : null;
    Object.assign(this, { reply, labels: new Int16Array(labels), accepted: new Uint8Array(accepted) });
    this.draw();
  }

  hide() {
    this.box.hidden = true;
    this.reply = null;
  }

  draw() {
    const { view, reply, surface, sheet } = this, { theme } = view;
    if (!reply || !theme) return;
    const W = view.overview.w, n = reply.ids.length, across = max(1, floor(W / 400)), w = floor(W / across), rows = ceil(n / across);
    surface.canvas.hidden = !n;
    surface.fit(W, rows * TILE + 24);
    const { ctx } = surface, E = reply.epochs.length, [tw, th] = reply.tile;
    ctx.font = theme.font;
    ctx.imageSmoothingEnabled = false;
    let at = 0;
    for (const [colour, text] of [...Object.values(SAYS), [null, "pale: not accepted"]]) {
      if (colour) fill(ctx, colour, at, 4, 16, 11);
      note(ctx, theme, text, at + (colour ? 22 : 0), 10);
      at += 40 + ctx.measureText(text).width;
    }
    reply.ids.forEach((id, i) => {
      const x = (i % across) * w, y = 24 + floor(i / across) * TILE, from = x + 34 + 52, length = w - 34 - 52 - 14;
      if (sheet && reply.tiles[i] >= 0) ctx.drawImage(sheet, reply.tiles[i] * tw, 0, tw, th, x, y, 30, 30);
      else frame(ctx, theme.line, x + 0.5, y + 0.5, 29, 29);
      write(ctx, `#${id}`, x + 36, y + 9, { colour: theme.ink, size: 10 });
      write(ctx, `true ${view.meta.classes[reply.true[i]] ?? "?"}`, x + 36, y + 22, { colour: theme.soft, size: 10, room: 50 });
      for (let e = 0; e < E; e++) {
        const label = this.labels[i * E + e];
        if (label < 0) continue; // none was given
        const kind = label === reply.true[i] ? "right" : label === reply.chosen ? "chosen" : "other", a = from + (e * length) / E;
        ctx.globalAlpha = this.accepted[i * E + e] ? 1 : 0.4;
        fill(ctx, SAYS[kind][0], a, y + 4, length / E + 0.4, 20);
      }
      ctx.globalAlpha = 1;
      const slot = view.slots[view.asked?.number] ?? view.slots[0], now = reply.epochs.findIndex((e) => e >= slot.epochs[slot.shown[view.index]]);
      fill(ctx, theme.ink, from + ((now + 0.5) * length) / E - 0.75, y + 1, 1.5, 26);
    });
  }
}
