"use strict";
// The page of a traced graph. It reads the trace, decides what is visible (modules can be folded),
// lays that out, draws it once as SVG, and then colours it for each step without moving anything.
// Text of the trace enters the page through `textContent` and `setAttribute` alone, never as markup.

// ----- the trace -------------------------------------------------------------------------------

const given = JSON.parse(document.getElementById("data").textContent);
const { modules, steps, frames, failure } = given.trace;
const nodes = given.trace.nodes;
const count = nodes.length;

// An op that raised has no node. It is drawn as one more, unless the node whose rule raised is.
const failedNode = failure?.during === "backward" ? failure.node : null;
if (failure && failedNode === null) {
  nodes.push({
    id: count, kind: "failed", op: failure.op, name: "", module: failure.module, shape: null,
    attributes: "", source: failure.source, code: failure.code, rule: null,
    inputs: failure.inputs.map(([name, source, text]) => ({ name, source, text, formula: "" })),
  });
}

// JSON lacks three of the numbers; null is what was not computed.
const REALS = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const real = (value) => (typeof value === "string" ? REALS[value] : value ?? null);
const isBroken = (summary) => summary !== undefined && summary.nan + summary.inf > 0;

const folded = new Set(given.folded);
const paths = []; // of each module: the ids from the outermost module to itself
for (const module of modules)
  paths.push([...(module.parent === null ? [] : paths[module.parent]), module.id]);
const around = (node) => (node.module === null ? [] : paths[node.module]);
const isOutput = new Set(given.trace.outputs);
const consumers = nodes.map(() => []); // of each node: [target, port] of every edge from it
for (const node of nodes)
  node.inputs.forEach((input, port) => {
    if (input.source !== null) consumers[input.source].push([node.id, port]);
  });

// ----- words -----------------------------------------------------------------------------------

const line = (text) => // as one line that can be printed
  text.slice(0, 600).replace(/\s+/g, " ").replace(/[\p{C}]/gu, "\ufffd");
const shapeOf = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
const typeOf = (node) => (node.shape ? `${node.dtype} ${shapeOf(node.shape)}` : "");

function figure(value, digits = 4) {
  const x = real(value);
  if (x === null) return "–";
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "-∞";
  if (x === 0 || Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e5) return x.toExponential(digits - 3);
  return String(Number(x.toPrecision(digits - 1)));
}
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);
function scaled(value, unit, base = 1000) { // 12,300 FLOP -> "12.3 kFLOP"
  if (value === null) return "–";
  const power = value < base ? 0 : Math.min(4, Math.floor(Math.log(value) / Math.log(base)));
  const prefix = ["", base === 1024 ? "K" : "k", "M", "G", "T"][power] + (power && base === 1024 ? "i" : "");
  return `${Number((value / base ** power).toPrecision(3))} ${prefix}${unit}`.trim();
}
const duration = (seconds) => (seconds === null ? "–" : `${figure(seconds * 1000)} ms`);

function titleOf(node) {
  const path = node.module === null ? "" : modules[node.module].path;
  const name = path && node.name.startsWith(`${path}.`) ? node.name.slice(path.length + 1) : node.name;
  if (node.kind === "input" || node.kind === "parameter") return line(name || node.kind);
  return line(name ? `${name} = ${node.op}` : node.op);
}
function headingOf(module) {
  const call = module.call ? ` call ${module.call + 1}` : "";
  return line(`${module.path} ${module.type}${call}${module.repeat > 1 ? ` ×${module.repeat}` : ""}`.trim());
}

// ----- sizes of text ---------------------------------------------------------------------------

// How a line is set: [weight, size, height]. Nothing is drawn that was not measured first.
const TYPES = { title: [700, 15, 20], head: [700, 14, 18], text: [400, 13, 17], strong: [700, 13, 17],
  small: [400, 11.5, 15] };
const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();
function widthOf(text, type) {
  const key = type + text;
  if (!widths.has(key)) {
    const [weight, size] = TYPES[type];
    pen.font = `${weight} ${size}px Helvetica, Arial, "Liberation Sans", sans-serif`;
    widths.set(key, 1.01 * pen.measureText(text).width + 1);
  }
  return widths.get(key);
}
function shortened(text, type, most) {
  if (widthOf(text, type) <= most) return text;
  const letters = [...text];
  let low = 0, high = letters.length; // so many letters fit; so many do not
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (widthOf(letters.slice(0, middle).join("") + "…", type) <= most) low = middle;
    else high = middle;
  }
  return letters.slice(0, low).join("") + "…";
}

// ----- what is visible -------------------------------------------------------------------------

let both = true; // whether the backward half is shown
const LEFT = 215, RIGHT = 330; // the longest lines of the two halves
const MARGIN = 9;
const NORM = widthOf("8.8e-88", "small") + 4;
const STRIP = 17; // the height of the row with the names of the inputs

const idOf = (node) => {
  const hiding = around(node).find((module) => folded.has(module));
  return hiding === undefined ? `n${node.id}` : `m${hiding}`;
};

function visibleGraph() {
  const boxes = new Map(), edges = new Map();
  const ids = nodes.map(idOf);
  for (const node of nodes) {
    const id = ids[node.id];
    if (!boxes.has(id)) {
      const module = id[0] === "m" ? modules[Number(id.slice(1))] : null;
      const outside = module ? paths[module.id].slice(0, -1) : around(node);
      boxes.set(id, { id, node: module ? null : node, module, outside, inside: [], ins: [], outs: [] });
    }
    boxes.get(id).inside.push(node);
  }
  for (const node of nodes)
    node.inputs.forEach((input, port) => {
      if (input.source === null) return;
      const from = boxes.get(ids[input.source]), to = boxes.get(ids[node.id]);
      if (from === to) return;
      const key = to.module ? `${from.id} ${to.id}` : `${from.id} ${to.id} ${port}`;
      let edge = edges.get(key);
      if (!edge) {
        edge = { key, from, to, name: to.module ? "" : line(input.name), parts: [], gradient: false };
        edges.set(key, edge);
        from.outs.push(edge);
        to.ins.push(edge);
      }
      edge.parts.push(`${node.id}:${port}`);
      edge.gradient ||= Boolean(input.gradient);
    });
  for (const box of boxes.values()) attach(box);
  for (const box of boxes.values()) if (!box.host) write(box);
  return { boxes, edges: [...edges.values()] };
}

// A parameter that one op alone uses stands at the left of that op, if something else comes from
// above; so the values flow down a straight line.
function attach(box) {
  const own = (edge) =>
    edge.from.node?.kind === "parameter" && edge.from.outs.length === 1 &&
    edge.from.outside.join() === box.outside.join();
  const beside = box.node ? box.ins.filter(own) : [];
  box.beside = beside.length < box.ins.length ? beside : [];
  box.tops = box.ins.filter((edge) => !box.beside.includes(edge));
  for (const edge of box.beside) edge.from.host = box;
}

