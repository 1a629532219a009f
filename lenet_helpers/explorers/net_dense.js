// The view of one unit of a linear layer: features traced back, what pushes it, and the softmax.

const createDense = (app) => {
  const { canvas, draw, position } = drawing(
    _("Features, and what each adds to the unit. Arrow keys move from feature to feature, Escape goes back."),
  );
  const status = element("p", { role: "status", "aria-live": "polite", "aria-label": _("details") });
  const sum = element("p", { className: "sum" });
  const title = element("strong");
  const unitField = numberField(_("unit"), (unit) => app.update({ unit }));
  const featureField = numberField(_("feature"), (feature) => app.update({ feature }));
  const pushes = element("div", { className: "pushes" });
  const table = element("table");
  const formula = element("p", { className: "formula" });
  const softmaxPart = element(
    "section",
    { ariaLabel: _("softmax") },
    element("h4", {}, _("Softmax: from logits to probabilities")),
    table,
    formula,
  );
  const node = element(
    "div",
    {},
    element(
      "div",
      { className: "row" },
      button(_("← Overview"), () => app.update({ layer: -1 })),
      title,
      unitField.label,
      featureField.label,
    ),
    element("div", { className: "scroll" }, canvas),
    status,
    sum,
    element("div", { className: "row parts" }, pushes, softmaxPart),
  );

  /** Where the features are drawn: as maps if they come from a flatten, else in rows of twelve. */
  const arrange = () => {
    const { layers, tensors, view } = app;
    const flat = layers[view.layer - 1].kind === "flatten";
    const maps = flat
      ? tensors[view.layer - 2]
      : { channels: Math.ceil(tensors[view.layer - 1].channels / 12), height: 1, width: 12 };
    const across = flat ? Math.ceil(Math.sqrt(maps.channels)) : 1;
    const down = Math.ceil(maps.channels / across);
    const pixel = clamp(Math.min(250 / (across * maps.width), 250 / (down * maps.height)), 2, 18);
    const gap = flat ? 4 : 0;
    const place = (feature) => {
      const map = Math.floor(feature / (maps.height * maps.width));
      const [row, column] = [Math.floor((feature % (maps.height * maps.width)) / maps.width), feature % maps.width];
      return [
        (map % across) * (maps.width * pixel + gap) + column * pixel,
        Math.floor(map / across) * (maps.height * pixel + gap) + row * pixel,
      ];
    };
    return {
      flat,
      pixel,
      place,
      width: across * (maps.width * pixel + gap),
      height: down * (maps.height * pixel + gap),
    };
  };

  /** What the opened unit computes: values, weights, their products, bias. */
  const compute = () => {
    const { layers, weights, tensors, view } = app;
    const values = tensors[view.layer - 1].data;
    const start = layers[view.layer].weight + view.unit * values.length;
    const row = weights.subarray(start, start + values.length);
    return {
      values,
      row,
      products: Array.from(row, (weight, i) => weight * values[i]),
      bias: biasOf(layers[view.layer], weights, view.unit),
    };
  };

  let plan;
  const lefts = () => [0, plan.width + 40, 2 * (plan.width + 40)];

  const drawAll = (context, { values, products }) => {
    const { layers, tensors, view } = app;
    const [valuesX, productsX, imageX] = lefts();
    context.fillText(_("features x"), valuesX, 12);
    context.fillText(_("x × weight: blue raises, orange lowers"), productsX, 12);
    for (const [left, list] of [
      [valuesX, values],
      [productsX, products],
    ]) {
      const scale = list === values ? colourScale(rangeOf(list)) : { table: SIGNED, ...limits(products) };
      list.forEach((value, i) => {
        const [x, y] = plan.place(i);
        context.fillStyle = scale.table.css[colourNumber(value, scale)];
        context.fillRect(left + x, 20 + y, plan.pixel - 0.5, plan.pixel - 0.5);
      });
      const [x, y] = plan.place(view.feature);
      frame(context, left + x, 20 + y, plan.pixel - 0.5, plan.pixel - 0.5);
    }
    if (!plan.flat) return;
    const { row, column } = traceFeature(app, view.feature, view.layer - 1);
    const area = receptiveField(layers, view.layer - 2, row, column);
    context.fillStyle = getComputedStyle(canvas).color;
    context.fillText(_("image: what feature {feature} sees", { feature: view.feature }), imageX, 12);
    context.drawImage(paint(tensors[0].data, SIZE, SIZE, { table: GRAY, low: 0, high: 1 }), imageX, 20, 196, 196);
    context.strokeRect(imageX, 20, 196, 196);
    frame(
      context,
      imageX + 7 * area.left,
      20 + 7 * area.top,
      7 * (area.right - area.left + 1),
      7 * (area.bottom - area.top + 1),
    );
  };

  const limits = (products) => {
    const limit = products.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12);
    return { low: -limit, high: limit };
  };

  const unitName = () =>
    app.view.layer === app.layers.length - 1 ? app.classes[app.view.unit] : _("unit {unit}", { unit: app.view.unit });

  /** The five features that push the unit most, in one direction. */
  const pushList = (heading, order, { values, row, products }) =>
    element(
      "div",
      {},
      element("h4", {}, heading),
      element(
        "ol",
        {},
        ...order.map((i) =>
          element(
            "li",
            {},
            button(
              _("feature {feature}: {product}", {
                feature: i,
                product: `${written(values[i])} × ${bracketed(row[i])} = ${written(products[i])}`,
              }),
              () => app.update({ feature: i }),
            ),
          ),
        ),
      ),
    );

  const writeSum = (parts) => {
    const { values, row, products, bias } = parts;
    const { layers, view } = app;
    const [up, down] = [1, -1].map((sign) => products.filter((p) => sign * p > 0).reduce((a, b) => a + b, 0));
    const value = products.reduce((a, b) => a + b, bias);
    const flatten = layers[view.layer - 1].kind === "flatten";
    const trace = flatten
      ? traceFeature(app, view.feature, view.layer - 1).text
      : _("feature {feature} = unit {feature} of {layer}", {
          feature: view.feature,
          layer: layers[view.layer - 1].name,
        });
    status.textContent = `${trace} · ${written(values[view.feature])} × ${bracketed(row[view.feature])} = ${written(products[view.feature])}`;
    sum.textContent = _("{unit}: {count} products add up: {up} up, {down} down, + bias {bias} = {value}", {
      unit: unitName(),
      count: products.length,
      up: written(up),
      down: written(down),
      bias: bracketed(bias),
      value: written(value),
    });
    sum.dataset.value = value;
    const order = products.map((_, i) => i).sort((a, b) => products[b] - products[a]);
    const [rising, falling] = [order.filter((i) => products[i] > 0), order.filter((i) => products[i] < 0).reverse()];
    pushes.replaceChildren(
      pushList(_("Push {unit} up most", { unit: unitName() }), rising.slice(0, 5), parts),
      pushList(_("Push {unit} down most", { unit: unitName() }), falling.slice(0, 5), parts),
    );
  };

  /** All terms of the softmax; a row and its term light up together. */
  const writeSoftmax = () => {
    const { classes, probabilities, tensors, view } = app;
    softmaxPart.hidden = view.layer !== app.layers.length - 1;
    if (softmaxPart.hidden) return;
    const logits = tensors.at(-1).data;
    const powers = Array.from(logits, Math.exp);
    const exponential = (value) => (value >= 1e-3 && value < 1e5 ? written(value) : value.toExponential(2));
    const total = powers.reduce((a, b) => a + b, 0);
    const rows = classes.map((name, i) =>
      element(
        "tr",
        { "data-class": i },
        element(
          "th",
          { scope: "row" },
          button(name, () => app.update({ unit: i })),
        ),
        ...[written(logits[i]), exponential(powers[i]), written(probabilities[i], 4)].map((text) =>
          element("td", {}, text),
        ),
      ),
    );
    table.replaceChildren(
      element(
        "tr",
        {},
        ...[_("class"), _("logit z"), "exp(z)", _("probability")].map((text) => element("th", { scope: "col" }, text)),
      ),
      ...rows,
    );
    const terms = powers.flatMap((power, i) => [
      i ? " + " : "",
      element("span", { "data-class": i }, exponential(power)),
    ]);
    formula.replaceChildren(
      `softmax(${classes[view.unit]}) = exp(${written(logits[view.unit])}) / (`,
      ...terms,
      `) = ${exponential(powers[view.unit])} / ${exponential(total)} = ${written(probabilities[view.unit], 4)}`,
    );
    light(view.unit);
  };

  const light = (unit) => {
    for (const part of softmaxPart.querySelectorAll("[data-class]"))
      part.classList.toggle("lit", Number(part.dataset.class) === unit);
  };
  softmaxPart.addEventListener("pointerover", (event) => {
    const part = event.target.closest("[data-class]");
    light(part ? Number(part.dataset.class) : app.view.unit);
  });

  /** The feature under the mouse, in either picture, or -1. */
  const featureAt = ([x, y]) => {
    const left = lefts()[x < lefts()[1] ? 0 : 1];
    return app.tensors[app.view.layer - 1].data.findIndex((_, i) => {
      const [fx, fy] = plan.place(i);
      return x - left >= fx && x - left < fx + plan.pixel && y - 20 >= fy && y - 20 < fy + plan.pixel;
    });
  };
  const point = (event) => {
    const feature = featureAt(position(event));
    if (feature >= 0 && feature !== app.view.feature) app.update({ feature });
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("click", point);
  onKeys(canvas, {
    arrow: ([down, right]) => {
      const perRow = plan.flat ? app.tensors[app.view.layer - 2].width : 12;
      app.update({
        feature: clamp(app.view.feature + right + down * perRow, 0, app.tensors[app.view.layer - 1].data.length - 1),
      });
    },
    Escape: () => app.update({ layer: -1 }),
  });

  let shown;
  return {
    node,
    draw() {
      const { layers, tensors, view } = app;
      const parts = compute();
      plan = arrange();
      const places = { step: view.layer, name: layers[view.layer].name, unit: unitName() };
      title.textContent = _("Step {step}, {name}: {unit}", places);
      unitField.set(view.unit, layers[view.layer].shape[0] - 1);
      featureField.set(view.feature, parts.values.length - 1);
      draw(2 * (plan.width + 40) + (plan.flat ? 200 : 0), Math.max(plan.height, plan.flat ? 200 : 0) + 24, (context) =>
        drawAll(context, parts),
      );
      const key = `${view.layer} ${view.unit}`;
      if (shown?.key !== key || shown.tensors !== tensors) writeSoftmax();
      shown = { key, tensors };
      writeSum(parts);
    },
  };
};
