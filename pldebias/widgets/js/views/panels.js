import { make } from "../core/dom.js";
import { DIVERGING, SEQUENTIAL } from "../core/theme.js";
import { grouped } from "../stats/format.js";
import { floor, max, min, round } from "../stats/intervals.js";
import { Carpet } from "./carpet.js";
import { Confusions } from "./confusions.js";
import { Curves } from "./curves.js";
import { Legend } from "./legend.js";
import { logFloor, Matrix, PRIOR_LIMIT } from "./matrix.js";
import { Overview } from "./overview.js";

const GAP = 14;

/** A symmetric colour bar. @param {string} title @param {string} top */
const signed = (title, top) => ({ table: DIVERGING, title, low: `≤ −${top}`, middle: "0", high: `≥ ${top}` });

/** The drawings of an explorer: their places, and what is drawn at an epoch. */
export class Panels {
  legendKey = "";

  /** @param {HTMLElement} root @param {Stage} stage @param {HTMLInputElement} slider @param {HTMLElement} transport */
  constructor(root, stage, slider, transport) {
    this.root = root;
    this.stage = stage;
    this.slider = slider;
    this.overview = new Overview(root, stage);
    root.append(slider, transport);
    const panels = root.appendChild(make("div", { class: "pld-panels" }));
    this.panes = [0, 1].map((i) => ({ carpet: new Carpet(panels, stage), matrix: new Matrix(panels, stage, i) }));
    this.carpetLegend = new Legend(panels, "carpet-legend", "colour bar of the carpet");
    this.matrixLegend = new Legend(panels, "matrix-legend", "colour bar of the matrix");
    const details = root.appendChild(make("div", { class: "pld-details" }));
    this.curves = new Curves(details, stage);
    this.confusions = new Confusions(details, stage);
  }

  /** Paint the carpets anew. */
  repaint() {
    for (const { carpet } of this.panes) carpet.base = null;
  }

  /** @param {number} W room for the drawings, in CSS pixels */
  layout(W) {
    const { scene } = this.stage;
    const two = scene.slots.length > 1 && !scene.difference;
    const narrow = W < (two ? 640 : 720);
    this.root.classList.toggle("pld-two", two);
    this.root.classList.toggle("pld-narrow", narrow);
    this.overview.layout(W);
    const step = this.overview.plotW / scene.timeline.length;
    this.slider.style.marginLeft = `${this.overview.left + step / 2 - 8}px`; // the middle of the 16 px thumb lies under the epoch's rule
    this.slider.style.width = `${this.overview.plotW - step + 16}px`;
    const half = two && !narrow ? floor((W - GAP) / 2) : W;
    const matrixRoom = two || narrow ? half : min(580, max(400, round(W * 0.5)));
    const small = scene.K <= 30;
    const names = scene.slots.map((slot) => slot.run.name);
    this.panes.forEach(({ carpet, matrix }, s) => {
      const hidden = s >= (two ? 2 : 1);
      carpet.canvas.hidden = hidden;
      matrix.canvas.hidden = hidden;
      if (hidden) return;
      matrix.layout(matrixRoom, narrow ? Infinity : small ? 600 : 720);
      if (two || narrow) carpet.layout(half, small ? 30 + scene.K * 15 + 24 : 300);
      else carpet.layout(W - matrix.w - GAP, matrix.h);
      const of = scene.difference ? `${names[0]} less ${names[1]}` : names[s];
      carpet.canvas.setAttribute("aria-label", `carpet of ${of}`);
      matrix.canvas.setAttribute("aria-label", `matrix of ${of}`);
    });
    this.curves.layout(narrow ? W : floor((W - GAP) / 2));
    this.legendKey = "";
  }

  /** @param {number} index @param {Cell | null} focus */
  draw(index, focus) {
    const { scene } = this.stage;
    this.overview.draw(index);
    (scene.difference ? scene.slots.slice(0, 1) : scene.slots).forEach((slot, s) => {
      this.panes[s].carpet.draw(slot, index);
      this.panes[s].matrix.draw(slot, index, focus);
    });
    this.legends();
    this.curves.draw(index, focus);
    this.confusions.draw(scene.slots[0], index);
  }

  legends() {
    const { scene, theme } = this.stage;
    const { metric, normalize, scale, mute } = scene.state;
    const key = [scene.version, metric, normalize, scale, mute].join();
    if (key === this.legendKey) return;
    this.legendKey = key;
    const alone = !this.root.matches(".pld-two, .pld-narrow");
    const [carpet, matrix] = [this.panes[0].carpet.w, this.panes[0].matrix.w].map((w) => (alone ? w : this.overview.w));
    this.carpetLegend.draw(theme, this.carpetBar(), carpet);
    this.matrixLegend.draw(theme, this.matrixBar(), matrix);
  }

  /** @returns {import("./legend.js").Bar} */
  carpetBar() {
    const { scene } = this.stage;
    const { difference, state } = scene;
    const words = scene.word("metrics", state.metric, 2);
    const title = difference ? `A − B, ${words}` : words;
    const blank = scene.slots.some((s) => s.exact.includes(-1)) ? " or no epoch" : "";
    if (state.metric === "ratio") return { ...signed(title, String(scene.ratioLimit())), none: "no label", blank };
    if (difference) return { ...signed(title, `${round(100 * scene.ratioLimit())} points`), blank };
    return { table: SEQUENTIAL, title, low: "> 0", high: "100 %", zero: "exactly 0", blank };
  }

  /** @returns {import("./legend.js").Bar} */
  matrixBar() {
    const { scene } = this.stage;
    const { difference, state } = scene;
    const { normalize: mode, mute } = state;
    const top = scene.limit();
    const title = scene.word("cells", mode, 2);
    /** @param {number} v */
    const show = (v) => {
      if (mode === null) return grouped(round(v * 10) / 10);
      return mode === "prior" ? v.toFixed(1) : `${+(100 * v).toPrecision(3)} ${difference ? "points" : "%"}`;
    };
    if (difference) return { ...signed(`A − B: ${title}; pale where the 95 % interval holds 0`, show(top)), mute };
    if (mode === "prior") return { ...signed(title, String(PRIOR_LIMIT)), mute };
    const scale = state.scale === "sqrt" ? "square-root" : state.scale;
    const low = state.scale === "log" ? `≤ ${show(logFloor(top, mode))}` : "> 0";
    return { table: SEQUENTIAL, title: `${title}, ${scale} scale`, low, high: show(top), zero: "exactly 0", mute };
  }
}
