// The forward pass of the net, in pure functions. A tensor is { channels, height, width, data: Float32Array };
// a vector has one channel per unit, 1 × 1. A layer is the description that net.py makes; `weights` holds all its numbers.

/** Add what input map `i` gives to output map `o` of a convolution: the sum of window × kernel at every position. */
const addConvolution = (layer, weights, x, o, i, sums) => {
  const [, height, width] = layer.shape;
  const [kernelRows, kernelColumns] = layer.kernel;
  const kernelAt = layer.weight + (o * x.channels + i) * kernelRows * kernelColumns;
  const inputAt = i * x.height * x.width;
  for (let a = 0; a < kernelRows; a++) {
    for (let b = 0; b < kernelColumns; b++) {
      const weight = weights[kernelAt + a * kernelColumns + b];
      for (let r = 0; r < height; r++) {
        const row = r * layer.stride[0] - layer.padding[0] + a * layer.dilation[0];
        if (row < 0 || row >= x.height) continue;
        for (let c = 0; c < width; c++) {
          const column = c * layer.stride[1] - layer.padding[1] + b * layer.dilation[1];
          if (column >= 0 && column < x.width) sums[r * width + c] += weight * x.data[inputAt + row * x.width + column];
        }
      }
    }
  }
};

const biasOf = (layer, weights, unit) => (layer.bias < 0 ? 0 : weights[layer.bias + unit]);

/** The window of a convolution at (row, column) of output map `o`: [value, weight] for each kernel cell of input map `i`. */
const windowProducts = (layer, weights, x, o, i, row, column) => {
  const [kernelRows, kernelColumns] = layer.kernel;
  const kernelAt = layer.weight + (o * x.channels + i) * kernelRows * kernelColumns;
  return Array.from({ length: kernelRows }, (_, a) =>
    Array.from({ length: kernelColumns }, (_, b) => {
      const r = row * layer.stride[0] - layer.padding[0] + a * layer.dilation[0];
      const c = column * layer.stride[1] - layer.padding[1] + b * layer.dilation[1];
      const inside = r >= 0 && r < x.height && c >= 0 && c < x.width;
      return [inside ? x.data[(i * x.height + r) * x.width + c] : 0, weights[kernelAt + a * kernelColumns + b]];
    }),
  );
};

/** The values under the pooling window at (row, column) of map `channel`. */
const poolWindow = (layer, x, channel, row, column) => {
  const values = [];
  for (let a = 0; a < layer.kernel[0]; a++) {
    for (let b = 0; b < layer.kernel[1]; b++) {
      values.push(x.data[(channel * x.height + row * layer.stride[0] + a) * x.width + column * layer.stride[1] + b]);
    }
  }
  return values;
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const ACTIVATIONS = { sigmoid: (x) => 1 / (1 + Math.exp(-x)), relu: (x) => Math.max(0, x), tanh: Math.tanh };

/** The same as text, with numbers in it. */
const ACTIVATION_TEXTS = {
  sigmoid: (x) => `1 / (1 + exp(${written(-x)}))`,
  relu: (x) => `max(0, ${written(x)})`,
  tanh: (x) => `tanh(${written(x)})`,
};

/** The outputs of one layer, as a plain or typed array, for each kind that net.py knows. */
const COMPUTE = {
  conv(layer, weights, x) {
    const size = layer.shape[1] * layer.shape[2];
    const all = new Float64Array(layer.shape[0] * size);
    for (let o = 0; o < layer.shape[0]; o++) {
      const sums = all.subarray(o * size, (o + 1) * size).fill(biasOf(layer, weights, o));
      for (let i = 0; i < x.channels; i++) addConvolution(layer, weights, x, o, i, sums);
    }
    return all;
  },
  activation: (layer, weights, x) => x.data.map(ACTIVATIONS[layer.function]),
  pool(layer, weights, x) {
    const [channels, height, width] = layer.shape;
    const pool = layer.function === "max" ? (values) => Math.max(...values) : mean;
    return Array.from({ length: channels * height * width }, (_, i) =>
      pool(poolWindow(layer, x, Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width)),
    );
  },
  norm(layer, weights, x) {
    const size = x.height * x.width;
    return x.data.map(
      (value, i) => value * weights[layer.scale + Math.floor(i / size)] + weights[layer.shift + Math.floor(i / size)],
    );
  },
  linear: (layer, weights, x) =>
    Array.from({ length: layer.shape[0] }, (_, o) => {
      let sum = biasOf(layer, weights, o);
      for (let i = 0; i < x.data.length; i++) sum += weights[layer.weight + o * x.data.length + i] * x.data[i];
      return sum;
    }),
  flatten: (layer, weights, x) => x.data,
  same: (layer, weights, x) => x.data,
};

/** Run an image through all layers; the first of the returned tensors is the image itself. */
const runForward = (layers, weights, image) => {
  const tensors = [];
  for (const layer of layers) {
    const [channels, height = 1, width = 1] = layer.shape;
    const data = tensors.length ? COMPUTE[layer.kind](layer, weights, tensors.at(-1)) : image;
    tensors.push({ channels, height, width, data: Float32Array.from(data) });
  }
  return tensors;
};

/** Probabilities from logits; the largest logit is subtracted so that exp never overflows. */
const softmax = (logits) => {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
};

/** The rectangle of the image, { top, bottom, left, right } without the padding, that a unit of step `step` can see. */
const receptiveField = (layers, step, row, column) => {
  let [top, bottom, left, right] = [row, row, column, column];
  for (let s = step; s > 0; s--) {
    const { kind, kernel, stride, padding = [0, 0], dilation = [1, 1] } = layers[s];
    if (kind !== "conv" && kind !== "pool") continue;
    top = top * stride[0] - padding[0];
    bottom = bottom * stride[0] - padding[0] + dilation[0] * (kernel[0] - 1);
    left = left * stride[1] - padding[1];
    right = right * stride[1] - padding[1] + dilation[1] * (kernel[1] - 1);
  }
  const [, height, width] = layers[0].shape;
  return {
    top: Math.max(0, top),
    bottom: Math.min(height - 1, bottom),
    left: Math.max(0, left),
    right: Math.min(width - 1, right),
  };
};
