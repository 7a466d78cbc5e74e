/** The explorer: two runs scrubbed together. This file composes; numbers are formed in stats/, and drawn in views/. */

import { inflate } from "./core/bytes.js";
import { button, keyList, leaveTo, make, same } from "./core/dom.js";
import { Link } from "./core/link.js";
import { Shared } from "./core/model.js";
import { Player } from "./core/player.js";
import { themeOf, watchLook } from "./core/theme.js";
import { Counts, turned } from "./stats/counts.js";
import { floor, max, min } from "./stats/intervals.js";
import { Scene } from "./stats/scene.js";
import { Bar } from "./views/bar.js";
import { Panels } from "./views/panels.js";
import { Samples } from "./views/samples.js";
import { Tip } from "./views/tip.js";

/** @type {(keyof ExplorerState)[]} */
const STATE = [
  "epoch",
  "run_a",
  "run_b",
  "difference",
  "kind",
  "split",
  "metric",
  "normalize",
  "scale",
  "order",
  "collapse",
  "cell",
  "mute",
  "range",
  "speed",
];
/** @type {Scale[]} */
const SCALES = ["linear", "sqrt", "log"];
const SPEEDS = [1, 2, 5, 10, 30];
const SETTLE_MS = 250; // samples are asked for when the epoch has stood still this long

/** @implements {Stage} */
class Explorer {
  theme = /** @type {Theme} */ ({});
  /** @type {Stage["marked"]} */
  marked = [];
  askedSlot = 0;
  /** @type {{cell?: Cell, ids?: number[]} | null} */
  asked = null;
  asking = 0; // number of the last question
  settle = 0; // timer of the next one
  ticket = 0; // of the last loading
  frame = 0;
  width = 0;
  owed = 0; // part of an epoch that playing has not shown yet
  cursorOn = false;
  following = false;
  /** @type {Cell | null} */
  hovered = null;
  tipSlot = 0;
  /** @type {Map<string, Promise<Counts>>} */
  cache = new Map();

  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    /** @type {Shared<ExplorerState>} */
    this.shared = new Shared(model, STATE, (key, value) => {
      Object.assign(this.shared.values, { [key]: value });
      this.changed(key);
    });
    this.state = this.shared.values;
    this.scene = new Scene(model.get("meta"), this.state);
    const label = "explorer of pseudo-labels over a training";
    this.root = el.appendChild(make("div", { class: "pldebias", role: "group", "aria-label": label, tabindex: "-1" }));
    this.bar = new Bar(this.root, this.scene.meta.words, {
      set: (key, value) => this.set(key, value),
      toggle: (key) => this.set(key, !this.state[key]),
      count: (key, value) => this.count(key, value),
      swap: () => this.swap(),
      find: (text) => this.find(text),
      say: (text) => this.say(text),
    });
    this.slider = make("input", { class: "pld-slider", type: "range", min: "0", step: "1", "aria-label": "epoch" });
    this.slider.addEventListener("input", () => this.go(+this.slider.value));
    const transport = make("div", { class: "pld-transport" });
    this.player = new Player(transport, "epoch", {
      first: () => this.go(0),
      previous: () => this.go(this.scene.index - 1),
      next: () => this.go(this.scene.index + 1),
      last: () => this.go(this.scene.timeline.length - 1),
      ready: () => this.scene.slots.length > 0,
      start: () => this.rewind(),
      tick: (seconds) => this.advance(seconds),
      // A screen reader would never finish reading thirty epochs a second.
      changed: (playing) => this.status.setAttribute("aria-live", playing ? "off" : "polite"),
    });
    this.readout = transport.appendChild(make("output", { class: "pld-readout" }));
    const speeds = SPEEDS.map((s) => /** @type {[any, string]} */ ([s, `${s} epochs/s`]));
    transport.append(
      this.bar.field("", "speed", speeds, "epochs per second"),
      button("keys ?", () => this.help()),
    );
    this.panels = new Panels(this.root, this, this.slider, transport);
    this.samples = new Samples(this.root, this);
    this.status = this.root.appendChild(make("div", { class: "pld-status", role: "status", "aria-live": "polite" }));
    this.helpBox = this.root.appendChild(keyList(this.scene.meta.words.keys));
    this.tip = new Tip(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.link = new Link((patch) => this.follow(patch));
    this.bar.adopt(this.scene.meta);
    this.load();
    this.shared.listen("change:meta", () => {
      this.cache.clear();
      this.scene = new Scene(model.get("meta"), this.state);
      this.bar.adopt(this.scene.meta);
      this.load();
    });
    this.shared.listen("msg:custom", (reply, buffers) => {
      if (reply.request === this.asking) this.samples.show(reply, buffers);
    });
    this.unwatch = watchLook(this.root, (force) => this.relayout(force));
    this.link.join(model.get("link"));
    if (this.link.values.epoch === undefined) this.link.tell({ epoch: this.state.epoch });
    else this.follow(this.link.values);
  }

