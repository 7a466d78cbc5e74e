import { abs, ceil, log2, max, min } from "./numbers.js";
import { Surface, fill, note, stroke, write } from "./paint.js";

/** Balanced accuracy, tail recall and tail share over all epochs; A solid, B dashed. Shift and drag choose what play runs through. */
export class Overview extends Surface {
  constructor(parent, view) {
    super(parent, "overview", "balanced accuracy, tail recall and tail labels per true tail sample, over epochs");
    this.view = view;
    view.scrubbable(this, true);
  }

  layout(w) {
    const high = 74, low = 38, left = 46, right = 150;
    this.fit(w, high + low + 26);
    Object.assign(this, { left, top: 8, high, low, lowTop: high + 18, plotW: w - left - right });
  }

  series() {
    const tail = this.view.meta.groups.at(-1).classes;
    return this.view.slots.map(({ base, over, letter }, s) => ({
      dash: s ? [5, 3] : [],
      letter,
      balanced: over((e) => base.balancedAccuracy(e)),
      tail: over((e) => base.groupRecall(e, tail)),
      share: over((e) => base.groupRatio(e, tail)),
    }));
  }

  draw(index) {
    const { view, left, top, high, low, lowTop, plotW } = this, { theme, timeline } = view, n = timeline.length;
    const x = (i) => left + ((i + 0.5) / n) * plotW, upper = (v) => top + high * (1 - v), lower = (v) => this.lower(v);
    this.paint(theme, (ctx) => {
      const lines = (this.lines = this.series());
      const finite = lines.flatMap((l) => l.share).filter((v) => v > 0 && Number.isFinite(v)).map((v) => abs(log2(v)));
      this.span = max(1, min(6, ceil(finite.reduce((a, b) => max(a, b), 0))));
      const colour = [theme.blue, theme.orange], rule = (y, text) => {
        fill(ctx, theme.line, left, y - 0.5, plotW, 1);
        note(ctx, theme, text, left - 6, y, "right");
      };
      for (const v of [0, 0.5, 1]) rule(upper(v), `${100 * v}`);
      write(ctx, "%", 12, upper(0.5), { colour: theme.soft });
      for (const v of [-this.span, 0, this.span]) rule(lower(2 ** v), v < 0 ? `1/${2 ** -v}` : `${2 ** v}`);
      for (const l of lines) {
        stroke(ctx, l.balanced, x, upper, colour[0], l.dash);
        stroke(ctx, l.tail, x, upper, colour[1], l.dash);
        stroke(ctx, l.share, x, lower, colour[1], l.dash);
      }
      const key = left + plotW + 12;
      write(ctx, "balanced accuracy", key, top + 8, { colour: colour[0], bold: true });
      write(ctx, "tail recall", key, top + 24, { colour: colour[1], bold: true });
      if (lines.length > 1)
        lines.forEach((l, i) => {
          stroke(ctx, [0, 0], (j) => key + 60 * i + 24 * j, () => top + 44, theme.ink, l.dash);
          write(ctx, l.letter, key + 60 * i + 30, top + 44, { colour: theme.ink, bold: true });
        });
      write(ctx, "tail: labels given", key, lowTop + 11, { colour: colour[1], bold: true });
      write(ctx, "per true sample", key, lowTop + 26, { colour: colour[1], bold: true });
    });
    const { ctx } = this, [from, to] = view.range;
    if (view.state.range.length) {
      ctx.fillStyle = "rgba(120,130,140,0.2)";
      const a = x(from - 0.5), b = x(to + 0.5);
      ctx.fillRect(left, top - 4, a - left, high + low + 18);
      ctx.fillRect(b, top - 4, left + plotW - b, high + low + 18);
    }
    fill(ctx, theme.ink, x(index) - 0.75, top - 4, 1.5, high + low + 18);
    for (const l of this.lines)
      for (const [v, y, c] of [[l.balanced[index], upper, theme.blue], [l.tail[index], upper, theme.orange], [l.share[index], lower, theme.orange]]) {
        if (isNaN(v)) continue;
        ctx.beginPath();
        ctx.arc(x(index), y(v), 3.5, 0, 7);
        ctx.fillStyle = c;
        ctx.fill();
        ctx.strokeStyle = theme.paper;
        ctx.stroke();
      }
  }

  lower(v) {
    const u = max(-this.span, min(this.span, log2(v)));
    return this.lowTop + this.low * (0.5 - u / (2 * this.span));
  }
}
