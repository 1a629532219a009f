// The overview of the net explorer: the maps of every step as a column, with the edges into one unit.

const OVERVIEW = { top: 34, height: 430, labels: 150, slot: 60 };

/** Where the units of each step are drawn: `box(unit)` gives [x, y, size]. */
const layOut = (layers, width) => {
  const slot = (width - OVERVIEW.labels) / (layers.length - 1);
  return layers.map((layer, step) => {
    const count = layer.shape[0];
    const isMaps = layer.shape.length === 3;
    const gap = isMaps ? 3 : 1;
    const largest = isMaps ? 52 : 12;
    let [size, across] = [0, 1];
    for (let n = 1; n <= Math.min(count, 12); n++) {
      const candidate = Math.min(largest, OVERVIEW.height / Math.ceil(count / n) - gap, (slot - 12) / n - gap);
      if (candidate > size) [size, across] = [candidate, n];
    }
    let pitch = size + gap;
    if (step === layers.length - 1)
      [size, across, pitch] = [Math.min(14, OVERVIEW.height / count - 1), 1, Math.min(28, OVERVIEW.height / count)];
    const left = step * slot;
    const top = OVERVIEW.top + (OVERVIEW.height - Math.ceil(count / across) * pitch) / 2;
    const box = (unit) => [left + (unit % across) * pitch, top + Math.floor(unit / across) * pitch, size];
    return { box, left, right: left + across * pitch, top, pitch, across, count };
  });
};

/** The connections into a unit: [unit of the step before, strength in [-1, 1] or null where it has no single weight]. */
const incoming = ({ layers, weights, tensors }, step, unit) => {
  const layer = layers[step];
  const before = tensors[step - 1];
  if (layer.kind === "conv") return Array.from({ length: before.channels }, (_, i) => [i, null]);
  if (layer.kind === "flatten") return [[Math.floor(unit / (before.height * before.width)), null]];
  if (layer.kind !== "linear") return step ? [[unit, null]] : [];
  const row = weights.subarray(
    layer.weight + unit * before.data.length,
    layer.weight + (unit + 1) * before.data.length,
  );
  const largest = row.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12);
  return Array.from(row, (weight, i) => [i, weight / largest]);
};

/** The name of a step: of the input, or the class of its layer. */
const stepName = (layer) => (layer.kind === "image" ? _("image") : layer.name);

/** Which map, row and column a feature of the flattened maps is. */
const traceFeature = ({ layers, tensors }, feature, step) => {
  const maps = tensors[step - 1];
  const size = maps.height * maps.width;
  const [map, row, column] = [
    Math.floor(feature / size),
    Math.floor((feature % size) / maps.width),
    feature % maps.width,
  ];
  const sum = `${map} × ${size} + ${row} × ${maps.width} + ${column}`;
  const text = _("feature {feature} = {sum}: map {map}, row {row}, column {column} of {layer}", {
    ...{ feature, sum, map, row, column },
    layer: stepName(layers[step - 1]),
  });
  return { map, row, column, text };
};

