import { mix } from "../core/theme.js";
import { ceil, floor, round } from "../stats/intervals.js";

/** @param {Colour} c */
const pack = (c) => ((255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;

/** @typedef {{radius: number, width: number, fill: Colour, ring: Colour, alpha: number}} Look radius and width of the ring in pixels */
/** @typedef {{at: Int32Array, colour: Uint32Array, cover: Uint16Array}} Place */
/** @typedef {{reach: number, places: Place[]}} Disc */

/**
 * An image into which discs are stamped, antialiased at quarters of a pixel so that slow movement stays smooth.
 *
 * Stamping instead of drawing paths keeps twelve thousand points smooth without a GPU.
 */
export class Raster {
  /** @param {number} width @param {number} height @param {Colour} paper */
  constructor(width, height, paper) {
    this.width = width;
    this.height = height;
    this.image = new ImageData(width, height);
    this.paper = pack(paper);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear() {
    this.pixels.fill(this.paper);
  }

  /** A disc and its ring at the 16 sub-pixel places. @param {Look} look @returns {Disc} */
  disc(look) {
    const reach = ceil(look.radius) + 1;
    return { reach, places: Array.from({ length: 16 }, (_, place) => this.covered(look, reach, place)) };
  }

  /**
   * Offsets of pixels, their colours, and how much of each is covered (to 256).
   * @param {Look} look @param {number} reach @param {number} place
   */
  covered({ radius, fill, ring, width, alpha }, reach, place) {
    const [at, colour, cover] = [[], [], []].map(() => /** @type {number[]} */ ([]));
    for (let y = -reach; y <= reach; y++)
      for (let x = -reach; x <= reach; x++) {
        let inner = 0;
        let outer = 0;
        for (let s = 0; s < 16; s++) {
          const d = Math.hypot(x + ((s & 3) - (place & 3)) / 4, y + ((s >> 2) - (place >> 2)) / 4);
          if (d < radius - width) inner++;
          else if (d < radius) outer++;
        }
        if (!(inner + outer)) continue;
        at.push(y * this.width + x);
        colour.push(pack(mix(fill, ring, outer / (inner + outer))));
        cover.push(round(16 * (inner * alpha + outer)));
      }
    return { at: Int32Array.from(at), colour: Uint32Array.from(colour), cover: Uint16Array.from(cover) };
  }

  /** @param {Disc} disc @param {number} x @param {number} y */
  stamp({ reach, places }, x, y) {
    const ix = floor(x);
    const iy = floor(y);
    if (!(ix >= reach && iy >= reach && ix < this.width - reach && iy < this.height - reach)) return;
    const { at, colour, cover } = places[floor((x - ix) * 4) + 4 * floor((y - iy) * 4)];
    const { pixels } = this;
    const base = iy * this.width + ix;
    for (let k = 0; k < at.length; k++) {
      const i = base + at[k];
      const a = cover[k];
      const b = 256 - a;
      const s = colour[k];
      const d = pixels[i];
      const redBlue = ((s & 0xff00ff) * a + (d & 0xff00ff) * b) >>> 8; // two channels in one product
      const green = ((s & 0xff00) * a + (d & 0xff00) * b) >>> 8;
      pixels[i] = 0xff000000 | (redBlue & 0xff00ff) | (green & 0xff00);
    }
  }
}
