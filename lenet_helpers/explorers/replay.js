// A slider over the epochs of a training: kernels, maps of one image, confusion matrix, accuracy per class.

const readFloats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

/** Draw maps side by side; all share one range: blue and orange around 0 where both signs occur, gray for one sign. */
const drawMaps = (canvas, values, [count, height, width]) => {
  const side = width > 12 ? 56 : width > 8 || count <= 16 ? 40 : 25;
  const pixel = Math.max(2, Math.round(side / width));
  const across = Math.min(count, 16);
  const [stepX, stepY] = [width * pixel + 3, height * pixel + 3];
  Object.assign(canvas, { width: across * stepX, height: Math.ceil(count / across) * stepY });
  const context = canvas.getContext("2d");
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const limit = Math.max(-low, high);
  const colour =
    low < 0 && high > 0 ? (value) => signed(value / limit) : (value) => gray((value - low) / (high - low || 1));
  values.forEach((value, i) => {
    const map = Math.floor(i / (height * width));
    const [row, column] = [Math.floor(i / width) % height, i % width];
    context.fillStyle = colour(value);
    context.fillRect(
      (map % across) * stepX + column * pixel,
      Math.floor(map / across) * stepY + row * pixel,
      pixel,
      pixel,
    );
  });
};

/** A bar per class; `show(shares)` sets their lengths. */
const classBars = (label, classes) => {
  const bars = classes.map(() => element("div", { className: "bar" }));
  const numbers = classes.map(() => element("td"));
  const rows = classes.map((name, i) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, bars[i]), numbers[i]),
  );
  const show = (shares) =>
    shares.forEach((share, i) => {
      bars[i].style.width = `${Math.round(80 * share)}px`;
      numbers[i].textContent = written(share, 2);
    });
  return { node: element("table", { className: "bars" }, element("caption", {}, label), ...rows), show };
};

export default {
  render({ model, el }) {
    speak(model, el);
    el.classList.add("lenet", "lenet-replay");
    keepKeys(el);
    const [classes, pictures, counts, probabilities, messages] = [
      "classes",
      "pictures",
      "counts",
      "probabilities",
      "messages",
    ].map((name) => model.get(name));
    const values = readFloats(model.get("values"));
    const sizes = pictures.map(([, shape]) => shape.reduce((a, b) => a * b));
    const perEpoch = sizes.reduce((a, b) => a + b, 0);

    const slider = element("input", { type: "range", min: 1, max: counts.length, step: 1 });
    slider.ariaLabel = _("epoch");
    const play = element("button", { type: "button" }, _("Play"));
    const status = element("p", { role: "status", "aria-live": "polite" });
    const alarm = element("p", { role: "alert", className: "wrong" });
    const canvases = pictures.map(([name]) => element("canvas", { role: "img", ariaLabel: name }));
    const image = element("canvas", { role: "img", ariaLabel: _("the image") });
    const { table, show: showCounts } = confusionTable(classes, () => element("span"));
    const accuracy = classBars(_("accuracy per class"), classes);
    const probability = classBars(_("probabilities of the image"), classes);
    el.append(
      element("div", { className: "row controls" }, element("label", {}, _("epoch"), " ", slider), play, status),
      alarm,
      element(
        "div",
        { className: "pictures" },
        element("figure", {}, element("figcaption", {}, _("image")), image),
        ...pictures.map(([name], i) => element("figure", {}, element("figcaption", {}, name), canvases[i])),
      ),
      element("div", { className: "row" }, table, accuracy.node, probability.node),
    );
    drawMaps(image, readFloats(model.get("image")), [1, 28, 28]);

    const show = () => {
      const epoch = model.get("epoch");
      const now = counts[epoch - 1];
      const total = now.flat().reduce((a, b) => a + b, 0);
      const right = now.reduce((sum, line, i) => sum + line[i], 0);
      slider.value = epoch;
      slider.ariaValueText = _("epoch {epoch} of {count}", { epoch, count: counts.length });
      status.textContent = _("After epoch {epoch} of {count}: accuracy {accuracy} on {total} images.", {
        epoch,
        count: counts.length,
        accuracy: written(right / total, 4),
        total: total.toLocaleString("en"),
      });
      alarm.textContent = messages[epoch - 1];
      let start = (epoch - 1) * perEpoch;
      pictures.forEach(([, shape], i) => {
        drawMaps(canvases[i], values.subarray(start, start + sizes[i]), shape);
        start += sizes[i];
      });
      showCounts(now);
      accuracy.show(
        now.map(
          (line, i) =>
            line[i] /
            Math.max(
              1,
              line.reduce((a, b) => a + b, 0),
            ),
        ),
      );
      probability.show(probabilities[epoch - 1]);
    };
    const go = (epoch) => {
      model.set({ epoch });
      model.save_changes();
      show();
    };
    slider.addEventListener("input", () => go(Number(slider.value)));

    let timer;
    const pause = () => {
      clearInterval(timer);
      timer = undefined;
      play.textContent = _("Play");
    };
    play.addEventListener("click", () => {
      if (timer) return pause();
      play.textContent = _("Pause");
      timer = setInterval(() => go((model.get("epoch") % counts.length) + 1), 700);
    });
    model.on("change:epoch", show);
    show();
    return () => {
      pause();
      model.off("change:epoch", show);
    };
  },
};
