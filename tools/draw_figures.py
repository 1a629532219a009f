"""Draw the pictures in img/ from the notebooks' net, trained with seed 0; the same numbers give the same bytes."""

import base64
import io
import itertools
import math
from dataclasses import dataclass, field
from html import escape

import numpy as np
import torch
from lenet import ROOT, train_lenet
from PIL import Image
from torch import nn

from lenet_helpers import load_data_fashion_mnist
from lenet_helpers.curves import CURVES, read_points
from lenet_helpers.data import CLASSES
from lenet_helpers.shapes import walk_shapes

IMG = ROOT / "img"
SETTINGS = {"seed": 0, "lr": 0.9, "batch_size": 256, "num_epochs": 10}

# Okabe and Ito's colours (2008), safe for colour-blind readers: one for each kind of layer, one for what is marked.
COLOURS = {nn.Conv2d: "#0072b2", nn.AvgPool2d: "#009e73", nn.Linear: "#d55e00"}
MARK = "#e69f00"
# A panel of its own keeps a picture legible on every page; it turns dark where the reader's browser asks for that.
STYLE = f"""
svg {{ font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }}
image {{ image-rendering: pixelated }}
.panel {{ fill: #fcfcfa; stroke: #d0d7de }}
.muted {{ fill: #59636e }}
.bold {{ font-weight: 600 }}
.small {{ font-size: 12px }}
.title {{ font-size: 28px; font-weight: 700 }}
.subtitle {{ font-size: 15px; fill: #59636e }}
.rule {{ stroke: #8c959f; fill: none }}
.frame {{ stroke: #8c959f; stroke-width: 0.6; fill: none }}
.window {{ stroke: {MARK}; stroke-width: 1.6; fill: none }}
.grid {{ stroke: #8c959f; stroke-opacity: 0.3 }}
.curve {{ stroke-width: 2.5; stroke-linejoin: round; fill: none }}
@media (prefers-color-scheme: dark) {{
  svg {{ fill: #e6edf3 }}
  .panel {{ fill: #161b22; stroke: #3d444d }}
  .muted, .subtitle {{ fill: #9da7b3 }}
}}
"""


def main():
    net, history = train_lenet(**SETTINGS)
    image = find_recognised(net, CLASSES.index("ankle boot"))
    IMG.mkdir(exist_ok=True)
    for name, svg in (("lenet", draw_lenet(net, image)), ("learning_curves", draw_curves(history))):
        path = IMG / f"{name}.svg"
        path.write_text(svg, encoding="utf-8", newline="\n")
        print(f"drew {path.relative_to(ROOT)}, {path.stat().st_size / 1000:.0f} kB")


def find_recognised(net, label):
    """Return the first test image of the class ``label`` that the net recognises, shape (1, 28, 28)."""
    _, test_iter = load_data_fashion_mnist(256)
    for X, y in test_iter:
        with torch.no_grad():
            (places,) = ((y == label) & (net(X).argmax(dim=1) == label)).nonzero(as_tuple=True)
        if len(places):
            return X[places[0]]
    raise ValueError(
        f"the net recognises no test image of the class {CLASSES[label]}: it has not learned; train it again"
    )


# ---- The data flow of LeNet

WIDTH, HEIGHT, MARGIN, MIDDLE = 1000, 636, 28, 310
# For each stage: maps in a row, width and height of a map or unit, space between two of them, gap to the next stage,
# and the row and column of the output pixel that is marked in its maps, together with the window it is computed from.
LAYOUT = (
    (1, 104, 104, 0, 60, None),
    (1, 52, 52, 6, 58, (9, 17)),
    (1, 40, 40, 6, 58, (9, 4)),
    (2, 31, 31, 4, 58, (4, 5)),
    (2, 21, 21, 4, 84, (2, 3)),
    (1, 13, 2.2, 0, 77, None),
    (1, 13, 2.2, 0, 76, None),
    (1, 13, 21, 1, 0, None),
)
SECOND_CONVOLUTION_MAP = 6  # the one map of the second convolution for which the windows in all its inputs are marked


