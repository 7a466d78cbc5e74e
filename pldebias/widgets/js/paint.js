/** Colours, canvases and the small parts of a page. Names reach the page through textContent and canvas text only, so markup in a name stays text. */

import { ceil, floor, log10, max, min, round } from "./numbers.js";

const hex = (s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16));

/** 256 colours between anchors, evenly spaced. */
function ramp(anchors) {
  const stops = anchors.map(hex);
  return Array.from({ length: 256 }, (_, i) => {
    const x = (i / 255) * (stops.length - 1), k = min(stops.length - 2, floor(x)), f = x - k;
    return stops[k].map((v, j) => round(v + f * (stops[k + 1][j] - v)));
  });
}

// One hue, darker is more; it starts visibly off white because white is kept for an exact zero.
export const SEQUENTIAL = ramp(["#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"]);
// Blue for less, white for equal, orange for more: told apart with every common colour blindness.
export const DIVERGING = ramp(["#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"]);
export const WHITE = [255, 255, 255], BLANK = null, NONE = [123, 50, 148];
export const GROUP_COLOURS = ["#0072B2", "#999999", "#D55E00"];
export const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;
export const pick = (table, x) => table[max(0, min(255, round(255 * x)))];

/** Relative luminance (WCAG) decides between dark and white figures on a cell. */
export function inkOn(c) {
  const [r, g, b] = c.map((v) => ((v /= 255), v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111111" : "#ffffff";
}

/** Position of v > 0 on the colour scale, between 0 and 1. */
function onScale(v, top, mode, scale) {
  if (scale === "sqrt") return Math.sqrt(v / top);
  if (scale === "log") {
    const low = logFloor(top, mode);
    return log10(v / low) / log10(top / low);
  }
  return v / top;
}

/** Where a log scale begins: one sample, or a thousandth of the top. */
export const logFloor = (top, mode) => (mode === null ? min(1, top / 2) : top / 1000);

export const PRIOR_LIMIT = 4; // log2: sixteen times more or less than prevalence alone would give

export function cellColour(v, mode, scale, top) {
  if (isNaN(v) || v === -Infinity) return BLANK;
  if (mode === "prior") return pick(DIVERGING, 0.5 + v / (2 * PRIOR_LIMIT));
  return v === 0 ? WHITE : pick(SEQUENTIAL, onScale(v, top, mode, scale));
}

function hatch(ctx) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const c = tile.getContext("2d");
  c.fillStyle = "#f1f1f1";
  c.fillRect(0, 0, 6, 6);
  c.strokeStyle = "#a8a8a8";
  for (const d of [-6, 0, 6]) {
    c.beginPath();
    c.moveTo(d - 1, 7);
    c.lineTo(d + 7, -1);
    c.stroke();
  }
  return ctx.createPattern(tile, "repeat");
}

export function make(tag, className, attributes = {}, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  // JupyterLab takes keys in the capture phase; it leaves them only to the element that carries this attribute itself.
  if ("tabindex" in attributes || ["button", "input", "select"].includes(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  if (text !== undefined) node.textContent = text;
  return node;
}

export class Surface {
  constructor(parent, name, label, attributes = {}) {
    this.canvas = parent.appendChild(make("canvas", `pld-${name}`, { role: "img", "aria-label": label, ...attributes }));
    this.ctx = this.canvas.getContext("2d");
    this.hatch = hatch(this.ctx);
  }

  fit(w, h) {
    const dpr = window.devicePixelRatio || 1;
    Object.assign(this, { w, h, dpr });
    this.canvas.width = round(w * dpr);
    this.canvas.height = round(h * dpr);
    Object.assign(this.canvas.style, { width: `${w}px`, height: `${h}px` });
    this.ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    this.base = null;
  }

  /** What stays while epochs pass is painted once and copied under every frame. */
  paint(theme, draw) {
    const { ctx, canvas } = this;
    if (!this.base) {
      ctx.clearRect(0, 0, this.w, this.h);
      ctx.font = theme.font;
      draw(ctx);
      this.base = document.createElement("canvas");
      this.base.width = canvas.width;
      this.base.height = canvas.height;
      this.base.getContext("2d").drawImage(canvas, 0, 0);
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

export function fill(ctx, colour, x, y, w, h) {
  ctx.fillStyle = colour;
  ctx.fillRect(x, y, w, h);
}

export function frame(ctx, colour, x, y, w, h, width = 1) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.strokeRect(x, y, w, h);
  ctx.lineWidth = 1;
}

/** Small grey words beside a drawing. */
export const note = (ctx, theme, text, x, y, align, colour = theme.soft) => write(ctx, text, x, y, { align, colour, size: 10 });

export function write(ctx, text, x, y, { align = "left", colour, bold = false, angle = 0, size = 11, room } = {}) {
  ctx.save();
  ctx.font = `${bold ? "600 " : ""}${size}px ${ctx.font.slice(ctx.font.indexOf("px ") + 3)}`;
  if (room !== undefined && ctx.measureText(text).width > room) {
    while (text.length > 1 && ctx.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    text += "…";
  }
  ctx.translate(x, y);
  ctx.rotate(angle);
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  if (colour) ctx.fillStyle = colour;
  ctx.fillText(text, 0, 0);
  ctx.restore();
}

/** Round tick values for about n ticks over a list of epochs, as [index, label]. */
export function epochTicks(epochs, n) {
  const span = epochs[epochs.length - 1] - epochs[0] || 1, raw = span / max(1, n), power = 10 ** floor(log10(raw));
  const step = max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw));
  const ticks = [];
  for (let v = ceil(epochs[0] / step) * step; v <= epochs[epochs.length - 1]; v += step) {
    const i = epochs.findIndex((e) => e >= v);
    if (!ticks.length || i > ticks[ticks.length - 1][0]) ticks.push([i, String(epochs[i])]);
  }
  return ticks;
}

/** An image of rows x columns colours (BLANK = undefined), enlarged without smoothing, with hatching over what is undefined. */
export function mosaic(ctx, surface, colours, rows, columns, x, y, w, h) {
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const image = new ImageData(columns, rows);
  const undefinedRuns = [];
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = 0, start = -1; c < columns; c++, i++) {
      const colour = colours[i];
      if (colour) image.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
      if (colour === BLANK && start < 0) start = c;
      if (start >= 0 && (colour !== BLANK || c === columns - 1)) {
        undefinedRuns.push([r, start, colour === BLANK ? c + 1 : c]);
        start = -1;
      }
    }
  small.getContext("2d").putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, x, y, w, h);
  if (!undefinedRuns.length) return;
  ctx.beginPath();
  for (const [r, a, b] of undefinedRuns) ctx.rect(x + (a * w) / columns, y + (r * h) / rows, ((b - a) * w) / columns, h / rows);
  ctx.fillStyle = surface.hatch;
  ctx.fill();
}


/** A line through (x(i), y(values[i])), broken where a value is undefined. */
export function stroke(ctx, values, x, y, colour, dash = [], width = 1.75) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.beginPath();
  let pen = false;
  values.forEach((v, i) => {
    if (isNaN(v)) pen = false;
    else if (pen) ctx.lineTo(x(i), y(v));
    else ctx.moveTo(x(i), y(v)), ctx.lineTo(x(i) + 0.01, y(v)), (pen = true);
  });
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.lineWidth = 1;
}

/** The area between two series, in the pieces where both are defined. */
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