// The lines of a box. One with `live` is set anew for each step; its text here is the longest.
function write(box) {
  const { node, module } = box;
  const front = [], back = [];
  if (module) {
    front.push({ type: "title", text: shortened(headingOf(module), "title", 280) });
    const ops = box.inside.filter((inner) => inner.kind === "op").length;
    front.push({ text: `${ops} op${ops === 1 ? "" : "s"}, ${module.parameters.toLocaleString("en")} parameters`, kind: "faint" });
    const results = box.inside.filter((inner) =>
      isOutput.has(inner.id) || consumers[inner.id].some(([target]) => idOf(nodes[target]) !== box.id));
    const types = [...new Set(results.filter((inner) => inner.kind === "op").map(typeOf))];
    for (const text of types.slice(0, 3)) front.push({ text: shortened(`→ ${line(text)}`, "text", 280) });
    if (types.length > 3) front.push({ text: `… ${types.length - 3} more outputs`, kind: "faint" });
  } else {
    const plain = node.inputs.filter((input) => input.source === null && node.kind === "op")
      .map((input) => `${input.name} = ${input.text}`);
    const attributes = line([node.attributes, ...plain].filter(Boolean).join(", "));
    front.push({ type: "title", text: shortened(titleOf(node), "title", LEFT) });
    if (attributes) front.push({ text: shortened(attributes, "text", LEFT), kind: "faint" });
    if (node.shape) front.push({ text: shortened(line(typeOf(node)), "text", LEFT) });
    if (node.kind === "failed") {
      front.push({ text: "failed", type: "strong", kind: "alarm" });
      for (const input of node.inputs)
        back.push({ text: shortened(line(`${input.name}: ${input.text}`), "text", RIGHT) });
    } else if (both) {
      const flowing = node.inputs.filter((input) => input.gradient);
      for (const input of flowing.slice(0, 5))
        back.push({ text: shortened(line(`∂L/∂${input.name} = ${input.formula || "…"}`), "text", RIGHT), kind: "formula" });
      if (flowing.length > 5) back.push({ text: `… ${flowing.length - 5} more`, kind: "faint" });
    }
    if (node.id === failedNode) (back.length ? back : front).push({ text: "its rule failed", type: "strong", kind: "alarm" });
    front.push(...health(node));
  }
  if (marked.values.has(box.id)) front.push(mark(box, "first NaN/Inf here", () => now.badValue));
  if (marked.gradients.has(box.id))
    (back.length ? back : front).push(mark(box, "gradient: first NaN/Inf here", () => now.badGradient));

  const size = (rows) => Math.max(...rows.map((row) => widthOf(row.text, (row.type ??= "text")))) + 2 * MARGIN;
  const height = (rows) => rows.reduce((sum, row) => sum + TYPES[row.type][2], 0);
  box.front = front;
  box.back = back;
  box.left = size(front);
  box.right = back.length ? size(back) : 0;
  place(box);
  box.strip = box.named && box.tops.length ? STRIP : 4;
  box.h = box.strip + Math.max(height(front), height(back)) + 7;
  // What stands beside it, above one another.
  box.column = 0;
  for (const edge of box.beside) {
    write(edge.from);
    edge.room = Math.max(widthOf(edge.name, "small"), both && edge.gradient ? NORM : 0) + 22;
    box.column = Math.max(box.column, edge.from.w + edge.room);
  }
  const stack = box.beside.reduce((sum, edge) => sum + edge.from.h + 8, -8);
  box.h = Math.max(box.h, stack);
}

// Where the edges from above end: a cell each, with the input's name in front of the arrow and the
// norm of the gradient behind it. One alone ends where the two halves meet.
function place(box) {
  box.named = box.tops.length <= 8;
  const cells = box.tops.map((edge) => {
    const before = box.named ? widthOf(edge.name, "small") + 9 : 7;
    return [before, box.named && both && edge.gradient ? NORM + 9 : 7];
  });
  const total = cells.reduce((sum, [before, after]) => sum + before + after, 0);
  const widest = box.tops.length === 1 ? 2 * Math.max(...cells[0]) : total;
  if (!box.right) box.left = Math.max(box.left, widest + 8);
  const lacking = Math.max(0, total + 8 - box.left - box.right);
  box.left += lacking / 2 + (box.right ? Math.max(0, (cells[0]?.[0] ?? 0) + 4 - box.left) : 0);
  box.right += box.right ? lacking / 2 : 0;
  box.w = box.left + box.right;
  box.axis = box.right ? box.left : box.w / 2;
  let x = box.axis - (box.tops.length === 1 ? cells[0][0] : total / 2);
  x = Math.max(4, Math.min(x, box.w - total - 4));
  box.tops.forEach((edge, i) => {
    edge.at = x + cells[i][0];
    x += cells[i][0] + cells[i][1];
  });
}

// ----- layout ----------------------------------------------------------------------------------

// Every open module is laid out by itself, the innermost first, and is then one large vertex of the
// module around it: so a frame holds its members and nobody else. Within a level the drawing is in
// layers (Sugiyama, Tagawa and Toda, 1981): an edge leads from one row to a later one, and in the
// rows between it has a lane. All edges from one box share their lanes: a "wire".
const BETWEEN = 30, LANE = 8, INSET = 14, HEAD = 30;
const isLane = (vertex) => vertex.key === "";
const isPort = (vertex) => vertex.key[0] === "<" || vertex.key[0] === ">";

function layOut({ boxes, edges }) {
  const levels = new Map(); // by open module; that around all of them is null
  const levelOf = (module) => {
    if (!levels.has(module)) {
      const level = { module, vertices: new Map(), links: new Map() };
      levels.set(module, level);
      if (module !== null) vertexOf(modules[module].parent, `m${module}`).inner = level;
    }
    return levels.get(module);
  };
  const vertexOf = (module, key) => {
    const { vertices } = levelOf(module);
    if (!vertices.has(key)) vertices.set(key, newVertex(key));
    return vertices.get(key);
  };
  for (const box of boxes.values())
    if (!box.host) vertexOf(box.outside.at(-1) ?? null, box.id).box = box;

  // Where an edge crosses the frame of a module, that has a port: "<" for a wire that comes in at
  // the top, ">" for one that leaves at the bottom.
  const link = (module, edge, from, to) => {
    const { links } = levelOf(module);
    const key = to === edge.to.id ? edge.key : `${edge.from.id} ${to}`;
    if (!links.has(key)) {
      const added = { edge, from: vertexOf(module, from), to: vertexOf(module, to), level: levelOf(module) };
      added.from.outs.push(added);
      added.to.ins.push(added);
      links.set(key, added);
    }
    return links.get(key);
  };
  for (const edge of edges) {
    if (edge.from.host) continue;
    const wire = edge.from.id, up = edge.from.outside, down = edge.to.outside;
    let shared = 0;
    while (shared < up.length && up[shared] === down[shared]) shared++;
    const inside = (box, depth) => (depth < box.outside.length ? `m${box.outside[depth]}` : box.id);
    edge.route = [];
    for (let i = up.length; i > shared; i--)
      edge.route.push(link(up[i - 1], edge, inside(edge.from, i), `>${wire}`));
    edge.route.push(link(up[shared - 1] ?? null, edge, inside(edge.from, shared), inside(edge.to, shared)));
    for (let i = shared + 1; i <= down.length; i++)
      edge.route.push(link(down[i - 1], edge, `<${wire}`, inside(edge.to, i)));
  }
  const inOrder = [...levels.values()].sort((a, b) => (b.module ?? -1) - (a.module ?? -1));
  for (const level of inOrder) arrange(level); // a parent comes before its children
  const root = levels.get(null) ?? { w: 0, h: 0, rows: [] };
  put(root, 0, 0);
  return { levels: inOrder.reverse(), w: root.w, h: root.h };
}

