// What waits, by reason, with what to do about it, and for which domains.
import { el, facts, foreign, replace, table } from "./dom.js";
import { get } from "./api.js";
import { ago, move, number, plural, state } from "./text.js";

// What only we can mend comes first.
const SIDES = ["us", "recipient-admin", "wait", null];

export async function show(place) {
  const [summary, reasons] = await Promise.all([get("/v1/queue/summary", { limit: 2000 }), get("/v1/reasons")]);
  const known = new Map(reasons.map((reason) => [reason.key, reason]));
  const rows = group(summary.rows);
  const all = summary.reasons.flatMap((total) => (total.reason || total.held ? [total] : apart(total, summary.rows.filter((row) => !row.reason && !row.held && row.paused))));
  const open = all.length <= 3;
  const kept = summary.paused.length ? (await import("./pause.js")).list(summary.paused, Infinity, () => show(place)) : null;
  replace(place, el("h1", {}, "Deferrals"), kept && [el("h2", {}, "Paused"), kept],
    el("p", { class: "quiet" }, `${plural(summary.messages, "message")} in the queue, by why they wait. A message with several domains counts for each.`),
    all.length ? SIDES.map((side) => part(side, all.filter((reason) => (reason.side || null) === side), (reason) =>
      section(reason, told(reason, known), rows.get(kind(reason)) || [], open))) : el("p", { class: "empty" }, "Nothing waits."));
}

function part(side, reasons, shown) {
  if (!reasons.length) return null;
  return [el("h2", {}, side ? move(side, true) : "Not tried yet"), reasons.map(shown)];
}

// Of what was not tried yet: what an operator keeps back is told apart from what is about to be tried.
function apart(total, paused) {
  const messages = paused.reduce((sum, row) => sum + row.messages, 0);
  const rest = { ...total, messages: total.messages - messages, domains: total.domains - paused.length };
  return [rest, { ...total, paused: true, messages, domains: paused.length }].filter((part) => part.messages > 0);
}

// What is to be said of a reason's mail; where it waits for different causes, in which, and of each.
function told(total, known) {
  const usual = known.get(total.reason);
  const cases = total.cases || [];
  const first = cases.length ? { ...cases[0], sentence: `${plural(cases.length, "cause")}, most of them: ${cases[0].sentence}` } : total.said;
  return (usual || first) && { ...usual, ...first, cases };
}

// Causes of one reason, each with what is to be done.
function each(said) {
  return (said.cases.length ? said.cases : [said]).map((one) => el("div", { class: "prose" },
    said.cases.length ? el("h3", {}, `${plural(one.messages, "message")}: `, one.sentence) : null,
    el("p", {}, el("b", {}, "To do: "), one.advice), one.explanation.map((text) => el("p", {}, text))));
}

// A route is no domain that could be asked for.
function messages(row) {
  const domain = row.domain.includes(":") ? {} : { domain: row.domain };
  if (row.held) return new URLSearchParams({ ...domain, ...(row.reason ? { reason: row.reason } : {}), state: "held" });
  return new URLSearchParams({ ...domain, ...(row.reason ? { reason: row.reason, ...(row.side ? { side: row.side } : {}) } : { state: "queued" }) });
}

// One reason may be for one to act on here, and for another there.
function kind(row) {
  return `${row.reason} ${row.side} ${Boolean(row.held)} ${!row.reason && !row.held && Boolean(row.paused)}`;
}

function group(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(kind(row), [...(groups.get(kind(row)) || []), row]);
  return groups;
}

// One line for each reason, behind which everything else is.
function section(total, reason, rows, open) {
  const title = total.held && total.reason !== "parked" ? `held${total.reason ? `, ${total.reason} before` : ""}` : total.reason || (total.paused ? "paused" : "not tried yet");
  const before = total.paused ? "An operator keeps it back: the first attempt comes when the destination is resumed." : "Its first attempt is still to come.";
  const missing = total.domains - rows.length;
  const names = rows.slice(0, 2).map(name).join(", ") + (total.domains > 2 ? ` and ${number(total.domains - 2)} more` : "");
  return el("details", { class: "reason", open },
    el("summary", {}, el("span", { class: "title" }, title), el("span", { class: "count" }, plural(total.messages, "message"), ` for ${plural(total.domains, "domain")}`),
      el("span", { class: "says" }, reason ? reason.sentence : before), el("span", { class: "names quiet" }, foreign(names))),
    reason && [each(reason),
      facts([["Status", reason.dsn], ["Standard", reason.clause]])],
    domains(title, rows),
    rows.length > 50 || missing > 0 ? el("p", { class: "quiet" }, `The ${Math.min(50, rows.length)} domains with the most messages; sealpost queue summary lists all.`) : null);
}

// Where a destination is left alone, with what began that.
function domains(title, rows) {
  const cause = rows.some((row) => row.cause);
  const columns = [{ title: "Domain" }, ...(cause ? [{ title: "Cause" }] : []), { title: "Messages", class: "n" },
    { title: "Oldest" }, { title: "Next attempt" }, { title: "" }];
  return table(title, columns,
    rows.slice(0, 50).map((row) => [foreign(name(row)), ...(cause ? [row.cause || "–"] : []), number(row.messages), ago(row.oldest), row.paused ? state("paused") : ago(row.next_attempt),
      el("a", { href: `#/queue?${messages(row)}` }, "messages")]));
}

function name(row) {
  return row.route ? `${row.domain} via ${row.route}` : row.domain;
}
