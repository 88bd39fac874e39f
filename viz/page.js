"use strict";
// The page of a traced graph. It reads the trace, decides what is visible (modules can be folded),
// lays that out, draws it once as SVG, and then colours it for each step without moving anything.
// Text of the trace enters the page through textContent and setAttribute alone, never as markup.

// ----- the trace -------------------------------------------------------------------------------

const given = JSON.parse(document.getElementById("data").textContent);
const { nodes, modules, steps, frames, failure } = given.trace;

// An op that raised has no node. It is drawn as one more, unless the node whose rule raised is.
const failedRule = failure?.during === "backward" ? failure.node : null;
const failed = failure ? failedRule ?? nodes.length : null;
if (failed === nodes.length)
  nodes.push({
    id: failed, kind: "failed", op: failure.op, name: "", module: failure.module, shape: null,
    attributes: "", source: failure.source, code: failure.code, rule: null,
    inputs: failure.inputs.map(([name, source, text]) => ({ name, source, text, formula: "" })),
  });

// JSON lacks three of the numbers; null is what was not computed.
const REALS = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const real = (value) => (typeof value === "string" ? REALS[value] : value ?? null);

const folded = new Set(given.folded);
const paths = []; // of each module: the ids from the outermost module to itself
for (const { id, parent } of modules) paths.push([...(parent === null ? [] : paths[parent]), id]);
const around = (node) => (node.module === null ? [] : paths[node.module]);

const outputs = new Set(given.trace.outputs);
const consumers = nodes.map(() => []); // of each node: [target, port] of every edge from it
for (const node of nodes)
  node.inputs.forEach(({ source }, port) => {
    if (source !== null) consumers[source].push([node.id, port]);
  });

// ----- words -----------------------------------------------------------------------------------

const line = (text) => // as one line that can be printed
  text.slice(0, 600).replace(/\s+/g, " ").replace(/\p{C}/gu, "\ufffd").trim();

function typeOf({ shape, dtype }) {
  return shape ? line(`${dtype} (${shape.join(", ")}${shape.length === 1 ? "," : ""})`) : "";
}
function titleOf({ kind, op, name, module }) {
  const path = module === null ? "" : `${modules[module].path}.`;
  const own = path && name.startsWith(path) ? name.slice(path.length) : name;
  if (kind === "input" || kind === "parameter") return line(own || kind);
  return line(own ? `${own} = ${op}` : op);
}
function headingOf({ path, type, call, repeat }) {
  const calls = call ? `call ${call + 1}` : "", blocks = repeat > 1 ? `×${repeat}` : "";
  return line([path, type, calls, blocks].join(" "));
}

function figure(value) {
  const x = real(value), size = Math.abs(x);
  if (x === null) return "–";
  if (Number.isNaN(x)) return "NaN";
  if (size === Infinity) return x > 0 ? "∞" : "-∞";
  if (x === 0 || (Number.isInteger(x) && size < 1e5)) return String(x);
  return size < 1e-3 || size >= 1e5 ? x.toExponential(1) : String(Number(x.toPrecision(3)));
}
function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
function scaled(value, unit = "") { // 12300 -> "12.3 k"; bytes in steps of 1024
  if (value === null) return "–";
  const base = unit === "B" ? 1024 : 1000;
  const power = value < base ? 0 : Math.min(4, Math.floor(Math.log(value) / Math.log(base)));
  const prefix = ["", unit ? "Ki" : "k", "M", "G", "T"][power] + (power > 1 && unit ? "i" : "");
  return `${Number((value / base ** power).toPrecision(3))} ${prefix}${unit}`.trim();
}
const duration = (seconds) => (seconds === null ? "–" : `${figure(seconds * 1000)} ms`);
const total = (saved) => (saved ? Object.values(saved).reduce((sum, size) => sum + size, 0) : null);

// ----- sizes of text ---------------------------------------------------------------------------

// How a line is set: [weight, size, height]. Nothing is drawn that was not measured first.
const TYPES = {
  title: [700, 15, 20], head: [700, 14, 18], text: [400, 13, 17], strong: [700, 13, 17],
  small: [400, 11.5, 15],
};
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
    if (widthOf(`${letters.slice(0, middle).join("")}…`, type) <= most) low = middle;
    else high = middle;
  }
  return `${letters.slice(0, low).join("")}…`;
}

// ----- what is visible -------------------------------------------------------------------------

