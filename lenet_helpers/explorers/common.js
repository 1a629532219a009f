// Shared by every explorer: build elements, map numbers to colours. This text is put in front of each widget's module.

/** Create an element; known keys are set as properties, others (aria-…, role, data-…) as attributes. */
const element = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

/**
 * Keep the keys that are pressed in `node` from JupyterLab and Notebook, which would take them for commands: an arrow
 * would move to another cell, D D would delete this one. What is pressed with Ctrl, Alt or ⌘ is meant for them.
 */
const keepKeys = (node) => {
  const keep = ({ target, ctrlKey, altKey, metaKey }) =>
    target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || altKey || metaKey));
  for (const event of ["focusin", "keydown", "keyup"]) node.addEventListener(event, keep, true);
};

const REST = 80; // milliseconds without a change after which the kernel hears of it

/**
 * Return `change`, which sets values of the model and tells the kernel once the learner rests, and `end` to stop that.
 * What the kernel answers to an earlier change comes in the meantime, and must not put the learner back there.
 */
const tellAtRest = (model) => {
  let untold = {};
  let timer;
  const keep = () => model.set(untold);
  model.on("change", keep);
  const change = (values) => {
    Object.assign(untold, values);
    model.set(values);
    clearTimeout(timer);
    timer = setTimeout(() => {
      untold = {};
      model.save_changes();
    }, REST);
  };
  const end = () => {
    clearTimeout(timer);
    model.off("change", keep);
  };
  return { change, end };
};

/** Ink on paper: 0 is white, 1 is black. */
const gray = (value) => {
  const level = Math.round(255 * (1 - Math.max(0, Math.min(1, value))));
  return `rgb(${level},${level},${level})`;
};

/** Blue for positive, orange for negative, white for 0; value in [-1, 1]. Safe for colour-blind readers. */
const signed = (value) => {
  const v = Math.max(-1, Math.min(1, value));
  const mix = (to) => Math.round(255 + (to - 255) * Math.abs(v));
  return v < 0 ? `rgb(${mix(213)},${mix(94)},${mix(0)})` : `rgb(${mix(0)},${mix(114)},${mix(178)})`;
};

/** The arrow keys as [row, column] steps. */
const ARROWS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

/** Write a number with a real minus sign and a fixed number of decimals. */
const written = (value, decimals = 3) => value.toFixed(decimals).replace("-", "−");
