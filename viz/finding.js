// Finding what is named: as one types, every op, leaf and module in which all the words occur is
// in a list, the closest first. What is chosen there is unfolded, brought into view and followed.

const search = byId("search"), found = byId("found"), results = byId("results");
const LISTED = 60; // results in the list; the arrow keys get to no others

// ----- how close -------------------------------------------------------------------------------

// What can be found, each with its texts and how much a word there counts.
let index = null; // made when it is first needed
function makeIndex() {
  const low = (text) => text.toLowerCase().replaceAll("×", "x");
  const entry = (id, node, module, title, aside, texts) => ({
    id, node, module, title, aside,
    texts: texts.filter(([, text]) => text).map(([weight, text]) => ({
      weight, text: low(text), words: low(text).match(/[\p{L}\p{N}]+/gu) ?? [],
    })),
  });
  const outer = ({ module }) => (module === null ? [] : paths[module].map((id) => modules[id]));
  const ofNode = (node) => entry(`n${node.id}`, node.id, node.module, titleOf(node), typeOf(node), [
    [8, `${node.op} ${node.name}`],
    [5, outer(node).at(-1)?.type ?? ""], [5, outer(node).at(-1)?.path ?? ""],
    [4, typeOf(node)], [3, node.attributes], [2, outer(node).map(headingOf).join(" ")],
    [1, `${node.source} ${node.code}`],
  ]);
  const ofModule = ([module, node]) => entry(`m${module}`, node, modules[module].parent,
    headingOf(modules[module]), "module", [
      [9, modules[module].type], [9, modules[module].path], [3, modules[module].details],
    ]);
  const firsts = new Map(); // of each module a node in it; what is one op's box is found as that op
  for (const node of nodes)
    for (const module of around(node))
      if (!firsts.has(module) && !singles.has(module)) firsts.set(module, node.id);
  return [...nodes.map(ofNode), ...[...firsts].map(ofModule)];
}

// How well one word fits a text: it is a word of it, begins one, or is somewhere inside. A number
// is not searched for inside, so that 32 is not found in float32.
function closeness(word, { weight, text, words }) {
  if (words.includes(word)) return 3 * weight;
  if (words.some((own) => own.startsWith(word))) return 2 * weight;
  return !/^\d+$/.test(word) && text.includes(word) ? weight : 0;
}
function matching(typed) { // the entries in which all words occur
  const words = typed.toLowerCase().replaceAll("×", "x").split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  index ??= makeIndex();
  const rank = ({ texts }) => words.reduce((sum, word) => {
    const most = texts.reduce((best, text) => Math.max(best, closeness(word, text)), 0);
    return sum && most && sum + most;
  }, 1e-9);
  return index.map((entry) => [rank(entry), entry]).filter(([sum]) => sum > 0)
    .sort(([a], [b]) => b - a).map(([, entry]) => entry);
}

// ----- the list --------------------------------------------------------------------------------

let matches = [], active = -1; // the place in `matches` of what Enter chooses
function openList(open) {
  results.hidden = !open;
  search.setAttribute("aria-expanded", open);
  if (!open) search.removeAttribute("aria-activedescendant");
}
function showResult({ title, aside, module }, place) {
  const item = html("li", "");
  item.id = `result${place}`;
  item.setAttribute("role", "option");
  const where = module === null ? "" : headingOf(modules[module]);
  item.append(html("strong", title), html("span", aside), html("small", where));
  item.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // the field keeps the focus
    show(place);
  });
  return item;
}
function find() {
  matches = matching(search.value);
  const isEmpty = !search.value.trim();
  found.textContent = isEmpty ? "" : matches.length ? `${matches.length} found` : "no match";
  results.replaceChildren(...matches.slice(0, LISTED).map(showResult));
  if (matches.length > LISTED) {
    const more = html("li", `… ${matches.length - LISTED} more: type another word`, "more");
    more.setAttribute("role", "presentation");
    results.append(more);
  }
  active = -1;
  hit = null;
  highlight();
  openList(matches.length > 0);
}
function activateResult(place) {
  byId(`result${active}`)?.removeAttribute("aria-selected");
  active = place;
  const item = byId(`result${place}`);
  item?.setAttribute("aria-selected", true);
  item?.scrollIntoView({ block: "nearest" });
  if (item) search.setAttribute("aria-activedescendant", item.id);
}
function moveActive(by) {
  const most = Math.min(matches.length, LISTED);
  if (!most) return;
  openList(true);
  activateResult(active < 0 ? (by > 0 ? 0 : most - 1) : (active + by + most) % most);
}
function show(place) { // unfold what hides it
  const { id, node, module } = matches[place], isNode = id[0] === "n";
  activateResult(place);
  openList(false);
  found.textContent = `${place + 1} of ${matches.length}`;
  hit = isNode ? node : null;
  reveal({ id: node, module });
  choose(isNode || !byId(id) ? homes[node] : id);
  bringIntoView(homes[node]);
}
// Enter chooses what is active; again, with the list closed, the next one, or the one before.
function choosing(back) {
  if (!matches.length) return;
  const step = results.hidden ? (back ? -1 : 1) : 0;
  const from = active < 0 ? (step ? (back ? 0 : -1) : 0) : active;
  show((from + step + matches.length) % matches.length);
}
search.addEventListener("input", find);
search.addEventListener("blur", () => openList(false));
search.addEventListener("keydown", (event) => {
  const { key, shiftKey } = event;
  if (key === "Enter") choosing(shiftKey);
  else if (key === "ArrowDown") moveActive(1);
  else if (key === "ArrowUp") moveActive(-1);
  else if (key === "Escape" && !results.hidden) openList(false);
  else return;
  event.preventDefault();
});
