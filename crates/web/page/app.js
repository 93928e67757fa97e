// Which view is shown, and who is logged in.
import { el, notice, refocus, replace, signOf } from "./dom.js";
import { Refusal, forgetEarly, logIn, logOut, mayAct, session, whoAmI } from "./api.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
let leave = null;
let shown = 0;
// The address of the view that is shown.
let address = null;
// Whether it is known who looks, or that nobody does.
let started = false;

// A view is read when it is first shown, the others when there is time: the page stays whole if the
// server becomes a later version.
const VIEWS = {
  "": () => import("./overview.js"), queue: () => import("./queue.js"), deferrals: () => import("./deferrals.js"),
  policies: () => import("./policies.js"), reports: () => import("./reports.js"), check: () => import("./check.js"), events: () => import("./events.js"),
};
const message = () => import("./message.js");
const login = () => import("./login.js");
const pause = () => import("./pause.js");

function route() {
  const [place, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = place.split("/").map(decoded);
  const view = name === "queue" && rest[0] ? message : VIEWS[name];
  return { view, name, rest, query: Object.fromEntries(new URLSearchParams(query || "")) };
}

// What is no good encoding names nothing, and is shown as it is.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show() {
  if (location.hash.startsWith("#login=")) return start();
  if (leave) leave();
  leave = null;
  const turn = ++shown;
  const { view, name, rest, query } = route();
  // A view that is drawn again keeps the focus where it was.
  const sign = address === location.hash && main.contains(document.activeElement) ? signOf(document.activeElement) : null;
  address = location.hash;
  for (const link of document.querySelectorAll("#nav a")) {
    const current = link.getAttribute("href") === `#/${name}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!view) {
    replace(main, el("h1", {}, "There is no such view"), el("p", {}, el("a", { href: "#/" }, "Overview")));
    entitle(main);
    return;
  }
  const place = el("div", {});
  replace(main, place);
  try {
    const { show: draw } = await view();
    if (turn !== shown) return;
    const ending = await draw(place, { rest, query });
    if (turn !== shown) { if (ending) ending(); return; }
    leave = ending || null;
    entitle(place);
    if (sign && [main, document.body].includes(document.activeElement)) refocus(sign);
  } catch (error) {
    if (turn === shown) failed(place, error);
  }
}

function entitle(place) {
  document.title = `${place.querySelector("h1")?.textContent || "Sealpost"} – Sealpost`;
}

function failed(place, error) {
  if (error instanceof Refusal && error.status === 401) {
    // A session that ends says so itself; without one, as after the browser's way back, somebody has to ask.
    if (started && !session.name) ask("");
    return;
  }
  replace(place, el("h1", {}, "This could not be shown"), el("p", { role: "alert", class: "level error" }, error.message),
    el("p", {}, el("button", { type: "button", onclick: show }, "Try again")));
  entitle(place);
}

function enter() {
  bar.hidden = false;
  document.getElementById("host").textContent = location.host;
  document.getElementById("who").textContent = `${session.name} · ${mayAct() ? "administrator" : "read only"}`;
  document.body.classList.toggle("reader", !mayAct());
  // Whoever is in has the other views before the server can become a later version.
  setTimeout(() => [...Object.values(VIEWS), message, login, pause].forEach((other) => other().catch(() => {})), 1000);
}

async function ask(text) {
  if (leave) leave();
  leave = null;
  const turn = ++shown;
  bar.hidden = true;
  document.title = "Sealpost";
  const form = await login();
  if (turn !== shown) return;
  form.show(main, text, async (token) => {
    await logIn({ token });
    enter();
    await show();
    main.focus();
  });
}

async function start() {
  const link = /^#login=([0-9a-f]+)$/.exec(location.hash);
  // A link that was damaged is none: `show` comes back here as long as the address is one.
  if (location.hash.startsWith("#login=")) history.replaceState(null, "", "#/");
  const known = link ? logIn({ link: link[1] }) : whoAmI();
  // A view asks for its data meanwhile, which the cookie allows; it is drawn when it is known for whom.
  const drawn = link ? null : show();
  started = false;
  try {
    await known;
    started = true;
  } catch (error) {
    started = true;
    forgetEarly();
    return ask(error.status === 401 && !link ? "" : error.message);
  }
  enter();
  await (drawn || show());
  forgetEarly();
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