@dataclass(eq=False)
class Stage:
    """A layer with weights or a pooling layer, together with the flatten before it and the sigmoid after it.

    ``output`` is the tensor that leaves it, without the batch axis. The first stage is the image: it has no layer.
    """

    output: torch.Tensor
    layer: nn.Module = None
    flattens: bool = False
    activates: bool = False
    parameters: int = 0
    multiply_adds: int = 0
    boxes: list = field(default_factory=list)  # where its maps or units are drawn: (x, y, width, height)
    tap: tuple = None  # the marked output pixel: (row, column)

    @property
    def colour(self):
        return COLOURS[type(self.layer)]

    @property
    def size(self):
        """Return the shape of the output in two words or numbers, as they stand above the column."""
        count, *sides = self.output.shape
        if self.layer is None:
            return "image", "28×28"
        if sides:
            return f"{count} maps", "×".join(map(str, sides))
        return str(count), "units" if self.activates else "scores"

    @property
    def name(self):
        return ("Flatten, " if self.flattens else "") + type(self.layer).__name__

    @property
    def settings(self):
        """Return the sizes that the layer was made with."""
        if isinstance(self.layer, nn.Conv2d):
            side, padding = first(self.layer.kernel_size), first(self.layer.padding)
            return f"{side}×{side}, padding {padding}" if padding else f"{side}×{side}"
        if isinstance(self.layer, nn.AvgPool2d):
            return f"{self.layer.kernel_size}×{self.layer.kernel_size}, stride {self.layer.stride}"
        return f"{self.layer.in_features} → {self.layer.out_features}"

    @property
    def edges(self):
        """Return the left, top, right and bottom of the column."""
        (left, top, _, _), (x, y, width, height) = self.boxes[0], self.boxes[-1]
        return left, top, x + width, y + height


def walk_stages(net, image):
    """Run an image of shape (1, 28, 28) through the net and return its stages, with the counts of ``walk_shapes``."""
    X, stages, flattens = image.unsqueeze(0), [Stage(image)], False
    for layer, row in zip(net, walk_shapes(net), strict=True):
        with torch.no_grad():
            X = layer(X)
        if type(layer) in COLOURS:
            stages.append(Stage(X[0], layer, flattens, False, row.parameters, row.multiply_adds))
        elif isinstance(layer, nn.Sigmoid):
            stages[-1].output, stages[-1].activates = X[0], True
        flattens = isinstance(layer, nn.Flatten)
    return stages


