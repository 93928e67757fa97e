// Waiting mail: filter, sort, page, act.
import { confirm, el, foreign, notice, replace, table } from "./dom.js";
import { get, mayAct, post } from "./api.js";
import { ago, bytes, move, number, plural, state } from "./text.js";

const PAGE = 50;
const FIELDS = ["domain", "sender", "recipient", "reason", "state", "older", "attempts-over"];

export const ACTIONS = {
  retry: { title: "Retry now", verb: "Retry", says: "Their next attempt is made at once." },
  hold: { title: "Hold", verb: "Hold", says: "No attempt is made until they are released. They expire only if queue.expire-held is set." },
  release: { title: "Release", verb: "Release", says: "Held messages are due again." },
  bounce: { title: "Bounce", verb: "Return", danger: true, says: "They leave the queue, and their senders are told." },
  cancel: { title: "Cancel", verb: "Cancel", danger: true, says: "They leave the queue for ever, and nobody is told." },
};

export async function show(place, { query }) {
  const filter = Object.fromEntries(FIELDS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const view = { filter, items: [], next: null, before: [], cursor: "", chosen: new Set(), sort: { column: 7, down: false }, body: el("div", {}), turn: 0 };
  const asked = get("/v1/reasons");
  const first = page(view, PAGE, "");
  const reasons = await asked;
  replace(place, el("h1", {}, "Queue"), form(filter, reasons), view.body);
  await load(view, first);
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
      options.map((option) => el("option", { value: option, selected: filter[name] === option }, option))));
  return el("form", {
    class: "filters", role: "search", "aria-label": "Filter the queue",
    onsubmit: (event) => {
      event.preventDefault();
      const given = [...new FormData(event.target)].filter(([, value]) => value.trim() !== "").map(([name, value]) => [name, value.trim()]);
      location.hash = given.length ? `#/queue?${new URLSearchParams(given)}` : "#/queue";
    },
  },
  field("domain", "Domain"), field("recipient", "Recipient"), field("sender", "Sender"),
  choice("reason", "Reason", reasons.map((reason) => reason.key)),
  choice("state", "State", ["queued", "deferred", "active", "held"]),
  field("older", "Older than (s)", { inputmode: "numeric", pattern: "[0-9]*" }),
  field("attempts-over", "Attempts over", { inputmode: "numeric", pattern: "[0-9]*" }),
  el("div", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { href: "#/queue", class: "button" }, "Clear")));
}

// A page of rows. Where only the messages themselves say whether they match, the relay looks at some
// and says where to go on: the rest is asked for behind what is shown already.
async function load(view, first) {
  const turn = ++view.turn;
  const found = await (first || page(view, PAGE, view.cursor));
  if (turn !== view.turn) return;
  Object.assign(view, { items: found.items, next: found.next });
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
  const sorting = { ...view.sort, by: (column) => { view.sort = { column, down: view.sort.column === column && !view.sort.down }; draw(view); view.body.querySelectorAll("th button")[column - 1]?.focus(); } };
  const columns = [{ title: el("span", { class: "unseen" }, "Chosen"), class: "tick" }, { title: "Id", sort: true, class: "id" }, { title: "Sender", sort: true, class: "party" }, { title: "Recipients", sort: true, class: "party" },
    { title: "State", sort: true, class: "state" }, { title: "Reason", sort: true, class: "why" }, { title: "Attempts", sort: true, class: "n minor" },
    { title: "Next attempt", sort: true, class: "when" }, { title: "Arrived", sort: true, class: "when" }, { title: "Size", sort: true, class: "n minor" }];
  const rows = items.map((item) => [tick(view, item.id), el("a", { href: `#/queue/${item.id}` }, item.id),
    item.sender ? foreign(item.sender) : el("span", { class: "quiet" }, "<> (null)"), recipients(item),
    state(item.state), why(view, item), number(item.attempts),
    ago(item.next_attempt), ago(item.arrived), bytes(item.size)]);
  replace(view.body, bar(view),
    items.length ? table("Messages", columns, rows, sorting, "messages") : el("p", { class: "empty" }, view.next ? "Nothing that matches so far; looking further…" : Object.keys(view.filter).length ? "Nothing in the queue matches." : "The queue is empty."),
    el("nav", { class: "row pages", "aria-label": "Pages" },
      el("button", { type: "button", disabled: !view.before.length, onclick: () => { view.cursor = view.before.pop(); load(view).catch(fail); } }, "Previous page"),
      el("button", { type: "button", id: "next-page", disabled: !view.next, onclick: () => { view.before.push(view.cursor); view.cursor = view.next; load(view).catch(fail); } }, "Next page"),
      el("span", { class: "quiet" }, view.next && items.length < PAGE ? `${plural(items.length, "message")} so far; looking further…` : `${plural(items.length, "message")} shown, by next attempt; a click on a heading sorts these.`)));
}

// The reason, whose move it is, and what happened, in one sentence.
function why(view, item) {
  if (!item.reason) return "–";
  return [el("b", {}, item.reason), " ", move(item.side), item.detail ? el("div", { class: "detail quiet", title: item.detail }, foreign(item.detail)) : null];
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
    el("span", { class: "quiet" }, `on ${on}`));
}

function target(view) {
  if (view.chosen.size) return { ids: [...view.chosen] };
  const filter = { ...view.filter };
  for (const name of ["older", "attempts-over"]) if (filter[name] !== undefined) filter[name] = Number(filter[name]);
  return Object.keys(filter).length ? { filter } : { all: true };
}

// Counts first, asks with the count, then acts. True if something was done.
export async function act(name, on) {
  const action = ACTIONS[name];
  const { matched } = await post("/v1/queue/actions", { action: name, ...on, dry_run: true });
  const what = plural(matched, "message");
  const reason = el("input", { id: "act-reason", autocomplete: "off", maxlength: "500" });
  const sure = await confirm({
    title: `${action.verb} ${what}?`,
    body: matched ? [el("p", {}, action.says), el("label", { for: "act-reason" }, "Why (kept in the log)"), reason] : el("p", {}, "No message matches any more."),
    action: matched ? `${action.verb} ${what}` : null,
    danger: action.danger,
  });
  if (!sure) return false;
  const done = await post("/v1/queue/actions", { action: name, ...on, reason: reason.value || null });
  const gone = (done.unknown || []).length;
  const going = done.under_way ? ` Being delivered just now, and may still arrive: ${done.under_way}.` : "";
  notice(`${action.title}: ${plural(done.matched, "message")}.${going}${gone ? ` ${plural(gone, "message")} had left the queue before.` : ""}`);
  return true;
}

function fail(error) {
  notice(error.message);
}
