// ----- the view: pan, zoom, fold ---------------------------------------------------------------

const camera = { x: 0, y: 0, scale: 1 };
function look() {
  world.setAttribute("transform", `translate(${camera.x} ${camera.y}) scale(${camera.scale})`);
  view.classList.toggle("far", camera.scale < 0.3);
  drawInSight();
  tell("looked");
}
function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.max(0.002, Math.min(6, camera.scale * factor));
  camera.x = x - (x - camera.x) * scale / camera.scale;
  camera.y = y - (y - camera.y) * scale / camera.scale;
  camera.scale = scale;
  look();
}
// The whole graph; or, where it would be smaller than `least`, its beginning.
function fit(least = 0) {
  const [width, height] = room();
  camera.scale = Math.max(least, Math.min(1.5, width / graph.w, height / graph.h)) || 1;
  const start = graph.boxes.values().next().value; // in the middle, where not all is seen
  const seen = graph.w * camera.scale <= width || !start ? graph.w / 2 : start.x + start.w / 2;
  camera.x = Math.min(16, Math.max(16 + width - graph.w * camera.scale,
    16 + width / 2 - seen * camera.scale));
  if (graph.w * camera.scale <= width) camera.x = 16 + (width - graph.w * camera.scale) / 2;
  camera.y = 16 + Math.max(0, (height - graph.h * camera.scale) / 2);
  look();
}
function bringIntoView(id) { // no further than is needed
  const box = graph.boxes.get(id);
  if (!box) return;
  const edge = 24, place = (at, move) => at * camera.scale + move;
  const right = place(box.x + box.w, camera.x) + edge, left = place(box.x, camera.x) - edge;
  const bottom = place(box.y + box.h, camera.y) + edge, top = place(box.y, camera.y) - edge;
  const sideways = Math.max(0, right - view.clientWidth);
  const down = Math.max(0, bottom - view.clientHeight);
  camera.x += Math.max(0, sideways - left) - sideways;
  camera.y += Math.max(0, down - top) - down;
  look();
}

// Fold or unfold; the module stays under the pointer.
function toggle(module) {
  const before = byId(`m${module}`)?.getBoundingClientRect();
  if (!folded.delete(module)) folded.add(module);
  redraw();
  stay(module, before);
}
function stay(module, before) {
  const element = byId(`m${module}`), after = element?.getBoundingClientRect();
  if (before && after) {
    camera.x += before.left - after.left;
    camera.y += before.top - after.top;
  } else if (!element) fit(LEGIBLE);
  look();
  (element?.querySelector(".heading") ?? element)?.focus({ preventScroll: true });
}
// Show one of equal blocks, or all of them.
function turnTo(group, block) {
  const before = byId(`m${group}`)?.getBoundingClientRect();
  const twin = chosen?.[0] === "n" ? Number(chosen.slice(1)) : null;
  shownBlock.set(group, block);
  redraw();
  if (twin !== null) choose(idOf(nodes[twin]));
  stay(group, before);
}
function foldAll(all) {
  folded.clear();
  shownBlock.clear();
  const inner = (module) => !isOutermost(module);
  if (all) for (const module of modules) if (inner(module)) folded.add(module.id);
  redraw();
  fit(LEGIBLE);
}
function reveal(node) { // unfold what hides it
  const hiding = around(node).filter((module) => folded.delete(module));
  for (const [group, k] of slotsOf[node.id])
    if (chosenBlock(group) !== ALL && chosenBlock(group) !== k) {
      shownBlock.set(group, k);
      hiding.push(group);
    }
  if (hiding.length) redraw();
}
// So far folded that it fits the view and can be read: the deepest cut that does, and what holds
// more than half of all ops is opened further.
function foldToFit() {
  const depths = modules.map(({ id }) =>
    paths[id].filter((m) => modules[m].repeat === 1 && modules[m].type !== "").length);
  const cutAt = (depth) => {
    folded.clear();
    for (const { id } of modules) if (depths[id] >= depth || leaves.has(id)) folded.add(id);
  };
  const fits = () => {
    findMarked();
    const { w, h } = layOut(visibleGraph());
    const [width, height] = room();
    return Math.min(width / w, height / h) >= LEGIBLE;
  };
  const fitsSomehow = () => { // perhaps with fewer formulas; the details tell all of them
    const before = { ...most };
    const from = FORMULAS.findIndex(({ formulas }) => formulas === before.formulas);
    const done = FORMULAS.slice(from).some((fewer) => fits(Object.assign(most, fewer)));
    if (!done) Object.assign(most, before);
    return done;
  };
  const deepest = depths.reduce((all, depth) => Math.max(all, depth), 0) + 1;
  let depth = modules.some(isOutermost) ? 2 : 1;
  cutAt(depth);
  if (!fitsSomehow()) {
    for (const group of groups.keys()) folded.add(group);
    if (fitsSomehow()) return;
    if (depth === 2 && nodes.some((node) => isOp(node) && node.module === null))
      cutAt(1); // the model as one box, and what is computed beside it
    if (!fitsSomehow()) Object.assign(most, FORMULAS.at(-1));
    return;
  }
  while (depth < deepest) {
    cutAt(depth + 1);
    if (!fitsSomehow()) break;
    depth++;
  }
  cutAt(depth);
  const ops = nodes.filter(isOp);
  for (;;) {
    const large = [...folded].find((m) => !paths[m].slice(0, -1).some(hides) &&
      2 * ops.filter((node) => around(node).includes(m)).length > ops.length);
    if (large === undefined) return;
    folded.delete(large);
    if (fitsSomehow()) continue;
    folded.add(large);
    return;
  }
}

