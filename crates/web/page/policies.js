// Stored MTA-STS policies: list, text, history, refetch, exempt.
import { begin } from "./check.js";
import { confirm, el, facts, foreign, notice, replace, table } from "./dom.js";
import { get, mayAct, path, post } from "./api.js";
import { ago, level, moment, plural, span } from "./text.js";

const PAGE = 100;

export async function show(place, { rest: [domain], query }) {
  return domain ? one(place, domain) : list(place, query);
}

async function list(place, query) {
  const view = { query, cursor: "", before: [] };
  const body = el("div", {});
  replace(place, el("h1", {}, "Policies"), el("form", {
    class: "filters", role: "search", "aria-label": "Filter policies",
    onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/policies?${new URLSearchParams([...new FormData(event.target)].filter(([, v]) => v))}`;
    },
  },
  el("div", { class: "field" }, el("label", { for: "p-contains" }, "Domain contains"), el("input", { id: "p-contains", name: "contains", value: query.contains || "", autocomplete: "off" })),
  el("div", { class: "field" }, el("label", { for: "p-mode" }, "Mode"), el("select", { id: "p-mode", name: "mode" }, el("option", { value: "" }, "any"),
    ["enforce", "testing", "none"].map((mode) => el("option", { value: mode, selected: query.mode === mode }, mode)))),
  el("div", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { href: "#/policies", class: "button" }, "Clear"), el("a", { href: "#/reports", class: "button" }, "TLS reports"))), body);
  await load(view, body);
}

async function load(view, body) {
  const page = await get("/v1/policies", { contains: view.query.contains, mode: view.query.mode, limit: PAGE, cursor: view.cursor });
  const go = (cursor) => { view.cursor = cursor; load(view, body).catch((error) => notice(error.message)); };
  replace(body,
    page.items.length ? table("Policies", [{ title: "Domain" }, { title: "Mode" }, { title: "Hosts" }, { title: "Fetched" }, { title: "Expires" }, { title: "Refresh" }],
      page.items.map((p) => [el("a", { href: `#/policies/${encodeURIComponent(p.domain)}` }, p.domain), mode(p), foreign(hosts(p)), ago(p.fetched), ago(p.expires),
        standing(p)])) : el("p", { class: "empty" }, "No stored policy matches."),
    el("nav", { class: "row pages", "aria-label": "Pages" },
      el("button", { type: "button", "data-action": "previous", disabled: !view.before.length, onclick: () => go(view.before.pop()) }, "Previous page"),
      el("button", { type: "button", "data-action": "next", disabled: !page.next, onclick: () => { view.before.push(view.cursor); go(page.next); } }, "Next page"),
      el("span", { class: "quiet" }, `${plural(page.items.length, "domain")} shown, by name.`)));
}

function standing(p) {
  if (p.expires && new Date(p.expires) <= Date.now()) return p.mode === "none" ? level("info", "expired") : level("error", "expired");
  return p.refresh_failure ? level("warning", "failing") : p.mode ? level("good", "ok") : "–";
}

function hosts(p) {
  return p.mx.length > 3 ? `${p.mx.slice(0, 3).join(", ")} and ${p.mx.length - 3} more` : p.mx.join(", ");
}

function mode(p) {
  const shape = { enforce: "◆", testing: "◇", none: "○" }[p.mode] || "–";
  const marks = [p.pin ? "pinned" : null, p.exemption && p.exemption.active ? "exempt" : null].filter(Boolean);
  return el("span", {}, el("span", { class: "shape", "aria-hidden": "true" }, shape), ` ${p.mode || "none stored"}`,
    marks.map((mark) => el("span", { class: "tag" }, mark)));
}

