"""Predict the walk of a picture through a net: a quiz that says which term of a shape or a count is wrong."""

import re
from dataclasses import dataclass
from functools import partial
from math import prod

import traitlets
from matplotlib.figure import Figure
from torch import nn

from lenet_helpers.explorers.base import Explorer, read_script, read_style
from lenet_helpers.figures import write_plainly
from lenet_helpers.language import _, speaking
from lenet_helpers.shapes import output_size, walk_shapes

POOLS = (nn.AvgPool2d, nn.MaxPool2d)
FULL_WIDTH = str.maketrans("，、（）［］【】×０１２３４５６７８９", ",,()[][]x0123456789")


def parse_shape(text):
    """Return the shape in ``text`` as a tuple of ints.

    Reads "8, 3, 32, 32", "(8, 3, 32, 32)", "8x3x32x32" and "torch.Size([8, 3, 32, 32])", and takes a tuple or a
    torch.Size as it is. Raises ValueError for anything else.
    """
    if not isinstance(text, str):
        text = ", ".join(map(str, text))
    bare = re.sub(r"torch\.Size|[()\[\]]", " ", text.translate(FULL_WIDTH)).strip().rstrip(",")
    parts = re.split(r"\s*[,xX*]\s*|\s+", bare.strip())
    if not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
        told = _("{text} is not a shape. Write whole numbers with commas, such as 8, 3, 32, 32.")
        raise ValueError(told.format(text=repr(text.strip())))
    return tuple(map(int, parts))


def parse_count(text):
    """Return the number in ``text``, which may group its digits as in "1,234"; raise ValueError for anything else."""
    digits = re.sub(r"[,_\s]", "", str(text).translate(FULL_WIDTH))
    if not re.fullmatch(r"[0-9]{1,15}", digits):
        told = _("{text} is not a count. Write one whole number, 0 if there is none.")
        raise ValueError(told.format(text=repr(str(text).strip())))
    return int(digits)


@dataclass(frozen=True)
class Feedback:
    """What is wrong with a shape and with a number of parameters; an empty text means right."""

    shape: str
    parameters: str

    @property
    def right(self):
        """Return whether both answers are right."""
        return not self.shape and not self.parameters

    @property
    def text(self):
        """Return the feedback in one line."""
        if self.right:
            return _("Right.")
        right = _("right.")
        text = _("Shape: {shape} Parameters: {parameters}")
        return text.format(shape=self.shape or right, parameters=self.parameters or right)


def diagnose(layer, input_shape, output_shape, answer_shape, answer_parameters):
    """Return the ``Feedback`` on an answer: which term is wrong and a hint, never the right number.

    ``layer`` maps ``input_shape`` to ``output_shape``; the shapes are tuples with the batch dimension first.
    """
    return Feedback(
        shape=diagnose_shape(layer, tuple(input_shape), tuple(output_shape), tuple(answer_shape)),
        parameters=diagnose_parameters(layer, tuple(output_shape), answer_parameters),
    )


def diagnose_shape(layer, given, right, answer):
    """Return which term of a shape is wrong, with a hint; an empty text for the right shape."""
    if answer == right:
        return ""
    if not _is_known(layer, given, right):
        text = _("The quiz has no hint for {layer}: look up what it does to a shape.")
        return text.format(layer=_name(layer))
    if len(answer) == len(right) - 1:
        rest = diagnose_shape(layer, given, right, (right[0], *answer))
        return " ".join([_("The batch dimension is missing: a shape starts with the number of images."), rest]).strip()
    if len(answer) != len(right):
        return _diagnose_length(layer, right, answer)
    if len(right) == 4 and answer == (right[0], right[2], right[3], right[1]) and right[1] != right[2]:
        return _("Order: PyTorch puts the channels before height and width.")
    hints = []
    if answer[0] != right[0]:
        hints.append(_("Batch dimension: no layer changes the number of images, the first number."))
    if answer[1:] == right[1:]:
        return hints[0]
    if isinstance(layer, nn.Conv2d | POOLS[0] | POOLS[1]):
        hints += _diagnose_channels(layer, given, right, answer)
        hints += _diagnose_sizes(layer, given, right, answer)
    elif isinstance(layer, nn.Flatten):
        hints.append(_diagnose_flatten(given, answer))
    elif isinstance(layer, nn.Linear):
        kept = answer[-1] == layer.in_features
        hints.append(
            _(
                "Features: you kept the length of the input. "
                "The last number is how many outputs the layer has, its out_features."
            )
            if kept
            else _("Features: The last number is how many outputs the layer has, its out_features.")
        )
    else:
        hints.append(_("{layer} leaves the shape as it came in.").format(layer=_name(layer)))
    return " ".join(hints)