let both = true; // whether the backward half is shown
const LEFT = 215, RIGHT = 330; // the longest lines of the two halves
const MARGIN = 9;
const NAMES = 17; // the height of the row with the names of the inputs
const NORM = widthOf("8.8e-88", "small") + 4;

function idOf(node) { // of its box: its own, or that of the outermost folded module around it
  const hiding = around(node).find((module) => folded.has(module));
  return hiding === undefined ? `n${node.id}` : `m${hiding}`;
}
const isAt = (box, node) => node !== null && idOf(nodes[node]) === box.id;

function visibleGraph() {
  const boxes = new Map(), edges = new Map();
  const ids = nodes.map(idOf);
  for (const node of nodes) {
    const id = ids[node.id];
    if (!boxes.has(id)) {
      const box = { id, node, module: null, outside: around(node), inside: [], ins: [], outs: [] };
      if (id[0] === "m") {
        box.node = null;
        box.module = modules[Number(id.slice(1))];
        box.outside = paths[box.module.id].slice(0, -1);
      }
      boxes.set(id, box);
    }
    boxes.get(id).inside.push(node);
  }
  for (const node of nodes)
    node.inputs.forEach(({ source, name, gradient }, port) => {
      const from = boxes.get(ids[source]), to = boxes.get(ids[node.id]);
      if (source === null || from === to) return;
      const key = `${from.id} ${to.id} ${to.module ? "" : port}`;
      if (!edges.has(key)) {
        const edge = { key, from, to, parts: [], gradient: false };
        edge.name = to.module ? "" : shortened(line(name), "small", 90);
        edges.set(key, edge);
        from.outs.push(edge);
        to.ins.push(edge);
      }
      edges.get(key).parts.push(`${node.id}:${port}`); // as `Step.shares` calls it
      edges.get(key).gradient ||= Boolean(gradient);
    });
  for (const box of boxes.values()) attach(box);
  for (const box of boxes.values()) if (!box.host) measure(box);
  return { boxes, edges: [...edges.values()] };
}

// A parameter that one op alone uses stands at the left of that op, if something else comes from
// above; so the values flow down a straight line.
function attach(box) {
  const isOwn = ({ from }) => from.node?.kind === "parameter" && from.outs.length === 1 &&
    from.node.module === box.node?.module;
  box.beside = box.ins.every(isOwn) ? [] : box.ins.filter(isOwn);
  box.tops = box.ins.filter((edge) => !box.beside.includes(edge));
  for (const { from } of box.beside) from.host = box;
}

// The lines of a box. One with `live` is set anew for each step; its text here is the longest.
const row = (text, kind = "", type = "text", most = LEFT) =>
  ({ text: shortened(line(text), type, most), kind, type });
const alarm = (text) => row(text, "alarm", "strong");

function aboutFolded({ id, module, inside }) {
  const ops = inside.filter(({ kind }) => kind === "op");
  const leaves = ({ id: own }) =>
    outputs.has(own) || consumers[own].some(([target]) => idOf(nodes[target]) !== id);
  const results = [...new Set(ops.filter(leaves).map(typeOf))];
  const parameters = `${module.parameters.toLocaleString("en")} parameters`;
  return [
    row(headingOf(module), "", "title", RIGHT),
    row(`${ops.length} op${ops.length === 1 ? "" : "s"}, ${parameters}`, "faint", "text", RIGHT),
    ...results.slice(0, 3).map((type) => row(`→ ${type}`, "", "text", RIGHT)),
    ...(results.length > 3 ? [row(`… ${results.length - 3} more outputs`, "faint")] : []),
  ];
}
function aboutForward(node) {
  const plain = node.inputs.filter(({ source }) => source === null);
  const told = plain.map(({ name, text }) => `${name} = ${text}`);
  const attributes = [node.attributes, ...(node.kind === "op" ? told : [])].filter(Boolean);
  return [
    row(titleOf(node), "", "title"),
    ...(attributes.length ? [row(attributes.join(", "), "faint")] : []),
    ...(node.kind === "failed" ? [alarm("failed")] : [row(typeOf(node))]),
    ...(node.note ? [alarm(node.note)] : []),
    ...health(node),
  ];
}
function aboutBackward(node) {
  if (node.kind === "failed")
    return node.inputs.map(({ name, text }) => row(`${name}: ${text}`, "", "text", RIGHT));
  const flowing = node.inputs.filter(({ gradient }) => gradient && both);
  const formulas = flowing.slice(0, 5).map(({ name, formula }) =>
    row(`∂L/∂${name} = ${formula || "…"}`, "formula", "text", RIGHT));
  if (flowing.length > 5) formulas.push(row(`… ${flowing.length - 5} more`, "faint"));
  return formulas;
}