function newVertex(key) {
  return { key, w: LANE, h: 0, outs: [], ins: [], ups: [], downs: [], layer: 0, depth: 0, height: 0, pull: 1 };
}
// Where a link leaves its upper vertex and enters its lower one, from the left side of each.
function leaving({ from, edge }) {
  if (from.box) return from.box.column + from.box.axis;
  return from.inner ? from.inner.vertices.get(`>${edge.from.id}`).x + LANE / 2 : LANE / 2;
}
function entering({ to, edge }) {
  if (to.box) return to.box.column + edge.at;
  return to.inner ? to.inner.vertices.get(`<${edge.from.id}`).x + LANE / 2 : LANE / 2;
}

function arrange(level) {
  const vertices = [...level.vertices.values()];
  for (const vertex of vertices) {
    if (vertex.box) [vertex.w, vertex.h] = [vertex.box.column + vertex.box.w, vertex.box.h];
    if (vertex.inner) [vertex.w, vertex.h] = [vertex.inner.w, vertex.inner.h];
  }
  const links = [...level.links.values()];
  const rows = layers(vertices);
  const segments = cutIntoSegments(links, rows);
  sortRows(rows, segments);
  swapNeighbours(rows);
  setAcross(rows, segments);
  for (const { box } of vertices) if (box?.module && box.tops.length > 1) sortTops(box, links);
  setDown(level, rows, segments, links);
}

// The row of each vertex is the length of the longest path to it. A link that would close a cycle
// counts for nothing; only modules that take turns make one.
function layers(vertices) {
  const left = new Set(vertices), ready = [], order = [];
  for (const vertex of vertices) {
    vertex.waits = vertex.ins.length;
    vertex.layer = vertex.key[0] === "<" ? 0 : 1;
    if (!vertex.waits) ready.push(vertex);
  }
  while (left.size) {
    if (!ready.length) {
      const [first] = left;
      for (const link of first.ins) if (left.has(link.from)) link.back = true;
      ready.push(first);
    }
    const vertex = ready.pop();
    if (!left.delete(vertex)) continue;
    order.push(vertex);
    for (const link of vertex.outs) {
      if (link.back) continue;
      link.to.layer = Math.max(link.to.layer, vertex.layer + 1);
      if (--link.to.waits === 0) ready.push(link.to);
    }
  }
  const last = Math.max(1, ...vertices.map((vertex) => vertex.layer + (vertex.key[0] !== ">" ? 1 : 0)));
  for (const vertex of vertices) if (vertex.key[0] === ">") vertex.layer = last;
  // What can sink without making a lane longer does: leaves, what only they lead to, and so on.
  const sinks = ({ from }) => isPort(from) || !from.ins.length || (from.sinks && from.outs.length === 1);
  for (const vertex of order) {
    vertex.depth = vertex.layer;
    vertex.sinks = vertex.key[0] !== "<" && vertex.ins.every(sinks);
  }
  for (const vertex of order.reverse()) {
    const below = vertex.outs.filter((link) => !link.back).map((link) => link.to);
    vertex.height = 1 + Math.max(0, ...below.map((lower) => lower.height));
    if (vertex.sinks && below.length)
      vertex.layer = Math.min(...below.map((lower) => lower.layer)) - 1;
  }
  const rows = Array.from({ length: last + 1 }, () => []);
  for (const vertex of vertices) rows[vertex.layer].push(vertex);
  return rows;
}

// A link becomes segments from row to row, with a lane in each row between.
function cutIntoSegments(links, rows) {
  const segments = [], lanes = new Map(); // by wire: the lane in each row
  const join = (upper, lower, out, into, axis = into) => {
    const segment = { upper, lower, out, into, axis };
    upper.downs.push(segment);
    lower.ups.push(segment);
    segments.push(segment);
  };
  for (const link of links) {
    if (link.back) continue;
    const wire = link.edge.from.id;
    if (!lanes.has(wire)) lanes.set(wire, []);
    const lane = lanes.get(wire);
    link.lanes = [];
    let upper = link.from, out = leaving(link);
    for (let i = link.from.layer + 1; i < link.to.layer; i++) {
      if (!lane[i]) {
        lane[i] = { ...newVertex(""), layer: i };
        rows[i].push(lane[i]);
        join(upper, lane[i], out, LANE / 2);
      }
      upper = lane[i];
      out = LANE / 2;
      link.lanes.push(upper);
    }
    const { box } = link.to;
    join(upper, link.to, out, entering(link), box && box.column + box.axis);
  }
  return segments;
}

// Fewer crossings: each row in turn is sorted by the mean place of what its vertices hang on.
function sortRows(rows, segments) {
  const pack = (row) => {
    let x = -row.reduce((sum, vertex) => sum + vertex.w + BETWEEN, 0) / 2;
    for (const vertex of row) {
      vertex.x = x;
      x += vertex.w + BETWEEN;
    }
  };
  rows.forEach(pack);
  const sweeps = segments.length > 20000 ? 5 : 13;
  for (let i = 0; i < sweeps; i++)
    for (const row of i % 2 ? [...rows].reverse() : rows) {
      for (const vertex of row) vertex.want = wanted(vertex, i % 2) + vertex.w / 2;
      row.sort((a, b) => a.want - b.want);
      pack(row);
    }
}
// Neighbours change places as long as that leaves fewer crossings.
function swapNeighbours(rows) {
  const crossings = (a, b) => { // of the segments of a and b, with a at the left
    let count = 0;
    for (const s of a.ups) for (const t of b.ups) count += s.upper.x + s.out > t.upper.x + t.out;
    for (const s of a.downs) for (const t of b.downs) count += s.lower.x + s.into > t.lower.x + t.into;
    return count;
  };
  for (let round = 0, swapped = true; swapped && round < 8; round++) {
    swapped = false;
    for (const row of rows)
      for (let i = 1; i < row.length; i++) {
        const [a, b] = [row[i - 1], row[i]];
        if (crossings(a, b) <= crossings(b, a)) continue;
        [row[i - 1], row[i]] = [b, a];
        b.x = a.x;
        a.x = b.x + b.w + BETWEEN;
        swapped = true;
      }
  }
}
// The place at which the segments of a vertex to one side would, on average, be vertical.
function wanted(vertex, upwards) {
  const downs = vertex.downs.length > 0, ups = vertex.ups.length > 0;
  if (!downs && !ups) return vertex.x;
  let sum = 0;
  if (upwards ? downs : !ups) {
    const lane = isLane(vertex) && vertex.downs.find((s) => isLane(s.lower));
    if (lane) return lane.lower.x;
    for (const s of vertex.downs) sum += s.lower.x + s.into - s.out;
    return sum / vertex.downs.length;
  }
  for (const s of vertex.ups) sum += s.upper.x + s.out - s.into;
  return sum / vertex.ups.length;
}

