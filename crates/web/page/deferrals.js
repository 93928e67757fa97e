// What waits, by reason, with what to do about it, and for which domains.
import { el, facts, foreign, replace, table } from "./dom.js";
import { get } from "./api.js";
import { ago, number, plural } from "./text.js";

const SIDES = { "recipient-admin": "the recipient's administrator has to act", us: "it is our move", wait: "it usually passes by itself" };

export async function show(place) {
  const [summary, reasons] = await Promise.all([get("/v1/queue/summary", { limit: 2000 }), get("/v1/reasons")]);
  const known = new Map(reasons.map((reason) => [reason.key, reason]));
  const rows = Map.groupBy ? Map.groupBy(summary.rows, (row) => row.reason) : group(summary.rows);
  replace(place, el("h1", {}, "Deferrals"),
    el("p", { class: "quiet" }, `${plural(summary.messages, "message")} in the queue, by why they wait. A message with several domains counts for each.`),
    summary.reasons.length ? summary.reasons.map((reason) => section(reason, known.get(reason.reason), rows.get(reason.reason) || [])) : el("p", { class: "empty" }, "Nothing waits."));
}

// A route is no domain that could be asked for.
function messages(row) {
  const domain = row.domain.includes(":") ? {} : { domain: row.domain };
  return new URLSearchParams({ ...domain, ...(row.reason ? { reason: row.reason } : { state: "queued" }) });
}

function group(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.reason, [...(groups.get(row.reason) || []), row]);
  return groups;
}

function section(total, reason, rows) {
  const title = total.reason || "not tried yet";
  const missing = total.domains - rows.length;
  return el("section", { class: "reason" },
    el("h2", {}, title, " ", el("span", { class: "count" }, plural(total.messages, "message"), ` for ${plural(total.domains, "domain")}`)),
    reason && [facts([["Status", reason.dsn], ["Whose move", SIDES[reason.side]], ["Standard", reason.clause]]),
      el("details", {}, el("summary", {}, "What it means and what to do"),
        el("div", { class: "prose" }, reason.explanation.map((text) => el("p", {}, text)), el("p", {}, el("b", {}, "To do: "), reason.advice)))],
    table(title, [{ title: "Domain" }, { title: "Messages", class: "n" }, { title: "Oldest" }, { title: "Next attempt" }, { title: "" }],
      rows.slice(0, 50).map((row) => [foreign(row.route ? `${row.domain} via ${row.route}` : row.domain), number(row.messages), ago(row.oldest), ago(row.next_attempt),
        el("a", { href: `#/queue?${messages(row)}` }, "messages")])),
    rows.length > 50 || missing > 0 ? el("p", { class: "quiet" }, `The ${Math.min(50, rows.length)} domains with the most messages; sealpost queue summary lists all.`) : null);
}
