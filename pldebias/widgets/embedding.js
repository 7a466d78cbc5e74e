/**
 * The embedding view of pldebias: points of the same samples over the snapshots of a training, on one canvas, without dependencies.
 *
 * Python sends positions, labels, and what was measured in feature space (see embedding.py); nothing is estimated here. Discs are
 * stamped into an image instead of being drawn as paths, which keeps twelve thousand smooth without a GPU. Class and run names reach
 * the page through textContent and canvas text only, so markup in a name stays text.
 */

const SYNC_MS = 100; // the kernel hears of a change at most this often, and always of the last one
const MOVE_MS = 260; // a step from one snapshot to the next
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array };
const COLOURS = { pseudo: "pseudo-label", true: "true class", flipped: "change since last snapshot", confidence: "confidence" };
const GROUPS = ["head", "medium", "tail", "all"], DASHES = [[], [2, 2], [6, 2]];
const NONE = 65535, BINS = 16;
const STATE = ["epoch", "colour", "cell", "selection", "names", "speed"], SPEEDS = [0.5, 1, 2, 4];
const HELP = [
  ["← → Home End", "previous, next, first, last snapshot"], ["Space , .", "play or pause, slower, faster"], ["1 2 3 4", "colour by pseudo-label, true class, change, confidence"],
  ["n", "class names"], ["drag, click", "select with a lasso, or one point; Shift adds"], ["s", "select what is highlighted"], ["+ − 0", "zoom at the pointer; also Ctrl + wheel"],
  ["Enter", "in the picture: walk from point to point with the arrows; again: select the point"], ["Esc", "end the walk, clear the selection, leave the view"],
];
const SIGNS = { first: "M3 3h2v10H3zM13 3v10L6 8z", previous: "M11 3v10L4 8z", play: "M4 2v12l10-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z", next: "M5 3v10l7-5z", last: "M11 3h2v10h-2zM3 3v10l7-5z" };

