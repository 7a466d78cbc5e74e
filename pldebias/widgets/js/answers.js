import { inflate } from "./numbers.js";

const STRIPS = 24;

/** In a page without a kernel: the samples behind a cell, from the history that the page carries (as followed.py answers in a notebook). */
class Answers {
  constructor(store, bytes, classes) {
    Object.assign(this, { store, bytes, classes, read: {} });
  }

  block([offset, length]) {
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + offset, length);
  }

  async history(r) {
    const { labels, accepted } = this.store.runs[r];
    return (this.read[r] ??= Promise.all([labels, accepted].map((b) => inflate(this.block(b)))).then(([l, a]) => [new Int16Array(l), new Uint8Array(a)]));
  }

  async reply({ run: r, epoch, kind, split, cell, ids }) {
    const run = this.store.runs[r], reply = { ids: [], true: [], chosen: -1, epochs: [], total: 0, tiles: [], tile: this.store.tile, title: "", problem: "" };
    if (kind === "test") reply.problem = "Test images are not followed over the epochs: choose sweep to see the unlabelled samples of a cell.";
    else if (run.problem) reply.problem = run.problem;
    const now = run.epochs?.indexOf(epoch);
    if (!reply.problem && now < 0) reply.problem = `${run.name} kept no labels of single samples at epoch ${epoch}; record a sweep to follow them.`;
    if (reply.problem) return [reply, []];
    const [labels, accepted] = await this.history(r), E = run.epochs.length, [t, p] = cell, wanted = split === "accepted" ? 1 : 0;
    let found = ids, what = "chosen samples", order = "";
    if (!ids.length) {
      const since = (i) => run.epochs.reduce((n, _, e) => n + (labels[i * E + e] === p), 0);
      found = run.true.flatMap((c, i) => (c === t && labels[i * E + now] === p && (split === "all" || accepted[i * E + now] === wanted) ? [[i, since(i)]] : []));
      found = found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([i]) => i);
      what = `samples of true class ${this.classes[t]} with pseudo-label ${this.classes[p]}` + (split === "all" ? "" : `, ${split},`);
      order = found.length > 1 ? "; those longest with this label first" : "";
    }
    const total = found.length, some = found.slice(0, STRIPS), strips = [new Int16Array(some.length * E), new Uint8Array(some.length * E)];
    some.forEach((i, k) => [labels, accepted].forEach((from, s) => strips[s].set(from.subarray(i * E, i * E + E), k * E)));
    const tiles = some.map((i) => run.pictured.indexOf(i)), title = total ? `${some.length} of ${total} ${what} in the sweep of epoch ${epoch}${order}.` : `No ${what} in the sweep of epoch ${epoch}.`;
    Object.assign(reply, { ids: some, true: some.map((i) => run.true[i]), chosen: ids.length ? -1 : p, epochs: run.epochs, total, title, tiles });
    if (tiles.includes(-1)) reply.problem = this.store.pictures;
    return [reply, [...strips, run.sheet ? this.block(run.sheet) : new Uint8Array(0)]];
  }
}
