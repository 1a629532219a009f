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

/** What a cell of the matrix holds, and which of its images are shown. */
const tellCell = (places) => {
  const { count, shown } = places;
  if (!count) return _("True {actual}, predicted {predicted}: 0 images.", places);
  if (count === 1) return _("True {actual}, predicted {predicted}: 1 image, the most confident first.", places);
  return shown < count
    ? _("True {actual}, predicted {predicted}: {count} images, the {shown} most confident of them here.", places)
    : _("True {actual}, predicted {predicted}: {count} images, the most confident first.", places);
};

export default {
  render({ model, el }) {
    speak(model, el);
    el.classList.add("lenet", "lenet-errors");
    keepKeys(el);
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
      node.ariaLabel = _("true {actual}, predicted {predicted}: {count} images", {
        actual: classes[row],
        predicted: classes[column],
        count: counts[row][column],
      });
      node.addEventListener("keydown", (event) => {
        const step = ARROWS[event.key];
        if (!step) return;
        event.preventDefault();
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
      _("{right} of {total} images are on the diagonal: accuracy {accuracy}.", {
        right: right.toLocaleString("en"),
        total: total.toLocaleString("en"),
        accuracy: written(right / total, 4),
      }),
    );
    const status = element("p", { role: "status", "aria-live": "polite" }, _("Choose a cell to see its images."));
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
      const places = { actual: classes[actual], predicted: classes[predicted], count, shown };
      status.textContent = tellCell(places);
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