const hex = (s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16));
const mix = (a, b, f) => a.map((v, i) => Math.round(v + f * (b[i] - v)));
const css = (c) => `rgb(${c})`;
const pack = (c) => ((255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const percent = (v) => (v === null ? "–" : `${(100 * v).toFixed(1)} %`);
const two = (v) => (v === null ? "–" : v.toFixed(2));
const clip = (v, low, high) => Math.max(low, Math.min(high, v));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** An element; strings become text. Whatever takes the focus keeps its keys from JupyterLab, which asks the focused element itself. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if ("tabindex" in attributes || /^(button|select|input)$/.test(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [key, value] of Object.entries(attributes)) key.startsWith("on") ? node.addEventListener(key.slice(2), value) : node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const button = (text, onclick, more) => make("button", { type: "button", onclick, ...more }, text);

/** Signs as paths: emoji fonts would draw them as coloured tiles. */
function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 16 16");
  path.setAttribute("d", SIGNS[name]);
  svg.append(path);
  return svg;
}

/** An image into which discs are stamped, antialiased at quarters of a pixel so that slow movement stays smooth. */
class Raster {
  constructor(width, height, paper) {
    Object.assign(this, { width, height, image: new ImageData(width, height), paper: pack(paper) });
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** A disc and its ring at the 16 sub-pixel places: offsets of pixels, their colours, and how much of each is covered (to 256). */
  disc({ radius, fill, ring, width, alpha }) {
    const reach = Math.ceil(radius) + 1, places = [];
    for (let place = 0; place < 16; place++) {
      const at = [], colour = [], cover = [];
      for (let y = -reach; y <= reach; y++)
        for (let x = -reach; x <= reach; x++) {
          let inner = 0, outer = 0;
          for (let s = 0; s < 16; s++) {
            const d = Math.hypot(x + ((s & 3) - (place & 3)) / 4, y + ((s >> 2) - (place >> 2)) / 4);
            if (d < radius - width) inner++;
            else if (d < radius) outer++;
          }
          if (!(inner + outer)) continue;
          at.push(y * this.width + x);
          colour.push(pack(mix(fill, ring, outer / (inner + outer))));
          cover.push(Math.round(16 * (inner * alpha + outer)));
        }
      places.push([Int32Array.from(at), Uint32Array.from(colour), Uint16Array.from(cover)]);
    }
    return { reach, places };
  }

  stamp({ reach, places }, x, y) {
    const ix = Math.floor(x), iy = Math.floor(y);
    if (!(ix >= reach && iy >= reach && ix < this.width - reach && iy < this.height - reach)) return;
    const [at, colour, cover] = places[Math.floor((x - ix) * 4) + 4 * Math.floor((y - iy) * 4)], { pixels } = this, base = iy * this.width + ix;
    for (let k = 0; k < at.length; k++) {
      const i = base + at[k], a = cover[k], b = 256 - a, s = colour[k], d = pixels[i]; // red and blue in one product, green in another
      pixels[i] = 0xff000000 | ((((s & 0xff00ff) * a + (d & 0xff00ff) * b) >>> 8) & 0xff00ff) | ((((s & 0xff00) * a + (d & 0xff00) * b) >>> 8) & 0xff00);
    }
  }
}

class EmbeddingView {
  constructor(model, el) {
    Object.assign(this, { model, cleanups: [], pending: new Set(), hovered: null, asked: null, zoom: { k: 1, x: 0, y: 0 } });
    this.state = Object.fromEntries(STATE.map((k) => [k, model.get(k)]));
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.build(el);
    this.adopt();
    const listen = (key, f) => {
      model.on(`change:${key}`, f);
      this.cleanups.push(() => model.off(`change:${key}`, f));
    };
    for (const key of STATE) listen(key, () => this.receive(key));
    listen("data", () => this.adopt());
    listen("link", () => this.join());
    const again = () => this.relayout(true), resize = new ResizeObserver(() => this.relayout()), theme = new MutationObserver(again), dark = matchMedia("(prefers-color-scheme: dark)");
    resize.observe(this.root);
    theme.observe(document.body, { attributes: true });
    dark.addEventListener("change", again);
    this.cleanups.push(() => resize.disconnect(), () => theme.disconnect(), () => dark.removeEventListener("change", again), () => this.leave?.(), () => cancelAnimationFrame(this.frame), () => this.flush());
  }

  // ---- page

  build(el) {
    const select = (label, options, onchange) => make("select", { "aria-label": label, onchange }, ...options.map(([value, text]) => make("option", { value }, text)));
    const choice = (...its) => [make("label", {}, its[0], select(...its))];
    const [[colour], [truth], [label]] = [
      choice("colour", Object.entries(COLOURS), (e) => this.set("colour", e.target.value)), choice("true", [], () => this.pick()), choice("pseudo-label", [], () => this.pick()),
    ];
    this.selects = [colour, truth, label].map((node) => node.lastChild);
    this.title = make("b", { class: "pld-title" });
    this.namesButton = button("names", () => this.set("names", !this.state.names), { title: "class names at the middle of their points" });
    this.about = make("div", { class: "pld-about" });
    this.slider = make("input", { type: "range", min: 0, step: "any", "aria-label": "snapshot", oninput: () => this.drag(+this.slider.value), onchange: () => this.go(Math.round(this.t)) });
    const steps = { first: () => this.go(0), previous: () => this.go(this.index - 1), play: () => this.play(!this.playing), next: () => this.go(this.index + 1), last: () => this.go(this.E - 1) };
    const transport = Object.entries(steps).map(([name, act]) => button(icon(name), act, { "aria-label": name, title: name }));
    this.playButton = transport[2];
    this.readout = make("output");
    this.speed = select("snapshots per second", SPEEDS.map((s) => [s, `${s} per second`]), () => this.set("speed", +this.speed.value));
    this.canvas = make("canvas", { class: "pld-points", tabindex: 0, role: "application", "aria-roledescription": "scatter plot" });
    this.chart = make("canvas", { role: "img", "aria-label": "purity by group and trustworthiness over the snapshots; the table tells their values" });
    this.ctx = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    [this.legend, this.chosen, this.table] = [make("div"), make("div", { class: "pld-chosen" }), make("table")];
    this.side = make("div", { class: "pld-side" }, this.legend, make("h4", {}, "Measured in feature space"), this.chart, this.table, this.chosen);
    this.status = make("div", { class: "pld-status", role: "status", "aria-live": "polite" });
    this.helpBox = make("dl", { hidden: "" }, ...HELP.flatMap(([keys, text]) => [make("dt", {}, keys), make("dd", {}, text)]));
    this.tip = make("div", { class: "pld-tip", hidden: "", "aria-hidden": "true" });
    this.root = el.appendChild(make("div", { class: "pld-embedding", role: "group", "aria-label": "embedding over a training", tabindex: -1, onkeydown: (event) => this.key(event) },
      make("div", { class: "pld-bar" }, this.title, colour, truth, label, this.namesButton), this.about, this.slider,
      make("div", { class: "pld-bar" }, ...transport, this.readout, this.speed, button("keys ?", () => this.help())),
      make("div", { class: "pld-panels" }, this.canvas, this.side), this.status, this.helpBox, this.tip));
    this.pointers();
  }

  // ---- data

  async adopt() {
    const meta = this.model.get("meta"), data = this.model.get("data"), bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const buffer = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    for (const [name, [offset, type, length]] of Object.entries(meta.blocks)) this[name] = new TYPES[type](buffer, offset, length);
    const { n, classes } = meta, [colour, ...filters] = this.selects;
    Object.assign(this, { meta, n, E: meta.epochs.length, K: classes.length, x: new Float32Array(n), y: new Float32Array(n), lit: new Uint8Array(n) });
    this.row = new Map(Array.from(this.ids, (id, i) => [id, i]));
    this.order = Uint32Array.from(this.ids.keys()).sort((a, b) => this.group[a] - this.group[b] || a - b); // the tail lies on top
    this.slider.max = this.E - 1;
    this.t = this.index = this.frameOf(this.state.epoch);
    this.title.textContent = meta.run;
    this.about.textContent = meta.about;
    for (const node of filters) node.replaceChildren(...[-1, ...meta.order].map((value) => make("option", { value }, classes[value] ?? "any")));
    filters[0].disabled = !meta.truth;
    for (const option of colour.options) [option.disabled, option.title] = [option.value in meta.missing, meta.missing[option.value] ?? ""];
    this.remember(this.state.selection);
    this.join();
    this.relayout(true);
  }

  /** Number of the snapshot nearest to an epoch; the earlier of two as near. */
  frameOf(epoch) {
    return this.meta.epochs.reduce((best, e, i, all) => (Math.abs(e - epoch) < Math.abs(all[best] - epoch) ? i : best), 0);
  }

  labelOf(i, f = this.index) {
    return this.label[f * this.n + i];
  }

  /** What a point's fill says: a group (3: unknown), a kind of change, or a bin of confidence (16: not logged). */
  code(i) {
    const { index: f } = this, { colour } = this.state, { group_of: of } = this.meta, p = this.labelOf(i), t = this.true[i];
    if (colour === "pseudo") return of[p];
    if (colour === "true") return t < 0 ? 3 : of[t];
    if (colour === "confidence") {
      const c = this.confidence[f * this.n + i];
      return c === NONE ? BINS : Math.min(BINS - 1, Math.floor((c * BINS) / 1000));
    }
    const before = this.labelOf(i, Math.max(0, f - 1));
    return before === p ? 0 : t < 0 ? 4 : p === t ? 1 : before === t ? 2 : 3;
  }

  palette() {
    const { groups, grey, soft } = this.theme, { colour } = this.state;
    if (colour === "flipped") return [soft, groups[0], groups[2], hex("#CC79A7"), groups[2]];
    if (colour === "confidence") return [...Array.from({ length: BINS }, (_, i) => mix(...this.theme.ramp, i / (BINS - 1))), grey];
    return [...groups, grey];
  }

  // ---- state, kernel, linked views

  /** Change one part of the state here, draw at once, and tell the kernel soon. */
  set(key, value) {
    if (same(this.state[key], value)) return;
    this.state[key] = value;
    this.pending.add(key);
    this.timer ??= setTimeout(() => this.flush(), Math.max(0, (this.sent ?? -Infinity) + SYNC_MS - performance.now()));
    this.request(true);
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

  /** The kernel, or another view of this object, changed something. */
  receive(key) {
    const value = this.model.get(key);
    if (!this.meta || this.pending.has(key) || same(this.state[key], value)) return;
    if (key === "epoch") return this.go(this.frameOf(value));
    if (key === "selection") return this.select(value.map((id) => this.row.get(id)));
    this.state[key] = value;
    if (key === "cell") this.publishCell();
    this.request(true);
  }

  /** Views of one page with the same link name share a hub, and tell each other what the user changed: epoch, cell, samples, cells. */
  join() {
    this.leave?.();
    const name = this.model.get("link");
    if (!name) return;
    const hub = (this.hub = (window.__pldebias ??= {})[name] ??= { values: {}, listeners: new Set() });
    const hear = (patch, origin) => origin !== this && this.hear(patch);
    hub.listeners.add(hear);
    this.leave = () => (hub.listeners.delete(hear), (this.hub = null));
    this.hear(hub.values);
  }

  publish(patch) {
    if (!this.hub) return;
    Object.assign(this.hub.values, patch);
    for (const f of [...this.hub.listeners]) f(patch, this);
  }

  hear({ epoch, cell, samples }) {
    const known = (c) => Number.isInteger(c) && c >= 0 && c < this.K;
    if (Number.isFinite(epoch)) {
      this.move(this.frameOf(epoch));
      this.asked = epoch;
    }
    if (cell !== undefined) this.set("cell", cell && known(cell.true) && known(cell.label) ? [cell.true, cell.label] : []);
    if (samples === null || Array.isArray(samples)) this.set("selection", this.remember(samples ?? []));
    this.request(true);
  }

  publishCell() {
    const [t, p] = this.state.cell;
    if (!(Math.min(t, p) < 0)) this.publish({ cell: t === undefined ? null : { true: t, label: p } });
  }

  /** Counts [true class, pseudo-label, n] of the selected samples at the snapshot shown, largest first. */
  cells() {
    const counts = new Map();
    for (let i = 0; i < this.n; i++)
      if (this.selected[i] && this.true[i] >= 0) {
        const key = this.true[i] * this.K + this.labelOf(i);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([key, n]) => [Math.floor(key / this.K), key % this.K, n]);
  }

  /** Mark samples as selected; returns those that this picture has. */
  remember(ids) {
    this.selected = new Uint8Array(this.n);
    for (const id of ids) if (this.row.has(id)) this.selected[this.row.get(id)] = 1;
    const known = Array.from(this.ids).filter((_, i) => this.selected[i]);
    this.absent = new Set(ids).size - known.length;
    return known;
  }

  select(rows) {
    const samples = this.remember(rows.map((i) => this.ids[i]));
    this.set("selection", samples);
    this.publish({ samples: samples.length ? samples : null, cells: this.cells() });
    this.request(true);
  }

  /** The class that was chosen in the bar, or both: what else there is is dimmed. */
  pick() {
    const [t, p] = this.selects.slice(1).map((node) => +node.value);
    this.set("cell", t < 0 && p < 0 ? [] : [t, p]);
    this.publishCell();
  }

  highlighted(i) {
    const [t, p] = this.state.cell;
    return t === undefined || ((t < 0 || this.true[i] === t) && (p < 0 || this.labelOf(i) === p));
  }

  rows(test) {
    return [...this.ids.keys()].filter(test);
  }

  // ---- time

  /** Show snapshot i, as the user asked. */
  go(i) {
    this.move(clip(i, 0, this.E - 1));
    this.tell();
  }

  move(i) {
    this.play(false);
    if (this.calm.matches) this.t = i;
    Object.assign(this, { aim: i, from: this.t, began: performance.now() });
    this.at(i);
  }

  /** Between two snapshots positions are interpolated, and labels are those of the nearer one. */
  drag(t) {
    this.play(false);
    this.aim = this.t = this.calm.matches ? Math.round(t) : t;
    this.at(Math.round(t));
    this.tell();
  }

  at(i) {
    [this.index, this.asked] = [i, null];
    this.set("epoch", this.meta.epochs[i]);
    this.request();
  }

  tell() {
    const { epoch } = this.state;
    if (this.hub?.values.epoch !== epoch) this.publish(this.state.selection.length ? { epoch, cells: this.cells() } : { epoch });
  }

  play(on) {
    if (on === Boolean(this.playing) || !this.meta) return;
    this.playing = on;
    const name = on ? "pause" : "play";
    this.playButton.replaceChildren(icon(name));
    this.playButton.setAttribute("aria-label", name);
    this.status.setAttribute("aria-live", on ? "off" : "polite"); // nobody can listen to a film of numbers
    if (!on) return this.move(this.index);
    if (this.index === this.E - 1) this.t = 0;
    this.began = performance.now();
    this.request();
  }

  /** One frame of whatever moves. */
  advance(now) {
    const passed = Math.max(0, now - this.began);
    if (this.playing) {
      const step = (Math.min(passed, 500) / 1000) * this.state.speed;
      if (!this.calm.matches || passed * this.state.speed >= 1000) {
        this.t = Math.min(this.E - 1, this.t + (this.calm.matches ? 1 : step));
        this.began = now;
        this.at(Math.round(this.t));
        this.tell();
      }
      if (this.t === this.E - 1) this.play(false);
      this.request();
    } else if (this.t !== this.aim && this.aim !== undefined) {
      const part = Math.min(1, passed / MOVE_MS);
      this.t = part < 1 ? this.from + (this.aim - this.from) * part * part * (3 - 2 * part) : this.aim;
      this.request();
    }
  }

  request(words) {
    this.stale ||= words;
    this.frame ||= requestAnimationFrame((now) => ((this.frame = 0), this.theme && (this.advance(now), this.draw())));
  }

  // ---- hands

  pointers() {
    const { canvas } = this, on = (name, f) => canvas.addEventListener(name, (event) => this.theme && f(event), { passive: false });
    const place = (event) => [event.offsetX, event.offsetY];
    on("pointerdown", (event) => {
      if (event.button) return;
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.path = [place(event)];
    });
    on("pointermove", (event) => {
      if (!this.path) return this.hover(this.nearest(place(event), 12), event);
      this.path.push(place(event));
      this.hover(null);
    });
    on("pointerup", (event) => {
      const { path } = this, keep = event.shiftKey ? this.selected : [];
      this.path = null;
      if (!path) return;
      const [[x, y], [u, v]] = [path[0], place(event)], click = path.length < 5 && Math.hypot(x - u, y - v) < 4, i = click ? this.nearest([u, v], 12) : null;
      this.select(this.rows((j) => keep[j] || (click ? j === i : this.inside(path, this.x[j] / this.dpr, this.y[j] / this.dpr))));
    });
    on("lostpointercapture", () => ((this.path = null), this.request()));
    on("pointerleave", () => this.hover(null));
    on("blur", () => (this.walking = false));
    on("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.pointer = place(event);
      this.magnify(Math.exp(-event.deltaY / 300));
    });
  }

  /** Even-odd rule. */
  inside(path, x, y) {
    let odd = false;
    path.forEach(([xi, yi], i) => {
      const [xj, yj] = path.at(i - 1);
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
    });
    return odd;
  }

  magnify(factor) {
    const { zoom, w, h, pointer } = this, [x, y] = pointer ?? [w / 2, h / 2], k = clip(zoom.k * factor, 1, 40), f = k / zoom.k;
    this.zoom = k === 1 ? { k, x: 0, y: 0 } : { k, x: x - w / 2 - f * (x - w / 2 - zoom.x), y: y - h / 2 - f * (y - h / 2 - zoom.y) };
    this.request();
  }

  /** The point nearest to a place; what is highlighted before what is dimmed, what lies on top before what it covers. */
  nearest([x, y], reach) {
    let best = null, least = reach * this.dpr;
    for (const i of this.order) {
      const d = Math.hypot(this.x[i] - x * this.dpr, this.y[i] - y * this.dpr) * (this.lit[i] ? 1 : 3);
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  hover(i, event) {
    if (event) this.pointer = [event.offsetX, event.offsetY];
    if (event || !this.walking) this.hovered = i;
    this.request(true);
    this.tip.hidden = i === null;
    if (i === null) return;
    this.tip.replaceChildren(...this.point(i).map((line) => make("div", {}, line)));
    const box = this.root.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top, { offsetWidth, offsetHeight } = this.tip;
    this.tip.style.left = `${x + 16 + offsetWidth > box.width ? Math.max(0, x - offsetWidth - 12) : x + 16}px`;
    this.tip.style.top = `${Math.max(0, y - offsetHeight - 10)}px`;
  }

  /** From the walked point to the next one in a direction. */
  walk([dx, dy]) {
    const { x, y, hovered: from } = this;
    let least = Infinity;
    for (const i of this.order) {
      const u = x[i] - x[from], v = y[i] - y[from], along = u * dx + v * dy, off = Math.abs(u * dy) + Math.abs(v * dx);
      if (this.lit[i] && along > 0.5 && off <= along && along + 2 * off < least) [this.hovered, least] = [i, along + 2 * off];
    }
    this.request(true);
  }

  key(event) {
    const { target, key } = event, { state } = this, escape = key === "Escape";
    if (event.ctrlKey || event.metaKey || event.altKey || !this.theme || (target.tagName === "SELECT" && !escape)) return;
    if (target.tagName === "BUTTON" && (key === " " || key === "Enter")) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    const speed = (d) => this.set("speed", SPEEDS[clip(SPEEDS.indexOf(state.speed) + d, 0, 3)]), colour = Object.keys(COLOURS)[key - 1];
    const actions = {
      ArrowLeft: () => this.go(this.index - 1), ArrowRight: () => this.go(this.index + 1), Home: () => this.go(0), End: () => this.go(this.E - 1), " ": () => this.play(!this.playing),
      ",": () => speed(-1), ".": () => speed(1), n: () => this.set("names", !state.names), s: () => this.selectHighlighted(),
      "+": () => this.magnify(1.4), "=": () => this.magnify(1.4), "-": () => this.magnify(1 / 1.4), 0: () => this.magnify(0), "?": () => this.help(), Escape: () => this.escape(),
    };
    if (this.walking && arrow) this.walk(arrow);
    else if (key === "Enter" && target === this.canvas) {
      if (this.walking) this.select(this.rows((i) => (i === this.hovered ? !this.selected[i] : this.selected[i])));
      this.walking = true;
      this.hovered ??= this.nearest([this.w / 2, this.h / 2], 1e6);
      this.request(true);
    } else if (colour) colour in this.meta.missing ? (this.status.textContent = this.meta.missing[colour]) : this.set("colour", colour);
    else if (Object.hasOwn(actions, key)) actions[key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  escape() {
    if (!this.helpBox.hidden) this.help();
    else if (this.walking) {
      this.walking = false;
      this.hover(null);
    } else if (this.state.selection.length) this.select([]);
    else {
      document.activeElement?.blur();
      this.root.closest(".jp-Cell, .jp-Notebook")?.focus({ preventScroll: true }); // JupyterLab listens for keys there
    }
  }

  help() {
    this.helpBox.hidden = !this.helpBox.hidden;
  }

  selectHighlighted() {
    if (this.state.cell.length) this.select(this.rows((i) => this.highlighted(i)));
  }

  // ---- words

  name(c) {
    return c < 0 ? "any" : this.meta.classes[c];
  }

  point(i) {
    const at = this.index * this.n + i, t = this.true[i], p = this.label[at], c = this.confidence[at];
    return [
      `sample ${this.ids[i]}`, `true ${t < 0 ? "unknown" : this.name(t)} → pseudo-label ${this.name(p)}${t < 0 ? "" : p === t ? ", right" : ", wrong"}`,
      `confidence ${c === NONE ? "not logged" : `${(c / 10).toFixed(1)} %`}, ${this.accepted[at] ? "accepted" : "rejected"}`,
    ];
  }

  describe() {
    const { meta, index, state } = this, [t, p] = state.cell, parts = [`epoch ${meta.epochs[index]}`], each = (values, say) => values.map((v, g) => `${GROUPS[g]} ${say(v)}`).join(", ");
    if (this.hovered !== null) return `${parts[0]}, ${this.point(this.hovered).join(", ")}.`;
    if (t !== undefined) {
      const hits = this.rows((i) => this.highlighted(i)).length, of = t < 0 ? this.n : this.rows((i) => this.true[i] === t).length;
      parts.push(`true ${this.name(t)} → pseudo-label ${this.name(p)}: ${grouped(hits)} of ${grouped(of)} shown${t < 0 ? "" : ` of this class (${percent(of ? hits / of : null)})`}`);
    }
    if (state.selection.length) parts.push([`${grouped(state.selection.length)} selected`, ...this.cells().slice(0, 4).map(([a, b, n]) => `${this.name(a)} → ${this.name(b)} ${n}`)].join(", "));
    if (this.absent) parts.push(`${grouped(this.absent)} of the samples chosen elsewhere are not in this picture`);
    if (parts.length > 1) return `${parts.join("; ")}.`;
    return `${parts[0]}; right labels of those shown: ${each(meta.right[index], percent)}; neighbourhood purity ${each(meta.purity[index], two)}; trustworthiness ${two(meta.trustworthiness[index])}.`;
  }

  /** Everything beside the picture that is text. */
  write() {
    const { meta, state, index, theme, cell } = this, colours = this.palette(), counts = new Array(colours.length).fill(0), n = state.selection.length;
    for (let i = 0; i < this.n; i++) counts[this.code(i)]++;
    const item = (colour, text, count, kind = "") => make("div", { class: `pld-item ${kind}` }, ...(colour ? [make("i", { style: `background:${css(colour)}` })] : []), make("span", { title: text }, text), count === undefined ? "" : grouped(count));
    const members = (g) => meta.order.filter((c) => meta.group_of[c] === g).map((c) => meta.classes[c]).join(", ");
    const kinds = { flipped: meta.flips, confidence: [] }[state.colour] ?? [...GROUPS.slice(0, 3).map((g, k) => `${g}: ${members(k)}`), "unknown"];
    const ramp = make("div", { class: "pld-item" }, "0", make("i", { class: "pld-ramp", style: `background:linear-gradient(90deg,${theme.ramp.map(css)})` }), "100 %");
    this.legend.replaceChildren(make("h4", {}, `Fill: ${COLOURS[state.colour]}`), ...(state.colour === "confidence" ? [ramp, make("div", { class: "pld-about" }, meta.confidence)] : []),
      ...kinds.map((text, k) => (counts[k] || k < 3 ? item(colours[k], text, counts[k]) : "")), item(theme.grey, meta.truth ? "large: truly tail" : "large: tail by its last label", undefined, "pld-large"),
      meta.truth ? item(theme.paper, "ring: wrong pseudo-label", undefined, "pld-ring") : "");
    const line = (head, values, scope) => make("tr", {}, make("th", { scope }, ...head), ...values.map((v) => (scope === "col" ? make("th", { scope }, v) : make("td", {}, v))));
    const dash = (k) => make("i", { class: "pld-line", style: `border-top:2px ${["solid", "dotted", "dashed", "dotted"][k]} ${css(k < 3 ? theme.groups[k] : theme.ink)}` });
    this.table.replaceChildren(line([meta.truth ? "truly" : "labelled"], ["shown", "right", "purity"], "col"),
      ...GROUPS.map((g, k) => line(k < 3 ? [dash(k), g] : [g], [grouped(meta.shown[k]), percent(meta.right[index][k]), two(meta.purity[index][k])], "row")),
      line([dash(3), "trustworthiness"], ["", "", two(meta.trustworthiness[index])], "row"));
    const focus = this.chosen.contains(document.activeElement);
    this.chosen.replaceChildren(make("h4", {}, n ? `${grouped(n)} selected` : "Drag in the picture to select samples"), ...(n ? this.cells() : []).slice(0, 5).map(([t, p, count]) => item(null, `${this.name(t)} → ${this.name(p)}`, count)),
      ...(state.cell.length ? [button("select highlighted", () => this.selectHighlighted()), button("show all", () => (this.set("cell", []), this.publishCell()))] : []), ...(n ? [button("clear selection", () => this.select([]))] : []));
    if (focus) (this.chosen.querySelector("button") ?? this.canvas).focus({ preventScroll: true });
    const [colour, truth, label] = this.selects;
    [colour.value, truth.value, label.value, this.speed.value] = [state.colour, ...(state.cell.length ? state.cell : [-1, -1]), state.speed];
    this.namesButton.setAttribute("aria-pressed", state.names);
    this.status.textContent = this.describe();
  }

  // ---- drawing

  relayout(force) {
    const width = this.root.clientWidth;
    if (!this.meta || width < 40 || (!force && width === this.width)) return;
    const style = getComputedStyle(this.root), { ctx } = this, colour = (name) => {
      ctx.fillStyle = style.getPropertyValue(`--pld-${name}`).trim(); // a canvas knows every way of writing a colour
      return ctx.fillStyle.startsWith("#") ? hex(ctx.fillStyle) : ctx.fillStyle.match(/[\d.]+/g).slice(0, 3).map(Number);
    };
    const [ink, line, paper, accent] = ["ink", "line", "paper", "accent"].map(colour), dark = paper[1] < 100, dpr = (this.dpr = window.devicePixelRatio || 1);
    const groups = (dark ? ["#4aa8e8", "#8b949c", "#f5893a"] : ["#0072B2", "#999999", "#D55E00"]).map(hex), ramp = (dark ? ["#22405a", "#b9e2ff"] : ["#c6dbef", "#08306b"]).map(hex);
    this.theme = { ink, line, paper, accent, groups, ramp, grey: mix(ink, paper, 0.6), soft: mix(groups[1], paper, 0.5), font: style.fontFamily };
    const W = width - 24, narrow = W < 680, side = narrow ? W : clip(Math.round(W * 0.3), 240, 310), [x0, x1, y0, y1] = this.meta.box;
    const w = narrow ? W : W - side - 16, h = Math.round(clip((w * (y1 - y0)) / (x1 - x0), Math.min(w, 400), Math.min(w, 600)));
    Object.assign(this, { width, w, h, side_w: side });
    this.root.classList.toggle("pld-narrow", narrow);
    for (const [canvas, cw, ch] of [[this.canvas, w, h], [this.chart, side, 110]]) {
      Object.assign(canvas, { width: Math.round(cw * dpr), height: Math.round(ch * dpr) });
      Object.assign(canvas.style, { width: `${cw}px`, height: `${ch}px` });
    }
    this.side.style.width = `${side}px`;
    this.raster = new Raster(this.canvas.width, this.canvas.height, paper);
    this.request(true);
  }

  /** Where position (u, v) lies on the canvas. */
  projection() {
    const [x0, x1, y0, y1] = this.meta.box, { w, h, zoom } = this, s = Math.min((w - 30) / (x1 - x0), (h - 30) / (y1 - y0)) * zoom.k;
    return (u, v) => [w / 2 + zoom.x + s * (u - (x0 + x1) / 2), h / 2 + zoom.y - s * (v - (y0 + y1) / 2)];
  }

  draw() {
    const start = performance.now(), { n, E, t, x, y, dpr, raster, theme, index, meta, state, position: at, ctx } = this, inCell = state.cell.length > 0, some = inCell || state.selection.length > 0;
    const f = Math.min(Math.floor(t), E - 1), g = Math.min(f + 1, E - 1), part = t - f, to = this.projection(), [ox, oy] = to(0, 0), s = to(1, 0)[0] - ox;
    for (let i = 0, a = 2 * f * n, b = 2 * g * n; i < n; i++, a += 2, b += 2) {
      x[i] = (ox + s * (at[a] + part * (at[b] - at[a]))) * dpr;
      y[i] = (oy - s * (at[a + 1] + part * (at[b + 1] - at[a + 1]))) * dpr;
      this.lit[i] = inCell ? this.highlighted(i) : !some || this.selected[i];
    }
    const colours = this.palette(), discs = [], small = n > 6000 ? 1.8 : n > 2000 ? 2.3 : 2.9;
    const style = (code, wrong, tail, lit, halo) => {
      const fade = (c) => (lit ? c : mix(c, theme.paper, 0.84)), width = halo ? 1.8 : wrong ? (tail ? 1.4 : 0.9) : tail ? 0.7 : 0;
      return { radius: (small * (tail ? 1.65 : 1) * (wrong ? 1.12 : 1) + 1.6 * halo) * dpr, width: width * dpr, fill: fade(colours[code]), ring: halo ? theme.accent : wrong ? fade(theme.ink) : theme.paper, alpha: tail || wrong ? 1 : 0.85 };
    };
    raster.pixels.fill(raster.paper);
    for (const pass of some ? [0, 1] : [1])
      for (const i of this.order) {
        if (this.lit[i] !== pass) continue;
        const code = this.code(i), wrong = +(this.true[i] >= 0 && this.labelOf(i) !== this.true[i]), tail = +(this.group[i] === 2), halo = +(inCell && this.selected[i]);
        raster.stamp((discs[(code << 4) | (halo << 3) | (pass << 2) | (tail << 1) | wrong] ??= raster.disc(style(code, wrong, tail, pass, halo))), x[i], y[i]);
      }
    ctx.putImageData(raster.image, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    if (state.names) this.drawNames(f, g, part, to);
    this.drawHand(to);
    this.drawChart();
    const when = `epoch ${meta.epochs[index]}, snapshot ${index + 1} of ${E}`, near = this.asked === null || this.asked === state.epoch ? "" : ` (nearest to epoch ${this.asked})`;
    this.readout.textContent = when + near + (part > 0.001 ? `, moving ${meta.epochs[f]} → ${meta.epochs[g]}` : "");
    this.slider.value = t;
    this.slider.setAttribute("aria-valuetext", when);
    this.canvas.setAttribute("aria-label", `${grouped(n)} samples of ${meta.run}, ${when}`);
    if (this.stale) this.write();
    this.stale = false;
    Object.assign(this.root.dataset, { epoch: meta.epochs[index], frame: index, t: t.toFixed(3), drawMs: (performance.now() - start).toFixed(2) });
  }

  drawNames(f, g, part, to) {
    const { ctx, theme, state, K } = this, middle = state.colour === "pseudo" || !this.meta.truth ? this.middle_label : this.middle_true, placed = [];
    for (let c = 0; c < K; c++) {
      const [a, b] = [f, g].map((frame) => 2 * (frame * K + c)).map((k) => (middle[k] === NONE ? null : [middle[k], middle[k + 1]])), p = a ?? b, q = b ?? a;
      if (p && (K <= 30 || state.cell.includes(c))) placed.push([...to(p[0] + part * (q[0] - p[0]), p[1] + part * (q[1] - p[1])), this.name(c)]);
    }
    Object.assign(ctx, { font: `600 14px ${theme.font}`, textAlign: "center", textBaseline: "middle", lineWidth: 5, lineJoin: "round", strokeStyle: css(theme.paper), fillStyle: css(theme.ink) });
    placed.sort((p, q) => p[1] - q[1]).forEach((p, k) => {
      for (const q of placed.slice(0, k)) if (Math.abs(p[0] - q[0]) < 30 && p[1] - q[1] < 14) p[1] = q[1] + 14;
      const text = p[2].length > 16 ? `${p[2].slice(0, 15)}…` : p[2];
      ctx.strokeText(text, p[0], p[1]);
      ctx.fillText(text, p[0], p[1]);
    });
  }

  /** The way of the point under the pointer through all snapshots, and the lasso. */
  drawHand(to) {
    const { ctx, theme, hovered: i, n, E, position: at, path } = this;
    Object.assign(ctx, { strokeStyle: css(theme.ink), lineWidth: 1.5 });
    if (i !== null) {
      ctx.beginPath();
      for (let f = 0, k = 2 * i; f < E; f++, k += 2 * n) ctx.lineTo(...to(at[k], at[k + 1]));
      ctx.stroke();
      ctx.lineWidth = 2.5;
      ctx.beginPath();
      ctx.arc(this.x[i] / this.dpr, this.y[i] / this.dpr, 8, 0, 7);
      ctx.stroke();
    }
    if (!path) return;
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const point of path) ctx.lineTo(...point);
    ctx.closePath();
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /** Purity of the groups and trustworthiness over the snapshots; the table under it is its legend. */
  drawChart() {
    const ctx = this.chart.getContext("2d"), { side_w: w, dpr, theme, meta, E, t } = this, x = (f) => 26 + ((w - 42) * f) / Math.max(1, E - 1), y = (v) => 90 - 82 * v;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, w, 110);
    Object.assign(ctx, { font: `10px ${theme.font}`, textBaseline: "middle", textAlign: "center" });
    for (const v of [0, 0.5, 1]) {
      ctx.fillStyle = css(theme.line);
      ctx.fillRect(x(0), Math.round(y(v)), x(E - 1) - x(0), 1);
      ctx.fillStyle = css(theme.ink);
      ctx.fillText(v, 12, y(v));
    }
    for (let f = E - 1, free = Infinity; f >= 0; f--) {
      const half = ctx.measureText(meta.epochs[f]).width / 2;
      if (x(f) + half > free) continue;
      ctx.fillText(meta.epochs[f], x(f), 102);
      free = x(f) - half - 6;
    }
    [...DASHES, [1, 3]].forEach((dash, k) => {
      ctx.setLineDash(dash);
      Object.assign(ctx, { strokeStyle: css(k < 3 ? theme.groups[k] : theme.ink), lineWidth: 2 });
      ctx.beginPath();
      const values = k < 3 ? meta.purity.map((row) => row[k]) : meta.trustworthiness;
      values.forEach((v, f) => v !== null && ctx.lineTo(x(f), y(v)));
      ctx.stroke();
    });
    ctx.setLineDash([]);
    ctx.fillRect(x(t) - 0.75, 4, 1.5, 90);
  }
}

function render({ model, el }) {
  const view = new EmbeddingView(model, el);
  return () => view.cleanups.forEach((f) => f());
}

export default { render };
