// The whole graph in a corner, with the rectangle that is seen, which can be dragged. It is there
// only where not all is seen. However many boxes there are, they are one path for each kind.

const minimap = byId("minimap"), [map, seen] = minimap.children;
const MAP = { w: 190, h: 260, least: 44 }; // the largest sides, and the smallest
const SLACK = 8; // pixels that may be out of sight
const scaleOf = { x: 1, y: 1 }; // of the map

function outlineOf(box) {
  const [x, y, w, h] = [box.x, box.y, box.w, box.h].map(Math.round);
  return `M${x} ${y}h${w}v${h}h${-w}z`;
}
function drawMinimap() {
  const kinds = new Map();
  for (const box of graph.boxes.values()) {
    const kind = box.module ? "module" : box.node?.kind ?? "output";
    kinds.set(kind, (kinds.get(kind) ?? "") + outlineOf(box));
  }
  map.setAttribute("viewBox", `0 0 ${graph.w} ${graph.h}`);
  map.replaceChildren(...[...kinds].map(([kind, d]) => svg("path", { class: kind, d })));
  map.append(svg("path", { class: "chosen" }));
  showChosen();
  showSeen();
}
function showChosen() {
  const boxes = chosen === null ? [] : boxesOf(chosen);
  map.lastChild?.setAttribute("d", boxes.map(outlineOf).join(""));
}
// Where the window is on the map. A long thin graph is widened, so that it can be taken hold of.
function showSeen() {
  const { clientWidth: width, clientHeight: height } = view, { x, y, scale } = camera;
  const hidden = (low, size, room) => Math.max(0, -low) + Math.max(0, low + size - room);
  const most = Math.max(hidden(x, graph.w * scale, width), hidden(y, graph.h * scale, height));
  minimap.hidden = most < SLACK || !graph.boxes.size;
  if (minimap.hidden) return;
  const room = [Math.min(MAP.w, width / 6), Math.min(MAP.h, height / 3)];
  const shrink = Math.min(room[0] / graph.w, room[1] / graph.h);
  scaleOf.x = Math.max(shrink, MAP.least / graph.w);
  scaleOf.y = Math.max(shrink, MAP.least / graph.h);
  const [w, h] = [graph.w * scaleOf.x, graph.h * scaleOf.y];
  const below = minimap.parentElement.getBoundingClientRect().bottom -
    view.getBoundingClientRect().bottom; // on a phone the details stand there
  const place = { width: `${w}px`, height: `${h}px`, bottom: `${below + 12}px` };
  Object.assign(minimap.style, place);
  const cut = (low, size, most) => { // the part of it that is on the map
    const from = Math.max(0, Math.min(most - 3, low));
    return [from, Math.max(3, Math.min(most, low + size) - from)];
  };
  const [left, across] = cut(-x / scale * scaleOf.x, width / scale * scaleOf.x, w);
  const [top, down] = cut(-y / scale * scaleOf.y, height / scale * scaleOf.y, h);
  Object.assign(seen.style,
    { left: `${left}px`, top: `${top}px`, width: `${across}px`, height: `${down}px` });
}
function centreOn({ clientX, clientY }) {
  const { left, top } = map.getBoundingClientRect();
  camera.x = view.clientWidth / 2 - (clientX - left) / scaleOf.x * camera.scale;
  camera.y = view.clientHeight / 2 - (clientY - top) / scaleOf.y * camera.scale;
  look();
}
minimap.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  minimap.setPointerCapture(event.pointerId);
  centreOn(event);
});
minimap.addEventListener("pointermove", (event) => {
  if (minimap.hasPointerCapture(event.pointerId)) centreOn(event);
});
after.redrawn.push(drawMinimap);
after.looked.push(showSeen);
after.chosen.push(showChosen);
new ResizeObserver(showSeen).observe(view);
drawMinimap();
