// Text of the trace enters the page through textContent and setAttribute alone, never as markup.

// ----- drawing ---------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);
const view = byId("view"), world = byId("world");
function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}
function written(text, type, x, y, classes = "") {
  const [weight, size] = TYPES[type];
  const element = svg("text", { x, y, "font-size": size, "font-weight": weight, class: classes });
  element.textContent = text;
  return element;
}

// What the files after this one do once something has changed here.
const after = { redrawn: [], chosen: [], looked: [], updated: [], told: [] };
const tell = (change) => after[change].forEach((act) => act());

let graph; // what is visible, with its places
let live; // functions that set what differs from step to step

function redraw() {
  findMarked();
  graph = visibleGraph();
  Object.assign(graph, layOut(graph));
  live = [];
  const [frames, values, gradients, boxes] = [svg("g"), svg("g"), svg("g"), svg("g")];
  for (const level of graph.levels) if (level.module !== null) frames.append(drawFrame(level));
  for (const box of graph.boxes.values()) boxes.append(drawBox(box));
  for (const edge of graph.edges) {
    values.append(edge.path = drawEdge(edge, false));
    if (edge.gradient && both) gradients.append(edge.line = drawEdge(edge, true));
    boxes.append(...(edge.texts = namesOf(edge)));
  }
  world.replaceChildren(frames, values, gradients, boxes);
  graph.gradients = gradients;
  update();
  tell("redrawn");
}

function drawFrame({ module, X, Y, w, h, heading }) {
  const label = `fold ${headingOf(modules[module])}`;
  const button = { class: "heading", tabindex: -1, role: "button", "data-fold": module };
  return svg("g", { class: "frame", id: `m${module}`, transform: `translate(${X} ${Y})` },
    svg("rect", { class: "border", width: w, height: h, rx: 10 }),
    svg("g", { ...button, "aria-label": label },
      svg("rect", { width: widthOf(heading, "head") + INSET, height: HEAD - 4 }),
      written(heading, "head", INSET / 2 + 3, 19, "faint")));
}

function drawBox(box) {
  const { id, node, module, w, h, left, right } = box;
  const group = svg("g", { id, tabindex: -1, role: "button" });
  group.setAttribute("transform", `translate(${box.x} ${box.y})`);
  group.setAttribute(module ? "data-fold" : "data-node", id.slice(1));
  group.setAttribute("aria-label",
    module ? `unfold ${headingOf(module)}` : `${titleOf(node)} ${typeOf(node)}`);
  group.classList.add("box", module ? "module" : node.kind);
  group.classList.toggle("gradient", !module && node.kind === "op" && node.rule !== null);
  group.classList.toggle("failed", isAt(box, failed));
  group.classList.toggle("noted", box.inside.some(({ note }) => note));
  group.append(svg("rect", { class: "ground", width: w, height: h, rx: 6 }));
  if (right) { // below the names of the inputs; the name of one alone stands in the left half
    const top = box.tops.length > 1 ? NAMES : 1, bend = top === 1 ? 5 : 0;
    const edge = `h${right - 1 - bend}q${bend} 0 ${bend} ${bend}V${h - 6}q0 5 -5 5`;
    group.append(svg("path", { class: "backward", d: `M${left} ${top}${edge}H${left}` }));
    group.append(svg("path", { class: "divider", d: `M${left} ${top}V${h - 1}` }));
  }
  group.append(svg("rect", { class: "outline", width: w, height: h, rx: 6 }));
  for (const [rows, x] of [[box.front, MARGIN], [box.back, left + MARGIN]]) {
    let y = box.names - 4;
    for (const { text, kind, type, live: set } of rows) {
      y += TYPES[type][2];
      const element = written(text, type, x, y, type === "title" ? "" : `fine ${kind}`);
      if (set) live.push(() => {
        const [words, kind] = set();
        element.textContent = words;
        element.setAttribute("class", `fine ${kind}`);
        element.setAttribute("font-weight", kind === "faint" ? 400 : 700);
      });
      group.append(element);
    }
  }
  return group;
}

