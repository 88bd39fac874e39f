"use strict";
// Two graphs as aligned lines. All text enters as textContent.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const SIGNS = { removed: ["−", ""], added: ["", "+"], changed: ["~", "~"], equal: ["", ""] };

function html(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function cell(side, id, sign) {
  const box = html("div", `cell ${["left", "right"][side]}`);
  if (id === null) {
    box.classList.add("nothing");
    return box;
  }
  const [place, title, rest] = data.lines[side][id];
  const words = html("div", "words");
  words.append(html("span", "place", place), html("span", "title", title),
    html("span", "rest", rest));
  box.append(html("span", "sign", sign), words);
  return box;
}

function line([kind, left, right, what]) {
  const row = html("div", `row ${kind}`);
  row.append(...[left, right].map((id, side) => cell(side, id, SIGNS[kind][side])));
  const told = what.filter((words) => !words.startsWith("only in"));
  if (told.length) row.append(html("div", "what", told.join("\n")));
  return row;
}

// Equal lines far from a change are made when they are asked for.
function fold(rows) {
  const button = html("button", "fold", `… ${rows.length.toLocaleString("en")} equal`);
  button.addEventListener("click", () => {
    const shown = rows.map(line);
    button.replaceWith(...shown);
    for (const row of shown) row.tabIndex = -1;
    if (document.activeElement === document.body) shown[0].focus({ preventScroll: true });
  });
  return button;
}

const rows = byId("rows");
for (const [isFolded, stretch] of data.stretches) {
  rows.append(...(isFolded ? [fold(stretch)] : stretch.map(line)));
}
data.names.forEach((name, side) => {
  byId(["first", "second"][side]).textContent = name;
});

// A change is a stretch of rows that differ, without an equal one between them.
const changes = [...rows.querySelectorAll(".row:not(.equal)")].filter(
  (row) => !row.previousElementSibling?.matches(".row:not(.equal)"),
);
let now = -1;

function go(place) {
  if (!changes.length) return;
  changes[now]?.classList.remove("now");
  now = (place + changes.length) % changes.length;
  const row = changes[now];
  row.classList.add("now");
  row.scrollIntoView({ block: "center" });
  byId("count").textContent = `change ${now + 1} of ${changes.length}`;
}

function openAll() {
  for (const button of rows.querySelectorAll(".fold")) button.click();
  changes[now]?.scrollIntoView({ block: "center" });
  byId("open").hidden = true;
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const style = document.documentElement.style;
  const shown = style.colorScheme || (dark ? "dark" : "light");
  style.colorScheme = shown === "dark" ? "light" : "dark";
}

const actions = { next: () => go(now + 1), previous: () => go(now - 1), open: openAll,
  theme: switchTheme };
for (const [name, action] of Object.entries(actions)) byId(name).addEventListener("click", action);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") actions.next();
  else if (event.key === "p") actions.previous();
});

byId("open").hidden = !rows.querySelector(".fold");
if (changes.length) go(0);
else {
  byId("count").textContent = "no difference";
  for (const name of ["next", "previous"]) byId(name).disabled = true;
}
