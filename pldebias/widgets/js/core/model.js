import { same } from "./dom.js";

const SYNC_MS = 100; // the kernel hears of a change at most this often, and always of the last one

/**
 * The state of a view: changed here at once, told to the kernel soon, and changed by the kernel or by another view of the same model.
 * @template {object} S
 */
export class Shared {
  /** @type {Set<keyof S & string>} */
  pending = new Set();
  /** @type {(() => void)[]} */
  cleanups = [];
  timer = 0;
  sent = -Infinity;

  /**
   * @param {Model} model
   * @param {(keyof S & string)[]} keys
   * @param {(key: keyof S & string, value: any) => void} received called with what another changed; the state is not yet
   */
  constructor(model, keys, received) {
    this.model = model;
    this.values = /** @type {S} */ (Object.fromEntries(keys.map((key) => [key, model.get(key)])));
    for (const key of keys)
      this.listen(`change:${key}`, () => {
        const value = model.get(key);
        if (!this.pending.has(key) && !same(this.values[key], value)) received(key, value);
      });
  }

  /** @param {string} name @param {(...args: any[]) => void} callback */
  listen(name, callback) {
    this.model.on(name, callback);
    this.cleanups.push(() => this.model.off(name, callback));
  }

  /** Change one part; returns whether it was another value. @template {keyof S & string} N @param {N} key @param {S[N]} value */
  put(key, value) {
    if (same(this.values[key], value)) return false;
    this.values[key] = value;
    this.pending.add(key);
    this.timer ||= window.setTimeout(() => this.flush(), Math.max(0, this.sent + SYNC_MS - performance.now()));
    return true;
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (!this.pending.size) return;
    this.sent = performance.now();
    for (const key of this.pending) this.model.set(key, this.values[key]);
    this.pending.clear();
    this.model.save_changes();
  }

  /** Tell the kernel the last change, and hear of nothing more. */
  close() {
    this.flush();
    for (const f of this.cleanups.splice(0)) f();
  }
}
