// The confusion matrix; a cell opens its images, the most confident first.

const SIDE = 28;

const readBytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** An image in gray, dark ink on white, with how sure the net was. */
const figureOf = (pixels, text) => {
  const canvas = element("canvas", { width: SIDE, height: SIDE, role: "img", ariaLabel: text });
  const context = canvas.getContext("2d");
  const data = context.createImageData(SIDE, SIDE);
  pixels.forEach((value, i) => data.data.set([255 - value, 255 - value, 255 - value, 255], 4 * i));
  context.putImageData(data, 0, 0);
  return element("figure", {}, canvas, element("figcaption", {}, text));
};

export default {
  render({ model, el }) {
    el.classList.add("lenet", "lenet-errors");
    if (model.get("message")) {
      el.append(element("p", { role: "alert", className: "wrong" }, model.get("message")));
      return;
    }
    const [classes, counts, starts, numbers] = ["classes", "counts", "starts", "numbers"].map((name) =>
      model.get(name),
    );
    const pictures = readBytes(model.get("pictures"));
    const confidences = new Float32Array(readBytes(model.get("confidences")).slice().buffer);
    const total = counts.flat().reduce((a, b) => a + b, 0);
    const right = counts.reduce((sum, line, i) => sum + line[i], 0);

    const select = (actual, predicted) => {
      model.set({ actual, predicted });
      model.save_changes();
      show();
    };
    const {
      table,
      cells,
      show: showCounts,
    } = confusionTable(classes, (row, column) => {
      const node = element("button", { type: "button", onclick: () => select(row, column) });
      node.ariaLabel = `true ${classes[row]}, predicted ${classes[column]}: ${counts[row][column]} images`;
      node.addEventListener("keydown", (event) => {
        if (["Enter", " "].includes(event.key)) event.stopPropagation();
        const step = ARROWS[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        const target = cells[row + step[0]]?.[column + step[1]];
        target?.focus();
        if (target) select(row + step[0], column + step[1]);
      });
      return node;
    });
    showCounts(counts);
    const summary = element(
      "p",
      {},
      `${right.toLocaleString("en")} of ${total.toLocaleString("en")} images are on the diagonal: accuracy ${written(right / total, 4)}.`,
    );
    const status = element("p", { role: "status", "aria-live": "polite" }, "Choose a cell to see its images.");
    const gallery = element("div", { className: "gallery" });
    el.append(
      summary,
      element("div", { className: "row" }, table, element("div", { className: "side" }, status, gallery)),
    );

    const show = () => {
      const [actual, predicted] = [model.get("actual"), model.get("predicted")];
      cells.flat().forEach((node, i) => {
        const chosen = i === actual * classes.length + predicted;
        node.ariaPressed = String(chosen);
        node.tabIndex = chosen || (actual < 0 && i === 0) ? 0 : -1;
      });
      if (actual < 0) return;
      const cell = actual * classes.length + predicted;
      const shown = starts[cell + 1] - starts[cell];
      const count = counts[actual][predicted];
      const most = shown < count ? `, the ${shown} most confident of them here` : ", the most confident first";
      status.textContent = `True ${classes[actual]}, predicted ${classes[predicted]}: ${count} ${count === 1 ? "image" : "images"}${count ? most : ""}.`;
      const positions = Array.from({ length: shown }, (_, i) => starts[cell] + i);
      gallery.replaceChildren(
        ...positions.map((i) =>
          figureOf(
            pictures.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE),
            `${written(confidences[i], 2)} · #${numbers[i]}`,
          ),
        ),
      );
    };
    model.on("change:actual", show);
    model.on("change:predicted", show);
    show();
    return () => {
      model.off("change:actual", show);
      model.off("change:predicted", show);
    };
  },
};