// Value and gradient run side by side: the one down at the left, the other up at the right.
function drawEdge(edge, gradient) {
  const aside = both ? (gradient ? 4 : -4) : 0;
  const tip = gradient ? 8 : -7, wing = gradient ? 4 : 3.5;
  let path;
  if (edge.from.host) { // from a leaf to the box at its right
    const { from, to } = edge;
    const y = from.y + from.h / 2 + aside, start = from.x + from.w, end = gradient ? start : to.x;
    path = `M${start} ${y}H${to.x}M${end + tip} ${y - wing}L${end} ${y}L${end + tip} ${y + wing}`;
  } else {
    const points = corners(edge);
    let [x, y] = points[0];
    path = `M${x + aside} ${y}`;
    const isStraight = (X) => Math.abs(X - x) < 0.5;
    points.forEach(([X, Y], i) => {
      if (isStraight(X) && isStraight(points[i + 1]?.[0])) return; // on in the same line
      const middle = (y + Y) / 2 - aside * Math.max(-1, Math.min(1, (X - x) / 30));
      if (isStraight(X) || Y === y) path += `L${X + aside} ${Y}`;
      else path += `C${x + aside} ${middle} ${X + aside} ${middle} ${X + aside} ${Y}`;
      [x, y] = [X, Y];
    });
    [x, y] = points.at(gradient ? 0 : -1);
    x += aside;
    path += `M${x - wing} ${y + tip}L${x} ${y}L${x + wing} ${y + tip}`;
  }
  return svg("path", { class: `edge ${gradient ? "gradient" : "value"}`, d: path });
}

// The name of the input that an edge is, and the norm of its gradient, in or beside its target.
function namesOf(edge) {
  const { from, to, name } = edge, width = widthOf(name, "small");
  let x = to.x + edge.at - 8 - width, y = to.y + 14, normX = to.x + edge.at + 8, normY = y;
  if (from.host) {
    const middle = (from.x + from.w + to.x) / 2;
    [x, y] = [middle - width / 2, from.y + from.h / 2 - 8];
    [normX, normY] = [middle - NORM / 2, y + 25];
  } else if (!to.named) return [];
  const texts = name ? [written(name, "small", x, y, "fine faint")] : [];
  if (edge.gradient && both) {
    const text = written("", "small", normX, normY);
    live.push(() => {
      const norm = normOf(edge);
      text.textContent = now.step ? figure(norm) : "";
      text.setAttribute("class", `fine ${toneOf(norm).kind}`);
    });
    texts.push(text);
  }
  return texts;
}

// ----- the step at hand ------------------------------------------------------------------------

// What the page shows. `sent` are the nodes that have sent their gradients on, in a playback.
const now = { place: 0, step: null, sent: null, badValue: null, badGradient: null };
let chosen = null; // the id of the box whose details are shown
let hit = null; // the id of the node that was searched for
const played = new Set(frames.map(({ node }) => node));

// The first NaN or Inf: in values it comes from inputs that have none; in gradients it has the
// largest id, since those run backwards.
const isBroken = (summary) => summary !== undefined && summary.nan + summary.inf > 0;
const bad = steps.map(({ values, gradients }) => {
  const makes = ({ id, inputs }) =>
    isBroken(values[id]) && !inputs.some(({ source }) => isBroken(values[source]));
  const receives = ({ id }) => isBroken(gradients[id]);
  return { value: nodes.find(makes)?.id ?? null, gradient: nodes.findLast(receives)?.id ?? null };
});
// The boxes that say so in some step have room for it in every step.
const marked = { values: new Set(), gradients: new Set() };
function findMarked() {
  const boxesOf = (ids) => new Set(ids.filter((id) => id !== null).map((id) => idOf(nodes[id])));
  marked.values = boxesOf(bad.map(({ value }) => value));
  marked.gradients = boxesOf(bad.map(({ gradient }) => gradient));
}
function mark(box, text, which) {
  return { ...row(text, "nan", "strong"), live: () => [isAt(box, now[which]) ? text : "", "nan"] };
}

