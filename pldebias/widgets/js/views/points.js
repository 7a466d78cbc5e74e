import { context, size } from "../core/surface.js";
import { css, hex, mix } from "../core/theme.js";
import { UNDEFINED } from "../stats/cloud.js";
import { abs, max, min } from "../stats/intervals.js";
import { Raster } from "./raster.js";

const HALO = hex("#009e73");

/**
 * What the picture shows beside the points.
 * @typedef {object} Shown
 * @property {string} colour
 * @property {Cell | []} cell
 * @property {boolean} chosen whether samples are selected
 * @property {boolean} names
 * @property {number | null} hovered
 * @property {[number, number][] | null} lasso
 */

/** The picture: a disc a sample, large for the tail, with a ring where the pseudo-label is wrong. */
export class Points {
  w = 1;
  h = 1;
  dpr = 1;
  zoom = { k: 1, x: 0, y: 0 };
  /** @type {(u: number, v: number) => [number, number]} */
  to = (u, v) => [u, v];

  /** @param {HTMLCanvasElement} canvas @param {import("../stats/cloud.js").Cloud} cloud */
  constructor(canvas, cloud) {
    this.canvas = canvas;
    this.ctx = context(canvas, { alpha: false, willReadFrequently: true });
    this.cloud = cloud;
    this.X = new Float32Array(cloud.n);
    this.Y = new Float32Array(cloud.n);
    this.lit = new Uint8Array(cloud.n);
  }

  /** @param {number} w @param {number} h @param {PointTheme} theme */
  layout(w, h, theme) {
    this.w = w;
    this.h = h;
    this.theme = theme;
    this.dpr = size(this.canvas, w, h);
    this.raster = new Raster(this.canvas.width, this.canvas.height, theme.paper);
  }

  /** Zoom about a place of the picture; a factor of 0 shows all. @param {number} factor @param {[number, number]} about */
  magnify(factor, [a, b]) {
    const { zoom, w, h } = this;
    const k = max(1, min(40, zoom.k * factor));
    const f = k / zoom.k;
    const [u, v] = [a - w / 2, b - h / 2];
    this.zoom = k === 1 ? { k, x: 0, y: 0 } : { k, x: u - f * (u - zoom.x), y: v - f * (v - zoom.y) };
  }

  /**
   * The point nearest to a place; what is highlighted before what is dimmed, what lies on top before what it covers.
   * @param {[number, number]} place @param {number} reach
   */
  nearest([u, v], reach) {
    const { X, Y, lit, dpr } = this;
    let best = null;
    let least = reach * dpr;
    for (const i of this.cloud.order) {
      const d = Math.hypot(X[i] - u * dpr, Y[i] - v * dpr) * (lit[i] ? 1 : 3);
      if (d <= least) {
        best = i;
        least = d;
      }
    }
    return best;
  }

  /** The highlighted point that comes next in a direction. @param {number} start @param {[number, number]} direction */
  next(start, [dx, dy]) {
    let found = start;
    let least = Infinity;
    for (const i of this.cloud.order) {
      const [u, v] = [this.X[i] - this.X[start], this.Y[i] - this.Y[start]];
      const along = u * dx + v * dy;
      const off = abs(u * dy) + abs(v * dx);
      if (this.lit[i] && along > 0.5 && off <= along && along + 2 * off < least) {
        found = i;
        least = along + 2 * off;
      }
    }
    return found;
  }

  /**
   * Where the points lie at a time between two snapshots, and which are highlighted.
   * @param {number} t @param {number} index @param {Shown} shown
   */
  place(t, index, shown) {
    const { cloud, w, h, zoom, dpr, X, Y } = this;
    const [x0, x1, y0, y1] = cloud.meta.box;
    const s = min((w - 30) / (x1 - x0), (h - 30) / (y1 - y0)) * zoom.k;
    const ox = w / 2 + zoom.x - (s * (x0 + x1)) / 2;
    const oy = h / 2 + zoom.y + (s * (y0 + y1)) / 2;
    this.to = (u, v) => [ox + s * u, oy - s * v];
    const { position } = cloud.arrays;
    const f = min(Math.floor(t), cloud.E - 1);
    const part = t - f;
    let a = 2 * f * cloud.n;
    let b = 2 * min(f + 1, cloud.E - 1) * cloud.n;
    for (let i = 0; i < cloud.n; i++, a += 2, b += 2) {
      X[i] = (ox + s * (position[a] + part * (position[b] - position[a]))) * dpr;
      Y[i] = (oy - s * (position[a + 1] + part * (position[b + 1] - position[a + 1]))) * dpr;
      this.lit[i] = +(shown.cell.length ? cloud.inCell(shown.cell, i, index) : !shown.chosen || cloud.selected[i]);
    }
  }