def _is_known(layer, given, right):
    """Return whether a slip can be told from the shape: for other layers every hint would be a guess."""
    if isinstance(layer, nn.Conv2d | POOLS[0] | POOLS[1]):
        return len(right) == 4
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return isinstance(layer, nn.Linear) or given == right


def _diagnose_length(layer, right, answer):
    """Return the hint for a shape with too many or too few numbers."""
    if len(answer) == 1:
        counted = _("Number of dimensions: you wrote 1 number.")
    else:
        counted = _("Number of dimensions: you wrote {count} numbers.").format(count=len(answer))
    if isinstance(layer, nn.Flatten):
        hint = _("Flatten keeps the batch dimension and joins all the others into one number.")
    elif len(right) == 2:
        hint = _("After Flatten there are two: batch and features.")
    else:
        hint = _("Pictures have four: batch, channels, height, width.")
    return f"{counted} {hint}"


def _diagnose_channels(layer, given, right, answer):
    if answer[1] == right[1]:
        return []
    if not isinstance(layer, nn.Conv2d):
        return [_("Channels: pooling works on each channel by itself, so it keeps the second number.")]
    if answer[1] == given[1]:
        return [_("Channels: you kept the input channels. The second number of the layer says how many come out.")]
    if answer[1] == given[1] * right[1]:
        return [_("Channels: an output channel sums over all input channels, so the two numbers are not multiplied.")]
    return [_("Channels: a convolution gives as many channels as it has kernels, its out_channels.")]


def _diagnose_sizes(layer, given, right, answer):
    """Return the hints for height and width: one for both where they are wrong in the same way."""
    height, width = (
        _diagnose_size(layer, axis, given[axis + 2], right[axis + 2], answer[axis + 2]) for axis in range(2)
    )
    if height == width:
        return [_("Height and width: {hint}").format(hint=height)] if height else []
    named = (_("Height: {hint}"), height), (_("Width: {hint}"), width)
    return [text.format(hint=hint) for text, hint in named if hint]


def _diagnose_size(layer, axis, n, right, answer):
    """Return which term of the output size along one axis was forgotten, or an empty text."""
    if answer == right:
        return ""
    kernel, stride, dilation = (_along(axis, getattr(layer, name, 1)) for name in ("kernel_size", "stride", "dilation"))
    ceil_mode = getattr(layer, "ceil_mode", False)
    size = partial(output_size, ceil_mode=ceil_mode)
    padding = layer.padding
    if padding == "same":
        padding = dilation * (kernel - 1) / 2
    padding = 0 if padding == "valid" else _along(axis, padding)
    text = _("padding forgotten. This layer puts {padding} extra on each side before the window moves.")
    forgotten_padding = text.format(padding=f"{padding:g}")
    text = _("stride forgotten. The window jumps {stride} pixels at a time, so it stops at fewer places.")
    forgotten_stride = text.format(stride=stride)
    forgotten_both = _("{padding_hint} And {stride_hint}").format(
        padding_hint=forgotten_padding, stride_hint=forgotten_stride
    )
    text = _("dilation forgotten. The pixels of the window are {dilation} apart, so it spans d(k − 1) + 1.")
    forgotten_dilation = text.format(dilation=dilation)
    forgotten_kernel = _(
        "kernel forgotten. The window must stay inside the input and its padding, "
        "so it has fewer places than there are pixels."
    )
    rounded_up = _("off by one. Round down: a window that does not fit as a whole is left out.")
    rounded_down = _("ceil_mode forgotten. It rounds up: a last window that sticks out over the edge counts, too.")
    beyond_the_edge = _("off by one. A window that starts beyond the picture and its left padding does not count.")
    cases = [
        (ceil_mode, output_size(n, kernel, padding, stride, dilation), rounded_down),
        (padding, size(n, kernel, 0, stride, dilation), forgotten_padding),
        (padding, size(n + padding, kernel, 0, stride, dilation), _("padding counts on both sides: 2p, not p.")),
        (stride > 1, size(n, kernel, padding, 1, dilation), forgotten_stride),
        (stride > 1, n, forgotten_stride),
        (stride > 1 and padding, size(n, kernel, 0, 1, dilation), forgotten_both),
        (dilation > 1, size(n, kernel, padding, stride), forgotten_dilation),
        (kernel > 1, n + 2 * padding, forgotten_kernel),
        (True, right - 1, _("off by one. Count the first place too: the + 1 at the end of the formula.")),
        (ceil_mode, output_size(n + stride - 1, kernel, padding, stride, dilation), beyond_the_edge),
        (stride > 1 and not ceil_mode, right + 1, rounded_up),
        (True, right + 1, _("off by one. A window of k pixels has n + 2p − k places besides the first.")),
    ]
    for applies, wrong, hint in cases:
        if applies and answer == wrong:
            return hint
    numbers = f"n = {n}, k = {kernel}, p = {padding:g}, s = {stride}, d = {dilation}"
    text = _("put {numbers} in the formula {rounding}((n + 2p − d(k − 1) − 1) / s) + 1.")
    return text.format(numbers=numbers, rounding="ceil" if ceil_mode else "floor")


