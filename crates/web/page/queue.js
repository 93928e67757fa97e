// Waiting mail: filter, sort, page, act.
import { confirm, el, foreign, notice, replace, table } from "./dom.js";
import { get, known, mayAct, post } from "./api.js";
import { ago, bytes, level, move, number, plural, standing } from "./text.js";

const PAGE = 50;
const FIELDS = ["domain", "sender", "recipient", "reason", "side", "state", "older", "attempts-over"];

export const ACTIONS = {
  retry: { title: "Retry now", verb: "Retry", says: "Their next attempt is made at once." },
  hold: { title: "Hold", verb: "Hold", says: "No attempt is made until they are released. They expire only if queue.expire-held is set." },
  release: { title: "Release", verb: "Release", says: "Held messages are due again." },
  bounce: { title: "Bounce", verb: "Return", danger: true, says: "They leave the queue, and their senders are told, where there is one: of mail from <> nobody is." },
  cancel: { title: "Cancel", verb: "Cancel", danger: true, says: "They leave the queue for ever, and nobody is told." },
};

export async function show(place, { query }) {
  const filter = Object.fromEntries(FIELDS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const view = { filter, items: [], next: null, before: [], cursor: "", chosen: new Set(), paused: [], sort: { column: 7, down: false }, body: el("div", {}), turn: 0 };
  const asked = get("/v1/reasons");
  const first = page(view, PAGE, "");
  first.catch(() => {});
  const reasons = await asked;
  replace(place, el("h1", {}, "Queue"), form(filter, reasons), view.body);
  try {
    await load(view, first);
  } catch (error) {
    // What was asked for stays to be put right.
    if (error.status !== 400) throw error;
    replace(view.body, el("p", { role: "alert" }, level("error", error.message)));
  }
  return () => { view.turn += 1; };
}

function page(view, limit, cursor) {
  return get("/v1/queue", { ...view.filter, limit, cursor });
}

function form(filter, reasons) {
  const field = (name, label, more = {}) => el("div", { class: "field" }, el("label", { for: `f-${name}` }, label),
    el("input", { id: `f-${name}`, name, value: filter[name] || "", autocomplete: "off", spellcheck: "false", ...more }));
  const choice = (name, label, options) => el("div", { class: "field" }, el("label", { for: `f-${name}` }, label),
    el("select", { id: `f-${name}`, name }, el("option", { value: "" }, "any"),
      options.map((option) => (Array.isArray(option) ? option : [option, option])).map(([value, word]) => el("option", { value, selected: filter[name] === value }, word))));
  return el("form", {
    class: "filters", role: "search", "aria-label": "Filter the queue",
    onsubmit: (event) => {
      event.preventDefault();
      const given = [...new FormData(event.target)].filter(([, value]) => value.trim() !== "").map(([name, value]) => [name, name === "older" ? seconds(value) : value.trim()]);
      location.hash = given.length ? `#/queue?${new URLSearchParams(given)}` : "#/queue";
    },
  },
  field("domain", "Domain"), field("recipient", "Recipient"), field("sender", "Sender"),
  choice("reason", "Reason", reasons.map((reason) => reason.key)),
  choice("side", "Whose move", [["us", "our side"], ["recipient-admin", "the recipient's side"], ["wait", "nobody's: it passes"]]),
  choice("state", "State", ["queued", "deferred", "active", "held"]),
  field("older", "Older than", { inputmode: "text", value: filter.older && inUnits(filter.older), pattern: " *[0-9]+ *[smhdw]? *", placeholder: "2h", title: "A time: 90s, 15m, 2h, 3d or 1w; a number alone is seconds" }),
  field("attempts-over", "Attempts over", { inputmode: "numeric", pattern: "[0-9]*" }),
  el("div", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { href: "#/queue", class: "button" }, "Clear")));
}

