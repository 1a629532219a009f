// Activations and gradients per layer. The kernel builds the net and measures it; the page chooses and draws.

const LEFT = 124; // the panels' names and the numbers at their axes
const COLUMN = 60; // one layer
const PANELS = [
  { key: "shape", top: 14, height: 130 },
  { key: "spread", top: 172, height: 106 },
  { key: "gradient", top: 306, height: 106 },
];
const FOOT = 26;

/** What stands at the left of each panel, one line of text a line. */
const panelLabels = () => ({
  shape: _("activations"),
  spread: _("spread\nbetween\nimages"),
  gradient: _("gradient\nRMS of the\nweights"),
});

/** The name of a layer, which the kernel calls "hidden 1" or "scores". */
const layerName = (name) => (name === "scores" ? _("scores") : _("hidden {number}", { number: name.split(" ")[1] }));

/** Create an SVG element with attributes and children. */
const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

/** Write a number in three digits, small ones as 1.2e−5. */
const brief = (value) => {
  const plain = value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1000);
  return (plain ? value.toFixed(3) : value.toExponential(1)).replaceAll("-", "−");
};

/** The whole decades that hold all positive numbers. */
const decades = (values) => {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  if (!logs.length) return [-1, 0];
  const low = Math.floor(Math.min(...logs));
  return [low, Math.max(low + 1, Math.ceil(Math.max(...logs)))];
};