function measure(box) {
  box.front = box.module ? aboutFolded(box) : aboutForward(box.node);
  box.back = box.module ? [] : aboutBackward(box.node);
  const behind = box.back.length ? box.back : box.front;
  if (!box.module && box.node.id === failed && box.node.kind !== "failed")
    behind.push(alarm("its rule failed"));
  if (marked.values.has(box.id)) box.front.push(mark(box, "first NaN/Inf here", "badValue"));
  if (marked.gradients.has(box.id))
    behind.push(mark(box, "gradient: first NaN/Inf here", "badGradient"));

  const width = (rows) => Math.max(...rows.map(({ text, type }) => widthOf(text, type)));
  const height = (rows) => rows.reduce((sum, { type }) => sum + TYPES[type][2], 0);
  box.left = width(box.front) + 2 * MARGIN;
  box.right = box.back.length ? width(box.back) + 2 * MARGIN : 0;
  placeTops(box);
  box.names = box.named && box.tops.length ? NAMES : 4;
  box.h = box.names + Math.max(height(box.front), height(box.back)) + 7;
  // What stands beside it, above one another.
  let stack = -8;
  box.column = 0;
  for (const edge of box.beside) {
    measure(edge.from);
    edge.room = Math.max(widthOf(edge.name, "small"), NORM) + 22;
    box.column = Math.max(box.column, edge.from.w + edge.room);
    stack += edge.from.h + 8;
  }
  box.h = Math.max(box.h, stack);
}

// Where the edges from above end: a cell each, with the input's name in front of the arrow and the
// norm of the gradient behind it. One alone ends where the two halves meet.
function placeTops(box) {
  box.named = box.tops.length <= 8;
  const cells = box.tops.map(({ name, gradient }) => [
    box.named ? widthOf(name, "small") + 12 : 7,
    box.named && both && gradient ? NORM + 9 : 7,
  ]);
  const all = cells.reduce((sum, [before, after]) => sum + before + after, 8);
  const [before, after] = cells.length === 1 ? cells[0] : [all / 2, all / 2];
  box.left = Math.max(box.left, box.right ? before : 2 * Math.max(before, after));
  if (box.right) box.right = Math.max(box.right, after);
  box.w = box.left + box.right;
  box.axis = box.right ? box.left : box.w / 2;
  let x = box.axis - before + (cells.length === 1 ? 0 : 4);
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
const MANY = 20000; // segments, from which on time matters more than the last crossing
const isLane = ({ key }) => key === "";
const isEntry = ({ key }) => key[0] === "<";
const isExit = ({ key }) => key[0] === ">";

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
    if (!vertices.has(key)) vertices.set(key, { ...newVertex(key), ins: [], outs: [] });
    return vertices.get(key);
  };
  for (const box of boxes.values())
    if (!box.host) vertexOf(box.outside.at(-1) ?? null, box.id).box = box;

  // Where an edge crosses the frame of a module, that has a port: "<" for a wire that comes in at
  // the top, ">" for one that leaves at the bottom.
  const link = (module, edge, from, to) => {
    const level = levelOf(module);
    const key = to === edge.to.id ? edge.key : `${edge.from.id} ${to}`;
    if (!level.links.has(key)) {
      const added = { level, edge, from: vertexOf(module, from), to: vertexOf(module, to) };
      added.from.outs.push(added);
      added.to.ins.push(added);
      level.links.set(key, added);
    }
    return level.links.get(key);
  };
  const within = ({ outside, id }, depth) => (depth < outside.length ? `m${outside[depth]}` : id);
  for (const edge of edges) {
    const { from, to } = edge;
    if (from.host) continue;
    let shared = 0; // so many modules are around both
    while (shared < from.outside.length && from.outside[shared] === to.outside[shared]) shared++;
    edge.route = [];
    for (let i = from.outside.length; i > shared; i--)
      edge.route.push(link(from.outside[i - 1], edge, within(from, i), `>${from.id}`));
    const common = from.outside[shared - 1] ?? null;
    edge.route.push(link(common, edge, within(from, shared), within(to, shared)));
    for (let i = shared + 1; i <= to.outside.length; i++)
      edge.route.push(link(to.outside[i - 1], edge, `<${from.id}`, within(to, i)));
  }
  const inOrder = [...levels.values()].sort((a, b) => (b.module ?? -1) - (a.module ?? -1));
  for (const level of inOrder) arrange(level); // a parent comes before its children
  const root = levels.get(null) ?? { w: 0, h: 0, rows: [] };
  put(root, 0, 0);
  return { levels: inOrder.reverse(), w: root.w, h: root.h };
}

