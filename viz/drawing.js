// Text of the trace enters the page through textContent and setAttribute alone, never as markup.

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

// What the files after page.js do once something has changed here.
const after = { redrawn: [], drawn: [], chosen: [], looked: [], updated: [], told: [] };
const tell = (change) => after[change].forEach((act) => act());

let graph; // what is visible, with its places
let live; // functions that set what differs from step to step

// Of a graph with more boxes and edges only what is in sight is drawn, and from afar a sketch.
const SMALL = 3000;

function redraw() {
  findMarked();
  graph = visibleGraph();
  Object.assign(graph, layOut(graph));
  live = [];
  graph.large = graph.boxes.size + graph.edges.length > SMALL;
  const groups = ["frames", "sketch", "values", "gradients", "inside"];
  graph.groups = Object.fromEntries(groups.map((name) => [name, svg("g", { class: name })]));
  graph.gradients = graph.groups.gradients;
  for (const level of graph.levels)
    if (level.module !== null) graph.groups.frames.append(drawFrame(level));
  world.replaceChildren(...Object.values(graph.groups));
  if (graph.large) sketch();
  else drawWithin(-Infinity, -Infinity, Infinity, Infinity);
  update();
  showLegend();
  tell("redrawn");
}

// The keys of what is drawn.
function showLegend() {
  const boxes = [...graph.boxes.values()], { edges } = graph;
  const gradients = both && edges.some(({ gradient }) => gradient);
  const judged = gradients && recorded;
  const anyTone = (test) =>
    judged && steps.some((step) => Object.values(step.judged.edges).some(test));
  const isMissing = ({ parts }) => parts.length > 0 && steps.some(({ shares }) =>
    parts.every((part) => (shares[part] ?? null) === null));
  const kind = (name) => boxes.some(({ node }) => node?.kind === name);
  const has = (letter) => ({ back }) =>
    back.some(({ text }) => text.split(/[^\p{L}\d_]+/u).includes(letter));
  const ruled = boxes.filter(({ back }) => back.some(({ kind }) => kind === "formula"));
  const drawn = {
    input: kind("input"),
    parameter: kind("parameter") || boxes.some(({ parameters }) => parameters.length),
    op: kind("op"), module: boxes.some(({ module }) => module),
    output: boxes.some(({ output }) => output !== undefined),
    repeat: modules.some(({ repeat }) => repeat > 1), value: edges.length > 0,
    loop: edges.some(({ back }) => back), many: edges.some(({ many, count }) => many && count > 1),
    gradient: judged, width: judged, zero: anyTone((t) => t === -Infinity),
    nan: anyTone(Number.isNaN) || steps.some(({ values }) => Object.values(values).some(isBroken)),
    backwards: gradients && !recorded,
    unknown: judged && (frames.length > 0 || edges.some((edge) => edge.gradient && isMissing(edge))),
    arriving: ruled.some(has("g")) && nodes.every(({ name }) => name !== "g"),
    made: ruled.filter(has("y")).some(({ node: { called, name } }) => called === "y" && name !== "y"),
    sum: ruled.some(({ node }) => node.inputs.some(({ summed }) => summed)), broken: MARKS.some((kind) => marked[kind].size),
    noted: nodes.some(({ note }) => note), cost: paint !== "health",
  };
  for (const key of document.querySelectorAll(".key")) key.hidden = !drawn[key.classList[1]];
}

