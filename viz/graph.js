"use strict";
// The page of a traced graph is one program in three files. It reads the trace and decides what is
// visible, since modules can be folded (graph.js); it lays that out (layout.js); it draws it once
// as SVG, and then colours it for each step without moving anything (page.js).

// ----- the trace -------------------------------------------------------------------------------

const given = JSON.parse(document.getElementById("data").textContent);
const { nodes, modules, steps, frames, failure, remarks } = given.trace;

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
function scaled(value, unit = "") { // 12300 -> "12.3 k"
  if (value === null) return "–";
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  const prefix = ["", "k", "M", "G", "T"][power];
  return `${Number((value / 1000 ** power).toPrecision(3))} ${prefix}${unit}`.trim();
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
