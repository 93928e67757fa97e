// Which view is shown, and who is logged in.
import { el, notice, replace } from "./dom.js";
import { Refusal, logIn, logOut, mayAct, session, whoAmI } from "./api.js";
import * as login from "./login.js";
import * as overview from "./overview.js";
import * as queue from "./queue.js";
import * as message from "./message.js";
import * as deferrals from "./deferrals.js";
import * as policies from "./policies.js";
import * as check from "./check.js";
import * as events from "./events.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
let leave = null;
let shown = 0;

const VIEWS = { "": overview, queue, deferrals, policies, check, events };

function route() {
  const [place, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = place.split("/").map(decodeURIComponent);
  const view = name === "queue" && rest[0] ? message : VIEWS[name];
  return { view, name, rest, query: Object.fromEntries(new URLSearchParams(query || "")) };
}

async function show() {
  if (location.hash.startsWith("#login=")) return start();
  if (leave) leave();
  leave = null;
  const turn = ++shown;
  const { view, name, rest, query } = route();
  for (const link of document.querySelectorAll("#nav a")) {
    const current = link.getAttribute("href") === `#/${name}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!view) {
    replace(main, el("h1", {}, "There is no such view"), el("p", {}, el("a", { href: "#/" }, "Overview")));
    return;
  }
  const place = el("div", {});
  replace(main, place);
  try {
    const ending = await view.show(place, { rest, query });
    if (turn !== shown) { if (ending) ending(); return; }
    leave = ending || null;
    document.title = `${place.querySelector("h1")?.textContent || "Sealpost"} – Sealpost`;
  } catch (error) {
    if (turn === shown) failed(place, error);
  }
}

function failed(place, error) {
  if (error instanceof Refusal && error.status === 401) return;
  replace(place, el("h1", {}, "This could not be shown"), el("p", { role: "alert", class: "level error" }, error.message),
    el("p", {}, el("button", { type: "button", onclick: show }, "Try again")));
}

function enter() {
  bar.hidden = false;
  document.getElementById("host").textContent = location.host;
  document.getElementById("who").textContent = `${session.name} · ${mayAct() ? "administrator" : "read only"}`;
  document.body.classList.toggle("reader", !mayAct());
}

function ask(text) {
  if (leave) leave();
  leave = null;
  shown += 1;
  bar.hidden = true;
  login.show(main, text, async (token) => {
    await logIn({ token });
    enter();
    await show();
    main.focus();
  });
}

async function start() {
  const link = /^#login=([0-9a-f]+)$/.exec(location.hash);
  if (link) {
    history.replaceState(null, "", "#/");
    try {
      await logIn({ link: link[1] });
    } catch (error) {
      return ask(error.message);
    }
  } else {
    try {
      await whoAmI();
    } catch (error) {
      return ask(error.status === 401 ? "" : error.message);
    }
  }
  enter();
  await show();
}

window.addEventListener("hashchange", show);
window.addEventListener("logged-out", () => ask("The session has ended."));
document.getElementById("logout").addEventListener("click", async () => {
  try {
    await logOut();
  } catch (error) {
    notice(error.message);
  }
  ask("You have logged out.");
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
