// Every open module is laid out by itself, the innermost first, and is then one large vertex of the
// module around it: so a frame holds its members and nobody else. Within a level the drawing is in
// layers (Sugiyama, Tagawa and Toda, 1981): an edge leads from one row to a later one, and in the
// rows between it has a lane. All edges from one box share their lanes: a "wire".
const BETWEEN = 30, LANE = 8, INSET = 14, HEAD = 30;
const PICKER = 150; // the room for choosing one of equal blocks, behind a heading
const MANY = 20000; // segments, from which on time matters more than the last crossing
const LONG = 20; // rows; where there are too many lanes, a longer link runs beside everything
const isLane = ({ key }) => key === "";
const isEntry = ({ key }) => key[0] === "<";
const isExit = ({ key }) => key[0] === ">";
const isOutput = ({ box }) => box?.output !== undefined; // at the bottom
const isInput = ({ box }) => box?.node?.kind === "input"; // at the top

function layOut({ boxes, edges }) {
  const levels = new Map(); // by open module; that around all of them is null
  const levelOf = (module) => {
    if (!levels.has(module)) {
      const level = { module, vertices: new Map(), links: new Map() };
      levels.set(module, level);
      if (module !== null) vertexOf(frameAround.get(module), `m${module}`).inner = level;
    }
    return levels.get(module);
  };
  const vertexOf = (module, key) => {
    const { vertices } = levelOf(module);
    if (!vertices.has(key)) vertices.set(key, { ...newVertex(key), ins: [], outs: [] });
    return vertices.get(key);
  };
  for (const box of boxes.values()) vertexOf(box.outside.at(-1) ?? null, box.id).box = box;

  // Where an edge crosses the frame of a module, that has a port: "<" for a wire that comes in at
  // the top, ">" for one that leaves at the bottom.
  const link = (module, edge, from, to) => {
    const level = levelOf(module);
    const key = (to === edge.to.id ? edge.key : `${edge.from.id} ${to}`) + (edge.back ? "^" : "");
    if (!level.links.has(key)) {
      const added = { level, edge, from: vertexOf(module, from), to: vertexOf(module, to) };
      added.back = edge.back && !isExit(added.to) && !isEntry(added.from);
      if (!added.back) {
        added.from.outs.push(added);
        added.to.ins.push(added);
      }
      level.links.set(key, added);
    }
    return level.links.get(key);
  };
  const within = ({ outside, id }, depth) => (depth < outside.length ? `m${outside[depth]}` : id);
  for (const edge of edges) {
    const { from, to } = edge;
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
  const inside = new Map(); // of each open module: how many boxes
  for (const { outside } of boxes.values())
    for (const m of outside) inside.set(m, (inside.get(m) ?? 0) + 1);
  for (const level of inOrder) { // a parent comes before its children
    arrange(level);
    if (level.module === null || 2 * inside.get(level.module) > boxes.size) intoColumns(level);
  }
  const root = levels.get(null) ?? { w: 0, h: 0, rows: [], links: new Map() };
  put(root, 0, 0);
  return { levels: inOrder.reverse(), w: root.w, h: root.h };
}

function newVertex(key, layer = 0) {
  const size = { x: 0, w: LANE, h: 0 };
  return { key, layer, ...size, depth: 0, height: 0, ups: [], downs: [], pull: 1, shift: 0 };
}
// Where a link leaves its upper vertex and enters its lower one, from the left side of each.
function leaving({ from, edge }) {
  if (from.box) return from.box.axis;
  return from.inner ? from.inner.vertices.get(`>${edge.from.id}`).x + LANE / 2 : LANE / 2;
}
function entering({ to, edge }) {
  if (to.box) return edge.at;
  return to.inner ? to.inner.vertices.get(`<${edge.from.id}`).x + LANE / 2 : LANE / 2;
}

function arrange(level) {
  const vertices = [...level.vertices.values()];
  for (const vertex of vertices) {
    if (vertex.box) [vertex.w, vertex.h] = [vertex.box.w, vertex.box.h];
    if (vertex.inner) [vertex.w, vertex.h] = [vertex.inner.w, vertex.inner.h];
  }
  const links = [...level.links.values()];
  const rows = layers(vertices);
  sparePlace(links);
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
  const lowest = vertices.reduce((most, v) => Math.max(most, isExit(v) ? 0 : v.layer), 1);
  for (const vertex of vertices) if (isOutput(vertex)) vertex.layer = lowest;
  // What can sink without making a lane longer does: leaves, what only they lead to, and so on.
  const isLoose = ({ from }) =>
    isEntry(from) || !from.ins.length || (from.sinks && from.outs.length === 1);
  for (const vertex of order) {
    vertex.depth = vertex.layer;
    vertex.sinks = !isEntry(vertex) && !isInput(vertex) && vertex.ins.every(isLoose);
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

function sparePlace(links) {
  const ends = new Map(); // of each wire: how many rows it spans
  const span = (link) => link.to.layer - link.from.layer;
  for (const link of links)
    if (!link.back) ends.set(link.edge.from, Math.max(ends.get(link.edge.from) ?? 0, span(link)));
  const lanes = [...ends.values()].reduce((sum, rows) => sum + rows, 0);
  if (lanes > MANY) for (const link of links) link.far = !link.back && span(link) > LONG;
}

// A link becomes segments from row to row, with a lane in each row between.
function cutIntoSegments(links, rows) {
  const segments = [], lanes = new Map(); // by wire: the lane in each row
  const join = (wire, upper, lower, out, into, axis = into) => {
    const segment = { wire, upper, lower, out, into, axis };
    upper.downs.push(segment);
    lower.ups.push(segment);
    segments.push(segment);
  };
  for (const link of links) {
    if (link.back || link.far) continue;
    const wire = link.edge.from.id;
    if (!lanes.has(wire)) lanes.set(wire, []);
    const lane = lanes.get(wire);
    link.lanes = [];
    let upper = link.from, out = leaving(link);
    for (let i = link.from.layer + 1; i < link.to.layer; i++) {
      if (!lane[i]) {
        lane[i] = newVertex("", i);
        rows[i].push(lane[i]);
        join(wire, upper, lane[i], out, LANE / 2);
      }
      upper = lane[i];
      out = LANE / 2;
      link.lanes.push(upper);
    }
    const { box } = link.to;
    join(wire, upper, link.to, out, entering(link), box && box.axis);
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
  const back = links.filter((link) => link.back || link.far);
  let y = (level.module === null ? 0 : HEAD) + (back.length ? 16 : 0);
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
    const least = isEntry(row[0]) || isExit(rows[i + 1][0]) ? 4 : 24;
    y += Math.max(least, Math.min(90, 16 + slants[i] / 8), back.length ? 28 : 0);
  });
  const asides = new Map(); // one for each wire
  for (const link of back) {
    const { from } = link.edge;
    if (!asides.has(from)) asides.set(from, right + BETWEEN / 2 * (1 + asides.size % 50));
    link.aside = asides.get(from);
  }
  right += BETWEEN / 2 * Math.min(asides.size, 50);
  let shift = -left;
  level.w = right - left;
  if (level.module !== null) {
    level.heading = shortened(`▾ ${headingOf(modules[level.module])}`, "head", 420);
    const picker = groups.has(level.module) ? PICKER : 0;
    const head = widthOf(level.heading, "head") + 2 * INSET + picker;
    shift += Math.max(INSET, head - (port - left));
    level.w = Math.max(shift + right + INSET, head);
    y += INSET + (back.length ? 12 : 0);
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
      if (vertex.box) [vertex.box.x, vertex.box.y] = [vertex.X, vertex.Y];
    }
}

// The corners of an edge from its source down to its target: [x, y], and how much of the distance
// between a value and its gradient is added to x and to y. Within a row an edge runs straight down,
// so it meets no box; it turns between rows alone.
function corners({ route }) {
  const points = [];
  for (const link of route) {
    const { from, to, level } = link;
    const start = from.X + leaving(link), end = to.X + entering(link);
    const below = from.base;
    points.push([start, isEntry(from) ? level.Y : from.Y + from.h], [start, below]);
    if (link.aside !== undefined) {
      const aside = level.X + link.aside, [low, high] = [below + 10, to.top - 11];
      points.push([start, low, 1, -1], [aside, low, -1, -1], [aside, high, -1, -1],
        [end, high, 1, -1]);
    } else {
      let before = from, x = start;
      for (const lane of [...link.lanes, to]) {
        const X = lane === to ? end : lane.X + LANE / 2;
        if (lane.column !== before.column)
          points.push(...throughGutter(link, before, lane, x, X));
        if (lane !== to) points.push([X, lane.Y], [X, lane.base]);
        [before, x] = [lane, X];
      }
    }
    points.push([end, to.Y]);
    if (isExit(to)) points.push([end, level.Y + level.h]);
  }
  return points;
}

// ----- columns ---------------------------------------------------------------------------------

// A graph, or a module with most of it, that is much taller than the view is cut into columns, to
// be read as those of a newspaper. What leads from one to the next goes up between the two.
const LEGIBLE = innerWidth < 700 ? 0.7 : 0.88; // a smaller scale is chosen by hand alone
const PAPER = [700, 880]; // what a sheet has room for beside the legend, in the page's pixels
let printing = false;
const GUTTER = 26, WIRE = 12; // the room left and right of a wire, and that for each of them
function room() { // for the graph, in the page's pixels; a page that is hidden has none
  return [Math.max(200, view.clientWidth - 32), Math.max(200, view.clientHeight - 32)];
}
function intoColumns(level) {
  const { rows } = level;
  const [width, height] = printing ? PAPER : room();
  const scaleOf = (w, h) => Math.min(1, width / w, height / h);
  const isAside = [...level.links.values()].some((link) => link.aside !== undefined);
  if (scaleOf(level.w, level.h) >= LEGIBLE || rows.length < 4 || isAside) return;
  const extents = rows.filter((row) => row.length).map(extentOf);
  const whole = scaleOf(level.w, level.h);
  for (let scale = 1; scale > 1.05 * whole; scale *= 0.95) {
    const columns = cut(extents, height / scale - 2 * (8 + 2 * WIRE));
    if (scaleOf(...sizeOf(columns)) < scale) continue;
    return columns.length > 1 ? moveApart(level, evened(extents, columns, level.h)) : undefined;
  }
}
// As many columns, and the highest of them as low as can be.
function evened(extents, columns, most) {
  let [low, high, best] = [0, most, columns];
  while (high - low > 8) {
    const tried = cut(extents, (low + high) / 2);
    if (tried.length <= columns.length) [high, best] = [(low + high) / 2, tried];
    else low = (low + high) / 2;
  }
  return best;
}
// Rows in order, as many in each column as its height allows.
function cut(extents, height) {
  const columns = [];
  for (const { row, left, right, top, base, wires } of extents) {
    const last = columns.at(-1);
    if (!last || base - last.top > height)
      columns.push({ inside: [row], left, right, top, base, wires });
    else {
      last.inside.push(row);
      Object.assign(last, { base, left: Math.min(last.left, left) });
      last.right = Math.max(last.right, right);
    }
  }
  return columns;
}
function extentOf(row) {
  let left = Infinity, right = -Infinity;
  for (const { x, w } of row) [left, right] = [Math.min(left, x), Math.max(right, x + w)];
  const wires = new Set(); // that come from the row before
  for (const { ups } of row) for (const { wire } of ups) wires.add(wire);
  return { row, left, right, ...row[0].row, wires: [...wires] };
}
const gutterOf = ({ wires }) => GUTTER + WIRE * wires.length;
function sizeOf(columns) {
  const w = columns.reduce((sum, c, i) => sum + c.right - c.left + (i ? gutterOf(c) : 0), 0);
  const wires = Math.max(...columns.map((c) => c.wires.length));
  return [w, Math.max(...columns.map(({ top, base }) => base - top)) + 2 * (8 + WIRE * wires)];
}
function moveApart(level, columns) {
  const wires = Math.max(...columns.map((c) => c.wires.length));
  const above = level.module === null ? 0 : HEAD, head = above + 8 + WIRE * wires;
  let x = columns[0].left;
  columns.forEach((column, i) => {
    if (i) x += gutterOf(column);
    const [right, down] = [x - column.left, head - column.top];
    for (const row of column.inside) {
      Object.assign(row[0].row, { top: row[0].row.top + down, base: row[0].row.base + down });
      for (const vertex of row) {
        vertex.x += right;
        vertex.y += down;
        vertex.column = column;
      }
    }
    Object.assign(column, { gutter: x - gutterOf(column) + GUTTER / 2 + WIRE / 2, head, above });
    x += column.right - column.left;
  });
  const aside = level.module === null ? 0 : INSET;
  level.w = x + aside;
  level.h = sizeOf(columns)[1] + above + aside;
}
function throughGutter({ edge, level }, upper, lower, x, X) {
  const { column } = lower, slot = column.wires.indexOf(edge.from.id), count = column.wires.length;
  const gutter = level.X + column.gutter + WIRE * slot;
  const bottom = upper.column.base - upper.column.top + column.head;
  const low = level.Y + bottom + 8 + WIRE * (count - 1 - slot);
  const high = level.Y + column.above + WIRE * slot + WIRE / 2;
  return [[x, low, 1, -1], [gutter, low, -1, -1], [gutter, high, -1, -1], [X, high, 1, -1]];
}
