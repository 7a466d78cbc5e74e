/** Elements of a page. Names reach it through textContent and canvas text only, so that markup in a name stays text. */

/**
 * An element; strings become text, attributes that begin with "on" are listeners.
 *
 * JupyterLab takes keys in the capture phase; it leaves them to a focused element that carries the attribute set here.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if ("tabindex" in attributes || /^(button|select|input)$/.test(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** @param {Node | string} content @param {() => void} onclick */
export const button = (content, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, content);

/**
 * A select that holds any values: `show` chooses one of them, `offer` replaces them.
 * @template T
 * @param {string} name what it is called for screen readers
 * @param {[T, string][]} options value and text
 * @param {(value: T) => void} chosen
 */
export function choice(name, options, chosen) {
  /** @type {[T, string][]} */
  let offered = [];
  const node = make("select", { "aria-label": name, onchange: () => chosen(offered[node.selectedIndex][0]) });
  /** @param {[T, string][]} more */
  const offer = (more) => {
    offered = more;
    node.replaceChildren(...more.map(([value, text]) => make("option", { value: String(value) }, text)));
  };
  /** @param {T} value */
  const show = (value) => {
    node.selectedIndex = offered.findIndex(([v]) => v === value);
  };
  offer(options);
  return { node, show, offer };
}

const SIGNS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  previous: "M11 3v10L4 8z",
  play: "M4 2v12l10-6z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  next: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
};

/** A sign of the transport as a path: emoji fonts would draw it as a coloured tile. @param {keyof typeof SIGNS} name */
export function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SIGNS[name]);
  svg.append(path);
  return svg;
}

/** The list of keys, hidden until it is asked for. @param {[string, string][]} keys */
export const keyList = (keys) =>
  make("dl", { class: "pld-help", hidden: "" }, ...keys.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]));

/** Give up the focus, to the cell of a notebook if there is one: JupyterLab listens for keys there. @param {Element} root */
export function leaveTo(root) {
  const { activeElement } = document;
  if (activeElement instanceof HTMLElement) activeElement.blur();
  const cell = root.closest(".jp-Cell, .jp-Notebook");
  if (cell instanceof HTMLElement) cell.focus({ preventScroll: true });
}

/** Whether two values that JSON can write are equal. @param {unknown} a @param {unknown} b */
export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
