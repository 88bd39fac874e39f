// Following the flow: what feeds a box and what it feeds is lit, links lead along the edges, and
// arrow keys walk them. Tab gets to one box of the graph alone, the one that was visited last.

// ----- light -----------------------------------------------------------------------------------

// The boxes of a choice: its own, or all in an open module.
function boxesOf(id) {
  if (graph.boxes.has(id)) return [graph.boxes.get(id)];
  const number = Number(id.slice(1));
  if (id[0] !== "m") return [graph.boxes.get(homes[number])];
  const isInside = (node) => around(node).includes(number);
  return [...graph.boxes.values()].filter(({ inside }) => inside.some(isInside));
}
// Every box that is met from `starts` along the edges: against the values, or with them.
function reached(starts, edgesOf, endOf) {
  const met = new Set(starts), left = [...starts];
  while (left.length)
    for (const next of edgesOf(left.pop()).map(endOf))
      if (!met.has(next)) {
        met.add(next);
        left.push(next);
      }
  return met;
}
let flow = null; // the boxes above what is chosen, and those below; both have itself
function follow() {
  const starts = chosen === null ? [] : boxesOf(chosen);
  flow = starts.length ? {
    above: reached(starts, ({ ins }) => ins, ({ from }) => from),
    below: reached(starts, ({ outs }) => outs, ({ to }) => to),
  } : null;
  light();
}
function light() {
  view.classList.toggle("following", flow !== null);
  if (graph.large) lightSketch();
  if (!flow) return;
  const { above, below } = flow;
  for (const box of graph.boxes.values())
    box.element?.classList.toggle("lit", above.has(box) || below.has(box));
  const all = new Set([...above, ...below]);
  const joins = (side, { from, to }) => side.has(from) && side.has(to);
  for (const edge of graph.edges) {
    if (!edge.drawn) continue;
    const lit = joins(above, edge) || joins(below, edge) || (edge.back && joins(all, edge));
    for (const part of [edge.valueLine, edge.line, ...edge.names])
      part?.classList.toggle("lit", lit);
  }
}
function lightSketch() { // what is seen from afar has no boxes of its own
  const { sketch } = graph.groups;
  sketch.querySelector(".lit")?.remove();
  if (!flow) return;
  const d = [...flow.above, ...flow.below].map(outlineOf).join("");
  sketch.append(svg("path", { class: "sketched lit", d }));
}
function markCurrent() {
  for (const box of view.querySelectorAll("[aria-current]")) box.removeAttribute("aria-current");
  byId(chosen)?.setAttribute("aria-current", "true");
}
after.chosen.push(follow, markCurrent);
after.redrawn.push(follow);
after.drawn.push(light);

// ----- links in the details --------------------------------------------------------------------

const LINKS = 12; // a weight may be read by a thousand steps of a loop
function linksTo(heading, ids) {
  const row = html("p", heading, "links");
  row.append(...ids.slice(0, LINKS).map(linkTo));
  if (ids.length > LINKS) row.append(html("small", `… ${ids.length - LINKS} more`));
  return row;
}
function showLinks() {
  const number = Number(chosen.slice(1)), box = graph.boxes.get(chosen);
  const inside = new Set(
    chosen[0] === "m" ? nodes.filter((node) => around(node).includes(number))
      : chosen[0] === "o" ? [] : [nodes[number], ...(box?.parameters ?? [])]);
  const isInside = (id) => inside.has(nodes[id]);
  const others = (ids) => [...new Set(ids)].filter((id) => !isInside(id));
  const sources = ({ inputs }) => inputs.map(({ source }) => source ?? null);
  const readers = ({ id }) => (consumers[id] ?? []).map(([target]) => target);
  const feeding = chosen[0] === "o" ? [given.trace.outputs[number]]
    : others([...inside].flatMap(sources).filter((id) => id !== null));
  const fed = others([...inside].flatMap(readers));
  const rows = [["fed by", feeding], ["feeds", fed]].filter(([, ids]) => ids.length);
  details.querySelector("h2").after(...rows.map(([heading, ids]) => linksTo(heading, ids)));
}
after.told.push(showLinks);

// ----- arrow keys ------------------------------------------------------------------------------

let visited = null; // the id of the box that Tab gets to
const lastBelow = new Map(), lastAbove = new Map(); // from where each box was walked to

