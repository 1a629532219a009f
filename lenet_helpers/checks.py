"""Instant answers for the exercises: each ``check_`` tries the learner's function on fresh random inputs and prints.

A right answer always prints the same line, and so does a stub that returns None. A wrong one prints the input, what
was expected, what was received, and a hint where the result is that of a typical slip. Nothing is raised or returned.
Verdicts and the keys of every dict of slips are English texts, which are translated when they are printed.
"""

import copy
import functools
import inspect
import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lenet_helpers.data import load_data_fashion_mnist
from lenet_helpers.language import _
from lenet_helpers.shapes import output_size, walk_shapes
from lenet_helpers.training import tell_error

BUDGET = 62_200  # parameters that a net may spend in the comparisons: LeNet's 61,706 and a little more
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-4, 1e-5

#: Whether the learner's last answer was right, by the name of the check; a function called ``solution`` is not noted.
passed = {}


class NotYet(Exception):
    """An answer is not right yet; the message tells the learner why."""


class Answer:
    """The function that a learner hands in."""

    def __init__(self, function, check):
        if not callable(function):
            text = _(
                "{check} takes the function itself, and received {received}.\n"
                "  hint: write its name only, without brackets behind it"
            )
            raise NotYet(text.format(check=check, received=shorten(function)))
        self.function = function
        self.calls = 0
        self.not_made = set()  # typical mistakes that would have shown on an earlier input

    def __call__(self, *arguments):
        """Call the function with ``arguments``, of which it gets copies (but for a net), and return a ``Reply``."""
        self.calls += 1
        reply = Reply(self, arguments)
        given = [value if isinstance(value, nn.Module) else copy.deepcopy(value) for value in arguments]
        reply.received = reply.attempt(_("your function"), self.function, *given)
        if reply.received is None:
            raise NotYet(_("your function returned None. Write your answer, run its cell, and run this one again"))
        return reply

    def name_arguments(self, arguments):
        """Return ``name = value`` for each argument, shortened, with the names that the learner gave them."""
        try:
            names = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            names = []
        names += [_("argument {place}").format(place=place) for place in range(len(names) + 1, len(arguments) + 1)]
        return [f"{name} = {shorten(value)}" for name, value in zip(names, arguments, strict=False)]


class Reply:
    """What the learner's function returned for some arguments."""

    def __init__(self, answer, arguments):
        self.answer, self.arguments, self.received = answer, arguments, None

    def equals(self, expected, slips=None):
        """Compare with ``expected``: a whole number, a float, a tensor, or a tuple of these.

        ``slips`` gives hints: a sentence for each typical mistake, and the value that this mistake leads to.
        """
        slips = slips or {}
        if not isinstance(expected, tuple):
            self._equals(self.received, expected, slips)
            return
        items = list(self.received) if isinstance(self.received, tuple | list | torch.Size) else None
        self.require(
            items is not None and len(items) == len(expected),
            _("a tuple of {count} values").format(count=len(expected)),
            shorten(self.received),
            _("return them side by side, with a comma between them"),
        )
        for place, value in enumerate(expected):
            near = {hint: slip[place] for hint, slip in slips.items()}
            self._equals(items[place], value, near, _(" (item {place} of the tuple)").format(place=place))

    def _equals(self, received, expected, slips, where=""):
        form = find_form_slip(received, expected)
        if form is None and agrees(received, expected):
            self.answer.not_made |= {hint for hint, slip in slips.items() if not agrees(slip, expected)}
            return
        likely = (hint for hint in slips if hint not in self.answer.not_made)
        hints = [hint for hint in likely if not find_form_slip(received, slips[hint]) and agrees(received, slips[hint])]
        hint = _("; or ").join(map(_, hints[:2])) or form or find_general_slip(as_tensor(received), as_tensor(expected))
        place = find_difference(received, expected)
        self.require(False, shorten(expected) + where, shorten(received) + place, hint)

    def require(self, condition, expected, received, hint=""):
        """Raise NotYet with a report for the learner unless ``condition`` holds."""
        if condition:
            return
        lines = [_("  input     {text}").format(text=line) for line in self.answer.name_arguments(self.arguments)]
        lines += [_("  expected  {text}").format(text=expected), _("  received  {text}").format(text=received)]
        if hint:
            lines.append(_("  hint      {text}").format(text=hint))
        if (right := self.answer.calls - 1) == 1:
            lines.append(_("  note      right on 1 earlier input: what is different here?"))
        elif right > 1:
            lines.append(_("  note      right on {count} earlier inputs: what is different here?").format(count=right))
        raise NotYet("\n".join([_("look at this:"), *lines]))

    def attempt(self, who, function, *arguments):
        """Return ``function(*arguments)``, and report an exception that it raises as ``who``'s."""
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            steps, own = error.__traceback__, getattr(self.answer.function, "__code__", None)
            while steps and steps.tb_frame.f_code is not own:
                steps = steps.tb_next
            line = _(" (line {line} of its cell)").format(line=steps.tb_lineno) if steps else ""
            raised = _("{who} raised {error}").format(who=who, error=f"{type(error).__name__}: {error}") + line
            hint = find_cure(error)
        self.require(False, _("an answer"), raised, hint)

    def run_net(self, X):
        """Return the scores of the received net for ``X``, in test mode; what is no net is reported."""
        net = self.received
        self.require(isinstance(net, nn.Module), _("a net"), shorten(net), _("return the net itself, nn.Sequential(…)"))
        net.cpu().eval()
        with torch.no_grad():
            who = _("your net, given images of shape {shape},").format(shape=tuple(X.shape))
            return self.attempt(who, net, X)


def check(verdict):
    """Return a decorator that makes a check out of a function that puts questions to an ``Answer``.

    ``verdict`` says what was checked, to a learner whose answer is right; ``{budget}`` in it stands for BUDGET. The
    check draws its random numbers anew at every call, and leaves the notebook's own random numbers as they were.
    """

    def decorate(ask):
        @functools.wraps(ask)
        def checked(answer):
            name = getattr(answer, "__name__", "answer")
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.default_generator.seed()
                try:
                    ask(Answer(answer, ask.__name__))
                    right, message = True, _("right. {verdict}").format(verdict=_(verdict).format(budget=f"{BUDGET:,}"))
                except NotYet as reason:
                    right, message = False, _("not yet, {reason}").format(reason=reason)
                except OSError:  # from the data set, and not from the answer
                    raise
                except Exception as error:
                    text = _("not yet, your answer cannot be compared with the right one: {error}")
                    right, message = False, text.format(error=tell_error(error))
            if name != "solution":
                passed[ask.__name__] = right
            print(_("{name}: {message}").format(name=name, message=message))

        del checked.__wrapped__  # so that help shows the one argument that a learner gives
        return checked

    return decorate


def summarise_checks():
    """Print which checks of this notebook the learner's last answers passed, and how many."""
    for name, right in passed.items():
        print("✓" if right else "✗", name)
    print(_("{right} of {count} checks passed").format(right=sum(passed.values()), count=len(passed)))