  close() {
    this.unwatch();
    this.link.leave();
    this.player.close();
    clearTimeout(this.settle);
    cancelAnimationFrame(this.frame);
    this.shared.close();
  }

  // ---- linked views

  /** @param {Patch} patch */
  tell(patch) {
    if (!this.following) this.link.tell(patch); // what came from another view is not sent back to it
  }

  /** @param {Patch} patch */
  follow({ epoch, cell, samples, cells }) {
    this.following = true;
    if (epoch !== undefined && this.scene.slots.length) this.go(this.scene.nearest(epoch));
    else if (epoch !== undefined) this.set("epoch", epoch);
    if (cell !== undefined) this.set("cell", cell ? [cell.true, cell.label] : []);
    if (samples !== undefined) {
      this.marked = (samples && cells) || [];
      this.ask(samples?.length ? { ids: samples } : null);
      this.redraw();
    }
    this.following = false;
  }

  // ---- data

  /** @param {number} r @param {string} kind @param {string} split @returns {Promise<Counts>} */
  counts(r, kind, split) {
    const key = `${r}/${kind}/${split}`;
    const found = this.cache.get(key) ?? this.read(r, kind, split);
    this.cache.set(key, found);
    return found;
  }

  /** @param {number} r @param {string} kind @param {string} split */
  async read(r, kind, split) {
    const { meta } = this.scene;
    const K = meta.classes.length;
    /** @param {string} s */
    const cube = async (s) => {
      const [offset, length, type] = meta.runs[r].blocks[kind][s];
      const data = this.model.get("data");
      const buffer = await inflate(new Uint8Array(data.buffer, data.byteOffset + offset, length));
      return type === "uint16" ? turned(new Uint16Array(buffer), K * K) : turned(new Uint32Array(buffer), K * K);
    };
    if (split !== "rejected") return new Counts(await cube(split), K);
    const [all, accepted] = await Promise.all([cube("all"), cube("accepted")]);
    return new Counts(
      all.map((v, i) => v - accepted[i]),
      K,
    );
  }

  async load() {
    const ticket = ++this.ticket;
    const { scene } = this;
    this.root.setAttribute("aria-busy", "true");
    const chosen = scene.possible(); // another run may not have recorded what was on show
    if (!chosen) return this.say(scene.obstacle(this.state.kind, this.state.split));
    this.shared.put("split", chosen.split);
    this.shared.put("kind", chosen.kind);
    try {
      const all = await Promise.all(scene.shownRuns.map((r) => this.counts(r, chosen.kind, chosen.split)));
      if (ticket !== this.ticket) return undefined;
      scene.seat(all);
    } catch (error) {
      return this.say(`The data could not be read: ${error instanceof Error ? error.message : error}`);
    }
    this.slider.max = String(scene.timeline.length - 1);
    this.root.removeAttribute("aria-busy");
    return this.arranged();
  }

  arranged() {
    this.bar.show(this.scene);
    this.relayout(true);
  }

  // ---- state

  /** Change one part of the state here, draw at once, and tell the kernel soon. @param {keyof ExplorerState} key @param {any} value */
  set(key, value) {
    if (!this.shared.put(key, value)) return;
    this.changed(key);
    if (key === "epoch") this.tell({ epoch: value });
    if (key === "cell") this.tell({ cell: value.length ? { true: value[0], label: value[1] } : null });
  }

  /** @param {keyof ExplorerState} key */
  changed(key) {
    const { scene } = this;
    if (["kind", "split", "run_a", "run_b"].includes(key)) this.load();
    else if (scene.slots.length && ["order", "collapse", "difference"].includes(key)) {
      scene.arrange();
      this.arranged();
    } else {
      if (key === "metric") {
        scene.signedLimit = 0;
        this.panels.repaint();
      }
      if (key !== "epoch") this.bar.show(scene);
      this.redraw();
    }
    if (["epoch", "kind", "split", "run_a"].includes(key) && this.asked?.cell) this.ask(this.asked, this.askedSlot);
  }

  /** @param {number} i */
  go(i) {
    const { scene, player } = this;
    if (scene.slots.length) this.set("epoch", scene.timeline[scene.clip(i)]);
    if (player.playing && i >= scene.range[1]) player.play(false);
  }

  /** Begin to play within the chosen epochs. */
  rewind() {
    const { index, range } = this.scene;
    if (index >= range[1] || index < range[0]) this.go(range[0]);
    this.owed = 0;
  }

  /** @param {number} seconds */
  advance(seconds) {
    this.owed += seconds * this.state.speed;
    const steps = floor(this.owed);
    this.owed -= steps;
    if (steps) this.go(min(this.scene.index + steps, this.scene.range[1]));
  }

