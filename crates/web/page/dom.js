// Elements are made here and nowhere else. Text becomes text nodes: there is no way to markup.

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Who was at one of the old children by keyboard is at its successor then.
export function replace(node, ...children) {
  const at = document.activeElement;
  const inside = at !== node && node.contains(at);
  const sign = inside ? signOf(at) : null;
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (inside) refocus(sign);
}

const SIGNS = ["id", "data-action", "data-of", "href", "aria-label"];

// What an element and its successor have in common: a selector, or null.
export function signOf(node) {
  const own = node ? SIGNS.filter((name) => node.hasAttribute(name)) : [];
  return own.length ? own.map((name) => `[${name}="${CSS.escape(node.getAttribute(name))}"]`).join("") : null;
}

// Puts the focus there; beside it if that can do nothing now, as on the last page; else to the view.
export function refocus(sign) {
  const successor = sign && document.getElementById("main").querySelector(sign);
  const able = successor && (successor.disabled ? successor.parentNode.querySelector("button:not(:disabled)") : successor);
  (able || document.getElementById("main")).focus({ preventScroll: !able });
}

// A table whose rows become blocks on a phone. `columns` are {title, class, sort}.
export function table(caption, columns, rows, sorting, kind) {
  const head = columns.map((column, n) => {
    const sorted = sorting && sorting.column === n;
    const label = column.sort && sorting
      ? el("button", { type: "button", class: "sort", "data-action": `sort-${n}`, onclick: () => sorting.by(n) }, column.title,
        el("span", { "aria-hidden": "true" }, sorted ? (sorting.down ? " ▼" : " ▲") : ""))
      : column.title;
    const order = sorted ? (sorting.down ? "descending" : "ascending") : null;
    return el("th", { scope: "col", class: column.class, "aria-sort": order }, label);
  });
  const row = (cells) => el("tr", {}, cells.map((cell, n) =>
    el("td", { class: columns[n].class, "data-label": typeof columns[n].title === "string" ? columns[n].title : null }, cell instanceof Node ? cell : el("span", {}, cell))));
  const body = el("tbody", {}, rows.slice(0, SCREEN).map(row));
  // What is below the first screen comes when that has been drawn.
  const rest = rows.slice(SCREEN);
  if (rest.length) requestAnimationFrame(() => setTimeout(() => body.append(...rest.map(row))));
  return el("table", { class: kind },
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, head)),
    body);
}

const SCREEN = 20;

export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// What somebody else wrote: never reorders or hides what stands around it.
export function foreign(text, tag = "span") {
  return el(tag, { class: "foreign" }, visible(text));
}

// Control characters and what reorders text, shown as what they are.
export function visible(text) {
  const harmful = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
  return String(text).replaceAll("\r\n", "\n").replace(harmful, (c) => {
    const code = c.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : "\ufffd";
  });
}

export function notice(text) {
  const place = document.getElementById("notice");
  replace(place, el("p", {}, text));
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => replace(place), 8000);
}

// Asks before something is done. `ask` is {title, body, action, danger}; true if it was confirmed.
export function confirm(ask) {
  const dialog = document.getElementById("dialog");
  const sign = signOf(document.activeElement);
  return new Promise((resolve) => {
    const close = (answer) => { dialog.close(); resolve(answer); };
    const form = el("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); close(true); } },
      el("h2", { id: "dialog-title" }, ask.title),
      ask.body,
      el("div", { class: "row end" },
        el("button", { type: "button", id: "dialog-no", onclick: () => close(false) }, "Leave as is"),
        ask.action && el("button", { type: "submit", id: "dialog-yes", class: ask.danger ? "danger" : "primary" }, ask.action)));
    dialog.oncancel = () => resolve(false);
    // The browser gives the focus back, but not to what has been drawn anew meanwhile.
    dialog.onclose = () => { if (document.activeElement === document.body) refocus(sign); };
    replace(dialog, form);
    dialog.showModal();
    const first = dialog.querySelector("input, select, textarea") || document.getElementById("dialog-no");
    first.focus();
  });
}
