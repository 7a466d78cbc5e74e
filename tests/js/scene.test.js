import assert from "node:assert/strict";
import { test } from "node:test";
import { Cloud, inside } from "../../pldebias/widgets/js/stats/cloud.js";
import { Counts, turned } from "../../pldebias/widgets/js/stats/counts.js";
import { carpetColumns, Scene } from "../../pldebias/widgets/js/stats/scene.js";

const EPOCHS = 4;

/** @param {string} name @param {(number | null)[]} places @returns {RunMeta} */
const run = (name, places) => ({
  name,
  epochs: [0, 1, 2, 3],
  places,
  iterations: [10, 20, 30, 40],
  blocks: {},
  missing: { test: `${name} recorded no test`, "sweep/rejected": "none was" },
  note: "",
});

/** @param {Partial<ExplorerState>} more */
function scene(more = {}, places = [0, 1, 2, 3]) {
  /** @type {ExplorerMeta} */
  const meta = {
    classes: ["a", "b", "c"],
    orders: { labelled: [0, 1, 2], class: [0, 1, 2], recall: [2, 0, 1] },
    groups: [
      { name: "head", classes: [0] },
      { name: "medium", classes: [1] },
      { name: "tail", classes: [2] },
    ],
    rule: "Groups: tertiles.",
    words: {
      metrics: [["recall", "recall", "recall of a class"]],
      cells: [["true", "by true", "share of the true class"]],
      orders: [["labelled", "labelled count"]],
      keys: [],
    },
    kinds: {},
    splits: {},
    lengths: "",
    runs: [run("one", [0, 1, 2, 3]), run("two", places)],
  };
  /** @type {ExplorerState} */
  const state = {
    ...{ epoch: 0, run_a: 0, run_b: -1, difference: false, kind: "sweep", split: "all", metric: "recall", normalize: "true" },
    ...{ scale: "linear", order: "labelled", collapse: false, cell: [], mute: false, range: [], speed: 10, ...more },
  };
  const made = new Scene(meta, state);
  const cube = Float64Array.from({ length: EPOCHS * 9 }, (_, i) => [5, 1, 0, 2, 3, 1, 0, 4, 0][i % 9] + Math.floor(i / 9));
  made.seat(made.shownRuns.map(() => new Counts(cube, 3)));
  return made;
}

test("a run without an epoch shows the last one before it, and none after its end", () => {
  const made = scene({ run_b: 1 }, [0, 2, 4, 6]);
  assert.deepEqual(made.timeline, [0, 1, 2, 3, 4, 6]);
  assert.deepEqual(made.slots[0].exact, [0, 1, 2, 3, -1, -1]);
  assert.deepEqual(made.slots[0].shown, [0, 1, 2, 3, 3, 3]);
  assert.deepEqual(made.slots[1].exact, [0, 0, 1, 1, 2, 3]);
  made.state.epoch = 3;
  assert.equal(made.late(made.slots), " (own epoch 3 − 1)");
});

test("what no run recorded is refused with the reason, and another split is offered", () => {
  const made = scene({ split: "rejected" });
  assert.equal(made.obstacle("sweep", "rejected"), "none was");
  assert.equal(made.obstacle("test", "all"), "one recorded no test");
  assert.deepEqual(made.possible(), { kind: "sweep", split: "all" });
});

test("groups keep the counts of their classes", () => {
  const made = scene();
  const { cube } = made.slots[0].counts;
  made.state.collapse = true;
  made.arrange();
  assert.deepEqual(made.names, ["head", "medium", "tail"]);
  assert.deepEqual(Array.from(made.slots[0].counts.cube), Array.from(cube));
  /** @type {string[]} */
  const edges = [];
  made.groupEdges((from, to) => edges.push(`${from}-${to}`));
  assert.deepEqual(edges, ["0-1", "1-2", "2-3"]);
});

test("a difference with itself is zero everywhere and chance everywhere", () => {
  const made = scene({ run_b: 1, difference: true });
  assert.ok(made.difference);
  for (const t of made.order)
    for (const p of made.order) {
      assert.equal(made.value(made.slots[0], 0, t, p), 0);
      assert.ok(made.difference.noise("true", 0, t, p));
    }
});

