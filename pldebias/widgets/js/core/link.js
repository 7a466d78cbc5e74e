/** Views of one page with the same link name tell each other, without a kernel, what the user changed: epoch, cell, samples. */
export class Link {
  /** @type {Hub | null} */
  hub = null;

  /** @param {(patch: Patch) => void} hear */
  constructor(hear) {
    /** @param {Patch} patch @param {unknown} origin */
    this.listener = (patch, origin) => {
      if (origin !== this) hear(patch);
    };
  }

  /** Share with the views of this name; none if it is empty. @param {string} name */
  join(name) {
    this.leave();
    if (!name) return;
    window.__pldebias ??= {};
    this.hub = window.__pldebias[name] ??= { values: {}, listeners: new Set() };
    this.hub.listeners.add(this.listener);
  }

  leave() {
    this.hub?.listeners.delete(this.listener);
    this.hub = null;
  }

  /** What the linked views last told. @returns {Patch} */
  get values() {
    return this.hub?.values ?? {};
  }

  /** @param {Patch} patch */
  tell(patch) {
    if (!this.hub) return;
    Object.assign(this.hub.values, patch);
    for (const f of [...this.hub.listeners]) f(patch, this);
  }
}
