"use strict";

// Light and dark: the system's choice until the switch is used.
const root = document.documentElement, theme = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const remembered = (value) => {
  try {
    if (value) localStorage.setItem("gainrl-theme", value);
    return localStorage.getItem("gainrl-theme");
  } catch { return null; } // a page from a file may have no storage
};
const isDark = () => (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${theme.textContent.toLowerCase()} colours`); };
if (remembered()) root.dataset.theme = remembered();
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remembered(root.dataset.theme); nameTheme(); });
systemDark.addEventListener("change", nameTheme);
nameTheme();

// Sorting: by the first number of a cell, else by its text; missing cells come last.
const number = (text) => { const found = text.replaceAll(",", "").match(/^[<>~]?([+-]?\d+(\.\d+)?)/); return found ? Number(found[1]) : null; };
function compareCells(a, b, sign) {
  const [x, y] = [number(a), number(b)];
  if (a === "\u2013" || b === "\u2013") return (a === "\u2013") - (b === "\u2013");
  return sign * (x !== null && y !== null ? x - y : a.localeCompare(b));
}
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column], body = table.tBodies[0];
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  body.querySelectorAll(".run-details").forEach((row) => row.remove());
  body.querySelectorAll("[aria-expanded]").forEach((button) => button.setAttribute("aria-expanded", "false"));
  const text = (row) => row.cells[column].textContent.trim();
  [...body.rows].sort((a, b) => compareCells(text(a), text(b), rising ? 1 : -1)).forEach((row) => body.append(row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button"; button.textContent = head.textContent; button.title = "Sort";
    button.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(button);
  });
}

// Figures enlarge; Escape closes them.
const enlarged = document.getElementById("enlarged");
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    enlarged.querySelector("img").src = image.src;
    enlarged.querySelector("img").alt = image.alt;
    enlarged.querySelector("p").textContent = image.alt;
    enlarged.showModal();
  });
}
enlarged.querySelector(".close").addEventListener("click", () => enlarged.close());
enlarged.addEventListener("click", (event) => { if (event.target === enlarged) enlarged.close(); });

// Runs: a row each, whose details are made when it is opened.
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
function drawing(caption, curves) {
  const [width, height, left, bottom] = [300, 150, 38, 20], ns = "http://www.w3.org/2000/svg";
  const points = Object.values(curves).flat();
  const top = Math.max(...points.map((p) => p[1])), low = Math.min(0, ...points.map((p) => p[1]));
  const last = Math.max(1, ...points.map((p) => p[0]));
  const x = (step) => left + (width - left - 8) * step / last, y = (value) => height - bottom - (height - bottom - 10) * (value - low) / (top - low || 1);
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`); svg.setAttribute("role", "img"); svg.setAttribute("aria-label", caption);
  const add = (name, attributes, text) => { const made = document.createElementNS(ns, name); for (const key in attributes) made.setAttribute(key, attributes[key]); if (text !== undefined) made.textContent = text; svg.append(made); };
  const short = (value) => Math.abs(value) >= 10 || Number.isInteger(value) ? Math.round(value) : value.toPrecision(2);
  for (const value of [low, (low + top) / 2, top]) {
    add("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value) });
    add("text", { x: left - 4, y: y(value) + 4, "text-anchor": "end" }, short(value));
  }
  for (const step of [0, last / 2, last]) add("text", { x: x(step), y: height - 5, "text-anchor": step === last ? "end" : "middle" }, Math.round(step));
  Object.values(curves).forEach((curve, place) => add("path", { class: `s${place % 3}`, d: curve.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("") }));
  const figure = element("figure");
  figure.append(svg, element("figcaption", caption));
  return figure;
}
const CAPTIONS = { accuracy: "accuracy of the training rollouts, % against step", mu: "mu (rank) against step", target: "target difficulty against step" };
const STROKES = ["solid", "dashed", "dotted"];
function details(run, data, columns) {
  const row = element("tr", undefined, { class: "run-details" }), cell = element("td", undefined, { colspan: columns });
  const curves = element("div", undefined, { class: "curves" }), names = Object.keys(run.evaluations);
  for (let first = 0; first < names.length; first += 3) {
    const some = names.slice(first, first + 3);
    const told = names.length > 1 ? some.map((name, place) => `${name} ${STROKES[place]}`).join(", ") : some[0];
    curves.append(drawing(`held-out accuracy, % against step: ${told}`, Object.fromEntries(some.map((name) => [name, run.evaluations[name]]))));
  }
  for (const name in run.training) curves.append(drawing(CAPTIONS[name], { [name]: run.training[name] }));
  cell.append(curves);
  for (const [title, value] of [["config.json", { ...data.configs[run.config], seed: run.seed }], ["environment.json", data.environments[run.environment]]]) {
    const more = element("details");
    more.append(element("summary", title), element("pre", JSON.stringify(value, null, 1), { tabindex: "0" }));
    cell.append(more);
  }
  row.append(cell);
  return row;
}
function toggle(button, row, make) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) row.nextElementSibling.remove(); else row.after(make());
}
function runRow(run, data, columns) {
  const row = element("tr"), head = element("th", undefined, { scope: "row" }), button = element("button", run.cell, { type: "button", "aria-expanded": "false" });
  const environment = data.environments[run.environment], curves = Object.values(run.evaluations);
  const mean = curves.reduce((sum, curve) => sum + curve.at(-1)[1], 0) / curves.length;
  const commit = (environment.git_commit || "\u2013").slice(0, 10) + (environment.git_dirty ? " (changed)" : "");
  button.addEventListener("click", () => toggle(button, row, () => details(run, data, columns)));
  head.append(button);
  row.append(head, ...[run.seed, mean.toFixed(1), curves[0].at(-1)[0], commit, run.hash].map((text) => element("td", String(text))));
  return row;
}
for (const table of document.querySelectorAll("table.runs")) {
  const data = JSON.parse(document.getElementById(table.dataset.runs).textContent), columns = table.tHead.rows[0].cells.length;
  table.tBodies[0].append(...data.runs.map((run) => runRow(run, data, columns)));
  table.closest("section").querySelector(".filter input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    for (const row of table.tBodies[0].querySelectorAll("tr:not(.run-details)")) {
      const text = `${row.cells[0].textContent} seed ${row.cells[1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (row.nextElementSibling?.className === "run-details") row.nextElementSibling.hidden = row.hidden;
    }
  });
}

// A method of a leaderboard opens its curves and draws, each over its baseline's.
function methodDetails(cell, data, columns) {
  const row = element("tr", undefined, { class: "run-details" }), place = element("td", undefined, { colspan: columns });
  const charts = element("div", undefined, { class: "curves" }), baseline = data.baselines[cell];
  for (const [caption, curve] of Object.entries(data.curves[cell])) {
    const other = baseline === cell ? undefined : data.curves[baseline]?.[caption];
    const told = other ? `${caption}: ${data.labels[cell]} solid, ${data.labels[baseline]} dashed` : caption;
    charts.append(drawing(told, other ? { own: curve, baseline: other } : { own: curve }));
  }
  place.append(charts);
  row.append(place);
  return row;
}
for (const table of document.querySelectorAll("table[data-methods]")) {
  const data = JSON.parse(document.getElementById(table.dataset.methods).textContent), columns = table.tHead.rows[0].cells.length;
  for (const row of table.tBodies[0].rows) {
    if (!data.curves[row.dataset.cell]) continue;
    const head = row.cells[0], button = element("button", head.textContent, { type: "button", "aria-expanded": "false" });
    button.addEventListener("click", () => toggle(button, row, () => methodDetails(row.dataset.cell, data, columns)));
    head.replaceChildren(button);
  }
}

// Print shows what is closed.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.dataset.was = one.open; one.open = true; }));
addEventListener("afterprint", () => document.querySelectorAll("details").forEach((one) => { one.open = one.dataset.was === "true"; }));