def _diagnose_flatten(given, answer):
    if answer[1] == prod(given[2:]):
        return _("Features: channels forgotten. Multiply all numbers after the batch dimension.")
    if answer[1] in given[1:]:
        return _("Features: Flatten keeps every number, so multiply all dimensions after the batch.")
    if answer[1] == sum(given[1:]):
        return _("Features: you added. Multiply all dimensions after the batch.")
    return _("Features: multiply channels × height × width of the layer before.")


def diagnose_parameters(layer, output_shape, answer):
    """Return which term of a number of parameters is wrong, with a hint; an empty text for the right number."""
    if answer == sum(p.numel() for p in layer.parameters()):
        return ""
    if next(layer.parameters(), None) is None:
        return _("{layer} has nothing to learn: no weights and no biases.").format(layer=_name(layer))
    if isinstance(layer, nn.Conv2d):
        cases, formula = _convolution_cases(layer, output_shape)
    elif isinstance(layer, nn.Linear):
        cases, formula = _linear_cases(layer)
    else:
        cases, formula = [], _("Add up the numbers in each tensor of layer.parameters().")
    return next((hint for wrong, hint in cases if answer in wrong), formula)


def _convolution_cases(layer, output_shape):
    """Return the known wrong counts of a convolution with their hints, and the hint for all others."""
    area = prod(layer.kernel_size)
    outs, ins = layer.out_channels, layer.in_channels // layer.groups
    weights = outs * ins * area
    places = prod(output_shape[2:])
    cases = _bias_cases(layer, weights, outs, ins)
    if ins > 1:
        hint = _("Input channels forgotten. Each kernel has one slice for every input channel.")
        cases.append(({outs * area, outs * area + outs}, hint))
    if outs > 1:
        hint = _("Output channels forgotten. That is one kernel, and every output channel has its own.")
        cases.append(({ins * area, ins * area + 1, area, area + 1}, hint))
    side = layer.kernel_size[0]
    cases += [
        ({outs * ins * side, outs * ins * side + outs}, _("Kernel: it has height × width numbers, not only one side.")),
        (
            {weights * places, (weights + outs) * places},
            _("The same weights are used at every place: do not multiply by the size of the picture."),
        ),
    ]
    if layer.bias is None:
        return cases, _("Output channels × input channels × kernel height × kernel width.")
    text = _("Output channels × input channels × kernel height × kernel width, plus one bias per output channel.")
    return cases, text


def _linear_cases(layer):
    """Return the known wrong counts of a linear layer with their hints, and the hint for all others."""
    outs, ins = layer.out_features, layer.in_features
    cases = _bias_cases(layer, outs * ins, outs, ins)
    cases.append(({outs + ins, 2 * outs + ins}, _("Weights: every output has one for every input, so multiply.")))
    cases.append(({outs, ins}, _("Weights: every output has one for every input.")))
    return cases, _("Outputs × inputs.") if layer.bias is None else _("Outputs × inputs, plus one bias per output.")


def _bias_cases(layer, weights, outs, ins):
    """Return the counts in which only the biases are wrong, with their hints."""
    if layer.bias is None:
        return [({weights + outs, weights + 1}, _("Bias: this layer was made with bias=False."))]
    if isinstance(layer, nn.Conv2d):
        forgotten = _("Bias forgotten. Each output channel has one.")
        miscounted = _("Bias: there is one for each output channel, not more or fewer.")
    else:
        forgotten = _("Bias forgotten. Each output has one.")
        miscounted = _("Bias: there is one for each output, not more or fewer.")
    return [({weights}, forgotten), ({weights + 1, weights + ins, weights + outs * ins}, miscounted)]


def _along(axis, size):
    """Return the number for one axis of a setting that may be an int or a pair."""
    return size[axis] if isinstance(size, tuple | list) else size


def _name(layer):
    return type(layer).__name__


