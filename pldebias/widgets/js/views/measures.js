import { button, make } from "../core/dom.js";
import { context, size } from "../core/surface.js";
import { css } from "../core/theme.js";
import { BINS, FILLS, GROUP_NAMES } from "../stats/cloud.js";
import { grouped, percent } from "../stats/format.js";
import { max, round } from "../stats/intervals.js";

const HEIGHT = 110;

/** @param {number | null} v */
const share = (v) => (v === null ? "–" : percent(v));

/** @param {number | null} v */
export const two = (v) => (v === null ? "–" : v.toFixed(2));

/** What stands beside the picture: the legend of the fill, what was measured in feature space, and the selection. */
export class Measures {
  w = 0;

  /** @param {{select: (samples: "highlighted" | "none") => void, showAll: () => void}} acts */
  constructor(acts) {
    this.acts = acts;
    this.legend = make("div");
    this.chart = make("canvas", { role: "img", "aria-label": "purity and trustworthiness; values in the table" });
    this.table = make("table");
    this.selection = make("div", { class: "pld-chosen" });
    const heading = make("h4", {}, "Measured in feature space");
    this.box = make("div", { class: "pld-side" }, this.legend, heading, this.chart, this.table, this.selection);
  }

  /** @param {number} w */
  layout(w) {
    this.w = w;
    this.box.style.width = `${w}px`;
    size(this.chart, w, HEIGHT);
  }

  /**
   * @param {import("../stats/cloud.js").Cloud} cloud @param {number} index @param {EmbeddingState} state
   * @param {PointTheme} theme @param {Colour[]} colours
   */
  write(cloud, index, state, theme, colours) {
    this.writeLegend(cloud, index, state.colour, theme, colours);
    this.writeTable(cloud, index, theme);
    const focus = this.selection.contains(document.activeElement);
    const chosen = state.selection.length;
    const cells = chosen ? cloud.cells(index).slice(0, 5) : [];
    const { select, showAll } = this.acts;
    const buttons = [
      ...(state.cell.length ? [button("select highlighted", () => select("highlighted")), button("show all", showAll)] : []),
      ...(chosen ? [button("clear selection", () => select("none"))] : []),
    ];
    this.selection.replaceChildren(
      make("h4", {}, chosen ? `${grouped(chosen)} selected` : "Drag in the picture to select samples"),
      ...cells.map(([c, p, count]) => item(null, `${cloud.name(c)} → ${cloud.name(p)}`, String(count))),
      ...buttons,
    );
    return focus ? buttons[0] : null;
  }

  /**
   * @param {import("../stats/cloud.js").Cloud} cloud @param {number} index @param {string} colour @param {PointTheme} theme
   * @param {Colour[]} colours
   */
  writeLegend(cloud, index, colour, theme, colours) {
    const { meta } = cloud;
    const counts = new Array(colours.length).fill(0);
    for (let i = 0; i < cloud.n; i++) counts[cloud.code(colour, i, index)]++;
    /** @param {number} g */
    const members = (g) =>
      meta.order
        .filter((c) => meta.group_of[c] === g)
        .map((c) => cloud.name(c))
        .join(", ");
    const groups = [0, 1, 2].map((g) => `${GROUP_NAMES[g]}: ${members(g)}`);
    const kinds = colour === "flipped" ? meta.flips : colour === "confidence" ? [] : [...groups, "unknown"];
    const gradient = `background:linear-gradient(90deg,${theme.ramp.map(css)})`;
    const ramp = [
      make("div", { class: "pld-item" }, "0", make("i", { class: "pld-ramp", style: gradient }), "100 %"),
      make("div", { class: "pld-about" }, meta.confidence),
    ];
    this.legend.replaceChildren(
      make("h4", {}, `Fill: ${FILLS[/** @type {keyof typeof FILLS} */ (colour)]}`),
      ...(kinds.length ? [] : ramp),
      ...kinds.flatMap((text, k) => (counts[k] || k < 3 ? [item(colours[k], text, grouped(counts[k]))] : [])),
      item(theme.grey, meta.truth ? "large: truly tail" : "large: tail by its last label", "", "pld-large"),
      ...(meta.truth ? [item(theme.paper, "ring: wrong pseudo-label", "", "pld-ring")] : []),
    );
  }

