"use strict";
// The page of a traced graph is one program in several files, in this order: it reads the trace
// (reading.js), decides what is a box (graph.js), what a box says (boxes.js) and where it stands
// (layout.js), draws it once as SVG (drawing.js), colours it for each step without moving anything
// (steps.js), tells more on request (details.js), and answers to the reader (page.js).

// ----- the trace -------------------------------------------------------------------------------

const given = JSON.parse(document.getElementById("data").textContent);
const { nodes, modules, frames, failure, remarks } = given.trace;

// An op that raised has no node. It is drawn as one more, unless the node whose rule raised is.
const failedRule = failure?.during === "backward" ? failure.node : null;
const failed = failure ? failedRule ?? nodes.length : null;
if (failed === nodes.length)
  nodes.push({
    id: failed, kind: "failed", op: failure.op, name: "", module: failure.module, shape: null,
    attributes: "", source: failure.source, code: failure.code, rule: null,
    inputs: failure.inputs.map(([name, source, text]) => ({ name, source, text, formula: "" })),
  });

const outputs = new Set(given.trace.outputs);
const consumers = nodes.map(() => []); // of each node: [target, port] of every edge from it
for (const node of nodes)
  node.inputs.forEach(({ source }, port) => {
    if (source !== null) consumers[source].push([node.id, port]);
  });

// ----- the steps -------------------------------------------------------------------------------

// Numbers come in four letters each, 24 bits: four decimal digits, the power of ten, and four that
// are no number of that kind (see `packed` in page.py).
const SPECIAL = [null, NaN, Infinity, -Infinity];
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const valueOf = new Uint8Array(128);
[...LETTERS].forEach((letter, i) => { valueOf[letter.charCodeAt(0)] = i; });
function numberAt(text, place) {
  let code = 0;
  for (let i = 4 * place; i < 4 * place + 4; i++) code = code * 64 + valueOf[text.charCodeAt(i)];
  if (code < 4) return SPECIAL[code];
  const exponent = (code - 4) % 700 - 350, digits = Math.floor((code - 4) / 700) - 10000;
  return Number(`${digits}e${exponent}`);
}
const numbersOf = (text) => Array.from({ length: text.length / 4 }, (_, i) => numberAt(text, i));

// A table has a row for each step and a column for each key; what is null is left out of a row.
function numberRows({ keys, told }, count) {
  const numbers = numbersOf(told);
  return Array.from({ length: count }, (_, step) => {
    const at = step * keys.length;
    return Object.fromEntries(
      keys.map((key, i) => [key, numbers[at + i]]).filter(([, value]) => value !== null));
  });
}
function summaryRows({ keys, columns, histograms, images }, count) {
  const named = Object.entries(columns).map(([name, told]) => [name, numbersOf(told)]);
  const bars = histograms.split(",");
  const summaryAt = (place) => {
    const summary = { nan: 0, inf: 0, zeros: 0 };
    for (const [name, numbers] of named) summary[name] = numbers[place];
    summary.histogram = [...bars[place]].map((letter) => valueOf[letter.charCodeAt(0)]);
    if (place in images) summary.image = images[place];
    return summary;
  };
  return Array.from({ length: count }, (_, step) => {
    const row = {};
    keys.forEach((key, i) => {
      const place = step * keys.length + i;
      const summary = summaryAt(place);
      if (summary.count !== null) row[key] = summary;
    });
    return row;
  });
}
const steps = (({ told, loss, values, gradients, shares, updates, judged }) => {
  const count = told.length, losses = numbersOf(loss);
  const rows = [summaryRows(values, count), summaryRows(gradients, count),
    numberRows(shares, count), numberRows(updates, count)];
  const tones = judged && [numberRows(judged.nodes, count), numberRows(judged.edges, count)];
  return told.map((rest, i) => ({
    ...rest, loss: losses[i], values: rows[0][i], gradients: rows[1][i], shares: rows[2][i],
    updates: rows[3][i],
    judged: tones && { nodes: tones[0][i], edges: tones[1][i], notes: judged.notes[i] },
  }));
})(given.steps);

// ----- numbers in words ------------------------------------------------------------------------

// A number in three digits, as `labels.number` writes it in the static pictures.
function figure(x) {
  if (x === null || x === undefined) return "–";
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  let [digits, power] = x.toExponential(2).split("e");
  const exact = Math.abs(x).toExponential(60);
  if (/^\d\.\d[02468]50*e/.test(exact)) // halfway: to the even digit, as in Python
    digits = (x < 0 ? "-" : "") + exact.slice(0, 4);
  power = Number(power);
  if (power >= -4 && power < 3) return String(Number(`${digits}e${power}`));
  return `${Number(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
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

// ----- words -----------------------------------------------------------------------------------

const line = (text) => // as one line that can be printed
  text.slice(0, 600).replace(/\s+/g, " ").replace(/\p{C}/gu, "\ufffd").trim();

function typeOf({ shape, dtype }) {
  return shape ? line(`${dtype} (${shape.join(", ")}${shape.length === 1 ? "," : ""})`) : "";
}
const wordsOf = ({ id, op, inputs }) => // the op that failed has no words of its own
  given.words.nodes[id] ?? [op, [], inputs.map(({ name, text }) => `${name}: ${text}`)];
const titleOf = (node) => line(wordsOf(node)[0]);
const headingOf = ({ id }) => line(given.words.frames[id]);
