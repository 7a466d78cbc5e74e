/**
 * The embedding view of pldebias: points of the same samples over the snapshots of a training, on one canvas, without dependencies.
 *
 * Python sends positions, labels, and what was measured in feature space (see embedding.py); nothing is estimated here. Discs are
 * stamped into an image instead of being drawn as paths, which keeps twelve thousand smooth without a GPU. Class and run names reach
 * the page through textContent and canvas text only, so markup in a name stays text.
 */

const { abs, ceil, exp, floor, hypot, max, min, round } = Math;
const SYNC_MS = 100; // the kernel hears of a change at most this often, and always of the last one
const MOVE_MS = 260; // a step from one snapshot to the next
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array };
const COLOURS = { pseudo: "pseudo-label", true: "true class", flipped: "change since last snapshot", confidence: "confidence" };
const GROUPS = ["head", "medium", "tail", "all"];
const NONE = 65535, BINS = 16, HALO = [0, 158, 115];
const HELP = [
  ["← → Home End", "move through the snapshots"], ["Space", "play, pause"], ["1 2 3 4", "colour by pseudo-label, true class, change, confidence"],
  ["n", "class names"], ["drag, click", "select by lasso, or one; Shift adds"], ["s", "select what is highlighted"], ["+ − 0", "zoom at the pointer; also Ctrl + wheel"],
  ["Enter", "in the picture: walk over the points with the arrows; again: select the point"], ["Esc", "stop walking, unselect, leave"],
];
const SIGNS = { first: "M3 3h2v10H3zM13 3v10L6 8z", previous: "M11 3v10L4 8z", play: "M4 2v12l10-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z", next: "M5 3v10l7-5z", last: "M11 3h2v10h-2zM3 3v10l7-5z" };

const hex = (s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16));
const mix = (a, b, f) => a.map((v, i) => round(v + f * (b[i] - v)));
const css = (c) => `rgb(${c})`;
const pack = (c) => ((255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const percent = (v) => (v === null ? "–" : `${(100 * v).toFixed(1)} %`);
const two = (v) => (v === null ? "–" : v.toFixed(2));
const clip = (v, low, high) => max(low, min(high, v));
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
    const reach = ceil(radius) + 1, places = [];
    for (let place = 0; place < 16; place++) {
      const at = [], colour = [], cover = [];
      for (let y = -reach; y <= reach; y++)
        for (let x = -reach; x <= reach; x++) {
          let inner = 0, outer = 0;
          for (let s = 0; s < 16; s++) {
            const d = hypot(x + ((s & 3) - (place & 3)) / 4, y + ((s >> 2) - (place >> 2)) / 4);
            if (d < radius - width) inner++;
            else if (d < radius) outer++;
          }
          if (!(inner + outer)) continue;
          at.push(y * this.width + x);
          colour.push(pack(mix(fill, ring, outer / (inner + outer))));
          cover.push(round(16 * (inner * alpha + outer)));
        }
      places.push([Int32Array.from(at), Uint32Array.from(colour), Uint16Array.from(cover)]);
    }
    return { reach, places };
  }

  stamp({ reach, places }, x, y) {
    const ix = floor(x), iy = floor(y);
    if (!(ix >= reach && iy >= reach && ix < this.width - reach && iy < this.height - reach)) return;
    const [at, colour, cover] = places[floor((x - ix) * 4) + 4 * floor((y - iy) * 4)], { pixels } = this, base = iy * this.width + ix;
    for (let k = 0; k < at.length; k++) {
      const i = base + at[k], a = cover[k], b = 256 - a, s = colour[k], d = pixels[i]; // red and blue in one product, green in another
      pixels[i] = 0xff000000 | ((((s & 0xff00ff) * a + (d & 0xff00ff) * b) >>> 8) & 0xff00ff) | ((((s & 0xff00) * a + (d & 0xff00) * b) >>> 8) & 0xff00);
    }
  }
}

const STATE = ["epoch", "colour", "cell", "selection", "names", "speed"];