  /** Count another kind or split, if the runs recorded it. @param {"kind" | "split"} key @param {string} value */
  count(key, value) {
    const { scene, state } = this;
    const [kind, split] = key === "kind" ? [value, state.split] : [state.kind, value];
    const why = scene.obstacle(kind, split);
    if (why && key === "kind" && !scene.obstacle(kind, "all")) this.set("split", "all");
    else if (why) return this.say(why);
    return this.set(key, value);
  }

  swap() {
    const { run_a, run_b } = this.state;
    if (this.scene.shownRuns.length < 2) return;
    this.set("run_a", run_b);
    this.set("run_b", run_a);
  }

  /** A cell was clicked, or chosen from the list: its samples, or the classes behind a group. @param {Cell} cell */
  choose(cell, number = 0) {
    if (this.state.collapse) return this.set("collapse", false);
    this.marked = [];
    this.set("cell", cell);
    return this.ask({ cell }, number);
  }

  /** Ask the kernel (or what stands in for it in a page) for samples, once the view has come to rest. @param {Explorer["asked"]} what */
  ask(what, number = 0) {
    clearTimeout(this.settle);
    this.asked = what;
    this.askedSlot = number;
    if (!what) return this.samples.hide();
    const question = () => {
      const { scene, state } = this;
      const slot = scene.slots[number] ?? scene.slots[0];
      if (!slot) return;
      this.asking++;
      const epoch = slot.epochs[slot.shown[scene.index]];
      const where = { run: slot.r, epoch, kind: state.kind, split: state.split, cell: what.cell ?? [], ids: what.ids ?? [] };
      this.model.send({ type: "samples", request: this.asking, ...where });
    };
    this.settle = window.setTimeout(question, what.ids || this.samples.box.hidden ? 0 : SETTLE_MS);
  }

  drop() {
    this.ask(null);
    this.marked = [];
    this.set("cell", []);
    this.tell({ samples: null });
    this.redraw();
  }

  /** @param {string} text */
  find(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return undefined;
    const names = this.scene.meta.classes.map((n) => n.toLowerCase());
    const c = [names.indexOf(wanted), names.findIndex((n) => n.includes(wanted))].find((i) => i >= 0);
    if (c === undefined) return this.say(`no class is called ${text}`);
    this.set("collapse", false);
    return this.set("cell", [c, c]);
  }

  // ---- keys and pointer