  /** @param {import("../stats/cloud.js").Cloud} cloud @param {number} index @param {PointTheme} theme */
  writeTable({ meta }, index, theme) {
    /** @param {(Node | string)[]} head @param {string[]} values @param {"td" | "th"} cell @param {string} scope */
    const line = (head, values, cell = "td", scope = "row") =>
      make("tr", {}, make("th", { scope }, ...head), ...values.map((v) => make(cell, {}, v)));
    /** @param {number} k */
    const dash = (k) => {
      const style = `border-top:2px ${["solid", "dotted", "dashed", "dotted"][k]} ${css(theme.groups[k] ?? theme.ink)}`;
      return make("i", { class: "pld-line", style });
    };
    this.table.replaceChildren(
      line([meta.truth ? "truly" : "labelled"], ["shown", "right", "purity"], "th", "col"),
      ...GROUP_NAMES.map((g, k) =>
        line(k < 3 ? [dash(k), g] : [g], [grouped(meta.shown[k]), share(meta.right[index][k]), two(meta.purity[index][k])]),
      ),
      line([dash(3), "trustworthiness"], ["", "", two(meta.trustworthiness[index])]),
    );
  }

  /**
   * Purity of the groups and trustworthiness over the snapshots; the table under it is its legend.
   * @param {import("../stats/cloud.js").Cloud} cloud @param {number} time @param {PointTheme} theme
   */
  draw({ meta, E }, time, theme) {
    const ctx = context(this.chart);
    /** @param {number} f */
    const x = (f) => 26 + ((this.w - 42) * f) / max(1, E - 1);
    /** @param {number} v */
    const y = (v) => 90 - 82 * v;
    ctx.clearRect(0, 0, this.w, HEIGHT);
    Object.assign(ctx, { font: `10px ${theme.font}`, textBaseline: "middle", textAlign: "center" });
    for (const v of [0, 0.5, 1]) {
      ctx.fillStyle = css(theme.line);
      ctx.fillRect(x(0), round(y(v)), x(E - 1) - x(0), 1);
      ctx.fillStyle = css(theme.ink);
      ctx.fillText(String(v), 12, y(v));
    }
    for (let f = E - 1, free = Infinity; f >= 0; f--) {
      const text = String(meta.epochs[f]);
      const half = ctx.measureText(text).width / 2;
      if (x(f) + half > free) continue;
      ctx.fillText(text, x(f), 102);
      free = x(f) - half - 6;
    }
    [[], [2, 2], [6, 2], [1, 3]].forEach((dash, k) => {
      ctx.setLineDash(dash);
      Object.assign(ctx, { strokeStyle: css(theme.groups[k] ?? theme.ink), lineWidth: 2 });
      ctx.beginPath();
      meta.trustworthiness.forEach((all, f) => {
        const v = k < 3 ? meta.purity[f][k] : all;
        if (v !== null) ctx.lineTo(x(f), y(v));
      });
      ctx.stroke();
    });
    ctx.setLineDash([]);
    ctx.fillRect(x(time) - 0.75, 4, 1.5, 90);
  }
}

/** A line of the legend. @param {Colour | null} colour @param {string} text */
function item(colour, text, count = "", kind = "") {
  const sign = colour ? [make("i", { style: `background:${css(colour)}` })] : [];
  return make("div", { class: `pld-item ${kind}` }, ...sign, make("span", { title: text }, text), count);
}

/**
 * Colours of the fill's codes.
 * @param {string} colour @param {PointTheme} theme @param {(a: Colour, b: Colour, f: number) => Colour} mix @returns {Colour[]}
 */
export function palette(colour, { groups, grey, soft, ramp }, mix) {
  if (colour === "flipped") return [soft, groups[0], groups[2], [204, 121, 167], groups[2]];
  if (colour !== "confidence") return [...groups, grey];
  return [...Array.from({ length: BINS }, (_, i) => mix(...ramp, i / (BINS - 1))), grey];
}
