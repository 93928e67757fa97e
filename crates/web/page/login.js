// The one thing that is shown to everybody.
import { el, replace } from "./dom.js";

export function show(place, text, done) {
  const said = el("p", { role: "alert", class: "quiet", id: "login-said" }, text);
  const field = el("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const button = el("button", { type: "submit", class: "primary" }, "Log in");
  const form = el("form", {
    class: "login",
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await done(field.value);
      } catch (error) {
        said.textContent = error.message;
        said.className = "level error";
        button.disabled = false;
        field.select();
      }
    },
  },
  el("h1", {}, "Sealpost"),
  // Password managers want to know whose token it is.
  el("input", { name: "username", autocomplete: "username", value: location.host, hidden: true, readonly: true }),
  el("label", { for: "token" }, "Token"), field, button, said,
  el("p", { class: "quiet" }, "Tokens stand in the file that admin.token-file names. The login link of a trial relay is printed when it starts."));
  replace(place, form);
  field.focus();
}