// Lines with the numbers of a scalar, and with the health of a parameter or an activation, where
// any step knows it.
function health({ id }) {
  const scalar = (told) => steps.some((step) => step[told][id]?.count === 1);
  const numbers = [["value", "values"], ["gradient", "gradients"]]
    .filter(([, told]) => scalar(told))
    .map(([name, told]) => ({
      ...row(`${name} -8.88e-88`, "", "strong"),
      live: () => {
        const summary = told === "values" ? now.step.values[id] : gradientOf(id);
        return [`${name} ${figure(summary?.mean ?? null)}`, ""];
      },
    }));
  const known = (name) => steps.some(({ values }) => (values[id]?.[name] ?? null) !== null);
  const rows = ["dead", "saturated"].filter(known).map((name) => ({
    ...row(`${name} 100.0 %`, "", "strong"),
    live: () => {
      const share = real(now.step.values[id]?.[name]);
      return [`${name} ${percent(share)}`, share >= 0.5 ? "alarm" : "faint"];
    },
  }));
  if (steps.some(({ updates }) => id in updates))
    rows.push({
      ...row("update/weight 8.8e-88", "", "strong"),
      live: () => {
        const ratio = real(now.step.updates[id]);
        return [`update/weight ${figure(ratio)}`, ratioKind(ratio)];
      },
    });
  return [...numbers, ...rows];
}
function ratioKind(ratio) { // about 1e-3 is healthy
  if (ratio === null || (ratio >= 1e-4 && ratio <= 1e-2)) return "faint";
  return ratio < 1e-4 ? "low" : ratio > 1e-2 ? "high" : "nan";
}

function shareOf(part) {
  if (now.sent && !now.sent.has(Number(part.split(":")[0]))) return null;
  return real(now.step?.shares[part]);
}
function normOf({ parts }) { // of merged edges the largest; what is not finite wins, as in max
  const norms = parts.map(shareOf).filter((norm) => norm !== null);
  return norms.reduce((most, norm) => Math.max(most, norm), null);
}
// The gradient at a node. In a playback it is known once all that will arrive has arrived.
function gradientOf(id) {
  if (now.sent && !now.sent.has(id)) {
    const sends = ([target, port]) => nodes[target].inputs[port].gradient && played.has(target);
    const senders = consumers[id].filter(sends);
    if (!senders.length || senders.some(([target]) => !now.sent.has(target))) return undefined;
  }
  return now.step?.gradients[id];
}

// The scale of gradients: neutral from 1e-3 to 10, blue where they vanish, vermilion where they
// explode. Width grows too, so that the colour is not alone in saying it.
const NEUTRAL = [136, 136, 136], BLUE = [0, 114, 178], VERMILION = [213, 94, 0];
function toneOf(norm) {
  if (norm === null) return { kind: "faint", stroke: "", width: "", dash: "", order: -Infinity };
  if (!Number.isFinite(norm))
    return { kind: "nan", stroke: "#cc79a7", width: 5, dash: "7 4", order: Infinity };
  const t = Math.max(-7, Math.min(5, Math.log10(norm)));
  const [end, share] = t < -3 ? [BLUE, (-3 - t) / 4] : [VERMILION, Math.max(0, (t - 1) / 4)];
  const mixed = NEUTRAL.map((from, i) => Math.round(from + share * (end[i] - from)));
  const kind = t < -3 ? "low" : t > 1 ? "high" : "faint";
  const width = 1 + 3 * (t + 7) / 12;
  return { kind, stroke: `rgb(${mixed})`, width, dash: norm === 0 ? "4 3" : "", order: t };
}

// Show the step, or the frame of the playback, at `now.place`. Nothing moves.
function update() {
  const at = frames.length ? 0 : now.place;
  now.step = steps[at] ?? null;
  now.sent = frames.length ? new Set(frames.slice(0, now.place + 1).map(({ node }) => node)) : null;
  now.badValue = bad[at]?.value ?? null;
  now.badGradient = bad[at]?.gradient ?? null;
  if (now.badGradient !== null && !gradientOf(now.badGradient)) now.badGradient = null;
  const drawn = graph.edges.filter((edge) => edge.line);
  for (const edge of drawn) {
    const { stroke, width, dash, order } = toneOf(normOf(edge));
    edge.order = order;
    edge.line.classList.toggle("unknown", order === -Infinity);
    Object.assign(edge.line.style, { stroke, strokeWidth: width, strokeDasharray: dash });
  }
  // Where edges share a lane the worst is seen.
  drawn.sort((a, b) => (a.order > b.order) - (a.order < b.order));
  for (const { line } of drawn) graph.gradients.append(line);
  for (const set of live) set();
  highlight();
  showDetails();
  showMoment();
  tell("updated");
}
function highlight() {
  for (const box of graph.boxes.values()) {
    const { classList } = byId(box.id);
    classList.toggle("broken", isAt(box, now.badValue) || isAt(box, now.badGradient));
    classList.toggle("now", isAt(box, frames[now.place]?.node ?? null));
    classList.toggle("chosen", box.id === chosen);
    classList.toggle("hit", isAt(box, hit));
  }
}