// ----- pointers --------------------------------------------------------------------------------

// One pointer pans, two pinch.
const pointers = new Map();
let moved = false; // whether a pointer has moved since the first went down
const middle = () => {
  const all = [...pointers.values()], { left, top } = view.getBoundingClientRect();
  const [x, y] = ["x", "y"].map((axis) => all.reduce((sum, p) => sum + p[axis], 0) / all.length);
  const [a, b] = all;
  return { x: x - left, y: y - top, spread: b ? Math.hypot(a.x - b.x, a.y - b.y) : 0 };
};
view.addEventListener("pointerdown", ({ button, pointerId, clientX: x, clientY: y }) => {
  if (button !== 0) return;
  if (!pointers.size) moved = false;
  pointers.set(pointerId, { x, y });
});
view.addEventListener("pointermove", ({ pointerId, clientX: x, clientY: y }) => {
  const from = pointers.get(pointerId);
  if (!from || (!moved && Math.hypot(x - from.x, y - from.y) < 4)) return;
  if (!moved) view.setPointerCapture(pointerId);
  moved = true;
  view.classList.add("dragged");
  const before = middle();
  pointers.set(pointerId, { x, y });
  const after = middle();
  camera.x += after.x - before.x;
  camera.y += after.y - before.y;
  zoom(before.spread && after.spread ? after.spread / before.spread : 1, after.x, after.y);
});
for (const end of ["pointerup", "pointercancel"])
  view.addEventListener(end, ({ pointerId }) => {
    pointers.delete(pointerId);
    view.classList.remove("dragged");
  });
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = view.getBoundingClientRect();
  const lines = event.deltaMode ? event.deltaY : event.deltaY / 30;
  zoom(Math.exp(-lines / 20), event.clientX - left, event.clientY - top);
}, { passive: false });

function activate(target) {
  const button = target.closest("[data-fold], [data-node], [data-block]");
  if (!button) return choose(null);
  const { fold, node, group, block } = button.dataset;
  if (group !== undefined) {
    const label = button.getAttribute("aria-label");
    turnTo(Number(group), block === ALL ? ALL : Number(block));
    byId(`m${group}`)?.querySelector(`[aria-label="${label}"]`)?.focus({ preventScroll: true });
  } else if (fold === undefined) {
    choose(button.id || `n${node}`);
    bringIntoView(chosen); // the details may cover it
  } else {
    choose(`m${fold}`);
    toggle(Number(fold));
  }
}
view.addEventListener("click", ({ target }) => {
  if (!moved) activate(target); // the click that ends a drag chooses nothing
  moved = false;
});
view.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation();
  activate(event.target);
});

// ----- steps and playback ----------------------------------------------------------------------

const places = frames.length || steps.length;
const slider = byId("slider"), cursor = svg("line", { y1: 0, y2: 1 });
function go(place) {
  now.place = Math.max(0, Math.min(places - 1, place));
  slider.value = now.place;
  update();
  if (frames.length) {
    reveal(nodes[frames[now.place].node]);
    bringIntoView(idOf(nodes[frames[now.place].node]));
  }
}
function showMoment() {
  if (frames.length) {
    const { node, lines } = frames[now.place];
    byId("moment").textContent = `${now.place + 1} of ${frames.length}`;
    byId("playback").replaceChildren(
      html("b", `n${node} ${titleOf(nodes[node])}`), ...lines.map((text) => html("div", text)));
  } else if (now.step) {
    byId("moment").textContent = `step ${now.step.number} · loss ${figure(now.step.loss)}`;
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, 100 * now.place / (places - 1 || 1));
  }
}
let timer = null;
function play() {
  if (timer === null) {
    go(now.place < places - 1 ? now.place + 1 : 0);
    timer = setInterval(() => (now.place < places - 1 ? go(now.place + 1) : play()), 900);
  } else {
    clearInterval(timer);
    timer = null;
  }
  byId("play").textContent = timer === null ? "▶" : "❚❚";
}

