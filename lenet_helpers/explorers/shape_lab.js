// Sliders for the shape of a convolution or pooling layer. All arithmetic is done here, so that a slider answers at once.

const labels = () => ({
  size: _("input size n"),
  kernel: _("kernel k"),
  padding: _("padding p"),
  stride: _("stride s"),
  dilation: _("dilation d"),
  in_channels: _("input channels"),
  out_channels: _("output channels"),
});
const kindNames = () => ({
  convolution: _("convolution"),
  "average pooling": _("average pooling"),
  "max pooling": _("max pooling"),
});
const CLASSES = { convolution: "Conv2d", "average pooling": "AvgPool2d", "max pooling": "MaxPool2d" };
const FRAME = "#cc0077";
const PADDING = "#dbe9f6";
const BORDER = "#0072b2";
const HATCH = "#d55e00";
const PICTURE = 342; // width of the padded input in screen pixels, at most

const counted = (number) => number.toLocaleString("en-US");

/** What follows from the settings: the same as SquareLayer in shapes.py. */
const planLayer = ({ kind, size, kernel, padding, stride, dilation, in_channels, out_channels }) => {
  const pools = kind !== "convolution";
  const span = dilation * (kernel - 1) + 1;
  const padded = size + 2 * padding;
  const outputSize = Math.floor((padded - span) / stride) + 1;
  const problems = [];
  if (pools && padding > Math.floor(kernel / 2)) {
    problems.push(_(
      "PyTorch allows pooling a padding of at most half the kernel, here {most}. Lower the padding or raise the kernel.",
      { most: Math.floor(kernel / 2) },
    ));
  }
  if (outputSize < 1) {
    problems.push(_("The window spans {span} pixels, but the padded input is only {padded} wide.", { span, padded }), dilation > 1
      ? _("Lower the kernel or the dilation, or raise the padding or the input size.")
      : _("Lower the kernel, or raise the padding or the input size."));
  }
  const taps = (position) => Array.from({ length: kernel }, (_, tap) => position * stride - padding + tap * dilation);
  const reached = new Set();
  for (let position = 0; position < outputSize; position += 1) {
    for (const tap of taps(position)) if (tap >= 0 && tap < size) reached.add(tap);
  }
  const settings = `kernel_size=${kernel}, stride=${stride}, padding=${padding}`
    + (kind === "average pooling" ? "" : `, dilation=${dilation}`);
  return {
    outputSize,
    problem: problems.join(" "),
    taps,
    reached,
    unreached: size ** 2 - reached.size ** 2,
    parameters: pools ? 0 : out_channels * (in_channels * kernel ** 2 + 1),
    multiplyAdds: pools ? 0 : out_channels * in_channels * kernel ** 2 * outputSize ** 2,
    outputShape: `(1, ${out_channels}, ${outputSize}, ${outputSize})`,
    code: `nn.${CLASSES[kind]}(${pools ? "" : `${in_channels}, ${out_channels}, `}${settings})`,
    formula: `floor((${size} + 2·${padding} − ${dilation}·(${kernel} − 1) − 1) / ${stride}) + 1 `
      + `= floor(${padded - span} / ${stride}) + 1 = ${outputSize}`.replaceAll("-", "−"),
  };
};

/** A square image with `size` pixels a side, each the nearest pixel of `image`. */
const shrink = (image, size) => {
  const nearest = (index) => Math.floor(((2 * index + 1) * image.length) / (2 * size));
  return Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (_, col) => image[nearest(row)][nearest(col)]));
};

/** One output pixel: the maximum of the window, or its average with padding counted as 0. */
const poolWindow = (image, rows, cols, kind) => {
  const numbers = rows.flatMap((row) => cols.map((col) => image[row]?.[col])).filter((number) => number !== undefined);
  if (kind === "max pooling") return Math.max(...numbers);
  return numbers.reduce((sum, number) => sum + number, 0) / (rows.length * cols.length);
};

