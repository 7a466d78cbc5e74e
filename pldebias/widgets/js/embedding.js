/** The embedding view: points of the same samples over the snapshots of a training. This file composes. */

import { inflate } from "./core/bytes.js";
import { button, choice, keyList, leaveTo, make, same } from "./core/dom.js";
import { Link } from "./core/link.js";
import { Shared } from "./core/model.js";
import { Player } from "./core/player.js";
import { hex, mix, watchLook } from "./core/theme.js";
import { Cloud, FILLS, GROUP_NAMES, inside, UNDEFINED } from "./stats/cloud.js";
import { grouped, percent } from "./stats/format.js";
import { max, min, round } from "./stats/intervals.js";
import { Measures, palette, two } from "./views/measures.js";
import { Points } from "./views/points.js";
import { Tip } from "./views/tip.js";

/** @type {(keyof EmbeddingState)[]} */
const STATE = ["epoch", "colour", "cell", "selection", "names", "speed"];
const MOVE_MS = 260; // a step from one snapshot to the next
const REACH = 12; // CSS pixels between the pointer and a point
/** @type {[string, string][]} */
const KEYS = [
  ["← → Home End", "move through the snapshots"],
  ["Space", "play, pause"],
  ["1 2 3 4", "colour by pseudo-label, true class, change, confidence"],
  ["n", "class names"],
  ["drag, click", "select by lasso, or one; Shift adds"],
  ["s", "select what is highlighted"],
  ["+ − 0", "zoom at the pointer; also Ctrl + wheel"],
  ["Enter", "in the picture: walk over the points with the arrows; again: select the point"],
  ["Esc", "stop walking, unselect, leave"],
];
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class EmbeddingView {
  /** @type {Points | null} */
  points = null;
  theme = /** @type {PointTheme} */ ({});
  t = 0; // lies between snapshots while points move
  index = 0; // the snapshot whose labels are shown
  aim = 0;
  from = 0;
  began = 0;
  /** @type {number | null} */
  asked = null; // epoch of a linked view
  /** @type {number | null} */
  hovered = null;
  walking = false;
  /** @type {[number, number][] | null} */
  path = null;
  /** @type {[number, number] | null} */
  pointer = null;
  frame = 0;
  stale = false; // words too
  width = 0;
  closed = false;

  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    /** @type {Shared<EmbeddingState>} */
    this.shared = new Shared(model, STATE, (key, value) => this.receive(key, value));
    this.state = this.shared.values;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");

    this.title = make("b", { class: "pld-title" });
    this.about = make("div", { class: "pld-about" });
    this.colours = choice("colour", Object.entries(FILLS), (colour) => this.set("colour", colour));
    const pick = () => this.pick();
    this.trueClass = choice("true", /** @type {[number, string][]} */ ([]), pick);
    this.label = choice("pseudo-label", /** @type {[number, string][]} */ ([]), pick);
    this.namesButton = button("names", () => this.set("names", !this.state.names));
    const fields = [this.colours, this.trueClass, this.label].map(({ node }) =>
      make("label", {}, node.getAttribute("aria-label") ?? "", node),
    );
    const slide = { oninput: () => this.drag(+this.slider.value), onchange: () => this.go(round(this.t)) };
    this.slider = make("input", { type: "range", min: 0, step: "any", "aria-label": "snapshot", ...slide });
    const transport = make("div", { class: "pld-bar" });
    this.player = new Player(transport, "snapshot", {
      first: () => this.go(0),
      previous: () => this.go(this.index - 1),
      next: () => this.go(this.index + 1),
      last: () => this.go(this.cloud.E - 1),
      ready: () => this.points !== null,
      start: () => this.rewind(),
      tick: (seconds) => this.advance(seconds),
      changed: (playing) => {
        this.status.setAttribute("aria-live", playing ? "off" : "polite"); // nobody can listen to a film of numbers
        if (!playing) this.move(this.index);
      },
    });
    this.readout = transport.appendChild(make("output"));
    const speeds = [0.5, 1, 2, 4].map((v) => /** @type {[number, string]} */ ([v, `${v} per second`]));
    this.speed = choice("snapshots per second", speeds, (v) => this.set("speed", v));
    transport.append(
      this.speed.node,
      button("keys ?", () => this.help()),
    );
    this.canvas = make("canvas", { class: "pld-points", tabindex: 0, role: "application" });
    this.measures = new Measures({
      select: (what) => (what === "none" ? this.select([]) : this.selectHighlighted()),
      showAll: () => this.chooseCell([]),
    });
    this.status = make("div", { class: "pld-status", role: "status", "aria-live": "polite" });
    this.helpBox = keyList(KEYS);
    this.root = el.appendChild(
      make(
        "div",
        { class: "pld-embedding", role: "group", "aria-label": "embedding over a training", tabindex: -1 },
        make("div", { class: "pld-bar" }, this.title, ...fields, this.namesButton),
        this.about,
        this.slider,
        transport,
        make("div", { class: "pld-panels" }, this.canvas, this.measures.box),
        this.status,
        this.helpBox,
      ),
    );
    this.tip = new Tip(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.listenToPointer();
    this.link = new Link((patch) => this.hear(patch));
    this.shared.listen("change:data", () => this.adopt());
    this.shared.listen("change:link", () => this.points && this.join());
    this.unwatch = watchLook(this.root, (force) => this.relayout(force));
    this.adopt();
  }

  close() {
    this.closed = true;
    this.unwatch();
    this.player.close();
    this.link.leave();
    cancelAnimationFrame(this.frame);
    this.shared.close();
  }

  // ---- data

  async adopt() {
    const data = this.model.get("data");
    const buffer = await inflate(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    if (this.closed) return;
    const { meta, classes } = this.take(new Cloud(this.model.get("meta"), buffer));
    this.title.textContent = meta.run;
    this.about.textContent = meta.about;
    for (const select of [this.trueClass, this.label]) select.offer(classes);
    this.trueClass.node.disabled = !meta.truth;
    for (const option of this.colours.node.options) {
      option.disabled = option.value in meta.missing;
      option.title = meta.missing[option.value] ?? "";
    }
    this.cloud.select(this.state.selection);
    this.join();
    this.relayout(true);
  }

  /** @param {Cloud} cloud */
  take(cloud) {
    this.points = new Points(this.canvas, cloud);
    this.slider.max = String(cloud.E - 1);
    this.index = cloud.frameOf(this.state.epoch);
    this.t = this.index;
    this.aim = this.index;
    const classes = [-1, ...cloud.meta.order].map((c) => /** @type {[number, string]} */ ([c, cloud.name(c)]));
    return { meta: cloud.meta, classes };
  }

  get cloud() {
    if (!this.points) throw new Error("no data yet");
    return this.points.cloud;
  }

  // ---- state and linked views

  /**
   * Change one part of the state here, draw at once, and tell the kernel soon.
   * @template {keyof EmbeddingState} N @param {N} key @param {EmbeddingState[N]} value
   */
  set(key, value) {
    if (this.shared.put(key, value)) this.request(true);
  }

  /** The kernel, or another view of this model, changed something. @param {keyof EmbeddingState} key @param {any} value */
  receive(key, value) {
    if (!this.points) {
      Object.assign(this.state, { [key]: value });
      return;
    }
    if (key === "epoch") this.go(this.cloud.frameOf(value));
    else if (key === "selection") this.select(value.map((/** @type {number} */ id) => this.cloud.row.get(id)));
    else {
      Object.assign(this.state, { [key]: value });
      if (key === "cell") this.tellCell();
      this.request(true);
    }
  }

  join() {
    this.link.join(this.model.get("link"));
    this.hear(this.link.values);
  }

  /** @param {Patch} patch */
  hear({ epoch, cell, samples }) {
    const { cloud } = this;
    /** @param {number} c */
    const known = (c) => Number.isInteger(c) && c >= 0 && c < cloud.K;
    if (Number.isFinite(epoch)) {
      this.move(cloud.frameOf(Number(epoch)));
      this.asked = Number(epoch);
    }
    if (cell !== undefined) this.set("cell", cell && known(cell.true) && known(cell.label) ? [cell.true, cell.label] : []);
    if (samples === null || Array.isArray(samples)) this.set("selection", cloud.select(samples ?? []));
    this.request(true);
  }

  /** @param {Cell | []} cell */
  chooseCell(cell) {
    this.set("cell", cell);
    this.tellCell();
  }

  tellCell() {
    const [c, p] = this.state.cell;
    if (c === undefined || p === undefined) this.link.tell({ cell: null });
    else if (min(c, p) >= 0) this.link.tell({ cell: { true: c, label: p } });
  }

  /** A true class, a pseudo-label or both were chosen in the bar: whatever else there is is dimmed. */
  pick() {
    /** @type {Cell} */
    const cell = [+this.trueClass.node.value, +this.label.node.value];
    this.chooseCell(max(...cell) < 0 ? [] : cell);
  }

  /** @param {number[]} chosen points */
  select(chosen) {
    const { cloud } = this;
    const samples = cloud.select(chosen.map((i) => cloud.arrays.ids[i]));
    this.set("selection", samples);
    this.link.tell({ samples: samples.length ? samples : null, cells: cloud.cells(this.index) });
    this.request(true);
  }

  selectHighlighted() {
    const { cell } = this.state;
    if (cell.length) this.select(this.cloud.rows((i) => this.cloud.inCell(cell, i, this.index)));
  }

  // ---- time

  /** Show snapshot i, as the user asked. @param {number} i */
  go(i) {
    this.move(max(0, min(this.cloud.E - 1, i)));
    this.tellEpoch();
  }

  /** @param {number} i */
  move(i) {
    this.player.play(false);
    this.aim = i;
    this.from = this.t;
    this.began = performance.now();
    this.at(i);
  }

  /** Between two snapshots positions are interpolated, and labels are those of the nearer one. @param {number} to */
  drag(to) {
    this.player.play(false);
    this.t = to;
    this.aim = to;
    this.at(round(to));
    this.tellEpoch();
  }

  /** @param {number} i */
  at(i) {
    const moved = i !== this.index;
    const samples = this.state.selection;
    this.index = i;
    this.asked = null;
    this.set("epoch", this.cloud.meta.epochs[i]);
    if (moved && samples.length) this.link.tell({ samples, cells: this.cloud.cells(i) }); // they have other labels now
    this.request();
  }

  tellEpoch() {
    const { epoch } = this.state;
    if (this.link.values.epoch !== epoch) this.link.tell({ epoch });
  }

  rewind() {
    if (this.index === this.cloud.E - 1) this.t = 0;
  }

  /** Play on. @param {number} seconds */
  advance(seconds) {
    const last = this.cloud.E - 1;
    this.t = min(last, this.t + seconds * this.state.speed);
    this.aim = this.t;
    this.at(round(this.t));
    this.tellEpoch();
    if (this.t === last) this.player.play(false);
  }

  /** @param {boolean} [words] whether what is said changes too */
  request(words) {
    this.stale ||= Boolean(words);
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      if (!this.width) return;
      if (!this.player.playing && this.t !== this.aim) {
        const part = max(0, min(1, (now - this.began) / MOVE_MS));
        this.t = part < 1 ? this.from + (this.aim - this.from) * part * part * (3 - 2 * part) : this.aim;
        if (part < 1) this.request();
      }
      this.draw();
    });
  }

  // ---- hands

  listenToPointer() {
    /** @template {keyof HTMLElementEventMap} K @param {K} type @param {(event: HTMLElementEventMap[K]) => void} f */
    const on = (type, f) => this.canvas.addEventListener(type, (event) => this.width && f(event), { passive: false });
    /** @param {MouseEvent} event @returns {[number, number]} */
    const place = (event) => [event.offsetX, event.offsetY];
    on("pointerdown", (event) => {
      if (event.button) return;
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      this.path = [place(event)];
    });
    on("pointermove", (event) => {
      if (this.path) {
        this.path.push(place(event));
        this.hover(null);
      } else this.hover(this.points?.nearest(place(event), REACH) ?? null, event);
    });
    on("pointerup", (event) => this.release(place(event), event.shiftKey));
    on("lostpointercapture", () => {
      this.path = null;
      this.request();
    });
    on("pointerleave", () => this.hover(null));
    on("blur", () => {
      this.walking = false;
    });
    on("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.pointer = place(event);
      this.magnify(Math.exp(-event.deltaY / 300));
    });
  }

  /** The end of a click or a lasso. @param {[number, number]} end @param {boolean} add */
  release([u, v], add) {
    const { path, points } = this;
    if (!path || !points) return;
    this.path = null;
    const { cloud, X, Y, dpr } = points;
    const kept = add ? cloud.selected.slice() : null;
    const click = path.length < 5 && Math.hypot(path[0][0] - u, path[0][1] - v) < 4;
    const one = click ? points.nearest([u, v], REACH) : null;
    this.select(cloud.rows((i) => kept?.[i] || (click ? i === one : inside(path, X[i] / dpr, Y[i] / dpr))));
  }

  /** @param {number} factor */
  magnify(factor) {
    const { points } = this;
    points?.magnify(factor, this.pointer ?? [points.w / 2, points.h / 2]);
    this.request();
  }

  /** @param {number | null} i @param {PointerEvent} [event] */
  hover(i, event) {
    if (event) this.pointer = [event.offsetX, event.offsetY];
    if (event || !this.walking) this.hovered = i;
    this.request(true);
    if (i === null || !event) return this.tip.hide();
    this.tip.say(this.aboutPoint(i));
    return this.tip.place(event);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { key } = event;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || !this.width || (target.tagName === "SELECT" && key !== "Escape")) return;
    if (target.tagName === "BUTTON" && (key === " " || key === "Enter")) return;
    const act = this.action(key, target);
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }

  /** What a key does, if anything. @param {string} key @param {HTMLElement} target @returns {(() => void) | undefined} */
  action(key, target) {
    const { points, player, cloud } = this;
    if (!points) return undefined;
    const arrow = ARROWS[key];
    if (this.walking && arrow && this.hovered !== null) {
      const start = this.hovered;
      return () => {
        this.hovered = points.next(start, arrow);
        this.request(true);
      };
    }
    if (key === "Enter") return target === this.canvas ? () => this.walk() : undefined;
    const colour = Object.keys(FILLS)[+key - 1];
    const missing = cloud.meta.missing[colour];
    if (colour) return () => (missing ? this.say(missing) : this.set("colour", colour));
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => this.go(this.index - 1),
      ArrowRight: () => this.go(this.index + 1),
      Home: () => this.go(0),
      End: () => this.go(cloud.E - 1),
      " ": () => player.play(!player.playing),
      n: () => this.set("names", !this.state.names),
      s: () => this.selectHighlighted(),
      "?": () => this.help(),
      Escape: () => this.escape(),
      "+": () => this.magnify(1.4),
      "=": () => this.magnify(1.4),
      "-": () => this.magnify(1 / 1.4),
      0: () => this.magnify(0),
    };
    return Object.hasOwn(actions, key) ? actions[key] : undefined;
  }

  /** Walk over the points; while walking, select the point or leave it out. */
  walk() {
    const { points, cloud } = this;
    if (!points) return;
    if (this.walking) this.select(cloud.rows((i) => (i === this.hovered ? !cloud.selected[i] : cloud.selected[i])));
    this.walking = true;
    this.hovered ??= points.nearest([points.w / 2, points.h / 2], 1e6);
    this.request(true);
  }

  escape() {
    if (!this.helpBox.hidden) this.help();
    else if (this.walking) {
      this.walking = false;
      this.hover(null);
    } else if (this.state.selection.length) this.select([]);
    else leaveTo(this.root);
  }

  help() {
    this.helpBox.hidden = !this.helpBox.hidden;
    if (!this.helpBox.hidden) this.helpBox.scrollIntoView({ block: "nearest" });
  }

  // ---- words

  /** @param {string} text */
  say(text) {
    this.status.textContent = text;
  }

  /** @param {number} i */
  aboutPoint(i) {
    const { cloud, index } = this;
    const { arrays } = cloud;
    const k = index * cloud.n + i;
    const [c, p, v] = [arrays.true[i], arrays.label[k], arrays.confidence[k]];
    const confidence = v === UNDEFINED ? "not logged" : `${(v / 10).toFixed(1)} %`;
    const verdict = c < 0 ? "" : p === c ? ", right" : ", wrong";
    return [
      `sample ${arrays.ids[i]}`,
      `true ${c < 0 ? "unknown" : cloud.name(c)} → pseudo-label ${cloud.name(p)}${verdict}`,
      `confidence ${confidence}, ${arrays.accepted[k] ? "accepted" : "rejected"}`,
    ];
  }

  describe() {
    const { cloud, index, state } = this;
    const { meta } = cloud;
    const parts = [`epoch ${meta.epochs[index]}`];
    if (this.hovered !== null) return `${parts[0]}, ${this.aboutPoint(this.hovered).join(", ")}.`;
    const [c, p] = state.cell;
    if (c !== undefined && p !== undefined) {
      const hits = cloud.rows((i) => cloud.inCell(state.cell, i, index)).length;
      const of = c < 0 ? cloud.n : cloud.rows((i) => cloud.arrays.true[i] === c).length;
      const share = c < 0 ? "" : ` of this class (${of ? percent(hits / of) : "–"})`;
      parts.push(`true ${cloud.name(c)} → pseudo-label ${cloud.name(p)}: ${grouped(hits)} of ${grouped(of)} shown${share}`);
    }
    if (state.selection.length) {
      const cells = cloud.cells(index).slice(0, 4);
      const told = cells.map(([a, b, count]) => `${cloud.name(a)} → ${cloud.name(b)} ${count}`);
      parts.push([`${grouped(state.selection.length)} selected`, ...told].join(", "));
    }
    if (cloud.absent) parts.push(`${grouped(cloud.absent)} of the samples chosen elsewhere are not in this picture`);
    if (parts.length > 1) return `${parts.join("; ")}.`;
    /** @param {(number | null)[]} values @param {(v: number | null) => string} say */
    const each = (values, say) => values.map((v, g) => `${GROUP_NAMES[g]} ${say(v)}`).join(", ");
    parts.push(`right labels of those shown: ${each(meta.right[index], (v) => (v === null ? "–" : percent(v)))}`);
    parts.push(`neighbourhood purity ${each(meta.purity[index], two)}`, `trustworthiness ${two(meta.trustworthiness[index])}`);
    return `${parts.join("; ")}.`;
  }

  // ---- drawing

  /** @param {boolean} force */
  relayout(force) {
    const width = this.root.clientWidth;
    const { points } = this;
    if (force) this.width = 0; // where there is no width now, the next one is laid out
    if (!points || width < 40 || width === this.width) return;
    this.width = width;
    this.theme = pointTheme(this.root);
    const W = width - 24;
    const narrow = W < 680;
    const [x0, x1, y0, y1] = this.cloud.meta.box;
    const side = narrow ? W : max(240, min(310, round(W * 0.3)));
    const w = narrow ? W : W - side - 16;
    const h = round(max(min(w, 400), min(min(w, 600), (w * (y1 - y0)) / (x1 - x0))));
    this.root.classList.toggle("pld-narrow", narrow);
    this.measures.layout(side);
    points.layout(w, h, this.theme);
    this.request(true);
  }

  draw() {
    const { points, state, theme, index, root } = this;
    if (!points) return;
    const start = performance.now();
    const { cloud } = points;
    const time = this.calm.matches ? index : this.t;
    const colours = palette(state.colour, theme, mix);
    const shown = { colour: state.colour, cell: state.cell, chosen: state.selection.length > 0, names: state.names };
    points.draw(time, index, { ...shown, hovered: this.hovered, lasso: this.path }, colours);
    this.measures.draw(cloud, time, theme);
    const { epochs } = cloud.meta;
    const epoch = epochs[index];
    const when = `epoch ${epoch}, snapshot ${index + 1} of ${cloud.E}`;
    const nearest = this.asked === null || this.asked === epoch ? "" : ` (nearest to epoch ${this.asked})`;
    const f = Math.floor(time);
    const moving = time - f > 0.001 ? `, moving ${epochs[f]} → ${epochs[min(f + 1, cloud.E - 1)]}` : "";
    this.readout.textContent = when + nearest + moving;
    this.slider.value = String(time);
    this.slider.setAttribute("aria-valuetext", when);
    this.canvas.setAttribute("aria-label", `${grouped(cloud.n)} samples of ${cloud.meta.run}, ${when}`);
    if (this.stale) this.write(colours);
    this.stale = false;
    const drawMs = (performance.now() - start).toFixed(2);
    Object.assign(root.dataset, { epoch, frame: index, t: time.toFixed(3), drawMs });
  }

  /** Everything beside the picture that is text. @param {Colour[]} colours */
  write(colours) {
    const { state } = this;
    const kept = this.measures.write(this.cloud, this.index, state, this.theme, colours);
    if (kept !== null) (kept ?? this.canvas).focus({ preventScroll: true });
    this.colours.show(state.colour);
    this.speed.show(state.speed);
    this.trueClass.show(state.cell[0] ?? -1);
    this.label.show(state.cell[1] ?? -1);
    this.namesButton.setAttribute("aria-pressed", String(state.names));
    const text = this.describe();
    if (!same(text, this.status.textContent)) this.say(text);
  }
}

/** Colours of the data, chosen by the paper's lightness. @param {Element} root @returns {PointTheme} */
function pointTheme(root) {
  const style = getComputedStyle(root);
  const [ink, paper] = [style.color, style.backgroundColor].map((c) => {
    const [r, g, b] = (c.match(/[\d.]+/g) ?? []).map(Number);
    return /** @type {Colour} */ ([r, g, b]);
  });
  const dark = paper[1] < 100;
  const groups = (dark ? ["#4aa8e8", "#8b949c", "#f5893a"] : ["#0072B2", "#999999", "#D55E00"]).map(hex);
  const [low, high] = (dark ? ["#22405a", "#b9e2ff"] : ["#c6dbef", "#08306b"]).map(hex);
  const [line, grey, soft] = [mix(ink, paper, 0.75), mix(ink, paper, 0.6), mix(groups[1], paper, 0.5)];
  return { ink, paper, line, grey, soft, groups, ramp: [low, high], font: style.fontFamily };
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const view = new EmbeddingView(model, el);
  return () => view.close();
}

export default { render };
