// The whole relay on one screen.
import { el, facts, foreign, replace, table } from "./dom.js";
import { get } from "./api.js";
import { chart } from "./chart.js";
import { ago, bytes, level, move, number, plural, span, state } from "./text.js";

export async function show(place) {
  const now = el("div", {});
  const charts = el("div", { class: "charts" });
  const details = el("div", { class: "cards" });
  replace(place, el("h1", {}, "Overview"), now, charts, details);
  const drawing = draw(charts);
  await refresh(now, details);
  await drawing;
  const quick = setInterval(() => { if (!document.hidden) refresh(now, details).catch((error) => stale(now, error)); }, 5000);
  const slow = setInterval(() => { if (!document.hidden) draw(charts).catch(() => {}); }, 60000);
  return () => { clearInterval(quick); clearInterval(slow); };
}

function stale(now, error) {
  if (!now.querySelector(".stale")) now.prepend(el("p", { class: "stale level error" }, `These figures are old: ${error.message}.`));
}

async function refresh(now, details) {
  const s = await get("/v1/status");
  const states = Object.fromEntries(s.queue_by_state);
  const kept = s.paused && s.paused.length ? (await import("./pause.js")).list(s.paused, PAUSED, () => refresh(now, details)) : null;
  replace(now, endings(s.certificates || []), trouble(s), kept, el("ul", { class: "tiles" },
    tile("In the queue", number(s.queue_messages), el("a", { href: "#/queue" }, "show")),
    ["deferred", "queued", "active", "held"].map((name) =>
      tile(state(name), number(states[name]), el("a", { href: `#/queue?state=${name}`, "aria-label": `show ${name} messages` }, "show"))),
    tile("Oldest", s.oldest ? ago(s.oldest) : "–", s.oldest ? "arrived" : "the queue is empty"),
    tile("Connections", number(s.connections), "outbound, now")));
  replace(details, card("Whose move", facts((s.waiting_for || []).map(([side, count]) => [move(side), number(count)])),
    el("p", {}, el("a", { href: "#/deferrals" }, "All reasons"))),
  card("Since the start", facts([
    ["Started", ago(s.started)], ["Version", s.version], ["Host name", s.hostname],
    ["Delivered", number(s.delivered)], ["Deferred", number(s.deferred)], ["Bounced", number(s.bounced)],
  ])),
  card("Policies", facts([
    ...s.policies_by_mode.map(([mode, count]) => [mode, number(count)]),
    ...(s.policies_exempt ? [["Exempt", [level("warning", plural(s.policies_exempt, "domain")), ", the last ends ", ago(s.exempt_until)]]] : []),
    ...(s.policies_ran_out ? [["Run out", level("warning", number(s.policies_ran_out))]] : []),
    ["Refreshes", s.policies_at_risk ? level("error", `${number(s.policies_at_risk)} keep failing`) : level("good", "none keeps failing")],
    ["First to expire unrefreshed", s.policy_expiry_in === null || s.policy_expiry_in === undefined ? "none" : level("warning", `in ${span(s.policy_expiry_in)}`)],
  ]), el("p", {}, el("a", { href: "#/policies" }, "All policies"))),
  s.reports ? card("TLS reports", facts([
    ["Counted today", plural(s.reports.collecting, "domain")], ["To be sent", number(s.reports.pending)],
    ...(s.reports.failing ? [["In vain so far", level("warning", number(s.reports.failing))]] : []),
  ]), el("p", {}, el("a", { href: "#/reports" }, "All reports"))) : null,
  card("Resolver", facts([
    ["DNSSEC", s.dnssec === "unavailable" ? level("warning", "does not reach us") : s.dnssec],
    ...(s.lookups || []).map((row) => [row.type.toUpperCase(), lookups(row)]),
  ])),
  card("Disk", facts([["Queue", bytes(s.store_bytes)], ["Free", bytes(s.free_bytes)]])),
  card("Listeners", table("Listeners", [{ title: "Name", class: "name" }, { title: "Clients", class: "n" }, { title: "State" }],
    s.listeners.map((l) => [[el("div", {}, l.name), el("div", { class: "quiet" }, l.address)], number(l.clients), l.closed ? level("warning", `closed: ${l.closed}`) : "open"]))),
  certificates(s.certificates || []));
}

function lookups(row) {
  const failed = row.failed ? level("warning", `${number(row.failed)} failed`) : "none failed";
  return [`${number(row.answered)} answered, `, failed];
}

function daysLeft(certificate) {
  return certificate.not_after ? (Date.parse(certificate.not_after) - Date.now()) / 86400000 : -1;
}

// Paused destinations on this view, at most.
const PAUSED = 5;

// Certificates of ours that others refuse now, or soon.
function endings(list) {
  const near = list.filter((c) => daysLeft(c) < 7);
  if (!near.length) return null;
  return el("ul", { class: "trouble endings" }, near.map((c) => {
    const over = daysLeft(c) < 0;
    const mark = (text) => level(over ? "error" : "warning", text);
    return el("li", {}, c.not_after ? [mark(`The certificate of ${c.of} ${over ? "ended" : "ends"} `), ago(c.not_after)] : mark(`The certificate of ${c.of} cannot be read.`),
      c.not_after && (over ? ": clients that look at it refuse it." : "."));
  }));
}

function certificates(list) {
  if (!list.length) return null;
  return card("Certificates", table("Our certificates", [{ title: "Of" }, { title: "Ends" }], list.map((c) => {
    const days = daysLeft(c);
    const mark = days < 0 ? level("error", "ended ") : days < 14 ? level("warning", "soon: ") : "";
    return [c.of, [mark, c.not_after ? ago(c.not_after) : "cannot be read"]];
  })));
}

// What is wrong; and an event log that loses events, which keeps no mail back.
function trouble(s) {
  const log = s.log && el("ul", { class: "trouble soft log", role: "alert" }, el("li", {}, level("error", `The event log has lost ${plural(s.log.lost, "event")} since `), ago(s.log.since), ", and has not gone on: ", foreign(s.log.cause)));
  return [readiness(s), log];
}

function readiness(s) {
  if (s.ready) return el("p", { class: "ready" }, level("good", "Accepts and delivers mail."));
  return el("ul", { class: "trouble", role: "alert" }, s.problems.map((text) => el("li", {}, level("error", text))));
}

function tile(name, value, more) {
  return el("li", {}, el("span", { class: "name" }, name), el("span", { class: "value" }, value), el("span", { class: "quiet" }, more));
}

function card(title, ...body) {
  return el("section", { class: "card" }, el("h2", {}, title), body);
}

async function draw(place) {
  const h = await get("/v1/history");
  const of = (columns, names) => names.map((name) => ({ name, values: columns[name] || h.at.map(() => 0) }));
  const height = (name) => Math.max(...h.reasons[name]);
  const reasons = Object.keys(h.reasons).sort((a, b) => height(b) - height(a)).slice(0, 5);
  replace(place,
    chart("Queue", h.at, of(h.states, ["deferred", "queued", "active", "held"]), "messages by state", h.interval),
    chart("Outcomes", h.at, of(h.outcomes, ["delivered", "deferred", "bounced"]), "recipients per minute", h.interval),
    reasons.length
      ? chart("Waiting", h.at, of(h.reasons, reasons), "messages by reason", h.interval)
      : el("figure", { class: "chart" }, el("figcaption", {}, el("span", { class: "title" }, "Waiting")), el("p", { class: "quiet" }, "No mail has waited for a reason in the time that is kept (24 h, since the start).")));
}