const UNITS = [["w", 604800], ["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

// `2h` as the API wants it.
function seconds(text) {
  const [, count, unit] = /^\s*(\d+)\s*([smhdw]?)\s*$/.exec(text) || [null, text.trim(), ""];
  return unit ? String(Number(count) * UNITS.find(([name]) => name === unit)[1]) : count;
}

// And back again.
function inUnits(text) {
  const [unit, factor] = UNITS.find(([, factor]) => Number(text) > 0 && Number(text) % factor === 0) || ["", 1];
  return unit ? `${Number(text) / factor}${unit}` : text;
}

// A page of rows. Where only the messages themselves say whether they match, the relay looks at some
// and says where to go on: the rest is asked for behind what is shown already.
async function load(view, first) {
  const turn = ++view.turn;
  const [found, paused] = await Promise.all([first || page(view, PAGE, view.cursor), view.filter.domain ? pausedNow() : []]);
  if (turn !== view.turn) return;
  Object.assign(view, { items: found.items, next: found.next, paused });
  view.chosen.clear();
  draw(view);
  more(view, turn).catch((error) => turn === view.turn && fail(error));
}

async function more(view, turn) {
  while (turn === view.turn && view.next && view.items.length < PAGE) {
    const found = await page(view, PAGE - view.items.length, view.next);
    if (turn !== view.turn) return;
    view.items = view.items.concat(found.items);
    view.next = found.next;
    if (found.items.length || !found.next) draw(view);
  }
}

// By column; null where there is nothing to sort by.
const SORTS = [null, (i) => i.id, (i) => i.sender, (i) => i.recipients[0] || "", (i) => i.state, (i) => i.reason || "", (i) => i.attempts,
  (i) => i.next_attempt || "~", (i) => i.arrived, (i) => i.size];

function draw(view) {
  const key = SORTS[view.sort.column];
  const items = [...view.items].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (view.sort.down ? -1 : 1));
  const sorting = { ...view.sort, by: (column) => { view.sort = { column, down: view.sort.column === column && !view.sort.down }; draw(view); } };
  const columns = [{ title: el("span", { class: "unseen" }, "Chosen"), class: "tick" }, { title: "Id", sort: true, class: "id" }, { title: "Sender", sort: true, class: "party" }, { title: "Recipients", sort: true, class: "party" },
    { title: "State", sort: true, class: "state" }, { title: "Reason", sort: true, class: "why" }, { title: "Attempts", sort: true, class: "n minor" },
    { title: "Next attempt", sort: true, class: "when" }, { title: "Arrived", sort: true, class: "when" }, { title: "Size", sort: true, class: "n minor" }];
  const rows = items.map((item) => [tick(view, item.id), el("a", { href: `#/queue/${item.id}` }, item.id),
    item.sender ? foreign(item.sender) : el("span", { class: "quiet" }, "<> (null)"), recipients(item),
    standing(item), why(item), number(item.attempts),
    ago(item.next_attempt), ago(item.arrived), bytes(item.size)]);
  replace(view.body, bar(view), items.length ? sorter(view, columns) : null,
    items.length ? table("Messages", columns, rows, sorting, "messages") : el("p", { class: "empty" }, view.next ? "Nothing that matches so far; looking further…" : Object.keys(view.filter).length ? "Nothing in the queue matches." : "The queue is empty."),
    el("nav", { class: "row pages", "aria-label": "Pages" },
      el("button", { type: "button", id: "previous-page", disabled: !view.before.length, onclick: () => { view.cursor = view.before.pop(); load(view).catch(fail); } }, "Previous page"),
      el("button", { type: "button", id: "next-page", disabled: !view.next, onclick: () => { view.before.push(view.cursor); view.cursor = view.next; load(view).catch(fail); } }, "Next page"),
      el("span", { class: "quiet" }, view.next && items.length < PAGE ? `${plural(items.length, "message")} so far; looking further…` : [`${plural(items.length, "message")} shown, by next attempt`, el("span", { class: "wide" }, "; a click on a heading sorts these"), "."])));
}

// What the headings do, where there are none.
function sorter(view, columns) {
  const options = columns.flatMap(({ title, sort }, n) => sort ? [false, true].map((down) => el("option", {
    value: `${n} ${down}`, selected: view.sort.column === n && view.sort.down === down,
  }, `${title} ${down ? "▼" : "▲"}`)) : []);
  return el("p", { class: "narrow" }, el("label", { for: "sort-by" }, "Sort these by "), el("select", {
    id: "sort-by",
    onchange: (event) => {
      const [column, down] = event.target.value.split(" ");
      view.sort = { column: Number(column), down: down === "true" };
      draw(view);
    },
  }, options));
}

// The reason, whose move it is, and what happened, in one sentence.
function why(item) {
  const detail = item.detail ? el("div", { class: "detail quiet", title: item.detail }, foreign(item.detail)) : null;
  return item.reason ? [el("b", {}, item.reason), " ", move(item.side), detail] : detail || "–";
}

function recipients(item) {
  const [first, ...others] = item.recipients;
  return [first ? foreign(first) : "–", others.length ? el("span", { class: "quiet" }, ` and ${number(others.length)} more`) : null];
}

function tick(view, id) {
  if (!mayAct()) return null;
  return el("input", {
    type: "checkbox", "aria-label": `choose ${id}`, checked: view.chosen.has(id),
    onchange: (event) => { view.chosen[event.target.checked ? "add" : "delete"](id); view.body.querySelector(".actions").replaceWith(bar(view)); },
  });
}

function bar(view) {
  if (!mayAct()) return el("p", { class: "quiet actions" }, "Read only: this session may look, and change nothing.");
  const on = view.chosen.size ? `the ${plural(view.chosen.size, "chosen message")}` : Object.keys(view.filter).length ? "everything that matches" : "the whole queue";
  return el("div", { class: "row actions", role: "group", "aria-label": `Actions on ${on}` },
    Object.entries(ACTIONS).map(([name, action]) => el("button", {
      type: "button", class: action.danger ? "danger" : null, "data-action": name, disabled: !view.items.length,
      onclick: () => act(name, target(view)).then((done) => done && load(view)).catch(fail),
    }, action.title)),
    el("span", { class: "quiet" }, `on ${on}`),
    view.filter.domain && !view.chosen.size && pausing(view.filter.domain, view.paused, () => load(view).catch(fail)));
}

// Destinations that operators keep back now, with mail or without; asked only for those who may change it.
export async function pausedNow() {
  await known();
  return mayAct() ? (await get("/v1/status")).paused.map((p) => p.domain) : [];
}

// As the relay writes it: in lower case, and in ASCII.
function hostname(domain) {
  const url = `${location.protocol}//${domain}/`;
  return URL.canParse(url) ? new URL(url).hostname : domain.toLowerCase();
}

// The button that pauses a destination or lets it go on; `paused` are all that are kept back.
export function pausing(domain, paused, then) {
  const name = paused.includes(domain) || paused.includes(hostname(domain)) ? "resume" : "pause";
  return el("button", {
    type: "button", "data-action": name, "data-of": domain,
    onclick: () => import("./pause.js").then(({ order }) => order(name, domain)).then((done) => done && then()).catch(fail),
  }, `${name === "resume" ? "Resume" : "Pause"} ${domain}…`);
}

function target(view) {
  if (view.chosen.size) return { ids: [...view.chosen] };
  const filter = { ...view.filter };
  for (const name of ["older", "attempts-over"]) if (filter[name] !== undefined) filter[name] = Number(filter[name]);
  return Object.keys(filter).length ? { filter } : { all: true };
}

// With `Retry now`: of how many that is not true.
function untried({ held, paused }) {
  return [held ? `${number(held)} of them ${held === 1 ? "is" : "are"} held, and not tried.` : null,
    paused ? `${number(paused)} of them ${paused === 1 ? "has" : "have"} a paused destination, which is not tried.` : null].filter(Boolean).join(" ");
}

// Counts first, asks with the count, then acts. True if something was done. `silent`: nobody can be told.
export async function act(name, on, silent = false) {
  const action = ACTIONS[name];
  const found = await post("/v1/queue/actions", { action: name, ...on, dry_run: true });
  const { matched } = found;
  const says = name === "bounce" && silent ? "It leaves the queue. Its sender is <>: nobody is told." : action.says;
  const spared = untried(found);
  const what = plural(matched, "message");
  const none = found.already ? `${plural(found.already, "message")} ${found.already === 1 ? "is" : "are"} ${name === "hold" ? "held already" : "not held"}.` : "No message matches any more.";
  const reason = el("input", { id: "act-reason", autocomplete: "off", maxlength: "500" });
  const sure = await confirm({
    title: `${action.verb} ${what}?`,
    body: matched ? [el("p", {}, says), spared && el("p", {}, level("warning", spared)), el("label", { for: "act-reason" }, "Why (kept in the log)"), reason] : el("p", {}, none),
    action: matched ? `${action.verb} ${what}` : null,
    danger: action.danger,
  });
  if (!sure) return false;
  const done = await post("/v1/queue/actions", { action: name, ...on, reason: reason.value || null });
  const gone = (done.unknown || []).length;
  const going = done.under_way ? ` Being delivered just now, and may still arrive: ${done.under_way}.` : "";
  const kept = untried(done);
  notice(`${action.title}: ${plural(done.matched, "message")}.${kept && ` ${kept}`}${going}${gone ? ` ${plural(gone, "message")} had left the queue before.` : ""}`);
  return true;
}

function fail(error) {
  notice(error.message);
}