export default {
  render({ model, el }) {
    speak(model, el);
    const centre = (index) => LEFT + COLUMN * (index + 0.5);

    /** A horizontal line with its number at the left. */
    const gridLine = (y, text, width) => [
      svg("line", { x1: LEFT, x2: width, y1: y, y2: y, class: "grid" }),
      svg("text", { x: LEFT - 5, y: y + 4, "text-anchor": "end" }, text),
    ];

    /** The histograms of all layers, each standing upright and mirrored. */
    const drawShapes = ({ top, height }, layers, width) => {
      const [low, high] = model.get("reach");
      const place = (value) => top + (height * (high - value)) / (high - low);
      const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find((size) => (high - low) / size <= 5) ?? (high - low) / 2;
      const nodes = [];
      for (let tick = Math.ceil(low / step); tick * step <= high; tick += 1) {
        nodes.push(...gridLine(place(tick * step), (tick * step).toFixed(step < 1 ? 1 : 0).replace("-", "−"), width));
      }
      layers.forEach(({ name, counts, mean, std }, index) => {
        const most = Math.max(...counts);
        const bars = counts.map((count, bin) => {
          const half = (0.45 * COLUMN * count) / most;
          return svg("rect", {
            x: centre(index) - half,
            width: 2 * half,
            y: top + height * (1 - (bin + 1) / counts.length),
            height: height / counts.length,
          });
        });
        const places = { name: layerName(name), mean: brief(mean), std: brief(std) };
        bars.push(svg("title", {}, _("{name}: mean {mean}, standard deviation {std}", places)));
        nodes.push(svg("g", { class: "shape" }, ...bars));
      });
      return nodes;
    };

    /** One number for each layer on a log scale, over those of the settings before. */
    const drawSizes = ({ key, top, height }, layers, before, width) => {
      const [low, high] = decades([...layers, ...before].map((layer) => layer[key]));
      const place = (value) => top + (height * (high - Math.log10(value))) / (high - low);
      const nodes = [];
      for (let power = low; power <= high; power += Math.ceil((high - low) / 5)) {
        nodes.push(...gridLine(place(10 ** power), power < -2 ? `1e−${-power}` : String(10 ** power), width));
      }
      for (const [name, drawn] of [["before", before], ["now", layers]]) {
        const points = drawn.map((layer, index) => [centre(index), layer[key], layer.name]).filter(([, value]) => value > 0);
        const path = points.map(([x, value]) => `${x},${place(value).toFixed(1)}`).join(" ");
        const dots = points.map(([x, value, layer]) =>
          svg("circle", { cx: x, cy: place(value), r: 4 }, svg("title", {}, `${layerName(layer)}: ${brief(value)}`)));
        nodes.push(svg("g", { class: name }, svg("polyline", { points: path }), ...dots));
      }
      return nodes;
    };

    const drawPicture = () => {
      const [layers, before] = [model.get("layers"), model.get("before")];
      const width = LEFT + COLUMN * Math.max(layers.length, before.length);
      const last = PANELS.at(-1);
      const height = last.top + last.height + FOOT;
      const picture = svg("svg", { viewBox: `0 0 ${width + 4} ${height}`, width: width + 4, height, role: "img" });
      picture.setAttribute("aria-label", _("Activations, spread and gradients of {count} layers. {told}", { count: layers.length, told: model.get("told") }));
      for (const panel of PANELS) {
        panelLabels()[panel.key].split("\n").forEach((line, row) =>
          picture.append(svg("text", { x: 0, y: panel.top + panel.height / 2 + 15 * row - 8, class: "axis" }, line)));
        picture.append(...(panel.key === "shape"
          ? drawShapes(panel, layers, width)
          : drawSizes(panel, layers, before, width)));
      }
      layers.forEach(({ name }, index) =>
        picture.append(svg("text", { x: centre(index), y: height - 6, "text-anchor": "middle" }, layerName(name))));
      return picture;
    };

    const fillTable = () => {
      const cells = (tag, texts) => texts.map((text) => element(tag, {}, text));
      const rows = model.get("layers").map(({ name, mean, std, spread, gradient }) =>
        element("tr", {}, element("th", { scope: "row" }, layerName(name)), ...cells("td", [mean, std, spread, gradient].map(brief))));
      table.replaceChildren(
        element("thead", {}, element("tr", {}, ...cells("th", [_("layer"), _("mean"), _("std"), _("spread"), _("gradient RMS")]))),
        element("tbody", {}, ...rows));
    };

    const chooser = (name) => {
      const options = model.get("choices")[name].map((choice) => element("option", { value: choice }, choice));
      const select = element("select", {}, ...options);
      select.addEventListener("change", () => choose(name, select.value));
      return select;
    };
    const selects = { activation: chooser("activation"), init: chooser("init") };
    const slider = element("input", { type: "range", min: 1, max: model.get("max_depth"), step: 1 });
    const number = element("span", { className: "number" });
    const picture = element("div", { className: "picture" });
    const table = element("table", {});
    const status = element("div", { role: "status" });
    const past = element("span", { className: "past" }, "● ", _("the settings before"));
    const legend = element("div", { className: "legend" }, "● ", _("now"), "   ", past);
    slider.addEventListener("input", () => choose("depth", Number(slider.value)));

    /** Hand a choice to the kernel, which measures a new net. */
    const choose = (name, value) => {
      if (model.get(name) === value) return;
      status.textContent = _("Measuring … If nothing changes, run this cell again.");
      model.set(name, value);
      model.save_changes();
      showChoice();
    };

    const showChoice = () => {
      for (const [name, select] of Object.entries(selects)) select.value = model.get(name);
      slider.value = model.get("depth");
      number.textContent = model.get("depth");
    };

    const showLayers = () => {
      picture.replaceChildren(drawPicture());
      legend.hidden = !model.get("before").length;
      fillTable();
      status.textContent = model.get("told");
    };

    el.classList.add("lenet", "depth");
    keepKeys(el);
    el.replaceChildren(
      element("div", { className: "settings" },
        element("label", {}, _("activation"), " ", selects.activation),
        element("label", {}, _("init"), " ", selects.init),
        element("label", {}, _("hidden layers"), " ", slider, " ", number)),
      status,
      element("div", { className: "row" }, element("figure", {}, picture, legend), table),
    );
    const changes = { "change:layers": showLayers };
    for (const name of ["activation", "init", "depth"]) changes[`change:${name}`] = showChoice;
    for (const [event, handler] of Object.entries(changes)) model.on(event, handler);
    showChoice();
    showLayers();
    return () => {
      for (const [event, handler] of Object.entries(changes)) model.off(event, handler);
    };
  },
};