def place(stages):
    """Give every map and unit its box: columns from left to right, each centred on the same height."""
    x = MARGIN
    for stage, (ncols, width, height, space, gap, tap) in zip(stages, LAYOUT, strict=True):
        nrows = math.ceil(len(stage.output) / ncols)
        top = MIDDLE - (nrows * (height + space) - space) / 2
        stage.boxes = [
            (x + index % ncols * (width + space), top + index // ncols * (height + space), width, height)
            for index in range(len(stage.output))
        ]
        stage.tap = tap
        x += ncols * (width + space) - space + gap


def draw_lenet(net, image):
    """Draw what every layer of a trained net makes of an image, shape (1, 28, 28), as the text of an SVG."""
    stages = walk_stages(net, image)
    place(stages)
    encoder = [stage for stage in stages if stage.tap]
    dense = [stage for stage in stages if isinstance(stage.layer, nn.Linear)]
    pairs = list(itertools.pairwise(stages))
    parts = [
        draw_heading("LeNet", "what a trained net makes of one test image, layer by layer"),
        *draw_bracket(encoder[0].edges[0], encoder[-1].edges[2], "encoder"),
        *draw_bracket(dense[0].edges[0], WIDTH - MARGIN, "dense block"),
    ]
    for before, stage in pairs:
        if stage in dense:
            parts += draw_contributions(before, stage)
    for stage in stages:
        parts += draw_units(stage) if stage in dense else draw_maps(stage)
        parts += draw_size(stage)
    for before, stage in pairs:
        if stage in encoder:
            parts += draw_windows(before, stage)
    parts += draw_scores(stages[-1])
    parts += draw_table(pairs)
    caption = (
        "Dark pixels are large outputs. Squares mark a window and the pixel computed from it. "
        "Lines show the largest products of weight and input."
    )
    parts.append(text(WIDTH / 2, HEIGHT - 18, caption, "muted small", "middle"))
    flow = ", ".join(" ".join(stage.size) for stage in stages)
    description = (
        f"A test image flows from left to right through a trained LeNet: {flow}. "
        f"The largest score is that of the class {CLASSES[find_winner(stages[-1])]}. "
        "Under the columns stand the name, the settings, the parameters and the multiply-adds of each layer."
    )
    return wrap(WIDTH, HEIGHT, "LeNet, from an image of 28×28 pixels to ten scores", description, parts)


def draw_bracket(left, right, name):
    """Draw a bracket with a name over the columns from ``left`` to ``right``."""
    middle, gap = (left + right) / 2, 4 * len(name) + 8
    path = f"M{short(left)} 94v-8H{short(middle - gap)}M{short(middle + gap)} 86H{short(right)}v8"
    return [tag("path", d=path, class_="rule"), text(middle, 90, name, "bold", "middle")]


def draw_size(stage):
    """Draw the shape of a stage's output above its column."""
    left, top, right, _ = stage.edges
    upper, lower = stage.size
    return [
        text((left + right) / 2, top - 25, upper, "bold", "middle"),
        text((left + right) / 2, top - 9, lower, "", "middle"),
    ]


def draw_maps(stage):
    """Draw each map as pixels: the image from white to black, the others from their smallest to their largest value."""
    parts = []
    for values, box in zip(stage.output.numpy(), stage.boxes, strict=True):
        url = (
            encode_png(values, ["#ffffff", "#000000"], 0, 1)
            if stage.layer is None
            else encode_png(values, inks(stage.colour), values.min(), values.max())
        )
        parts += [tag("image", **corner(box), href=url), tag("rect", **corner(box), class_="frame")]
    return parts


def draw_units(stage):
    """Draw units as one strip: outputs of a sigmoid from 0 to 1, scores from the smallest to the largest."""
    left, top, right, bottom = stage.edges
    values = stage.output.numpy()[:, None]
    low, high = (0, 1) if stage.activates else (values.min(), values.max())
    box = corner((left, top, right - left, bottom - top))
    url = encode_png(values, inks(stage.colour), low, high)
    return [tag("image", **box, href=url, preserveAspectRatio="none"), tag("rect", **box, class_="frame")]


def draw_windows(before, stage):
    """Mark one output pixel and the window it is computed from, in the maps that the layer joins."""
    triangles, squares = [], set()
    for source, target in join_maps(before, stage):
        x, y, width, height = window = window_box(before, source, stage)
        pixel_x, pixel_y, _, pixel_height = pixel = pixel_box(stage, target)
        corners = ((x + width, y), (pixel_x, pixel_y + pixel_height / 2), (x + width, y + height))
        points = " ".join(f"{short(a)},{short(b)}" for a, b in corners)
        triangles.append(tag("polygon", points=points, fill=stage.colour, fill_opacity=0.25))
        squares |= {window, pixel}
    return triangles + [tag("rect", **corner(square), class_="window") for square in sorted(squares)]


def join_maps(before, stage):
    """Return pairs of maps that a layer joins.

    Pooling joins each map to its own (of two columns, the right one is drawn). The first convolution joins the image
    to every map; of the second, one output map is drawn: it is joined to all its inputs.
    """
    if isinstance(stage.layer, nn.AvgPool2d):
        right = before.edges[2]
        return [(index, index) for index, (x, _, width, _) in enumerate(before.boxes) if x + width == right]
    if before.layer is None:
        return [(0, index) for index in range(len(stage.boxes))]
    return [(index, SECOND_CONVOLUTION_MAP) for index in range(len(before.boxes))]


def pixel_box(stage, index):
    """Return the box of the marked pixel in a map."""
    x, y, width, _ = stage.boxes[index]
    side = width / stage.output.shape[-1]
    row, column = stage.tap
    return x + column * side, y + row * side, side, side


def window_box(before, index, stage):
    """Return the box of the window, in a map of the stage before, from which the marked pixel is computed."""
    x, y, width, _ = before.boxes[index]
    scale = width / before.output.shape[-1]
    side, stride, padding = map(first, (stage.layer.kernel_size, stage.layer.stride, stage.layer.padding))
    row, column = (position * stride - padding for position in stage.tap)
    return x + column * scale, y + row * scale, side * scale, side * scale


def draw_contributions(before, stage, count=150, levels=6):
    """Draw the ``count`` largest products of weight and input as lines, the larger the darker, in ``levels`` steps."""
    products = (stage.layer.weight.detach() * before.output.reshape(1, -1)).abs()
    starts = find_centres(before)
    ends = find_centres(stage)
    values, places = products.flatten().topk(count)
    steps = ((values / values[0]) ** 2 * levels).ceil().int().tolist()
    paths = {step: [] for step in range(1, levels + 1)}
    for step, place in zip(steps, places.tolist(), strict=True):
        unit, source = divmod(place, products.shape[1])
        (x1, y1), (x2, y2) = starts[source], ends[unit]
        paths[step].append(f"M{short(x1)} {short(y1)}L{short(x2)} {short(y2)}")
    return [
        tag("path", d="".join(lines), fill="none", stroke=stage.colour, stroke_opacity=0.06 + 0.6 * step / levels)
        for step, lines in paths.items()
        if lines
    ]


def find_centres(stage):
    """Return the centres of all pixels or units of a stage, in the order in which a flatten lays them out."""
    nrows, ncols = stage.output.shape[1:] or (1, 1)
    return [
        (x + (column + 0.5) * width / ncols, y + (row + 0.5) * height / nrows)
        for x, y, width, height in stage.boxes
        for row in range(nrows)
        for column in range(ncols)
    ]


def find_winner(stage):
    """Return the number of the class with the largest score."""
    return int(stage.output.argmax())


def draw_scores(stage):
    """Draw the class names and the scores beside the last units, and mark the largest."""
    parts, right, winner = [], WIDTH - MARGIN - 4, find_winner(stage)
    for index, (x, y, width, height) in enumerate(stage.boxes):
        style = "bold" if index == winner else ""
        if index == winner:
            box = corner((x + width + 2, y - 2, right - x - width + 6, height + 4))
            parts.append(tag("rect", **box, rx=5, fill=MARK, fill_opacity=0.25, stroke=MARK, stroke_width=2))
        baseline = y + height / 2 + 4.5
        score = f"{float(stage.output[index]):.1f}".replace("-", "−")
        parts += [text(x + width + 8, baseline, CLASSES[index], style), text(right, baseline, score, style, "end")]
    return parts


def draw_table(pairs):
    """Draw the name, the settings and the counts of every layer under the gap that it bridges, and the sums."""
    y, right = 522, WIDTH - MARGIN - 4
    stages = [stage for _, stage in pairs]
    parts = [
        text(MARGIN, y, "layer", "muted small"),
        text(MARGIN, y + 51, "parameters", "muted small"),
        text(MARGIN, y + 68, "multiply-adds", "muted small"),
        text(right, y, "together", "muted small", "end"),
        text(right, y + 51, f"{sum(stage.parameters for stage in stages):,}", "bold small", "end"),
        text(right, y + 68, f"{sum(stage.multiply_adds for stage in stages):,}", "bold small", "end"),
    ]
    for before, stage in pairs:
        middle = (before.edges[2] + stage.edges[0]) / 2
        parts += [
            tag("rect", x=middle - 42, y=y - 23, width=84, height=4, rx=2, fill=stage.colour),
            text(middle, y, stage.name, "bold", "middle"),
            text(middle, y + 17, stage.settings, "small", "middle"),
            text(middle, y + 51, f"{stage.parameters:,}", "small", "middle"),
            text(middle, y + 68, f"{stage.multiply_adds:,}", "small", "middle"),
        ]
        if stage.activates:
            parts.append(text(middle, y + 34, "Sigmoid", "small", "middle"))
    return parts


# ---- The learning curves

CURVES_WIDTH, CURVES_HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 570, 88, 380


def draw_curves(history):
    """Draw a history as ``train_ch6`` returns it, as the text of an SVG with the last values beside the curves."""
    num_epochs = SETTINGS["num_epochs"]
    y_max = max(2.5, math.ceil(2 * max(row["loss"] for row in history)) / 2)

    def to_x(epoch):
        return LEFT + (RIGHT - LEFT) * epoch / num_epochs

    def to_y(value):
        return BOTTOM - (BOTTOM - TOP) * value / y_max

    settings = (
        f"LeNet on Fashion-MNIST, lr {SETTINGS['lr']}, batch size {SETTINGS['batch_size']}, seed {SETTINGS['seed']}"
    )
    parts = [draw_heading("Learning curves", settings)]
    for value in np.arange(0, y_max + 0.25, 0.5):
        y = to_y(float(value))
        parts += [
            tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"),
            text(LEFT - 8, y + 4.5, f"{value:.1f}", "", "end"),
        ]
    parts += [text(to_x(epoch), BOTTOM + 20, str(epoch), "", "middle") for epoch in range(0, num_epochs + 1, 2)]
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 42, "epoch", "", "middle"))
    guess = to_y(math.log(10))
    parts += [
        tag("line", x1=LEFT, x2=RIGHT, y1=guess, y2=guess, class_="rule", stroke_dasharray="1,4"),
        text(RIGHT - 4, guess - 6, "a net that guesses: loss ln 10 = 2.303", "muted small", "end"),
    ]
    for key, name, colour, dashes in CURVES:
        points = read_points(history, key)
        line = " ".join(f"{short(to_x(epoch))},{short(to_y(value))}" for epoch, value in points)
        last = points[-1][1]
        stroke = {"stroke": colour, "stroke_dasharray": dashes or "none", "class_": "curve"}
        parts.append(tag("polyline", points=line, data_name=name, data_last=f"{last:.6f}", **stroke))
        # Accuracies end close together: the training label moves up, the test label down.
        y = to_y(last) + {"train_acc": -12, "test_acc": 10}.get(key, 0)
        parts += [
            tag("line", x1=RIGHT + 10, x2=RIGHT + 38, y1=y, y2=y, **stroke),
            text(RIGHT + 46, y + 4.5, name),
            text(CURVES_WIDTH - MARGIN, y + 4.5, f"{last:.3f}", "bold", "end"),
        ]
    final = ", ".join(f"{name} {read_points(history, key)[-1][1]:.3f}" for key, name, *_ in CURVES)
    description = (
        f"The training loss stays near 2.303 for the first epoch, then falls quickly, and at last slowly; "
        f"both accuracies rise at the same time. After {num_epochs} epochs: {final}."
    )
    return wrap(CURVES_WIDTH, CURVES_HEIGHT, "Learning curves of LeNet on Fashion-MNIST", description, parts)