const apart = (a, b) => a.w + (isLane(a) || isLane(b) ? BETWEEN / 2 : BETWEEN);

// Places across, as near as the order allows to where segments are vertical. Trunks (chains of
// vertices, each below the one before) are to be straight, the longest paths above all.
function setAcross(rows, segments) {
  const trunks = findTrunks(rows, segments);
  for (let i = 0; i < 12; i++) {
    for (const trunk of i < 4 ? [] : trunks) {
      const mean = trunk.reduce((sum, [vertex, shift]) => sum + vertex.x - shift, 0) / trunk.length;
      for (const [vertex, shift] of trunk) vertex.line = mean + shift;
    }
    for (const row of i % 2 ? [...rows].reverse() : rows) {
      for (const vertex of row) {
        const want = wanted(vertex, i % 2);
        vertex.want = vertex.line === undefined ? want : (want + 3 * vertex.line) / 4;
      }
      settle(row);
    }
  }
  for (const row of rows)
    row.forEach((vertex, i) => [vertex.before, vertex.after] = [row[i - 1], row[i + 1]]);
  for (let i = 0; i < 3; i++) trunks.forEach(straighten);
}
function findTrunks(rows, segments) {
  const rank = ({ upper, lower }) => (isLane(upper) === isLane(lower) ? Number(!isLane(upper)) : 2);
  const length = ({ upper, lower }) => upper.depth + lower.height; // of the longest path through it
  for (const s of [...segments].sort((a, b) => rank(a) - rank(b) || length(b) - length(a)))
    if (!s.upper.next && !s.lower.previous && (s.upper.ups.length || s.lower.ups.length === 1)) {
      [s.upper.next, s.lower.previous] = [s, s];
      s.into = s.axis;
    }
  const trunks = [];
  for (const row of rows)
    for (const vertex of row) {
      if (vertex.previous || !vertex.next) continue;
      const trunk = [[vertex, 0]]; // with the place of each relative to the first
      for (let v = vertex, shift = 0; v.next; v = v.next.lower) {
        shift += v.next.out - v.next.into;
        trunk.push([v.next.lower, shift]);
      }
      for (const [vertex] of trunk) vertex.pull = Math.min(trunk.length, 20);
      trunks.push(trunk);
    }
  return trunks.sort((a, b) => b.length - a.length);
}

// The least Σ (x - wanted)² with the order and the distances kept (pool adjacent violators): those
// that would collide move as one block, whose place is their mean.
function settle(row) {
  const blocks = [];
  let packed = 0;
  row.forEach((vertex, i) => {
    vertex.packed = packed;
    if (i + 1 < row.length) packed += apart(vertex, row[i + 1]);
    const { pull } = vertex;
    let block = { sum: pull * (vertex.want - vertex.packed), pull, members: [vertex] };
    while (blocks.length && blocks.at(-1).sum / blocks.at(-1).pull > block.sum / block.pull) {
      const { sum, pull, members } = blocks.pop();
      for (const member of block.members) members.push(member);
      block = { sum: sum + block.sum, pull: pull + block.pull, members };
    }
    blocks.push(block);
  });
  for (const { sum, pull, members } of blocks)
    for (const vertex of members) vertex.x = sum / pull + vertex.packed;
}

function straighten(trunk) {
  let run = [], low = -Infinity, high = Infinity; // between which its first vertex could be
  const flush = () => {
    const places = run.map(([vertex, shift]) => vertex.x - shift).sort((a, b) => a - b);
    const x = Math.max(low, Math.min(high, places[places.length >> 1]));
    for (const [vertex, shift] of run) vertex.x = x + shift;
  };
  for (const member of trunk) {
    const [vertex, shift] = member;
    const least = vertex.before ? vertex.before.x + apart(vertex.before, vertex) - shift : -Infinity;
    const most = vertex.after ? vertex.after.x - apart(vertex, vertex.after) - shift : Infinity;
    if (Math.max(low, least) > Math.min(high, most)) {
      flush();
      [run, low, high] = [[], -Infinity, Infinity];
    }
    run.push(member);
    low = Math.max(low, least);
    high = Math.min(high, most);
  }
  flush();
}

// The edges that enter a folded module are put in the order in which they come.
function sortTops(box, links) {
  const from = new Map();
  for (const link of links)
    if (link.to.box === box)
      from.set(link.edge, (link.lanes?.at(-1) ?? link.from).x + (link.lanes?.length ? LANE / 2 : leaving(link)));
  box.tops.sort((a, b) => from.get(a) - from.get(b));
  place(box);
}

// Places down, the size of the level, and room for the heading left of the edges that come in.
function setDown(level, rows, segments, links) {
  const slants = rows.map(() => 0); // how far the segments below each row lead sideways
  for (const { upper, lower, out, into } of segments)
    slants[upper.layer] = Math.max(slants[upper.layer], Math.abs(upper.x + out - lower.x - into));
  const back = links.filter((link) => link.back);
  let y = (level.module === null ? 0 : HEAD) + (back.length ? 12 : 0);
  let left = Infinity, right = -Infinity, port = Infinity;
  rows.forEach((row, i) => {
    const tall = row.reduce((most, vertex) => Math.max(most, vertex.h), 0);
    for (const vertex of row) {
      vertex.y = vertex.ups.length ? y : y + tall - vertex.h; // a leaf is close to its use
      vertex.bottom = y + tall;
      left = Math.min(left, vertex.x);
      right = Math.max(right, vertex.x + vertex.w);
      if (vertex.key[0] === "<") port = Math.min(port, vertex.x);
    }
    y += tall;
    if (!row.length || !rows[i + 1]?.length) return;
    const least = isPort(row[0]) || isPort(rows[i + 1][0]) ? 4 : 26;
    y += Math.max(least, Math.min(90, 16 + slants[i] / 8));
  });
  back.forEach((link, i) => link.aside = right + BETWEEN / 2 * (i + 1));
  right += BETWEEN / 2 * back.length;
  let shift = -left;
  level.w = right - left;
  if (level.module !== null) {
    level.heading = shortened(`▾ ${headingOf(modules[level.module])}`, "head", 330);
    const head = widthOf(level.heading, "head") + 2 * INSET;
    shift += Math.max(INSET, head - (port - left));
    level.w = Math.max(shift + right + INSET, head);
    y += INSET;
  }
  for (const row of rows) for (const vertex of row) vertex.x += shift;
  for (const link of back) link.aside += shift;
  Object.assign(level, { rows, h: y });
}

