"use strict";
// Sort a table by a column, within its headings: first click up, second down. Rows without a value stay at the end.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const column = head.cellIndex;
    const table = head.closest("table");
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.order ?? row.cells[column].textContent.trim();
    const compare = (first, second) => {
      const [a, b] = [key(first), key(second)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return up ? order : -order;
    };
    for (const body of table.tBodies) {
      body.append(...[...body.rows].filter((row) => !row.classList.contains("heading")).sort(compare));
    }
  });
}
// A pair's details stand below its matrix, for pointer, touch and keyboard alike.
for (const cell of document.querySelectorAll("td[data-pair]")) {
  const output = cell.closest("figure").querySelector("output");
  const tell = () => { output.textContent = cell.dataset.pair; };
  for (const event of ["mouseenter", "focus", "click"]) cell.addEventListener(event, tell);
}
for (const matrix of document.querySelectorAll("table.matrix")) {
  matrix.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const row = matrix.rows[cell.parentNode.rowIndex + step[0]];
    const next = row && row.cells[cell.cellIndex + step[1]];
    if (next && next.tabIndex >= -1 && next.dataset.pair) { next.focus(); event.preventDefault(); }
  });
}
