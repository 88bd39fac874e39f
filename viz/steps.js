// ----- the step at hand ------------------------------------------------------------------------

// What the page shows. `sent` are the nodes that have sent their gradients on, in a playback.
const now = { place: 0, step: null, sent: null, marks: {} };
let chosen = null; // the id of the box whose details are shown
let hit = null; // the id of the node that was searched for
let paint = "health"; // what colours tell: health, or one of `given.costs`
const recorded = steps.some(({ shares }) => Object.keys(shares).length); // whether gradients are
const played = new Set(frames.map(({ node }) => node));

const isBroken = (summary) => summary !== undefined && summary.nan + summary.inf > 0;

// Where the first number arose that is not finite: in each step the node of the first such value,
// and of the first such gradient, with what the static pictures say there.
const MARKS = ["value", "gradient"];
const linesAt = (box, mark) => {
  if (!mark || homes[mark[0]] !== box.id) return [];
  const [node, lines, name] = mark;
  return box.node?.id === node ? lines : [...lines, name];
};
// The boxes that say so in some step have room for it in every step.
let marked;
function findMarked() {
  findHomes();
  marked = Object.fromEntries(MARKS.map((kind) =>
    [kind, new Set(given.marks.filter((told) => told[kind]).map((told) => homes[told[kind][0]]))]));
}
function mark(box, kind) {
  const told = given.marks.map((marks) => linesAt(box, marks[kind]));
  const count = told.reduce((most, lines) => Math.max(most, lines.length), 0);
  const marking = (text) => row(text, "nan", "strong", MARKED);
  return Array.from({ length: count }, (_, i) => {
    const rows = told.map((lines) => marking(lines[i] ?? ""));
    const longest = rows.reduce((most, row) =>
      (widthOf(row.text, row.type) > widthOf(most.text, most.type) ? row : most));
    return { ...longest,
      live: () => [marking(linesAt(box, now.marks[kind])[i] ?? "").text, "nan"] };
  });
}

// Lines with the numbers of a scalar, and with the health of a parameter or an activation, where
// any step knows it. `held` is a parameter that stands in the box of its op.
function health({ id, shape }, held = false) {
  const knows = (told) => steps.some((step) => step[told][id] !== undefined);
  const isScalar = shape && shape.every((length) => length === 1);
  const strong = (longest, set) => ({ ...row(longest, "", "strong"), live: set });
  const rows = [];
  if (isScalar && knows("values"))
    rows.push(strong("value -8.88e-88", () => [`value ${figure(only(now.step.values[id]))}`, ""]));
  if (knows("gradients") && (isScalar || held))
    rows.push(strong(isScalar ? "gradient -8.88e-88" : "gradient norm 8.88e-88", () => {
      const summary = gradientOf(id), { kind } = toneOf(now.step.judged?.nodes[id] ?? null);
      return isScalar ? [`gradient ${figure(only(summary))}`, ""]
        : [`gradient norm ${figure(normIn(summary))}`, kind];
    }));
  const notes = steps.map(({ judged }) => judged?.notes[id]).filter(Boolean);
  if (notes.length) rows.push({ ...row(notes[0], "faint"),
    live: () => [now.step.judged.notes[id] ?? "", "faint"] });
  const known = (name) => steps.some(({ values }) => (values[id]?.[name] ?? null) !== null);
  for (const name of ["dead", "saturated"])
    if (known(name)) rows.push(strong(`${name} 100.0 %`, () => {
      const share = now.step.values[id]?.[name] ?? null;
      return [`${name} ${percent(share)}`, share >= 0.5 ? "alarm" : "faint"];
    }));
  if (steps.some(({ updates }) => id in updates))
    rows.push(strong("update/weight 8.88e-88", () => {
      const ratio = now.step.updates[id] ?? null;
      return [`update/weight ${figure(ratio)}`, ratioKind(ratio)];
    }));
  return rows;
}
function only(summary) { // the number of a scalar
  return summary?.nan ? NaN : summary?.inf ? Infinity : summary?.mean;
}
function normIn(summary) { // as `labels.gradient_norm`
  if (!summary) return null;
  return summary.nan ? NaN : summary.inf ? Infinity : summary.norm;
}
function ratioKind(ratio) { // about 1e-3 is healthy
  if (ratio === null || (ratio >= 1e-4 && ratio <= 1e-2)) return "faint";
  return ratio < 1e-4 ? "low" : ratio > 1e-2 ? "high" : "nan";
}

