import { button, choice, make } from "../core/dom.js";
import { KINDS, SPLITS } from "../stats/scene.js";

const SCALE_NAMES = /** @type {[Scale, string][]} */ ([
  ["linear", "linear"],
  ["sqrt", "square root"],
  ["log", "log"],
]);

/**
 * What the controls of an explorer do.
 * @typedef {object} Acts
 * @property {(key: keyof ExplorerState, value: any) => void} set
 * @property {(key: "collapse" | "difference") => void} toggle
 * @property {(key: "kind" | "split", value: string) => void} count
 * @property {() => void} swap
 * @property {(text: string) => void} find
 * @property {(text: string) => void} say
 */

/** The controls above an explorer, and the line that says what is counted. */
export class Bar {
  /** @type {Record<string, HTMLButtonElement>} */
  buttons = {};
  /** @type {Record<string, {node: HTMLSelectElement, show: (value: any) => void}>} */
  selects = {};

  /** @param {HTMLElement} parent @param {ExplorerMeta["words"]} words @param {Acts} acts */
  constructor(parent, words, acts) {
    this.acts = acts;
    this.titles = make("div", { class: "pld-titles" });
    this.finder = make("input", { class: "pld-find", type: "search", placeholder: "find class", "aria-label": "find class" });
    this.finder.addEventListener("input", () => acts.find(this.finder.value));
    this.buttons.collapse = button("groups", () => acts.toggle("collapse"));
    /** @type {[any, string][]} */
    const metrics = words.metrics.map(([value, text]) => [value, text]);
    /** @type {[any, string][]} */
    const cells = words.cells.map(([value, text]) => [value, text]);
    const bar = make(
      "div",
      { class: "pld-bar" },
      this.titles,
      this.group("kind", KINDS, "which pseudo-labels the matrix counts"),
      this.group("split", SPLITS, "all, accepted or rejected pseudo-labels"),
      this.field("carpet", "metric", metrics),
      this.field("cells", "normalize", cells),
      this.field("scale", "scale", SCALE_NAMES),
      this.field("order", "order", words.orders),
      this.buttons.collapse,
      this.finder,
    );
    this.counting = make("div", { class: "pld-counting" });
    parent.append(bar, this.counting);
  }

  /** @param {"kind" | "split"} key @param {string[]} options @param {string} label */
  group(key, options, label) {
    const nodes = options.map((option) => {
      const node = button(option, () => this.acts.count(key, option));
      node.addEventListener("focus", () => node.title && node.hasAttribute("aria-disabled") && this.acts.say(node.title));
      this.buttons[option] = node;
      return node;
    });
    return make("span", { class: "pld-group", role: "group", "aria-label": label }, ...nodes);
  }

  /**
   * A labelled select over one part of the state.
   * @param {string} label @param {keyof ExplorerState} key @param {[any, string][]} options
   */
  field(label, key, options, name = label) {
    const select = choice(name, options, (value) => this.acts.set(key, value));
    this.selects[key] = select;
    return make("label", { class: `pld-field pld-${key}` }, make("span", {}, label), select.node);
  }

  /** Take over the runs. @param {ExplorerMeta} meta */
  adopt(meta) {
    this.titles.replaceChildren();
    this.finder.hidden = meta.classes.length <= 30;
    if (meta.runs.length < 2) {
      this.titles.append(make("span", { class: "pld-title" }, meta.runs[0].name));
      return;
    }
    /** @type {[any, string][]} */
    const runs = meta.runs.map((r, i) => [i, r.name]);
    this.buttons.swap = button("swap ⇄", this.acts.swap);
    this.buttons.difference = button("A − B", () => this.acts.toggle("difference"));
    this.titles.append(
      this.field("A", "run_a", runs, "run A"),
      this.field("B", "run_b", [[-1, "off"], ...runs], "run B"),
      this.buttons.swap,
      this.buttons.difference,
    );
  }

  /** Show the state, and why what is impossible is. @param {import("../stats/scene.js").Scene} scene */
  show(scene) {
    const { state, meta } = scene;
    const two = scene.shownRuns.length > 1;
    for (const [key, select] of Object.entries(this.selects)) select.show(state[/** @type {keyof ExplorerState} */ (key)]);
    this.selects.scale.node.disabled = state.normalize === "prior" || Boolean(scene.difference);
    this.selects.order.node.disabled = state.collapse;
    for (const kind of KINDS) this.enable(kind, state.kind === kind, scene.obstacle(kind, "all"), meta.kinds[kind]);
    for (const split of SPLITS) this.enable(split, state.split === split, scene.obstacle(state.kind, split), meta.splits[split]);
    this.enable("collapse", state.collapse, "", "head, medium and tail as one row each");
    if (meta.runs.length > 1) {
      const why = two ? "" : "choose a run B";
      this.enable("difference", state.difference && two, why, "difference of the two runs, in points");
      this.enable("swap", false, why, "swap A and B");
      this.buttons.swap.removeAttribute("aria-pressed");
    }
    const notes = scene.shownRuns.map((r) => meta.runs[r].note).filter(Boolean);
    const order = meta.words.orders.find(([name]) => name === state.order)?.[1];
    const said = [meta.kinds[state.kind], meta.splits[state.split], `Rows run by ${order}.`, meta.rule, two ? meta.lengths : ""];
    const text = [...said, ...new Set(notes)].filter(Boolean).join(" ");
    this.counting.replaceChildren(make("b", {}, `Counted: ${state.kind}, ${state.split}. `), make("span", {}, text));
  }

  /** @param {string} name @param {boolean} pressed @param {string} why @param {string} tip */
  enable(name, pressed, why, tip) {
    const node = this.buttons[name];
    node.setAttribute("aria-pressed", String(pressed));
    if (why) node.setAttribute("aria-disabled", "true");
    else node.removeAttribute("aria-disabled");
    node.title = why || tip;
  }
}
