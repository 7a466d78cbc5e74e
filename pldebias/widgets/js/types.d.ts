/** Types that several files share. They are for the type checker alone and are not shipped. */

type Colour = [number, number, number];
/** A true class and a label. */
type Cell = [number, number];
type Series = ArrayLike<number>;

/** What anywidget hands to a view, and what a page without a kernel puts in its place. */
interface Model {
  get(key: string): any;
  set(key: string, value: unknown): void;
  save_changes(): void;
  on(name: string, callback: (...args: any[]) => void): void;
  off(name: string, callback: (...args: any[]) => void): void;
  send(content: unknown): void;
}

/** What linked views tell each other; null clears. */
interface Patch {
  epoch?: number;
  cell?: { true: number; label: number } | null;
  samples?: number[] | null;
  /** True class, label and number of the chosen samples. */
  cells?: [number, number, number][];
}

interface Hub {
  values: Patch;
  listeners: Set<(patch: Patch, origin: unknown) => void>;
}

interface Window {
  __pldebias?: Record<string, Hub>;
}

interface Group {
  name: string;
  classes: number[];
}

/** Of payload.py: one run of an explorer. */
interface RunMeta {
  name: string;
  epochs: number[];
  places: (number | null)[];
  iterations: number[];
  /** Offset, length and type of the counts, by kind and split. */
  blocks: Record<string, Record<string, [number, number, string]>>;
  missing: Record<string, string>;
  note: string;
}

interface ExplorerMeta {
  classes: string[];
  orders: Record<string, number[]>;
  groups: Group[];
  rule: string;
  words: {
    metrics: [string, string, string][];
    cells: [string | null, string, string][];
    orders: [string, string][];
    keys: [string, string][];
  };
  kinds: Record<string, string>;
  splits: Record<string, string>;
  lengths: string;
  runs: RunMeta[];
}

type Mode = "true" | "pred" | "all" | "prior" | null;
type Scale = "linear" | "sqrt" | "log";
type Metric = "recall" | "precision" | "ratio";

interface ExplorerState {
  epoch: number;
  run_a: number;
  run_b: number;
  difference: boolean;
  kind: string;
  split: string;
  metric: Metric;
  normalize: Mode;
  scale: Scale;
  order: string;
  collapse: boolean;
  cell: Cell | [];
  mute: boolean;
  range: [number, number] | [];
  speed: number;
}

/** The colours of a view, as CSS values, and its font. */
interface Theme {
  ink: string;
  soft: string;
  line: string;
  edge: string;
  paper: string;
  bar: string;
  rate: string;
  blue: string;
  orange: string;
  font: string;
}

/** The answer to "which samples are behind this cell". */
interface Reply {
  request?: number;
  ids: number[];
  true: number[];
  chosen: number;
  epochs: number[];
  total: number;
  tiles: number[];
  tile: [number, number];
  title: string;
  problem: string;
}

interface Question {
  run: number;
  epoch: number;
  kind: string;
  split: string;
  cell: Cell | [];
  ids: number[];
}

/** Of static.py: what a page carries of the samples. */
interface SampleStore {
  runs: {
    name: string;
    true: number[];
    epochs: number[];
    pictured: number[];
    problem: string;
    labels: [number, number];
    accepted: [number, number];
    sheet?: [number, number];
  }[];
  tile: [number, number];
  pictures: string;
}

/** Of embedding.py. */
interface EmbeddingMeta {
  run: string;
  about: string;
  classes: string[];
  order: number[];
  group_of: number[];
  epochs: number[];
  n: number;
  box: [number, number, number, number];
  truth: boolean;
  missing: Record<string, string>;
  flips: string[];
  confidence: string;
  shown: number[];
  right: (number | null)[][];
  purity: (number | null)[][];
  trustworthiness: (number | null)[];
  blocks: Record<string, [number, string, number]>;
}

interface EmbeddingState {
  epoch: number;
  colour: string;
  cell: Cell | [];
  selection: number[];
  names: boolean;
  speed: number;
}

interface PointTheme {
  ink: Colour;
  paper: Colour;
  line: Colour;
  grey: Colour;
  soft: Colour;
  groups: Colour[];
  ramp: [Colour, Colour];
  font: string;
}

/** One run on show, on the common timeline. */
interface Slot {
  /** Number of the run in meta.runs. */
  r: number;
  run: RunMeta;
  letter: string;
  /** Counts of classes, and of what is on show: classes or groups. */
  base: import("./stats/counts.js").Counts;
  counts: import("./stats/counts.js").Counts;
  epochs: number[];
  /** At each place of the timeline: number of the run's epoch there, -1 beyond its end; and of the epoch shown. */
  exact: number[];
  shown: number[];
}

/** What the panels of an explorer ask of it. */
interface Stage {
  scene: import("./stats/scene.js").Scene;
  theme: Theme;
  /** Cells of the samples that a linked view has chosen: true class, label, number of samples. */
  marked: [number, number, number][];
  /** Number of the slot whose samples are asked for. */
  askedSlot: number;
  choose(cell: Cell, number?: number): void;
  hover(cell: Cell | null, event?: PointerEvent, number?: number): void;
  cursor(on: boolean): void;
  drop(): void;
  scrubbable(panel: { canvas: HTMLCanvasElement; left: number; plotW: number }, brush?: boolean): void;
}

/** Arrays of an embedding, by name; those of several snapshots one snapshot after another. */
interface CloudArrays {
  ids: Series;
  position: Series;
  confidence: Series;
  middle_true: Series;
  middle_label: Series;
  true: Series;
  group: Series;
  label: Series;
  accepted: Series;
}
