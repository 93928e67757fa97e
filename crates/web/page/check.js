// The audit of a domain, live, as `sealpost check` does it.
import { el, facts, foreign, replace } from "./dom.js";
import { get, known, mayAct, path, stream } from "./api.js";
import { explained } from "./message.js";
import { level, moment } from "./text.js";

const GROUPS = { record: "Record", policy: "Policy", mx: "MX", reporting: "Reporting", dnssec: "DNSSEC" };

// The domain that a button of this page has just asked to be checked.
let wanted = null;

export function begin(domain) {
  wanted = domain;
}

// A check begins here by a click only: any site may open this address in the operator's browser.
export async function show(place, { query }) {
  await known();
  const asked = query.domain && wanted === query.domain;
  wanted = null;
  const field = el("input", { id: "c-domain", name: "domain", value: query.domain || "", required: true, autocomplete: "off", spellcheck: "false", placeholder: "example.org" });
  const result = el("div", {});
  const stop = new AbortController();
  const button = el("button", { type: "submit", class: "primary" }, mayAct() ? "Check" : "Explain");
  const run = async () => {
    button.disabled = true;
    try {
      await (mayAct() ? check : explain)(result, field.value.trim(), stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) replace(result, el("p", { role: "alert" }, level("error", error.message)));
    }
    button.disabled = false;
  };
  replace(place, el("h1", {}, "Check a domain"),
    el("p", { class: "quiet" }, mayAct() ? "Looks at what a recipient domain publishes, as a first delivery would: records, policy, every mail host and its certificate. No mail is sent."
      : "A live check connects to the domain's hosts and needs the role admin; here is what the relay knows."),
    el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); run(); } },
      el("div", { class: "field" }, el("label", { for: "c-domain" }, "Domain"), field), el("div", { class: "row" }, button)), result);
  if (asked) run(); else field.focus();
  return () => stop.abort();
}

async function explain(result, domain) {
  replace(result, el("div", { class: "prose" }, explained(await get(path("explain", domain)))));
}

async function check(result, domain, signal) {
  const steps = el("ul", { class: "steps", "aria-live": "polite" }, el("li", {}, "… asking DNS, the policy host and the mail hosts"));
  replace(result, steps);
  let done = false;
  await stream("POST", path("check", domain), {}, ({ event, data }) => {
    const said = JSON.parse(data);
    if (event === "progress") steps.append(el("li", {}, level("good", said.text)));
    if (event === "report") { done = true; report(result, said, domain); }
  }, signal);
  if (!done) throw new Error("the check ended without a report");
}

function report(place, r, domain) {
  const known = el("div", { class: "prose known" }, el("p", { class: "quiet" }, "Looking up what the relay knows of the domain…"));
  relay(known, domain);
  const about = (group) => r.findings.filter((f) => f.group === group);
  replace(place,
    el("p", { class: `verdict ${r.ok ? "good" : "bad"}` }, level(r.ok ? "good" : r.verdict.tls ? "warning" : "error", `Mail would be ${r.verdict.result}`),
      r.verdict.host ? [" to ", foreign(r.verdict.host), ", "] : ": ", foreign(r.verdict.detail)),
    r.findings.filter((f) => f.key === "mx-routed").map((f) => el("p", {}, level("warning", f.text))),
    el("p", { class: "quiet" }, "By what is published and configured, at ", moment(r.checked_at), ". What operators have ordered of this relay (pins, exemptions, pauses) and what waits here is not in that verdict:"),
    el("details", { open: true }, el("summary", {}, "What this relay knows of the domain"), known),
    Object.entries(GROUPS).map(([group, title]) => about(group).length ? [el("h2", {}, title), findings(about(group)), group === "policy" && r.policy ? foreign(r.policy.text, "pre") : null] : null),
    r.mx.map((host) => [el("h2", {}, `MX ${host.preference} `, foreign(host.name)),
      el("p", {}, level(host.verdict.tls ? "good" : "error", host.verdict.tls ? "mail would be sent here" : "mail would not be sent here"), ": ", foreign(host.verdict.detail)),
      findings(host.findings),
      host.addresses.map((a) => facts([["Address", a.address], ["TLS", a.tls || "none"],
        ["Certificate", a.certificate_valid === null ? null : a.certificate_valid ? level("good", "valid") : level("error", "not valid")],
        ["Names", foreign(a.certificate_names.join(", "))], ["Until", a.certificate_not_after && moment(a.certificate_not_after)], ["Error", a.error && foreign(a.error)]]))]));
}

async function relay(place, domain) {
  try {
    replace(place, explained(await get(path("explain", domain))));
  } catch (error) {
    replace(place, el("p", { class: "quiet" }, error.message));
  }
}

function findings(list) {
  return el("ul", { class: "findings" }, list.map((f) => el("li", {}, level(f.severity), " ", foreign(f.text), f.remedy ? el("div", { class: "remedy" }, "→ ", foreign(f.remedy)) : null)));
}