const describeUnit = (app, step, unit) => {
  const { layers, tensors, classes } = app;
  const layer = layers[step];
  const plane = planeOf(tensors[step], unit);
  const head = _("Step {step}, {name}", { step, name: stepName(layer) });
  if (layer.shape.length === 3) {
    const [low, high] = rangeOf(plane).map((value) => written(value, 4));
    const parts = [
      _("map {unit} of 0–{last}", { unit, last: layer.shape[0] - 1 }),
      `${layer.shape[1]} × ${layer.shape[2]}`,
      _("values {low} … {high}", { low, high }),
    ];
    if (layer.kind === "conv") parts.push(_("reads {count} maps", { count: tensors[step - 1].channels }));
    else if (step) parts.push(_("reads map {unit}", { unit }));
    parts.push(_("each pixel sees {height} × {width} pixels of the image", receptiveSize(layers, step)));
    return _("{head}: {text}", { head, text: parts.join(" · ") });
  }
  const value = written(plane[0], 4);
  if (step === layers.length - 1) {
    const parts = [
      _("class {name}", { name: classes[unit] }),
      _("logit {value}", { value }),
      _("probability {probability}", { probability: written(app.probabilities[unit], 4) }),
      _("reads {count} units", { count: tensors[step - 1].channels }),
    ];
    return _("{head}: {text}", { head, text: parts.join(" · ") });
  }
  const told = _("value {value}", { value });
  if (layer.kind === "flatten")
    return _("{head}: {text}", { head, text: `${traceFeature(app, unit, step).text} · ${told}` });
  const parts = [
    _("unit {unit} of 0–{last}", { unit, last: layer.shape[0] - 1 }),
    told,
    layer.kind === "linear"
      ? _("reads {count} values", { count: tensors[step - 1].data.length })
      : _("reads unit {unit}", { unit }),
  ];
  return _("{head}: {text}", { head, text: parts.join(" · ") });
};

/** The height and width of the receptive field away from the border. */
const receptiveSize = (layers, step) => {
  const far = [{ ...layers[0], shape: [1, 1e6, 1e6] }, ...layers.slice(1)];
  const { top, bottom, left, right } = receptiveField(far, step, 1e4, 1e4);
  return { height: bottom - top + 1, width: right - left + 1 };
};

