import { ceil, floor, log10, max, round } from "../stats/intervals.js";
import { make } from "./dom.js";
import { BLANK } from "./theme.js";

/** @typedef {CanvasRenderingContext2D} Context */

/** The hatching of what is undefined. @param {Context} ctx */
function hatching(ctx) {
  const tile = make("canvas", { width: 6, height: 6 });
  const c = context(tile);
  fill(c, "#f1f1f1", 0, 0, 6, 6);
  c.strokeStyle = "#a8a8a8";
  for (const d of [-6, 0, 6]) {
    c.beginPath();
    c.moveTo(d - 1, 7);
    c.lineTo(d + 7, -1);
    c.stroke();
  }
  return /** @type {CanvasPattern} */ (ctx.createPattern(tile, "repeat"));
}

/** @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2DSettings} [options] */
export const context = (canvas, options) => /** @type {Context} */ (canvas.getContext("2d", options));

/**
 * Give a canvas a size in CSS pixels, and as many pixels as the screen has for it.
 * @param {HTMLCanvasElement} canvas @param {number} w @param {number} h
 */
export function size(canvas, w, h) {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = round(w * dpr);
  canvas.height = round(h * dpr);
  Object.assign(canvas.style, { width: `${w}px`, height: `${h}px` });
  context(canvas).setTransform(dpr, 0, 0, dpr, 0, 0);
  return dpr;
}

/** A canvas of its own size, with a background that is painted once. */
export class Surface {
  w = 0;
  h = 0;
  dpr = 1;
  /** @type {HTMLCanvasElement | null} */
  base = null;

  /** @param {HTMLElement} parent @param {string} name @param {string} label */
  constructor(parent, name, label, attributes = {}) {
    this.canvas = parent.appendChild(make("canvas", { class: `pld-${name}`, role: "img", "aria-label": label, ...attributes }));
    this.ctx = context(this.canvas);
    this.hatch = hatching(this.ctx);
  }

  /** @param {number} w @param {number} h */
  fit(w, h) {
    this.w = w;
    this.h = h;
    this.dpr = size(this.canvas, w, h);
    this.base = null;
  }

  /**
   * What stays while epochs pass is painted once and copied under every frame.
   * @param {Theme} theme @param {(ctx: Context) => void} draw
   */
  paint(theme, draw) {
    const { ctx, canvas } = this;
    if (!this.base) {
      ctx.clearRect(0, 0, this.w, this.h);
      ctx.font = theme.font;
      draw(ctx);
      this.base = make("canvas", { width: canvas.width, height: canvas.height });
      context(this.base).drawImage(canvas, 0, 0);
    } else {
      ctx.save();
      ctx.setTransform(1, 0, 0, 1, 0, 0);
      ctx.clearRect(0, 0, canvas.width, canvas.height);
      ctx.drawImage(this.base, 0, 0);
      ctx.restore();
    }
    ctx.font = theme.font;
  }
}

/** @param {Context} ctx @param {string | CanvasPattern} colour @param {number} x @param {number} y @param {number} w @param {number} h */
export function fill(ctx, colour, x, y, w, h) {
  ctx.fillStyle = colour;
  ctx.fillRect(x, y, w, h);
}

/** @param {Context} ctx @param {string} colour @param {number} x @param {number} y @param {number} w @param {number} h */
export function frame(ctx, colour, x, y, w, h, width = 1) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.strokeRect(x, y, w, h);
  ctx.lineWidth = 1;
}

/**
 * Text around a middle line; longer than `room`, it is cut.
 * @param {Context} ctx @param {string} text @param {number} x @param {number} y
 * @param {{align?: CanvasTextAlign, colour?: string, bold?: boolean, angle?: number, size?: number, room?: number}} [look]
 */
export function write(ctx, text, x, y, { align = "left", colour, bold = false, angle = 0, size = 11, room } = {}) {
  ctx.save();
  ctx.font = `${bold ? "600 " : ""}${size}px ${ctx.font.slice(ctx.font.indexOf("px ") + 3)}`;
  let shown = text;
  if (room !== undefined && ctx.measureText(text).width > room) {
    while (shown.length > 1 && ctx.measureText(`${shown}…`).width > room) shown = shown.slice(0, -1);
    shown += "…";
  }
  ctx.translate(x, y);
  ctx.rotate(angle);
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  if (colour) ctx.fillStyle = colour;
  ctx.fillText(shown, 0, 0);
  ctx.restore();
}

