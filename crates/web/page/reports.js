// TLS reports (RFC 8460): what was counted by day and domain, what became of each, and the report itself.
import { confirm, el, facts, foreign, notice, replace, table } from "./dom.js";
import { get, mayAct, path, post } from "./api.js";
import { ago, level, moment, number, plural } from "./text.js";

const PAGE = 100;
const STATES = { collecting: "info", pending: "info", sent: "good", dropped: "note" };

export async function show(place, { rest: [domain, day], query }) {
  return domain ? one(place, domain, day) : list(place, query);
}

async function list(place, query) {
  const { reports } = await get("/v1/status");
  if (!reports) {
    replace(place, el("h1", {}, "TLS reports"), el("p", { class: "empty" }, "Off: nothing is counted or sent until reporting.contact-info is set."));
    return;
  }
  const view = { query, cursor: "", before: [] };
  const body = el("div", {});
  replace(place, el("p", {}, el("a", { href: "#/policies" }, "← Policies")), el("h1", {}, "TLS reports"),
    el("p", {}, `${plural(reports.collecting, "domain")} counted today, ${plural(reports.pending, "report")} to be sent. `,
      reports.failing ? level("warning", `${number(reports.failing)} tried in vain so far`) : null),
    el("form", {
      class: "filters", role: "search", "aria-label": "Filter reports",
      onsubmit: (event) => {
        event.preventDefault();
        location.hash = `#/reports?${new URLSearchParams([...new FormData(event.target)].filter(([, v]) => v))}`;
      },
    },
    el("div", { class: "field" }, el("label", { for: "r-domain" }, "Domain"), el("input", { id: "r-domain", name: "domain", value: query.domain || "", autocomplete: "off" })),
    el("div", { class: "field" }, el("label", { for: "r-day" }, "Day (UTC)"), el("input", { id: "r-day", name: "day", type: "date", value: query.day || "" })),
    el("div", { class: "field" }, el("label", { for: "r-state" }, "State"), el("select", { id: "r-state", name: "state" }, el("option", { value: "" }, "any"),
      Object.keys(STATES).map((state) => el("option", { value: state, selected: query.state === state }, state)))),
    el("div", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { href: "#/reports", class: "button" }, "Clear"),
      mayAct() && reports.pending ? el("button", { type: "button", "data-action": "send", onclick: () => send(query).catch((error) => notice(error.message)) }, "Send pending now…") : null)), body);
  await load(view, body);
}

async function load(view, body) {
  const page = await get("/v1/reports", { ...view.query, limit: PAGE, cursor: view.cursor });
  const go = (cursor) => { view.cursor = cursor; load(view, body).catch((error) => notice(error.message)); };
  replace(body,
    page.items.length ? table("TLS reports", [{ title: "Day" }, { title: "Domain" }, { title: "Good", class: "n" }, { title: "Failed", class: "n" }, { title: "State" }, { title: "Result" }],
      page.items.map((r) => [r.day, el("a", { href: `#/reports/${encodeURIComponent(r.domain)}/${r.day}` }, r.domain), number(r.successes),
        r.failures ? level("warning", number(r.failures)) : "0", level(STATES[r.state] || "note", r.state), story(r)])) : el("p", { class: "empty" }, "No report matches."),
    el("nav", { class: "row pages", "aria-label": "Pages" },
      el("button", { type: "button", "data-action": "previous", disabled: !view.before.length, onclick: () => go(view.before.pop()) }, "Previous page"),
      el("button", { type: "button", "data-action": "next", disabled: !page.next, onclick: () => { view.before.push(view.cursor); go(page.next); } }, "Next page"),
      el("span", { class: "quiet" }, `${plural(page.items.length, "report")} shown, the latest day first.`)));
}

function story(r) {
  if (r.state === "sent") return el("span", {}, "to ", foreign(r.to || "–"), " ", ago(r.at));
  const parts = [r.detail && foreign(r.detail), r.next_attempt && el("span", {}, "next attempt ", ago(r.next_attempt))].filter(Boolean);
  return parts.length ? el("span", {}, parts.flatMap((part, n) => n ? ["; ", part] : [part])) : "–";
}

async function one(place, domain, day) {
  const r = await get(path("reports", domain), { day });
  replace(place,
    el("p", {}, el("a", { href: "#/reports" }, "← TLS reports")),
    el("h1", {}, "TLS report to ", foreign(r.domain)),
    el("div", { class: "row actions" }, el("a", { class: "button", href: `#/check?domain=${encodeURIComponent(domain)}` }, "Check the domain")),
    facts([["Day (UTC)", r.day], ["State", level(STATES[r.state] || "note", r.state === "collecting" ? "collecting: the day is not over" : r.state)],
      ["Good sessions", number(r.successes)], ["Failed", r.failures ? level("warning", number(r.failures)) : "0"], ["Report id", r.report_id && foreign(r.report_id)],
      ["Sent to", r.to && foreign(r.to)], ["Since", r.at && moment(r.at)], ["Attempts", r.attempts ? number(r.attempts) : null],
      ["Next attempt", r.next_attempt && ago(r.next_attempt)], ["Because", r.detail && foreign(r.detail)]]),
    el("h2", {}, "The report"), foreign(JSON.stringify(r.report, null, 2), "pre"));
}

async function send({ domain, day }) {
  const which = [domain ? `to ${domain}` : null, day ? `of ${day}` : null].filter(Boolean).join(" ");
  const sure = await confirm({ title: `Send pending reports ${which || "of all domains"} now?`, body: [el("p", {}, "Otherwise each goes within four hours after midnight (UTC), or at its next attempt.")], action: "Send" });
  if (!sure) return;
  const { due } = await post("/v1/reports/send", { domain, day });
  notice(`${plural(due, "report")} due now.`);
  window.dispatchEvent(new Event("hashchange"));
}