const createOverview = (app) => {
  const { canvas, draw, position } = drawing(
    _("All steps of the net, from the image to the classes. Arrow keys move from unit to unit, Enter opens one."),
  );
  const status = element("p", { role: "status", "aria-live": "polite", "aria-label": _("details") });
  const legend = element("canvas", { width: 100, height: 8, ariaHidden: "true" });
  const legendText = element("span");
  const node = element(
    "div",
    {},
    element("div", { className: "scroll" }, canvas),
    status,
    element("p", { className: "legend" }, _("Colours:"), " ", legend, " ", legendText),
  );
  let columns;
  let width;
  let still;
  let focus = { step: 0, unit: 0 };

  const scaleOf = (step, unit) => {
    if (app.view.scale === "map" && app.layers[step].shape.length === 3)
      return colourScale(rangeOf(planeOf(app.tensors[step], unit)));
    if (app.view.scale === "all") return colourScale(rangeOf(app.tensors.flatMap((tensor) => rangeOf(tensor.data))));
    return colourScale(rangeOf(app.tensors[step].data));
  };

  const drawStep = (context, step) => {
    const { layers, tensors, classes, probabilities } = app;
    const { box, left, count } = columns[step];
    context.fillText(stepName(layers[step]), left, 11);
    context.fillText(layers[step].shape.join("×"), left, 25);
    const shared = app.view.scale === "map" && layers[step].shape.length === 3 ? null : scaleOf(step, 0);
    for (let unit = 0; unit < count; unit++) {
      const [x, y, size] = box(unit);
      const plane = planeOf(tensors[step], unit);
      const scale = shared ?? scaleOf(step, unit);
      context.fillStyle = scale.table.css[colourNumber(plane[0], scale)];
      if (plane.length === 1) context.fillRect(x, y, size, size);
      else context.drawImage(paint(plane, tensors[step].width, tensors[step].height, scale), x, y, size, size);
      context.strokeRect(x, y, size, size);
      context.fillStyle = context.strokeStyle;
      if (step < layers.length - 1) continue;
      context.fillText(
        `${classes[unit].slice(0, 14)} ${written(probabilities[unit], 2)}`,
        x + size + 5,
        y + size / 2 + 4,
      );
      context.fillRect(x + size + 5, y + size / 2 + 7, 100 * probabilities[unit], 3);
    }
  };

  /** Draw all maps once per image; hovering only copies them. */
  const drawStill = () => {
    width = Math.max(
      OVERVIEW.labels + OVERVIEW.slot * (app.layers.length - 1),
      Math.min(1200, canvas.parentElement.clientWidth - 8),
    );
    columns = layOut(app.layers, width);
    draw(width, OVERVIEW.top + OVERVIEW.height + 4, (context) => {
      Object.assign(context, { lineWidth: 0.3 });
      app.layers.forEach((_, step) => drawStep(context, step));
    });
    still = element("canvas", { width: canvas.width, height: canvas.height });
    still.getContext("2d").drawImage(canvas, 0, 0);
  };

  const drawEdges = (context, { step, unit }) => {
    const [x, y, size] = columns[step].box(unit);
    for (const [from, strength] of incoming(app, step, unit)) {
      const [fx, fy, fromSize] = columns[step - 1].box(from);
      context.globalAlpha = strength === null ? 0.8 : Math.abs(strength);
      context.strokeStyle = strength === null ? "#cc79a7" : signed(Math.sign(strength));
      context.lineWidth = 1.2;
      context.beginPath();
      context.moveTo(fx + fromSize, fy + fromSize / 2);
      context.lineTo(x, y + size / 2);
      context.stroke();
    }
    context.globalAlpha = 1;
    frame(context, x, y, size, size);
  };

  const drawFocus = () => {
    draw(width, OVERVIEW.top + OVERVIEW.height + 4, (context) => {
      context.drawImage(still, 0, 0, width, OVERVIEW.top + OVERVIEW.height + 4);
      drawEdges(context, focus);
    });
    const scale = scaleOf(focus.step, focus.unit);
    legend.getContext("2d").drawImage(
      paint(
        Array.from({ length: 100 }, (_, i) => i),
        100,
        1,
        { table: scale.table, low: 0, high: 99 },
      ),
      0,
      0,
      100,
      8,
    );
    legendText.textContent = _("{low} … {high}. Edges into a linear unit: blue raises it, orange lowers it.", {
      low: written(scale.low, 3),
      high: written(scale.high, 3),
    });
    status.textContent = describeUnit(app, focus.step, focus.unit);
  };

  const look = (step, unit) => {
    focus = { step, unit: clamp(unit, 0, columns[step].count - 1) };
    drawFocus();
  };

  const unitAt = ([x, y]) => {
    const step = columns.findIndex(
      (column, s) => x >= column.left && x < (s === columns.length - 1 ? width : column.right),
    );
    if (step < 0) return null;
    const { left, top, pitch, across, count } = columns[step];
    const unit = Math.floor((y - top) / pitch) * across + Math.min(across - 1, Math.floor((x - left) / pitch));
    return unit >= 0 && unit < count ? { step, unit } : null;
  };

  /** Open the convolution or the linear layer that a unit belongs to. */
  const open = ({ step, unit }) => {
    const { layers } = app;
    if (layers[step].kind === "flatten")
      return app.update({ layer: layers.findIndex((l, s) => s > step && l.kind === "linear"), unit: 0, feature: unit });
    let layer = step;
    while (layer > 0 && !["conv", "linear"].includes(layers[layer].kind)) layer--;
    if (layer > 0) app.update({ layer, unit, row: 0, column: 0, feature: 0 });
    else
      status.textContent = _("This step computes nothing: open a convolution, a linear layer, or a step behind one.");
  };

  canvas.addEventListener("pointermove", (event) => {
    const found = unitAt(position(event));
    if (found && (found.step !== focus.step || found.unit !== focus.unit)) look(found.step, found.unit);
  });
  canvas.addEventListener("click", (event) => {
    const found = unitAt(position(event));
    if (found) open(found);
  });
  onKeys(canvas, {
    Enter: () => open(focus),
    arrow: ([down, right]) => {
      const step = clamp(focus.step + right, 0, app.layers.length - 1);
      const share = focus.unit / columns[focus.step].count;
      look(step, right ? Math.floor(share * columns[step].count) : focus.unit + down);
    },
  });
  return {
    node,
    draw: () => {
      drawStill();
      drawFocus();
    },
  };
};
