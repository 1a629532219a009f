// A confusion matrix as a table, shared by the error browser and the training replay.

/** The colours of a cell: blue on the diagonal, orange off it, by the share of its row. */
const cellStyle = (count, total, right) => {
  const share = count / Math.max(1, total);
  return { background: signed(right ? share : -Math.sqrt(share)), color: right && share > 0.85 ? "#fff" : "#000" };
};

/**
 * Build the table of a confusion matrix; `cell(row, column)` makes what stands in each cell.
 * Returns { table, show(counts) }: show writes counts into the cells and colours them.
 */
const confusionTable = (classes, cell) => {
  const cells = classes.map((_, row) => classes.map((_, column) => cell(row, column)));
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, _("true ↓ predicted →")),
    ...classes.map((name) => element("th", { scope: "col" }, name)),
  );
  const rows = classes.map((name, row) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells[row].map((node) => element("td", {}, node))),
  );
  const table = element(
    "table",
    { className: "confusions" },
    element("thead", {}, head),
    element("tbody", {}, ...rows),
  );
  const show = (counts) =>
    counts.forEach((line, row) => {
      const total = line.reduce((a, b) => a + b, 0);
      line.forEach((count, column) => {
        cells[row][column].textContent = count;
        Object.assign(cells[row][column].style, cellStyle(count, total, row === column));
      });
    });
  return { table, cells, show };
};
