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
  tell("chosen");
}
function showDetails() {
  details.hidden = chosen === null;
  if (chosen === null) return;
  const close = html("button", "×", "close");
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => choose(null));
  const number = Number(chosen.slice(1)), id = chosen[0] === "o" ? given.trace.outputs[number] : number;
  const parts = chosen[0] === "m" ? aboutModule(modules[number])
    : [id, ...(graph.boxes.get(chosen)?.parameters ?? []).map((held) => held.id)]
      .flatMap((node) => aboutNode(nodes[node]));
  details.replaceChildren(close, ...parts);
  tell("told");
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
  node.inputs.forEach(({ name, called, source, text, gradient, formula, where, summed }, port) => {
    const from = nodes[source];
    const told = from ? `n${source} ${titleOf(from)}, ${text || typeOf(from)}` : text;
    const norm = [`‖∂L/∂${called || name}‖`, figure(shareOf(`${node.id}:${port}`))];
    parts.push(table([name, told], ...(gradient ? [norm] : [])));
    if (formula) parts.push(html("p", `∂L/∂${called || name} ${summed ? "+=" : "="} ${formula}`, "formula"));
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

function blockSlider(group) { // which of equal blocks is shown
  const slider = html("input", "", "block"), shown = chosenBlock(group);
  Object.assign(slider, { type: "range", min: 0, max: groups.get(group).size - 1 });
  slider.value = shown === ALL ? 0 : shown;
  slider.setAttribute("aria-label", "block");
  slider.addEventListener("change", () => turnTo(group, Number(slider.value)));
  return slider;
}
function aboutModule(module) {
  const inside = nodes.filter((node) => node.kind !== "failed" && around(node).includes(module.id));
  const sum = (of) => inside.map(of).reduce((all, x) => (x === null ? all : (all ?? 0) + x), null);
  return [
    html("h2", headingOf(module)), ...(groups.has(module.id) ? [blockSlider(module.id)] : []),
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

// ----- findings --------------------------------------------------------------------------------

function showNode(id) {
  reveal(nodes[id]);
  choose(idOf(nodes[id]));
  bringIntoView(chosen);
}
function linkTo(id) {
  const link = html("button", titleOf(nodes[id]), "place");
  link.title = `show n${id}`;
  link.addEventListener("click", () => showNode(id));
  return link;
}
function aboutRemark({ level, kind, seen, means, remedy, source, step, where, nodes: places }) {
  const item = html("li", "", level), head = html("h2", "");
  const words = kind.replaceAll("_", " ");
  head.append(html("b", level, "level"), html("span", words));
  const at = [step === null ? "" : `step ${step}`, where].filter(Boolean).join(" · ");
  if (at) head.append(html("small", at));
  const most = 4; // links; a shared module may be called often
  head.append(...places.slice(0, most).map(linkTo));
  if (places.length > most) head.append(html("small", `… ${places.length - most} more places`));
  const more = [["means", means], ["try", remedy], ["source", source]].filter(([, text]) => text);
  const fold = document.createElement(more.length ? "details" : "div");
  const top = document.createElement(more.length ? "summary" : "div");
  head.append(html("span", seen, "seen"));
  top.append(head);
  fold.append(top, ...(more.length ? [table(...more)] : []));
  item.append(fold);
  return item;
}
function showRemarks() {
  const counted = ["error", "warning", "note"]
    .map((level) => [level, remarks.filter((remark) => remark.level === level).length])
    .filter(([, count]) => count)
    .map(([level, count]) => `${count} ${level}${count > 1 ? "s" : ""}`);
  const list = document.createElement("ol");
  list.append(...remarks.map(aboutRemark));
  byId("remarks").hidden = false;
  byId("remarks").replaceChildren(
    html("p", counted.join(", ") || "nothing was found", counted.length ? "" : "well"), list);
}
