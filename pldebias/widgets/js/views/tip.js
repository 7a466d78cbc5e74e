import { make } from "../core/dom.js";

/** The words beside the pointer. */
export class Tip {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.box = parent.appendChild(make("div", { class: "pld-tip", hidden: "", "aria-hidden": "true" }));
    this.parent = parent;
  }

  get open() {
    return !this.box.hidden;
  }

  hide() {
    this.box.hidden = true;
  }

  /** @param {string[]} lines @param {string} [title] */
  say(lines, title) {
    this.box.hidden = false;
    this.box.replaceChildren(...(title ? [make("b", {}, title)] : []), ...lines.map((line) => make("div", {}, line)));
  }

  /** Stand beside the pointer, inside the view. @param {MouseEvent} event */
  place(event) {
    const frame = this.parent.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    const left = x + 16 + width > frame.width ? Math.max(0, x - width - 12) : x + 16;
    Object.assign(this.box.style, { left: `${left}px`, top: `${Math.max(0, y - height - 10)}px` });
  }
}
