import { floor, max, min, round } from "../stats/intervals.js";

/** @param {string} s @returns {Colour} */
export const hex = (s) => [parseInt(s.slice(1, 3), 16), parseInt(s.slice(3, 5), 16), parseInt(s.slice(5, 7), 16)];

/** @param {Colour} a @param {Colour} b @param {number} f @returns {Colour} */
export function mix(a, b, f) {
  return [round(a[0] + f * (b[0] - a[0])), round(a[1] + f * (b[1] - a[1])), round(a[2] + f * (b[2] - a[2]))];
}

/** @param {Colour} c */
export const css = (c) => `rgb(${c})`;

/** 256 colours between anchors, evenly spaced. @param {string[]} anchors */
function ramp(anchors) {
  const stops = anchors.map(hex);
  return Array.from({ length: 256 }, (_, i) => {
    const x = (i / 255) * (stops.length - 1);
    const k = min(stops.length - 2, floor(x));
    return mix(stops[k], stops[k + 1], x - k);
  });
}

// One hue, darker is more; it starts visibly off white because white is kept for an exact zero.
export const SEQUENTIAL = ramp(["#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"]);
// Blue for less, white for equal, orange for more: told apart with every common colour blindness.
const LESS = ["#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff"];
export const DIVERGING = ramp([...LESS, "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"]);
export const WHITE = hex("#ffffff");
export const BLANK = null;
/** @type {Colour} */
export const NO_LABEL = [123, 50, 148];
export const GROUP_COLOURS = ["#0072B2", "#999999", "#D55E00"];

/** @param {Colour[]} table @param {number} x */
export const pick = (table, x) => table[max(0, min(255, round(255 * x)))];

/** Relative luminance (WCAG) decides between dark and white figures on a cell. @param {Colour} c */
export function inkOn(c) {
  const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111111" : "#ffffff";
}

const NAMES = /** @type {const} */ (["ink", "soft", "line", "edge", "paper", "bar", "rate", "blue", "orange"]);

/** The colours that the style sheets give a view. @param {Element} root @returns {Theme} */
export function themeOf(root) {
  const style = getComputedStyle(root);
  const colours = NAMES.map((name) => [name, style.getPropertyValue(`--pld-${name}`).trim()]);
  return { ...Object.fromEntries(colours), font: `11px ${style.fontFamily}` };
}

/**
 * Call `fit` when the width of a view changes, and with true when its colours do; returns what ends that.
 *
 * JupyterLab's theme is an attribute of the body, VS Code's too. A view that has no width yet is laid out once it has one.
 * @param {Element} root @param {(force: boolean) => void} fit
 */
export function watchLook(root, fit) {
  const again = () => fit(true);
  const resize = new ResizeObserver(() => fit(false));
  const themes = new MutationObserver(again);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const attributeFilter = ["class", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "data-theme"];
  resize.observe(root);
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter });
  dark.addEventListener("change", again);
  return () => {
    resize.disconnect();
    themes.disconnect();
    dark.removeEventListener("change", again);
  };
}
