// ----- modules and equal blocks ----------------------------------------------------------------

const paths = []; // of each module: the ids from the outermost module to itself
for (const { id, parent } of modules) paths.push([...(parent === null ? [] : paths[parent]), id]);
const around = (node) => (node.module === null ? [] : paths[node.module]);
const isOp = ({ kind, rule }) => kind === "op" && rule === null;

// A group of N equal blocks opens to one of them. What stands at the same place in each block are
// twins: `slots[i][k]` is the twin at place i in block k, and `slotsOf` has [group, k, i] of each
// node, the outermost group first.
const groups = new Map();
const slotsOf = nodes.map(() => []);
const shownBlock = new Map(); // of each group the number of the block that is shown, or ALL
const ALL = "all";
if (given.repeated)
  for (const { id, repeat } of modules)
    if (repeat > 1 && !given.repeated.includes(id)) shownBlock.set(id, ALL);
(function pairTwins() {
  const blocks = new Map(); // the ops in each block
  for (const { parent, id } of modules)
    if (parent !== null && modules[parent].repeat > 1) blocks.set(id, []);
  for (const node of nodes)
    if (isOp(node)) for (const m of around(node)) blocks.get(m)?.push(node.id);
  for (const { id: group, repeat } of modules) {
    const ops = [...blocks.entries()].filter(([m]) => modules[m].parent === group);
    const alike = ops.every(([, all]) => all.length === ops[0][1].length &&
      all.every((id, i) => nodes[id].op === nodes[ops[0][1][i]].op));
    if (repeat < 2 || ops.length !== repeat || !ops[0][1].length || !alike) continue;
    const slots = ops[0][1].map((_, i) => ops.map(([, all]) => all[i]));
    const placed = new Set(slots.flat());
    for (const twins of [...slots]) pairLeaves(ops, twins, slots, placed);
    groups.set(group, { slots, size: repeat });
    slots.forEach((twins, i) => twins.forEach((id, k) => {
      if (id !== null) slotsOf[id].push([group, k, i]);
    }));
  }
})();
function pairLeaves(ops, twins, slots, placed) { // that only ops of one block read
  nodes[twins[0]].inputs.forEach((_, port) => {
    const leaves = twins.map((id, k) => {
      const source = nodes[id].inputs[port]?.source ?? null;
      const own = source !== null && nodes[source].kind !== "op" && !placed.has(source) &&
        consumers[source].every(([target]) => around(nodes[target]).includes(ops[k][0]));
      return own ? source : null;
    });
    if (leaves[0] === null) return;
    slots.push(leaves);
    for (const leaf of leaves) placed.add(leaf);
  });
}
const chosenBlock = (group) => shownBlock.get(group) ?? 0;

// The node that is shown for a node: itself, or its twin in the block that is shown.
function shownTwin(id) {
  for (;;) {
    const slot = slotsOf[id].find(([group, k, i]) => {
      const chosen = chosenBlock(group);
      return chosen !== ALL && chosen !== k && groups.get(group).slots[i][chosen] !== null;
    });
    if (!slot) return id;
    id = groups.get(slot[0]).slots[slot[2]][chosenBlock(slot[0])];
  }
}

// ----- what is a box ---------------------------------------------------------------------------

const NESTED = 40; // the most frames in one another, as in the static pictures
const singles = new Map(Object.entries(given.singles).map(([m, op]) => [Number(m), op]));
const leaves = new Set(given.leaves); // layers with a few ops: one box unless someone unfolds them
const folded = new Set(given.folded ?? leaves);
const hides = (m) => folded.has(m) && !singles.has(m); // a module of one op is that op's box

// Whether a module of the program is around it, and not just a group of equal blocks.
const isInModule = (module) =>
  module !== null && paths[module].some((m) => modules[m].type !== "" && modules[m].repeat === 1);

let homes = []; // of each node the id of its box
let placeOf = []; // of each node the innermost module around what is shown for it
function common(all) { // the innermost module around these
  const [first, ...others] = all.map((m) => (m === null ? [] : paths[m]));
  return first?.findLast((m, i) => others.every((path) => path[i] === m)) ?? null;
}
const idOf = ({ id }) => homes[id];
const isAt = (box, node) => node !== null && homes[node] === box.id;
function findHomes() {
  const twins = nodes.map(({ id }) => shownTwin(id));
  placeOf = twins.map((id) => nodes[id].module);
  for (const { id, kind, module } of nodes) // what every block reads is where it is read
    if (kind === "parameter" && groups.has(module) && isOpen(module))
      placeOf[id] = common(consumers[id].map(([target]) => nodes[twins[target]].module));
  homes = twins.map((twin, id) => {
    const hiding = placeOf[id] === null ? undefined : paths[placeOf[id]].find(hides);
    return hiding === undefined ? `n${twin}` : `m${hiding}`;
  });
  // A parameter of a module stands in the box that reads it, if that is one alone.
  for (const { id, kind, module, rule } of nodes) {
    if (rule !== null && twins[rule] !== rule) homes[id] = homes[rule];
    if (kind !== "parameter" || !isInModule(module) || homes[id][0] === "m") continue;
    const readers = new Set(consumers[id].map(([target]) => homes[target]));
    const [reader] = readers;
    if (readers.size === 1 && reader[0] === "n") homes[id] = reader;
  }
}