// Draw what is in an area and not drawn yet. Returns how much that is.
function drawWithin(left, top, right, bottom) {
  const { values, gradients, inside } = graph.groups;
  const meets = ([x, y, X, Y]) => x <= right && X >= left && y <= bottom && Y >= top;
  let count = 0;
  for (const box of graph.boxes.values()) {
    if (box.element || !meets([box.x, box.y, box.x + box.w, box.y + box.h])) continue;
    inside.append(box.element = drawBox(box));
    count++;
  }
  for (const edge of graph.edges) {
    edge.points ??= corners(edge);
    edge.area ??= extent(edge.points);
    if (edge.drawn || !meets(edge.area)) continue;
    edge.drawn = true;
    values.append(edge.valueLine = drawEdge(edge, false));
    if (edge.gradient && both) gradients.append(edge.line = drawEdge(edge, true));
    inside.append(...(edge.names = namesOf(edge)));
    count++;
  }
  return count;
}
function extent(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    [box[0], box[1]] = [Math.min(box[0], x), Math.min(box[1], y)];
    [box[2], box[3]] = [Math.max(box[2], x), Math.max(box[3], y)];
  }
  return box;
}
// All boxes and edges as two shapes, for a view from so far away that nothing can be read.
function sketch() {
  let boxes = "", edges = "";
  for (const { x, y, w, h } of graph.boxes.values()) boxes += `M${x} ${y}h${w}v${h}h${-w}z`;
  for (const edge of graph.edges) {
    edge.points = corners(edge);
    edges += `M${edge.points.map(([x, y]) => `${Math.round(x)} ${Math.round(y)}`).join("L")}`;
  }
  graph.groups.sketch.append(
    svg("path", { class: "edge value", d: edges }), svg("path", { class: "sketched", d: boxes }));
}
// Called whenever the view moves.
function drawInSight() {
  if (!graph.large) return;
  const { x, y, scale } = camera;
  const width = view.clientWidth / scale, height = view.clientHeight / scale;
  const [left, top] = [-x / scale, -y / scale];
  const afar = scale < 0.2;
  world.classList.toggle("afar", afar);
  if (afar) return;
  const before = live.length;
  if (drawWithin(left - width / 2, top - height / 2, left + 1.5 * width, top + 1.5 * height)) {
    for (const set of live.slice(before)) set();
    colourEdges();
    highlight();
    tell("drawn");
  }
}

function drawFrame({ module, X, Y, w, h, heading }) {
  const label = `fold ${headingOf(modules[module])}`;
  const button = { class: "heading", tabindex: -1, role: "button", "data-fold": module };
  const frame = svg("g", { class: "frame", id: `m${module}`, transform: `translate(${X} ${Y})` },
    svg("rect", { class: "border", width: w, height: h, rx: 10 }),
    svg("g", { ...button, "aria-label": label },
      svg("rect", { width: widthOf(heading, "head") + INSET, height: HEAD - 4 }),
      written(heading, "head", INSET / 2 + 3, 19, "faint")));
  if (groups.has(module)) frame.append(...drawPicker(module, widthOf(heading, "head") + 2 * INSET));
  return frame;
}
// Which of the equal blocks is shown: ‹ 17 › and all.
function drawPicker(group, left) {
  const chosen = chosenBlock(group), { size } = groups.get(group);
  const button = (text, to, x, label) => {
    const attributes = { class: "turn", tabindex: 0, role: "button", "aria-label": label };
    return svg("g", { ...attributes, "data-group": group, "data-block": to },
      svg("rect", { x, y: 3, width: widthOf(text, "head") + 14, height: 22, rx: 5 }),
      written(text, "head", x + 7, 19));
  };
  if (chosen === ALL) return [button("one", 0, left, "show one block")];
  const number = written(String(chosen), "head", left + 48, 19);
  number.setAttribute("text-anchor", "middle");
  return [
    button("‹", (chosen + size - 1) % size, left, "block before"), number,
    button("›", (chosen + 1) % size, left + 72, "next block"),
    button("all", ALL, left + 100, `show all ${size} blocks`),
  ];
}

