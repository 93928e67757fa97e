// Pausing a destination and letting it go on, as `sealpost queue pause` and `queue resume` do.
import { confirm, el, foreign, notice } from "./dom.js";
import { mayAct, path, post } from "./api.js";
import { ago, moment, plural } from "./text.js";

const ORDERS = {
  pause: {
    verb: "Pause", done: "Paused", already: "was paused already",
    says: "Its mail is accepted and waits: no attempt is made until somebody lets it go on. It is not given up meanwhile, unless queue.expire-held is set.",
  },
  resume: { verb: "Resume", done: "Resumed", already: "was not paused", says: "Its mail is tried again when it is due." },
};

// What operators keep back, `most` of it, and the way to let it go on.
export function list(paused, most, again) {
  const resume = (domain) => order("resume", domain).then((done) => done && again()).catch((error) => notice(error.message));
  return el("ul", { class: "trouble soft paused" },
    paused.slice(0, most).map((p) => el("li", {}, el("span", { class: "shape", "aria-hidden": "true" }, "‖"), " ",
      el("a", { href: `#/queue?${new URLSearchParams({ domain: p.domain })}` }, p.domain), " is paused since ", moment(p.since), " (", ago(p.since), ") by ", foreign(p.by), p.because ? [": ", foreign(p.because)] : null, " ",
      mayAct() && el("button", { type: "button", "data-action": "resume", "data-of": p.domain, onclick: () => resume(p.domain) }, "Resume…"))),
    paused.length > most && el("li", {}, el("a", { href: "#/deferrals" }, plural(paused.length - most, "more paused destination"))));
}

// Asks, then does it. True if it was done.
export async function order(name, domain) {
  const { verb, done, already, says } = ORDERS[name];
  const reason = el("input", { id: "act-reason", autocomplete: "off", maxlength: "500" });
  const sure = await confirm({
    title: `${verb} delivery to ${domain}?`,
    body: [el("p", {}, says), el("label", { for: "act-reason" }, "Why (kept in the log)"), reason],
    action: `${verb} ${domain}`,
  });
  if (!sure) return false;
  const answer = await post(path("destinations", domain, name), { reason: reason.value || null });
  const waiting = answer.messages === null ? "" : ` ${plural(answer.messages, "message")} for it in the queue.`;
  notice(answer.changed ? `${done}: ${domain}.${waiting}` : `${domain} ${already}.`);
  return true;
}