async function one(place, domain) {
  const [p, history] = await Promise.all([get(path("policies", domain)), get(path("policies", domain, "history"))]);
  const again = () => window.dispatchEvent(new Event("hashchange"));
  const exempt = p.exemption && p.exemption.active;
  replace(place,
    el("p", {}, el("a", { href: "#/policies" }, "← Policies")),
    el("h1", {}, "Policy of ", foreign(p.domain)),
    mayAct() && el("div", { class: "row actions" },
      button("Refetch now", async () => { try {
          await post(`${path("policies", domain)}/refresh`);
          notice("Fetched.");
        } finally {
          // A failure is in the facts and the history.
          again();
        }
      }),
      exempt ? button("End the exemption", () => endExemption(domain).then((done) => done && again()))
        : button("Exempt…", () => exemptFor(domain).then((done) => done && again()), "danger"),
      el("a", { class: "button", href: `#/check?domain=${encodeURIComponent(domain)}`, onclick: () => begin(domain) }, "Check live")),
    exempt && el("p", { class: "trouble" }, level("error", "Exempt: mail to this domain is not protected by its policy"), " until ", moment(p.exemption.until), `, by ${p.exemption.by}: `, foreign(p.exemption.because)),
    facts([["Mode", mode(p)], ["Id", p.id && foreign(p.id)], ["Fetched", p.fetched && [moment(p.fetched), " (", ago(p.fetched), ")"]],
      ["Expires", p.expires && [moment(p.expires), " (", ago(p.expires), ")"]], ["max_age", p.max_age && span(p.max_age)],
      ["Next refresh", p.next_refresh && ago(p.next_refresh)], ["State", p.mode && standing(p)], ["Last refresh", p.refresh_failure && level("warning", p.refresh_failure)],
      ["Pinned", p.pin && [foreign(p.pin.mx.join(", ")), ` by ${p.pin.by}: `, foreign(p.pin.because)]]]),
    el("h2", {}, "Text"), p.text ? foreign(p.text, "pre") : el("p", { class: "quiet" }, "None is stored."),
    el("h2", {}, "History"),
    history.items.length ? el("ol", { class: "attempts" }, history.items.map(event)) : el("p", { class: "quiet" }, "Nothing has happened to it since the relay started."));
}

function event(e) {
  const { ts, event: name, level: weight, domain, ...rest } = e;
  return el("li", {}, el("div", { class: "head" }, moment(ts), level(weight, name)),
    foreign(Object.entries(rest).filter(([, v]) => v !== null && v !== "").map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`).join("  ")));
}

function button(title, action, kind) {
  return el("button", { type: "button", class: kind, "data-action": title, onclick: () => action().catch((error) => notice(error.message)) }, title);
}

async function exemptFor(domain) {
  const days = el("select", { id: "x-days" }, [["1", "1 day"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"]].map(([value, text]) => el("option", { value }, text)));
  const because = el("input", { id: "x-because", required: true, maxlength: "500", autocomplete: "off" });
  const sure = await confirm({
    title: `Exempt ${domain} from its policy?`,
    body: [el("p", {}, "Its mail then goes out even where the policy forbids it: to hosts that the policy does not list, and without a valid certificate. It ends by itself."),
      el("label", { for: "x-days" }, "For"), days, el("label", { for: "x-because" }, "Why (kept in the log)"), because],
    action: "Let mail go out unprotected", danger: true,
  });
  if (!sure) return false;
  const until = new Date(Date.now() + Number(days.value) * 86400000 - 60000).toISOString().replace(/\.\d+Z$/, "Z");
  await post(`${path("policies", domain)}/exempt`, { until, dangerous: true, because: because.value });
  notice("Exempt. The log has it.");
  return true;
}

async function endExemption(domain) {
  const because = el("input", { id: "x-because", required: true, maxlength: "500", autocomplete: "off" });
  const sure = await confirm({ title: `End the exemption of ${domain}?`, body: [el("p", {}, "Its policy counts again from the next attempt on."), el("label", { for: "x-because" }, "Why (kept in the log)"), because], action: "End it" });
  if (!sure) return false;
  await post(`${path("policies", domain)}/exempt`, { until: null, because: because.value });
  notice("The exemption has ended.");
  return true;
}