function drawBox(box) {
  const { id, node, module, w, h, left, right } = box;
  const group = svg("g", { id, tabindex: -1, role: "button" });
  group.setAttribute("transform", `translate(${box.x} ${box.y})`);
  group.setAttribute(module ? "data-fold" : "data-node", module ? module.id : node?.id ?? box.output);
  group.setAttribute("aria-label", box.front.map(({ text }) => text).join(", "));
  group.classList.add("box", module ? "module" : node?.kind ?? "output");
  group.classList.toggle("gradient", node?.kind === "op" && node.rule !== null);
  group.classList.toggle("failed", isAt(box, failed));
  group.classList.toggle("noted", box.inside.some(({ note }) => note));
  group.append(svg("rect", { class: "ground", width: w, height: h, rx: 6 }));
  if (right) { // below the names of the inputs; the name of one alone stands in the left half
    const top = box.tops.length > 1 ? box.names : 1, bend = top === 1 ? 5 : 0;
    const edge = `h${right - 1 - bend}q${bend} 0 ${bend} ${bend}V${h - 6}q0 5 -5 5`;
    group.append(svg("path", { class: "backward", d: `M${left} ${top}${edge}H${left}` }));
    group.append(svg("path", { class: "divider", d: `M${left} ${top}V${h - 1}` }));
  }
  for (const [rows, x] of [[box.front, MARGIN], [box.back, left + MARGIN]]) {
    let y = box.names - 4;
    for (const { text, kind, type, live: set } of rows) {
      y += TYPES[type][2];
      if (kind === "parameter") {
        const area = { x: 1.5, y: y - 13, width: left - (right ? 2 : 3), height: 17 };
        group.append(svg("rect", { class: "held", ...area }));
      }
      const element = written(text, type, x, y, type === "title" ? "" : `fine ${kind}`);
      if (set) live.push(() => {
        const [words, kind] = set();
        element.textContent = words;
        element.setAttribute("class", `fine ${kind}`);
        element.setAttribute("font-weight", kind === "faint" ? 400 : 700);
      });
      group.append(element);
    }
    if (rows === box.front && box.image !== null) {
      const size = { x, y: y + 5, width: left - 2 * MARGIN, height: PICTURE };
      const image = svg("image", { class: "fine", preserveAspectRatio: "xMinYMin meet", ...size });
      live.push(() => image.setAttribute("href", now.step?.values[box.image]?.image ?? ""));
      group.append(image);
    }
  }
  group.append(svg("rect", { class: "outline", width: w, height: h, rx: 6 }));
  return group;
}

// Value and gradient run side by side: the one down at the left, the other up at the right.
function drawEdge(edge, gradient) {
  const aside = both && edge.gradient ? (gradient ? 4 : -4) : 0;
  const tip = gradient ? 8 : -7, wing = gradient ? 4 : 3.5;
  const { points } = edge;
  let [x, y] = points[0];
  let path = `M${x + aside} ${y}`;
  const isStraight = (X) => Math.abs(X - x) < 0.5;
  points.forEach(([X, Y, right = 1, down = 0], i) => {
    if (!down && isStraight(X) && isStraight(points[i + 1]?.[0])) return; // on in the same line
    const middle = (y + Y) / 2 - aside * Math.max(-1, Math.min(1, (X - x) / 30));
    const end = `${X + right * aside} ${Y + down * aside}`;
    if (isStraight(X) || Y === y) path += `L${end}`;
    else path += `C${x + aside} ${middle} ${X + aside} ${middle} ${end}`;
    [x, y] = [X, Y];
  });
  [x, y] = points.at(gradient ? 0 : -1);
  x += aside;
  path += `M${x - wing} ${y + tip}L${x} ${y}L${x + wing} ${y + tip}`;
  const classes = `edge ${gradient ? "gradient" : "value"}${edge.many && edge.count > 1 ? " many" : ""}`;
  return svg("path", { class: edge.back ? `${classes} back` : classes, d: path });
}

// The name of the input that an edge is, and the norm of its gradient, in its target.
function namesOf(edge) {
  const { to, name } = edge;
  if (!to.named) return [];
  const x = to.x + edge.at, y = to.y + 14;
  const texts = name ? [written(name, "small", x - 8 - widthOf(name, "small"), y, "fine faint")] : [];
  if (edge.gradient && both) {
    const text = written("", "small", x + 8, y);
    live.push(() => {
      text.textContent = recorded && edge.parts.length ? toldOf(edge) : "";
      text.setAttribute("class", `fine ${toneAt(edge).kind}`);
    });
    texts.push(text);
  }
  return texts;
}