/** Strike out one pixel with a diagonal. */
const hatch = (context, x, y, cell) => {
  context.strokeStyle = HATCH;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x, y + cell);
  context.lineTo(x + cell, y);
  context.stroke();
};

/** Outline some pixels, given as [row, column], in colour on white. */
const outline = (context, places, cell) => {
  for (const [colour, width] of [["#fff", 5], [FRAME, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (const [row, col] of places) context.strokeRect(col * cell + 0.5, row * cell + 0.5, cell, cell);
  }
};

const grid = (context, first, size, cell) => {
  context.strokeStyle = "#b0b0b0";
  context.lineWidth = 1;
  context.beginPath();
  for (let line = 0; line <= size; line += 1) {
    const at = (first + line) * cell + 0.5;
    context.moveTo(at, first * cell);
    context.lineTo(at, (first + size) * cell);
    context.moveTo(first * cell, at);
    context.lineTo((first + size) * cell, at);
  }
  context.stroke();
};

/** One slider with its label, its number and, where it is switched off, the reason. */
const makeSlider = (name, [low, high], onInput) => {
  const id = `lenet-${name}-${Math.random().toString(36).slice(2)}`;
  const input = element("input", { type: "range", min: low, max: high, step: 1, id, "aria-describedby": `${id}-reason` });
  const number = element("span", { className: "number" }); // a range input says its number by itself
  const reason = element("span", { className: "reason", id: `${id}-reason` });
  const setting = element("div", { className: "setting" },
    element("label", { htmlFor: id }, labels()[name]), input, number, reason);
  input.addEventListener("input", () => onInput(Number(input.value)));
  const show = (value, why = "") => {
    input.value = value;
    number.textContent = value;
    input.disabled = Boolean(why);
    setting.classList.toggle("off", Boolean(why));
    reason.textContent = why;
  };
  return { setting, show };
};

export default {
  render({ model, el }) {
    speak(model, el);
    const image = model.get("image");
    const names = Object.keys(labels());
    const chooser = element("select", {}, ...Object.entries(kindNames()).map(([kind, text]) =>
      element("option", { value: kind }, text)));
    const code = element("div", { className: "code" });
    const formula = element("div", { className: "formula" });
    const status = element("div", { role: "status", "aria-live": "polite" });
    const windowLine = element("div", { role: "status", "aria-live": "polite", className: "window-line" });
    const canvas = (label) => element("canvas", { className: "pixels", tabIndex: 0, role: "application", "aria-label": label });
    const input = canvas(_("padded input: move the window with the mouse, a finger or the arrow keys"));
    const output = canvas(_("output: choose a pixel with the mouse, a finger or the arrow keys"));
    const inputCaption = element("figcaption");
    const outputCaption = element("figcaption");
    const outputFigure = element("figure", {}, outputCaption, output);
    const paddingNote = element("span");
    const legend = element("div", { className: "legend" },
      element("span", {}, element("span", { className: "swatch padding" }), paddingNote),
      element("span", {}, element("span", { className: "swatch window" }), _("read by the window")),
      element("span", {}, element("span", { className: "swatch unreached" }), _("no window reads this pixel")));

    let settings, plan, pixels, cell, inputPicture, outputPicture;

    const { change, end } = tellAtRest(model);

    const readSettings = () => {
      const values = { kind: model.get("kind") };
      for (const name of names) values[name] = model.get(name);
      if (values.kind === "average pooling") values.dilation = 1;
      if (values.kind !== "convolution") values.out_channels = values.in_channels;
      return values;
    };

    const lastPlace = (layer) => (layer.problem ? 0 : layer.outputSize - 1);

    const clamp = (index, layer) => Math.max(0, Math.min(lastPlace(layer), index));

    /** Change settings, and keep the window inside the new output. */
    const setUp = (values) => {
      const old = [model.get("row"), model.get("col")];
      change(values);
      const [row, col] = old.map((index) => clamp(index, plan));
      if (row !== old[0] || col !== old[1]) change({ row, col });
    };

    const sliders = Object.fromEntries(names.map((name) => [
      name, makeSlider(name, model.get("ranges")[name], (value) => setUp({ [name]: value })),
    ]));

    const drawInput = () => {
      const { size, padding } = settings;
      const padded = size + 2 * padding;
      const picture = element("canvas", { width: padded * cell + 1, height: padded * cell + 1 });
      const context = picture.getContext("2d");
      context.fillStyle = PADDING;
      context.fillRect(0, 0, picture.width, picture.height);
      pixels.forEach((line, row) => line.forEach((value, col) => {
        const [x, y] = [(col + padding) * cell, (row + padding) * cell];
        context.fillStyle = gray(value);
        context.fillRect(x, y, cell, cell);
      }));
      grid(context, 0, padded, cell);
      if (!plan.problem) {
        pixels.forEach((line, row) => line.forEach((_, col) => {
          const missed = !plan.reached.has(row) || !plan.reached.has(col);
          if (missed) hatch(context, (col + padding) * cell, (row + padding) * cell, cell);
        }));
      }
      context.strokeStyle = BORDER;
      context.lineWidth = 2;
      context.strokeRect(padding * cell + 0.5, padding * cell + 0.5, size * cell, size * cell);
      return picture;
    };

    const drawOutput = () => {
      const side = plan.outputSize;
      const picture = element("canvas", { width: side * cell + 1, height: side * cell + 1 });
      const context = picture.getContext("2d");
      for (let row = 0; row < side; row += 1) {
        for (let col = 0; col < side; col += 1) {
          context.fillStyle = gray(poolWindow(pixels, plan.taps(row), plan.taps(col), settings.kind));
          context.fillRect(col * cell, row * cell, cell, cell);
        }
      }
      grid(context, 0, side, cell);
      return picture;
    };

    const copy = (canvasOnPage, picture) => {
      canvasOnPage.width = picture.width;
      canvasOnPage.height = picture.height;
    };

    const describeAxis = (taps) => {
      const places = { first: written(taps[0], 0), last: written(taps.at(-1), 0), step: settings.dilation };
      if (taps.length === 1) return places.first;
      return settings.dilation > 1 ? _("{first} to {last} in steps of {step}", places) : _("{first} to {last}", places);
    };

    /** Show the window of one output pixel. */
    const step = () => {
      input.getContext("2d").drawImage(inputPicture, 0, 0);
      if (plan.problem) {
        windowLine.textContent = "";
        return;
      }
      const [row, col] = [clamp(model.get("row"), plan), clamp(model.get("col"), plan)];
      const [rows, cols] = [plan.taps(row), plan.taps(col)];
      const { size, padding, kernel, kind } = settings;
      const taps = rows.flatMap((y) => cols.map((x) => [y + padding, x + padding]));
      outline(input.getContext("2d"), taps, cell);
      output.getContext("2d").drawImage(outputPicture, 0, 0);
      outline(output.getContext("2d"), [[row, col]], cell);
      const inside = (taps) => taps.filter((tap) => tap >= 0 && tap < size).length;
      const outside = kernel ** 2 - inside(rows) * inside(cols);
      const value = poolWindow(pixels, rows, cols, kind);
      const what = {
        convolution: _("with every weight 1/k² it gives {value}", { value: written(value) }),
        "average pooling": _("average {value}", { value: written(value) }),
        "max pooling": _("maximum {value}", { value: written(value) }),
      };
      windowLine.textContent = _(
        "output[{row}, {col}] reads rows {rows} and columns {cols}; {outside} of {count} numbers are padding; {what}",
        { row, col, rows: describeAxis(rows), cols: describeAxis(cols), outside, count: kernel ** 2, what: what[kind] },
      );
      Object.assign(el.dataset, { row, col, value });
    };

    const showResult = () => {
      status.classList.toggle("wrong", Boolean(plan.problem));
      status.classList.toggle("result", !plan.problem);
      if (plan.problem) {
        status.textContent = _("Not possible: {problem}", { problem: plan.problem });
        return;
      }
      const unreached = _("{count} of {total}", { count: plan.unreached, total: settings.size ** 2 });
      const items = [
        ["output shape", _("output shape"), plan.outputShape],
        ["pixels not reached", _("pixels not reached"), unreached],
        ["parameters", _("parameters"), counted(plan.parameters)],
        ["multiply-adds", _("multiply-adds"), counted(plan.multiplyAdds)],
      ];
      status.replaceChildren(...items.map(([name, label, text]) =>
        element("span", {}, `${label} `, element("b", { "data-name": name }, text), " ")));
    };

    /** Work everything out again after a setting has changed. */
    const restart = () => {
      settings = readSettings();
      plan = planLayer(settings);
      const { kind, size, padding } = settings;
      chooser.value = kind;
      for (const name of names) {
        let why = "";
        if (name === "dilation" && kind === "average pooling") why = _("AvgPool2d has no dilation in PyTorch");
        if (name === "out_channels" && kind !== "convolution") why = _("pooling keeps the channels");
        sliders[name].show(settings[name], why);
      }
      code.textContent = plan.code;
      formula.textContent = _("output size = {formula}", { formula: `floor((n + 2p − d(k − 1) − 1) / s) + 1 = ${plan.formula}` });
      showResult();
      cell = Math.min(24, Math.floor(PICTURE / (size + 2 * padding)));
      pixels = shrink(image, size);
      inputPicture = drawInput();
      copy(input, inputPicture);
      inputCaption.textContent = padding
        ? _("input {size} × {size}, with padding {padded} × {padded}", { size, padded: size + 2 * padding })
        : _("input {size} × {size}", { size });
      paddingNote.textContent = kind === "max pooling" ? _("padding (never the maximum)") : _("padding (counts as 0)");
      outputFigure.hidden = Boolean(plan.problem);
      if (!plan.problem) {
        outputPicture = drawOutput();
        copy(output, outputPicture);
        const size = plan.outputSize;
        outputCaption.textContent = kind === "convolution"
          ? _("output {size} × {size}, drawn with every weight 1/k²", { size })
          : _("output {size} × {size}", { size });
      }
      step();
    };

    const go = (row, col) => change({ row: clamp(row, plan), col: clamp(col, plan) });

    /** Follow a pointer over a canvas; `toOutput` maps a row or column of the canvas to one of the output. */
    const follow = (canvasOnPage, toOutput) => {
      const move = (event) => {
        const box = canvasOnPage.getBoundingClientRect();
        const scale = canvasOnPage.width / canvasOnPage.clientWidth / cell;
        const at = (client, edge) => toOutput(Math.floor((client - edge) * scale));
        go(at(event.clientY, box.top + canvasOnPage.clientTop), at(event.clientX, box.left + canvasOnPage.clientLeft));
      };
      canvasOnPage.addEventListener("pointermove", move);
      canvasOnPage.addEventListener("pointerdown", move);
      canvasOnPage.addEventListener("keydown", (event) => {
        const arrow = ARROWS[event.key];
        if (!arrow) return;
        event.preventDefault();
        go(model.get("row") + arrow[0], model.get("col") + arrow[1]);
      });
    };
    follow(input, (index) => Math.round((index - (settings.dilation * (settings.kernel - 1)) / 2) / settings.stride));
    follow(output, (index) => index);

    chooser.addEventListener("change", () => setUp({ kind: chooser.value }));

    el.classList.add("lenet", "shape-lab");
    keepKeys(el);
    el.replaceChildren(
      element("div", { className: "settings" },
        element("label", { className: "setting" }, _("layer"), " ", chooser),
        ...names.map((name) => sliders[name].setting)),
      code,
      formula,
      status,
      element("div", { className: "row" }, element("figure", {}, inputCaption, input), outputFigure),
      legend,
      windowLine,
    );

    const changes = { "change:row": step, "change:col": step };
    for (const name of ["kind", ...names]) changes[`change:${name}`] = restart;
    for (const [event, handler] of Object.entries(changes)) model.on(event, handler);
    restart();
    return () => {
      end();
      for (const [event, handler] of Object.entries(changes)) model.off(event, handler);
    };
  },
};