function put(level, X, Y) {
  Object.assign(level, { X, Y });
  for (const row of level.rows)
    for (const vertex of row) {
      vertex.X = X + vertex.x;
      vertex.Y = Y + vertex.y;
      vertex.base = Y + vertex.bottom;
      if (vertex.inner) put(vertex.inner, vertex.X, vertex.Y);
      const { box } = vertex;
      if (!box) continue;
      [box.x, box.y] = [vertex.X + box.column, vertex.Y];
      let y = box.y;
      for (const edge of box.beside) {
        [edge.from.x, edge.from.y] = [box.x - edge.room - edge.from.w, y];
        y += edge.from.h + 8;
      }
    }
}

// The corners of an edge from its source down to its target. Within a row it runs straight down,
// so it meets no box; it turns between rows alone.
function corners({ route }) {
  const points = [];
  for (const link of route) {
    const { from, to, level } = link;
    const start = from.X + leaving(link), end = to.X + entering(link);
    const below = from.base;
    points.push([start, from.key[0] === "<" ? level.Y : from.Y + from.h], [start, below]);
    if (link.back) {
      const aside = level.X + link.aside;
      points.push([start, below + 9], [aside, below + 9], [aside, to.Y - 9], [end, to.Y - 9]);
    } else
      for (const lane of link.lanes)
        points.push([lane.X + LANE / 2, lane.Y], [lane.X + LANE / 2, lane.base]);
    points.push([end, to.Y]);
    if (to.key[0] === ">") points.push([end, level.Y + level.h]);
  }
  return points;
}

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

let graph; // what is visible, with its places
let live; // functions that set what differs from step to step

function redraw() {
  findMarked();
  graph = visibleGraph();
  Object.assign(graph, layOut(graph));
  live = [];
  const frames = svg("g"), values = svg("g"), gradients = svg("g"), boxes = svg("g"), notes = svg("g");
  for (const level of graph.levels) if (level.module !== null) frames.append(drawFrame(level));
  for (const edge of graph.edges) {
    values.append(drawEdge(edge, false));
    if (edge.gradient && both) gradients.append(edge.line = drawEdge(edge, true));
    if (edge.from.host) notes.append(...namesBeside(edge));
  }
  for (const box of graph.boxes.values()) boxes.append(drawBox(box));
  world.replaceChildren(frames, values, gradients, boxes, notes);
  graph.gradients = gradients;
  update();
}

function drawFrame({ module, X, Y, w, h, heading }) {
  const width = widthOf(heading, "head") + INSET;
  const button = svg("g", { class: "heading", tabindex: 0, role: "button", "data-fold": module },
    svg("rect", { width, height: HEAD - 4 }), written(heading, "head", INSET / 2 + 3, 19, "faint"));
  button.setAttribute("aria-label", `fold ${headingOf(modules[module])}`);
  return svg("g", { class: "frame", id: `m${module}`, transform: `translate(${X} ${Y})` },
    svg("rect", { class: "border", width: w, height: h, rx: 10 }), button);
}

// Value and gradient run side by side: the one down at the left, the other up at the right.
function drawEdge(edge, gradient) {
  const aside = both ? (gradient ? 4 : -4) : 0;
  let path;
  if (edge.from.host) {
    const { from, to } = edge;
    const y = from.y + from.h / 2 + aside, start = from.x + from.w, end = to.x;
    const tip = gradient ? `M${start + 8} ${y - 4}L${start} ${y}L${start + 8} ${y + 4}`
      : `M${end - 7} ${y - 3.5}L${end} ${y}L${end - 7} ${y + 3.5}`;
    path = `M${start} ${y}L${end} ${y}${tip}`;
  } else {
    const points = corners(edge);
    let [x, y] = points[0];
    path = `M${x + aside} ${y}`;
    for (const [X, Y] of points.slice(1)) {
      const middle = (y + Y) / 2 - aside * Math.max(-1, Math.min(1, (X - x) / 30));
      if (X === x || Y === y) path += `L${X + aside} ${Y}`;
      else path += `C${x + aside} ${middle} ${X + aside} ${middle} ${X + aside} ${Y}`;
      [x, y] = [X, Y];
    }
    if (gradient) {
      [x, y] = points[0];
      path += `M${x + aside - 4} ${y + 8}L${x + aside} ${y}L${x + aside + 4} ${y + 8}`;
    } else path += `M${x + aside - 3.5} ${y - 7}L${x + aside} ${y}L${x + aside + 3.5} ${y - 7}`;
  }
  return svg("path", { class: `edge ${gradient ? "gradient" : "value"}`, d: path });
}

function namesBeside(edge) {
  const { from, to } = edge, middle = (from.x + from.w + to.x) / 2, y = from.y + from.h / 2;
  const name = written(edge.name, "small", middle - widthOf(edge.name, "small") / 2, y - 8, "faint fine");
  return edge.gradient && both ? [name, normText(edge, middle - NORM / 2, y + 17)] : [name];
}
function normText(edge, x, y) {
  const text = written("", "small", x, y);
  live.push(() => {
    const norm = normOf(edge);
    text.textContent = now.step ? figure(norm) : "";
    text.setAttribute("class", `${toneOf(norm).kind} fine`);
  });
  return text;
}