def as_tensor(value):
    """Return a number, an array or a tensor as a float64 or int64 tensor, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | torch.Tensor):
        return None
    if isinstance(value, int):  # one that fits in no tensor becomes the nearest that does, and is as wrong
        value = max(-(2**63), min(value, 2**63 - 1))
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except TypeError:  # an array of texts
        return None
    return tensor.double() if tensor.is_floating_point() else tensor.long()


def agrees(received, expected):
    """Return whether two numbers or tensors of one shape agree; whole numbers must be equal, and NaN equals nothing."""
    received, expected = as_tensor(received), as_tensor(expected)
    if received.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return bool((received == expected).all())
    return torch.allclose(received.double(), expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE)


def find_cure(error):
    """Return a hint for an exception that a learner's code raised, or an empty text."""
    told = str(error)
    if isinstance(error, NameError):
        return _("is the name spelled as where it was made, and has the cell that makes it been run?")
    if "grad_fn" in told:
        return _("the tensor that you ask for a gradient was not computed from one with requires_grad=True")
    if "leaf" in told and "in-place" in told:
        return _("change weights inside `with torch.no_grad():`, where nothing is recorded")
    if isinstance(error, RuntimeError | IndexError | ValueError):
        return _("print the shapes on the way to find the place")
    return ""


def find_form_slip(received, expected):
    """Return a hint if the type or the shape is wrong, and None if both are right."""
    received, expected = as_tensor(received), as_tensor(expected)
    if received is None:
        return _("return a number") if expected.ndim == 0 else _("return a tensor")
    if received.shape != expected.shape:
        if expected.ndim == 0:
            return _("one number is asked for, not a tensor of them")
        if received.ndim == 0:
            return _("a tensor is asked for, not one number")
        shape = tuple(expected.shape)
        if received.ndim == expected.ndim and sorted(received.shape) == sorted(shape):
            return _("the axes are in another order: the shape must be {shape}").format(shape=shape)
        return _("the shape must be {shape}, and is {received}").format(shape=shape, received=tuple(received.shape))
    if received.is_floating_point() and not expected.is_floating_point():
        return _("whole numbers are asked for: divide with // and not with /, or make the tensor with dtype=torch.long")
    return None


def find_general_slip(received, expected):
    """Return a hint for a result of the right shape that is wrong in a regular way, or an empty text."""
    if received.isnan().any():
        return _(
            "NaN comes from 0/0 or ∞/∞: exp of a large number is ∞, so give exp no number far above 0; "
            "in a softmax, take the largest away first"
        )
    if received.isinf().any():
        return _("∞ comes from the logarithm of 0, or from exp of a large number: look for a function that avoids it")
    if not received.any() and (expected.is_floating_point() or expected.numel() > 1):
        return _("there is nothing but 0: is the result ever written?")
    difference = received - expected
    if expected.numel() == 1:
        return _("off by one") if not received.is_floating_point() and difference.abs() == 1 else ""
    if agrees(-received, expected):
        return _("the sign is wrong")
    if expected.ndim == 2 and agrees(received.mT, expected):
        return _("rows and columns are swapped")
    factor = (received * expected).sum() / (expected * expected).sum()
    if agrees(received.double(), factor * expected):
        return _("every number is {factor} times what it should be").format(factor=f"{factor:.4g}")
    offset = difference.double().mean()
    if agrees(difference.double(), offset.expand(difference.shape)):
        return _("every number is {offset} away from what it should be").format(offset=f"{offset:+.4g}")
    return ""


def find_difference(received, expected):
    """Return where two tensors of one shape first differ, as text to put behind the received one."""
    received, expected = as_tensor(received), as_tensor(expected)
    if received is None or received.ndim == 0 or received.shape != expected.shape:
        return ""
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * expected.abs()
    places = (~((received - expected).abs() <= tolerance)).nonzero().tolist()
    if not places:
        return ""
    at = tuple(places[0])
    text = _("\n            at {place}: {expected} expected, {received} received")
    return text.format(place=list(at), expected=f"{expected[at]:.4g}", received=f"{received[at]:.4g}")


def shorten(value):
    """Return a value as one short line of text."""
    value = value.item() if isinstance(value, torch.Tensor) and not value.ndim else value
    if isinstance(value, torch.Tensor):
        numbers = [f"{number:.4g}" for number in value.detach().flatten()[:7].tolist()]
        numbers = ", ".join(numbers[:6] + ["…"] * (len(numbers) > 6))
        return _("tensor of shape {shape}: {numbers}").format(shape=tuple(value.shape), numbers=numbers)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and value.bit_length() > 300:  # Python writes no more than 4,300 digits
        return f"{'≤ -' if value < 0 else '≥ '}2**{value.bit_length() - 1}"
    if isinstance(value, nn.Module):
        return _("a net with {count} layers").format(count=len(list(value.children())))
    if isinstance(value, list | tuple):
        text = ", ".join(map(shorten, value))
        text = f"[{text}]" if isinstance(value, list) else f"({text})"
    else:
        text = f"{value!r}" if isinstance(value, int) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= 90 else text[:89] + "…"


def draw(low, high):
    """Return a random whole number, both ends included."""
    return int(torch.randint(low, high + 1, ()))


# 01 Build the encoder


