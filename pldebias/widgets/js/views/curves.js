import { band, epochAxis, fill, note, Surface, stroke, write } from "../core/surface.js";
import { GROUP_COLOURS } from "../core/theme.js";
import { min, quantile, ratio, wilson } from "../stats/intervals.js";

/** @typedef {{colour: string, dash: number[], mid: number[], low: number[], high: number[]}} Line */

/** The chosen cell over all epochs with Wilson bands; without one, the median class of each group. */
export class Curves extends Surface {
  left = 40;
  top = 40;
  plotW = 1;
  plotH = 160;
  key = "";
  /** @type {{lines: Line[], keys: [string, string][], title: string}} */
  drawn = { lines: [], keys: [], title: "" };

  /** @param {HTMLElement} parent @param {Stage} stage */
  constructor(parent, stage) {
    super(parent, "curves", "the chosen cell over the epochs");
    this.stage = stage;
    stage.scrubbable(this);
  }

  /** @param {number} w */
  layout(w) {
    this.fit(w, 236);
    this.plotW = w - 52;
  }

  /** Both shares of a cell, with their bands. @param {Cell} cell */
  ofCell([t, p]) {
    const { scene, theme } = this.stage;
    const { names } = scene;
    /** @type {Line[]} */
    const lines = scene.slots.flatMap((slot, s) => {
      const { counts } = slot;
      /** @param {string} colour @param {Series} totals @param {number} c */
      const line = (colour, totals, c) => {
        /** @param {(k: number, n: number) => number} f */
        const over = (f) => scene.over(slot, (e) => f(counts.at(e, t, p), totals[e * counts.K + c]));
        const [low, high] = [over((k, n) => wilson(k, n)[0]), over((k, n) => wilson(k, n)[1])];
        return { colour, dash: s ? [5, 3] : [], mid: over(ratio), low, high };
      };
      return [line(theme.blue, counts.nTrue, t), line(theme.orange, counts.nPred, p)];
    });
    const label = scene.state.kind === "test" ? "prediction" : "label";
    /** @type {[string, string][]} */
    const keys = [
      [theme.blue, `share of true ${names[t]}`],
      [theme.orange, `share of ${label} ${names[p]}`],
    ];
    return { lines, keys, title: `true ${names[t]} → ${label} ${names[p]}, 95 % bands` };
  }

  /** Recall of the median class of each group, and the middle eight tenths of its classes. */
  ofGroups() {
    const { scene } = this.stage;
    const { groups } = scene.meta;
    const lines = scene.slots.flatMap((slot, s) =>
      groups.flatMap(({ classes }, g) => {
        /** @param {number} q */
        const at = (q) =>
          scene.over(slot, (e) =>
            quantile(
              classes.map((c) => slot.base.recall(e, c)),
              q,
            ),
          );
        return classes.length ? [{ colour: GROUP_COLOURS[g], dash: s ? [5, 3] : [], mid: at(0.5), low: at(0.1), high: at(0.9) }] : [];
      }),
    );
    /** @type {[string, string][]} */
    const keys = groups.map((g, i) => [GROUP_COLOURS[i], g.name]);
    return { lines, keys, title: "recall: median class of each group, 10 to 90 % of its classes" };
  }

  /** @param {number} index @param {Cell | null} cell */
  draw(index, cell) {
    const { left, top, plotW, plotH, ctx } = this;
    const { scene, theme } = this.stage;
    const key = String(cell);
    if (key !== this.key) this.base = null;
    this.key = key;
    if (!this.base) this.drawn = cell ? this.ofCell(cell) : this.ofGroups();
    const { lines, keys, title } = this.drawn;
    /** @param {number} i */
    const x = (i) => left + ((i + 0.5) / scene.timeline.length) * plotW;
    /** @param {number} v */
    const y = (v) => top + plotH * (1 - v);
    this.paint(theme, () => {
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
      epochAxis(ctx, this, top + plotH, scene.timeline, theme);
    });
    fill(ctx, theme.ink, x(index) - 0.75, top - 4, 1.5, plotH + 8);
  }
}
