import { button, make } from "../core/dom.js";
import { context, stroke } from "../core/surface.js";
import { fixed, grouped, points } from "../stats/format.js";
import { abs, max } from "../stats/intervals.js";
import { cellText } from "./matrix.js";

const LISTED = 12;

/** The largest cells beside the diagonal, as a list that keys and screen readers reach. */
export class Confusions {
  /** @param {HTMLElement} parent @param {Stage} stage */
  constructor(parent, stage) {
    this.stage = stage;
    const box = parent.appendChild(make("div", { class: "pld-confusions" }));
    this.heading = box.appendChild(make("div", { class: "pld-heading" }));
    const list = box.appendChild(make("ol", { "aria-label": "largest confusions" }));
    this.rows = Array.from({ length: LISTED }, () => this.row(list));
  }

  /** @param {HTMLElement} list */
  row(list) {
    const pair = make("span", { class: "pld-pair" });
    const line = make("canvas", { "aria-hidden": "true", width: 180, height: 32 });
    const value = make("span", { class: "pld-value" });
    const press = button("", () => this.stage.choose(row.cell));
    press.append(pair, line, value);
    const item = list.appendChild(make("li", {}, press));
    const row = { item, press, pair, line, value, key: "", cell: /** @type {Cell} */ ([0, 0]) };
    return row;
  }

  /** @param {Slot} slot @param {number} index */
  draw(slot, index) {
    const { scene, theme } = this.stage;
    const { names, state, difference } = scene;
    const mode = state.normalize;
    const of = scene.word("cells", mode, 2);
    const whose = slot.letter && ` of ${slot.letter}`;
    this.heading.textContent = difference ? `Largest differences, A − B: ${of}` : `Largest confusions${whose}: ${of}`;
    const found = scene.largest(slot, LISTED);
    this.rows.forEach((row, i) => {
      const cell = found[i];
      row.item.hidden = !cell;
      if (!cell) return;
      row.cell = cell.cell;
      const [t, p] = cell.cell;
      const text = this.text(slot, index, cell);
      if (row.value.textContent !== text) row.value.textContent = text;
      row.press.setAttribute("aria-pressed", String(state.cell[0] === t && state.cell[1] === p));
      const key = `${t},${p},${mode},${state.kind},${state.split},${scene.version},${theme.orange}`;
      if (row.key === key) return;
      row.key = key;
      row.pair.textContent = `${names[t]} → ${names[p]}`;
      this.spark(row.line, slot, t, p);
    });
  }

  /** @param {Slot} slot @param {number} index @param {{cell: Cell, v: number, count: number}} found */
  text(slot, index, { cell: [t, p], v, count }) {
    const { difference, state } = this.stage.scene;
    const mode = state.normalize;
    const n = slot.counts.share(mode, slot.shown[index], t, p)[1];
    const bare = mode === null || mode === "prior";
    const value = bare ? cellText(v, mode, Boolean(difference)) : difference ? `${points(v)} points` : `${fixed(100 * v, 1)} %`;
    if (difference) return difference.noise(mode, index, t, p) ? `${value}, may be chance` : value;
    return mode === null ? value : `${value} (${grouped(count)} of ${grouped(n)})`;
  }

  /** @param {HTMLCanvasElement} canvas @param {Slot} slot @param {number} t @param {number} p */
  spark(canvas, slot, t, p) {
    const { scene, theme } = this.stage;
    const ctx = context(canvas);
    const { width, height } = canvas;
    const all = slot.exact.map((e, i) => (e < 0 ? NaN : scene.value(slot, i, t, p)));
    const values = all.map((v) => (Number.isFinite(v) ? v : NaN));
    const top = max(...values.map((v) => abs(v) || 0)) || 1;
    const low = values.some((v) => v < 0) ? -top : 0;
    ctx.clearRect(0, 0, width, height);
    /** @param {number} i */
    const x = (i) => ((i + 0.5) * width) / values.length;
    stroke(ctx, values, x, (v) => height - 3 - ((v - low) / (top - low)) * (height - 6), theme.orange, [], 2.5);
  }
}
