// What happens, as it happens.
import { el, foreign, replace } from "./dom.js";
import { stream } from "./api.js";
import { level } from "./text.js";

const BRIEF = new Set(["queue_id", "from", "to", "mx", "reason", "reply", "detail", "client", "domain", "destination", "mode", "cause", "by", "action", "target", "matched", "listener", "address"]);
const MOST = 500;
const KINDS = [["", "everything"], ["delivery.", "deliveries"], ["message.", "messages in"], ["smtp.", "sessions"], ["policy.", "policies"], ["admin.", "operators"], ["destination.", "destinations"]];

export async function show(place, { query }) {
  const rows = el("tbody", {});
  const said = el("span", { class: "quiet", role: "status" }, "connecting…");
  const state = { paused: false, waiting: [], stopped: false, control: new AbortController() };
  const pause = el("button", {
    type: "button", "aria-pressed": "false",
    onclick: () => {
      state.paused = !state.paused;
      pause.setAttribute("aria-pressed", String(state.paused));
      pause.textContent = state.paused ? "Go on" : "Pause";
      flush(rows, state);
    },
  }, "Pause");
  replace(place, el("h1", {}, "Events"),
    el("div", { class: "row" },
      el("label", { for: "e-kind" }, "Show"),
      el("select", { id: "e-kind", onchange: (event) => { location.hash = `#/events?event=${encodeURIComponent(event.target.value)}`; } },
        KINDS.map(([value, text]) => el("option", { value, selected: value === (query.event || "") }, text))),
      pause, said),
    el("table", { class: "events" }, el("caption", { class: "unseen" }, "Events, newest first"),
      el("thead", {}, el("tr", {}, ["Time (UTC)", "Event", "Fields"].map((title) => el("th", { scope: "col" }, title)))), rows));
  replace(rows, el("tr", { class: "none" }, el("td", { colspan: "3", class: "quiet" }, "Nothing has happened since this page was opened.")));
  watch(rows, said, state, query.event || "");
  const drawing = setInterval(() => flush(rows, state), 250);
  return () => { state.stopped = true; state.control.abort(); clearInterval(drawing); };
}

async function watch(rows, said, state, kind) {
  let pause = 1000;
  while (!state.stopped) {
    try {
      await stream("GET", "/v1/events", { event: kind }, ({ event, data }) => {
        pause = 1000;
        if (event === "lagged") said.textContent = "this browser was too slow and missed events";
        else state.waiting.push(data);
        if (state.waiting.length > MOST) state.waiting.shift();
      }, state.control.signal, () => { said.textContent = "● live"; });
      said.textContent = "○ interrupted, connecting again…";
    } catch (error) {
      if (state.stopped || error.status === 401) return;
      said.textContent = `○ ${error.message}; trying again…`;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 30000);
  }
}

function flush(rows, state) {
  if (state.paused || !state.waiting.length) return;
  rows.querySelector(".none")?.remove();
  const fresh = state.waiting.splice(0).map(row).reverse();
  rows.prepend(...fresh);
  while (rows.childElementCount > MOST) rows.lastElementChild.remove();
}

function row(json) {
  const { ts, level: weight, event, ...rest } = JSON.parse(json);
  const fields = Object.entries(rest).filter(([, value]) => value !== null && value !== "");
  const brief = fields.filter(([name]) => BRIEF.has(name));
  const more = fields.filter(([name]) => !BRIEF.has(name));
  return el("tr", {}, el("td", { class: "time" }, String(ts).slice(11, 19)), el("td", { class: "event" }, level(weight, event)),
    el("td", {}, listed(brief), more.length ? el("details", {}, el("summary", {}, `${more.length} more`), listed(more)) : null));
}

function listed(fields) {
  return fields.map(([name, value]) => [el("span", { class: "name" }, `${name}=`), foreign(typeof value === "string" ? value : JSON.stringify(value)), " "]);
}