function newVertex(key, layer = 0) {
  const size = { x: 0, w: LANE, h: 0 };
  return { key, layer, ...size, depth: 0, height: 0, ups: [], downs: [], pull: 1, shift: 0 };
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
  if (segments.length < MANY) swapNeighbours(rows);
  setAcross(rows, segments);
  for (const vertex of vertices) if (vertex.box?.module) sortTops(vertex);
  setDown(level, rows, segments, links);
}

// The row of each vertex is the length of the longest path to it. A link that would close a cycle
// counts for nothing; only modules that take turns make one.
function layers(vertices) {
  const left = new Set(vertices), ready = [], order = [];
  for (const vertex of vertices) {
    vertex.waits = vertex.ins.length;
    vertex.layer = isEntry(vertex) ? 0 : 1;
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
  const last = vertices.reduce((most, v) => Math.max(most, v.layer + Number(!isExit(v))), 1);
  for (const vertex of vertices) if (isExit(vertex)) vertex.layer = last;
  // What can sink without making a lane longer does: leaves, what only they lead to, and so on.
  const isLoose = ({ from }) =>
    isEntry(from) || !from.ins.length || (from.sinks && from.outs.length === 1);
  for (const vertex of order) {
    vertex.depth = vertex.layer;
    vertex.sinks = !isEntry(vertex) && vertex.ins.every(isLoose);
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
        lane[i] = newVertex("", i);
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
  const sweeps = segments.length > MANY ? 3 : 13;
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
    let sum = 0;
    for (const s of a.ups)
      for (const t of b.ups) sum += Number(s.upper.x + s.out > t.upper.x + t.out);
    for (const s of a.downs)
      for (const t of b.downs) sum += Number(s.lower.x + s.into > t.lower.x + t.into);
    return sum;
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
  const sweeps = segments.length > MANY ? 5 : 12;
  for (let i = 0; i < sweeps; i++) {
    for (const trunk of i < sweeps / 3 ? [] : trunks) {
      let sum = 0;
      for (const vertex of trunk) sum += vertex.x - vertex.shift;
      for (const vertex of trunk) vertex.line = sum / trunk.length + vertex.shift;
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
    row.forEach((vertex, i) => {
      vertex.before = row[i - 1];
      vertex.after = row[i + 1];
    });
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
      const trunk = [vertex];
      for (let v = vertex; v.next; v = v.next.lower) {
        v.next.lower.shift = v.shift + v.next.out - v.next.into; // its place relative to the first
        trunk.push(v.next.lower);
      }
      for (const member of trunk) member.pull = Math.min(trunk.length, 20);
      trunks.push(trunk);
    }
  return trunks.sort((a, b) => b.length - a.length);
}

// The least Σ pull (x - want)² with the order and the distances kept (pool adjacent violators):
// those that would collide move as one block, whose place is their mean.
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
    const places = run.map((vertex) => vertex.x - vertex.shift).sort((a, b) => a - b);
    const x = Math.max(low, Math.min(high, places[places.length >> 1]));
    for (const vertex of run) vertex.x = x + vertex.shift;
  };
  for (const vertex of trunk) {
    const { before, after, shift } = vertex;
    const least = before ? before.x + apart(before, vertex) - shift : -Infinity;
    const most = after ? after.x - apart(vertex, after) - shift : Infinity;
    if (Math.max(low, least) > Math.min(high, most)) {
      flush();
      [run, low, high] = [[], -Infinity, Infinity];
    }
    run.push(vertex);
    low = Math.max(low, least);
    high = Math.min(high, most);
  }
  flush();
}

// The edges that enter a folded module are put in the order in which they come.
function sortTops({ box, ins }) {
  const from = new Map();
  for (const link of ins) {
    const lane = link.lanes?.at(-1);
    from.set(link.edge, lane ? lane.x + LANE / 2 : link.from.x + leaving(link));
  }
  box.tops.sort((a, b) => from.get(a) - from.get(b));
  placeTops(box);
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
    const extent = { top: y, base: y + tall };
    for (const vertex of row) {
      vertex.y = vertex.ups.length ? y : y + tall - vertex.h; // a leaf is close to its use
      vertex.row = extent;
      left = Math.min(left, vertex.x);
      right = Math.max(right, vertex.x + vertex.w);
      if (isEntry(vertex)) port = Math.min(port, vertex.x);
    }
    y += tall;
    if (!row.length || !rows[i + 1]?.length) return;
    const least = isEntry(row[0]) || isExit(rows[i + 1][0]) ? 4 : 26;
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
      vertex.top = Y + vertex.row.top;
      vertex.base = Y + vertex.row.base;
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
    points.push([start, isEntry(from) ? level.Y : from.Y + from.h], [start, below]);
    if (link.back) {
      const aside = level.X + link.aside;
      points.push([start, below + 9], [aside, below + 9], [aside, to.top - 9], [end, to.top - 9]);
    } else
      for (const lane of link.lanes)
        points.push([lane.X + LANE / 2, lane.Y], [lane.X + LANE / 2, lane.base]);
    points.push([end, to.Y]);
    if (isExit(to)) points.push([end, level.Y + level.h]);
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
  const [frames, values, gradients, boxes] = [svg("g"), svg("g"), svg("g"), svg("g")];
  for (const level of graph.levels) if (level.module !== null) frames.append(drawFrame(level));
  for (const box of graph.boxes.values()) boxes.append(drawBox(box));
  for (const edge of graph.edges) {
    values.append(drawEdge(edge, false));
    if (edge.gradient && both) gradients.append(edge.line = drawEdge(edge, true));
    boxes.append(...namesOf(edge));
  }
  world.replaceChildren(frames, values, gradients, boxes);
  graph.gradients = gradients;
  update();
}

function drawFrame({ module, X, Y, w, h, heading }) {
  const label = `fold ${headingOf(modules[module])}`;
  const button = { class: "heading", tabindex: 0, role: "button", "data-fold": module };
  return svg("g", { class: "frame", id: `m${module}`, transform: `translate(${X} ${Y})` },
    svg("rect", { class: "border", width: w, height: h, rx: 10 }),
    svg("g", { ...button, "aria-label": label },
      svg("rect", { width: widthOf(heading, "head") + INSET, height: HEAD - 4 }),
      written(heading, "head", INSET / 2 + 3, 19, "faint")));
}

function drawBox(box) {
  const { id, node, module, w, h, left, right } = box;
  const group = svg("g", { id, tabindex: 0, role: "button" });
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

// ----- search ----------------------------------------------------------------------------------

const search = byId("search"), found = byId("found");
let matches = [];
function find() {
  const words = search.value.trim().toLowerCase();
  const told = (node) => [node.op, node.name, typeOf(node), node.source,
    node.module === null ? "" : headingOf(modules[node.module])];
  const fits = (node) => told(node).some((text) => text.toLowerCase().includes(words));
  matches = words ? nodes.filter(fits).map(({ id }) => id) : [];
  found.textContent = !words ? "" : matches.length ? `${matches.length} found` : "no match";
  hit = null;
  highlight();
}
function nextMatch(by) {
  if (!matches.length) return;
  const from = hit === null ? (by > 0 ? -1 : 0) : matches.indexOf(hit);
  const place = (from + by + matches.length) % matches.length;
  hit = matches[place];
  found.textContent = `${place + 1} of ${matches.length}`;
  reveal(nodes[hit]);
  highlight();
  bringIntoView(idOf(nodes[hit]));
}
search.addEventListener("input", find);
search.addEventListener("keydown", ({ key, shiftKey }) => {
  if (key === "Enter") nextMatch(shiftKey ? -1 : 1);
});

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
// The loss over the steps, above the slider; where it is not finite there is a gap.
function drawLosses() {
  const losses = steps.map(({ loss }) => real(loss) ?? NaN);
  const finite = losses.filter(Number.isFinite);
  byId("losses").toggleAttribute("hidden", !finite.length);
  const low = Math.min(...finite), range = Math.max(...finite) - low || 1;
  let path = "";
  losses.forEach((loss, i) => {
    const stroke = Number.isFinite(losses[i - 1]) ? "L" : "M", x = 100 * i / (places - 1);
    if (Number.isFinite(loss)) path += `${stroke}${x} ${0.95 - 0.9 * (loss - low) / range}`;
  });
  byId("losses").append(svg("path", { d: path }), cursor);
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
if (places > 1 || frames.length) {
  byId("player").hidden = false;
  byId("playback").hidden = !frames.length;
  byId("losses").toggleAttribute("hidden", Boolean(frames.length));
  if (!frames.length) drawLosses();
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
