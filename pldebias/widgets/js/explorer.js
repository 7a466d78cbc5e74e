import { Carpet } from "./carpet.js";
import { Confusions, Curves, Samples } from "./details.js";
import { Legend } from "./legend.js";
import { Matrix } from "./matrix.js";
import { Counts, Difference, abs, ceil, fixed, floor, grouped, inflate, interval, log2, max, min, newcombe, percent, points, ratio, round, turned, wilson } from "./numbers.js";
import { Overview } from "./overview.js";
import { DIVERGING, GROUP_COLOURS, PRIOR_LIMIT, SEQUENTIAL, logFloor, make } from "./paint.js";

const STATE = ["epoch", "run_a", "run_b", "difference", "kind", "split", "metric", "normalize", "scale", "order", "collapse", "cell", "mute", "range", "speed"];
const KINDS = ["visits", "sweep", "test"];
const SPLITS = ["all", "accepted", "rejected"];
const SCALES = ["linear", "sqrt", "log"];
const SPEEDS = [1, 2, 5, 10, 30];
const SYNC_MS = 100; // the kernel hears of a change at most this often, and always of the last one
const SETTLE_MS = 250; // samples are asked for when the epoch has stood still this long

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.words = model.get("meta").words;
    this.cleanups = [];
    this.cache = new Map();
    this.state = Object.fromEntries(STATE.map((k) => [k, model.get(k)]));
    this.pending = new Set();
    Object.assign(this, { frame: 0, playing: false, busy: 0, version: 0, request: 0, marked: [], asked: null });
    this.build(el);
    this.adopt();
    for (const key of STATE) this.listen(model, `change:${key}`, () => this.receive(key));
    this.listen(model, "change:meta", () => (this.cache.clear(), this.adopt()));
    this.listen(model, "msg:custom", (reply, buffers) => reply.request === this.asking && this.samples.show(reply, buffers));
    const resize = new ResizeObserver(() => this.relayout());
    resize.observe(this.root);
    const theme = new MutationObserver(() => this.relayout(true));
    for (const node of [document.documentElement, document.body])
      theme.observe(node, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"] });
    const dark = matchMedia("(prefers-color-scheme: dark)"), again = () => this.relayout(true), pause = () => document.hidden && this.play(false);
    dark.addEventListener("change", again);
    document.addEventListener("visibilitychange", pause);
    this.cleanups.push(() => resize.disconnect(), () => theme.disconnect(), () => dark.removeEventListener("change", again), () => clearTimeout(this.settle),
      () => document.removeEventListener("visibilitychange", pause), () => cancelAnimationFrame(this.frame), () => this.play(false), () => this.flush());
    this.join(model.get("link"));
  }

  listen(model, name, f) {
    model.on(name, f);
    this.cleanups.push(() => model.off(name, f));
  }

  // ---- other views of the page

  /** Views with one link name share an epoch, a cell and a choice of samples, without a kernel. */
  join(name) {
    if (!name) return;
    const hub = (this.hub = (window.__pldebias ??= {})[name] ??= { values: {}, listeners: new Set() });
    const hear = (patch, origin) => origin !== this && this.follow(patch);
    hub.listeners.add(hear);
    this.cleanups.push(() => hub.listeners.delete(hear));
    if (hub.values.epoch === undefined) this.tell({ epoch: this.state.epoch });
    else this.follow(hub.values);
  }

  tell(patch) {
    if (!this.hub || this.following) return;
    Object.assign(this.hub.values, patch);
    for (const f of this.hub.listeners) f(patch, this);
  }

  follow(patch) {
    this.following = true; // what came from another view is not sent back to it
    if (patch.epoch !== undefined) this.go(this.nearest(patch.epoch));
    if (patch.cell !== undefined) this.set("cell", patch.cell ? [patch.cell.true, patch.cell.label] : []);
    if (patch.samples !== undefined) {
      this.marked = (patch.samples && patch.cells) || [];
      this.ask(patch.samples?.length ? { ids: patch.samples } : null);
      this.redraw();
    }
    this.following = false;
  }

  // ---- page

  build(el) {
    const root = (this.root = el.appendChild(make("div", "pldebias", { role: "group", "aria-label": "explorer of pseudo-labels over a training", tabindex: "-1" })));
    const bar = root.appendChild(make("div", "pld-bar"));
    this.titles = bar.appendChild(make("div", "pld-titles"));
    this.buttons = {};
    const group = (label) => bar.appendChild(make("span", "pld-group", { role: "group", "aria-label": label }));
    for (const [key, options] of [["kind", KINDS], ["split", SPLITS]]) {
      const box = group(key === "kind" ? "which pseudo-labels the matrix counts" : "all, accepted or rejected pseudo-labels");
      for (const option of options) {
        const button = (this.buttons[option] = box.appendChild(this.button(option, () => this.count(key, option))));
        button.addEventListener("focus", () => button.title && button.hasAttribute("aria-disabled") && this.say(button.title));
      }
    }
    const choice = (label, key, options) => bar.appendChild(this.choice(label, key, options, label)).lastChild;
    this.selects = {
      metric: choice("carpet", "metric", this.words.metrics),
      normalize: choice("cells", "normalize", this.words.cells),
      scale: choice("scale", "scale", SCALES.map((s) => [s, s === "sqrt" ? "square root" : s])),
      order: choice("order", "order", this.words.orders),
    };
    this.buttons.collapse = bar.appendChild(this.button("groups", () => this.set("collapse", !this.state.collapse)));
    this.finder = bar.appendChild(make("input", "pld-find", { type: "search", placeholder: "find class", "aria-label": "find class" }));
    this.finder.addEventListener("input", () => this.find(this.finder.value));
    this.counting = root.appendChild(make("div", "pld-counting"));
    this.overview = new Overview(root, this);

    this.slider = root.appendChild(make("input", "pld-slider", { type: "range", min: "0", step: "1", "aria-label": "epoch" }));
    this.slider.addEventListener("input", () => this.go(+this.slider.value));
    const transport = root.appendChild(make("div", "pld-transport"));
    const at = () => this.index;
    for (const [name, act] of [["first epoch", () => this.go(0)], ["previous epoch", () => this.go(at() - 1)], ["play", () => this.play(!this.playing)],
      ["next epoch", () => this.go(at() + 1)], ["last epoch", () => this.go(this.timeline.length - 1)]]) {
      const button = transport.appendChild(this.button("", act));
      button.append(icon(name));
      button.setAttribute("aria-label", name);
      button.title = name;
      if (name === "play") this.playButton = button;
    }
    this.readout = transport.appendChild(make("output", "pld-readout"));
    this.selects.speed = transport.appendChild(this.choice("", "speed", SPEEDS.map((s) => [s, `${s} epochs/s`]), "epochs per second")).lastChild;
    transport.append(this.button("keys ?", () => this.help()));

    this.panels = root.appendChild(make("div", "pld-panels"));
    this.slotNodes = [0, 1].map((i) => ({ carpet: new Carpet(this.panels, this), matrix: new Matrix(this.panels, this, i) }));
    this.carpetLegend = new Legend(this.panels, "carpet-legend", "colour bar of the carpet");
    this.matrixLegend = new Legend(this.panels, "matrix-legend", "colour bar of the matrix");
    this.details = root.appendChild(make("div", "pld-details"));
    this.curves = new Curves(this.details, this);
    this.confusions = new Confusions(this.details, this);
    this.samples = new Samples(root, this);
    this.status = root.appendChild(make("div", "pld-status", { role: "status", "aria-live": "polite" }));
    this.helpBox = root.appendChild(make("dl", "pld-help", { hidden: "" }));
    for (const [keys, text] of this.words.keys) this.helpBox.append(make("dt", "", {}, keys), make("dd", "", {}, text));
    this.tip = root.appendChild(make("div", "pld-tip", { hidden: "", "aria-hidden": "true" }));
    root.addEventListener("keydown", (event) => this.key(event));
  }

  button(text, act) {
    const node = make("button", "", { type: "button" }, text);
    node.addEventListener("click", act);
    return node;
  }

  /** A labelled select over one part of the state. */
  choice(label, key, options, name) {
    const field = make("label", "pld-field"), node = make("select", "", { "aria-label": name });
    options.forEach(([, text], i) => node.append(make("option", "", { value: i }, text)));
    node.addEventListener("change", () => this.set(key, options[node.value][0]));
    node.show = (value) => (node.value = options.findIndex(([v]) => v === value));
    field.append(make("span", "", {}, label), node);
    return field;
  }

  /** Pointer drags over a panel with epochs along x move the timeline; with Shift they choose what play runs through. */
  scrubbable(panel, brush = false) {
    const { canvas } = panel;
    let start = null;
    const at = (event) => this.clip(floor(((event.clientX - canvas.getBoundingClientRect().left - panel.left) / panel.plotW) * this.timeline.length));
    const seek = (event) => {
      if (start === null) return this.go(at(event));
      const ends = [start, at(event)].sort((a, b) => a - b);
      this.set("range", ends[0] === ends[1] ? [] : ends.map((i) => this.timeline[i]));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.play(false);
      this.slider.focus({ preventScroll: true });
      start = brush && event.shiftKey ? at(event) : null;
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && seek(event));
  }

  // ---- data

  /** Take over what Python sent: runs, their common timeline, what each has recorded. */
  adopt() {
    const meta = (this.meta = this.model.get("meta"));
    const runs = meta.runs.map((r, i) => [i, r.name]);
    this.titles.replaceChildren();
    if (runs.length > 1) {
      for (const [key, letter, options] of [["run_a", "A", runs], ["run_b", "B", [[-1, "off"], ...runs]]]) {
        const field = this.titles.appendChild(this.choice(letter, key, options, `run ${letter}`));
        field.classList.add(`pld-${key}`);
        this.selects[key] = field.lastChild;
      }
      this.titles.append((this.swapButton = this.button("swap ⇄", () => this.swap())), (this.buttons.difference = this.button("A − B", () => this.set("difference", !this.state.difference))));
    } else this.titles.append(make("span", "pld-title", {}, meta.runs[0].name));
    this.load();
  }

  /** Numbers, in meta.runs, of the runs on show. */
  get shownRuns() {
    const { run_a, run_b } = this.state;
    return run_b < 0 || run_b === run_a ? [run_a] : [run_a, run_b];
  }

  /** Why a kind or split cannot be shown, or "" if it can. */
  obstacle(kind, split) {
    return this.shownRuns.map((r) => this.meta.runs[r].missing).map((why) => why[kind] || why[`${kind}/${split}`]).find(Boolean) ?? "";
  }

  async counts(r, kind, split) {
    const key = `${r}/${kind}/${split}`, K = this.meta.classes.length;
    if (!this.cache.has(key)) {
      const cube = async (s) => {
        const [offset, length, type] = this.meta.runs[r].blocks[kind][s], data = this.model.get("data");
        const buffer = await inflate(new Uint8Array(data.buffer, data.byteOffset + offset, length));
        return turned(type === "uint16" ? new Uint16Array(buffer) : new Uint32Array(buffer), K * K);
      };
      const work = async () => {
        if (split !== "rejected") return new Counts(await cube(split), K);
        const [all, accepted] = await Promise.all([cube("all"), cube("accepted")]);
        return new Counts(all.map((v, i) => v - accepted[i]), K);
      };
      this.cache.set(key, work());
    }
    return this.cache.get(key);
  }

  async load() {
    const ticket = ++this.busy, { state, meta } = this;
    this.root.setAttribute("aria-busy", "true");
    let { kind, split } = state;
    if (this.obstacle(kind, split)) {
      // Another run may not have recorded what was on show.
      split = "all";
      if (this.obstacle(kind, split)) kind = KINDS.find((k) => !this.obstacle(k, split));
      if (!kind) return this.say(this.obstacle(state.kind, split));
      this.put("split", split);
      this.put("kind", kind);
    }
    const shown = this.shownRuns;
    let all;
    try {
      all = await Promise.all(shown.map((r) => this.counts(r, kind, split)));
    } catch (error) {
      this.say(`The data could not be read: ${error.message}`);
      return;
    }
    if (ticket !== this.busy) return;
    // Beside another run, epochs stand where their iterations are among the first run's epochs.
    const at = shown.length > 1 ? "places" : "epochs";
    const timeline = (this.timeline = [...new Set(shown.flatMap((r) => meta.runs[r][at]))].filter((e) => e !== null).sort((a, b) => a - b));
    this.slider.max = timeline.length - 1;
    this.slots = shown.map((r, s) => {
      const run = meta.runs[r], index = new Map(run[at].map((e, i) => [e, i]));
      // A run without this epoch shows the last one before it, and says so. After its end, it has no columns.
      let last = -1;
      const end = max(...index.keys()), exact = timeline.map((e) => (e > end ? -1 : (last = index.get(e) ?? last)));
      const shownAt = exact.map((i, t) => (timeline[t] > end ? last : max(i, 0)));
      const over = (f) => exact.map((e) => (e < 0 ? NaN : f(e)));
      return { ...this.slotNodes[s], r, over, run, base: all[s], exact, shown: shownAt, epochs: run.epochs, letter: shown.length > 1 ? "AB"[s] : "" };
    });
    this.root.removeAttribute("aria-busy");
    this.arrange();
  }

  /** Rows and columns: classes in the chosen order, or the groups. */
  arrange() {
    const { meta, state, slots } = this;
    if (!slots) return;
    const groups = meta.groups.filter((g) => g.classes.length);
    this.names = state.collapse ? groups.map((g) => g.name) : meta.classes;
    this.order = state.collapse ? groups.map((_, i) => i) : (meta.orders[state.order] ?? meta.orders.labelled);
    this.K = this.order.length;
    this.places = [];
    this.order.forEach((c, k) => (this.places[c] = k));
    for (const slot of slots) slot.counts = state.collapse ? slot.base.merged(groups) : slot.base;
    this.difference = state.difference && slots.length === 2 ? new Difference(slots[0], slots[1]) : null;
    this.limits = null;
    this.version++;
    this.controls();
    this.relayout(true);
  }

  place(c) {
    return this.places[c];
  }

  /** What a cell shows: of one run, or A - B. */
  value(slot, index, t, p) {
    const mode = this.state.normalize;
    return this.difference ? this.difference.value(mode, index, t, p) : slot.counts.value(mode, slot.shown[index], t, p);
  }

  letter(slot) {
    return this.difference ? "A − B  " : slot.letter && `${slot.letter}  `;
  }

  limit() {
    const { normalize, mute } = this.state;
    return this.difference ? this.difference.limit(normalize, mute) : max(...this.slots.map((s) => s.counts.limit(normalize, mute))) || 1;
  }

  longestMargin() {
    return max(...this.slots.map((s) => s.counts.maxMargin));
  }

  /** Symmetric limit of the carpet's signed colours, the same for all epochs and both runs. */
  ratioLimit() {
    if (!this.limits) {
      const { difference, state } = this, { metric } = state, log = (counts, i) => (counts.nTrue[i] && counts.nPred[i] ? log2(counts.nPred[i] / counts.nTrue[i]) : 0);
      let top = 0;
      const see = (v) => (top = max(top, abs(v) || 0));
      if (difference && metric !== "ratio") top = difference.rateLimit(metric);
      else if (difference) {
        const { a, b } = difference, K = a.counts.K;
        a.shown.forEach((_, i) => this.order.forEach((c) => see(log(a.counts, a.shown[i] * K + c) - log(b.counts, b.shown[i] * K + c))));
      } else for (const { counts } of this.slots) counts.nTrue.forEach((_, i) => see(log(counts, i)));
      this.limits = metric === "ratio" ? max(1, min(5, ceil(top))) : max(0.1, ceil(top * 10) / 10);
    }
    return this.limits;
  }

  /** Neighbours of one group, in the order on show: f(from, to, name, colour, whether a line follows). */
  groupEdges(f) {
    const { meta, state, order } = this, of = [];
    meta.groups.filter((g) => g.classes.length).forEach((g, i) => (state.collapse ? [i] : g.classes).forEach((c) => (of[c] = meta.groups.indexOf(g))));
    const whole = new Set(order.map((c) => of[c])).size === order.filter((c, k) => of[c] !== of[order[k - 1]]).length;
    for (let from = 0, to = 1; to <= order.length; to++) {
      const g = of[order[from]];
      if (to < order.length && of[order[to]] === g) continue;
      f(from, to, whole && !state.collapse ? meta.groups[g].name : "", GROUP_COLOURS[g % 3], whole && to < order.length);
      from = to;
    }
  }

  // ---- state

  clip(i) {
    return max(0, min(this.timeline.length - 1, i));
  }

  nearest(epoch) {
    const i = this.timeline?.findIndex((e) => e >= epoch) ?? 0;
    return i < 0 ? this.timeline.length - 1 : i;
  }

  get index() {
    return this.nearest(this.state.epoch);
  }

  /** Places of the timeline between which play runs. */
  get range() {
    const { range } = this.state;
    return range.length ? range.map((e) => this.nearest(e)) : [0, this.timeline.length - 1];
  }

  /** Change one part of the state here, draw at once, and tell the kernel soon. */
  set(key, value) {
    if (!this.put(key, value)) return;
    this.changed(key);
    if (key === "epoch") this.tell({ epoch: value });
    if (key === "cell") this.tell({ cell: value.length ? { true: value[0], label: value[1] } : null });
  }

  put(key, value) {
    if (JSON.stringify(this.state[key]) === JSON.stringify(value)) return false;
    this.state[key] = value;
    this.pending.add(key);
    if (!this.timer) this.timer = setTimeout(() => this.flush(), max(0, (this.sent ?? -Infinity) + SYNC_MS - performance.now()));
    return true;
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.pending.size) return;
    this.sent = performance.now();
    for (const key of this.pending) this.model.set(key, this.state[key]);
    this.pending.clear();
    this.model.save_changes();
  }

  receive(key) {
    const value = this.model.get(key);
    if (this.pending.has(key) || JSON.stringify(this.state[key]) === JSON.stringify(value)) return;
    this.state[key] = value;
    this.changed(key);
  }

  changed(key) {
    if (["kind", "split", "run_a", "run_b"].includes(key)) this.load();
    else if (["order", "collapse", "difference"].includes(key)) this.arrange();
    else {
      if (key === "metric") {
        this.limits = null;
        for (const s of this.slots ?? []) s.carpet.base = null;
      }
      if (key !== "epoch") this.controls();
      this.redraw();
    }
    if (["epoch", "kind", "split", "run_a"].includes(key) && this.asked?.cell) this.ask(this.asked);
  }

  go(i) {
    if (this.timeline) this.set("epoch", this.timeline[this.clip(i)]);
    if (this.playing && i >= this.range[1]) this.play(false);
  }

  count(key, value) {
    const kind = key === "kind" ? value : this.state.kind, split = key === "split" ? value : this.state.split;
    let why = this.obstacle(kind, split);
    if (why && key === "kind" && !this.obstacle(kind, "all")) {
      this.set("split", "all");
      why = "";
    }
    if (why) this.say(why);
    else this.set(key, value);
  }

  swap() {
    const { run_a, run_b } = this.state;
    if (this.shownRuns.length < 2) return;
    this.set("run_a", run_b);
    this.set("run_b", run_a);
  }

  /** A cell was clicked, or chosen from the list: its samples, or the classes behind a group. */
  choose(cell, number = 0) {
    if (this.state.collapse) return this.set("collapse", false);
    this.marked = [];
    this.set("cell", cell);
    this.ask({ cell, number });
  }

  /** Ask the kernel (or what stands in for it in a page) for samples, once the view has come to rest. */
  ask(what) {
    clearTimeout(this.settle);
    this.asked = what;
    if (!what) return this.samples.hide();
    this.settle = setTimeout(() => {
      if (!this.slots) return;
      const { kind, split } = this.state, slot = this.slots[what.number] ?? this.slots[0];
      this.asking = ++this.request;
      this.model.send({ type: "samples", request: this.asking, run: slot.r, epoch: slot.epochs[slot.shown[this.index]], kind, split, cell: what.cell ?? [], ids: what.ids ?? [] });
    }, what.ids || this.samples.box.hidden ? 0 : SETTLE_MS);
  }

  drop() {
    this.ask(null);
    this.marked = [];
    this.set("cell", []);
    this.tell({ samples: null });
    this.redraw();
  }

  find(text) {
    const wanted = text.trim().toLowerCase(), names = this.meta.classes.map((n) => n.toLowerCase());
    const c = wanted ? [names.indexOf(wanted), names.findIndex((n) => n.includes(wanted))].find((i) => i >= 0) : undefined;
    if (c === undefined) return wanted && this.say(`no class is called ${text}`);
    this.set("collapse", false);
    this.set("cell", [c, c]);
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "pause" : "play");
    this.playButton.title = on ? "pause" : "play";
    // A screen reader would never finish reading thirty epochs a second.
    this.status.setAttribute("aria-live", on ? "off" : "polite");
    if (!on) return;
    const [from, to] = this.range;
    if (this.index >= to || this.index < from) this.go(from);
    let before = performance.now(), owed = 0;
    const tick = (now) => {
      if (!this.playing) return;
      owed += (min(now - before, 500) / 1000) * this.state.speed;
      before = now;
      const steps = floor(owed);
      owed -= steps;
      if (steps) this.go(min(this.index + steps, this.range[1]));
      requestAnimationFrame(tick);
    };
    this.playing = true;
    requestAnimationFrame(tick);
  }

  key(event) {
    const { target } = event, name = event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (name === "Escape") {
      event.preventDefault();
      return this.leave();
    }
    if (target === this.finder) return event.stopPropagation();
    if (target.tagName === "SELECT" || (target.tagName === "BUTTON" && (name === " " || name === "Enter"))) return;
    if (this.cursorOn && name.startsWith("Arrow")) this.moveCursor(name);
    else if (name === "Enter" && target.classList.contains("pld-matrix")) {
      if (this.cursorOn) this.choose(this.state.cell);
      else this.cursor(true);
    } else {
      const step = event.shiftKey ? 10 : 1, s = this.state, here = this.timeline[this.index], [from, to] = this.range.map((i) => this.timeline[i]);
      const next = (list, v) => list[(list.indexOf(v) + 1) % list.length], [metrics, cells, orders] = ["metrics", "cells", "orders"].map((key) => this.words[key].map(([v]) => v));
      const actions = {
        ArrowLeft: () => this.go(this.index - step), ArrowRight: () => this.go(this.index + step), Home: () => this.go(0), End: () => this.go(this.timeline.length - 1),
        " ": () => this.play(!this.playing), ",": () => this.set("speed", SPEEDS[max(0, SPEEDS.indexOf(s.speed) - 1)]),
        ".": () => this.set("speed", SPEEDS[min(SPEEDS.length - 1, SPEEDS.indexOf(s.speed) + 1)]),
        "[": () => this.set("range", here < to ? [here, to] : []), "]": () => this.set("range", from < here ? [from, here] : []),
        s: () => this.set("scale", next(SCALES, s.scale)), c: () => this.set("metric", next(metrics, s.metric)), m: () => this.set("mute", !s.mute),
        o: () => this.set("order", next(orders, s.order)), g: () => this.set("collapse", !s.collapse),
        x: () => this.swap(), d: () => this.shownRuns.length > 1 && this.set("difference", !s.difference), "/": () => this.finder.focus(), "?": () => this.help(),
      };
      cells.forEach((mode, i) => (actions[i + 1] = () => this.set("normalize", mode)));
      if (!Object.hasOwn(actions, name)) return;
      if (name.startsWith("Arrow") || name === "Home" || name === "End") this.play(false);
      actions[name]();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  leave() {
    if (!this.helpBox.hidden) return this.help();
    if (this.cursorOn) return this.cursor(false);
    if (document.activeElement === this.finder) return this.slider.focus();
    this.play(false);
    document.activeElement?.blur();
    // JupyterLab listens for keys on the cell that holds this output.
    this.root.closest(".jp-Cell, .jp-Notebook")?.focus({ preventScroll: true });
  }

  help() {
    this.helpBox.hidden = !this.helpBox.hidden;
  }

  cursor(on) {
    if (Boolean(this.cursorOn) === on) return;
    this.cursorOn = on;
    this.root.classList.toggle("pld-cursor", on);
    if (on && !this.state.cell.length) this.set("cell", [this.order[0], this.order[0]]);
    this.redraw();
  }

  moveCursor(name) {
    const { order } = this, [t, p] = this.state.cell.map((c) => this.place(c) ?? 0), clip = (v) => max(0, min(this.K - 1, v));
    const [dt, dp] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[name];
    this.set("cell", [order[clip(t + dt)], order[clip(p + dp)]]);
  }

  hover(cell, event, s) {
    if (JSON.stringify(cell) !== JSON.stringify(this.hovered)) {
      this.hovered = cell;
      this.redraw();
    }
    this.tip.hidden = !cell || !this.slots?.[s];
    if (this.tip.hidden) return;
    this.tipSlot = s;
    this.fillTip();
    const box = this.root.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    this.tip.style.left = `${x + 16 + this.tip.offsetWidth > box.width ? max(0, x - this.tip.offsetWidth - 12) : x + 16}px`;
    this.tip.style.top = `${max(0, y - this.tip.offsetHeight - 10)}px`;
  }

  fillTip() {
    const [t, p] = this.hovered, lines = this.difference ? this.gapLines(t, p) : this.cellLines(this.slots[this.tipSlot], t, p);
    this.tip.replaceChildren(make("b", "", {}, `${this.names[t]} → ${this.names[p]}`), ...lines.map((l) => make("div", "", {}, l)));
  }

  // ---- words

  cellLines(slot, t, p) {
    const { counts, shown } = slot, e = shown[this.index], at = e * this.K, c = counts.at(e, t, p), nt = counts.nTrue[at + t], np = counts.nPred[at + p];
    return [
      `count ${grouped(c)}`,
      `${percent(ratio(c, nt))} of true${interval(wilson(c, nt))} (n = ${grouped(nt)})`,
      `${percent(ratio(c, np))} of predicted${interval(wilson(c, np))} (n = ${grouped(np)})`,
      `${percent(ratio(c, counts.total[e]))} of all (n = ${grouped(counts.total[e])})`,
    ];
  }

  /** A - B of a cell, in points with its 95 % interval. */
  gapLines(t, p) {
    const { a, b } = this.difference, counts = [a, b].map((s) => s.counts.at(s.shown[this.index], t, p));
    const line = (mode, words) => {
      const [k, n, l, m] = [a, b].flatMap((s) => s.counts.share(mode, s.shown[this.index], t, p)), [low, high] = newcombe(k, n, l, m);
      return `${points(ratio(k, n) - ratio(l, m))} points ${words}` + (isNaN(low) ? "" : ` [${points(low)}, ${points(high)}]`);
    };
    return [`count ${grouped(counts[0])} − ${grouped(counts[1])}`, line("true", "of true"), line("pred", "of predicted"), line("all", "of all")];
  }

  /** What a choice is called (1), or says of itself (2). */
  word(of, value, which = 1) {
    return this.words[of].find(([v]) => v === value)[which];
  }

  say(text) {
    this.status.textContent = text;
  }

  /** Which of their own epochs the runs show, where it is another one. */
  late(...slots) {
    const now = this.timeline[this.index], own = slots.map((s) => s.epochs[s.shown[this.index]]);
    return own.every((e) => e === now) ? "" : ` (own epoch ${own.join(" − ")})`;
  }

  describe() {
    const { state, slots, meta, index, difference } = this, cell = this.focus;
    const head = `epoch ${this.timeline[index]}, ${state.kind}, ${state.split}`;
    const each = slots.map((slot) => {
      const e = slot.shown[index], name = `${slot.letter} ${slot.run.name}${this.late(slot)}`.trim(), { base } = slot;
      if (cell) return `${name}: ${this.cellLines(slot, ...cell).join(", ")}`;
      const groups = meta.groups.map((g) => `${g.name} ${percent(base.groupRecall(e, g.classes))}`).join(", ");
      const share = base.groupRatio(e, meta.groups.at(-1).classes);
      return `${name}: balanced accuracy ${percent(base.balancedAccuracy(e))}; recall ${groups}; tail labels per true sample ${isNaN(share) ? "undefined" : fixed(share, 2)}`;
    });
    if (difference) {
      const [a, b] = slots.map((s) => s.base.balancedAccuracy(s.shown[index]));
      each.push(cell ? `A − B: ${this.gapLines(...cell).slice(1).join(", ")}` : `A − B: balanced accuracy ${points(a - b)} points`);
    }
    const about = cell ? `: true ${this.names[cell[0]]} → ${state.kind === "test" ? "prediction" : "pseudo-label"} ${this.names[cell[1]]}. ` : ". ";
    return head + about + each.join(". ") + ".";
  }

  controls() {
    const { state, meta, buttons } = this, two = this.shownRuns.length > 1;
    for (const [key, select] of Object.entries(this.selects)) select.show(state[key]);
    this.selects.scale.disabled = state.normalize === "prior" || Boolean(this.difference);
    this.selects.order.disabled = state.collapse;
    for (const kind of KINDS) this.enable(buttons[kind], state.kind === kind, this.obstacle(kind, "all"), meta.kinds[kind]);
    for (const split of SPLITS) this.enable(buttons[split], state.split === split, this.obstacle(state.kind, split), meta.splits[split]);
    this.enable(buttons.collapse, state.collapse, "", "head, medium and tail as one row each");
    if (meta.runs.length > 1) {
      const why = two ? "" : "choose a run B";
      this.enable(buttons.difference, state.difference && two, why, "difference of the two runs, in points");
      this.enable(this.swapButton, false, why, "swap A and B");
      this.swapButton.removeAttribute("aria-pressed");
    }
    const notes = this.shownRuns.map((r) => meta.runs[r].note).filter(Boolean), rows = `Rows run by ${this.word("orders", state.order)}.`;
    this.counting.replaceChildren(make("b", "", {}, `Counted: ${state.kind}, ${state.split}. `),
      make("span", "", {}, [meta.kinds[state.kind], meta.splits[state.split], rows, meta.rule, two ? meta.lengths : "", ...new Set(notes)].filter(Boolean).join(" ")));
  }

  enable(button, pressed, why, tip) {
    button.setAttribute("aria-pressed", pressed);
    if (why) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
    button.title = why || tip;
  }

  // ---- drawing

  redraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => ((this.frame = 0), this.draw()));
  }

  /** The cell that the pointer or the cursor is on; cells of classes have no place among groups. */
  get focus() {
    const cell = this.hovered ?? (this.state.cell.length && !this.state.collapse ? this.state.cell : null);
    return cell?.every((c) => this.place(c) !== undefined) ? cell : null;
  }

  relayout(force) {
    const width = this.root.clientWidth;
    if (!this.slots || width < 40 || (!force && width === this.width)) return;
    this.width = width;
    const style = getComputedStyle(this.root), value = (name) => style.getPropertyValue(name).trim();
    this.theme = Object.fromEntries(["ink", "soft", "line", "edge", "paper", "bar", "rate", "blue", "orange"].map((n) => [n, value(`--pld-${n}`)]));
    this.theme.font = `11px ${style.fontFamily}`;
    const W = width - 2 * parseFloat(style.paddingLeft), gap = 14, two = this.slots.length > 1 && !this.difference, narrow = W < (two ? 640 : 720), small = this.K <= 30;
    this.root.classList.toggle("pld-two", two);
    this.root.classList.toggle("pld-narrow", narrow);
    this.finder.hidden = this.meta.classes.length <= 30;
    this.overview.layout(W);
    const step = this.overview.plotW / this.timeline.length;
    this.slider.style.marginLeft = `${this.overview.left + step / 2 - 8}px`; // the middle of the 16 px thumb lies under the epoch's rule
    this.slider.style.width = `${this.overview.plotW - step + 16}px`;
    const half = two && !narrow ? floor((W - gap) / 2) : W;
    const matrixRoom = two || narrow ? half : min(580, max(400, round(W * 0.5)));
    this.slotNodes.forEach(({ carpet, matrix }, s) => {
      carpet.canvas.hidden = matrix.canvas.hidden = s >= (two ? 2 : 1);
      if (carpet.canvas.hidden) return;
      matrix.layout(matrixRoom, narrow ? Infinity : small ? 600 : 720);
      if (two || narrow) carpet.layout(half, small ? 30 + this.K * 15 + 24 : 300);
      else carpet.layout(W - matrix.w - gap, matrix.h);
      const of = this.difference ? `${this.slots[0].run.name} less ${this.slots[1].run.name}` : this.slots[s].run.name;
      for (const [node, name] of [[carpet, "carpet"], [matrix, "matrix"]]) node.canvas.setAttribute("aria-label", `${name} of ${of}`);
    });
    this.curves.layout(narrow ? W : floor((W - gap) / 2));
    this.legendKey = "";
    this.draw();
  }

  legends() {
    const { state, slots, difference } = this, key = [this.version, state.metric, state.normalize, state.scale, state.mute].join();
    if (key === this.legendKey) return;
    this.legendKey = key;
    const single = !this.root.matches(".pld-two, .pld-narrow"), W = this.overview.w;
    const lim = this.ratioLimit(), metric = this.word("metrics", state.metric, 2), carpetW = single ? slots[0].carpet.w : W, matrixW = single ? slots[0].matrix.w : W;
    const signed = (title, top) => ({ table: DIVERGING, title, low: `≤ −${top}`, middle: "0", high: `≥ ${top}` });
    const least = difference ? "A − B, " : "", gap = `${round(100 * lim)} points`;
    const blank = slots.some((s) => s.exact.includes(-1)) ? " or no epoch" : "";
    const bar = state.metric === "ratio" ? { ...signed(least + metric, lim), none: "no label" }
      : difference ? signed(least + metric, gap) : { table: SEQUENTIAL, title: metric, low: "> 0", high: "100 %", zero: "exactly 0" };
    this.carpetLegend.draw(this, { ...bar, blank }, carpetW);
    const mode = state.normalize, top = this.limit(), show = (v) => (mode === null ? grouped(round(v * 10) / 10) : mode === "prior" ? v.toFixed(1) : `${+(100 * v).toPrecision(3)} ${difference ? "points" : "%"}`);
    const title = this.word("cells", mode, 2);
    this.matrixLegend.draw(this, difference ? signed(`A − B: ${title}; pale where the 95 % interval holds 0`, show(top))
      : mode === "prior" ? signed(title, PRIOR_LIMIT)
        : { table: SEQUENTIAL, title: `${title}, ${state.scale === "sqrt" ? "square-root" : state.scale} scale`, low: state.scale === "log" ? `≤ ${show(logFloor(top, mode))}` : "> 0", high: show(top), zero: "exactly 0" }, matrixW, state.mute);
  }

  draw() {
    if (!this.slots || !this.theme) return;
    const began = performance.now(), { index, root, focus, slots } = this;
    this.slider.value = index;
    // Of the run that has this epoch: beyond the end of one, the other goes on.
    const lead = slots[0], there = slots.find((s) => s.exact[index] >= 0) ?? lead, iteration = there.run.iterations[there.shown[index]];
    const when = `epoch ${this.timeline[index]} of ${this.timeline.at(-1)}` + (iteration >= 0 ? `, iteration ${grouped(iteration)}` : "");
    this.slider.setAttribute("aria-valuetext", when);
    this.readout.textContent = when;
    this.overview.draw(index);
    for (const slot of this.difference ? [lead] : slots) {
      slot.carpet.draw(slot, index);
      slot.matrix.draw(slot, index, focus);
    }
    this.legends();
    this.curves.draw(index, focus);
    this.confusions.draw(lead, index);
    this.samples.draw();
    if (this.hovered && !this.tip.hidden) this.fillTip();
    this.say(this.describe());
    root.dataset.epoch = this.timeline[index];
    root.dataset.drawMs = performance.now() - began;
  }
}

/** Transport signs as paths: emoji fonts would draw them as coloured tiles. */
function icon(name) {
  const shapes = { "first epoch": "M3 3h2v10H3zM13 3v10L6 8z", "previous epoch": "M11 3v10L4 8z", play: "M4 2v12l10-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z", "next epoch": "M5 3v10l7-5z", "last epoch": "M11 3h2v10h-2zM3 3v10l7-5z" };
  const [svg, path] = ["svg", "path"].map((n) => document.createElementNS("http://www.w3.org/2000/svg", n));
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", shapes[name]);
  svg.append(path);
  return svg;
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.cleanups.forEach((f) => f());
}

export default { render };
