import { inflate } from "./core/bytes.js";

const STRIPS = 24;

/** In a page without a kernel: the samples behind a cell, from the history that the page carries (as followed.py answers in a notebook). */
export class Answers {
  /** @type {Record<number, Promise<[Int16Array, Uint8Array]>>} */
  read = {};

  /** @param {SampleStore} store @param {DataView<ArrayBuffer>} bytes @param {string[]} classes */
  constructor(store, bytes, classes) {
    this.store = store;
    this.bytes = bytes;
    this.classes = classes;
  }

  /** @param {[number, number]} place */
  block([offset, length]) {
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + offset, length);
  }

  /** Labels and acceptance [n, E] of a run. @param {number} r */
  history(r) {
    const { labels, accepted } = this.store.runs[r];
    const read = async () => {
      const [l, a] = await Promise.all([labels, accepted].map((b) => inflate(this.block(b))));
      return /** @type {[Int16Array, Uint8Array]} */ ([new Int16Array(l), new Uint8Array(a)]);
    };
    this.read[r] ??= read();
    return this.read[r];
  }

  /** Why a question has no answer, or "". @param {Question} question */
  problem({ run: r, epoch, kind }) {
    const run = this.store.runs[r];
    if (kind === "test") return "Test images are not followed over the epochs: choose sweep to see the unlabelled samples of a cell.";
    if (run.problem) return run.problem;
    if (run.epochs.includes(epoch)) return "";
    return `${run.name} kept no labels of single samples at epoch ${epoch}; record a sweep to follow them.`;
  }

  /** @param {Question} question @returns {Promise<[Reply, (Int16Array | Uint8Array)[]]>} */
  async reply(question) {
    const { run: r, epoch, split, cell, ids } = question;
    const run = this.store.runs[r];
    /** @type {Reply} */
    const reply = { ids: [], true: [], chosen: -1, epochs: [], total: 0, tiles: [], tile: this.store.tile, title: "", problem: "" };
    reply.problem = this.problem(question);
    if (reply.problem) return [reply, []];
    const [labels, accepted] = await this.history(r);
    const E = run.epochs.length;
    const now = run.epochs.indexOf(epoch);
    const [t, p] = cell;
    let found = ids;
    let what = "chosen samples";
    let order = "";
    if (!ids.length && t !== undefined && p !== undefined) {
      /** @param {number} i */
      const behind = (i) =>
        run.true[i] === t && labels[i * E + now] === p && (split === "all" || accepted[i * E + now] === +(split === "accepted"));
      /** @param {number} i */
      const since = (i) => labels.subarray(i * E, i * E + E).filter((label) => label === p).length;
      const members = [...run.true.keys()].filter(behind).map((i) => [i, since(i)]);
      found = members.sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([i]) => i);
      const which = split === "all" ? "" : `, ${split},`;
      what = `samples of true class ${this.classes[t]} with pseudo-label ${this.classes[p]}${which}`;
      order = found.length > 1 ? "; those longest with this label first" : "";
      reply.chosen = p;
    }
    const some = found.slice(0, STRIPS);
    const strips = [new Int16Array(some.length * E), new Uint8Array(some.length * E)];
    some.forEach((i, k) => {
      strips[0].set(labels.subarray(i * E, i * E + E), k * E);
      strips[1].set(accepted.subarray(i * E, i * E + E), k * E);
    });
    const total = found.length;
    const place = `in the sweep of epoch ${epoch}`;
    const title = total ? `${some.length} of ${total} ${what} ${place}${order}.` : `No ${what} ${place}.`;
    const tiles = some.map((i) => run.pictured.indexOf(i));
    Object.assign(reply, { ids: some, true: some.map((i) => run.true[i]), epochs: run.epochs, total, title, tiles });
    if (tiles.includes(-1)) reply.problem = this.store.pictures;
    const sheet = run.sheet ? this.block(run.sheet) : new Uint8Array(0);
    return [reply, [...strips, sheet]];
  }
}
