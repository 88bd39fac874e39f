// Links into the page: `#node=<key>&step=<number>` chooses that node at that step. The address
// follows what is chosen, where the page may change it.

function addressed() { // what the page shows, as such a link
  const parts = [], node = chosen?.[0] === "n" ? nodes[Number(chosen.slice(1))] : null;
  if (node) parts.push(`node=${encodeURIComponent(node.key)}`);
  if (places > 1) parts.push(`step=${frames.length ? now.place + 1 : now.step.number}`);
  return parts.length ? `#${parts.join("&")}` : "";
}
function followAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const step = Number(asked.get("step")), key = asked.get("node");
  const place = frames.length ? step - 1 : steps.findIndex(({ number }) => number === step);
  if (asked.has("step") && place >= 0) go(place);
  const node = nodes.find((own) => own.key === key);
  if (node) showNode(node.id);
  const missing = [
    key !== null && !node ? `no node “${key}”` : "",
    asked.has("step") && (place < 0 || place >= places) ? `no step ${asked.get("step")}` : "",
  ].filter(Boolean);
  if (missing.length) found.textContent = `${missing.join(", ")} here`;
}
addEventListener("hashchange", () => {
  if (location.hash !== addressed()) followAddress();
});

let waiting = null; // browsers refuse an address that changes too often
function writeAddress() {
  waiting ??= setTimeout(() => {
    waiting = null;
    try {
      history.replaceState(null, "", addressed() || location.pathname + location.search);
    } catch { /* in a frame of a notebook the address is not the page's own */ }
  }, 400);
}

// The link as text; a page inside another one has no address that leads to it.
async function copyLink({ target }) {
  const link = location.href.split("#")[0] + addressed();
  try {
    await navigator.clipboard.writeText(link);
    target.textContent = "copied";
  } catch {
    const field = html("input", "");
    [field.value, field.readOnly] = [link, true];
    field.setAttribute("aria-label", "link");
    target.replaceWith(field);
    field.select();
  }
}
function offerLink() {
  if (chosen[0] !== "n" || location.protocol === "about:") return;
  const button = html("button", "copy link", "place");
  button.addEventListener("click", copyLink);
  details.querySelector("h2").append(" ", button);
}
after.told.push(offerLink);
followAddress();
after.chosen.push(writeAddress);
after.updated.push(writeAddress);
