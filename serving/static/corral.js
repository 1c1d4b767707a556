// What makes the pages quick: forms are sent and answered in place, keys press what shows them, and what moves is
// fetched again. Without this script every form and link works as a page of its own.
"use strict";

const QUIET = 1500; // milliseconds between two looks at a run that moves
const TYPING = 350; // milliseconds of silence after which a text that is being edited is kept and checked
const SAYING = 4000; // milliseconds for which what was done is said
let busy = false;

const main = () => document.getElementById("main");
let saying = 0;

function say(text) {
  document.getElementById("said").textContent = text;
  clearTimeout(saying);
  if (text) saying = setTimeout(say, SAYING, "");
}

function complain(text, login) {
  const place = document.getElementById("wrong");
  place.textContent = text;
  if (login) {
    const link = document.createElement("a");
    Object.assign(link, { href: login, target: "_blank", rel: "noopener", textContent: " Log in in another tab, then press the key again." });
    place.append(link);
  }
}

// One request at a time; what was typed stays where it is until its answer is there.
async function go(url, options = {}, keep = true) {
  if (busy) return;
  busy = true;
  main().setAttribute("aria-busy", "true");
  complain("");
  try {
    const answer = await fetch(url, { ...options, headers: { accept: "application/json, text/html", ...options.headers } });
    if (!answer.ok) {
      const told = await answer.json().catch(() => ({ detail: `The server answers ${answer.status}.` }));
      return complain(typeof told.detail === "string" ? told.detail : "The server did not take this.", told.login);
    }
    const form = options.form;
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (form) forget(form);
    if (options.said) say(options.said);
    if (keep) history.pushState({}, "", options.method && !answer.redirected ? location.href : answer.url);
    return true;
  } catch {
    complain("The server cannot be reached. Nothing is lost: press the key again when it is back.");
  } finally {
    busy = false;
    main().removeAttribute("aria-busy");
  }
}

function show(page) {
  main().replaceWith(page.getElementById("main"));
  document.querySelector(".top").replaceWith(page.querySelector(".top"));
  document.title = page.title;
  begin();
  (main().querySelector("h1") || main()).focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

// What is typed for an item outlives a reload of the page.
let keeping = 0;
const key = (form) => "typed " + form.action.split("?")[0];

function remember(form) {
  const fields = [...new FormData(form)].filter(([name]) => name !== "csrf");
  try { sessionStorage.setItem(key(form), JSON.stringify(fields)); } catch { /* too large: it stays on the page alone */ }
}

function forget(action) {
  clearTimeout(keeping);
  sessionStorage.removeItem("typed " + action.split("?")[0]);
}

function recall(form) {
  const kept = JSON.parse(sessionStorage.getItem(key(form)) || "[]");
  for (const [name, value] of kept) {
    const field = form.elements[name];
    if (field instanceof RadioNodeList) field.value = value;
    else if (field && field.type !== "hidden" && field.value !== value) {
      field.value = value;
      field.closest("details")?.setAttribute("open", "");
    }
  }
}

// Keys press what shows them.
const writes = (target) => target.matches?.("textarea, select, input:not([type=radio], [type=checkbox], [type=hidden])");

function name(event) {
  if (event.ctrlKey && event.key === "Enter") return "Ctrl+Enter";
  if (event.ctrlKey || event.metaKey || event.altKey) return "";
  return event.key;
}

function press(event) {
  const pressed = name(event);
  const leaves = pressed === "Escape" || (pressed === "Enter" && event.target.matches("input[data-focus]"));
  if (leaves && writes(event.target)) { event.preventDefault(); event.target.blur(); main().querySelector("h1")?.focus({ preventScroll: true }); return; }
  if (!pressed || busy || event.repeat) return;
  if (writes(event.target) && pressed !== "Ctrl+Enter") return;
  if (/^[1-5]$/.test(pressed) && rate(pressed)) return event.preventDefault();
  const field = pressed.length === 1 && main().querySelector(`[data-focus="${CSS.escape(pressed)}"]`);
  if (field) { event.preventDefault(); field.focus(); return; }
  if (pressed === "Enter" && event.target.closest("a, button, summary")) return;
  const found = main().querySelector(`[data-key="${CSS.escape(pressed)}"]`);
  if (!found) return;
  event.preventDefault();
  found.click();
  if (found.matches(".edit > summary") && found.parentElement.open) found.parentElement.querySelector("textarea").focus();
}

function rate(stars) {
  const group = document.activeElement.closest?.(".stars") || main().querySelector(".stars");
  const button = group?.querySelector(`input[value="${stars}"]`);
  if (!button) return false;
  button.checked = !button.checked;
  remember(button.form);
  say(`${group.querySelector("legend").firstChild.textContent.trim()}: ${button.checked ? stars + " of 5" : "not rated"}`);
  return true;
}

// A text that is being edited is checked while it is written.
let typing = 0;

function check(field) {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const body = new URLSearchParams({ csrf: field.form.elements.csrf.value, text: field.value });
    const answer = await fetch(field.dataset.check, { method: "POST", body }).catch(() => null);
    if (answer?.ok) {
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("verdicts")?.replaceChildren(...found.body.childNodes);
    }
  }, TYPING);
}

// What moves is fetched again, unless nobody looks.
let looking = 0;

async function look() {
  clearTimeout(looking);
  const live = main().querySelector("[data-live]");
  if (!live) return;
  const began = performance.now();
  if (!document.hidden && !busy) {
    const answer = await fetch(live.dataset.live, { headers: { accept: "text/html, application/json" } }).catch(() => null);
    if (answer?.ok && live.isConnected) {
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = live.dataset.livePart ? found.getElementById(live.dataset.livePart) : null;
      live.replaceChildren(...(part ? [part] : found.body.childNodes));
      const standing = live.querySelector("[data-standing]")?.dataset.standing;
      const typed = [...main().querySelectorAll("input[name=comment]")].some((field) => field.value);
      if (live.dataset.standing && standing && standing !== live.dataset.standing && !typed) {
        say("The run stands elsewhere now.");
        return go(location.href, {}, false);
      }
    }
  }
  looking = setTimeout(look, Math.max(QUIET, 10 * (performance.now() - began)));
}

function begin() {
  main().querySelectorAll("form[data-keep]").forEach(recall);
  const field = main().querySelector(".edit[open] [data-check]");
  if (field) check(field);
  clearTimeout(looking);
  looking = setTimeout(look, QUIET);
}

document.addEventListener("keydown", press);
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form?.matches("[data-keep]")) {
    clearTimeout(keeping);
    keeping = setTimeout(remember, TYPING, form);
  }
  if (event.target.matches("[data-check]")) check(event.target);
});
document.addEventListener("toggle", (event) => {
  const field = event.target.matches?.(".edit[open]") && event.target.querySelector("[data-check]");
  if (field) check(field);
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if ("back" in link.dataset && history.state) return history.back();
  go(link.href);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-sent], [data-go]")) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  if (form.method === "get") return go(`${form.action}?${fields}`);
  const said = form.matches("[data-keep]") ? `${event.submitter?.firstChild.textContent.trim()}: kept.` : "";
  go(form.action, { method: "POST", body: fields, form: form.action, said });
});
window.addEventListener("popstate", () => go(location.href, {}, false));
begin();
