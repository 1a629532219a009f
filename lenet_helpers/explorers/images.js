// Turn any picture into an input of the net, step by step as images.py does. No drawing here, but for decoding a file.

const SIZE = 28;
const MAX_PIXELS = 50e6;
const LONG_SIDE = 1024;

/** Decode a picture file to { width, height, data } in RGBA, reduced if it is large; reject with a message for the reader. */
const decodeFile = async (file) => {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () =>
        reject(
          new Error(_("{name} is no picture that can be read. Take a PNG, JPEG, GIF, BMP or WebP file.", { name: file.name })),
        );
      image.src = url;
    });
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width || !height) throw new Error(_("{name} has no size in pixels. Take a PNG or JPEG file.", { name: file.name }));
    if (width * height > MAX_PIXELS) {
      const size = [width, height].map((n) => n.toLocaleString("en")).join(" × ");
      const most = MAX_PIXELS.toLocaleString("en");
      throw new Error(
        _("{name} has {size} pixels; at most {most} are read. Make it smaller.", { name: file.name, size, most }),
      );
    }
    const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(width * scale)),
      height: Math.max(1, Math.round(height * scale)),
    });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return { width: canvas.width, height: canvas.height, original: `${width} × ${height}`, data };
  } finally {
    URL.revokeObjectURL(url);
  }
};

/** A picture in gray: { width, height, data } with data in [0, 1]; what is transparent shows white paper. */
const toGray = ({ width, height, data }) => {
  const pixels = new Float64Array(width * height);
  for (let i = 0; i < pixels.length; i++) {
    const [red, green, blue, alpha] = data.subarray(4 * i, 4 * i + 4);
    const light = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
    pixels[i] = (light * alpha) / 255 + (1 - alpha / 255);
  }
  return { width, height, data: pixels };
};

/** The mean of the outermost rows and columns: the brightness of the ground. */
const borderMean = ({ width, height, data }) => {
  const border = data.filter((_, i) => {
    const row = Math.floor(i / width);
    const column = i % width;
    return row === 0 || row === height - 1 || column === 0 || column === width - 1;
  });
  return border.reduce((sum, value) => sum + value, 0) / border.length;
};

/** Scale so that the darkest pixel is 0 and the brightest 1; zeros if all are equal. */
const stretch = ({ width, height, data }) => {
  const low = data.reduce((a, b) => Math.min(a, b));
  const range = data.reduce((a, b) => Math.max(a, b)) - low;
  return { width, height, data: data.map((value) => (range > 1e-6 ? (value - low) / range : 0)) };
};

/** The smallest rectangle that holds every pixel brighter than the threshold; all of it if there is none. */
const crop = ({ width, height, data }, threshold = 0.1) => {
  let [top, bottom, left, right] = [height, -1, width, -1];
  data.forEach((value, i) => {
    if (value <= threshold) return;
    const row = Math.floor(i / width);
    const column = i % width;
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  });
  if (bottom < 0) return { width, height, data };
  const rows = Array.from({ length: bottom - top + 1 }, (_, r) => [
    ...data.subarray((top + r) * width + left, (top + r) * width + right + 1),
  ]);
  return { width: right - left + 1, height: rows.length, data: Float64Array.from(rows.flat()) };
};

/** For each of `to` new pixels the old ones it covers, as [index, share] with shares that sum to 1. */
const areaWeights = (from, to) =>
  Array.from({ length: to }, (_, i) => {
    const [start, end] = [(i * from) / to, ((i + 1) * from) / to];
    const weights = [];
    for (let j = Math.floor(start); j < Math.min(from, Math.ceil(end)); j++) {
      weights.push([j, ((Math.min(end, j + 1) - Math.max(start, j)) * to) / from]);
    }
    return weights;
  });

/** Resize to 28 along the longer side, centred on a black square. */
const fit = ({ width, height, data }) => {
  const [tall, wide] = [height, width].map((side) =>
    Math.max(1, Math.floor((SIZE * side) / Math.max(height, width) + 0.5)),
  );
  const [top, left] = [tall, wide].map((side) => Math.floor((SIZE - side) / 2));
  const [rows, columns] = [areaWeights(height, tall), areaWeights(width, wide)];
  const square = new Float64Array(SIZE * SIZE);
  rows.forEach((rowWeights, r) =>
    columns.forEach((columnWeights, c) => {
      let sum = 0;
      for (const [i, a] of rowWeights) for (const [j, b] of columnWeights) sum += a * b * data[i * width + j];
      square[(top + r) * SIZE + left + c] = sum;
    }),
  );
  return { width: SIZE, height: SIZE, data: square };
};

/** Return { image, steps }: the net's input as Float32Array(784), and the steps on the way as [caption, pixels]. */
const prepareImage = (original) => {
  let pixels = toGray(original);
  const steps = [
    [_("original, {size}", { size: original.original }), original],
    [_("gray"), pixels],
  ];
  if (borderMean(pixels) > 0.5) {
    pixels = { ...pixels, data: pixels.data.map((value) => 1 - value) };
    steps.push([_("inverted: the ground is bright"), pixels]);
  }
  if (pixels.width !== SIZE || pixels.height !== SIZE) {
    pixels = crop(stretch(pixels));
    steps.push([_("contrast stretched, cropped"), pixels]);
    pixels = fit(pixels);
    steps.push([_("resized and centred, {size} × {size}", { size: SIZE }), pixels]);
  }
  return { image: Float32Array.from(pixels.data, (value) => Math.max(0, Math.min(1, value))), steps };
};
