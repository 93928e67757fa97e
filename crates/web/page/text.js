// Numbers, times and states as people read them.
import { el } from "./dom.js";

// In groups of three. Intl would do it too, but a browser takes some 50 ms to make the first formatter.
export function number(n) {
  return n === null || n === undefined ? "–" : String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = n, unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 360) / 10} h`;
  return `${Math.round(s / 8640) / 10} d`;
}

export function utc(time) {
  return String(time).replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
}

// A moment, relative to now, the exact time beside it for mouse and machine.
export function ago(time) {
  if (!time) return "–";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  const words = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  return el("time", { datetime: time, title: utc(time) }, words);
}

export function moment(time) {
  return time ? el("time", { datetime: time }, utc(time)) : "–";
}

const STATES = {
  active: ["▶", "active"], queued: ["○", "queued"], deferred: ["◔", "deferred"], held: ["■", "held"],
  paused: ["‖", "paused"], pending: ["◔", "pending"], delivered: ["✓", "delivered"], bounced: ["✕", "bounced"],
  expired: ["✕", "expired"], cancelled: ["–", "cancelled"],
};

// A state by shape and word.
export function state(name) {
  const [shape, word] = STATES[name] || ["·", name];
  return el("span", { class: `state ${name}` }, el("span", { class: "shape", "aria-hidden": "true" }, shape), ` ${word}`);
}

// Where a message stands. What is held stays so when its destination goes on.
export function standing(message) {
  return state(message.paused && message.state !== "held" ? "paused" : message.state);
}

const LEVELS = { good: "✓", note: "i", info: "i", debug: "·", warning: "▲", warn: "▲", error: "✕" };

export function level(name, word = name) {
  return el("span", { class: `level ${name}` }, el("span", { class: "shape", "aria-hidden": "true" }, LEVELS[name] || "·"), ` ${word}`);
}

// Whose move it is, by shape and word.
const MOVES = {
  us: ["◆", "our move", "Our side has to act"], "recipient-admin": ["◇", "their move", "The recipient's side has to act"],
  wait: ["○", "passes", "Nobody has to act: it usually passes by itself"],
};

export function move(side, long = false) {
  const known = MOVES[side];
  if (!known) return null;
  return el("span", { class: `move ${side}` }, el("span", { class: "shape", "aria-hidden": "true" }, known[0]), ` ${long ? known[2] : known[1]}`);
}

export function plural(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}
