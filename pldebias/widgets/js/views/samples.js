import { button, make } from "../core/dom.js";
import { fill, frame, note, Surface, write } from "../core/surface.js";
import { ceil, floor, max } from "../stats/intervals.js";

const TILE = 34;
const TEXT = 52;
const SAYS = {
  right: ["#6baed6", "true class"],
  chosen: ["#e08214", "the chosen label"],
  other: ["#bdbdbd", "another label"],
};

/** Samples of the chosen cell: picture, index, and the label of every epoch as a strip. */
export class Samples {
  /** @type {Reply | null} */
  reply = null;
  labels = new Int16Array();
  accepted = new Uint8Array();
  /** @type {ImageBitmap | null} */
  sheet = null;

  /** @param {HTMLElement} parent @param {Stage} stage */
  constructor(parent, stage) {
    this.stage = stage;
    this.title = make("span");
    const head = make(
      "div",
      { class: "pld-heading" },
      this.title,
      button("close", () => stage.drop()),
    );
    this.box = parent.appendChild(make("div", { class: "pld-samples", hidden: "" }, head));
    this.surface = new Surface(this.box, "strips", "labels of these samples over the epochs");
  }

  /**
   * Take a reply of the kernel (or of the page): labels and acceptance [n, E], one picture with all thumbnails.
   * @param {Reply} reply @param {DataView<ArrayBuffer>[]} buffers
   */
  async show(reply, buffers) {
    this.box.hidden = false;
    this.title.textContent = [reply.title, reply.problem].filter(Boolean).join(" ");
    const [labels, accepted, sheet] = buffers.map((b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength));
    this.sheet = sheet?.byteLength ? await createImageBitmap(new Blob([sheet], { type: "image/png" })) : null;
    this.reply = reply;
    this.labels = new Int16Array(labels);
    this.accepted = new Uint8Array(accepted);
    this.draw();
  }

  hide() {
    this.box.hidden = true;
    this.reply = null;
  }

  draw() {
    const { reply, surface } = this;
    const { scene, theme } = this.stage;
    if (!reply || !theme.font || !scene.slots.length) return;
    const n = reply.ids.length;
    const width = this.box.clientWidth;
    const across = max(1, floor(width / 400));
    const w = floor(width / across);
    surface.canvas.hidden = !n;
    surface.fit(width, ceil(n / across) * TILE + 24);
    surface.ctx.font = theme.font;
    surface.ctx.imageSmoothingEnabled = false;
    this.key();
    const slot = scene.slots[this.stage.askedSlot] ?? scene.slots[0];
    const epoch = slot.epochs[slot.shown[scene.index]];
    const now = reply.epochs.findIndex((e) => e >= epoch);
    for (let i = 0; i < n; i++) this.strip(reply, i, (i % across) * w, 24 + floor(i / across) * TILE, w, now);
  }

  key() {
    const { ctx } = this.surface;
    const { theme } = this.stage;
    let at = 0;
    for (const [colour, text] of [...Object.values(SAYS), ["", "pale: not accepted"]]) {
      if (colour) fill(ctx, colour, at, 4, 16, 11);
      note(ctx, theme, text, at + (colour ? 22 : 0), 10);
      at += 40 + ctx.measureText(text).width;
    }
  }

  /** @param {Reply} reply @param {number} i @param {number} x @param {number} y @param {number} w @param {number} now */
  strip(reply, i, x, y, w, now) {
    const { ctx } = this.surface;
    const { scene, theme } = this.stage;
    const E = reply.epochs.length;
    const [tw, th] = reply.tile;
    const from = x + TILE + TEXT;
    const length = w - TILE - TEXT - 14;
    if (this.sheet && reply.tiles[i] >= 0) ctx.drawImage(this.sheet, reply.tiles[i] * tw, 0, tw, th, x, y, 30, 30);
    else frame(ctx, theme.line, x + 0.5, y + 0.5, 29, 29);
    write(ctx, `#${reply.ids[i]}`, x + 36, y + 9, { colour: theme.ink, size: 10 });
    write(ctx, `true ${scene.meta.classes[reply.true[i]] ?? "?"}`, x + 36, y + 22, { colour: theme.soft, size: 10, room: TEXT - 2 });
    for (let e = 0; e < E; e++) {
      const label = this.labels[i * E + e];
      if (label < 0) continue; // none was given
      const kind = label === reply.true[i] ? "right" : label === reply.chosen ? "chosen" : "other";
      ctx.globalAlpha = this.accepted[i * E + e] ? 1 : 0.4;
      fill(ctx, SAYS[kind][0], from + (e * length) / E, y + 4, length / E + 0.4, 20);
    }
    ctx.globalAlpha = 1;
    fill(ctx, theme.ink, from + ((now + 0.5) * length) / E - 0.75, y + 1, 1.5, 26);
  }
}