@check("Five image sizes agree with PyTorch's layers")
def check_encoder_size(ask):
    """Check ``encoder_size(n)``: the width of the encoder's last maps for images of n × n pixels."""
    encoder = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.AvgPool2d(2), nn.Conv2d(1, 1, 5), nn.AvgPool2d(2))
    for n in (28, 32, draw(40, 60), 2 * draw(30, 50) + 1, 4 * draw(8, 20)):
        slips = {
            "the first convolution has padding 2, and keeps the size": ((n - 4) // 2 - 4) // 2,
            "the second convolution has no padding, and takes 4 pixels": n // 4,
            "there is a second pooling at the end": n // 2 - 4,
            "there is a pooling between the two convolutions": (n - 4) // 2,
        }
        ask(n).equals(encoder(torch.zeros(1, 1, n, n)).shape[-1], slips)


@check("Eight random images agree with PyTorch's conv2d, with and without padding and stride")
def check_convolve(ask):
    """Check ``convolve(X, K, p, s)``: one image (H, W), one kernel (k, k), padding p and stride s."""
    for p, s, k in ((0, 1, 3), (0, 1, 2), (2, 1, 5), (1, 1, 2), (0, 2, 3), (0, 3, 2), (1, 2, 3), (2, 3, 4)):
        X, K = torch.randn(1, draw(6, 9), draw(10, 12)), torch.randn(1, 1, k, k)
        slips = {
            "the kernel is turned by 180°: deep learning does not flip it": F.conv2d(X, K.flip(2, 3), None, s, p)[0],
            "the kernel's rows and columns are swapped": F.conv2d(X, K.mT, None, s, p)[0],
            "the padding is ignored: put p rings of zeros around X first": F.conv2d(X, K, None, s)[0],
            "the stride is ignored: output pixel i starts at row i * s": F.conv2d(X, K, None, 1, p)[0],
            "the padding goes on all four sides": F.conv2d(F.pad(X, (0, p, 0, p)), K, None, s)[0],
        }
        ask(X[0], K[0, 0], p, s).equals(F.conv2d(X, K, None, s, p)[0], slips)


@check("Five random layers agree with PyTorch's conv2d, over all channels")
def check_convolve_channels(ask):
    """Check ``convolve_channels(X, W, b)``: X (c, H, W), W (m, c, k, k) and b (m,) give (m, H − k + 1, W − k + 1)."""
    for c, m, k in ((1, 1, 3), (1, 3, 2), (3, 1, 3), (2, 4, 5), (draw(2, 4), draw(5, 7), 2)):
        X, W, b = torch.randn(c, draw(6, 8), draw(9, 11)), torch.randn(m, c, k, k), torch.randn(m)
        slips = {
            "the bias is missing": F.conv2d(X, W),
            "add up over all input channels, not over the first one only": F.conv2d(X[:1], W[:, :1], b),
            "add up over the input channels; do not take their mean": F.conv2d(X, W / c, b),
            "the bias is added once, and not once for each input channel": F.conv2d(X, W, b * c),
            "the kernel is turned by 180°: deep learning does not flip it": F.conv2d(X, W.flip(2, 3), b),
            "the result has one map for each kernel: do not add up over them": F.conv2d(X, W, b).sum(0),
        }
        ask(X, W, b).equals(F.conv2d(X, W, b), slips)


@check("Six random maps agree with PyTorch's avg_pool2d")
def check_pool_average(ask):
    """Check ``pool_average(X, k, s)``: the mean of each k × k window of X (H, W), with stride s."""
    for k, s in ((2, 2), (3, 3), (2, 1), (3, 2), (2, 3), (4, 2)):
        X = torch.randn(1, draw(6, 8), draw(9, 12))
        Y = F.avg_pool2d(X, k, s)[0]
        slips = {
            "this is the maximum of each window, and not its mean": F.max_pool2d(X, k, s)[0],
            "this is the sum of each window: divide by its number of pixels": Y * k * k,
            "divide by k * k, the number of pixels in a window": Y * k,
            "the stride is s, and need not be k": F.avg_pool2d(X, k, k)[0],
            "the window is k × k, and need not be s × s": F.avg_pool2d(X, s, s)[0],
            "the window moves s pixels at a time, and not 1": F.avg_pool2d(X, k, 1)[0],
        }
        ask(X[0], k, s).equals(Y, slips)


@check("Six random maps agree with PyTorch's max_pool2d, one of them without a positive pixel")
def check_pool_max(ask):
    """Check ``pool_max(X, k, s)``: the largest pixel of each k × k window of X (H, W), with stride s."""
    for k, s, shift in ((2, 2, 0), (3, 3, 0), (2, 1, 0), (3, 2, 0), (2, 3, 0), (2, 2, -9)):
        X = torch.randn(1, draw(6, 8), draw(9, 12)) + shift
        Y = F.max_pool2d(X, k, s)[0]
        slips = {
            "this is the mean of each window, and not its maximum": F.avg_pool2d(X, k, s)[0],
            "this is the smallest pixel of each window": -F.max_pool2d(-X, k, s)[0],
            "a maximum can be negative: do not start the comparison at 0": Y.clamp(min=0),
            "the largest pixel counts, not the largest absolute value": F.max_pool2d(X.abs(), k, s)[0],
            "the stride is s, and need not be k": F.max_pool2d(X, k, k)[0],
            "the window moves s pixels at a time, and not 1": F.max_pool2d(X, k, 1)[0],
        }
        ask(X[0], k, s).equals(Y, slips)


# 02 Build the dense block


@check("Eight random places agree with torch.flatten")
def check_flat_index(ask):
    """Check ``flat_index(c, i, j, height, width)``: where pixel (i, j) of map c stands after flattening."""
    for _trial in range(8):
        channels, height, width = draw(3, 6), draw(3, 5), draw(6, 9)
        c, i, j = draw(1, channels - 1), draw(1, height - 1), draw(height, width - 1)
        maps = torch.zeros(channels, height, width)
        maps[c, i, j] = 1
        slips = {
            "row i is preceded by i full rows, and a row has width pixels": c * height * width + i * height + j,
            "i counts rows, and j counts columns": c * height * width + j * width + i,
            "each map before this one holds height * width pixels": c + i * width + j,
            "there are c maps before this one": i * width + j,
            "rows are counted from 0: nothing is taken away": c * height * width + (i - 1) * width + j,
            "features are counted from 0": c * height * width + i * width + j + 1,
        }
        ask(c, i, j, height, width).equals(int(maps.flatten().argmax()), slips)


@check("Four random blocks, of one to four layers, agree with PyTorch")
def check_run_dense(ask):
    """Check ``run_dense(x, layers)``: one image x (n,) through linear layers (W, b), with sigmoids between them."""
    for depth in (1, 2, 3, 4):
        sizes = [draw(3, 5) + 3 * (place % 2) for place in range(depth + 1)]
        layers = [(torch.randn(m, n), torch.randn(m)) for n, m in pairwise(sizes)]
        x = torch.randn(sizes[0])

        def run(bend=torch.sigmoid, bias=1, x=x, layers=layers):
            for place, (W, b) in enumerate(layers):
                x = F.linear(x if place == 0 else bend(x), W, bias * b)
            return x

        slips = {
            "the biases are missing": run(bias=0),
            "the last layer's scores stay as they are: no sigmoid after it": torch.sigmoid(run()),
            "the sigmoids between the layers are missing": run(bend=nn.Identity()),
            "the activation is the sigmoid, and not ReLU": run(bend=torch.relu),
            "the activation is the sigmoid, and not tanh": run(bend=torch.tanh),
        }
        ask(x, layers).equals(run(), slips)


@check("Five random mini-batches agree with torch.softmax, two of them with very large scores")
def check_softmax(ask):
    """Check ``softmax(scores)``: probabilities for scores (N, classes), also where exp(scores) overflows."""
    for width, shift in ((1, 0), (3, 0), (1, 0), (50, 150), (50, 150)):
        scores = width * torch.randn(draw(3, 7), draw(8, 12)) + shift
        slips = {
            "each image's probabilities add up to 1: add up along dim=1": torch.softmax(scores, dim=0),
            "each image has a sum of its own: add up along dim=1": torch.softmax(scores.flatten(), 0).view_as(scores),
            "the sum is missing below the fraction line": torch.exp(scores),
            "the scores belong into the exponent": scores / scores.sum(1, keepdim=True),
            "exp has the base e, and not 2": torch.softmax(scores * math.log(2), dim=1),
            "probabilities are asked for, not their logarithms": torch.log_softmax(scores, dim=1),
        }
        ask(scores).equals(torch.softmax(scores, dim=1), slips)


@check("Six random layers agree with the numbers of walk_shapes")
def check_multiply_adds(ask):
    """Check ``multiply_adds(in_channels, out_channels, k, width)``: for a convolution whose output is width × width."""
    for _trial in range(6):
        i, o, k, w = draw(6, 8), draw(9, 12), draw(3, 5), draw(13, 16)
        n = w + k - 1
        slips = {
            "these are the weights: each is used at every pixel of the output": i * o * k * k,
            "these are the parameters: each weight is used at every pixel of the output": i * o * k * k + o,
            "each kernel has a table for every input channel": o * k * k * w * w,
            "every output channel needs sums of its own": i * k * k * w * w,
            "the output has width * width pixels": i * o * k * k * w,
            "a kernel has k * k numbers": i * o * k * w * w,
            "biases are added, not multiplied: leave them out": i * o * k * k * w * w + o * w * w,
        }
        expected = walk_shapes(nn.Sequential(nn.Conv2d(i, o, k)), (1, i, n, n))[0].multiply_adds
        ask(i, o, k, w).equals(expected, slips)


# 03 Walk the shapes


@check("Twelve random settings agree with PyTorch's convolution")
def check_output_size(ask):
    """Check ``output_size(n, k, p, s, d)``: pixels along an axis after a convolution with dilation d."""
    for p, s, d in [(0, 1, 1), (2, 1, 1), (0, 2, 1), (1, 3, 1), (0, 1, 2), (1, 2, 3)] * 2:
        n, k = draw(20, 40), draw(2, 5)
        n += s == 2 and (n + 2 * p - d * (k - 1) - 1) % 2 == 0  # so that the stride leaves a pixel over
        span = d * (k - 1) + 1
        slips = {
            "the dilation is ignored: the window spans d * (k - 1) + 1 pixels": output_size(n, k, p, s),
            "the padding is added on both sides, so it counts twice": (n + p - span) // s + 1,
            "the padding is ignored": output_size(n, k, 0, s, d),
            "the stride is ignored": output_size(n, k, p, 1, d),
            "the first window counts, too: + 1": output_size(n, k, p, s, d) - 1,
            "round down: a window that does not fit is left out": math.ceil((n + 2 * p - span) / s) + 1,
            "a dilated window spans d * (k - 1) + 1 pixels, and not d * k": (n + 2 * p - d * k) // s + 1,
        }
        Y = F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, k), padding=p, stride=s, dilation=d)
        ask(n, k, p, s, d).equals(Y.shape[-1], slips)