// ----- on paper --------------------------------------------------------------------------------

// The whole graph is on the paper, whatever part of it is on the screen.
addEventListener("beforeprint", () => {
  printing = true;
  redraw();
  world.classList.toggle("afar", graph.large);
  world.removeAttribute("transform");
  view.classList.remove("far");
  view.setAttribute("viewBox", `-8 -8 ${graph.w + 16} ${graph.h + 16}`);
});
addEventListener("afterprint", () => {
  printing = false;
  view.removeAttribute("viewBox");
  redraw();
  look();
});

// ----- beginning -------------------------------------------------------------------------------

byId("title").textContent = document.title = given.title;
if (failure) {
  const { op, during, message, source, code } = failure;
  byId("failure").hidden = false;
  byId("failure").textContent =
    `${op} failed in the ${during} pass: ${message}${source ? `\n${source}  ${code}` : ""}`;
}
if (remarks) showRemarks();
const changes = given.trace.changed.filter((text) => !remarks?.some(({ seen }) => seen === text));
byId("changed").hidden = !changes.length;
byId("changed").replaceChildren(...changes.map((text) => html("div", text)));
if (places > 1 || frames.length) {
  byId("player").hidden = false;
  byId("playback").hidden = !frames.length;
  byId("losses").toggleAttribute("hidden", Boolean(frames.length));
  slider.max = places - 1;
  slider.addEventListener("input", () => go(Number(slider.value)));
  byId("play").addEventListener("click", play);
}
function switchHalves() {
  const all = most.formulas === FORMULAS[0].formulas;
  both = !both || !all; // the formulas that there was no room for come first
  Object.assign(most, FORMULAS[0]);
  showHalves();
  redraw();
  fit(LEGIBLE);
}
function showHalves() {
  byId("halves").setAttribute("aria-pressed", both && most.formulas > 0);
}
function switchTheme() {
  const { style } = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  style.colorScheme = (style.colorScheme || system) === "dark" ? "light" : "dark";
}
const BUTTONS = {
  fold: () => foldAll(true), unfold: () => foldAll(false), halves: switchHalves,
  in: () => zoom(1.25), out: () => zoom(0.8), whole: () => fit(), theme: switchTheme,
};
for (const id in BUTTONS) byId(id).addEventListener("click", BUTTONS[id]);
const painting = byId("paint");
const COSTS = { flops: "FLOPs", parameters: "parameters", saved: "saved bytes", time: "time" };
for (const what of Object.keys(given.costs)) painting.append(new Option(COSTS[what], what));
painting.hidden = !Object.keys(given.costs).length;
painting.addEventListener("change", () => {
  paint = painting.value;
  showLegend();
  highlight();
});
const KEYS = {
  "+": BUTTONS.in, "=": BUTTONS.in, "-": BUTTONS.out, 0: BUTTONS.whole,
  "/": () => search.focus(), Escape: () => choose(null),
};
const STEPPING = {
  ArrowLeft: () => go(now.place - 1), ArrowRight: () => go(now.place + 1), " ": play,
};
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key] ?? (places > 1 ? STEPPING[event.key] : undefined);
  const elsewhere = event.ctrlKey || event.metaKey || event.altKey;
  if (!act || elsewhere || event.target.matches("input, button, select")) return;
  event.preventDefault();
  act();
});
function begin() {
  if (printing) return;
  for (const key of document.querySelectorAll(".key")) key.hidden = true; // till it is drawn
  Object.assign(most, FORMULAS[0]);
  if (given.folded === null) foldToFit();
  if (failure) for (const module of around(nodes[failed])) folded.delete(module);
  showHalves();
  redraw();
  fit(0.8 * LEGIBLE);
}
begin();
if (!view.clientWidth) // a frame may get its room later
  new ResizeObserver((_, observer) => {
    if (!view.clientWidth) return;
    observer.disconnect();
    begin();
  }).observe(view);
// What fits depends on the window; until the reader does something it may get its size.
const onResize = new AbortController();
if (!location.hash) addEventListener("resize", begin, { signal: onResize.signal });
for (const kind of ["pointerdown", "keydown", "wheel", "click", "input"])
  addEventListener(kind, () => onResize.abort(), { capture: true, once: true });
