import { fill, frame, note, Surface, write } from "../core/surface.js";
import { css, NO_LABEL, pick } from "../core/theme.js";
import { min } from "../stats/intervals.js";

/**
 * @typedef {object} Bar
 * @property {Colour[]} table
 * @property {string} title
 * @property {string} low
 * @property {string} high
 * @property {string} [middle]
 * @property {string} [zero] words for white
 * @property {string} [none] words for a class without a label
 * @property {string} [blank] more words for what is undefined
 * @property {boolean} [mute] the diagonal is grey
 */

/** A colour bar that says in words what it measures, beside white (zero) and hatching (undefined). */
export class Legend extends Surface {
  /** @param {Theme} theme @param {Bar} bar @param {number} w */
  draw(theme, { table, title, low, high, middle, zero, none, blank = "", mute }, w) {
    this.fit(w, 46);
    const { ctx } = this;
    const length = min(190, w * 0.42);
    ctx.font = theme.font;
    write(ctx, title, 8, 8, { colour: theme.ink, room: w - 10 });
    for (let i = 0; i < length; i++) fill(ctx, css(pick(table, i / length)), 8 + i, 18, 1.5, 11);
    frame(ctx, theme.line, 7.5, 17.5, length + 1, 12);
    note(ctx, theme, low, 8, 38);
    if (middle) note(ctx, theme, middle, 8 + length / 2, 38, "center");
    note(ctx, theme, high, 8 + length, 38, "right");
    let x = length + 24;
    /** @type {[string | undefined, string | CanvasPattern][]} */
    const keys = [
      [zero, "#ffffff"],
      [none, css(NO_LABEL)],
      [`undefined (0/0)${blank}`, this.hatch],
      [mute ? "diagonal muted" : "", "#e0e0e0"],
    ];
    for (const [text, colour] of keys) {
      if (!text) continue;
      fill(ctx, colour, x, 18, 16, 11);
      ctx.strokeRect(x - 0.5, 17.5, 17, 12);
      note(ctx, theme, text, x + 22, 24);
      x += 34 + ctx.measureText(text).width;
    }
  }
}