# ---- Small helpers for SVG


def wrap(width, height, title, description, parts):
    """Return the text of an SVG with a panel, and a title and a description for readers who cannot see it."""
    body = [
        tag("title", escape(title), id="title"),
        tag("desc", escape(description), id="desc"),
        tag("style", STYLE),
        tag("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=12, class_="panel"),
        *parts,
    ]
    root = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "role": "img"}
    root["aria_labelledby"] = "title desc"
    return tag("svg", "\n".join(["", *body, ""]), xmlns="http://www.w3.org/2000/svg", **root) + "\n"


def draw_heading(title, subtitle):
    """Draw a title and, on the same line, what is to be seen."""
    return tag(
        "text", tag("tspan", title, class_="title") + tag("tspan", subtitle, dx=14, class_="subtitle"), x=MARGIN, y=48
    )


def tag(name, content="", /, **attributes):
    """Return an SVG element; in the names of attributes, ``_`` stands for a hyphen, and ``class_`` for class."""
    words = [f'{key.rstrip("_").replace("_", "-")}="{escape(short(value))}"' for key, value in attributes.items()]
    opening = " ".join([name, *words])
    return f"<{opening}>{content}</{name}>" if content else f"<{opening}/>"


def text(x, y, content, style="", anchor="start"):
    """Return a line of text; ``style`` names classes of the style sheet."""
    attributes = {"class_": style} if style else {}
    return tag("text", escape(content), x=x, y=y, text_anchor=anchor, **attributes)


def corner(box):
    """Return the attributes that place a rectangle or an image."""
    return dict(zip(("x", "y", "width", "height"), box, strict=True))


def short(value):
    """Return a number with at most two decimals, and anything else as text."""
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)


def first(size):
    """Return the size along the first axis of one that may be an int or a tuple."""
    return size[0] if isinstance(size, tuple) else size


def inks(colour):
    """Return the colours from white over ``colour`` to a dark shade of it."""
    dark = "#" + "".join(f"{int(colour[i : i + 2], 16) // 3:02x}" for i in (1, 3, 5))
    return ["#ffffff", colour, dark]


def encode_png(values, colours, low, high):
    """Return an array of shape (H, W) as the data URL of a PNG; colours run from ``low`` to ``high``."""
    shares = np.clip((values - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(colours))
    channels = [[int(colour[i : i + 2], 16) for colour in colours] for i in (1, 3, 5)]
    pixels = np.stack([np.interp(shares, stops, channel) for channel in channels], axis=-1).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