  /**
   * @param {number} t time, between snapshots while points move @param {number} index the snapshot whose labels are shown
   * @param {Shown} shown @param {Colour[]} colours
   */
  draw(t, index, shown, colours) {
    const { cloud, ctx, raster, dpr, theme, lit } = this;
    if (!raster || !theme) return;
    this.place(t, index, shown);
    const inCell = shown.cell.length > 0;
    /** @type {import("./raster.js").Disc[]} */
    const discs = [];
    raster.clear();
    for (const pass of inCell || shown.chosen ? [0, 1] : [1])
      for (const i of cloud.order) {
        if (lit[i] !== pass) continue;
        const fill = cloud.code(shown.colour, i, index);
        const wrong = +cloud.wrong(i, index);
        const tail = +(cloud.arrays.group[i] === 2);
        const halo = +(inCell && cloud.selected[i]);
        const key = (fill << 4) | (halo << 3) | (pass << 2) | (tail << 1) | wrong;
        discs[key] ??= raster.disc(this.look(theme, colours[fill], { wrong, tail, halo, lit: pass, grown: +(inCell && pass) }));
        raster.stamp(discs[key], this.X[i], this.Y[i]);
      }
    ctx.putImageData(raster.image, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    if (shown.names) this.names(theme, t, shown);
    this.hand(theme, shown);
  }

  /**
   * @param {PointTheme} theme @param {Colour} colour @param {Record<"wrong" | "tail" | "halo" | "lit" | "grown", number>} is
   * @returns {import("./raster.js").Look}
   */
  look({ paper, ink }, colour, { wrong, tail, halo, lit, grown }) {
    const { n } = this.cloud;
    const { dpr } = this;
    /** @param {Colour} c */
    const fade = (c) => (lit ? c : mix(c, paper, 0.84));
    const small = n > 6000 ? 1.8 : n > 2000 ? 2.3 : 2.9;
    const radius = small * (tail ? 1.65 : 1) * (wrong ? 1.12 : 1) * (grown ? 1.25 : 1) + 1.6 * halo;
    const rim = halo ? 1.8 : wrong ? (tail ? 1.4 : 0.9) : tail ? 0.7 : 0;
    const ring = halo ? HALO : wrong ? fade(ink) : paper;
    return { radius: radius * dpr, width: rim * dpr, fill: fade(colour), ring, alpha: tail || wrong ? 1 : 0.85 };
  }

  /** Class names above the middles of their points, moved apart. @param {PointTheme} theme @param {number} t @param {Shown} shown */
  names(theme, t, { colour, cell }) {
    const { ctx, w, cloud } = this;
    const { K, E, arrays, meta } = cloud;
    const middle = colour === "pseudo" || !meta.truth ? arrays.middle_label : arrays.middle_true;
    const f = min(Math.floor(t), E - 1);
    const [a, b, part] = [2 * f * K, 2 * min(f + 1, E - 1) * K, t - f];
    /** @type {{x: number, y: number, text: string}[]} */
    const placed = [];
    for (let c = 0; c < K; c++) {
      const [i, j] = [a + 2 * c, b + 2 * c];
      if (middle[i] >= UNDEFINED || (K > 30 && !(/** @type {number[]} */ (cell).includes(c)))) continue;
      const [x, y] = this.to(middle[i] + part * (middle[j] - middle[i]), middle[i + 1] + part * (middle[j + 1] - middle[i + 1]));
      placed.push({ x, y, text: cloud.name(c) });
    }
    const font = { font: `600 14px ${theme.font}`, textAlign: "center", textBaseline: "middle" };
    Object.assign(ctx, font, { lineWidth: 5, lineJoin: "round", strokeStyle: css(theme.paper), fillStyle: css(theme.ink) });
    placed.sort((p, q) => p.y - q.y);
    placed.forEach((p, k) => {
      for (const q of placed.slice(0, k)) if (abs(p.x - q.x) < 30 && p.y - q.y < 14) p.y = q.y + 14;
      const text = p.text.length > 16 ? `${p.text.slice(0, 15)}…` : p.text;
      // Above the middle, which may be the only point, and within the picture.
      const half = ctx.measureText(text).width / 2 + 3;
      const x = max(half, min(w - half, p.x));
      const y = max(p.y - 14, 9);
      ctx.strokeText(text, x, y);
      ctx.fillText(text, x, y);
    });
  }

  /** The way of the point under the pointer through all snapshots, and the lasso. @param {PointTheme} theme @param {Shown} shown */
  hand(theme, { hovered: i, lasso }) {
    const { ctx, cloud, dpr } = this;
    const { position } = cloud.arrays;
    Object.assign(ctx, { strokeStyle: css(theme.ink), lineWidth: 1.5 });
    ctx.beginPath();
    if (i !== null) {
      for (let k = 2 * i; k < position.length; k += 2 * cloud.n) ctx.lineTo(...this.to(position[k], position[k + 1]));
      ctx.moveTo(this.X[i] / dpr + 8, this.Y[i] / dpr);
      ctx.arc(this.X[i] / dpr, this.Y[i] / dpr, 8, 0, 7);
    }
    ctx.stroke();
    if (!lasso) return;
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const place of lasso) ctx.lineTo(...place);
    ctx.closePath();
    ctx.stroke();
    ctx.setLineDash([]);
  }
}
