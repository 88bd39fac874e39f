"use strict";
// A click on the head of a column sorts the rows by it, and another one the other way round.
// What is no number stands at the end, by its letters.
const body = document.querySelector("tbody");
const heads = [...document.querySelectorAll("th")];

function order(column, way) {
  return (a, b) => {
    const [left, right] = [a.cells[column], b.cells[column]];
    const [x, y] = [left.dataset.key, right.dataset.key];
    if (x !== "" && y !== "") return way * (Number(x) - Number(y));
    if (x !== "" || y !== "") return x === "" ? 1 : -1;
    return way * left.textContent.localeCompare(right.textContent);
  };
}

heads.forEach((head, column) => {
  head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    body.append(...[...body.rows].sort(order(column, down ? 1 : -1)));
  });
});