// Of equal blocks all edges but those of the block that is shown look the same as those. What
// leads from one block to a later one leads back to the beginning of the one that is shown.
const isOpen = (group) => chosenBlock(group) !== ALL && !paths[group].some(hides);
function leadsBack(source, target) {
  return slotsOf[source].some(([group, k]) => isOpen(group) &&
    slotsOf[target].some(([other, l]) => other === group && l > k));
}
function isShown(source, target) { // whether it is an edge of the blocks that are chosen
  const chosen = (id) => slotsOf[id].every(([group, k]) => !isOpen(group) ||
    chosenBlock(group) === k);
  return slotsOf[target].some(([group]) => isOpen(group)) ? chosen(target) : chosen(source);
}

function visibleGraph() {
  findHomes();
  const boxes = new Map(), edges = new Map();
  const newBox = (id, more) => {
    const box = { id, node: null, module: null, inside: [], parameters: [], ins: [], outs: [] };
    boxes.set(id, Object.assign(box, more));
    return box;
  };
  for (const node of nodes) {
    const id = homes[node.id], number = Number(id.slice(1));
    if (!boxes.has(id))
      newBox(id, id[0] === "m" ? { module: modules[number] } : { node: nodes[number] });
    const box = boxes.get(id);
    box.inside.push(node);
    if (box.node && node.kind === "parameter" && node !== box.node && node.id === shownTwin(node.id))
      box.parameters.push(node);
  }
  addFrames(boxes);
  const add = (from, to, port, part) => {
    const { source, name, called, gradient } = part.input;
    const target = part.target;
    const back = target !== null && leadsBack(source, target);
    if (from === to && !back) return;
    const many = /^(.*)\[\d+\]$/.exec(name)?.[1]; // "xs" of "xs[3]"
    const key = `${from.id} ${to.id} ${to.node ? many ?? port : ""} ${back ? "back" : ""}`;
    if (!edges.has(key)) {
      const edge = { key, from, to, gradient: false, back, name: "", count: 0, shown: [], rest: [] };
      if (to.node) edge.name = shortened(line(called || name), "small", 90);
      edge.many = to.node && many;
      edges.set(key, edge);
      if (!back) {
        from.outs.push(edge);
        to.ins.push(edge);
      } else to.loops = [...(to.loops ?? []), edge];
    }
    const edge = edges.get(key);
    edge.count++;
    edge.gradient ||= Boolean(gradient);
    const isPart = target === null || isShown(source, target);
    (isPart ? edge.shown : edge.rest).push([source, target, port]);
  };
  for (const node of nodes)
    node.inputs.forEach((input, port) => {
      if (input.source === null) return;
      const from = boxes.get(homes[input.source]), to = boxes.get(homes[node.id]);
      add(from, to, port, { input, target: node.id });
    });
  addOutputs(boxes, newBox, add);
  for (const edge of edges.values()) {
    // What the chosen block does not have, such as the way out of the last, is told of the others;
    // but nothing comes back to the first.
    const told = edge.shown.length || edge.back ? edge.shown : edge.rest;
    edge.sources = told.map(([source]) => source);
    edge.parts = told.filter(([, target, port]) => nodes[target]?.inputs[port].gradient)
      .map(([, target, port]) => `${target}:${port}`); // as `Step.shares` calls it
  }
  for (const edge of edges.values())
    if (edge.many && edge.count > 1) edge.name = `${edge.many} ×${edge.count}`; // such as stack
  for (const box of boxes.values()) measure(box);
  return { boxes, edges: [...edges.values()] };
}

// A small box at the bottom for what the graph is asked for, with its key.
function addOutputs(boxes, newBox, add) {
  const keys = new Map();
  given.trace.outputs.forEach((id, k) => {
    const home = homes[id];
    if (!keys.has(home)) keys.set(home, []);
    keys.get(home).push([id, k]);
  });
  for (const [home, told] of keys) {
    const names = [...new Set(told.map(([, k]) => given.words.outputs[k]))];
    const [id, first] = told[0];
    const box = newBox(`o${first}`, { output: id, words: names.join(", "), outside: [] });
    add(boxes.get(home), box, 0, { input: { source: id, name: "", gradient: false }, target: null });
  }
}

// One call around all others is never folded: one box would say nothing.
const roots = modules.filter(({ parent }) => parent === null);
const isOutermost = ({ id, path, type, repeat }) =>
  roots.length === 1 && roots[0].id === id && path === "" && type !== "" && repeat === 1;

// A frame is drawn around two boxes or more; around an outermost module only if something is
// computed beside it; and not where frames are nested too deeply.
let frameAround = new Map(); // of each module that has a frame: the module whose frame is around it
function addFrames(boxes) {
  const counts = new Map(), computed = new Map();
  const pathOf = ({ node, module }) => (module ? paths[module.id].slice(0, -1)
    : placeOf[node.id] === null ? [] : paths[placeOf[node.id]]);
  const count = (map, m) => map.set(m, (map.get(m) ?? 0) + 1);
  for (const box of boxes.values())
    for (const m of [null, ...pathOf(box)]) {
      count(counts, m);
      if (!box.node || box.node.kind === "op" || box.node.kind === "failed") count(computed, m);
    }
  const has = (m) => {
    const { parent, repeat, type } = modules[m];
    if (groups.has(m) && chosenBlock(m) !== ALL) return counts.has(m);
    if (groups.has(parent) && chosenBlock(parent) !== ALL) return false; // the block that is shown
    const beside = parent !== null || computed.get(m) !== computed.get(null);
    return counts.get(m) > 1 && (type !== "" || repeat > 1) && beside;
  };
  frameAround = new Map();
  const framed = (path) => path.filter(has).slice(0, NESTED);
  for (const box of boxes.values()) {
    box.outside = framed(pathOf(box));
    box.outside.forEach((m, i) => frameAround.set(m, box.outside[i - 1] ?? null));
  }
}