@check("Six random layers agree with nn.Conv2d")
def check_conv_parameters(ask):
    """Check ``conv_parameters(in_channels, out_channels, k)``: weights and biases of a convolution."""
    for _trial in range(6):
        i, o, k = draw(6, 8), draw(9, 16), draw(2, 5)
        slips = {
            "the biases are missing: one for each output channel": i * o * k * k,
            "each kernel has a table for every input channel": o * k * k + o,
            "there is one kernel for every output channel": i * k * k + o,
            "there is one bias for each output channel, not for each input channel": i * o * k * k + i,
            "there is one bias for each output channel, not one in all": i * o * k * k + 1,
            "there is one bias for each kernel, not for each of its tables": i * o * k * k + i * o,
            "a kernel has k * k numbers": i * o * k + o,
        }
        ask(i, o, k).equals(sum(p.numel() for p in nn.Conv2d(i, o, k).parameters()), slips)


@check("Eight random nets agree with walk_shapes")
def check_receptive_field(ask):
    """Check ``receptive_field(layers)``: pixels that a unit sees after layers (kernel, stride), along an axis."""
    for depth in (1, 1, 2, 2, 3, 3, 4, 4):
        kernels, strides = [draw(2, 5) for _trial in range(depth)], [draw(2, 3) for _ in range(depth)]
        jumps = [math.prod(strides[:place]) for place in range(depth + 1)]

        def field(jumps, less=1, start=1, kernels=kernels):
            return start + sum((k - less) * jump for k, jump in zip(kernels, jumps, strict=False))

        slips = {
            "the strides are ignored: after a stride of 2, one step counts double": field([1] * depth),
            "a layer adds k - 1 steps, and not k": field(jumps, less=0),
            "a layer's own stride acts on the layers after it": field(jumps[1:]),
            "one pixel sees itself: start at 1": field(jumps, start=0),
            "the strides of all earlier layers are multiplied": field([1, *strides]),
            "the sizes are not multiplied: each layer adds some pixels": math.prod(kernels),
        }
        net = nn.Sequential(*(nn.Conv2d(1, 1, k, s) for k, s in zip(kernels, strides, strict=True)))
        expected = walk_shapes(net, (1, 1, 300, 300))[-1].receptive_field
        ask(list(zip(kernels, strides, strict=True))).equals(expected, slips)