function drawBox(box) {
  const { w, h, left, right, node } = box;
  const kind = box.module ? "module" : node.rule !== null && node.kind === "op" ? "gradient" : node.kind;
  const group = svg("g", { id: box.id, class: `box ${kind}`, transform: `translate(${box.x} ${box.y})`,
    tabindex: 0, role: "button", [box.module ? "data-fold" : "data-node"]: box.id.slice(1) });
  const label = box.module ? `unfold ${headingOf(box.module)}` : `${titleOf(node)} ${typeOf(node)}`;
  group.setAttribute("aria-label", line(label));
  group.append(svg("rect", { class: "outline", width: w, height: h, rx: 6 }));
  if (right) {
    // Below the names of the inputs, if there are several; one has its name on the left half.
    const top = box.tops.length > 1 ? STRIP : 1, round = top === 1 ? 5 : 0;
    const half = `M${left} ${top}h${right - 1 - round}q${round} 0 ${round} ${round}V${h - 6}q0 5 -5 5H${left}Z`;
    group.append(svg("path", { class: "backward", d: half }),
      svg("path", { class: "divider", d: `M${left} ${top}V${h - 1}` }));
  }
  if (box.named)
    for (const edge of box.tops) {
      group.append(written(edge.name, "small", edge.at - 8 - widthOf(edge.name, "small"), 14, "faint fine"));
      if (edge.gradient && both) group.append(normText(edge, edge.at + 8, 14));
    }
  for (const [rows, x] of [[box.front, MARGIN], [box.back, left + MARGIN]]) {
    let y = box.strip;
    for (const row of rows) {
      y += TYPES[row.type][2];
      const text = written(row.text, row.type, x, y - 4, row.type === "title" ? "" : `${row.kind ?? ""} fine`);
      if (row.live) live.push(() => {
        const [words, kind] = row.live();
        text.textContent = words;
        text.setAttribute("class", `${kind} fine`);
        text.setAttribute("font-weight", kind === "faint" ? 400 : 700);
      });
      group.append(text);
    }
  }
  return group;
}

// ----- the step at hand ------------------------------------------------------------------------

// What the page shows. `sent` are the nodes that have sent their gradients on, in a playback.
const now = { place: 0, step: null, sent: null, badValue: null, badGradient: null, chosen: null, hit: null };
const played = new Set(frames.map((frame) => frame.node));

// The first NaN or Inf: in values it comes from inputs that have none; in gradients it has the
// largest id, since those run backwards.
const firstBadValue = ({ values }) => nodes.find((node) => isBroken(values[node.id]) &&
  !node.inputs.some((input) => input.source !== null && isBroken(values[input.source])))?.id ?? null;
const firstBadGradient = ({ gradients }) =>
  nodes.findLast((node) => isBroken(gradients[node.id]))?.id ?? null;
const bad = steps.map((step) => [firstBadValue(step), firstBadGradient(step)]);
// The boxes that say so in some step have room for it in every step.
const marked = { values: new Set(), gradients: new Set() };
function findMarked() {
  for (const [kind, i] of [["values", 0], ["gradients", 1]])
    marked[kind] = new Set(bad.filter((pair) => pair[i] !== null).map((pair) => idOf(nodes[pair[i]])));
}
const isAt = (box, id) => id !== null && idOf(nodes[id]) === box.id;
const mark = (box, text, which) => ({ text, type: "strong", live: () => [isAt(box, which()) ? text : "", "nan"] });

// Lines with the health of a parameter or an activation, where any step knows it.
function health(node) {
  const known = (name) => steps.some((step) => (step.values[node.id]?.[name] ?? null) !== null);
  const rows = ["dead", "saturated"].filter(known).map((name) => ({
    text: `${name} 100.0 %`,
    type: "strong",
    live: () => {
      const share = real(now.step.values[node.id]?.[name]);
      return [`${name} ${percent(share)}`, share >= 0.5 ? "alarm" : "faint"];
    },
  }));
  if (steps.some((step) => node.id in step.updates))
    rows.push({
      text: "update/weight 8.8e-88",
      type: "strong",
      live: () => {
        const ratio = real(now.step.updates[node.id]);
        return [`update/weight ${figure(ratio)}`, ratioKind(ratio)];
      },
    });
  return rows;
}
function ratioKind(ratio) { // about 1e-3 is healthy
  if (ratio === null || (ratio >= 1e-4 && ratio <= 1e-2)) return "faint";
  return ratio < 1e-4 ? "low" : ratio > 1e-2 ? "high" : "nan";
}

function shareOf(part) {
  if (now.sent && !now.sent.has(Number(part.split(":")[0]))) return null;
  return real(now.step?.shares[part]);
}
function normOf({ parts }) { // of merged edges the largest; what is not finite wins
  let most = null;
  for (const part of parts) {
    const norm = shareOf(part);
    if (norm === null) continue;
    if (!Number.isFinite(norm)) return norm;
    if (most === null || norm > most) most = norm;
  }
  return most;
}
// The gradient at a node. In a playback it is known once all that will arrive has arrived.
function gradientOf(id) {
  if (now.sent && !now.sent.has(id)) {
    const senders = consumers[id].filter(([target, port]) =>
      nodes[target].inputs[port].gradient && played.has(target));
    if (!senders.length || senders.some(([target]) => !now.sent.has(target))) return undefined;
  }
  return now.step?.gradients[id];
}

// The scale of gradients: neutral from 1e-3 to 10, blue where they vanish, vermilion where they
// explode. Width grows too, so that the colour is not alone in saying it.
const NEUTRAL = [136, 136, 136], BLUE = [0, 114, 178], VERMILION = [213, 94, 0];
function toneOf(norm) {
  if (norm === null) return { stroke: "", width: "", dash: "", kind: "faint", order: -Infinity };
  if (!Number.isFinite(norm)) return { stroke: "#cc79a7", width: 5, dash: "7 4", kind: "nan", order: Infinity };
  const t = Math.max(-7, Math.min(5, Math.log10(norm)));
  const [end, share] = t < -3 ? [BLUE, (-3 - t) / 4] : [VERMILION, Math.max(0, (t - 1) / 4)];
  const stroke = `rgb(${NEUTRAL.map((from, i) => Math.round(from + share * (end[i] - from)))})`;
  const kind = t < -3 ? "low" : t > 1 ? "high" : "faint";
  return { stroke, width: 1 + 3 * (t + 7) / 12, dash: norm === 0 ? "4 3" : "", kind, order: t };
}

// Show the step, or the frame of the playback, at `now.place`. Nothing moves.
function update() {
  now.step = steps[frames.length ? 0 : now.place] ?? null;
  now.sent = frames.length ? new Set(frames.slice(0, now.place + 1).map((frame) => frame.node)) : null;
  [now.badValue, now.badGradient] = now.step ? bad[steps.indexOf(now.step)] : [null, null];
  if (now.badGradient !== null && !gradientOf(now.badGradient)) now.badGradient = null;
  const lines = graph.edges.filter((edge) => edge.line).map((edge) => {
    const { stroke, width, dash, order } = toneOf(normOf(edge));
    edge.line.classList.toggle("unknown", order === -Infinity);
    Object.assign(edge.line.style, { stroke, strokeWidth: width, strokeDasharray: dash });
    return { order, line: edge.line };
  });
  // Where edges share a lane the worst is seen.
  lines.sort((a, b) => (a.order > b.order) - (a.order < b.order));
  for (const { line } of lines) graph.gradients.append(line);
  for (const set of live) set();
  highlight();
  showDetails();
  showMoment();
}
function highlight() {
  const played = frames.length ? frames[now.place].node : null;
  for (const box of graph.boxes.values()) {
    const { classList } = byId(box.id);
    classList.toggle("broken", isAt(box, now.badValue) || isAt(box, now.badGradient));
    classList.toggle("failed", box.node?.kind === "failed" || isAt(box, failedNode));
    classList.toggle("now", isAt(box, played));
    classList.toggle("chosen", box.id === now.chosen);
    classList.toggle("hit", isAt(box, now.hit));
  }
}