function setVisited(id) {
  byId(visited)?.setAttribute("tabindex", -1);
  byId(id)?.setAttribute("tabindex", 0);
  visited = id;
}
function keepVisited() {
  if (!graph.boxes.has(visited)) visited = graph.boxes.keys().next().value ?? null;
  if (visited !== null) setVisited(visited);
}
after.redrawn.push(keepVisited);
after.drawn.push(keepVisited);
keepVisited();

const centre = ({ x, w }) => x + w / 2;
function nearest(box, others, last) { // where one came from; else the nearest that is no parameter
  const rank = (other) => Number(other.node?.kind === "parameter");
  const distance = (other) => Math.abs(centre(other) - centre(box));
  return others.find(({ id }) => id === last.get(box.id)) ??
    others.toSorted((a, b) => rank(a) - rank(b) || distance(a) - distance(b))[0];
}
function upwards(box) {
  const next = nearest(box, box.ins.map(({ from }) => from), lastAbove);
  if (next) lastBelow.set(next.id, box.id);
  return next;
}
function downwards(box) {
  const next = nearest(box, box.outs.map(({ to }) => to), lastBelow);
  if (next) lastAbove.set(next.id, box.id);
  return next;
}
function sideways(box, sign) { // the next box at the same height
  let next, least = Infinity;
  for (const other of graph.boxes.values()) {
    const distance = sign * (centre(other) - centre(box));
    const isBeside = other.y < box.y + box.h && box.y < other.y + other.h;
    if (other !== box && isBeside && distance > 0 && distance < least)
      [next, least] = [other, distance];
  }
  for (const last of next ? [lastBelow, lastAbove] : [])
    if (last.has(box.id)) last.set(next.id, last.get(box.id)); // another input of the same box
  return next;
}
const WALKS = {
  ArrowUp: upwards, ArrowDown: downwards,
  ArrowLeft: (box) => sideways(box, -1), ArrowRight: (box) => sideways(box, 1),
};

function walk(key, from) {
  const box = graph.boxes.get(from);
  const next = box ? WALKS[key](box) : boxesOf(from)[0]; // from the heading of a module into it
  if (!next) return;
  if (chosen !== null) choose(next.id);
  bringIntoView(next.id); // where it may be drawn first
  byId(next.id)?.focus({ preventScroll: true });
}
function foldAround(id) {
  const { outside } = graph.boxes.get(id) ?? { outside: [] };
  if (outside.length) toggle(outside.at(-1));
}
// What a screen reader says of a box beside its words.
function neighboursOf({ ins, outs }) {
  const titles = (boxes) => [...new Set(boxes.map(({ front }) => front[0].text))].join(", ");
  const [feeding, fed] = [titles(ins.map(({ from }) => from)), titles(outs.map(({ to }) => to))];
  return [feeding && `fed by ${feeding}`, fed && `feeds ${fed}`].filter(Boolean).join("; ");
}
view.addEventListener("focusin", ({ target }) => {
  const { id } = target.closest("[id]");
  if (graph.boxes.has(id)) {
    setVisited(id);
    target.setAttribute("aria-description", neighboursOf(graph.boxes.get(id)));
  }
  if (target.matches(":focus-visible")) bringIntoView(id);
});
// Inside the graph arrows walk; with shift, and everywhere else, they step through time.
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = view.contains(target) ? target.closest("[id]").id : null;
  const isUnused = target === document.body && (places < 2 || /Up|Down/.test(key));
  if (key in WALKS && at) walk(key, at);
  else if (key in WALKS && isUnused) byId(visited)?.focus({ preventScroll: true });
  else if (key === "f" && at) foldAround(at);
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, { capture: true });
details.addEventListener("click", ({ target }) => { // a link takes the focus along
  if (target.matches(".links .place")) byId(chosen)?.focus({ preventScroll: true });
});
details.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  choose(null);
  byId(visited)?.focus({ preventScroll: true });
});

// ----- help ------------------------------------------------------------------------------------

const help = byId("help");
byId("keys").addEventListener("click", () => help.showModal());
help.addEventListener("click", ({ target }) => {
  if (target === help || target.matches("button")) help.close();
});
KEYS["?"] = () => help.showModal();
