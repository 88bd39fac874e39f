// Saving what is shown as a picture of its own: SVG that needs no style sheet and no font (every
// text is as wide there as here), or PNG with two pixels for one.

// ----- the picture -----------------------------------------------------------------------------

const SHAPE = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity"];
const TEXT = ["fill", "font-family", "font-size", "font-weight", "opacity"];
const LEFT_OUT = { "stroke-dasharray": "none", "stroke-linejoin": "miter", opacity: "1" };
const ROOM = 16; // around the graph
const ofPage = /^(class|id|style|tabindex|role|aria-.*|data-.*)$/;

// A colour as every viewer knows it, and how opaque it is.
const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const plainColours = new Map();
function plainColour(value) {
  const [, colour, alpha] = value.match(/^rgba\((.*), (.*)\)$/) ?? [];
  if (colour) return [`rgb(${colour})`, alpha];
  if (!plainColours.has(value)) {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = value;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, alpha] = brush.getImageData(0, 0, 1, 1).data;
    plainColours.set(value, [`rgb(${r}, ${g}, ${b})`, Number((alpha / 255).toFixed(3))]);
  }
  return plainColours.get(value);
}

// A copy of a part of the drawing, in which its style stands as attributes; null if it is hidden.
function painted(part) {
  const style = getComputedStyle(part);
  if (style.display === "none") return null;
  const kept = [...part.attributes].filter(({ name }) => !ofPage.test(name));
  const copy = svg(part.tagName, Object.fromEntries(kept.map(({ name, value }) => [name, value])));
  const isText = part.tagName === "text", isGroup = part.tagName === "g";
  for (const name of isText ? TEXT : isGroup ? ["opacity"] : SHAPE) {
    const value = style.getPropertyValue(name);
    if (value === LEFT_OUT[name]) continue;
    const [colour, alpha] = /\(/.test(value) ? plainColour(value) : [value, 1];
    copy.setAttribute(name, colour);
    if (alpha < 1) copy.setAttribute(`${name}-opacity`, alpha);
  }
  if (isText) {
    if (!part.textContent) return null;
    copy.setAttribute("textLength", part.getComputedTextLength().toFixed(1));
    copy.setAttribute("lengthAdjust", "spacingAndGlyphs");
    copy.textContent = part.textContent;
  } else copy.append(...[...part.children].map(painted).filter(Boolean));
  return copy;
}

// Left, top, width and height of the picture, as the drawing measures them.
function areaOf(isWhole) {
  const all = [-ROOM, -ROOM, graph.w + ROOM, graph.h + ROOM];
  const { x, y, scale } = camera, { clientWidth: w, clientHeight: h } = view;
  const shown = [-x / scale, -y / scale, (w - x) / scale, (h - y) / scale];
  const [left, top] = [0, 1].map((i) => (isWhole ? all[i] : Math.max(all[i], shown[i])));
  const [right, bottom] = [2, 3].map((i) => (isWhole ? all[i] : Math.min(all[i], shown[i])));
  return [left, top, Math.max(1, right - left), Math.max(1, bottom - top)];
}

// The picture as {text, w, h}. `scheme` is "light", "dark", or "" for the one that is shown.
function picture(isWhole, scheme) {
  const { style } = document.documentElement, before = style.colorScheme;
  const isFar = view.classList.contains("far"); // text is left out of no picture
  if (scheme) style.colorScheme = scheme;
  view.classList.remove("far");
  if (isWhole) {
    world.classList.remove("afar");
    drawWithin(-Infinity, -Infinity, Infinity, Infinity);
    update();
    tell("drawn");
  }
  const [left, top, w, h] = areaOf(isWhole), frame = view.getBoundingClientRect();
  const isSeen = (part) => {
    const at = part.getBoundingClientRect();
    return isWhole || (at.right >= frame.left && at.left <= frame.right &&
      at.bottom >= frame.top && at.top <= frame.bottom);
  };
  const layers = [...world.children].map((layer) =>
    svg("g", {}, ...[...layer.children].filter(isSeen).map(painted).filter(Boolean)));
  const paper = getComputedStyle(document.documentElement).backgroundColor;
  const title = svg("title", {});
  const told = [document.title, now.step && byId("moment").textContent];
  title.textContent = told.filter(Boolean).join(", ");
  const size = { width: Math.round(w), height: Math.round(h), viewBox: `${left} ${top} ${w} ${h}` };
  const whole = svg("svg", size, title,
    svg("rect", { x: left, y: top, width: w, height: h, fill: paper }), ...layers);
  view.classList.toggle("far", isFar);
  style.colorScheme = before;
  if (isWhole && graph.large) redraw(); // what is out of sight goes again
  if (isWhole) look();
  return { text: new XMLSerializer().serializeToString(whole), w, h };
}

const SIDE = 16000, AREA = 1e8; // what browsers can hold as pixels
async function pixels({ text, w, h }) { // as a PNG in a data: address, and its scale
  const scale = Math.min(2, SIDE / w, SIDE / h, Math.sqrt(AREA / (w * h)));
  const image = new Image();
  image.src = addressOf(text);
  await image.decode();
  const canvas = html("canvas", "");
  [canvas.width, canvas.height] = [Math.round(w * scale), Math.round(h * scale)];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return { address: canvas.toDataURL("image/png"), scale };
}
const addressOf = (text) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;

// ----- the dialog ------------------------------------------------------------------------------

const saving = byId("saving");
function choice(name, ...options) {
  const label = html("label", name), select = html("select", "");
  select.append(...options.map((text) => html("option", text)));
  label.append(select);
  return [label, select];
}
function action(text, act) {
  const button = html("button", text);
  button.addEventListener("click", act);
  return button;
}
const [partLabel, partOf] = choice("part", "what is visible", "the whole graph");
const [colourLabel, colourOf] = choice("colours", "as shown", "light", "dark");
const outcome = html("div", "");
const SCHEMES = ["", "light", "dark"];
const nameOf = (title) => title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "graph";
async function saveAs(kind) {
  const drawn = picture(partOf.selectedIndex === 1, SCHEMES[colourOf.selectedIndex]);
  const { address, scale } = kind === "png" ? await pixels(drawn)
    : { address: addressOf(drawn.text), scale: 2 };
  const name = `${nameOf(document.title)}.${kind}`;
  const link = html("a", name), image = html("img", "");
  [link.href, link.download, image.src, image.alt] = [address, name, address, name];
  const isFramed = self !== top; // such a page may be forbidden to save files
  const shrunk = scale < 2 ? ` It is shrunk: ${scale.toFixed(2)} pixels for one.` : "";
  const told = html("p", isFramed ? "To save it, use the menu of the picture (right click). "
    : "Saved as ");
  told.append(...(isFramed ? [] : [link]), shrunk);
  outcome.replaceChildren(told, image);
  if (!isFramed) link.click();
}
const choices = html("p", ""), actions = html("p", "");
choices.append(partLabel, colourLabel);
actions.append(action("SVG", () => saveAs("svg")), action("PNG", () => saveAs("png")),
  action("close", () => saving.close()));
saving.append(html("h2", "Save this view"), choices, actions, outcome);
byId("save").addEventListener("click", () => {
  outcome.replaceChildren();
  saving.showModal();
});
