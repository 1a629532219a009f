// Move a window over an image. The model holds image, kernels, kernel_name, row, col and fill.

const FRAME = "#cc0077";
const NOT_VISITED = "#c4c4c4";
const PICTURE = 224; // width of the image in screen pixels

/** The names of the ready kernels, as the list shows them. */
const kernelNames = () => ({
  mine: _("mine"),
  "vertical edges": _("vertical edges"),
  "horizontal edges": _("horizontal edges"),
  blur: _("blur"),
  sharpen: _("sharpen"),
  random: _("random"),
});

/** The numbers image × kernel inside the window at (row, col), as rows. */
const multiply = (image, kernel, row, col) =>
  kernel.map((weights, i) => weights.map((weight, j) => image[row + i][col + j] * weight));

const total = (rows) => rows.flat().reduce((sum, number) => sum + number, 0);

const largest = (rows) => Math.max(...rows.flat().map(Math.abs)) || 1;

/** The sum of products at every place: what conv2d gives, with the kernel not flipped. */
const correlate = (image, kernel) => {
  const height = image.length - kernel.length + 1;
  const width = image[0].length - kernel.length + 1;
  return Array.from({ length: height }, (_, row) =>
    Array.from({ length: width }, (_, col) => total(multiply(image, kernel, row, col))));
};

/** A picture in memory with one square of `cell` screen pixels per number. */
const blankPicture = (height, width, cell, colour) => {
  const canvas = element("canvas", { width: width * cell, height: height * cell });
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return { canvas, paint: (row, col, fill) => {
    context.fillStyle = fill;
    context.fillRect(col * cell, row * cell, cell, cell);
  } };
};