/**
 * Small grey words beside a drawing.
 * @param {Context} ctx @param {Theme} theme @param {string} text @param {number} x @param {number} y @param {CanvasTextAlign} [align]
 */
export const note = (ctx, theme, text, x, y, align, colour = theme.soft) => write(ctx, text, x, y, { align, colour, size: 10 });

/** Round tick values for about n ticks over a list of epochs, as [index, label]. @param {number[]} epochs @param {number} n */
export function epochTicks(epochs, n) {
  const last = epochs[epochs.length - 1];
  const raw = (last - epochs[0] || 1) / max(1, n);
  const power = 10 ** floor(log10(raw));
  const step = max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? 1);
  /** @type {[number, string][]} */
  const ticks = [];
  for (let v = ceil(epochs[0] / step) * step; v <= last; v += step) {
    const i = epochs.findIndex((e) => e >= v);
    if (!ticks.length || i > ticks[ticks.length - 1][0]) ticks.push([i, String(epochs[i])]);
  }
  return ticks;
}

/**
 * Ticks and name of the axis under a panel with epochs along x.
 * @param {Context} ctx @param {{left: number, plotW: number}} panel @param {number} y @param {number[]} timeline @param {Theme} theme
 */
export function epochAxis(ctx, { left, plotW }, y, timeline, theme) {
  for (const [i, label] of epochTicks(timeline, plotW / 70)) {
    const x = left + ((i + 0.5) / timeline.length) * plotW;
    fill(ctx, theme.line, x, y, 1, 4);
    write(ctx, label, x, y + 11, { align: "center", colour: theme.soft });
  }
  write(ctx, "epoch", left + plotW / 2, y + 25, { align: "center", colour: theme.soft });
}

/**
 * An image of rows x columns colours (BLANK = undefined), enlarged without smoothing, with hatching over what is undefined.
 * @param {Surface} surface @param {(Colour | null)[]} colours @param {number} rows @param {number} columns
 * @param {number} x @param {number} y @param {number} w @param {number} h
 */
export function mosaic(surface, colours, rows, columns, x, y, w, h) {
  const { ctx } = surface;
  const small = make("canvas", { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const runs = [];
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = 0, start = -1; c < columns; c++, i++) {
      const colour = colours[i];
      if (colour) image.data.set([...colour, 255], 4 * i);
      if (colour === BLANK && start < 0) start = c;
      if (start >= 0 && (colour !== BLANK || c === columns - 1)) {
        runs.push([r, start, colour === BLANK ? c + 1 : c]);
        start = -1;
      }
    }
  context(small).putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, x, y, w, h);
  if (!runs.length) return;
  ctx.beginPath();
  for (const [r, a, b] of runs) ctx.rect(x + (a * w) / columns, y + (r * h) / rows, ((b - a) * w) / columns, h / rows);
  ctx.fillStyle = surface.hatch;
  ctx.fill();
}

/**
 * A line through (x(i), y(values[i])), broken where a value is undefined.
 * @param {Context} ctx @param {number[]} values @param {(i: number) => number} x @param {(v: number) => number} y @param {string} colour
 * @param {number[]} [dash]
 */
export function stroke(ctx, values, x, y, colour, dash = [], width = 1.75) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.beginPath();
  let pen = false;
  values.forEach((v, i) => {
    if (isNaN(v)) {
      pen = false;
      return;
    }
    if (!pen) ctx.moveTo(x(i), y(v));
    ctx.lineTo(x(i) + (pen ? 0 : 0.01), y(v)); // a single value is a dot
    pen = true;
  });
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.lineWidth = 1;
}

/**
 * The area between two series, in the pieces where both are defined.
 * @param {Context} ctx @param {number[]} low @param {number[]} high @param {(i: number) => number} x @param {(v: number) => number} y
 * @param {string} colour
 */
export function band(ctx, low, high, x, y, colour) {
  ctx.fillStyle = colour;
  ctx.globalAlpha = 0.16;
  for (let i = 0, from = -1; i <= low.length; i++) {
    const there = i < low.length && !isNaN(low[i]) && !isNaN(high[i]);
    if (there && from < 0) from = i;
    if (there || from < 0) continue;
    ctx.beginPath();
    for (let j = from; j < i; j++) ctx.lineTo(x(j), y(high[j]));
    for (let j = i - 1; j >= from; j--) ctx.lineTo(x(j), y(low[j]));
    ctx.fill();
    from = -1;
  }
  ctx.globalAlpha = 1;
}