// ----- the view: pan, zoom, fold ---------------------------------------------------------------

const LEGIBLE = 0.7; // a smaller scale is chosen by hand alone
const camera = { x: 0, y: 0, scale: 1 };
function look() {
  world.setAttribute("transform", `translate(${camera.x} ${camera.y}) scale(${camera.scale})`);
  view.classList.toggle("far", camera.scale < 0.3);
  tell("looked");
}
function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.max(0.01, Math.min(6, camera.scale * factor));
  camera.x = x - (x - camera.x) * scale / camera.scale;
  camera.y = y - (y - camera.y) * scale / camera.scale;
  camera.scale = scale;
  look();
}
// The whole graph; or, where it would be smaller than `least`, its beginning.
function fit(least = 0) {
  const width = view.clientWidth - 32, height = view.clientHeight - 32;
  camera.scale = Math.max(least, Math.min(1.5, width / graph.w, height / graph.h)) || 1;
  camera.x = 16 + (width - graph.w * camera.scale) / 2;
  camera.y = 16 + Math.max(0, (height - graph.h * camera.scale) / 2);
  look();
}
function bringIntoView(id) { // no further than is needed
  const at = byId(id).getBoundingClientRect(), seen = view.getBoundingClientRect();
  camera.x -= Math.max(0, at.right + 24 - seen.right);
  camera.y -= Math.max(0, at.bottom + 24 - seen.bottom);
  camera.x += Math.max(0, seen.left + 24 - at.left);
  camera.y += Math.max(0, seen.top + 24 - at.top);
  look();
}

// Fold or unfold; the module stays under the pointer.
function toggle(module) {
  const before = byId(`m${module}`).getBoundingClientRect();
  if (!folded.delete(module)) folded.add(module);
  redraw();
  const element = byId(`m${module}`), after = element.getBoundingClientRect();
  camera.x += before.left - after.left;
  camera.y += before.top - after.top;
  look();
  (element.querySelector(".heading") ?? element).focus({ preventScroll: true });
}
function foldAll(all) {
  folded.clear();
  if (all) for (const { id } of modules) folded.add(id);
  redraw();
  fit(LEGIBLE);
}
function reveal(node) { // unfold what hides it
  const hiding = around(node).filter((module) => folded.delete(module));
  if (hiding.length) redraw();
}

let held = null; // where the pointer went down, and whether it has moved since
view.addEventListener("pointerdown", ({ button, clientX: x, clientY: y }) => {
  if (button === 0) held = { x, y, moved: false };
});
view.addEventListener("pointermove", ({ pointerId, clientX: x, clientY: y }) => {
  if (!held || (!held.moved && Math.hypot(x - held.x, y - held.y) < 4)) return;
  if (!held.moved) view.setPointerCapture(pointerId);
  view.classList.add("dragged");
  camera.x += x - held.x;
  camera.y += y - held.y;
  held = { x, y, moved: true };
  look();
});
for (const end of ["pointerup", "pointercancel"])
  view.addEventListener(end, () => {
    view.classList.remove("dragged");
    if (!held?.moved) held = null; // the click that ends a drag looks at it, and chooses nothing
  });
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = view.getBoundingClientRect();
  const lines = event.deltaMode ? event.deltaY : event.deltaY / 30;
  zoom(Math.exp(-lines / 20), event.clientX - left, event.clientY - top);
}, { passive: false });

function activate(target) {
  const button = target.closest("[data-fold], [data-node]");
  if (!button) return choose(null);
  const { fold, node } = button.dataset;
  choose(fold === undefined ? `n${node}` : `m${fold}`);
  if (fold === undefined) bringIntoView(chosen); // the details may cover it
  else toggle(Number(fold));
}
view.addEventListener("click", ({ target }) => {
  if (!held?.moved) activate(target);
  held = null;
});
view.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation();
  activate(event.target);
});