// ----- the view: pan, zoom, fold ---------------------------------------------------------------

const camera = { x: 0, y: 0, scale: 1 };
function look() {
  world.setAttribute("transform", `translate(${camera.x} ${camera.y}) scale(${camera.scale})`);
  view.classList.toggle("far", camera.scale < 0.3);
}
function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.max(0.01, Math.min(6, camera.scale * factor));
  camera.x = x - (x - camera.x) * scale / camera.scale;
  camera.y = y - (y - camera.y) * scale / camera.scale;
  camera.scale = scale;
  look();
}
// The whole graph; or, if text would be smaller than `least`, its beginning.
function fit(least = 0) {
  const width = view.clientWidth - 32, height = view.clientHeight - 32;
  camera.scale = Math.max(least, Math.min(1.5, width / graph.w, height / graph.h)) || 1;
  camera.x = 16 + (width - graph.w * camera.scale) / 2;
  camera.y = 16 + Math.max(0, (height - graph.h * camera.scale) / 2);
  look();
}
function bringIntoView(id) {
  const at = byId(id).getBoundingClientRect(), seen = view.getBoundingClientRect();
  if (at.left > seen.left && at.right < seen.right && at.top > seen.top && at.bottom < seen.bottom) return;
  camera.x += (seen.left + seen.right - at.left - at.right) / 2;
  camera.y += (seen.top + seen.bottom - at.top - at.bottom) / 2;
  look();
}

// Fold or unfold; the module stays under the pointer.
function toggle(module) {
  const before = byId(`m${module}`).getBoundingClientRect();
  if (!folded.delete(module)) folded.add(module);
  redraw();
  const after = byId(`m${module}`).getBoundingClientRect();
  camera.x += before.left - after.left;
  camera.y += before.top - after.top;
  look();
  (byId(`m${module}`).querySelector(".heading") ?? byId(`m${module}`)).focus({ preventScroll: true });
}
function foldAll(all) {
  folded.clear();
  if (all) for (const module of modules) folded.add(module.id);
  redraw();
  fit();
}
function reveal(node) { // unfold what hides it
  const hiding = around(node).filter((module) => folded.has(module));
  for (const module of hiding) folded.delete(module);
  if (hiding.length) redraw();
}

let held = null; // where the pointer went down, and whether it has moved since
view.addEventListener("pointerdown", (event) => {
  if (event.button === 0) held = { x: event.clientX, y: event.clientY, moved: false };
});
view.addEventListener("pointermove", (event) => {
  if (!held) return;
  const x = event.clientX - held.x, y = event.clientY - held.y;
  if (!held.moved && Math.hypot(x, y) < 4) return;
  if (!held.moved) view.setPointerCapture(event.pointerId);
  view.classList.add("dragged");
  held = { x: event.clientX, y: event.clientY, moved: true };
  camera.x += x;
  camera.y += y;
  look();
});
for (const end of ["pointerup", "pointercancel"])
  view.addEventListener(end, () => {
    view.classList.remove("dragged");
    if (!held?.moved) held = null; // a drag ends with a click, which then is none
  });
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = view.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 600)), event.clientX - left, event.clientY - top);
}, { passive: false });

