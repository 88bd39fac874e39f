// What is seen over the steps: the heatmap of all layers, the lines of one node in the details, and
// the loss above the slider.

// ----- the loss --------------------------------------------------------------------------------

const DECADES = 2; // a positive curve that spans so many is drawn by its logarithm
const spans = (numbers) => Math.min(...numbers) > 0 &&
  Math.log10(Math.max(...numbers) / Math.min(...numbers)) >= DECADES;

// A curve over the steps in a box of 100 x 1, with a gap where it is not finite; "" for none.
function curve(numbers, isLog) {
  const heights = isLog ? numbers.map(Math.log10) : numbers;
  const finite = heights.filter(Number.isFinite);
  const low = Math.min(...finite), range = Math.max(...finite) - low || 1;
  let path = "";
  heights.forEach((height, i) => {
    if (!Number.isFinite(height)) return;
    const stroke = Number.isFinite(heights[i - 1]) ? "L" : "M";
    const x = 100 * i / (heights.length - 1 || 1), y = 0.95 - 0.9 * (height - low) / range;
    path += `${stroke}${x} ${y}`;
  });
  return path;
}
function drawLosses() {
  const losses = steps.map(({ loss }) => loss ?? NaN);
  const finite = losses.filter(Number.isFinite);
  const isLog = finite.length > 0 && spans(finite);
  byId("losses").toggleAttribute("hidden", !finite.length);
  byId("losses").append(svg("path", { d: curve(losses, isLog) }), cursor);
  byId("logged").hidden = !isLog;
}
if (steps.length > 1 && !frames.length) drawLosses();

// ----- the lines of a node ---------------------------------------------------------------------

function rms(summary) {
  const norm = normIn(summary);
  return norm === null ? null : norm / Math.sqrt(summary.count);
}
function sparkline(name, numbers) {
  const known = numbers.map((x) => x ?? NaN), finite = known.filter(Number.isFinite);
  if (!finite.length) return [];
  const isLog = spans(finite), x = 100 * now.place / (steps.length - 1);
  const chart = svg("svg", { class: "spark", viewBox: "0 0 100 1", preserveAspectRatio: "none" },
    svg("path", { d: curve(known, isLog) }), svg("line", { x1: x, x2: x, y1: 0, y2: 1 }));
  chart.addEventListener("click", ({ clientX }) => {
    const { left, width } = chart.getBoundingClientRect();
    go(Math.round((clientX - left) / width * (steps.length - 1)));
  });
  const ends = html("div", "", "ends");
  ends.append(html("span", name), html("span",
    `${figure(Math.min(...finite))} … ${figure(Math.max(...finite))}${isLog ? " (log)" : ""}`));
  return [ends, chart];
}
function linesOf(node, name) {
  const over = (of) => steps.map((step) => of(step) ?? null);
  return [
    ...sparkline(`${name}RMS of the gradient`, over(({ gradients }) => rms(gradients[node.id]))),
    ...(name ? [] : sparkline("std of the value", over(({ values }) => values[node.id]?.std))),
    ...sparkline(`${name}update/weight`, over(({ updates }) => updates[node.id])),
  ];
}
function showLines() {
  if (chosen[0] !== "n" || steps.length < 2 || frames.length) return;
  const held = graph.boxes.get(chosen)?.parameters ?? [];
  const lines = [
    ...linesOf(nodes[Number(chosen.slice(1))], ""),
    ...held.flatMap((parameter) => linesOf(parameter, `${titleOf(parameter)}: `)),
  ];
  if (lines.length) details.append(html("h3", "over the steps"), ...lines);
}
after.told.push(showLines);

// ----- the heatmap -----------------------------------------------------------------------------

