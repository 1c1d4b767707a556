"use strict";
// The rows lie in the page as gzipped JSON: an index with what can be filtered by, and chunks that are read when shown.
const PAGE = 50;
const chunks = new Map();
const by = (id) => document.getElementById(id);

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(by(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

async function row(n) {
  const chunk = Math.floor(n / index.chunk);
  if (!chunks.has(chunk)) {
    if (chunks.size > 40) chunks.delete(chunks.keys().next().value);
    chunks.set(chunk, await unpacked("rows-" + chunk));
  }
  return chunks.get(chunk)[n % index.chunk];
}

function made(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (name) element.className = name;
  return element;
}

let index, waiting, found = [], page = 0, turn = 0;

function option(select, value, text) {
  const one = made("option", text);
  one.value = value;
  select.append(one);
}

function build() {
  for (const [name, values] of Object.entries(index.names)) {
    const label = made("label", name + " ");
    const select = made("select");
    select.id = "filter-" + name;
    option(select, "", "all");
    values.forEach((value, n) => option(select, n, (value || "none") + " (" + index.counts[name][n].toLocaleString("en") + ")"));
    select.addEventListener("change", search);
    label.append(select);
    by("filters").append(label);
  }
}

function fits(n, wanted, low, high) {
  for (const [name, value] of wanted) if (index.columns[name][n] !== value) return false;
  const score = index.columns.score[n];
  if (low !== null && (score === null || score < low)) return false;
  return high === null || (score !== null && score <= high);
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(search, 250);
}

async function search() {
  clearTimeout(waiting);
  const mine = ++turn;
  const wanted = Object.keys(index.names)
    .map((name) => [name, by("filter-" + name).value])
    .filter(([, value]) => value !== "")
    .map(([name, value]) => [name, Number(value)]);
  const number = (id) => (by(id).value === "" ? null : Number(by(id).value));
  const low = number("low"), high = number("high"), words = by("words").value.toLowerCase();
  let rows = [];
  for (let n = 0; n < index.rows; n++) if (fits(n, wanted, low, high)) rows.push(n);
  if (words) {
    const hits = [];
    for (const n of rows) {
      const one = await row(n);
      if (mine !== turn) return;
      if ((one.id + "\n" + one.sample + "\n" + one.prompt + "\n" + one.text).toLowerCase().includes(words)) hits.push(n);
      if (n % index.chunk === 0) by("count").textContent = hits.length + " found, looking ...";
    }
    rows = hits;
  }
  const score = index.columns.score, order = by("order").value;
  if (order === "highest") rows.sort((a, b) => (score[b] ?? -1) - (score[a] ?? -1) || a - b);
  if (order === "lowest") rows.sort((a, b) => (score[a] ?? 101) - (score[b] ?? 101) || a - b);
  found = rows;
  page = 0;
  await show();
}

function list(title, items) {
  const part = made("section");
  part.append(made("h3", title));
  const lines = made("ul");
  items.forEach((item) => lines.append(made("li", item)));
  part.append(lines);
  return part;
}

function bars(scores) {
  const part = made("section");
  part.append(made("h3", "Scores"));
  for (const one of scores) {
    const line = made("p", undefined, "score");
    line.append(made("span", one.dimension.replaceAll("_", " ")));
    if (one.score !== null) {
      const meter = made("meter");
      meter.max = 100;
      meter.value = one.score;
      line.append(meter, made("b", one.score.toFixed(0)));
    }
    const capped = one.capped_from === null ? "" : " (the judge gave " + one.capped_from + ")";
    line.append(made("span", one.reason + capped, "faint"));
    part.append(line);
  }
  return part;
}

function shown(one) {
  const box = made("details");
  const head = made("summary");
  head.append(made("span", one.outcome, "badge " + one.outcome));
  if (one.score !== null) head.append(made("b", " " + one.score.toFixed(1) + " "));
  head.append(made("span", " " + one.prompt.slice(0, 140)));
  box.append(head);
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(...body(one)); });
  return box;
}

function body(one) {
  const parts = [made("h3", "Prompt"), made("pre", one.prompt)];
  if (one.text) parts.push(made("h3", one.kind), made("pre", one.text));
  if (one.scores.length) parts.push(bars(one.scores));
  if (one.checks.length) {
    const mark = (check) => (check.passed === null ? "does not apply" : check.passed ? "passed" : "failed");
    parts.push(list("Checks", one.checks.map((check) => check.kind + ", " + mark(check) + ": " + check.evidence)));
  }
  if (one.reasons.length) parts.push(list("Why", one.reasons));
  if (one.feedback) parts.push(made("h3", "Feedback"), made("pre", one.feedback));
  parts.push(list("Where it comes from", one.from));
  if (one.calls.length) parts.push(list("Calls", one.calls));
  return parts;
}

async function show() {
  const mine = turn, pages = Math.max(1, Math.ceil(found.length / PAGE));
  by("count").textContent = found.length.toLocaleString("en") + " of " + index.rows.toLocaleString("en") + " rows";
  by("page").textContent = "page " + (page + 1) + " of " + pages.toLocaleString("en");
  by("back").disabled = page === 0;
  by("next").disabled = page + 1 >= pages;
  const boxes = [];
  for (const n of found.slice(page * PAGE, (page + 1) * PAGE)) boxes.push(shown(await row(n)));
  if (mine === turn) by("rows").replaceChildren(...boxes);
}

async function begin() {
  index = await unpacked("index");
  build();
  by("order").addEventListener("change", search);
  // While somebody types, not at each letter; and not when the field is left, which would close the row just opened.
  for (const id of ["words", "low", "high"]) by(id).addEventListener("input", soon);
  by("next").addEventListener("click", () => { page++; show(); scrollTo(0, 0); });
  by("back").addEventListener("click", () => { page--; show(); scrollTo(0, 0); });
  await search();
}

begin();
