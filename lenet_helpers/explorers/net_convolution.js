// The view of one map of a convolution: input maps, kernels, sums, and one pixel written out.

/** The steps between a convolution and the end of its block: activation, norm, dropout, up to the first pooling. */
const blockAfter = (layers, step) => {
  const steps = [];
  for (let s = step + 1; s < layers.length && ["activation", "norm", "same", "pool"].includes(layers[s].kind); s++) {
    steps.push(s);
    if (layers[s].kind === "pool") break;
  }
  return steps;
};

/** The pooling position whose window holds (row, column), or null at a border that no window reaches. */
const pooledPosition = (layer, row, column) => {
  const [r, c] = [row, column].map((at, axis) =>
    Math.min(Math.floor(at / layer.stride[axis]), layer.shape[axis + 1] - 1),
  );
  const inside = row < r * layer.stride[0] + layer.kernel[0] && column < c * layer.stride[1] + layer.kernel[1];
  return inside ? [r, c] : null;
};

const createConvolution = (app) => {
  const { canvas, draw, position } = drawing(
    _("Input maps, kernels, their products, the sum and what follows. Arrow keys move the window, Page Up and Page Down change the map, Escape goes back."),
  );
  const status = element("p", { role: "status", "aria-live": "polite", "aria-label": _("details") });
  const block = element("p", { className: "block" });
  const field = element("p", { className: "field" });
  const reading = element("p", { className: "reading" }, _("Point at a kernel to read its weights."));
  const products = element("div", { className: "products" });
  const fields = Object.fromEntries(
    Object.entries({ map: _("map"), row: _("row"), column: _("column") }).map(([name, label]) => [
      name,
      numberField(label, (value) => app.update({ [name === "map" ? "unit" : name]: value })),
    ]),
  );
  const title = element("strong");
  let timer;
  const play = button(_("Play"), () => (timer ? pause() : start()));
  const node = element(
    "div",
    {},
    element(
      "div",
      { className: "row" },
      button(_("← Overview"), () => app.update({ layer: -1 })),
      title,
      ...Object.values(fields).map((f) => f.label),
      play,
    ),
    element("div", { className: "scroll" }, canvas),
    reading,
    status,
    block,
    field,
    products,
  );

  const start = () => {
    play.textContent = _("Pause");
    timer = setInterval(() => {
      const [, height, width] = app.layers[app.view.layer].shape;
      const next = (app.view.row * width + app.view.column + 1) % (height * width);
      app.update({ row: Math.floor(next / width), column: next % width });
    }, 150);
  };
  const pause = () => {
    clearInterval(timer);
    timer = undefined;
    play.textContent = _("Play");
  };

  let panels;
  let still;
  let size;
  let partial;
  let shown;

  /** Lay out the maps of the opened unit; a panel is a picture at [x, y] with its rows and columns. */
  const build = () => {
    const { layers, weights, tensors } = app;
    const { layer: step, unit } = app.view;
    const layer = layers[step];
    const x = tensors[step - 1];
    const [, height, width] = layer.shape;
    partial = Array.from({ length: x.channels }, (_, i) => {
      const sums = new Float64Array(height * width);
      addConvolution(layer, weights, x, unit, i, sums);
      return sums;
    });
    const pitch = clamp(430 / x.channels, 36, 130);
    const side = pitch - 8;
    const [inputX, kernelX] = [18, 18 + side + 26];
    const partialX = kernelX + side * 0.7 + 26;
    const resultX = partialX + side + 60;
    const kernelSize = layer.kernel[0] * layer.kernel[1];
    const kernel = (i) =>
      weights.subarray(
        layer.weight + (unit * x.channels + i) * kernelSize,
        layer.weight + (unit * x.channels + i + 1) * kernelSize,
      );
    const kernelScale = colourScale(rangeOf(partial.flatMap((_, i) => rangeOf(kernel(i)))));
    const partialScale = colourScale(rangeOf(partial.flatMap((sums) => rangeOf(sums))));
    panels = partial.flatMap((sums, i) => {
      const y = 24 + i * pitch;
      return [
        {
          kind: "input",
          map: i,
          x: inputX,
          y,
          side,
          rows: x.height,
          columns: x.width,
          values: planeOf(x, i),
          scale: colourScale(rangeOf(planeOf(x, i))),
        },
        {
          kind: "kernel",
          map: i,
          x: kernelX,
          y: y + side * 0.15,
          side: side * 0.7,
          rows: layer.kernel[0],
          columns: layer.kernel[1],
          values: kernel(i),
          scale: kernelScale,
        },
        {
          kind: "partial",
          map: i,
          x: partialX,
          y,
          side,
          rows: height,
          columns: width,
          values: sums,
          scale: partialScale,
        },
      ];
    });
    [step, ...blockAfter(layers, step)].forEach((s, i) => {
      const values = planeOf(tensors[s], unit);
      panels.push({
        kind: "result",
        step: s,
        x: resultX + i * 156,
        y: 24,
        side: 130,
        rows: tensors[s].height,
        columns: tensors[s].width,
        values,
        scale: colourScale(rangeOf(values)),
      });
    });
    panels.push({
      kind: "image",
      x: resultX,
      y: 196,
      side: 196,
      rows: SIZE,
      columns: SIZE,
      values: tensors[0].data,
      scale: { table: GRAY, low: 0, high: 1 },
    });
    size = [Math.max(resultX + 220, panels.at(-2).x + 150), Math.max(400, 24 + x.channels * pitch)];
    draw(...size, drawStill);
    still = element("canvas", { width: canvas.width, height: canvas.height });
    still.getContext("2d").drawImage(canvas, 0, 0);
    const last = layer.shape[0] - 1;
    title.textContent = _("Step {step}, {name}: map {unit} of 0–{last}", { step, name: layer.name, unit, last });
    fields.map.set(unit, layer.shape[0] - 1);
    products.replaceChildren(
      ...panels
        .filter(({ kind }) => kind === "input")
        .map(({ map }) =>
          element("figure", {}, element("figcaption", {}, _("input map {map}: window × kernel", { map })), element("pre")),
        ),
    );
  };

  const drawStill = (context) => {
    const { layers, weights } = app;
    const { layer: step, unit } = app.view;
    const [input, kernel, sums] = panels;
    context.fillText(_("input maps"), input.x, 12);
    context.fillText(_("kernels"), kernel.x, 12);
    context.fillText(_("sums"), sums.x, 12);
    const result = panels.find((panel) => panel.kind === "result");
    for (const panel of panels) {
      const middle = panel.y + panel.side / 2;
      context.drawImage(
        paint(panel.values, panel.columns, panel.rows, panel.scale),
        panel.x,
        panel.y,
        panel.side,
        panel.side,
      );
      context.lineWidth = 0.5;
      context.strokeRect(panel.x, panel.y, panel.side, panel.side);
      if (panel.kind === "input") context.fillText(panel.map, 2, middle + 4);
      if (panel.kind === "kernel") context.fillText("∗", panel.x - 16, middle + 4);
      if (panel.kind === "result")
        context.fillText(
          panel.step === step ? _("sum + bias = {name}", { name: layers[step].name }) : layers[panel.step].name,
          panel.x,
          12,
        );
      if (panel.kind === "image") context.fillText(_("receptive field in the image"), panel.x, panel.y - 8);
      if (panel.kind !== "partial") continue;
      context.fillText("=", panel.x - 16, middle + 4);
      context.beginPath();
      context.moveTo(panel.x + panel.side, middle);
      context.lineTo(result.x, result.y + result.side / 2);
      context.stroke();
    }
    const bias = _("+ bias {bias}", { bias: written(biasOf(layers[step], weights, unit)) });
    context.fillText(bias, result.x, result.y + result.side + 14);
  };

  const cell = (context, panel, row, column, rows = 1, columns = 1, dashed = false) => {
    const [w, h] = [panel.side / panel.columns, panel.side / panel.rows];
    frame(context, panel.x + column * w, panel.y + row * h, columns * w, rows * h, dashed);
  };

  const drawMarks = (context) => {
    const { layers, view } = app;
    const layer = layers[view.layer];
    context.drawImage(still, 0, 0, ...size);
    for (const panel of panels) {
      if (panel.kind === "input") {
        const [row, column] = [view.row, view.column].map((at, axis) => at * layer.stride[axis] - layer.padding[axis]);
        const [rows, columns] = layer.kernel.map((n, axis) => (n - 1) * layer.dilation[axis] + 1);
        cell(context, panel, row, column, rows, columns);
      } else if (panel.kind === "partial") {
        cell(context, panel, view.row, view.column);
      } else if (panel.kind === "result") {
        const isPool = layers[panel.step].kind === "pool";
        const at = isPool ? pooledPosition(layers[panel.step], view.row, view.column) : [view.row, view.column];
        if (at) cell(context, panel, ...at);
      } else if (panel.kind === "image") {
        for (const { area, dashed } of fieldsOf().toReversed())
          cell(context, panel, area.top, area.left, area.bottom - area.top + 1, area.right - area.left + 1, dashed);
      }
    }
  };

  /** The receptive fields of the unit and, if there is a pooling, of the pooled unit. */
  const fieldsOf = () => {
    const { layers, view } = app;
    const list = [{ name: layers[view.layer].name, area: receptiveField(layers, view.layer, view.row, view.column) }];
    const pool = blockAfter(layers, view.layer).find((s) => layers[s].kind === "pool");
    const at = pool && pooledPosition(layers[pool], view.row, view.column);
    if (at) list.push({ name: layers[pool].name, area: receptiveField(layers, pool, ...at), dashed: true });
    return list;
  };

  /** One line per step behind the convolution: how its value comes from the one before. */
  const writeBlock = () => {
    const { layers, weights, tensors, view } = app;
    const { unit, row, column } = view;
    const at = (s, r, c) => tensors[s].data[(unit * tensors[s].height + r) * tensors[s].width + c];
    return blockAfter(layers, view.layer).map((s) => {
      const layer = layers[s];
      if (layer.kind === "pool") {
        const position = pooledPosition(layer, row, column);
        if (!position) return _("{name}: no window reaches this pixel", { name: layer.name });
        const values = poolWindow(layer, tensors[s - 1], unit, ...position).map((value) => written(value));
        return _("{name} at row {row}, column {column}: {text}", {
          name: layer.name,
          row: position[0],
          column: position[1],
          text: `${layer.function}(${values.join(", ")}) = ${written(at(s, ...position))}`,
        });
      }
      const [before, after] = [at(s - 1, row, column), at(s, row, column)];
      if (layer.kind === "activation")
        return `${layer.name}: ${ACTIVATION_TEXTS[layer.function](before)} = ${written(after)}`;
      if (layer.kind === "same") return `${layer.name}: ${written(after)}`;
      const [factor, shift] = [weights[layer.scale + unit], weights[layer.shift + unit]].map(bracketed);
      return `${layer.name}: ${written(before)} × ${factor} + ${shift} = ${written(after)}`;
    });
  };

  const writeFormula = () => {
    const { layers, weights, tensors, view } = app;
    const { layer: step, unit, row, column } = view;
    const layer = layers[step];
    const sums = partial.map((values) => values[row * layer.shape[2] + column]);
    const bias = biasOf(layer, weights, unit);
    const value = sums.reduce((a, b) => a + b, bias);
    const terms = sums.map(bracketed).join(" + ");
    status.textContent = _("Σ window × kernel + bias at row {row}, column {column}: {terms} + bias {bias} = {value}", {
      ...{ row, column, terms },
      bias: bracketed(bias),
      value: written(value),
    });
    status.dataset.value = value;
    block.textContent = writeBlock().join(" → ");
    const areas = fieldsOf().map(({ name, area }) =>
      _("{name} rows {top}–{bottom}, columns {left}–{right}", { name, ...area }),
    );
    const between = _("; ");
    field.textContent = _("Sees of the image: {areas} (dashed: after the pooling).", { areas: areas.join(between) });
    [...products.querySelectorAll("pre")].forEach((pre, i) => {
      const lines = windowProducts(layer, weights, tensors[step - 1], unit, i, row, column).map((cells) =>
        cells.map(([x, w]) => `${written(x, 2)}×${bracketed(w)}`.padStart(14)).join(" +"),
      );
      pre.textContent = `${lines.join(" +\n")}\n= ${written(sums[i])}`;
    });
  };

  const move = (row, column) => {
    const [, height, width] = app.layers[app.view.layer].shape;
    app.update({ row: clamp(row, 0, height - 1), column: clamp(column, 0, width - 1) });
  };

  /** Point at any picture: the window moves to the output pixel that belongs to it. */
  const point = ([x, y]) => {
    const layer = app.layers[app.view.layer];
    const panel = panels.find((p) => x >= p.x && x < p.x + p.side && y >= p.y && y < p.y + p.side);
    if (!panel || panel.kind === "image") return;
    const at = [
      Math.floor(((y - panel.y) / panel.side) * panel.rows),
      Math.floor(((x - panel.x) / panel.side) * panel.columns),
    ];
    if (panel.kind === "kernel") {
      const weight = written(panel.values[at[0] * panel.columns + at[1]], 4);
      const places = { map: panel.map, row: at[0], column: at[1], weight };
      reading.textContent = _("Kernel {map}, row {row}, column {column}: weight {weight}", places);
    } else if (panel.kind === "input") {
      move(
        ...at.map((n, axis) =>
          Math.round(
            (n + layer.padding[axis] - ((layer.kernel[axis] - 1) * layer.dilation[axis]) / 2) / layer.stride[axis],
          ),
        ),
      );
    } else if (panel.kind === "result" && app.layers[panel.step].kind === "pool") {
      move(...at.map((n, axis) => n * app.layers[panel.step].stride[axis]));
    } else {
      move(...at);
    }
  };

  canvas.addEventListener("pointermove", (event) => point(position(event)));
  canvas.addEventListener("click", (event) => point(position(event)));
  const turn = (by) => app.update({ unit: clamp(app.view.unit + by, 0, app.layers[app.view.layer].shape[0] - 1) });
  onKeys(canvas, {
    arrow: ([down, right]) => move(app.view.row + down, app.view.column + right),
    PageUp: () => turn(-1),
    PageDown: () => turn(1),
    Escape: () => app.update({ layer: -1 }),
  });

  return {
    node,
    leave: pause,
    draw() {
      const { layer, unit, row, column } = app.view;
      const key = `${layer} ${unit}`;
      if (shown?.key !== key || shown.tensors !== app.tensors) build();
      shown = { key, tensors: app.tensors };
      fields.row.set(row, app.layers[layer].shape[1] - 1);
      fields.column.set(column, app.layers[layer].shape[2] - 1);
      draw(...size, drawMarks);
      writeFormula();
    },
  };
};
