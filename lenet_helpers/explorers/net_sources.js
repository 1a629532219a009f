// Where the images of the net explorer come from: the data set, noise, a drawing, a file.

/** A pad of 28 × 28 pixels to draw on with the mouse, or with the arrow keys and Space. */
const createPad = (onDraw) => {
  const pixel = 8;
  const { canvas, draw, position } = drawing(
    _("Pad of 28 by 28 pixels. Draw with the mouse; or move with the arrow keys and paint with Space."),
  );
  const ink = new Float32Array(SIZE * SIZE);
  let at = [14, 14];
  const show = () =>
    draw(SIZE * pixel, SIZE * pixel, (context) => {
      context.drawImage(paint(ink, SIZE, SIZE, { table: GRAY, low: 0, high: 1 }), 0, 0, SIZE * pixel, SIZE * pixel);
      frame(context, at[1] * pixel, at[0] * pixel, pixel, pixel);
    });
  const dab = (x, y) => {
    for (let i = 0; i < ink.length; i++) {
      const distance = Math.hypot((i % SIZE) + 0.5 - x, Math.floor(i / SIZE) + 0.5 - y);
      ink[i] = Math.max(ink[i], clamp(1.8 - distance, 0, 1));
    }
  };
  const changed = () => {
    show();
    onDraw(ink.slice());
  };
  let last = null;
  const stroke = (event) => {
    const end = position(event).map((n) => n / pixel);
    const start = last ?? end;
    const steps = Math.max(1, Math.ceil(Math.hypot(end[0] - start[0], end[1] - start[1])));
    for (let i = 1; i <= steps; i++)
      dab(start[0] + ((end[0] - start[0]) * i) / steps, start[1] + ((end[1] - start[1]) * i) / steps);
    last = end;
    changed();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && last && stroke(event));
  canvas.addEventListener("pointerup", () => (last = null));
  onKeys(canvas, {
    arrow: (step) => {
      at = at.map((n, axis) => clamp(n + step[axis], 0, SIZE - 1));
      show();
    },
    " ": () => {
      dab(at[1] + 0.5, at[0] + 0.5);
      changed();
    },
  });
  const clear = () => {
    ink.fill(0);
    changed();
  };
  return { node: element("div", { className: "pad" }, canvas, button(_("Clear the pad"), clear)), clear };
};

/** Pictures of the steps from an uploaded file to the net's input. */
const drawSteps = (steps) =>
  steps.map(([caption, pixels]) => {
    const source =
      pixels.data.length === pixels.width * pixels.height
        ? paint(pixels.data, pixels.width, pixels.height, { table: LIGHT, low: 0, high: 1 })
        : paintColours(pixels);
    const scale = 96 / Math.max(pixels.width, pixels.height);
    const canvas = element("canvas", {
      width: Math.max(1, pixels.width * scale),
      height: Math.max(1, pixels.height * scale),
      role: "img",
      ariaLabel: caption,
    });
    canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
    return element("figure", {}, element("figcaption", {}, caption), canvas);
  });

const paintColours = ({ width, height, data }) => {
  const canvas = element("canvas", { width, height });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  return canvas;
};

/** The names of pictures that are no images of the data set, as the line above the views shows them. */
const pictureNames = () => ({
  noise: _("noise"),
  "your drawing": _("your drawing"),
  "your image": _("your image"),
});

/** What an image of the data set is called between the page and the kernel. */
const imageName = ({ index, name }) => `image ${index}` + (name === undefined ? "" : `: ${name}`);

const createSources = (app) => {
  const { images, labels, predictions, classes } = app;
  const count = images.length / (SIZE * SIZE);
  const imageAt = (index) => images.slice(index * SIZE * SIZE, (index + 1) * SIZE * SIZE);
  const choose = (index) => {
    app.update({ index, picture: imageAt(index), caption: imageName({ index, name: classes[labels[index]] }) });
  };
  /** The next image after the shown one for which `wanted` holds, from the start again at the end; -1 if there is none. */
  const next = (wanted) => {
    const order = Array.from({ length: count }, (_, i) => (app.view.index + 1 + i) % count);
    return order.find(wanted) ?? -1;
  };
  const byClass = labels.length
    ? classes.map((name, label) => ({ name, label, first: labels.indexOf(label) })).filter(({ first }) => first >= 0)
    : [];
  const thumbnails = byClass.map(({ name, label, first }) => {
    const node = button("", () => choose(next((i) => labels[i] === label)));
    node.append(paint(imageAt(first), SIZE, SIZE, { table: GRAY, low: 0, high: 1 }), element("span", {}, name));
    node.title = _("next image of class {name}", { name });
    return node;
  });
  const error = button(_("Next error"), () => choose(next((i) => labels[i] !== predictions[i])));
  error.disabled = !labels.some((label, i) => label !== predictions[i]);
  error.title = error.disabled
    ? _("none of these images is misclassified")
    : _("the next image that the net misclassifies");
  const number = numberField(_("image 0–{last}", { last: count - 1 }), choose);
  const message = element("p", { role: "alert" });
  const steps = element("div", { className: "row steps" });
  let shown;
  /** Take away what is told of an upload. */
  const forget = () => {
    message.textContent = "";
    steps.replaceChildren();
  };
  const pad = createPad((picture) => app.update({ index: -1, picture, caption: "your drawing" }));
  pad.node.hidden = true;

  const noise = () =>
    app.update({ index: -1, picture: Float32Array.from({ length: SIZE * SIZE }, Math.random), caption: "noise" });
  const upload = async (file) => {
    forget();
    try {
      const prepared = prepareImage(await decodeFile(file));
      shown = prepared.image;
      steps.replaceChildren(...drawSteps(prepared.steps));
      app.update({ index: -1, picture: prepared.image, caption: file.name });
    } catch (problem) {
      message.textContent = problem.message;
    }
  };
  const file = element("input", { type: "file", accept: "image/*" });
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = ""; // so that the same file, corrected, can be chosen again
    if (chosen) upload(chosen);
  });
  const drawButton = button(_("Draw"), () => {
    pad.node.hidden = !pad.node.hidden;
    drawButton.ariaExpanded = String(!pad.node.hidden);
    if (!pad.node.hidden) pad.clear();
  });
  drawButton.ariaExpanded = "false";

  const scale = element(
    "select",
    {},
    ...[
      ["map", _("per map")],
      ["layer", _("per layer")],
      ["all", _("for all")],
    ].map(([value, text]) => element("option", { value }, text)),
  );
  scale.addEventListener("change", () => app.update({ scale: scale.value }));

  const node = element(
    "div",
    {},
    element("div", { className: "row thumbnails" }, ...thumbnails),
    element(
      "div",
      { className: "row sources" },
      number.label,
      button(_("Random"), () => choose(Math.floor(Math.random() * count))),
      error,
      button(_("Noise"), noise),
      drawButton,
      element("label", {}, _("Upload a picture"), " ", file),
      element("label", {}, _("Colour scale"), " ", scale),
    ),
    message,
    steps,
    pad.node,
  );
  return {
    node,
    draw() {
      number.set(Math.max(0, app.view.index), count - 1);
      scale.value = app.view.scale;
      if (app.view.picture !== shown) forget();
      shown = app.view.picture;
    },
  };
};
