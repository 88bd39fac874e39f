"use strict";
// The play of a circuit: each moment says what is known by now, and what computes.

const { moments, readable, plays } = JSON.parse(document.getElementById("data").textContent);
const circuit = document.getElementById("circuit");
const parts = [...circuit.querySelectorAll("[data-key]")];
const said = [...document.querySelectorAll(".said")];
const slider = document.getElementById("slider");
const [left, top_, wide, high] = circuit.getAttribute("viewBox").split(" ").map(Number);
const PACE = 1800; // milliseconds for a gate
let now = 0;
let timer = null;

function show(i) {
  now = Math.max(0, Math.min(moments.length - 1, i));
  const { known, now: active, backward } = moments[now];
  const seen = new Set(known), computes = new Set(active);
  for (const part of parts) {
    const key = part.dataset.key;
    part.classList.toggle("unknown", !seen.has(key));
    part.classList.toggle("now", computes.has(key));
    part.classList.toggle("back", computes.has(key) && backward);
  }
  said.forEach((part, k) => part.classList.toggle("shown", k === now));
  slider.value = now;
  document.getElementById("place").textContent = `${now + 1} of ${moments.length}`;
  look();
}

// The whole circuit if that is legible; else as much of it around the gate as is.
function look() {
  const { width, height } = circuit.getBoundingClientRect();
  if (!width || !height) return;
  let [x, y, w, h] = [left, top_, wide, high];
  if (Math.min(width / wide, height / high) < readable) {
    [w, h] = [width / readable, height / readable];
    const [fx, fy] = moments[now].focus;
    x = wide < w ? left + (wide - w) / 2 : Math.max(left, Math.min(left + wide - w, fx - w / 2));
    y = high < h ? top_ + (high - h) / 2 : Math.max(top_, Math.min(top_ + high - h, fy - h / 2));
  }
  circuit.setAttribute("viewBox", [x, y, w, h].join(" "));
}

function pause() {
  clearInterval(timer);
  timer = null;
  document.getElementById("play").textContent = "▶";
}

function play(again) {
  if (now === moments.length - 1) show(0);
  timer = setInterval(() => {
    if (now < moments.length - 1) show(now + 1);
    else if (again) show(0);
    else pause();
  }, PACE);
  document.getElementById("play").textContent = "❚❚";
}

const go = (i) => { pause(); show(i); };
const deeds = {
  first: () => go(0),
  back: () => go(now - 1),
  play: () => (timer ? pause() : play(false)),
  next: () => go(now + 1),
  last: () => go(moments.length - 1),
};
const keys = {
  Home: "first", ArrowLeft: "back", " ": "play", ArrowRight: "next", End: "last",
  PageUp: "back", PageDown: "next", // of a presenter
};

for (const [name, deed] of Object.entries(deeds)) {
  document.getElementById(name).addEventListener("click", deed);
}
slider.max = moments.length - 1;
slider.addEventListener("input", () => go(Number(slider.value)));
document.addEventListener("keydown", (event) => {
  const name = keys[event.key];
  if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  deeds[name]();
});
addEventListener("resize", look);
addEventListener("beforeprint", () => {
  circuit.setAttribute("viewBox", [left, top_, wide, high].join(" "));
});
addEventListener("afterprint", look);

show(0);
if (plays && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
