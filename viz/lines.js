// What was seen over the steps, as lines: the loss above the slider, and in the details what is
// known of a node.

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