function activate(target) {
  const button = target.closest("[data-fold], [data-node]");
  if (!button) return choose(null);
  if (button.dataset.fold === undefined) return choose(`n${button.dataset.node}`);
  choose(`m${button.dataset.fold}`);
  toggle(Number(button.dataset.fold));
}
view.addEventListener("click", (event) => {
  const dragged = held?.moved;
  held = null;
  if (!dragged) activate(event.target);
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
function table(rows) {
  const list = html("dl", "");
  for (const [name, text] of rows) list.append(html("dt", name), html("dd", text === "" ? "–" : text));
  return list;
}
function choose(id) {
  now.chosen = id;
  highlight();
  showDetails();
}
function showDetails() {
  const id = now.chosen;
  details.hidden = id === null;
  if (id === null) return;
  const close = html("button", "×", "close");
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => choose(null));
  const number = Number(id.slice(1));
  details.replaceChildren(close, ...(id[0] === "m" ? aboutModule(modules[number]) : aboutNode(nodes[number])));
}

function aboutNode(node) {
  const where = around(node).map((module) => headingOf(modules[module])).join(" › ");
  const told = node.kind === "failed" ? [] : [
    ["requires grad", node.requires_grad ? "yes" : "no"],
    ["device", node.device],
    ["FLOPs", scaled(node.flops, "")],
    ["time forward", duration(node.seconds)],
    ["time backward", duration(node.backward_seconds)],
    ["saved", node.saved ? scaled(Object.values(node.saved).reduce((a, b) => a + b, 0), "B", 1024) : "–"],
    ...Object.entries(node.saved ?? {}).map(([name, bytes]) => [`· ${name}`, scaled(bytes, "B", 1024)]),
    ...(node.rule === null ? [] : [["rule of", `n${node.rule} ${nodes[node.rule].op}`]]),
  ];
  const parts = [
    html("h2", titleOf(node)),
    table([["op", node.op], ["name", node.name], ["node", `n${node.id}`], ["module", where],
      ["type", typeOf(node)], ["attributes", node.attributes], ["source", node.source], ["code", node.code],
      ...told]),
  ];
  if (node.inputs.length) parts.push(html("h3", "inputs and their gradients"));
  node.inputs.forEach((input, port) => {
    const from = input.source === null ? input.text
      : `n${input.source} ${titleOf(nodes[input.source])}, ${input.text || typeOf(nodes[input.source])}`;
    const norm = input.gradient ? [[`‖∂L/∂${input.name}‖`, figure(shareOf(`${node.id}:${port}`))]] : [];
    parts.push(table([[input.name, from], ...norm]));
    if (input.formula) parts.push(html("p", `∂L/∂${input.name} = ${input.formula}`, "formula"));
    for (const [name, meaning] of Object.entries(input.where ?? {}))
      parts.push(html("p", `where ${name} = ${meaning}`, "where"));
  });
  if (node.kind === "failed") return parts;
  parts.push(...aboutSummary("value", now.step?.values[node.id]));
  parts.push(...aboutSummary("gradient", gradientOf(node.id)));
  if (node.kind === "parameter")
    parts.push(html("h3", "update"), table([["‖update‖/‖weight‖", figure(real(now.step?.updates[node.id]))]]));
  return parts;
}

function aboutSummary(name, summary) {
  const heading = html("h3", name);
  if (!summary) return [heading, table([["norm", "–"], ["mean ± std", "–"]])];
  const rows = [
    ["norm", figure(summary.norm)],
    ["mean ± std", `${figure(summary.mean)} ± ${figure(summary.std)}`],
    ["min … max", `${figure(summary.min)} … ${figure(summary.max)}`],
    ["elements", scaled(summary.count, "")],
    ["zeros", percent(summary.zeros)],
  ];
  if (summary.nan || summary.inf) rows.push(["NaN, Inf", `${summary.nan}, ${summary.inf}`]);
  for (const share of ["dead", "saturated"])
    if ((summary[share] ?? null) !== null) rows.push([share, percent(summary[share])]);
  const parts = [heading, table(rows)];
  const most = Math.max(...summary.histogram);
  if (most > 0) {
    const bins = summary.histogram.length;
    const picture = svg("svg", { class: "histogram", viewBox: `0 0 ${bins} 1`, preserveAspectRatio: "none" });
    summary.histogram.forEach((n, i) => picture.append(
      svg("rect", { x: i + 0.05, y: 1 - n / most, width: 0.9, height: n / most })));
    const ends = html("div", "", "ends");
    ends.append(html("span", figure(summary.min)), html("span", figure(summary.max)));
    parts.push(picture, ends);
  }
  return parts;
}

function aboutModule(module) {
  const inside = nodes.filter((node) => node.kind !== "failed" && around(node).includes(module.id));
  const sum = (of) => inside.map(of).reduce((all, x) => (x === null ? all : (all ?? 0) + x), null);
  return [
    html("h2", headingOf(module)),
    table([["path", module.path], ["class", module.type], ["call", String(module.call + 1)],
      ["details", module.details], ["blocks", String(module.repeat)],
      ["parameters", scaled(module.parameters, "")],
      ["ops", String(inside.filter((node) => node.kind === "op").length)],
      ["FLOPs", scaled(sum((node) => node.flops), "")],
      ["saved", scaled(sum((node) => node.saved && Object.values(node.saved).reduce((a, b) => a + b, 0)), "B", 1024)],
      ["time forward", duration(sum((node) => node.seconds))],
      ["time backward", duration(sum((node) => node.backward_seconds))]]),
  ];
}

// ----- search ----------------------------------------------------------------------------------

let matches = [];
function find() {
  const words = byId("search").value.trim().toLowerCase();
  matches = words === "" ? [] : nodes.filter((node) =>
    [node.op, node.name, node.module === null ? "" : headingOf(modules[node.module]), typeOf(node), node.source]
      .some((text) => text.toLowerCase().includes(words))).map((node) => node.id);
  now.hit = null;
  byId("found").textContent = words === "" ? "" : matches.length ? `${matches.length} found` : "no match";
  highlight();
}
function next(by) {
  if (!matches.length) return;
  const at = now.hit === null ? (by > 0 ? 0 : matches.length - 1)
    : (matches.indexOf(now.hit) + by + matches.length) % matches.length;
  now.hit = matches[at];
  byId("found").textContent = `${at + 1} of ${matches.length}`;
  reveal(nodes[now.hit]);
  highlight();
  bringIntoView(idOf(nodes[now.hit]));
}
byId("search").addEventListener("input", find);
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
});

// ----- steps and playback ----------------------------------------------------------------------

const places = frames.length || steps.length;
const slider = byId("slider");
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
    byId("playback").replaceChildren(html("b", `n${node} ${titleOf(nodes[node])}`),
      ...lines.map((text) => html("div", text)));
  } else if (now.step) {
    byId("moment").textContent = `step ${now.step.number} · loss ${figure(now.step.loss)}`;
    const at = (now.place + 0.5) / places * 100;
    for (const end of ["x1", "x2"]) byId("losses").lastChild?.setAttribute(end, at);
  }
}
// The loss over the steps, above the slider; where it is not finite there is a gap.
function drawLosses() {
  const losses = steps.map((step) => real(step.loss));
  const finite = losses.filter((loss) => loss !== null && Number.isFinite(loss));
  if (!finite.length) return byId("losses").remove();
  const low = Math.min(...finite), range = Math.max(...finite) - low || 1;
  let path = "";
  losses.forEach((loss, i) => {
    const known = Number.isFinite(loss) && loss !== null;
    const joins = i > 0 && losses[i - 1] !== null && Number.isFinite(losses[i - 1]);
    if (known) path += `${joins ? "L" : "M"}${(i + 0.5) / places * 100} ${0.95 - 0.9 * (loss - low) / range}`;
  });
  byId("losses").append(svg("path", { d: path }), svg("line", { y1: 0, y2: 1 }));
}
let timer = null;
function play() {
  if (timer === null && now.place === places - 1) go(0);
  else if (timer === null) go(now.place + 1);
  timer = timer === null ? setInterval(() => (now.place < places - 1 ? go(now.place + 1) : play()), 900)
    : clearInterval(timer) ?? null;
  byId("play").textContent = timer === null ? "▶" : "❚❚";
}

// ----- beginning -------------------------------------------------------------------------------

byId("title").textContent = document.title = given.title;
if (failure) {
  byId("failure").hidden = false;
  byId("failure").textContent = `${failure.op} failed in the ${failure.during} pass: ${failure.message}`
    + (failure.source ? `\n${failure.source}  ${failure.code}` : "");
  for (const module of around(nodes[failedNode ?? count])) folded.delete(module);
}
if (places > 1 || frames.length) {
  byId("player").hidden = false;
  slider.max = places - 1;
  if (frames.length) {
    byId("playback").hidden = false;
    byId("losses").remove();
  } else drawLosses();
  slider.addEventListener("input", () => go(Number(slider.value)));
  byId("play").addEventListener("click", play);
}
byId("fold").addEventListener("click", () => foldAll(true));
byId("unfold").addEventListener("click", () => foldAll(false));
byId("halves").addEventListener("click", () => {
  both = !both;
  byId("halves").setAttribute("aria-pressed", both);
  redraw();
  fit();
});
byId("in").addEventListener("click", () => zoom(1.25));
byId("out").addEventListener("click", () => zoom(0.8));
byId("whole").addEventListener("click", () => fit());
byId("theme").addEventListener("click", () => {
  const { style } = document.documentElement;
  const dark = style.colorScheme ? style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  style.colorScheme = dark ? "light" : "dark";
});
const KEYS = {
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => fit(),
  "/": () => byId("search").focus(), Escape: () => choose(null),
  ArrowLeft: () => places > 1 && go(now.place - 1), ArrowRight: () => places > 1 && go(now.place + 1),
  " ": () => places > 1 && play(),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, button")) return;
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
addEventListener("beforeprint", () => fit());
redraw();
fit(0.7);
