import { Counts, Difference } from "./counts.js";
import { fixed, grouped, interval, percent, points } from "./format.js";
import { abs, ceil, floor, log2, max, min, newcombe, ratio, wilson } from "./intervals.js";

export const KINDS = ["visits", "sweep", "test"];
export const SPLITS = ["all", "accepted", "rejected"];

/** What an explorer shows, without a page: runs on a common timeline, classes in an order, and what is said of them. */
export class Scene {
  /** @type {Slot[]} */
  slots = [];
  /** @type {number[]} */
  timeline = [];
  /** @type {number[]} */
  order = [];
  /** @type {number[]} */
  places = [];
  /** @type {string[]} */
  names = [];
  K = 0;
  /** @type {Difference | null} */
  difference = null;
  /** End of the carpet's signed scale; 0 is not known yet. */
  signedLimit = 0;
  version = 0;

  /** @param {ExplorerMeta} meta @param {ExplorerState} state */
  constructor(meta, state) {
    this.meta = meta;
    this.state = state;
  }

  // ---- which runs and counts

  /** Numbers, in meta.runs, of the runs on show. */
  get shownRuns() {
    const { run_a, run_b } = this.state;
    return run_b < 0 || run_b === run_a ? [run_a] : [run_a, run_b];
  }

  /** Why a kind or split cannot be shown, or "" if it can. @param {string} kind @param {string} split */
  obstacle(kind, split) {
    const reasons = this.shownRuns.map((r) => this.meta.runs[r].missing);
    return reasons.map((why) => why[kind] || why[`${kind}/${split}`]).find(Boolean) ?? "";
  }

  /** The kind and split of the state, or what these runs recorded in its place; undefined without any. */
  possible() {
    const { kind, split } = this.state;
    if (!this.obstacle(kind, split)) return { kind, split };
    const other = this.obstacle(kind, "all") ? KINDS.find((k) => !this.obstacle(k, "all")) : kind;
    return other && { kind: other, split: "all" };
  }

  /**
   * Put the runs on show on a common timeline. Beside another run, epochs stand where their iterations are among the first run's.
   * @param {Counts[]} all
   */
  seat(all) {
    const { meta, shownRuns } = this;
    const at = shownRuns.length > 1 ? "places" : "epochs";
    const places = shownRuns.flatMap((r) => meta.runs[r][at]).filter((e) => e !== null);
    this.timeline = [...new Set(places)].sort((a, b) => a - b);
    this.slots = shownRuns.map((r, s) => {
      const run = meta.runs[r];
      /** @type {Map<number | null, number>} */
      const index = new Map(run[at].map((e, i) => [e, i]));
      // A run without this epoch shows the last one before it, and says so. After its end, it has no columns.
      const end = max(...run[at].map((e) => e ?? 0));
      let last = -1;
      const exact = this.timeline.map((e) => (e > end ? -1 : (last = index.get(e) ?? last)));
      const shown = exact.map((i, t) => (this.timeline[t] > end ? last : max(i, 0)));
      return { r, run, base: all[s], counts: all[s], exact, shown, epochs: run.epochs, letter: shownRuns.length > 1 ? "AB"[s] : "" };
    });
    this.arrange();
  }

  /** Rows and columns: classes in the chosen order, or the groups. */
  arrange() {
    const { meta, state, slots } = this;
    const groups = meta.groups.filter((g) => g.classes.length);
    this.names = state.collapse ? groups.map((g) => g.name) : meta.classes;
    this.order = state.collapse ? groups.map((_, i) => i) : (meta.orders[state.order] ?? meta.orders.labelled);
    this.K = this.order.length;
    this.places = [];
    this.order.forEach((c, k) => (this.places[c] = k));
    for (const slot of slots) slot.counts = state.collapse ? slot.base.merged(groups) : slot.base;
    this.difference = state.difference && slots.length === 2 ? new Difference(slots[0], slots[1]) : null;
    this.signedLimit = 0;
    this.version++;
  }

  // ---- time

  /** @param {number} i */
  clip(i) {
    return max(0, min(this.timeline.length - 1, i));
  }

  /** Place of the first epoch from this one on. @param {number} epoch */
  nearest(epoch) {
    const i = this.timeline.findIndex((e) => e >= epoch);
    return i < 0 ? max(0, this.timeline.length - 1) : i;
  }

  get index() {
    return this.nearest(this.state.epoch);
  }

  /** Places of the timeline between which play runs. @returns {number[]} */
  get range() {
    const { range } = this.state;
    return range.length ? range.map((e) => this.nearest(e)) : [0, this.timeline.length - 1];
  }

