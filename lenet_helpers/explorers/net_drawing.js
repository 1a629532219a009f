// Colours, canvases and controls that all views of the net explorer use.

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const readFloats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const bracketed = (value) => (value < 0 ? `(${written(value)})` : written(value));

/** 256 colours, from a function of [0, 1] to "rgb(…)": as that text, and as the bytes red, green, blue, alpha of a pixel. */
const colourTable = (colour) => {
  const css = Array.from({ length: 256 }, (_, i) => colour(i / 255));
  const bytes = css.flatMap((text) => [...text.match(/\d+/g).map(Number), 255]);
  return { css, pixels: new Uint32Array(Uint8Array.from(bytes).buffer) };
};
const GRAY = colourTable(gray);
const LIGHT = colourTable((t) => gray(1 - t));
const SIGNED = colourTable((t) => signed(2 * t - 1));

const rangeOf = (data) => {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
};

/** Colours for values in [low, high]: blue and orange around 0 where both signs occur, gray for one sign. */
const colourScale = ([low, high]) => {
  if (!(low < 0 && high > 0)) return { table: GRAY, low, high };
  const limit = Math.max(-low, high);
  return { table: SIGNED, low: -limit, high: limit };
};

/** The number of a value's colour in a table; 0 for NaN. */
const colourNumber = (value, { low, high }) =>
  clamp(Math.round((255 * (value - low)) / (high - low || 1)), 0, 255) || 0;

/** Paint values, row by row, into a canvas of one pixel per value. */
const paint = (values, width, height, scale) => {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = scale.table.pixels[colourNumber(values[i], scale)];
  context.putImageData(image, 0, 0);
  return canvas;
};

const planeOf = (tensor, channel) => {
  const size = tensor.height * tensor.width;
  return tensor.data.subarray(channel * size, (channel + 1) * size);
};

/** A canvas that takes keys and the mouse, sharp on every screen; `draw` gets a context in CSS pixels. */
const drawing = (label) => {
  const canvas = element("canvas", { tabIndex: 0, role: "application", "aria-label": label });
  const draw = (width, height, paintAll) => {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
    paintAll(context);
  };
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  return { canvas, draw, position };
};

/** A frame that shows on any colour: black in white. */
const frame = (context, x, y, width, height, dashed = false) => {
  context.save();
  for (const [colour, line] of [
    ["#fff", 3.5],
    ["#000", 1.5],
  ]) {
    context.setLineDash(dashed && colour === "#000" ? [4, 3] : []);
    Object.assign(context, { strokeStyle: colour, lineWidth: line });
    context.strokeRect(x, y, width, height);
  }
  context.restore();
};

/** Call the handler that is named after the key. */
const onKeys = (node, handlers) =>
  node.addEventListener("keydown", (event) => {
    const handler = handlers[event.key] ?? (ARROWS[event.key] && handlers.arrow);
    if (!handler) return;
    event.preventDefault();
    handler(ARROWS[event.key]);
  });

/** A labelled number field. */
const numberField = (name, onChange) => {
  const input = element("input", { type: "number", min: 0 });
  input.addEventListener(
    "input",
    () => input.value !== "" && onChange(clamp(Math.round(Number(input.value)), 0, Number(input.max))),
  );
  const set = (value, max) => {
    input.max = max;
    if (Number(input.value) !== value || input.value === "") input.value = value;
  };
  return { label: element("label", {}, `${name} `, input), set };
};

const button = (text, onClick) => element("button", { type: "button", onclick: onClick }, text);