function render({ model, el }) {
  const state = Object.fromEntries(STATE.map((k) => [k, model.get(k)])), pending = new Set(), calm = matchMedia("(prefers-reduced-motion: reduce)");
  let meta, arrays, n, E, K, X, Y, lit, row, order, selected, absent = 0; // what Python sent, and what follows from it
  let t = 0, index = 0, aim, from, began, playing = false, asked = null; // time: t lies between snapshots while points move
  let hub, leave, timer, sent = -Infinity, frame = 0, stale;
  let hovered = null, walking, path, pointer, zoom = { k: 1, x: 0, y: 0 };
  let theme, width, w, h, sideW, dpr, raster;

  // ---- data

  async function adopt() {
    const data = model.get("data"), bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const buffer = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    if (!gone.length) return; // closed in the meantime
    meta = model.get("meta");
    arrays = Object.fromEntries(Object.entries(meta.blocks).map(([name, [offset, type, length]]) => [name, new TYPES[type](buffer, offset, length)]));
    n = meta.n;
    E = meta.epochs.length;
    K = meta.classes.length;
    [X, Y, lit] = [new Float32Array(n), new Float32Array(n), new Uint8Array(n)];
    row = new Map(Array.from(arrays.ids, (id, i) => [id, i]));
    order = Uint32Array.from(arrays.ids.keys()).sort((a, b) => arrays.group[a] - arrays.group[b] || a - b); // the tail lies on top
    slider.max = E - 1;
    t = index = aim = frameOf(state.epoch);
    title.textContent = meta.run;
    about.textContent = meta.about;
    for (const node of [trueSelect, labelSelect]) node.replaceChildren(...[-1, ...meta.order].map((value) => make("option", { value }, name(value))));
    trueSelect.disabled = !meta.truth;
    for (const option of colourSelect.options) [option.disabled, option.title] = [option.value in meta.missing, meta.missing[option.value] ?? ""];
    remember(state.selection);
    join();
    relayout(true);
  }

  const name = (c) => (c < 0 ? "any" : meta.classes[c]);
  const rows = (test) => [...arrays.ids.keys()].filter(test);
  const labelOf = (i, f = index) => arrays.label[f * n + i];

  /** Number of the snapshot nearest to an epoch; the earlier of two as near. */
  const frameOf = (epoch) => meta.epochs.reduce((best, e, i, all) => (abs(e - epoch) < abs(all[best] - epoch) ? i : best), 0);

  /** What a point's fill says: a group (3: unknown), a kind of change, or a bin of confidence (16: not logged). */
  function code(i) {
    const { colour } = state, of = meta.group_of, p = labelOf(i), c = arrays.true[i];
    if (colour === "pseudo") return of[p];
    if (colour === "true") return c < 0 ? 3 : of[c];
    if (colour === "confidence") {
      const v = arrays.confidence[index * n + i];
      return v === NONE ? BINS : min(BINS - 1, floor((v * BINS) / 1000));
    }
    const before = labelOf(i, max(0, index - 1));
    return before === p ? 0 : c < 0 ? 4 : p === c ? 1 : before === c ? 2 : 3;
  }

  function palette() {
    const { groups, grey, soft, ramp } = theme;
    if (state.colour === "flipped") return [soft, groups[0], groups[2], hex("#CC79A7"), groups[2]];
    if (state.colour === "confidence") return [...Array.from({ length: BINS }, (_, i) => mix(...ramp, i / (BINS - 1))), grey];
    return [...groups, grey];
  }

  // ---- state, kernel, linked views

  /** Change one part of the state here, draw at once, and tell the kernel soon. */
  function set(key, value) {
    if (same(state[key], value)) return;
    state[key] = value;
    pending.add(key);
    timer ??= setTimeout(flush, max(0, sent + SYNC_MS - performance.now()));
    request(true);
  }

  function flush() {
    clearTimeout(timer);
    timer = null;
    if (!pending.size) return;
    sent = performance.now();
    for (const key of pending) model.set(key, state[key]);
    pending.clear();
    model.save_changes();
  }

  /** The kernel, or another view of this model, changed something. */
  function receive(key) {
    const value = model.get(key);
    if (!meta || pending.has(key) || same(state[key], value)) return;
    if (key === "epoch") return go(frameOf(value));
    if (key === "selection") return select(value.map((id) => row.get(id)));
    state[key] = value;
    if (key === "cell") publishCell();
    request(true);
  }

  /** Views of one page with the same link name share a hub, and tell each other what the user changed: epoch, cell, samples, cells. */
  function join() {
    leave?.();
    const link = model.get("link");
    if (!link) return;
    hub = (window.__pldebias ??= {})[link] ??= { values: {}, listeners: new Set() };
    const listener = (patch, origin) => origin !== self && hear(patch), mine = hub;
    mine.listeners.add(listener);
    leave = () => (mine.listeners.delete(listener), (hub = null));
    hear(hub.values);
  }

  function publish(patch) {
    if (!hub) return;
    Object.assign(hub.values, patch);
    for (const f of [...hub.listeners]) f(patch, self);
  }

  function hear({ epoch, cell, samples }) {
    const known = (c) => Number.isInteger(c) && c >= 0 && c < K;
    if (Number.isFinite(epoch)) {
      move(frameOf(epoch));
      asked = epoch;
    }
    if (cell !== undefined) set("cell", cell && known(cell.true) && known(cell.label) ? [cell.true, cell.label] : []);
    if (samples === null || Array.isArray(samples)) set("selection", remember(samples ?? []));
    request(true);
  }

  function publishCell() {
    const [c, p] = state.cell;
    if (!(min(c, p) < 0)) publish({ cell: c === undefined ? null : { true: c, label: p } });
  }

  /** Counts [true class, pseudo-label, n] of the selected samples at the snapshot shown, largest first. */
  function cells() {
    const counts = new Map();
    for (let i = 0; i < n; i++)
      if (selected[i] && arrays.true[i] >= 0) {
        const key = arrays.true[i] * K + labelOf(i);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([key, count]) => [floor(key / K), key % K, count]);
  }

  /** Mark samples as selected; returns those that this picture has. */
  function remember(ids) {
    selected = new Uint8Array(n);
    for (const id of ids) if (row.has(id)) selected[row.get(id)] = 1;
    const known = Array.from(arrays.ids).filter((_, i) => selected[i]);
    absent = new Set(ids).size - known.length;
    return known;
  }

  function select(chosen) {
    const samples = remember(chosen.map((i) => arrays.ids[i]));
    set("selection", samples);
    publish({ samples: samples.length ? samples : null, cells: cells() });
    request(true);
  }

  /** A true class, a pseudo-label or both were chosen in the bar: whatever else there is is dimmed. */
  function pick() {
    const cell = [+trueSelect.value, +labelSelect.value];
    set("cell", max(...cell) < 0 ? [] : cell);
    publishCell();
  }

  function highlighted(i) {
    const [c, p] = state.cell;
    return c === undefined || ((c < 0 || arrays.true[i] === c) && (p < 0 || labelOf(i) === p));
  }

  const selectHighlighted = () => state.cell.length && select(rows(highlighted));

  // ---- time

  /** Show snapshot i, as the user asked. */
  function go(i) {
    move(clip(i, 0, E - 1));
    tell();
  }

  function move(i) {
    play(false);
    [aim, from, began] = [i, t, performance.now()];
    at(i);
  }

  /** Between two snapshots positions are interpolated, and labels are those of the nearer one. */
  function drag(to) {
    play(false);
    aim = t = to;
    at(round(t));
    tell();
  }

  function at(i) {
    const moved = i !== index, samples = state.selection;
    [index, asked] = [i, null];
    set("epoch", meta.epochs[i]);
    if (moved && samples.length) publish({ samples, cells: cells() }); // they have other labels now
    request();
  }

  function tell() {
    const { epoch } = state;
    if (hub?.values.epoch !== epoch) publish({ epoch });
  }

  function play(on) {
    if (on === playing || !meta) return;
    playing = on;
    const sign = on ? "pause" : "play";
    playButton.replaceChildren(icon(sign));
    playButton.setAttribute("aria-label", sign);
    status.setAttribute("aria-live", on ? "off" : "polite"); // nobody can listen to a film of numbers
    if (!on) return move(index);
    if (index === E - 1) t = 0;
    began = performance.now();
    request();
  }

  /** One frame of whatever moves. */
  function advance(now) {
    const passed = max(0, now - began);
    if (playing) {
      t = min(E - 1, t + (min(passed, 500) / 1000) * state.speed);
      began = now;
      at(round(t));
      tell();
      if (t === E - 1) play(false);
    } else if (t !== aim) {
      const part = min(1, passed / MOVE_MS);
      t = part < 1 ? from + (aim - from) * part * part * (3 - 2 * part) : aim;
      request();
    }
  }

  function request(words) {
    stale ||= words;
    frame ||= requestAnimationFrame((now) => ((frame = 0), theme && (advance(now), draw())));
  }

  // ---- hands

  function pointers() {
    const on = (type, f) => canvas.addEventListener(type, (event) => theme && f(event), { passive: false }), place = (event) => [event.offsetX, event.offsetY];
    on("pointerdown", (event) => {
      if (event.button) return;
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      path = [place(event)];
    });
    on("pointermove", (event) => {
      if (!path) return hover(nearest(place(event), 12), event);
      path.push(place(event));
      hover(null);
    });
    on("pointerup", (event) => {
      if (!path) return;
      const [u, v] = place(event), [a, b] = path[0], keep = event.shiftKey ? selected : [], click = path.length < 5 && hypot(a - u, b - v) < 4, i = click && nearest([u, v], 12), drawn = path;
      path = null;
      select(rows((j) => keep[j] || (click ? j === i : inside(drawn, X[j] / dpr, Y[j] / dpr))));
    });
    on("lostpointercapture", () => ((path = null), request()));
    on("pointerleave", () => hover(null));
    on("blur", () => (walking = false));
    on("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      pointer = place(event);
      magnify(exp(-event.deltaY / 300));
    });
  }

  /** Even-odd rule. */
  function inside(outline, u, v) {
    let odd = false;
    outline.forEach(([a, b], i) => {
      const [c, d] = outline.at(i - 1);
      if (b > v !== d > v && u < ((c - a) * (v - b)) / (d - b) + a) odd = !odd;
    });
    return odd;
  }

  function magnify(factor) {
    const k = clip(zoom.k * factor, 1, 40), f = k / zoom.k, [a, b] = pointer ?? [w / 2, h / 2], [u, v] = [a - w / 2, b - h / 2];
    zoom = k === 1 ? { k, x: 0, y: 0 } : { k, x: u - f * (u - zoom.x), y: v - f * (v - zoom.y) };
    request();
  }

  /** The point nearest to a place; what is highlighted before what is dimmed, what lies on top before what it covers. */
  function nearest([u, v], reach) {
    let best = null, least = reach * dpr;
    for (const i of order) {
      const d = hypot(X[i] - u * dpr, Y[i] - v * dpr) * (lit[i] ? 1 : 3);
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  function hover(i, event) {
    if (event) pointer = [event.offsetX, event.offsetY];
    if (event || !walking) hovered = i;
    tip.hidden = i === null;
    request(true);
    if (i === null) return;
    const box = root.getBoundingClientRect(), x = event.clientX - box.left;
    tip.replaceChildren(...point(i).map((line) => make("div", {}, line)));
    Object.assign(tip.style, { left: `${x}px`, top: `${event.clientY - box.top}px`, translate: `${x > box.width / 2 ? "calc(-100% - 14px)" : "14px"} -110%` });
  }

  /** From the walked point to the next one in a direction. */
  function walk([dx, dy]) {
    const start = hovered;
    let least = Infinity;
    for (const i of order) {
      const u = X[i] - X[start], v = Y[i] - Y[start], along = u * dx + v * dy, off = abs(u * dy) + abs(v * dx);
      if (lit[i] && along > 0.5 && off <= along && along + 2 * off < least) [hovered, least] = [i, along + 2 * off];
    }
    request(true);
  }

  function onkeydown(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || !theme || (target.tagName === "SELECT" && key !== "Escape")) return;
    if (target.tagName === "BUTTON" && (key === " " || key === "Enter")) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key], colour = Object.keys(COLOURS)[key - 1], { first, previous, play: toggle, next, last } = steps;
    const actions = {
      ArrowLeft: previous, ArrowRight: next, Home: first, End: last, " ": toggle, n: toggleNames, s: selectHighlighted, "?": help, Escape: escape,
      "+": () => magnify(1.4), "=": () => magnify(1.4), "-": () => magnify(1 / 1.4), 0: () => magnify(0),
    };
    if (walking && arrow) walk(arrow);
    else if (key === "Enter" && target === canvas) {
      if (walking) select(rows((i) => (i === hovered ? !selected[i] : selected[i])));
      walking = true;
      hovered ??= nearest([w / 2, h / 2], 1e6);
      request(true);
    } else if (colour) colour in meta.missing ? (status.textContent = meta.missing[colour]) : set("colour", colour);
    else if (Object.hasOwn(actions, key)) actions[key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function escape() {
    if (!helpBox.hidden) help();
    else if (walking) {
      walking = false;
      hover(null);
    } else if (state.selection.length) select([]);
    else {
      document.activeElement?.blur();
      root.closest(".jp-Cell, .jp-Notebook")?.focus({ preventScroll: true }); // JupyterLab listens for keys there
    }
  }

  const help = () => (helpBox.hidden = !helpBox.hidden);
  const toggleNames = () => set("names", !state.names);

  // ---- words

  function point(i) {
    const k = index * n + i, c = arrays.true[i], p = arrays.label[k], v = arrays.confidence[k];
    return [
      `sample ${arrays.ids[i]}`, `true ${c < 0 ? "unknown" : name(c)} → pseudo-label ${name(p)}${c < 0 ? "" : p === c ? ", right" : ", wrong"}`,
      `confidence ${v === NONE ? "not logged" : percent(v / 1000)}, ${arrays.accepted[k] ? "accepted" : "rejected"}`,
    ];
  }

  function describe() {
    const [c, p] = state.cell, parts = [`epoch ${meta.epochs[index]}`], each = (values, say) => values.map((v, g) => `${GROUPS[g]} ${say(v)}`).join(", ");
    if (hovered !== null) return `${parts[0]}, ${point(hovered).join(", ")}.`;
    if (c !== undefined) {
      const hits = rows(highlighted).length, of = c < 0 ? n : rows((i) => arrays.true[i] === c).length;
      parts.push(`true ${name(c)} → pseudo-label ${name(p)}: ${grouped(hits)} of ${grouped(of)} shown` + (c < 0 ? "" : ` of this class (${percent(of ? hits / of : null)})`));
    }
    if (state.selection.length) parts.push([`${grouped(state.selection.length)} selected`, ...cells().slice(0, 4).map(([a, b, count]) => `${name(a)} → ${name(b)} ${count}`)].join(", "));
    if (absent) parts.push(`${grouped(absent)} of the samples chosen elsewhere are not in this picture`);
    if (parts.length < 2) parts.push(`right labels of those shown: ${each(meta.right[index], percent)}`, `neighbourhood purity ${each(meta.purity[index], two)}`, `trustworthiness ${two(meta.trustworthiness[index])}`);
    return `${parts.join("; ")}.`;
  }

  /** Everything beside the picture that is text. */
  function write() {
    const colours = palette(), counts = new Array(colours.length).fill(0), chosen = state.selection.length, [heading, truth] = [(text) => make("h4", {}, text), meta.truth];
    for (let i = 0; i < n; i++) counts[code(i)]++;
    const item = (colour, text, count = "", kind = "") => make("div", { class: `pld-item ${kind}` }, colour ? make("i", { style: `background:${css(colour)}` }) : "", make("span", { title: text }, text), count);
    const members = (g) => meta.order.filter((c) => meta.group_of[c] === g).map(name).join(", ");
    const kinds = { flipped: meta.flips, confidence: [] }[state.colour] ?? [...[0, 1, 2].map((g) => `${GROUPS[g]}: ${members(g)}`), "unknown"];
    const ramp = [make("div", { class: "pld-item" }, "0", make("i", { class: "pld-ramp", style: `background:linear-gradient(90deg,${theme.ramp.map(css)})` }), "100 %"), make("div", { class: "pld-about" }, meta.confidence)];
    legend.replaceChildren(heading(`Fill: ${COLOURS[state.colour]}`), ...(kinds.length ? [] : ramp), ...kinds.map((text, k) => (counts[k] || k < 3 ? item(colours[k], text, grouped(counts[k])) : "")),
      item(theme.grey, truth ? "large: truly tail" : "large: tail by its last label", "", "pld-large"), truth ? item(theme.paper, "ring: wrong pseudo-label", "", "pld-ring") : "");
    const line = (head, values, cell = "td", scope = "row") => make("tr", {}, make("th", { scope }, ...head), ...values.map((v) => make(cell, {}, v)));
    const dash = (k) => make("i", { class: "pld-line", style: `border-top:2px ${["solid", "dotted", "dashed", "dotted"][k]} ${css(theme.groups[k] ?? theme.ink)}` });
    table.replaceChildren(line([truth ? "truly" : "labelled"], ["shown", "right", "purity"], "th", "col"),
      ...GROUPS.map((g, k) => line(k < 3 ? [dash(k), g] : [g], [grouped(meta.shown[k]), percent(meta.right[index][k]), two(meta.purity[index][k])])), line([dash(3), "trustworthiness"], ["", "", two(meta.trustworthiness[index])]));
    const focus = selection.contains(document.activeElement);
    selection.replaceChildren(heading(chosen ? `${grouped(chosen)} selected` : "Drag in the picture to select samples"), ...(chosen ? cells() : []).slice(0, 5).map(([c, p, count]) => item(null, `${name(c)} → ${name(p)}`, count)),
      ...(state.cell.length ? [button("select highlighted", selectHighlighted), button("show all", () => (set("cell", []), publishCell()))] : []), chosen ? button("clear selection", () => select([])) : "");
    if (focus) (selection.querySelector("button") ?? canvas).focus({ preventScroll: true });
    [colourSelect.value, speedSelect.value, trueSelect.value, labelSelect.value] = [state.colour, state.speed, ...(state.cell.length ? state.cell : [-1, -1])];
    namesButton.setAttribute("aria-pressed", state.names);
    status.textContent = describe();
  }

  // ---- drawing

  function relayout(force) {
    if (!meta || root.clientWidth < 40 || (!force && root.clientWidth === width)) return;
    width = root.clientWidth;
    dpr = window.devicePixelRatio || 1;
    const style = getComputedStyle(root), [ink, paper] = [style.color, style.backgroundColor].map((c) => c.match(/[\d.]+/g).slice(0, 3).map(Number)), dark = paper[1] < 100;
    const groups = (dark ? ["#4aa8e8", "#8b949c", "#f5893a"] : ["#0072B2", "#999999", "#D55E00"]).map(hex), ramp = (dark ? ["#22405a", "#b9e2ff"] : ["#c6dbef", "#08306b"]).map(hex);
    theme = { ink, paper, groups, ramp, line: mix(ink, paper, 0.75), grey: mix(ink, paper, 0.6), soft: mix(groups[1], paper, 0.5), font: style.fontFamily };
    const W = width - 24, narrow = W < 680, [x0, x1, y0, y1] = meta.box;
    sideW = narrow ? W : clip(round(W * 0.3), 240, 310);
    w = narrow ? W : W - sideW - 16;
    h = round(clip((w * (y1 - y0)) / (x1 - x0), min(w, 400), min(w, 600)));
    root.classList.toggle("pld-narrow", narrow);
    side.style.width = `${sideW}px`;
    for (const [node, a, b] of [[canvas, w, h], [chart, sideW, 110]]) {
      Object.assign(node, { width: round(a * dpr), height: round(b * dpr) });
      Object.assign(node.style, { width: `${a}px`, height: `${b}px` });
    }
    raster = new Raster(canvas.width, canvas.height, paper);
    request(true);
  }

  function draw() {
    const start = performance.now(), time = calm.matches ? index : t, f = min(floor(time), E - 1), g = min(f + 1, E - 1), part = time - f, at = arrays.position, inCell = state.cell.length > 0, some = inCell || state.selection.length > 0;
    const [x0, x1, y0, y1] = meta.box, s = min((w - 30) / (x1 - x0), (h - 30) / (y1 - y0)) * zoom.k, ox = w / 2 + zoom.x - (s * (x0 + x1)) / 2, oy = h / 2 + zoom.y + (s * (y0 + y1)) / 2, to = (u, v) => [ox + s * u, oy - s * v];
    for (let i = 0, a = 2 * f * n, b = 2 * g * n; i < n; i++, a += 2, b += 2) {
      X[i] = (ox + s * (at[a] + part * (at[b] - at[a]))) * dpr;
      Y[i] = (oy - s * (at[a + 1] + part * (at[b + 1] - at[a + 1]))) * dpr;
      lit[i] = inCell ? highlighted(i) : !some || selected[i];
    }
    const colours = palette(), discs = [], small = n > 6000 ? 1.8 : n > 2000 ? 2.3 : 2.9;
    const style = (fill, wrong, tail, bright, halo) => {
      const fade = (c) => (bright ? c : mix(c, theme.paper, 0.84)), rim = halo ? 1.8 : wrong ? (tail ? 1.4 : 0.9) : tail ? 0.7 : 0;
      return { radius: (small * (tail ? 1.65 : 1) * (wrong ? 1.12 : 1) * (inCell && bright ? 1.25 : 1) + 1.6 * halo) * dpr, width: rim * dpr, fill: fade(colours[fill]), ring: halo ? HALO : wrong ? fade(theme.ink) : theme.paper, alpha: tail || wrong ? 1 : 0.85 };
    };
    raster.pixels.fill(raster.paper);
    for (const pass of some ? [0, 1] : [1])
      for (const i of order) {
        if (lit[i] !== pass) continue;
        const fill = code(i), wrong = +(arrays.true[i] >= 0 && labelOf(i) !== arrays.true[i]), tail = +(arrays.group[i] === 2), halo = +(inCell && selected[i]);
        raster.stamp((discs[(fill << 4) | (halo << 3) | (pass << 2) | (tail << 1) | wrong] ??= raster.disc(style(fill, wrong, tail, pass, halo))), X[i], Y[i]);
      }
    ctx.putImageData(raster.image, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    if (state.names) drawNames(f, g, part, to);
    drawHand(to);
    drawChart(time);
    const epoch = meta.epochs[index], when = `epoch ${epoch}, snapshot ${index + 1} of ${E}`;
    readout.textContent = when + (asked === null || asked === epoch ? "" : ` (nearest to epoch ${asked})`) + (part > 0.001 ? `, moving ${meta.epochs[f]} → ${meta.epochs[g]}` : "");
    slider.value = time;
    slider.setAttribute("aria-valuetext", when);
    canvas.setAttribute("aria-label", `${grouped(n)} samples of ${meta.run}, ${when}`);
    if (stale) write();
    stale = false;
    Object.assign(root.dataset, { epoch, frame: index, t: time.toFixed(3), drawMs: (performance.now() - start).toFixed(2) });
  }

  function drawNames(f, g, part, to) {
    const middle = state.colour === "pseudo" || !meta.truth ? arrays.middle_label : arrays.middle_true, placed = [];
    for (let c = 0, a = 2 * f * K, b = 2 * g * K; c < K; c++, a += 2, b += 2)
      if (middle[a] < NONE && (K <= 30 || state.cell.includes(c))) placed.push([...to(middle[a] + part * (middle[b] - middle[a]), middle[a + 1] + part * (middle[b + 1] - middle[a + 1])), name(c)]);
    Object.assign(ctx, { font: `600 14px ${theme.font}`, textAlign: "center", textBaseline: "middle", lineWidth: 5, lineJoin: "round", strokeStyle: css(theme.paper), fillStyle: css(theme.ink) });
    placed.sort((p, q) => p[1] - q[1]).forEach((p, k) => {
      for (const q of placed.slice(0, k)) if (abs(p[0] - q[0]) < 30 && p[1] - q[1] < 14) p[1] = q[1] + 14;
      const text = p[2].length > 16 ? `${p[2].slice(0, 15)}…` : p[2];
      // Above the middle, which may be the only point, and within the picture.
      const half = ctx.measureText(text).width / 2 + 3, x = clip(p[0], half, w - half), y = max(p[1] - 14, 9);
      ctx.strokeText(text, x, y);
      ctx.fillText(text, x, y);
    });
  }

  /** The way of the point under the pointer through all snapshots, and the lasso. */
  function drawHand(to) {
    const at = arrays.position, i = hovered;
    Object.assign(ctx, { strokeStyle: css(theme.ink), lineWidth: 1.5 });
    ctx.beginPath();
    if (i !== null) {
      for (let k = 2 * i; k < at.length; k += 2 * n) ctx.lineTo(...to(at[k], at[k + 1]));
      ctx.moveTo(X[i] / dpr + 8, Y[i] / dpr);
      ctx.arc(X[i] / dpr, Y[i] / dpr, 8, 0, 7);
    }
    ctx.stroke();
    if (!path) return;
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const place of path) ctx.lineTo(...place);
    ctx.closePath();
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /** Purity of the groups and trustworthiness over the snapshots; the table under it is its legend. */
  function drawChart(time) {
    const c = chart.getContext("2d"), x = (f) => 26 + ((sideW - 42) * f) / max(1, E - 1), y = (v) => 90 - 82 * v;
    c.setTransform(dpr, 0, 0, dpr, 0, 0);
    c.clearRect(0, 0, sideW, 110);
    Object.assign(c, { font: `10px ${theme.font}`, textBaseline: "middle", textAlign: "center" });
    for (const v of [0, 0.5, 1]) {
      c.fillStyle = css(theme.line);
      c.fillRect(x(0), round(y(v)), x(E - 1) - x(0), 1);
      c.fillStyle = css(theme.ink);
      c.fillText(v, 12, y(v));
    }
    for (let f = E - 1, free = Infinity; f >= 0; f--) {
      const half = c.measureText(meta.epochs[f]).width / 2;
      if (x(f) + half > free) continue;
      c.fillText(meta.epochs[f], x(f), 102);
      free = x(f) - half - 6;
    }
    [[], [2, 2], [6, 2], [1, 3]].forEach((dash, k) => {
      c.setLineDash(dash);
      Object.assign(c, { strokeStyle: css(theme.groups[k] ?? theme.ink), lineWidth: 2 });
      c.beginPath();
      meta.trustworthiness.map((v, f) => (k < 3 ? meta.purity[f][k] : v)).forEach((v, f) => v !== null && c.lineTo(x(f), y(v)));
      c.stroke();
    });
    c.setLineDash([]);
    c.fillRect(x(time) - 0.75, 4, 1.5, 90);
  }

  // ---- page

  const choice = (label, options, onchange) => make("select", { "aria-label": label, onchange }, ...options.map(([value, text]) => make("option", { value }, text)));
  const colourSelect = choice("colour", Object.entries(COLOURS), () => set("colour", colourSelect.value)), trueSelect = choice("true", [], pick), labelSelect = choice("pseudo-label", [], pick);
  const speedSelect = choice("snapshots per second", [0.5, 1, 2, 4].map((v) => [v, `${v} per second`]), () => set("speed", +speedSelect.value));
  const title = make("b", { class: "pld-title" }), namesButton = button("names", toggleNames), about = make("div", { class: "pld-about" }), readout = make("output");
  const slider = make("input", { type: "range", min: 0, step: "any", "aria-label": "snapshot", oninput: () => drag(+slider.value), onchange: () => go(round(t)) });
  const steps = { first: () => go(0), previous: () => go(index - 1), play: () => play(!playing), next: () => go(index + 1), last: () => go(E - 1) };
  const transport = Object.entries(steps).map(([label, act]) => button(icon(label), () => meta && act(), { "aria-label": label, title: label })), playButton = transport[2];
  const canvas = make("canvas", { class: "pld-points", tabindex: 0, role: "application" }), ctx = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const chart = make("canvas", { role: "img", "aria-label": "purity and trustworthiness; values in the table" }), [legend, table, selection] = [make("div"), make("table"), make("div", { class: "pld-chosen" })];
  const side = make("div", { class: "pld-side" }, legend, make("h4", {}, "Measured in feature space"), chart, table, selection), status = make("div", { class: "pld-status", role: "status", "aria-live": "polite" });
  const helpBox = make("dl", { hidden: "" }, ...HELP.flatMap(([keys, text]) => [make("dt", {}, keys), make("dd", {}, text)])), tip = make("div", { class: "pld-tip", hidden: "" });
  const field = (node) => make("label", {}, node.getAttribute("aria-label"), node);
  const root = el.appendChild(make("div", { class: "pld-embedding", role: "group", "aria-label": "embedding over a training", tabindex: -1, onkeydown },
    make("div", { class: "pld-bar" }, title, ...[colourSelect, trueSelect, labelSelect].map(field), namesButton), about, slider,
    make("div", { class: "pld-bar" }, ...transport, readout, speedSelect, button("keys ?", help)), make("div", { class: "pld-panels" }, canvas, side), status, helpBox, tip));
  const self = root; // the origin of what this view publishes

  const gone = [flush, () => leave?.(), () => cancelAnimationFrame(frame)];
  const listen = (key, f) => {
    model.on(`change:${key}`, f);
    gone.push(() => model.off(`change:${key}`, f));
  };
  for (const key of STATE) listen(key, () => receive(key));
  listen("data", adopt);
  listen("link", () => meta && join());
  const again = () => relayout(true), resize = new ResizeObserver(() => relayout()), themes = new MutationObserver(again), dark = matchMedia("(prefers-color-scheme: dark)");
  resize.observe(root);
  themes.observe(document.body, { attributes: true });
  dark.addEventListener("change", again);
  gone.push(() => resize.disconnect(), () => themes.disconnect(), () => dark.removeEventListener("change", again));
  pointers();
  adopt();
  return () => gone.splice(0).forEach((f) => f());
}

export default { render };