@check("LeNet for five image sizes: ten scores for each image, and the right number of parameters")
def check_make_net_for(ask):
    """Check ``make_net_for(size)``: LeNet with a first linear layer that fits images of size × size pixels."""
    for size in (28, 32, draw(18, 22), 2 * draw(17, 23) + 1, 2 * draw(17, 23)):
        reply = ask(size)
        require_scores(reply, torch.randn(3, 1, size, size))
        width = output_size(output_size(size // 2, 5), 2, stride=2)
        require_weights(reply, [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16 * width * width), (84, 120), (10, 84)])


@check("Another net than LeNet: window, channels, activation and both depths differ, and there are ten scores")
def check_make_other_net(ask):
    """Check ``make_other_net()``: three or more convolutions, four or more linear layers, other kernels, no sigmoid."""
    reply = ask()
    require_scores(reply, torch.randn(3, 1, 28, 28))
    layers = list(reply.received.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    bends = [layer for layer in layers if type(layer).__module__ == nn.ReLU.__module__]
    needed = len(convolutions) + len(linears) - 1
    hint = _("padding=2 makes room")
    reply.require(len(convolutions) >= 3, _("at least 3 convolutions"), f"{len(convolutions)}", hint)
    hint = _("for example 120, 84, 40 and 10")
    reply.require(len(linears) >= 4, _("at least 4 linear layers"), f"{len(linears)}", hint)
    channels, window = convolutions[0].out_channels, convolutions[0].kernel_size
    reply.require(channels > 6, _("more than 6 channels after the first convolution"), f"{channels}")
    reply.require(window != (5, 5), _("another window in the first convolution than (5, 5)"), f"{window}")
    sigmoid = any(isinstance(bend, nn.Sigmoid) for bend in bends)
    reply.require(not sigmoid, _("no nn.Sigmoid"), _("one"), _("try nn.ReLU()"))
    expected = _("{count} activations: one after each layer but the last").format(count=needed)
    reply.require(len(bends) == needed, expected, f"{len(bends)}")


# 04 Train on Fashion-MNIST

LENET_WEIGHTS = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
LENET_CONVOLUTIONS = sum(math.prod(shape) + shape[0] for shape in LENET_WEIGHTS if len(shape) == 4)


@check("Six random mini-batches agree")
def check_accuracy(ask):
    """Check ``accuracy(y_hat, y)``: the share of right predictions for scores (N, 10) and labels (N,)."""
    for _trial in range(6):
        N = draw(11, 40)
        y_hat, y = torch.randn(N, 10), torch.randint(10, (N,))
        y_hat[torch.arange(4, N), y[4:]] += 2
        y[0] = y_hat[0].argmin()
        y_hat[[5, 6], [1, 2]] = 9.0
        y[[1, 2]] = torch.tensor([5, 6])
        right = (y_hat.argmax(1) == y).double()
        slips = {
            "a share is asked for: divide by the number of images": right.sum(),
            "divide by the number of images, and not of classes": right.sum() / 10,
            "a share lies between 0 and 1; it is no percentage": 100 * right.mean(),
            "this is the share of errors": 1 - right.mean(),
            "the prediction is the largest score, and not the smallest": (y_hat.argmin(1) == y).double().mean(),
            "look for the largest score of each image: dim=1": (y_hat.argmax(0) == y[:10]).double().mean(),
        }
        ask(y_hat, y).equals(right.mean(), slips)


@check("Six random mini-batches agree with F.cross_entropy, one of them with large scores")
def check_cross_entropy(ask):
    """Check ``cross_entropy(scores, y)``: the mean loss for scores (N, classes) and labels (N,)."""
    for width in (1, 2, 3, 1, 2, 200):
        N, classes = draw(3, 9), draw(10, 12)
        scores, y = width * torch.randn(N, classes), torch.randint(classes, (N,))
        scores[0, y[0]] = -2.5 * width
        loss, place = F.cross_entropy(scores, y), torch.arange(N)
        p = torch.softmax(scores, dim=1)[place, y]
        slips = {
            "the minus sign is missing": -loss,
            "the mean over the images is asked for, not the sum": loss * N,
            "divide by the number of images, and not of classes": loss * N / classes,
            "this is the logarithm to the base 10: take torch.log": loss / math.log(10),
            "this is the logarithm to the base 2: take torch.log": loss / math.log(2),
            "take the logarithm first, and the mean afterwards": -p.mean().log(),
            "the logarithm is missing": -p.mean(),
            "turn the scores into probabilities first, by a softmax": -scores[place, y].mean(),
            "each image has its own right class: row i, column y[i]": -torch.log_softmax(scores, 1)[:, y].mean(),
            "the softmax runs over one image's classes: dim=1": -torch.log_softmax(scores, 0)[place, y].mean(),
        }
        ask(scores, y).equals(loss, slips)


@check("Four random steps agree with PyTorch's gradients")
def check_train_step(ask):
    """Check ``train_step(W, b, X, y, lr)``: one SGD step of ``F.cross_entropy(X @ W.T + b, y)`` gives (W, b)."""
    for lr in (0.9, 0.5, 0.1, 2.0):
        N, n, m = draw(5, 9), draw(3, 4), draw(6, 8)
        W, b, X, y = torch.randn(m, n), torch.randn(m), torch.randn(N, n), torch.randint(m, (N,))
        w, c = W.clone().requires_grad_(), b.clone().requires_grad_()
        dW, db = torch.autograd.grad(F.cross_entropy(X @ w.T + c, y), (w, c))
        slips = {
            "step against the gradient: minus, and not plus": (W + lr * dW, b + lr * db),
            "the learning rate is missing": (W - dW, b - db),
            "the loss is the mean over the mini-batch, not the sum": (W - lr * N * dW, b - lr * N * db),
            "nothing has changed: take the step": (W, b),
            "the new weights are asked for, not the gradients": (dW, db),
            "take the step away from the weights": (lr * dW, lr * db),
            "the bias takes a step, too": (W - lr * dW, b),
        }
        ask(W, b, X, y, lr).equals((W - lr * dW, b - lr * db), slips)


@check("LeNet with two max poolings: its scores are those of PyTorch's functions with the same weights")
def check_make_max_net(ask):
    """Check ``make_max_net()``: LeNet with max pooling in place of average pooling, and nothing else changed."""
    reply, X = ask(), torch.rand(4, 1, 28, 28)
    require_scores(reply, X)
    require_weights(reply, LENET_WEIGHTS)
    net = reply.received
    for _trial in range(3):
        for p in net.parameters():  # wide weights, so that the kind of pooling shows in the scores
            nn.init.normal_(p, std=2 / math.sqrt(p[0].numel()))
        slips = {
            "both poolings still take the average": run_lenet(net, X, F.avg_pool2d, F.avg_pool2d),
            "the first pooling still takes the average": run_lenet(net, X, F.avg_pool2d, F.max_pool2d),
            "the second pooling still takes the average": run_lenet(net, X, F.max_pool2d, F.avg_pool2d),
            "keep the sigmoids: change one thing at a time": run_lenet(net, X, F.max_pool2d, F.max_pool2d, torch.relu),
        }
        reply.received = net
        reply.received = reply.run_net(X)
        reply.equals(run_lenet(net, X, F.max_pool2d, F.max_pool2d), slips)


def run_lenet(net, X, pool1, pool2, bend=torch.sigmoid):
    """Return LeNet's scores for ``X`` with the weights of ``net``, by PyTorch's functions."""
    W1, b1, W2, b2, *dense = net.parameters()
    Y = pool1(bend(F.conv2d(X, W1, b1, padding=2)), 2)
    Y = pool2(bend(F.conv2d(Y, W2, b2)), 2).flatten(1)
    for W, b in zip(dense[::2], dense[1::2], strict=True):
        Y = F.linear(Y, W, b)
        Y = bend(Y) if len(W) > 10 else Y
    return Y


# 05 Escape the plateau


@check("Four random tensors agree with PyTorch's gradient, one of them with large numbers")
def check_sigmoid_slope(ask):
    """Check ``sigmoid_slope(x)``: the derivative of the sigmoid for a tensor of any shape."""
    for shape, width in (((5,), 1), ((2, 3), 3), ((4, 1, 2), 8), ((7,), 200)):
        x = width * torch.randn(shape)
        x.view(-1)[:2] = torch.tensor([width, -width])
        x.requires_grad_()
        s = torch.sigmoid(x)
        (slope,) = torch.autograd.grad(s.sum(), x)
        slips = {
            "this is the sigmoid itself": s,
            "the factor 1 - sigmoid(x) stands there once, and not squared": s * (1 - s) ** 2,
            "the factor sigmoid(x) is missing": 1 - s,
            "the factors are sigmoid(x) and 1 - sigmoid(x), not x and 1 - x": x * (1 - x),
            "this is the derivative of tanh": 1 - torch.tanh(x) ** 2,
            "x goes into the derivative, and not sigmoid(x)": torch.sigmoid(s) * (1 - torch.sigmoid(s)),
        }
        ask(x.detach()).equals(slope, slips)


@check("Four random layers agree with Xavier's rule, as nn.init.xavier_uniform_ has it")
def check_xavier_bound(ask):
    """Check ``xavier_bound(W)``: the largest weight that Xavier's uniform rule draws for W, (m, n) or (m, c, k, k)."""
    for shape in ((draw(20, 40), draw(50, 90)), (84, 120), (16, 6, 5, 5), (draw(5, 8), draw(9, 12), 3, 3)):
        m, n, window = shape[0], shape[1], math.prod(shape[2:])
        ins, outs = n * window, m * window
        slips = {
            "this is the standard deviation; the uniform rule reaches √3 times as far": math.sqrt(2 / (ins + outs)),
            "the square root is missing": 6 / (ins + outs),
            "each kernel's window counts: n is c · k · k, and m is m · k · k": math.sqrt(6 / (m + n)),
            "the window counts for the outputs, too: m · k · k": math.sqrt(6 / (ins + m)),
            "the outputs count, too": math.sqrt(6 / ins),
            "the inputs count, too": math.sqrt(6 / outs),
            "inputs and outputs are added, and not multiplied": math.sqrt(6 / (ins * outs)),
        }
        ask(torch.zeros(shape)).equals(math.sqrt(6 / (ins + outs)), slips)


@check("Four random nets agree with PyTorch's gradients, one of them with old gradients in it")
def check_gradient_ratio(ask):
    """Check ``gradient_ratio(net, X, y)``: RMS of the gradient of net[0].weight over that of net[-1].weight."""
    for N, bend, old in ((5, nn.Sigmoid, 0), (6, nn.ReLU, 0), (7, nn.Tanh, 0), (8, nn.Sigmoid, 3)):
        c = draw(2, 4)
        net = nn.Sequential(nn.Conv2d(1, c, 3), bend(), nn.Flatten(), nn.Linear(36 * c, 12), bend(), nn.Linear(12, 10))
        X, y = torch.rand(N, 1, 8, 8), torch.randint(10, (N,))
        weights = net[0].weight, net[-1].weight
        gradients = torch.autograd.grad(F.cross_entropy(net(X), y), weights)
        for weight in weights:
            weight.grad = old * torch.randn_like(weight)

        def ratio(measure, first=gradients[0], last=gradients[1]):
            return measure(first) / measure(last)

        slips = {
            "the first layer's gradient stands above the fraction line": 1 / ratio(_rms),
            "old gradients are still in it: call net.zero_grad() first": ratio(
                _rms, *(weight.grad + gradient for weight, gradient in zip(weights, gradients, strict=True))
            ),
            "RMS takes the mean of the squares, not their sum": ratio(torch.norm),
            "the square root is missing": ratio(_rms) ** 2,
            "RMS squares the numbers: it is not the mean of their absolute values": ratio(lambda g: g.abs().mean()),
            "positive and negative numbers cancel in a mean: square them first": ratio(torch.mean),
            "RMS is not the largest absolute value": ratio(lambda g: g.abs().max()),
            "RMS is not the standard deviation: no mean is taken away": ratio(torch.std),
            "these are the weights: take their gradients": ratio(_rms, *weights),
        }
        ask(net, X, y).equals(ratio(_rms), slips)


def _rms(values):
    """Return the root of the mean of the squares."""
    return values.square().mean().sqrt()


@check("After 128 mini-batches of 64, LeNet with your activation, init and learning rate has left the plateau")
def check_escape(ask):
    """Check ``escape()``: (net, lr) with LeNet's weights, which leaves the plateau within 128 mini-batches of 64."""
    torch.default_generator.manual_seed(0)  # no luck in a verdict on training
    reply = ask()
    pair = isinstance(reply.received, tuple) and len(reply.received) == 2
    reply.require(pair, _("a net and a learning rate"), shorten(reply.received), "return net, lr")
    reply.received, lr = reply.received
    reply.require(isinstance(lr, int | float) and lr > 0, _("a learning rate above 0"), shorten(lr))
    X, y = load_data_fashion_mnist(64)[0].dataset[list(range(9192))]
    require_scores(reply, X[:64])
    require_weights(reply, LENET_WEIGHTS)
    net = reply.received.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for X_batch, y_batch in zip(X[:8192].split(64), y[:8192].split(64), strict=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X_batch), y_batch)
        loss.backward()
        optimizer.step()
    hint = _("the steps are too long: lower the learning rate")
    reply.require(loss.isfinite(), _("a finite loss"), f"{loss:.3f}", hint)
    right = (reply.run_net(X[8192:]).argmax(1) == y[8192:]).double().mean()
    plateau = abs(loss.item() - math.log(10)) < 0.1
    hint = (
        _("a loss near 2.303: it is still on the plateau, or steps that are too long threw it back")
        if plateau
        else _("it moves, but slowly: raise the learning rate, or draw wider weights")
    )
    received = _("{share}, at a loss of {loss}").format(share=f"{right:.0%}", loss=f"{loss:.3f}")
    reply.require(right > 0.6, _("over 60 % of 1,000 other images right"), received, hint)


# 06 Look inside


@check("Four random nets agree, with sigmoid, tanh and ReLU")
def check_activations(ask):
    """Check ``activations(net, X)``: the outputs of net's first two activation functions, layers 1 and 4 from 0."""
    for N, bend in enumerate((nn.Sigmoid, nn.ReLU, nn.Tanh, nn.Sigmoid), start=2):
        c, m, X = draw(2, 4), draw(5, 7), torch.rand(N, 1, 28, 28)
        net = nn.Sequential(
            *(nn.Conv2d(1, c, 5, padding=2), bend(), nn.AvgPool2d(2)),
            *(nn.Conv2d(c, m, 5), bend(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(25 * m, 10)),
        )
        Y = [net[: place + 1](X) for place in range(len(net))]
        slips = {
            "these are the outputs of the convolutions: go one layer further": (Y[0], Y[3]),
            "these are the outputs of the poolings: stop one layer earlier": (Y[2], Y[5]),
            "the first one is right; the second comes after the second convolution": (Y[1], Y[1]),
            "the first comes first": (Y[4], Y[1]),
        }
        ask(net, X).equals((Y[1], Y[4]), slips)


@check("Six random pairs of maps agree")
def check_telling_map(ask):
    """Check ``telling_map(A, B)``: the channel whose mean differs most between maps (N, C, H, W) and (M, C, H, W)."""
    for sign, place in ((1, 2), (-1, 3), (1, 4), (-1, 2), (1, 3), (-1, 4)):
        C = draw(7, 9)
        A, B = (torch.rand(draw(3, 5), C, 3, draw(4, 5)) for _trial in range(2))
        A[:, 0] -= 1.2 * sign
        A[0, 1, 0, 0] += 6 * sign
        A[:, place] += 2 * sign
        for maps in (A, B):
            maps[:, -2], maps[:, -1] = 0.5, 40
        slips = {
            "the mean of A may be the smaller one, too: take the absolute value": place if sign > 0 else 0,
            "the mean of B may be the smaller one, too: take the absolute value": place if sign < 0 else 0,
            "average over images and pixels, and do not take the largest pixel": 1,
            "this map is the brightest: look at the difference": C - 1,
            "this map differs least": C - 2,
            "maps are counted from 0": place + 1,
        }
        ask(A, B).equals(place, slips)


@check("Four random nets agree with torch.softmax")
def check_confidence(ask):
    """Check ``confidence(net, X)``: the mean, over the images, of the largest probability."""
    for width, least in ((1, 11), (3, 16), (10, 21), (30, 26)):
        net, X = nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), width * torch.randn(draw(least, least + 4), 1, 4, 4)
        scores = net(X)
        p = torch.softmax(scores, 1)
        slips = {
            "these are scores: turn them into probabilities first": scores.amax(1).mean(),
            "each image has a largest probability: look for it along dim=1": p.max(),
            "the softmax runs over one image's classes: dim=1": torch.softmax(scores, 0).amax(1).mean(),
            "look for the largest along dim=1, not along the images": p.amax(0).mean(),
            "the mean of all ten is always 0.1: take each image's largest first": p.mean(),
            "the mean over the images is asked for, not the sum": p.amax(1).sum(),
            "average the probabilities, and not the scores": torch.softmax(scores.mean(0), 0).max(),
        }
        ask(net, X).equals(p.amax(1).mean(), slips)


@check("Five random sets of labels agree, one of them with a class that never occurs")
def check_confusion_matrix(ask):
    """Check ``confusion_matrix(y, predicted, classes)``: whole numbers (classes, classes), a row per true class."""
    for classes, top in ((2, 2), (3, 3), (10, 10), (7, 7), (5, 4)):
        N = draw(30, 60)
        y = torch.randint(top, (N,))
        predicted = torch.where(torch.rand(N) < 0.5, y, torch.randint(top, (N,)))
        y[:3], predicted[:3] = 1, 0
        y[3:6], predicted[3:6] = 0, 0
        counts = torch.bincount(y * classes + predicted, minlength=classes**2).view(classes, classes)
        right = counts.diag().diag()
        slips = {
            "a row is a true class, and a column a prediction": counts.T,
            "count: a pair that occurs twice must add 2": counts.clamp(max=1),
            "the right answers are missing: they stand on the diagonal": counts - right,
            "the errors are missing: they stand beside the diagonal": right,
            "counts are asked for, not shares": counts / N,
            "counts are asked for, not shares of a row": counts / counts.sum(1, keepdim=True),
        }
        ask(y, predicted, classes).equals(counts, slips)


@check("Six random mini-batches agree")
def check_most_confident_error(ask):
    """Check ``most_confident_error(scores, y)``: the wrong image whose predicted class has the largest probability."""
    for odd in (0, 1) * 3:
        N = draw(22, 30)
        scores, y = 0.1 * torch.rand(N, 10), torch.randint(10, (N,))
        first, second, loud, unlikely = (10 + odd + 2 * torch.randperm(6)[:4]).tolist()
        right, worst = sorted((first, second))
        y[worst] = 7
        wrong = (y + 1) % 10
        scores[torch.arange(N), wrong] += torch.linspace(1, 2, N)
        scores[worst, wrong[worst]] += 4
        scores[loud] += 20
        scores[unlikely, y[unlikely]] -= 9
        scores[right, y[right]] += 12
        p, errors = torch.softmax(scores, 1).amax(1), scores.argmax(1) != y
        slips = {
            "this one is right: look among the errors only": right,
            "scores of different images do not compare: take probabilities": loud,
            "the prediction's probability counts, not that of the right class": unlikely,
            "this is the least confident error": int(torch.where(errors, p, 2).argmin()),
            "this is its place among the errors: give its place in the mini-batch": int(errors[:worst].sum()),
            "this is the predicted class: give the number of the image": int(wrong[worst]),
            "images are counted from 0": worst + 1,
        }
        ask(scores, y).equals(worst, slips)


# 07 Modernise LeNet


@check("Five random mini-batches of maps agree with F.batch_norm")
def check_batch_norm(ask):
    """Check ``batch_norm(X, gamma, beta, eps)``: maps (N, C, H, W), with gamma and beta (C,), while training."""
    for eps in (1.0, 0.1, 0.5, 2.0, 0.3):
        C = draw(3, 5)
        X = torch.randn(draw(6, 8), C, 2, draw(9, 11)) * (torch.rand(C, 1, 1) + 0.5) + torch.randn(C, 1, 1)
        gamma, beta = torch.randn(2, C, 1, 1)

        def norm(dim=(0, 2, 3), correction=0, gamma=gamma, beta=beta, eps=eps, X=X):
            variance = X.var(dim, correction=correction, keepdim=True)
            return gamma * (X - X.mean(dim, keepdim=True)) / (variance + eps).sqrt() + beta

        std = X.std((0, 2, 3), correction=0, keepdim=True)
        slips = {
            "a channel has one mean for all its pixels: dim=(0, 2, 3)": norm(dim=0),
            "the mean is taken over the mini-batch, and not for each image by itself": norm(dim=(2, 3)),
            "each channel has a mean of its own: dim=(0, 2, 3)": norm(dim=(0, 1, 2, 3)),
            "the variance divides by the count, not by the count - 1: correction=0": norm(correction=1),
            "gamma is missing": norm(gamma=1),
            "beta is missing": norm(beta=0),
            "eps is missing": norm(eps=0),
            "eps is added to the variance, below the square root": norm(eps=2 * std * eps + eps * eps),
            "the square root is missing": norm(gamma=gamma / (std**2 + eps).sqrt()),
        }
        expected = F.batch_norm(X, None, None, gamma.flatten(), beta.flatten(), training=True, eps=eps)
        ask(X, gamma.flatten(), beta.flatten(), eps).equals(expected, slips)


@check("Three random schedules agree, in the warm-up and after it")
def check_schedule(ask):
    """Check ``schedule(step, steps, warmup, lr)``: a straight warm-up, then half a cosine down to 0."""
    for _trial in range(3):
        steps, warmup, lr = draw(50, 90), draw(5, 9), draw(1, 9) / 10

        def cosine(part, lr=lr):
            return lr * (1 + math.cos(math.pi * part)) / 2

        for step in (0, warmup - 1, warmup, warmup + 1, draw(20, 40), steps - 1):
            done = (step - warmup) / (steps - warmup)
            rising, falling, late = lr * (step + 1) / warmup, cosine(done), step >= warmup
            slips = {
                "the warm-up is missing": falling,
                "the warm-up lasts while step < warmup": rising if step <= warmup else falling,
                "step 0 takes a step already: step + 1 in the warm-up": falling if late else lr * step / warmup,
                "the cosine starts at the end of the warm-up": cosine(step / steps) if late else rising,
                "after the warm-up, steps - warmup steps are left": cosine(done - done * warmup / steps)
                if late
                else rising,
                "the cosine runs from 1 to -1: add 1, and halve": lr * math.cos(math.pi * done) if late else rising,
                "1 + cos starts at 2: halve": 2 * falling if late else rising,
                "the rate falls along a cosine, not along a straight line": lr * (1 - done) if late else rising,
            }
            ask(step, steps, warmup, lr).equals(falling if late else rising, slips)


@check("Four random mini-batches agree with torch.flip")
def check_flip(ask):
    """Check ``flip(X, heads)``: images (N, C, H, W), mirrored left to right where heads (N,) is True."""
    for _trial in range(4):
        N = draw(4, 8)
        X, heads = torch.rand(N, draw(1, 3), draw(4, 6), draw(7, 9)), torch.arange(N) % 3 == 0
        mask = heads.view(-1, 1, 1, 1)
        slips = {
            "every image is mirrored: do it where heads is True": X.flip(3),
            "no image is mirrored": X,
            "the other images are mirrored: heads says which": torch.where(mask, X, X.flip(3)),
            "this turns images upside down: columns are the last axis": torch.where(mask, X.flip(2), X),
            "this turns images by 180°: only the columns change their order": torch.where(mask, X.flip(2, 3), X),
            "this changes the order of the images": torch.where(mask, X.flip(0), X),
        }
        ask(X, heads).equals(torch.where(mask, X.flip(3), X), slips)


@check("Four random steps agree with the rule of torch.optim.SGD")
def check_momentum_step(ask):
    """Check ``momentum_step(w, v, gradient, lr, momentum)``: the new (w, v), by PyTorch's rule."""
    for lr, mu in ((0.5, 0.9), (0.1, 0.5), (2.0, 0.8), (0.3, 0.0)):
        w, v, g = torch.randn(3, draw(3, 6))
        new, blend = mu * v + g, mu * v + (1 - mu) * g
        slips = {
            "step against the velocity: minus, and not plus": (w + lr * new, new),
            "the learning rate is missing": (w - new, new),
            "step along the new velocity, not along the gradient alone": (w - lr * g, new),
            "step along the new velocity, not along the old one": (w - lr * v, new),
            "the old velocity is multiplied by momentum": (w - lr * (v + g), v + g),
            "PyTorch adds the whole gradient, not 1 - momentum of it": (w - lr * blend, blend),
            "PyTorch keeps the learning rate out of the velocity": (w + mu * v - lr * g, mu * v - lr * g),
            "w comes first": (new, w - lr * new),
        }
        ask(w, v, g, lr, mu).equals((w - lr * new, new), slips)


@check("A net with convolutions, ten scores for an image of 28 × 28 pixels, and at most {budget} parameters")
def check_make_small_net(ask):
    """Check ``make_small_net()``: a net with convolutions for 28 × 28 images, within the budget of parameters."""
    reply = ask()
    require_scores(reply, torch.rand(4, 1, 28, 28))
    convolutions = [layer for layer in reply.received.modules() if isinstance(layer, nn.Conv2d)]
    hint = _("a convolution does much with few parameters")
    reply.require(convolutions, _("at least 1 convolution"), "0", hint)
    count = sum(p.numel() for p in reply.received.parameters())
    hint = _("most parameters sit in the first linear layer: let it read fewer features")
    expected = _("at most {count} parameters").format(count=f"{BUDGET:,}")
    reply.require(count <= BUDGET, expected, f"{count:,}", hint)
    spent = sum(p.numel() for layer in convolutions for p in layer.parameters())
    hint = _("give the convolutions more channels, and pay for them with fewer units")
    expected = _("more than LeNet's {count} parameters in the convolutions").format(count=f"{LENET_CONVOLUTIONS:,}")
    reply.require(spent > LENET_CONVOLUTIONS, expected, f"{spent:,}", hint)


def require_scores(reply, X):
    """Return the scores of a reply's net for images ``X``: ten for each, and not the same ones for all images."""
    scores, count = reply.run_net(X), len(X)
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else shorten(scores)
    expected = _("scores of shape {shape} for {count} images").format(shape=(count, 10), count=count)
    reply.require(shape == (count, 10), expected, f"{shape}")
    same = torch.equal(scores[:1].expand(scores.shape), scores)
    reply.require(not same, _("scores that depend on the image"), _("the same scores for all images"))
    shares = bool((scores >= 0).all()) and torch.allclose(scores.sum(1), torch.ones(count), atol=1e-4)
    hint = _("the loss takes the softmax itself: end with the linear layer")
    reply.require(not shares, _("scores, before any softmax"), _("probabilities, which add up to 1"), hint)
    return scores


def require_weights(reply, shapes):
    """Require that a reply's net has weights of these shapes, with one bias for each row, and nothing more."""
    received = [tuple(p.shape) for p in reply.received.parameters() if p.ndim > 1]
    hint = _("compare shape by shape")
    reply.require(received == shapes, _("weights of the shapes {shapes}").format(shapes=shapes), f"{received}", hint)
    expected = sum(math.prod(shape) + shape[0] for shape in shapes)
    count = sum(p.numel() for p in reply.received.parameters())
    hint = _("does each of the five layers have a bias?")
    reply.require(count == expected, _("{count} parameters").format(count=f"{expected:,}"), f"{count:,}", hint)


# 08 Go faster and wider


@check("Four random shares and factors agree with Amdahl's law")
def check_speedup(ask):
    """Check ``speedup(share, factor)``: how many times as fast all is if this share of the time gets factor faster."""
    for share, factor in ((0.6, 3), (draw(70, 95) / 100, draw(4, 9)), (0.3, draw(10, 40)), (0.9, 2.5)):
        left = 1 - share + share / factor
        slips = {
            "this is the time that is left: 1 / left is the speedup": left,
            "the rest, 1 - share, is still there, as slow as before": factor / share,
            "the share gets faster, and not the rest": 1 / (share + (1 - share) / factor),
            "the faster part still takes share / factor": 1 / (1 - share),
            "only a share of it gets faster, and not the whole": factor,
            "what is factor times as fast takes share / factor, not share * factor": 1 / (1 - share + share * factor),
            "add up times, and not speedups": 1 - share + share * factor,
        }
        ask(share, factor).equals(1 / left, slips)


@check("Four random nets and machines agree")
def check_floor_seconds(ask):
    """Check ``floor_seconds(multiply_adds, num_images, flops)``: seconds of bare arithmetic to train on the images."""
    for _trial in range(4):
        multiply_adds, num_images, flops = draw(300_000, 900_000), draw(2_000, 9_000), draw(11, 89) * 100_000_000
        forward = multiply_adds * num_images / flops
        slips = {
            "a multiply-add is two operations: a product and a sum": 3 * forward,
            "this is the way forward only: the way back takes twice as much": 2 * forward,
            "the way back has two products: for the layer's input and for its weights": 4 * forward,
            "this is for one image": 6 * forward / num_images,
            "seconds are operations divided by operations per second": 1 / (6 * forward),
            "seconds are asked for, not milliseconds": 6000 * forward,
        }
        ask(multiply_adds, num_images, flops).equals(6 * forward, slips)


@check("Five random series of rounds agree, with noise in all of them")
def check_fair_ratio(ask):
    """Check ``fair_ratio(old, new)``: the median, over the rounds, of old's seconds over new's."""
    for rounds in (5, 7, 4, 6, 9):
        noise = 1 + 3 * torch.rand(rounds)
        old, new = ((noise * part).tolist() for part in (2 + 2 * torch.rand(rounds), 0.4 + 0.3 * torch.rand(rounds)))
        old[draw(0, rounds - 1)] *= 9
        ratios = [a / b for a, b in zip(old, new, strict=True)]
        slips = {
            "this is upside down: old over new": np.median([1 / ratio for ratio in ratios]),
            "one disturbed round spoils a mean: take the median": np.mean(ratios),
            "divide within each round first: its two times share the same noise": np.median(old) / np.median(new),
            "a disturbed round weighs most in a sum": sum(old) / sum(new),
            "the two smallest times may stem from different rounds": min(old) / min(new),
            "sort the ratios before you take the middle one": ratios[rounds // 2],
            "of an even number of ratios, take the mean of the middle two": sorted(ratios)[rounds // 2],
        }
        ask(old, new).equals(float(np.median(ratios)), slips)


@check("Five random sweeps agree, with failed runs in them")
def check_best_lr(ask):
    """Check ``best_lr(records)``: the lr with the best mean of test_acc over the runs that have one."""
    for turn in range(5):
        rates = [(0.01, 0.03, 0.1, 0.3, 1.0)[(turn + place) % 5] for place in range(5)]
        noise = draw(0, 30) / 1000
        best, lucky, many, steady, broken = (
            [0.81 - noise, 0.79 - noise, None],
            [0.93 - noise, 0.35, 0.41],
            [0.61 + noise, 0.59 + noise, 0.62, 0.6, 0.58],
            [0.71 + noise, 0.69, 0.7],
            [None, None, None],
        )
        runs = dict(zip(rates, (best, lucky, many, steady, broken), strict=True))
        records = [
            {"lr": lr, "seed": seed, "test_acc": acc} for lr, accs in runs.items() for seed, acc in enumerate(accs)
        ]
        slips = {
            "this lr has the best single run: compare means": rates[1],
            "this lr has the most runs: take a mean, not a sum": rates[2],
            "a failed run is no accuracy of 0: leave it out of the mean": rates[3],
            "all runs of this lr failed": rates[4],
            "return the lr, and not its accuracy": 0.8 - noise,
        }
        ask([records[place] for place in torch.randperm(len(records)).tolist()]).equals(rates[0], slips)