// ----- details ---------------------------------------------------------------------------------

const details = byId("details");
function html(name, text, classes = "") {
  const element = document.createElement(name);
  element.textContent = text;
  element.className = classes;
  return element;
}
function table(...rows) {
  const list = html("dl", "");
  for (const [name, text] of rows) list.append(html("dt", name), html("dd", text || "–"));
  return list;
}
function choose(id) {
  chosen = id;
  highlight();
  showDetails();
  tell("chosen");
}
function showDetails() {
  details.hidden = chosen === null;
  if (chosen === null) return;
  const close = html("button", "×", "close");
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => choose(null));
  const number = Number(chosen.slice(1));
  const parts = chosen[0] === "m" ? aboutModule(modules[number]) : aboutNode(nodes[number]);
  details.replaceChildren(close, ...parts);
  tell("told");
}

function aboutNode(node) {
  const parts = [
    html("h2", titleOf(node)),
    table(
      ["op", node.op], ["name", node.name], ["node", `n${node.id}`],
      ["module", around(node).map((module) => headingOf(modules[module])).join(" › ")],
      ["type", typeOf(node)], ["attributes", node.attributes],
      ["source", node.source], ["code", node.code],
      ...(node.note ? [["note", node.note]] : []),
    ),
  ];
  if (node.kind !== "failed")
    parts.push(table(
      ["requires grad", node.requires_grad ? "yes" : "no"], ["device", node.device],
      ["FLOPs", scaled(node.flops)],
      ["time forward", duration(node.seconds)], ["time backward", duration(node.backward_seconds)],
      ["saved", scaled(total(node.saved), "B")],
      ...Object.entries(node.saved ?? {}).map(([name, size]) => [`· ${name}`, scaled(size, "B")]),
      ...(node.rule === null ? [] : [["rule of", `n${node.rule} ${titleOf(nodes[node.rule])}`]]),
    ));
  if (node.inputs.length) parts.push(html("h3", "inputs and their gradients"));
  node.inputs.forEach(({ name, source, text, gradient, formula, where }, port) => {
    const from = nodes[source];
    const told = from ? `n${source} ${titleOf(from)}, ${text || typeOf(from)}` : text;
    const norm = [`‖∂L/∂${name}‖`, figure(shareOf(`${node.id}:${port}`))];
    parts.push(table([name, told], ...(gradient ? [norm] : [])));
    if (formula) parts.push(html("p", `∂L/∂${name} = ${formula}`, "formula"));
    for (const [own, meaning] of Object.entries(where ?? {}))
      parts.push(html("p", `where ${own} = ${meaning}`, "where"));
  });
  if (node.kind === "failed") return parts;
  parts.push(...aboutSummary("value", now.step?.values[node.id]));
  parts.push(...aboutSummary("gradient", gradientOf(node.id)));
  const ratio = ["‖update‖/‖weight‖", figure(now.step?.updates[node.id])];
  return node.kind === "parameter" ? [...parts, html("h3", "update"), table(ratio)] : parts;
}

function aboutSummary(name, summary) {
  const heading = html("h3", name);
  if (!summary) return [heading, table(["norm", "–"], ["mean ± std", "–"])];
  const { mean, std, min, max, nan, inf, histogram } = summary;
  const shares = ["dead", "saturated"].filter((share) => (summary[share] ?? null) !== null);
  const parts = [heading, table(
    ["norm", figure(summary.norm)],
    ["mean ± std", `${figure(mean)} ± ${figure(std)}`],
    ["min … max", `${figure(min)} … ${figure(max)}`],
    ["elements", scaled(summary.count)], ["zeros", percent(summary.zeros)],
    ...(nan || inf ? [["NaN, Inf", `${nan}, ${inf}`]] : []),
    ...shares.map((share) => [share, percent(summary[share])]),
  )];
  const most = Math.max(0, ...histogram);
  if (most > 0) {
    const bars = histogram.map((count, i) =>
      svg("rect", { x: i + 0.05, y: 1 - count / most, width: 0.9, height: count / most }));
    const box = { viewBox: `0 0 ${histogram.length} 1`, preserveAspectRatio: "none" };
    const ends = html("div", "", "ends");
    ends.append(html("span", figure(min)), html("span", figure(max)));
    parts.push(svg("svg", { class: "histogram", ...box }, ...bars), ends);
  }
  return parts;
}