/** Show a picture from memory and outline `size` × `size` of its pixels. */
const showWithFrame = (canvas, picture, row, col, size, cell) => {
  const context = canvas.getContext("2d");
  context.drawImage(picture.canvas, 0, 0);
  for (const [colour, width] of [["#fff", 4], [FRAME, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(col * cell, row * cell, size * cell, size * cell);
  }
};

/** A table of k × k numbers; returns the table and its cells. */
const numberTable = (k, label) => {
  const cells = Array.from({ length: k * k }, () => element("td"));
  const rows = Array.from({ length: k }, (_, i) => element("tr", {}, ...cells.slice(i * k, (i + 1) * k)));
  const table = element("table", { className: k > 7 ? "large" : "", "aria-label": label }, element("tbody", {}, ...rows));
  return { table, cells };
};

const writeNumbers = (cells, rows, colour, isDark) => {
  rows.flat().forEach((number, index) => {
    const cell = cells[index];
    const text = written(Math.round(100 * number) / 100 + 0, 2); // + 0 turns −0 into 0
    if (cell.textContent !== text) cell.textContent = text;
    cell.style.background = colour(number);
    cell.style.color = isDark(number) ? "#fff" : "#000";
  });
};

export default {
  render({ model, el }) {
    speak(model, el);
    const image = model.get("image");
    const cell = Math.max(3, Math.floor(PICTURE / Math.max(image.length, image[0].length)));
    const imagePicture = blankPicture(image.length, image[0].length, cell, "#fff");
    image.forEach((line, row) => line.forEach((value, col) => imagePicture.paint(row, col, gray(value))));

    const pixels = (label) => element("canvas", { className: "pixels", tabIndex: 0, role: "application", "aria-label": label });
    const input = pixels(_("image: move the window with the mouse, a finger or the arrow keys"));
    const output = pixels(_("output map: choose a pixel with the mouse, a finger or the arrow keys"));
    input.width = imagePicture.canvas.width;
    input.height = imagePicture.canvas.height;
    const outputCaption = element("figcaption");
    const chooser = element("select");
    const fill = element("input", { type: "checkbox", checked: model.get("fill") });
    const products = element("div", { className: "row products" });
    const status = element("div", { role: "status", "aria-live": "polite" });

    let kernel, sums, limit, outputPicture, visited, tables;

    /** The window's place, kept inside the image. */
    const place = () => [
      Math.max(0, Math.min(sums.length - 1, model.get("row"))),
      Math.max(0, Math.min(sums[0].length - 1, model.get("col"))),
    ];

    const paintSum = (row, col) => outputPicture.paint(row, col, signed(sums[row][col] / limit));

    /** Paint the output map anew: all of it, or the pixels visited so far. */
    const paintOutput = () => {
      const all = model.get("fill");
      outputPicture = blankPicture(sums.length, sums[0].length, cell, NOT_VISITED);
      sums.forEach((line, row) => line.forEach((_, col) => {
        if (all || visited.has(row * line.length + col)) paintSum(row, col);
      }));
    };

    const step = () => {
      const [row, col] = place();
      const k = kernel.length;
      visited.add(row * sums[0].length + col);
      paintSum(row, col);
      showWithFrame(input, imagePicture, row, col, k, cell);
      showWithFrame(output, outputPicture, row, col, 1, cell);
      const patch = kernel.map((_, i) => image[row + i].slice(col, col + k));
      const numbers = multiply(image, kernel, row, col);
      const scale = largest(numbers);
      writeNumbers(tables.patch.cells, patch, gray, (value) => value > 0.5);
      writeNumbers(tables.products.cells, numbers, (value) => signed(value / scale), (value) => value / scale > 0.85);
      const value = sums[row][col];
      tables.sum.textContent = _("sum = {value}", { value: written(value) });
      status.textContent = _(
        "output[{row}, {col}] = {value}: the sum of {count} products, from rows {row} to {lastRow} and columns {col} to {lastCol} of the image",
        { row, col, value: written(value), count: k * k, lastRow: row + k - 1, lastCol: col + k - 1 },
      );
      Object.assign(el.dataset, { row, col, value, visited: visited.size });
    };

    /** Start a new map with the chosen kernel. */
    const restart = () => {
      kernel = model.get("kernels")[model.get("kernel_name")];
      if (!kernel) return; // its numbers are still on the way
      sums = correlate(image, kernel);
      limit = largest(sums);
      const k = kernel.length;
      output.width = sums[0].length * cell;
      output.height = sums.length * cell;
      outputCaption.textContent = _("output {height} × {width}", { height: sums.length, width: sums[0].length });
      visited = new Set();
      paintOutput();
      tables = {
        patch: numberTable(k, _("patch")),
        kernel: numberTable(k, _("kernel weights")),
        products: numberTable(k, _("products")),
        sum: element("span", { className: "sum" }),
      };
      const scale = largest(kernel);
      writeNumbers(tables.kernel.cells, kernel, (value) => signed(value / scale), (value) => value / scale > 0.85);
      const titled = (title, table) => element("figure", {}, element("figcaption", {}, title), table);
      const sign = (text) => element("span", { className: "sign" }, text);
      products.replaceChildren(
        titled(_("patch"), tables.patch.table), sign("×"), titled(_("kernel"), tables.kernel.table), sign("="),
        titled(_("products"), tables.products.table),
        element("span", { className: "result" }, sign("→ "), tables.sum),
      );
      step();
    };

    const listKernels = () => {
      const names = kernelNames();
      chooser.replaceChildren(...Object.keys(model.get("kernels")).map((name) =>
        element("option", { value: name }, names[name] ?? name)));
      chooser.value = model.get("kernel_name");
      restart();
    };

    const { change, end } = tellAtRest(model);

    const go = (row, col) =>
      change({
        row: Math.max(0, Math.min(sums.length - 1, row)),
        col: Math.max(0, Math.min(sums[0].length - 1, col)),
      });

    /** Follow a pointer over a canvas; `before` is how many pixels of the window lie above and left of it. */
    const follow = (canvas, before) => {
      const move = (event) => {
        const box = canvas.getBoundingClientRect();
        const scale = canvas.width / canvas.clientWidth / cell;
        go(
          Math.floor((event.clientY - box.top - canvas.clientTop) * scale) - before(),
          Math.floor((event.clientX - box.left - canvas.clientLeft) * scale) - before(),
        );
      };
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerdown", move);
      canvas.addEventListener("keydown", (event) => {
        const arrow = ARROWS[event.key];
        if (!arrow) return;
        event.preventDefault();
        const [row, col] = place();
        go(row + arrow[0], col + arrow[1]);
      });
    };
    follow(input, () => Math.floor(kernel.length / 2));
    follow(output, () => 0);

    chooser.addEventListener("change", () => {
      const k = model.get("kernels")[chooser.value].length;
      change({
        kernel_name: chooser.value,
        row: Math.min(model.get("row"), image.length - k),
        col: Math.min(model.get("col"), image[0].length - k),
      });
    });
    fill.addEventListener("change", () => change({ fill: fill.checked }));

    el.classList.add("lenet", "window-explorer");
    keepKeys(el);
    el.replaceChildren(
      element("div", { className: "row controls" },
        element("label", {}, _("kernel"), " ", chooser),
        element("label", {}, fill, " ", _("fill the whole map"))),
      element("div", { className: "row" },
        element("figure", {}, element("figcaption", {}, _("image {height} × {width}", { height: image.length, width: image[0].length })), input),
        element("figure", {}, outputCaption, output)),
      products,
      status,
      element("div", { className: "note" },
        _("Blue: positive. Orange: negative. White: 0. Gray: not visited yet. As in PyTorch's conv2d, the kernel is not flipped (cross-correlation).")),
    );

    const changes = {
      "change:row": step,
      "change:col": step,
      "change:kernels": listKernels,
      "change:kernel_name": () => { chooser.value = model.get("kernel_name"); restart(); },
      "change:fill": () => { fill.checked = model.get("fill"); paintOutput(); step(); },
    };
    for (const [event, handler] of Object.entries(changes)) model.on(event, handler);
    listKernels();
    return () => {
      end();
      for (const [event, handler] of Object.entries(changes)) model.off(event, handler);
    };
  },
};
