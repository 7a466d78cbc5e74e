import { button, icon } from "./dom.js";

const MOST_MS = 500; // of one frame: a page that was away does not jump

/** The five buttons of the transport, and the clock of playing. */
export class Player {
  playing = false;

  /**
   * @param {HTMLElement} bar
   * @param {string} unit "epoch" or "snapshot", for screen readers
   * @param {object} hooks
   * @param {() => void} hooks.first
   * @param {() => void} hooks.previous
   * @param {() => void} hooks.next
   * @param {() => void} hooks.last
   * @param {() => boolean} hooks.ready whether there is anything to play
   * @param {() => void} hooks.start
   * @param {(seconds: number) => void} hooks.tick time has passed while playing
   * @param {(playing: boolean) => void} hooks.changed
   */
  constructor(bar, unit, hooks) {
    this.hooks = hooks;
    /** @param {"first" | "previous" | "play" | "next" | "last"} name @param {() => void} act */
    const sign = (name, act) => {
      const label = unit && name !== "play" ? `${name} ${unit}` : name;
      const press = () => {
        if (hooks.ready()) act();
      };
      return bar.appendChild(button(icon(name), press, { "aria-label": label, title: label }));
    };
    sign("first", hooks.first);
    sign("previous", hooks.previous);
    this.button = sign("play", () => this.play(!this.playing));
    sign("next", hooks.next);
    sign("last", hooks.last);
    this.hide = () => {
      if (document.hidden) this.play(false);
    };
    document.addEventListener("visibilitychange", this.hide);
  }

  /** @param {boolean} on */
  play(on) {
    if (on === this.playing || (on && !this.hooks.ready())) return;
    this.playing = on;
    const sign = on ? "pause" : "play";
    this.button.replaceChildren(icon(sign));
    this.button.setAttribute("aria-label", sign);
    this.button.title = sign;
    this.hooks.changed(on);
    if (!on) return;
    this.hooks.start();
    let before = performance.now();
    /** @param {number} now */
    const tick = (now) => {
      if (!this.playing) return;
      const passed = Math.max(0, Math.min(now - before, MOST_MS)) / 1000;
      before = now;
      this.hooks.tick(passed);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  close() {
    this.play(false);
    document.removeEventListener("visibilitychange", this.hide);
  }
}