function aboutModule(module) {
  const inside = nodes.filter((node) => node.kind !== "failed" && around(node).includes(module.id));
  const sum = (of) => inside.map(of).reduce((all, x) => (x === null ? all : (all ?? 0) + x), null);
  return [
    html("h2", headingOf(module)),
    table(
      ["path", module.path], ["class", module.type], ["call", String(module.call + 1)],
      ["details", module.details], ["blocks", String(module.repeat)],
      ["parameters", scaled(module.parameters)],
      ["ops", String(inside.filter(({ kind }) => kind === "op").length)],
      ["FLOPs", scaled(sum(({ flops }) => flops))],
      ["saved", scaled(sum(({ saved }) => total(saved)), "B")],
      ["time forward", duration(sum(({ seconds }) => seconds))],
      ["time backward", duration(sum(({ backward_seconds: seconds }) => seconds))],
    ),
  ];
}

// ----- findings --------------------------------------------------------------------------------

function showNode(id) {
  reveal(nodes[id]);
  choose(idOf(nodes[id]));
  bringIntoView(chosen);
}
function linkTo(id) {
  const link = html("button", titleOf(nodes[id]), "place");
  link.title = `show n${id}`;
  link.addEventListener("click", () => showNode(id));
  return link;
}
function aboutRemark({ level, kind, seen, means, remedy, source, step, where, nodes: places }) {
  const item = html("li", "", level), head = html("h2", "");
  const words = kind.replaceAll("_", " ");
  head.append(html("b", level, "level"), html("span", words));
  const at = [step === null ? "" : `step ${step}`, where].filter(Boolean).join(" · ");
  if (at) head.append(html("small", at));
  const most = 4; // links; a shared module may be called often
  head.append(...places.slice(0, most).map(linkTo));
  if (places.length > most) head.append(html("small", `… ${places.length - most} more places`));
  const told = [["seen", seen], ["means", means], ["try", remedy], ["source", source]];
  item.append(head, table(...told.filter(([, text]) => text)));
  return item;
}
function showRemarks() {
  const counted = ["error", "warning", "note"]
    .map((level) => [level, remarks.filter((remark) => remark.level === level).length])
    .filter(([, count]) => count)
    .map(([level, count]) => `${count} ${level}${count > 1 ? "s" : ""}`);
  const list = document.createElement("ol");
  list.append(...remarks.map(aboutRemark));
  byId("remarks").hidden = false;
  byId("remarks").replaceChildren(
    html("p", counted.join(", ") || "nothing was found", counted.length ? "" : "well"), list);
}

// ----- steps and playback ----------------------------------------------------------------------

const places = frames.length || steps.length;
const slider = byId("slider"), cursor = svg("line", { y1: 0, y2: 1 });
function go(place) {
  now.place = Math.max(0, Math.min(places - 1, place));
  slider.value = now.place;
  update();
  if (frames.length) bringIntoView(idOf(nodes[frames[now.place].node]));
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

// ----- beginning -------------------------------------------------------------------------------

byId("title").textContent = document.title = given.title;
if (failure) {
  const { op, during, message, source, code } = failure;
  byId("failure").hidden = false;
  byId("failure").textContent =
    `${op} failed in the ${during} pass: ${message}${source ? `\n${source}  ${code}` : ""}`;
  for (const module of around(nodes[failed])) folded.delete(module);
}
if (remarks) showRemarks();
if (places > 1 || frames.length) {
  byId("player").hidden = false;
  byId("playback").hidden = !frames.length;
  byId("losses").toggleAttribute("hidden", Boolean(frames.length));
  slider.max = places - 1;
  slider.addEventListener("input", () => go(Number(slider.value)));
  byId("play").addEventListener("click", play);
}
function switchHalves() {
  both = !both;
  byId("halves").setAttribute("aria-pressed", both);
  redraw();
  fit(LEGIBLE);
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
  if (!act || elsewhere || event.target.matches("input, button")) return;
  event.preventDefault();
  act();
});
addEventListener("beforeprint", () => fit());
redraw();
fit(LEGIBLE);
