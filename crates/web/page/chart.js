// Lines over time, a few dozen lines of our own. Series differ by dash as well as by colour.
import { el, svg } from "./dom.js";
import { number } from "./text.js";

const WIDTH = 600, HEIGHT = 120;

// `series` are {name, values}; `unit` says what is counted.
export function chart(title, at, series, unit, interval = 60) {
  const top = nice(Math.max(1, ...series.flatMap((s) => s.values)));
  const first = at[0], last = at[at.length - 1];
  const width = Math.max(interval, last - first);
  const x = (n) => at.length < 2 ? WIDTH : ((at[n] - first) / width) * WIDTH;
  const y = (v) => HEIGHT - 2 - (v / top) * (HEIGHT - 6);
  const readout = el("span", { class: "readout" });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  const lines = series.map((s, k) => svg("path", {
    class: `line s${k}`,
    d: s.values.map((v, n) => `${n && !gap(at, n, interval) ? "L" : "M"}${x(n).toFixed(1)} ${y(v).toFixed(1)}`).join("") + (at.length === 1 ? "h0" : ""),
  }));
  const grid = [0.25, 0.5, 0.75, 1].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(top * part), y2: y(top * part) }));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, grid, lines, cursor);
  const plot = el("div", {
    class: "plot", tabindex: "0", role: "img", "aria-label": spoken(title, at, series, unit),
    onpointermove: (event) => {
      const box = plot.getBoundingClientRect();
      point(nearest(at, first + ((event.clientX - box.left) / box.width) * width));
    },
    onpointerleave: () => point(-1),
    onblur: () => point(-1),
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -at.length, End: at.length }[event.key];
      if (!step) return;
      event.preventDefault();
      const from = plot.place === undefined || plot.place < 0 ? at.length - 1 : plot.place;
      point(Math.min(at.length - 1, Math.max(0, from + step)));
    },
  }, picture, el("span", { class: "top" }, number(top)));
  function point(n) {
    plot.place = n;
    const k = n < 0 ? at.length - 1 : n;
    cursor.setAttribute("x1", n < 0 ? -9 : x(n));
    cursor.setAttribute("x2", n < 0 ? -9 : x(n));
    legend.forEach((value, s) => { value.textContent = number(series[s].values[k]); });
    readout.replaceChildren(n < 0 ? "last sample" : `${clock(at[n])} UTC`,
      n < 0 ? "" : el("span", { class: "unseen" }, `: ${series.map((s) => `${number(s.values[n])} ${s.name}`).join(", ")}`));
    readout.setAttribute("aria-live", n < 0 ? "off" : "polite");
  }
  const legend = series.map(() => el("b", {}));
  const figure = el("figure", { class: "chart" },
    el("figcaption", {}, el("span", { class: "title" }, title), " ", el("span", { class: "quiet" }, unit), " ", readout),
    plot,
    el("div", { class: "axis" }, el("span", {}, at.length ? clock(first) : ""), el("span", {}, at.length ? clock(last) : "")),
    el("ul", { class: "legend" }, series.map((s, k) => el("li", {},
      svg("svg", { class: "key", viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { class: `line s${k}`, d: "M0 4H24" })),
      ` ${s.name} `, legend[k]))));
  if (at.length) point(-1);
  return figure;
}

function gap(at, n, interval) {
  return at[n] - at[n - 1] > interval * 3;
}

function nearest(at, time) {
  let best = 0;
  at.forEach((t, n) => { if (Math.abs(t - time) < Math.abs(at[best] - time)) best = n; });
  return best;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((s) => s * power >= value);
  return Math.max(4, step * power);
}

function clock(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 16);
}

// The chart in sentences; of what has been nothing all the time nothing is said.
function spoken(title, at, series, unit) {
  if (!at.length) return `${title}: no samples yet.`;
  const said = series.filter((s) => Math.max(0, ...s.values) > 0)
    .map((s) => `${number(s.values[s.values.length - 1])} ${s.name} in the last sample, ${number(Math.max(...s.values))} at most`);
  return `${title}: a chart of ${unit}, from ${clock(at[0])} to ${clock(at[at.length - 1])} UTC. ${said.length ? said.join("; ") : "There were none in that time"}. The arrow keys read single samples.`;
}