test("the largest confusions come in order, equal ones by their samples", () => {
  const sizes = scene()
    .largest(scene().slots[0], 12)
    .map(({ size, count }) => [size, count]);
  assert.equal(sizes.length, 4);
  assert.deepEqual(
    sizes,
    [...sizes].sort((a, b) => b[0] - a[0] || b[1] - a[1]),
  );
});

test("columns of the carpet cover every epoch once", () => {
  for (const [epochs, pixels] of [
    [7, 3],
    [3, 7],
    [500, 123],
  ]) {
    const columns = [...carpetColumns(epochs, pixels)];
    assert.equal(columns.length, Math.min(epochs, pixels));
    assert.equal(columns[0].from, 0);
    assert.equal(columns[columns.length - 1].to, epochs);
    columns.slice(1).forEach(({ from }, i) => assert.equal(from, columns[i].to));
  }
});

test("turning counts puts epochs first", () => {
  const [cells, epochs] = [20, 3];
  const packed = Uint16Array.from({ length: cells * epochs }, (_, i) => i);
  const out = turned(packed, cells);
  for (let e = 0; e < epochs; e++) for (let c = 0; c < cells; c++) assert.equal(out[e * cells + c], packed[c * epochs + e]);
});

/** Two classes, three samples, two snapshots; the third sample has no known class. */
function cloud() {
  const position = [0, 0, 10, 0, 0, 10, 10, 10, 20, 20, 0, 20];
  const blocks = { ids: [7, 8, 9], position, confidence: [500, 65535, 1000, 0, 250, 999] };
  const rest = { true: [0, 1, -1], group: [2, 0, 2], label: [0, 0, 1, 1, 1, 0], accepted: [1, 0, 1, 0, 1, 0] };
  const wide = Uint32Array.from(Object.values({ ...blocks, ...rest }).flat(), (v) => v >>> 0);
  let offset = 0;
  /** @type {Record<string, [number, string, number]>} */
  const places = {};
  for (const [name, values] of Object.entries({ ...blocks, ...rest })) {
    places[name] = [offset, "uint32", values.length];
    offset += 4 * values.length;
  }
  const meta = { n: 3, epochs: [0, 5], classes: ["a", "b"], group_of: [0, 2], blocks: places };
  const made = new Cloud(/** @type {any} */ (meta), wide.buffer);
  made.arrays.true = Int16Array.from(rest.true);
  return made;
}

test("a selection is counted by true class and label, where the class is known", () => {
  const made = cloud();
  assert.deepEqual(made.select([9, 7, 8, 100]), [7, 8, 9]);
  assert.equal(made.absent, 1);
  assert.deepEqual(made.cells(0), [
    [0, 0, 1],
    [1, 0, 1],
  ]);
  assert.deepEqual(made.cells(1), [
    [0, 1, 1],
    [1, 1, 1],
  ]);
});

test("fills say group, change and confidence", () => {
  const made = cloud();
  const codes = (/** @type {string} */ colour, /** @type {number} */ f) => [0, 1, 2].map((i) => made.code(colour, i, f));
  assert.deepEqual(codes("pseudo", 0), [0, 0, 2]);
  assert.deepEqual(codes("true", 0), [0, 2, 3]);
  assert.deepEqual(codes("flipped", 1), [2, 1, 4]); // lost, found, unknown
  assert.deepEqual(codes("confidence", 0), [8, 16, 15]);
  assert.deepEqual(
    [0, 4, 3].map((e) => made.frameOf(e)),
    [0, 1, 1],
  );
});

test("points between two snapshots lie on a line, and a lasso holds what it surrounds", () => {
  const made = cloud();
  assert.deepEqual(made.at(0, 0.5), [5, 5]);
  assert.deepEqual(made.at(1, 1), [20, 20]);
  /** @type {[number, number][]} */
  const square = [
    [0, 0],
    [4, 0],
    [4, 4],
    [0, 4],
  ];
  assert.ok(inside(square, 2, 2));
  assert.ok(!inside(square, 5, 2));
});
