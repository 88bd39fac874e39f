// The heatmap: all layers over all steps. A click on a cell leads to that node at that step.

// What can be shown, as in `viz.heatmap`: a number for a node at a step. A share goes from none to
// all; of the rest the decades from the usual size are seen, which is the median if it is not given.
const shareOfUnits = (name, words) => ({
  words, isShare: true,
  of({ values }, { id }) { // NaN gives no share
    const known = values[id]?.[name] ?? null;
    return known === null && isBroken(values[id]) && knows(name, id) ? NaN : known;
  },
});
const knows = (name, id) => steps.some(({ values }) => (values[id]?.[name] ?? null) !== null);
const MEASURES = {
  gradient: {
    words: "RMS of the gradient of each weight",
    of: ({ gradients }, { id, kind }) => (kind === "parameter" ? rms(gradients[id]) : null),
  },
  update: {
    words: "update/weight, 1e-3 being usual", usual: 1e-3,
    of: ({ updates }, { id }) => updates[id] ?? null,
  },
  dead: shareOfUnits("dead", "share of units that give 0 for the whole batch"),
  saturated: shareOfUnits("saturated", "share within 1 % of an end of the range"),
  spread: {
    words: "standard deviation of what each op gave",
    of({ values }, { id, kind }) {
      const told = values[id];
      if (kind !== "op" || !told || told.count < 2) return null;
      return isBroken(told) ? NaN : told.std;
    },
  },
};
// The rows: the weights, if it is known of some, and not their biases; else all but single numbers.
function rowsOf({ of }) {
  const known = nodes.filter((node) => node.shape?.some((length) => length > 1) &&
    steps.some((step) => of(step, node) !== null));
  const weights = known.filter(({ kind, shape }) => kind === "parameter" && shape.length > 1);
  return weights.length ? weights : known;
}
function layerOf({ kind, name, op, module }) {
  if (kind === "parameter" || module === null) return line(name || op);
  const { path, type, call } = modules[module];
  return line(`${path || type} ${op}${call ? ` (call ${call + 1})` : ""}`);
}

const LOW = [0, 114, 178], HIGH = [213, 94, 0], USUAL = [238, 238, 238], ZERO = [0, 48, 77];
const NOT_KNOWN = [128, 128, 128, 60], NOT_FINITE = [204, 121, 167, 255];
function heatOf(x, { isShare, usual, decades }) {
  if (x === null) return NOT_KNOWN;
  if (!Number.isFinite(x)) return NOT_FINITE;
  if (x === 0 && !isShare) return [...ZERO, 255];
  const t = isShare ? x : Math.max(-1, Math.min(1, Math.log10(x / usual) / decades));
  const end = t < 0 ? LOW : HIGH;
  return [...USUAL.map((from, i) => Math.round(from + Math.abs(t) * (end[i] - from))), 255];
}
function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
const DECADES_SEEN = [4, 12]; // from the usual size to the full colour: the least, and the most
function scaleFor({ usual, isShare }, numbers) {
  const sizes = numbers.filter((x) => Number.isFinite(x) && x > 0);
  const middle = usual ?? (sizes.length ? median(sizes) : 1);
  const far = sizes.reduce((most, x) => Math.max(most, Math.abs(Math.log10(x / middle))), 0);
  const [least, most] = DECADES_SEEN;
  return { isShare, usual: middle, decades: Math.max(least, Math.min(most, far)) };
}

const heatmap = byId("heatmap");
const ROW = 16; // pixels; in page.css too
function drawHeat(name) {
  const rows = rowsOf(MEASURES[name]), { of } = MEASURES[name];
  const cells = rows.map((node) => steps.map((step) => of(step, node)));
  const scale = scaleFor(MEASURES[name], cells.flat()), { isShare } = scale;
  const canvas = html("canvas", "");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", MEASURES[name].words);
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
  return [grid, keyOf(scale, cells.flat())];
}
function keyOf({ isShare, usual, decades }, numbers) {
  const ends = isShare ? ["0 %", "100 %"] : [-decades, decades].map((d) => figure(usual * 10 ** d));
  const key = html("p", "", "scale");
  key.append(html("span", ends[0]), html("i", "", isShare ? "shares" : "decades"),
    html("span", ends[1]));
  const others = [
    ["none", "exactly 0", !isShare && numbers.includes(0)],
    ["broken", "NaN or infinite", numbers.some((x) => x !== null && !Number.isFinite(x))],
    ["missing", "not recorded", numbers.includes(null)],
  ];
  for (const [kind, words, isThere] of others)
    if (isThere) key.append(html("i", "", kind), html("span", words));
  key.append(html("span", `steps ${steps[0].number} … ${steps.at(-1).number}`, "steps"));
  return key;
}
const measured = Object.keys(MEASURES).filter((name) => rowsOf(MEASURES[name]).length);
const [measureLabel, measureOf] = choice("show", ...measured);
function showHeat() {
  if (heatmap.hidden) return;
  const name = measured[measureOf.selectedIndex];
  heatmap.replaceChildren(measureLabel, html("span", MEASURES[name].words), ...drawHeat(name));
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
