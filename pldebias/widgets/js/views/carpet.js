import { epochAxis, fill, frame, mosaic, Surface, write } from "../core/surface.js";
import { BLANK, DIVERGING, GROUP_COLOURS, NO_LABEL, pick, SEQUENTIAL, WHITE } from "../core/theme.js";
import { abs, max, min, round } from "../stats/intervals.js";
import { carpetColumns } from "../stats/scene.js";

/** Classes (rows, head to tail) by epochs (columns). */
export class Carpet extends Surface {
  left = 0;
  top = 22;
  plotW = 1;
  plotH = 1;

  /** @param {HTMLElement} parent @param {Stage} stage */
  constructor(parent, stage) {
    super(parent, "carpet", "classes by epochs");
    this.stage = stage;
    stage.scrubbable(this);
  }

  /** @param {number} w @param {number} h */
  layout(w, h) {
    this.fit(w, h);
    const { scene, theme } = this.stage;
    this.ctx.font = theme.font;
    const widest = max(...scene.names.map((n) => this.ctx.measureText(n).width));
    this.left = 24 + (scene.K <= 30 ? min(84, widest) + 6 : 0);
    this.plotW = w - this.left - 8;
    this.plotH = h - this.top - 32;
  }

  /** @param {number} v @param {boolean} signed @param {number} limit @returns {Colour | null} */
  colour(v, signed, limit) {
    if (isNaN(v)) return BLANK;
    if (abs(v) === Infinity) return NO_LABEL;
    if (signed) return pick(DIVERGING, 0.5 + v / (2 * limit));
    return v === 0 ? WHITE : pick(SEQUENTIAL, v);
  }

  /**
   * Several epochs share a pixel column when there are more epochs than pixels.
   * @param {Slot} slot @returns {[(Colour | null)[], number]}
   */
  colours(slot) {
    const { scene } = this.stage;
    const signed = Boolean(scene.difference) || scene.state.metric === "ratio";
    const limit = signed ? scene.ratioLimit() : 1;
    /** @type {(Colour | null)[]} */
    const colours = [];
    let count = 0;
    for (const { x, columns, from, to } of carpetColumns(scene.timeline.length, round(this.plotW * this.dpr))) {
      count = columns;
      scene.order.forEach((c, row) => {
        colours[row * columns + x] = this.colour(scene.carpetValue(slot, c, from, to), signed, limit);
      });
    }
    return [colours, count];
  }

  /** @param {Slot} slot @param {number} index */
  draw(slot, index) {
    const { stage, left, top, plotW, plotH, ctx } = this;
    const { scene, theme } = stage;
    this.paint(theme, () => this.background(slot));
    const x = left + ((index + 0.5) / scene.timeline.length) * plotW;
    fill(ctx, "#ffffff", x - 1.75, top - 3, 3.5, plotH + 6);
    fill(ctx, "#111111", x - 0.75, top - 4, 1.5, plotH + 8);
  }

  /** @param {Slot} slot */
  background(slot) {
    const { ctx, left, top, plotW, plotH } = this;
    const { scene, theme } = this.stage;
    const { K, order, names, state } = scene;
    const title = `${scene.word("metrics", state.metric)} of each ${state.collapse ? "group" : "class"}, epoch by epoch`;
    write(ctx, `${scene.letter(slot)}${title}`, left, 9, { bold: true, colour: theme.ink, size: 12, room: plotW });
    const [colours, columns] = this.colours(slot);
    mosaic(this, colours, K, columns, left, top, plotW, plotH);
    const row = plotH / K;
    scene.groupEdges((from, to, name, group, edge) => {
      const room = (to - from) * row;
      fill(ctx, GROUP_COLOURS[group % 3], left - 5, top + from * row, 4, room - 0.5);
      write(ctx, name, 8, top + ((from + to) / 2) * row, { align: "center", colour: theme.soft, angle: -Math.PI / 2, room });
      if (edge) fill(ctx, theme.edge, left, top + to * row - 0.75, plotW, 1.5);
    });
    if (K <= 30)
      order.forEach((c, r) => {
        const look = { align: /** @type {const} */ ("right"), colour: theme.ink, room: left - 26, size: min(11, row - 1) };
        write(ctx, names[c], left - 9, top + (r + 0.5) * row, look);
      });
    frame(ctx, theme.line, left - 0.5, top - 0.5, plotW + 1, plotH + 1);
    epochAxis(ctx, this, top + plotH, scene.timeline, theme);
  }
}