  /** f of a slot's epoch at every place; NaN beyond its end. @param {Slot} slot @param {(e: number) => number} f */
  over(slot, f) {
    return slot.exact.map((e) => (e < 0 ? NaN : f(e)));
  }

  /** Which of their own epochs the runs show, where it is another one. @param {Slot[]} slots */
  late(slots) {
    const now = this.timeline[this.index];
    const own = slots.map((s) => s.epochs[s.shown[this.index]]);
    return own.every((e) => e === now) ? "" : ` (own epoch ${own.join(" − ")})`;
  }

  /** The epoch in words, with the iteration of the run that has it: beyond the end of one, the other goes on. */
  get when() {
    const { index, timeline, slots } = this;
    const there = slots.find((s) => s.exact[index] >= 0) ?? slots[0];
    const iteration = there.run.iterations[there.shown[index]];
    const steps = iteration >= 0 ? `, iteration ${grouped(iteration)}` : "";
    return `epoch ${timeline[index]} of ${timeline[timeline.length - 1]}${steps}`;
  }

  // ---- numbers

  /** Row of a class or group. @param {number} c */
  place(c) {
    return this.places[c];
  }

  /** What a cell shows: of one run, or A - B. @param {Slot} slot @param {number} index @param {number} t @param {number} p */
  value(slot, index, t, p) {
    const mode = this.state.normalize;
    return this.difference ? this.difference.value(mode, index, t, p) : slot.counts.value(mode, slot.shown[index], t, p);
  }

  limit() {
    const { normalize, mute } = this.state;
    if (this.difference) return this.difference.limit(normalize, mute);
    return max(...this.slots.map((s) => s.counts.limit(normalize, mute))) || 1;
  }

  longestMargin() {
    return max(...this.slots.map((s) => s.counts.maxMargin));
  }

  /** Symmetric limit of the carpet's signed colours, the same for all epochs and both runs. */
  ratioLimit() {
    if (this.signedLimit) return this.signedLimit;
    const { difference } = this;
    const { metric } = this.state;
    /** @param {Counts} counts @param {number} i */
    const log = (counts, i) => (counts.nTrue[i] && counts.nPred[i] ? log2(counts.nPred[i] / counts.nTrue[i]) : 0);
    let top = 0;
    /** @param {number} v */
    const see = (v) => {
      top = max(top, abs(v) || 0);
    };
    if (difference && metric !== "ratio") top = difference.rateLimit(metric);
    else if (difference) {
      const { a, b } = difference;
      const { K } = a.counts;
      a.shown.forEach((_, i) => this.order.forEach((c) => see(log(a.counts, a.shown[i] * K + c) - log(b.counts, b.shown[i] * K + c))));
    } else for (const { counts } of this.slots) counts.nTrue.forEach((_, i) => see(log(counts, i)));
    this.signedLimit = metric === "ratio" ? max(1, min(5, ceil(top))) : max(0.1, ceil(top * 10) / 10);
    return this.signedLimit;
  }

  /**
   * A class in a column of the carpet that covers the places from `from` to `to`; NaN where no epoch is.
   * @param {Slot} slot @param {number} c @param {number} from @param {number} to
   */
  carpetValue(slot, c, from, to) {
    const { metric } = this.state;
    const other = this.difference?.b;
    const members = slot.exact.slice(from, to).filter((e) => e >= 0);
    const others = other?.exact.slice(from, to).filter((e) => e >= 0);
    if (!members.length || others?.length === 0) return NaN;
    const v = slot.counts.rateOver(metric, members, c);
    return other && others ? v - other.counts.rateOver(metric, others, c) : v;
  }

  /**
   * The `most` cells beside the diagonal with the largest values, largest first; of equal ones, those with more samples.
   * @param {Slot} slot @param {number} most
   */
  largest(slot, most) {
    const { order, index, difference } = this;
    const prior = this.state.normalize === "prior" && !difference;
    /** @type {{cell: Cell, v: number, size: number, count: number}[]} */
    const found = [];
    for (const t of order)
      for (const p of order) {
        const v = this.value(slot, index, t, p);
        const size = abs(v);
        if (t === p || !Number.isFinite(v) || !v || (prior && v < 0)) continue;
        if (found.length === most && size < found[most - 1].size) continue;
        const count = slot.counts.at(slot.shown[index], t, p);
        let i = found.length;
        while (i && (size - found[i - 1].size || count - found[i - 1].count) > 0) i--;
        found.splice(i, 0, { cell: [t, p], v, size, count });
        found.length = min(found.length, most);
      }
    return found;
  }