class WalkQuiz(Explorer):
    """A quiz over the layers of a net; ``score`` and ``parameters`` count the layers whose answers are both right.

    ``answers`` maps the index of a layer in the net, as text, to the last answer and the feedback on it. Layers
    called Reshape are not asked.
    """

    _esm = read_script("walk.js")
    _css = read_style("walk.css")
    input_shape = traitlets.List().tag(sync=True)
    layers = traitlets.List().tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    score = traitlets.Int(0).tag(sync=True)
    parameters = traitlets.Int(0).tag(sync=True)

    def __init__(self, net, input_shape):
        outputs = [row.output_shape for row in walk_shapes(net, input_shape)]
        inputs = [tuple(input_shape), *outputs]
        self._steps = {
            index: (layer, inputs[index], outputs[index])
            for index, layer in enumerate(net)
            if _name(layer) != "Reshape"
        }
        if not self._steps:
            raise ValueError("net has no layer to ask about")
        first = next(iter(self._steps.values()))
        layers = [{"index": index, "name": _name(step[0]), "text": str(step[0])} for index, step in self._steps.items()]
        super().__init__(input_shape=list(first[1]), layers=layers)
        self.on_msg(self._hear)

    def answer(self, index, shape, parameters):
        """Check an answer for the layer ``net[index]`` and return the feedback.

        ``shape`` is a text or a tuple, ``parameters`` a text or an int. Raises ValueError for a layer not asked.
        """
        if index not in self._steps:
            raise ValueError(f"net[{index}] is not asked; asked are {', '.join(map(str, self._steps))}")
        layer, given, right = self._steps[index]
        feedback = Feedback(
            shape=_read(parse_shape, shape, lambda value: diagnose_shape(layer, given, right, value)),
            parameters=_read(parse_count, parameters, lambda value: diagnose_parameters(layer, right, value)),
        )
        previous = self.answers.get(str(index), {})
        entry = {
            "shape": shape if isinstance(shape, str) else ", ".join(map(str, shape)),
            "parameters": str(parameters),
            "shape_hint": feedback.shape,
            "parameters_hint": feedback.parameters,
            "attempts": previous.get("attempts", 0) + 1,
        }
        answers = {**self.answers, str(index): entry}
        known = [self._steps[i][0] for i in self._steps if _is_right(answers.get(str(i)))]
        with self.hold_sync():  # one message to the page
            self.answers = answers
            self.score = len(known)
            self.parameters = sum(p.numel() for layer in known for p in layer.parameters())
        return feedback.text

    def _hear(self, widget, content, buffers):
        """Check the answer that the page has sent."""
        self.answer(content["index"], content["shape"], content["parameters"])

    def figure(self):
        figure = Figure(figsize=(10, 0.6 + 0.3 * (len(self.layers) + 1)), layout="constrained")
        axis = figure.subplots()
        axis.axis("off")
        rows = []
        for layer in self.layers:
            entry = self.answers.get(str(layer["index"]))
            cells = ("?", "?", "")
            if entry:
                cells = (entry["shape"], entry["parameters"], "✓" if _is_right(entry) else "✗")
            rows.append((f"net[{layer['index']}]  {layer['text']}", *cells))
        table = axis.table(
            rows,
            colLabels=("layer", "output shape", "parameters", ""),
            colWidths=(0.6, 0.2, 0.14, 0.06),
            cellLoc="left",
            bbox=(0, 0, 1, 1),
        )
        table.auto_set_font_size(False)
        table.set_fontsize(9)
        write_plainly(*(cell.get_text() for cell in table.get_celld().values()))
        for cell in table.get_celld().values():
            cell.PAD = 0.02
            cell.set(edgecolor="#bdbdbd", linewidth=0.5)
        with speaking("en"):
            axis.set_title(f"input {tuple(self.input_shape)}. {self.tell()}", fontsize=10, loc="left")
        return figure

    def tell(self):
        text = _("{score} of {count} layers right, with {sum} parameters")
        return text.format(score=self.score, count=len(self.layers), sum=f"{self.parameters:,}")


def _read(parse, text, check):
    """Return what ``check`` says about the parsed text, or why it cannot be parsed."""
    try:
        value = parse(text)
    except ValueError as error:
        return str(error)
    return check(value)


def _is_right(entry):
    return bool(entry) and not entry["shape_hint"] and not entry["parameters_hint"]


def explore_walk(net, input_shape=(1, 1, 28, 28)):
    """Predict the output shape and the parameters of every layer of ``net``, an ``nn.Sequential``.

    Raises TypeError for another module and ValueError where a layer does not fit the shape it gets.
    """
    return WalkQuiz(net, input_shape)
