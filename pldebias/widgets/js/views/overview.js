import { fill, note, Surface, stroke, write } from "../core/surface.js";
import { abs, ceil, log2, max, min } from "../stats/intervals.js";

const HIGH = 74;
const LOW = 38;
const TOP = 8;
const LOW_TOP = HIGH + 18;

/** Balanced accuracy, tail recall and tail share over all epochs; A solid, B dashed. Shift and drag choose what play runs through. */
export class Overview extends Surface {
  left = 46;
  plotW = 1;
  span = 1;
  /** @type {ReturnType<Overview["series"]>} */
  lines = [];

  /** @param {HTMLElement} parent @param {Stage} stage */
  constructor(parent, stage) {
    super(parent, "overview", "balanced accuracy, tail recall and tail labels per true tail sample, over epochs");
    this.stage = stage;
    stage.scrubbable(this, true);
  }

  /** @param {number} w */
  layout(w) {
    this.fit(w, HIGH + LOW + 26);
    this.plotW = w - this.left - 150;
  }

  series() {
    const { scene } = this.stage;
    const tail = scene.meta.groups[scene.meta.groups.length - 1].classes;
    return scene.slots.map((slot, s) => ({
      dash: s ? [5, 3] : [],
      letter: slot.letter,
      balanced: scene.over(slot, (e) => slot.base.balancedAccuracy(e)),
      tail: scene.over(slot, (e) => slot.base.groupRecall(e, tail)),
      share: scene.over(slot, (e) => slot.base.groupRatio(e, tail)),
    }));
  }

  /** @param {number} i */
  x(i) {
    return this.left + ((i + 0.5) / this.stage.scene.timeline.length) * this.plotW;
  }

  /** @param {number} v */
  upper(v) {
    return TOP + HIGH * (1 - v);
  }

  /** @param {number} v */
  lower(v) {
    const u = max(-this.span, min(this.span, log2(v)));
    return LOW_TOP + LOW * (0.5 - u / (2 * this.span));
  }

  /** @param {number} index */
  draw(index) {
    const { ctx, left, plotW } = this;
    const { scene, theme } = this.stage;
    this.paint(theme, () => this.background());
    if (scene.state.range.length) {
      const [from, to] = scene.range;
      const [a, b] = [this.x(from - 0.5), this.x(to + 0.5)];
      fill(ctx, "rgba(120,130,140,0.2)", left, TOP - 4, a - left, HIGH + LOW + 18);
      ctx.fillRect(b, TOP - 4, left + plotW - b, HIGH + LOW + 18);
    }
    fill(ctx, theme.ink, this.x(index) - 0.75, TOP - 4, 1.5, HIGH + LOW + 18);
    /** @param {number} v @param {number} y @param {string} colour */
    const dot = (v, y, colour) => {
      if (isNaN(v)) return;
      ctx.beginPath();
      ctx.arc(this.x(index), y, 3.5, 0, 7);
      ctx.fillStyle = colour;
      ctx.fill();
      ctx.strokeStyle = theme.paper;
      ctx.stroke();
    };
    for (const line of this.lines) {
      dot(line.balanced[index], this.upper(line.balanced[index]), theme.blue);
      dot(line.tail[index], this.upper(line.tail[index]), theme.orange);
      dot(line.share[index], this.lower(line.share[index]), theme.orange);
    }
  }

  background() {
    const { ctx, left, plotW } = this;
    const { theme } = this.stage;
    const lines = this.series();
    this.lines = lines;
    const shares = lines.flatMap((l) => l.share).filter((v) => v > 0 && Number.isFinite(v));
    this.span = max(1, min(6, ceil(shares.reduce((top, v) => max(top, abs(log2(v))), 0))));
    /** @param {number} y @param {string} text */
    const rule = (y, text) => {
      fill(ctx, theme.line, left, y - 0.5, plotW, 1);
      note(ctx, theme, text, left - 6, y, "right");
    };
    for (const v of [0, 0.5, 1]) rule(this.upper(v), `${100 * v}`);
    write(ctx, "%", 12, this.upper(0.5), { colour: theme.soft });
    for (const v of [-this.span, 0, this.span]) rule(this.lower(2 ** v), v < 0 ? `1/${2 ** -v}` : `${2 ** v}`);
    for (const l of lines) {
      stroke(
        ctx,
        l.balanced,
        (i) => this.x(i),
        (v) => this.upper(v),
        theme.blue,
        l.dash,
      );
      stroke(
        ctx,
        l.tail,
        (i) => this.x(i),
        (v) => this.upper(v),
        theme.orange,
        l.dash,
      );
      stroke(
        ctx,
        l.share,
        (i) => this.x(i),
        (v) => this.lower(v),
        theme.orange,
        l.dash,
      );
    }
    const key = left + plotW + 12;
    write(ctx, "balanced accuracy", key, TOP + 8, { colour: theme.blue, bold: true });
    write(ctx, "tail recall", key, TOP + 24, { colour: theme.orange, bold: true });
    if (lines.length > 1)
      lines.forEach((l, i) => {
        stroke(
          ctx,
          [0, 0],
          (j) => key + 60 * i + 24 * j,
          () => TOP + 44,
          theme.ink,
          l.dash,
        );
        write(ctx, l.letter, key + 60 * i + 30, TOP + 44, { colour: theme.ink, bold: true });
      });
    write(ctx, "tail: labels given", key, LOW_TOP + 11, { colour: theme.orange, bold: true });
    write(ctx, "per true sample", key, LOW_TOP + 26, { colour: theme.orange, bold: true });
  }
}
