// Look inside a net: an overview of all steps, a view of one convolution map, a view of one linear unit.
// Everything is computed here from the weights; the kernel only hears what is shown.

const STATE = ["index", "picture", "caption", "scale", "layer", "unit", "row", "column", "feature"];

/** The caption of the shown image; those that the explorer itself gives are English, and are translated here. */
const tellCaption = ({ view, labels, classes }) => {
  const places = { index: view.index, name: classes[labels[view.index]] };
  if (view.caption === imageName(places)) {
    return labels.length ? _("image {index}: {name}", places) : _("image {index}", places);
  }
  return pictureNames()[view.caption] ?? view.caption;
};

/** Keep what is opened inside the net: another layer may have fewer units, rows or features. */
const fitView = ({ layers, view }) => {
  const layer = layers[view.layer];
  if (!["conv", "linear"].includes(layer?.kind)) {
    view.layer = -1;
    return;
  }
  const [units, height = 1, width = 1] = layer.shape;
  const features = layers[view.layer - 1].shape.reduce((a, b) => a * b);
  for (const [name, count] of Object.entries({ unit: units, row: height, column: width, feature: features })) {
    view[name] = clamp(view[name], 0, count - 1);
  }
};

export default {
  render({ model, el }) {
    speak(model, el);
    el.classList.add("lenet", "lenet-net");
    keepKeys(el);
    if (model.get("message")) {
      el.append(element("p", { role: "alert", className: "wrong" }, model.get("message")));
      return;
    }
    const read = (name) => (name === "picture" ? readFloats(model.get(name)) : model.get(name));
    const app = {
      layers: model.get("layers"),
      classes: model.get("classes"),
      labels: model.get("labels"),
      predictions: model.get("predictions"),
      weights: readFloats(model.get("weights")),
      images: readFloats(model.get("images")),
      view: Object.fromEntries(STATE.map((name) => [name, read(name)])),
    };
    const compute = () => {
      app.tensors = runForward(app.layers, app.weights, app.view.picture);
      app.probabilities = softmax(app.tensors.at(-1).data);
    };

    /** Tell the kernel what is shown once the learner rests. */
    let timer;
    const pending = new Set();
    const sync = () => {
      timer = undefined;
      const changes = Object.fromEntries([...pending].map((name) => [name, app.view[name]]));
      if (changes.picture) changes.picture = new DataView(changes.picture.slice().buffer);
      pending.clear();
      model.set(changes);
      model.save_changes();
    };
    app.update = (changes) => {
      Object.assign(app.view, changes);
      Object.keys(changes).forEach((name) => pending.add(name));
      if (changes.picture) compute();
      show();
      clearTimeout(timer);
      timer = setTimeout(sync, REST);
    };

    const caption = element("p", { role: "status", "aria-live": "polite", "aria-label": _("shown image") });
    const why = button("", () =>
      app.update({
        layer: app.layers.length - 1,
        unit: app.probabilities.indexOf(Math.max(...app.probabilities)),
        feature: 0,
      }),
    );
    const views = { overview: createOverview(app), convolution: createConvolution(app), dense: createDense(app) };
    const sources = createSources(app);
    const stage = element("div");
    el.append(sources.node, element("div", { className: "row" }, caption, why), stage);

    let current;
    const show = () => {
      fitView(app);
      const kind =
        app.view.layer < 0 ? "overview" : app.layers[app.view.layer].kind === "conv" ? "convolution" : "dense";
      if (views[kind] !== current) {
        const hadFocus = stage.contains(document.activeElement) || stage.contains(el.getRootNode().activeElement);
        current?.leave?.();
        current = views[kind];
        stage.replaceChildren(current.node);
        if (hadFocus) current.node.querySelector("canvas").focus({ preventScroll: true });
      }
      const largest = Math.max(...app.probabilities);
      const winner = app.classes[app.probabilities.indexOf(largest)];
      caption.textContent = _("{caption} → the net says {winner} (probability {probability})", {
        caption: tellCaption(app),
        winner,
        probability: written(largest, 2),
      });
      why.textContent = _("Why {winner}?", { winner });
      sources.draw();
      current.draw();
    };

    const fromKernel = () => {
      if (pending.size) return;
      const changed = STATE.filter((name) => name !== "picture" && app.view[name] !== model.get(name));
      const picture = read("picture");
      const isNew = picture.some((value, i) => value !== app.view.picture[i]);
      if (!changed.length && !isNew) return;
      for (const name of changed) app.view[name] = model.get(name);
      if (isNew) {
        app.view.picture = picture;
        compute();
      }
      show();
    };
    STATE.forEach((name) => model.on(`change:${name}`, fromKernel));
    compute();
    show();
    const resized = new ResizeObserver(() => current === views.overview && current.draw());
    resized.observe(el);
    return () => {
      resized.disconnect();
      clearTimeout(timer);
      current.leave?.();
      STATE.forEach((name) => model.off(`change:${name}`, fromKernel));
    };
  },
};