const isSent = (part) => !now.sent || now.sent.has(Number(part.split(":")[0]));
const shareOf = (part) => (isSent(part) ? now.step?.shares[part] ?? null : null);
// Of merged edges the largest; what is not finite wins, as in max.
function normOf({ parts }) {
  const norms = parts.map(shareOf).filter((norm) => norm !== null);
  return norms.reduce((most, norm) => Math.max(most, norm), null);
}
// A number that one edge alone carries back has a sign.
function toldOf(edge) {
  const { from, parts } = edge, norm = normOf(edge);
  const single = norm !== null && parts.length === 1 && from.node && from.outs.length === 1;
  const summary = single ? now.step.gradients[from.node.id] : null;
  return figure(summary?.count === 1 && Math.abs(summary.mean) === norm ? summary.mean : norm);
}
// Nothing comes back to the first of equal blocks, and to some of them flows no gradient.
const ABSENT = { kind: "absent", share: 0, width: "", dash: "", order: -Infinity };
const toneAt = (edge) => (edge.parts.length ? toneOf(tOf(edge)) : ABSENT);
// How a gradient compares with that at the output, in decades; of merged edges the farthest from 0.
function tOf({ parts }) {
  let worst = null;
  for (const part of parts) {
    const norm = shareOf(part), t = now.step?.judged?.edges[part] ?? (norm === null ? null : 0);
    if (norm === null || t === null) continue;
    if (worst === null || Number.isNaN(t) || Math.abs(t) > Math.abs(worst)) worst = t;
    if (Number.isNaN(worst)) break;
  }
  return worst;
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

// The scale of t: neutral up to two decades from 0, blue where gradients vanish, vermilion where
// they explode. Width changes too, so that the colour is not alone in saying it.
const STILL = 2, FULL = 6;
function toneOf(t) {
  if (t === null) return { kind: recorded ? "unknown" : "plain", share: 0, width: "", dash: "", order: -Infinity };
  if (Number.isNaN(t)) return { kind: "nan", share: 1, width: 4, dash: "7 4", order: Infinity };
  const share = Math.min(1, Math.max(0, (Math.abs(t) - STILL) / (FULL - STILL)));
  const kind = !share ? "faint" : t < 0 ? "low" : "high";
  const width = 2 + (t > 0 ? 2 : -1) * share;
  return { kind, share, width, dash: t === -Infinity ? "4 3" : "", order: Math.abs(t) };
}

// Show the step, or the frame of the playback, at `now.place`. Nothing moves.
function update() {
  const at = frames.length ? 0 : now.place;
  now.step = steps[at] ?? null;
  now.sent = frames.length ? new Set(frames.slice(0, now.place + 1).map(({ node }) => node)) : null;
  now.marks = { ...given.marks[at] };
  const isThere = (id) => !now.sent || now.sent.has(id) || isBroken(gradientOf(id));
  if (now.marks.gradient && !isThere(now.marks.gradient[0])) delete now.marks.gradient;
  colourEdges();
  for (const set of live) set();
  highlight();
  showDetails();
  showMoment();
  tell("updated");
}
const TONES = ["absent", "plain", "unknown", "faint", "low", "high", "nan"];
function colourEdges() {
  for (const { sources, valueLine } of graph.edges)
    valueLine?.classList.toggle("broken", sources.some((id) => isBroken(now.step?.values[id])));
  const drawn = graph.edges.filter((edge) => edge.line);
  for (const edge of drawn) {
    const { kind, share, width, dash, order } = toneAt(edge);
    edge.order = order;
    edge.line.classList.remove(...TONES);
    edge.line.classList.add(kind);
    edge.line.style.setProperty("--share", `${Math.round(100 * share)}%`);
    Object.assign(edge.line.style, { strokeWidth: width, strokeDasharray: dash });
  }
  // Where edges share a lane the worst is seen.
  drawn.sort((a, b) => (a.order > b.order) - (a.order < b.order));
  for (const { line } of drawn) graph.gradients.append(line);
}
const COSTLIEST = 45; // percent of the colour of costs in the costliest box; text is legible on it
function highlight() {
  const shares = paint === "health" ? null : costShares();
  for (const box of graph.boxes.values()) {
    if (!box.element) continue;
    const { classList, style } = box.element;
    classList.toggle("broken", MARKS.some((kind) => isAt(box, now.marks[kind]?.[0] ?? null)));
    classList.toggle("now", isAt(box, frames[now.place]?.node ?? null));
    classList.toggle("chosen", box.id === chosen);
    classList.toggle("hit", isAt(box, hit));
    classList.toggle("costly", shares !== null);
    style.setProperty("--share", `${Math.round(COSTLIEST * (shares?.get(box) ?? 0))}%`);
  }
}
// The cost of each box, where the costliest has 1.
function costShares() {
  const costs = given.costs[paint], shares = new Map();
  let most = 0;
  for (const box of graph.boxes.values()) {
    const cost = box.inside.reduce((sum, { id }) => sum + (costs[id] ?? 0), 0);
    shares.set(box, cost);
    most = Math.max(most, cost);
  }
  for (const [box, cost] of shares) shares.set(box, most ? cost / most : 0);
  return shares;
}