// What can be shown: a number for a node at a step, and its colour. A share goes from none to all;
// of the rest the decades from the usual size are seen, blue below and vermilion above.
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const share = (name) => ({ of: ({ values }, { id }) => values[id]?.[name] ?? null, isShare: true });
const MEASURES = {
  "gradient (RMS)": {
    of: ({ gradients }, { id, kind }) => (kind === "parameter" ? rms(gradients[id]) : null),
  },
  "update/weight": { of: ({ updates }, { id }) => updates[id] ?? null, usual: 1e-3 },
  dead: share("dead"),
  saturated: share("saturated"),
  "spread (std)": { // a single number has none
    of: ({ values }, { id, kind }) =>
      (kind === "op" && values[id]?.count > 1 ? values[id].std ?? null : null),
  },
};
const LOW = [0, 114, 178], HIGH = [213, 94, 0], USUAL = [238, 238, 238];
const NOT_KNOWN = [128, 128, 128, 40], NOT_FINITE = [204, 121, 167, 255];
function heatOf(x, { isShare, usual, decades }) {
  if (x === null) return NOT_KNOWN;
  if (!Number.isFinite(x)) return NOT_FINITE;
  const t = isShare ? x : Math.max(-1, Math.min(1, Math.log10(x / usual) / decades));
  const end = t < 0 ? LOW : HIGH;
  return [...USUAL.map((from, i) => Math.round(from + Math.abs(t) * (end[i] - from))), 255];
}
// The usual size, and how many decades from it are told apart.
function scaleFor({ usual, ...measure }, numbers) {
  const sizes = numbers.filter((x) => Number.isFinite(x) && x > 0);
  const middle = usual ?? median(sizes) ?? 1;
  const far = sizes.reduce((most, x) => Math.max(most, Math.abs(Math.log10(x / middle))), 0);
  return { ...measure, usual: middle, decades: Math.max(1, Math.min(6, Math.ceil(far))) };
}

const heatmap = byId("heatmap");
const ROW = 16; // pixels; in page.css too
const rowsOf = ({ of }) => nodes.filter((node) => steps.some((step) => of(step, node) !== null));
function layerOf(node) {
  const { id, kind, name, module } = node;
  if (kind !== "op" || module === null) return name || titleOf(node);
  const layer = headingOf(modules[module]);
  return singles.get(module) === id ? layer : `${layer} · ${titleOf(node)}`;
}

function drawHeat(name) {
  const rows = rowsOf(MEASURES[name]), { of } = MEASURES[name];
  const cells = rows.map((node) => steps.map((step) => of(step, node)));
  const scale = scaleFor(MEASURES[name], cells.flat()), { isShare, usual, decades } = scale;
  const canvas = html("canvas", "");
  [canvas.width, canvas.height] = [steps.length, rows.length];
  canvas.style.height = `${ROW * rows.length}px`;
  const pen = canvas.getContext("2d"), dots = pen.createImageData(steps.length, rows.length);
  cells.flat().forEach((x, i) => dots.data.set(heatOf(x, scale), 4 * i));
  pen.putImageData(dots, 0, 0);
  const labels = html("div", "", "layers");
  labels.append(...rows.map((node) => {
    const button = action(layerOf(node), () => showNode(node.id));
    button.title = layerOf(node);
    return button;
  }));
  const at = ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const part = (from, size, count) =>
      Math.max(0, Math.min(count - 1, Math.floor(from / size * count)));
    return [part(clientY - top, height, rows.length), part(clientX - left, width, steps.length)];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [row, place] = at(event), x = cells[row][place];
    canvas.title = `${layerOf(rows[row])}, step ${steps[place].number}: ` +
      (isShare ? percent(x) : figure(x));
  });
  canvas.addEventListener("click", (event) => {
    const [row, place] = at(event);
    go(place);
    showNode(rows[row].id);
  });
  const marker = html("i", "", "marker"), field = html("div", "", "field");
  field.append(canvas, marker);
  const grid = html("div", "", "grid");
  grid.append(labels, field);
  const ends = isShare ? ["0 %", "100 %"] : [-decades, decades].map((d) => figure(usual * 10 ** d));
  const key = html("p", "", "scale"), { number: first } = steps[0], { number: last } = steps.at(-1);
  key.append(html("span", ends[0]), html("i", "", isShare ? "shares" : "decades"),
    html("span", ends[1]), html("span", `steps ${first} … ${last}`));
  return [grid, key];
}
const measured = Object.keys(MEASURES).filter((name) => rowsOf(MEASURES[name]).length);
const [measureLabel, measureOf] = choice("show", ...measured);
function showHeat() {
  if (heatmap.hidden) return;
  heatmap.replaceChildren(measureLabel, ...drawHeat(measured[measureOf.selectedIndex]));
  markPlace();
}
function markPlace() {
  const marker = heatmap.querySelector(".marker");
  if (!marker || heatmap.hidden) return;
  marker.style.left = `${100 * now.place / steps.length}%`;
  marker.style.width = `${100 / steps.length}%`;
}
measureOf.addEventListener("change", showHeat);
after.updated.push(markPlace);
byId("heat").hidden = !measured.length || steps.length < 2 || frames.length > 0;
byId("heat").addEventListener("click", () => {
  heatmap.hidden = !heatmap.hidden;
  byId("heat").setAttribute("aria-pressed", !heatmap.hidden);
  showHeat();
});