  /** @param {KeyboardEvent} event */
  key(event) {
    const { key: name } = event;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (name === "Escape") {
      event.preventDefault();
      this.leave();
      return;
    }
    if (target === this.bar.finder) {
      event.stopPropagation();
      return;
    }
    if (target.tagName === "SELECT" || (target.tagName === "BUTTON" && (name === " " || name === "Enter"))) return;
    if (this.cursorOn && name.startsWith("Arrow")) this.moveCursor(name);
    else if (name === "Enter" && target.classList.contains("pld-matrix")) {
      if (this.cursorOn && this.state.cell.length) this.choose(this.state.cell);
      else this.cursor(true);
    } else {
      const actions = this.actions(event.shiftKey ? 10 : 1);
      if (!Object.hasOwn(actions, name)) return;
      if (name.startsWith("Arrow") || name === "Home" || name === "End") this.player.play(false);
      actions[name]();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** What the keys do; the words for them come from Python. @param {number} step @returns {Record<string, () => void>} */
  actions(step) {
    const { scene, state: s, player } = this;
    const { words } = scene.meta;
    /** @template T @param {T[]} list @param {T} v */
    const next = (list, v) => list[(list.indexOf(v) + 1) % list.length];
    const metrics = /** @type {Metric[]} */ (words.metrics.map(([v]) => v));
    const orders = words.orders.map(([v]) => v);
    const here = scene.timeline[scene.index];
    const [from, to] = scene.range.map((i) => scene.timeline[i]);
    /** @param {number} by */
    const faster = (by) => this.set("speed", SPEEDS[max(0, min(SPEEDS.length - 1, SPEEDS.indexOf(s.speed) + by))]);
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => this.go(scene.index - step),
      ArrowRight: () => this.go(scene.index + step),
      Home: () => this.go(0),
      End: () => this.go(scene.timeline.length - 1),
      " ": () => player.play(!player.playing),
      ",": () => faster(-1),
      ".": () => faster(1),
      "[": () => this.set("range", here < to ? [here, to] : []),
      "]": () => this.set("range", from < here ? [from, here] : []),
      s: () => this.set("scale", next(SCALES, s.scale)),
      c: () => this.set("metric", next(metrics, s.metric)),
      m: () => this.set("mute", !s.mute),
      o: () => this.set("order", next(orders, s.order)),
      g: () => this.set("collapse", !s.collapse),
      x: () => this.swap(),
      d: () => {
        if (scene.shownRuns.length > 1) this.set("difference", !s.difference);
      },
      "/": () => this.bar.finder.focus(),
      "?": () => this.help(),
    };
    words.cells.forEach(([mode], i) => {
      actions[i + 1] = () => this.set("normalize", mode);
    });
    return actions;
  }

  leave() {
    if (!this.helpBox.hidden) return this.help();
    if (this.cursorOn) return this.cursor(false);
    if (document.activeElement === this.bar.finder) return this.slider.focus();
    this.player.play(false);
    return leaveTo(this.root);
  }

  help() {
    this.helpBox.hidden = !this.helpBox.hidden;
    if (!this.helpBox.hidden) this.helpBox.scrollIntoView?.({ block: "nearest" });
  }

  /** Let the arrow keys move over the cells of the matrix. @param {boolean} on */
  cursor(on) {
    if (this.cursorOn === on) return;
    this.cursorOn = on;
    this.root.classList.toggle("pld-cursor", on);
    const [first] = this.scene.order;
    if (on && !this.state.cell.length) this.set("cell", [first, first]);
    this.redraw();
  }

  /** @param {string} name */
  moveCursor(name) {
    const { scene } = this;
    const [t, p] = this.state.cell.map((c) => scene.place(c) ?? 0);
    const [dt, dp] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[name] ?? [0, 0];
    /** @param {number} k */
    const at = (k) => scene.order[max(0, min(scene.K - 1, k))];
    this.set("cell", [at(t + dt), at(p + dp)]);
  }

  /** @param {Cell | null} cell @param {PointerEvent} [event] */
  hover(cell, event, number = 0) {
    if (!same(cell, this.hovered)) {
      this.hovered = cell;
      this.redraw();
    }
    if (!cell || !event || !this.scene.slots[number]) return this.tip.hide();
    this.tipSlot = number;
    this.fillTip(cell);
    return this.tip.place(event);
  }

  /** @param {Cell} cell */
  fillTip([t, p]) {
    const { scene } = this;
    const { difference, names } = scene;
    const lines = difference ? scene.gapLines(difference, t, p) : scene.cellLines(scene.slots[this.tipSlot], t, p);
    this.tip.say(lines, `${names[t]} → ${names[p]}`);
  }

  /**
   * Pointer drags over a panel with epochs along x move the timeline; with Shift they choose what play runs through.
   * @param {{canvas: HTMLCanvasElement, left: number, plotW: number}} panel
   */
  scrubbable(panel, brush = false) {
    const { canvas } = panel;
    /** @type {number | null} */
    let start = null;
    /** @param {PointerEvent} event */
    const at = (event) => {
      const x = (event.clientX - canvas.getBoundingClientRect().left - panel.left) / panel.plotW;
      return this.scene.clip(floor(x * this.scene.timeline.length));
    };
    /** @param {PointerEvent} event */
    const seek = (event) => {
      const i = at(event);
      if (start === null) return this.go(i);
      const ends = [min(start, i), max(start, i)].map((k) => this.scene.timeline[k]);
      return this.set("range", ends[0] === ends[1] ? [] : ends);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.player.play(false);
      this.slider.focus({ preventScroll: true });
      start = brush && event.shiftKey ? at(event) : null;
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && seek(event));
  }

  // ---- drawing

  /** @param {string} text */
  say(text) {
    this.status.textContent = text;
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** The cell that the pointer or the cursor is on; cells of classes have no place among groups. @returns {Cell | null} */
  get focus() {
    const chosen = this.state.cell.length && !this.state.collapse ? this.state.cell : null;
    const cell = this.hovered ?? chosen;
    return cell?.every((c) => this.scene.place(c) !== undefined) ? cell : null;
  }

  /** @param {boolean} force */
  relayout(force) {
    const width = this.root.clientWidth;
    if (force) this.width = 0; // where there is no width now, the next one is laid out
    if (!this.scene.slots.length || width < 40 || width === this.width) return;
    this.width = width;
    this.theme = themeOf(this.root);
    this.panels.layout(width - 2 * parseFloat(getComputedStyle(this.root).paddingLeft));
    this.draw();
  }

  draw() {
    const { scene, root, focus } = this;
    if (!scene.slots.length || !this.width) return;
    const began = performance.now();
    const { index } = scene;
    this.slider.value = String(index);
    this.slider.setAttribute("aria-valuetext", scene.when);
    this.readout.textContent = scene.when;
    this.panels.draw(index, focus);
    this.samples.draw();
    if (this.hovered && this.tip.open) this.fillTip(this.hovered);
    this.say(scene.describe(focus));
    root.dataset.epoch = String(scene.timeline[index]);
    root.dataset.drawMs = String(performance.now() - began);
  }
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.close();
}

export default { render };
