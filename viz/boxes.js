// ----- sizes of text ---------------------------------------------------------------------------

// How a line is set: [weight, size, height]. Nothing is drawn that was not measured first.
const TYPES = {
  title: [700, 15, 20], head: [700, 14, 18], text: [400, 13, 17], strong: [700, 13, 17],
  small: [400, 12, 15],
};
const FONT = 'Helvetica, Arial, "Liberation Sans", sans-serif';
const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();
function widthOf(text, type) {
  const key = type + text;
  if (!widths.has(key)) {
    const [weight, size] = TYPES[type];
    pen.font = `${weight} ${size}px ${FONT}`;
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

// ----- what a box says -------------------------------------------------------------------------

let both = true; // whether the backward half is shown
const LEFT = 300; // the longest line of a forward half
const MARKED = 480; // and of what is pointed out
// How wide a backward half is at most, and how many formulas it has: with fewer more fits.
const FORMULAS = [{ width: 330, formulas: 6 }, { width: 210, formulas: 3 },
  { width: 210, formulas: 0 }];
const most = { ...FORMULAS[0] };
const MARGIN = 9;
const NAMES = 17; // the height of the row with the names of the inputs
const NORM = widthOf("-8.88e-88", "small") + 4;
const PICTURE = 72; // the height of the filters or activations in a box

// The lines of a box. One with `live` is set anew for each step; its text here is the longest.
const row = (text, kind = "", type = "text", width = LEFT) =>
  ({ text: shortened(line(text), type, width), kind, type });
const alarm = (text) => row(text, "alarm", "strong");

function aboutFolded({ module }) {
  const [title, rows] = given.words.modules[module.id];
  return [
    row(title, "", "title", most.width),
    ...rows.map((text, i) => row(text, i ? "" : "faint", "text", most.width)),
  ];
}
function aboutForward({ node, parameters }) {
  const [title, rows] = wordsOf(node);
  return [
    row(title, "", "title"),
    ...rows.map((text, i) => row(text, i < rows.length - 1 ? "faint" : "")),
    ...(node.kind === "failed" ? [alarm("failed")] : []),
    ...(node.note ? [row(node.note, "note", "strong")] : []),
    ...health(node),
    ...parameters.flatMap((parameter) => [
      row(given.words.parameters[parameter.id], "parameter"), ...health(parameter, true),
    ]),
  ];
}
// The rules of a node by input, and those that run in other blocks only: through time from the
// second step.
function rulesOf(id) {
  const ports = [...nodes[id].inputs.keys()].filter((port) => nodes[id].inputs[port].gradient);
  const rules = new Map();
  let at = -1;
  for (const text of wordsOf(nodes[id])[2]) {
    if (text.startsWith("∂L/∂")) rules.set(ports[++at], []);
    rules.get(ports[at])?.push(text);
  }
  return rules;
}
function aboutBackward({ node }) {
  if (node.kind === "failed") return wordsOf(node)[2].map((text) => row(text, "", "text", most.width));
  if (!most.formulas) return [];
  const rules = rulesOf(node.id);
  for (const [group, , i] of slotsOf[node.id]) {
    const twins = groups.get(group).slots[i];
    for (const twin of [twins[1], twins[0], twins.at(-1)])
      if (isOpen(group) && twin !== null)
        for (const [port, lines] of rulesOf(twin)) if (!rules.has(port)) rules.set(port, lines);
  }
  const lines = [...rules.entries()].sort(([a], [b]) => a - b).flatMap(([, told]) => told);
  const count = lines.length > most.formulas ? most.formulas - 1 : lines.length;
  const rows = lines.slice(0, count).map((text) => row(text, "formula", "text", most.width));
  return count < lines.length ? [...rows, row(`… ${lines.length - count} more`, "faint")] : rows;
}

const widest = (rows) => Math.max(...rows.map(({ text, type }) => widthOf(text, type)));
const tallest = (rows) => rows.reduce((sum, { type }) => sum + TYPES[type][2], 0);
function measure(box) {
  if (box.output !== undefined) box.front = [row(box.words, "", "title")];
  else box.front = box.module ? aboutFolded(box) : aboutForward(box);
  box.back = box.node && both ? aboutBackward(box) : [];
  const behind = box.back.length ? box.back : box.front;
  if (box.node?.id === failed && box.node.kind !== "failed") behind.push(alarm("its rule failed"));
  if (marked.value.has(box.id)) box.front.push(...mark(box, "value"));
  if (marked.gradient.has(box.id)) behind.push(...mark(box, "gradient"));

  const pictures = [...(box.node ? [box.node] : []), ...box.parameters];
  box.image = pictures.find(({ id }) => steps.some(({ values }) => values[id]?.image))?.id ?? null;
  box.left = Math.max(widest(box.front), box.image === null ? 0 : PICTURE) + 2 * MARGIN;
  box.right = box.back.length ? widest(box.back) + 2 * MARGIN : 0;
  box.tops = [...box.ins];
  placeTops(box);
  const ends = [...box.tops, ...(box.loops ?? [])];
  box.names = box.named && ends.some(({ name, gradient }) => name || (gradient && both))
    ? NAMES : 4;
  const front = tallest(box.front) + (box.image === null ? 0 : PICTURE + 4);
  box.h = box.names + Math.max(front, tallest(box.back)) + 7;
}

// Where the edges from above end: a cell each, with the input's name in front of the arrow and the
// norm of the gradient behind it. One alone ends where the two halves meet. What comes from the
// block before ends behind them.
function placeTops(box) {
  const tops = [...box.tops, ...(box.loops ?? [])];
  box.named = tops.length <= 8;
  const cells = tops.map(({ name, gradient }) => [
    box.named && name ? widthOf(name, "small") + 12 : 7,
    box.named && both && gradient ? NORM + 9 : 7,
  ]);
  const all = cells.reduce((sum, [before, after]) => sum + before + after, 8);
  const [before, after] = cells.length === 1 ? cells[0] : [all / 2, all / 2];
  box.left = Math.max(box.left, box.right ? before : 2 * Math.max(before, after));
  if (box.right) box.right = Math.max(box.right, after);
  box.w = box.left + box.right;
  box.axis = box.right ? box.left : box.w / 2;
  let x = box.axis - before + (cells.length === 1 ? 0 : 4);
  tops.forEach((edge, i) => {
    edge.at = x + cells[i][0];
    x += cells[i][0] + cells[i][1];
  });
}
