// The API of this server, with the session's secret on everything that acts.

export const session = { name: null, role: null, csrf: null };

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.kind = problem.type || "";
  }
}

export function path(...segments) {
  return `/v1/${segments.map(encodeURIComponent).join("/")}`;
}

// What is asked for before it is known who asks waits for that.
export async function get(target, query = {}) {
  const [answer] = await Promise.all([call("GET", withQuery(target, query)), identified]);
  return answer;
}

export function post(target, body) {
  return call("POST", target, body === undefined ? undefined : JSON.stringify(body));
}

let identified = Promise.resolve();

export function logIn(body) {
  return identify(post("/v1/session", body));
}

export function whoAmI() {
  return identify(call("GET", "/v1/session"));
}

function identify(asked) {
  identified = asked.then((answer) => { Object.assign(session, answer); });
  return identified;
}

// Resolves when it is known who asks.
export function known() {
  return identified;
}

export async function logOut() {
  await call("DELETE", "/v1/session");
  Object.assign(session, { name: null, role: null, csrf: null });
}

export function mayAct() {
  return session.role === "admin";
}

// Reads a stream of events until it ends: each is {event, data}.
export async function stream(method, target, query, see, signal, opened = () => {}) {
  const response = await send(method, withQuery(target, query), undefined, signal);
  opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) event.event = line.slice(7);
        if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      if (event.data) see(event);
    }
  }
}

function withQuery(target, query) {
  const pairs = Object.entries(query || {}).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return pairs.length ? `${target}?${new URLSearchParams(pairs)}` : target;
}

async function call(method, target, body) {
  const response = await send(method, target, body);
  return response.status === 204 ? null : response.json();
}

async function send(method, target, body, signal) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" && session.csrf) headers["X-Sealpost-CSRF"] = session.csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await (asked(method, target) || fetch(target, { method, headers, body, signal, credentials: "same-origin", cache: "no-store" }));
  } catch (error) {
    if (signal && signal.aborted) throw error;
    throw new Refusal(0, { detail: "the relay does not answer" });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && session.name && target !== "/v1/session") window.dispatchEvent(new Event("logged-out"));
  throw new Refusal(response.status, problem);
}

// What the page itself asked for already (early.js): good for one use.
function asked(method, target) {
  const answer = method === "GET" ? window.early?.get(target) : null;
  window.early?.delete(target);
  return answer;
}

// What was asked early is of no use any more.
export function forgetEarly() {
  window.early?.clear();
}