  /**
   * Neighbours of one group, in the order on show.
   * @param {(from: number, to: number, name: string, group: number, edge: boolean) => void} f edge: a line follows
   */
  groupEdges(f) {
    const { meta, state, order } = this;
    /** @type {number[]} */
    const of = [];
    const present = meta.groups.filter((g) => g.classes.length);
    present.forEach((g, i) => (state.collapse ? [i] : g.classes).forEach((c) => (of[c] = meta.groups.indexOf(g))));
    const whole = new Set(order.map((c) => of[c])).size === order.filter((c, k) => of[c] !== of[order[k - 1]]).length;
    for (let from = 0, to = 1; to <= order.length; to++) {
      const g = of[order[from]];
      if (to < order.length && of[order[to]] === g) continue;
      f(from, to, whole && !state.collapse ? meta.groups[g].name : "", g, whole && to < order.length);
      from = to;
    }
  }

  // ---- words

  /** What a choice is called (1), or says of itself (2). @param {"metrics" | "cells"} of @param {string | null} value */
  word(of, value, which = 1) {
    return this.meta.words[of].find(([v]) => v === value)?.[which] ?? "";
  }

  /** @param {Slot} slot */
  letter(slot) {
    return this.difference ? "A − B  " : slot.letter && `${slot.letter}  `;
  }

  /** A cell of one run. @param {Slot} slot @param {number} t @param {number} p */
  cellLines(slot, t, p) {
    const { counts, shown } = slot;
    const e = shown[this.index];
    const c = counts.at(e, t, p);
    const nt = counts.nTrue[e * this.K + t];
    const np = counts.nPred[e * this.K + p];
    return [
      `count ${grouped(c)}`,
      `${percent(ratio(c, nt))} of true${interval(wilson(c, nt))} (n = ${grouped(nt)})`,
      `${percent(ratio(c, np))} of predicted${interval(wilson(c, np))} (n = ${grouped(np)})`,
      `${percent(ratio(c, counts.total[e]))} of all (n = ${grouped(counts.total[e])})`,
    ];
  }

  /** A - B of a cell, in points with its 95 % interval. @param {Difference} difference @param {number} t @param {number} p */
  gapLines(difference, t, p) {
    const both = [difference.a, difference.b];
    const counts = both.map((s) => s.counts.at(s.shown[this.index], t, p));
    /** @param {Mode} mode @param {string} words */
    const line = (mode, words) => {
      const [k, n, l, m] = both.flatMap((s) => s.counts.share(mode, s.shown[this.index], t, p));
      const [low, high] = newcombe(k, n, l, m);
      const ends = isNaN(low) ? "" : ` [${points(low)}, ${points(high)}]`;
      return `${points(ratio(k, n) - ratio(l, m))} points ${words}${ends}`;
    };
    return [
      `count ${grouped(counts[0])} − ${grouped(counts[1])}`,
      line("true", "of true"),
      line("pred", "of predicted"),
      line("all", "of all"),
    ];
  }

  /** The view in a sentence for each run. @param {Cell | null} cell */
  describe(cell) {
    const { state, slots, meta, index, difference } = this;
    const head = `epoch ${this.timeline[index]}, ${state.kind}, ${state.split}`;
    const each = slots.map((slot) => {
      const e = slot.shown[index];
      const name = `${slot.letter} ${slot.run.name}${this.late([slot])}`.trim();
      if (cell) return `${name}: ${this.cellLines(slot, ...cell).join(", ")}`;
      const { base } = slot;
      const groups = meta.groups.map((g) => `${g.name} ${percent(base.groupRecall(e, g.classes))}`).join(", ");
      const share = base.groupRatio(e, meta.groups[meta.groups.length - 1].classes);
      const given = isNaN(share) ? "undefined" : fixed(share, 2);
      return `${name}: balanced accuracy ${percent(base.balancedAccuracy(e))}; recall ${groups}; tail labels per true sample ${given}`;
    });
    if (difference) {
      const [a, b] = slots.map((s) => s.base.balancedAccuracy(s.shown[index]));
      const lines = cell && this.gapLines(difference, ...cell).slice(1);
      each.push(lines ? `A − B: ${lines.join(", ")}` : `A − B: balanced accuracy ${points(a - b)} points`);
    }
    const label = state.kind === "test" ? "prediction" : "pseudo-label";
    const about = cell ? `: true ${this.names[cell[0]]} → ${label} ${this.names[cell[1]]}. ` : ". ";
    return `${head}${about}${each.join(". ")}.`;
  }
}

/** Columns of the carpet: as many as there are epochs, or as pixels if those are fewer. @param {number} epochs @param {number} pixels */
export function* carpetColumns(epochs, pixels) {
  const columns = min(epochs, max(1, pixels));
  for (let x = 0; x < columns; x++) {
    const from = floor((x * epochs) / columns);
    yield { x, columns, from, to: max(from + 1, floor(((x + 1) * epochs) / columns)) };
  }
}
