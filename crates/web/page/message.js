// One message: why it waits, every attempt, what can be done.
import { el, facts, foreign, notice, replace, table } from "./dom.js";
import { get, mayAct, path } from "./api.js";
import { ACTIONS, act, pausedNow, pausing } from "./queue.js";
import { ago, bytes, moment, move, number, standing, state } from "./text.js";

export async function show(place, { rest: [id] }) {
  const found = get(path("queue", id)).catch((error) => (error.status === 404 ? null : Promise.reject(error)));
  const [message, kept] = await Promise.all([found, pausedNow()]);
  if (!message) return gone(place, id);
  const why = el("section", { class: "prose" }, el("p", { class: "quiet" }, "Looking up what is known of the domain…"));
  replace(place,
    el("p", {}, el("a", { href: "#/queue" }, "← Queue")),
    el("h1", {}, "Message ", el("code", {}, message.id)),
    actions(message, kept),
    facts([
      ["State", standing(message)],
      ["Reason", message.reason ? [el("b", {}, message.reason), message.detail ? [": ", foreign(message.detail)] : null] : message.detail && foreign(message.detail)],
      ["Whose move", message.side && move(message.side, true)], ["Sender", message.sender ? foreign(message.sender) : "<> (null)"], ["Size", bytes(message.size)],
      ["Arrived", [moment(message.arrived), " (", ago(message.arrived), ")"]],
      ["Next attempt", message.next_attempt ? [moment(message.next_attempt), " (", ago(message.next_attempt), ")"] : "–"],
      ["Given up", message.expires ? [moment(message.expires), " (", ago(message.expires), ")"] : message.state === "held" ? "not while it is held" : "not while its destination is paused"],
      ["Client", message.client && foreign(message.client)], ["Message-ID", message.message_id && foreign(message.message_id)],
      ["Upstream id", message.upstream_id && foreign(message.upstream_id)],
    ]),
    el("h2", {}, "Why"), why,
    el("h2", {}, "Recipients"),
    table("Recipients", [{ title: "Address" }, { title: "State" }, { title: "Status" }, { title: "Reply" }],
      message.per_recipient.map((r) => [foreign(r.address), state(r.state), r.dsn || "–", r.reply ? foreign(shortened(r.reply)) : "–"])),
    el("h2", {}, `Attempts (${number(message.attempts)})`),
    message.history.length ? el("ol", { class: "attempts" }, [...message.history].reverse().map(attempt)) : el("p", { class: "quiet" }, "None yet."),
    message.history_left_out ? el("p", { class: "quiet" }, `And ${number(message.history_left_out)} more results in between, which are not kept.`) : null);
  explain(why, id);
}

// It has left the queue, or was never in it.
async function gone(place, id) {
  let told;
  try {
    told = explained(await get(path("explain", id), { live: false }));
  } catch (error) {
    if (error.status !== 404) throw error;
    told = foreign(error.message, "p");
  }
  replace(place, el("p", {}, el("a", { href: "#/queue" }, "← Queue")),
    el("h1", {}, "Message ", el("code", {}, id)), el("section", { class: "prose" }, told));
}

// Plain words under their headings, and the letter to the administrator who can help.
export function explained({ sections, paragraphs, letter }) {
  const parts = sections.length ? sections : [{ title: null, paragraphs }];
  return [parts.map((part) => [part.title && el("h3", {}, part.title), part.paragraphs.map((text) => foreign(text, "p"))]),
    letter && el("details", {}, el("summary", {}, "A letter to the recipient's administrator"), foreign(letter, "pre"))];
}

async function explain(place, id) {
  // What is known here comes at once, what others have to be asked for a little later, and takes nothing of it away.
  let known = null;
  try {
    known = await get(path("explain", id), { live: false });
    replace(place, explained(known), el("p", { class: "quiet" }, "Asking DNS and the policy host…"));
    replace(place, explained(await get(path("explain", id))));
  } catch (error) {
    replace(place, known && explained(known), el("p", { class: "quiet", role: "alert" }, error.message));
  }
}

function actions({ id, sender, recipients }, kept) {
  if (!mayAct()) return null;
  const domains = [...new Set(recipients.map((address) => address.slice(address.lastIndexOf("@") + 1)))];
  const again = () => window.dispatchEvent(new Event("hashchange"));
  return el("div", { class: "row actions", role: "group", "aria-label": "Actions on this message" }, Object.entries(ACTIONS).map(([name, action]) =>
    el("button", {
      type: "button", class: action.danger ? "danger" : null, "data-action": name,
      onclick: async () => {
        try {
          if (!(await act(name, { ids: [id] }, sender === ""))) return;
          if (action.danger) location.hash = "#/queue";
          else again();
        } catch (error) {
          notice(error.message);
        }
      },
    }, action.title)), domains.slice(0, 3).map((domain) => pausing(domain, kept, again)));
}

function attempt(a) {
  const times = a.times > 1 ? ` · ${number(a.times)} times` : "";
  return el("li", {},
    el("div", { class: "head" }, moment(a.at), el("span", {}, a.reason ? el("b", {}, a.reason) : state("delivered")), el("span", { class: "quiet" }, times)),
    facts([["Host", a.mx && [foreign(a.mx), a.ip ? ` (${a.ip})` : ""]],
      ["Hosts tried", a.tried && a.tried.length ? el("ul", { class: "tried" }, a.tried.map((host) => foreign(host, "li"))) : null], ["TLS", a.tls], ["Demands", a.policy], ["Status", a.dsn],
      ["What happened", a.detail && foreign(a.detail)], ["Reply", a.reply && foreign(a.reply, "pre")], ["Recipients", foreign(a.recipients.join(", "))]]),
    a.transcript && el("details", {}, el("summary", {}, "Dialogue with ", foreign(a.transcript.peer), " at ", moment(a.transcript.at)), foreign(a.transcript.text, "pre")));
}

function shortened(text) {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
