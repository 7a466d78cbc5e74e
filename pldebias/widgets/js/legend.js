import { min } from "./numbers.js";
import { NONE, Surface, css, fill, frame, note, pick, write } from "./paint.js";

/** A colour bar that says in words what it measures, beside white (zero) and hatching (undefined). */
export class Legend extends Surface {
  draw(view, { table, title, low, high, middle, zero, none, blank = "" }, w, mute) {
    this.fit(w, 46);
    const { ctx } = this, { theme } = view, length = min(190, w * 0.42);
    ctx.font = theme.font;
    write(ctx, title, 8, 8, { colour: theme.ink, room: w - 10 });
    for (let i = 0; i < length; i++) {
      fill(ctx, css(pick(table, i / length)), 8 + i, 18, 1.5, 11);
    }
    frame(ctx, theme.line, 7.5, 17.5, length + 1, 12);
    note(ctx, theme, low, 8, 38);
    if (middle) note(ctx, theme, middle, 8 + length / 2, 38, "center");
    note(ctx, theme, high, 8 + length, 38, "right");
    let x = length + 24;
    for (const [text, colour] of [[zero, "#ffffff"], [none, css(NONE)], ["undefined (0/0)" + blank, this.hatch], [mute && "diagonal muted", "#e0e0e0"]]) {
      if (!text) continue;
      fill(ctx, colour, x, 18, 16, 11);
      ctx.strokeRect(x - 0.5, 17.5, 17, 12);
      note(ctx, theme, text, x + 22, 24);
      x += 34 + ctx.measureText(text).width;
    }
  }
}
