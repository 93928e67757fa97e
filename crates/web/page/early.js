// Stands in the page itself: asks for what the first view needs before anything else has been read.
// Here each address has to be written as the view will write it (api.js looks the answer up by it).
{
  const [place, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = place.split("/");
  const given = (fields, more) => {
    const all = new URLSearchParams(query || "");
    return new URLSearchParams([...fields.filter((field) => all.get(field)).map((field) => [field, all.get(field)]), ...more]);
  };
  const VIEWS = {
    "": [["overview", "chart"], () => ["/v1/status", "/v1/history"]],
    queue: id
      ? [["message", "queue"], () => [`/v1/queue/${id}`]]
      : [["queue"], () => ["/v1/reasons", `/v1/queue?${given(["domain", "sender", "recipient", "reason", "side", "state", "older", "attempts-over"], [["limit", 50]])}`]],
    deferrals: [["deferrals"], () => ["/v1/queue/summary?limit=2000", "/v1/reasons"]],
    policies: id
      ? [["policies", "check", "message", "queue"], () => [`/v1/policies/${id}`, `/v1/policies/${id}/history`]]
      : [["policies", "check", "message", "queue"], () => [`/v1/policies?${given(["contains", "mode"], [["limit", 100]])}`]],
    reports: [["reports"], () => (id ? [] : ["/v1/status"])],
    check: [["check"], () => []],
    events: [["events"], () => []],
  };
  const early = new Map();
  window.early = early;
  const known = Object.hasOwn(VIEWS, name) && VIEWS[name];
  if (known) {
    const [files, asked] = known;
    for (const target of ["/v1/session", ...asked()]) {
      const answer = fetch(target, { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-store" });
      answer.catch(() => {});
      early.set(target, answer);
    }
    for (const file of files) {
      const link = document.createElement("link");
      link.rel = "modulepreload";
      link.href = `/assets/VERSION/${file}.js`;
      document.head.append(link);
    }
  }
}
