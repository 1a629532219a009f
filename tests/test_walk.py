"""Predict the walk: right answers, and which term a wrong one has wrong."""

import io
import re

import pytest
import torch
from test_shapes import NoReturn
from torch import nn

from lenet_helpers.explorers import explore_walk
from lenet_helpers.explorers.walk import diagnose, parse_count, parse_shape
from lenet_helpers.language import speaking
from lenet_helpers.shapes import walk_shapes


class Reshape(nn.Module):
    def forward(self, X):
        return X.view(-1, 1, 28, 28)


def make_lenet():
    return nn.Sequential(
        Reshape(),
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["1, 6, 28, 28", "(1,6,28,28)", "1x6x28x28", "1X6X28X28", "torch.Size([1, 6, 28, 28])", " 1 6 28 28 ",
     "[1, 6, 28, 28,]", "1 × 6 × 28 × 28", "（1，6，28，28）", "1*6*28*28", (1, 6, 28, 28), torch.Size([1, 6, 28, 28])],
)  # fmt: skip
def test_shapes_are_read_as_learners_write_them(text):
    assert parse_shape(text) == (1, 6, 28, 28)


NO_SHAPES = ["", " six ", "1, 6, 28.0, 28", "1, -6, 28, 28", "1,,6", "28²", "(n, 6, 28, 28)", "1234567890"]


@pytest.mark.parametrize("text", NO_SHAPES)
def test_what_is_no_shape_is_refused(text):
    told = f"{text.strip()!r} is not a shape. Write whole numbers with commas, such as 8, 3, 32, 32."
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        parse_shape(text)


def test_counts():
    assert [parse_count(text) for text in ("61,706", " 61706 ", "61_706", "61 706", "６１，７０６", 61706)] == [
        61706
    ] * 6
    assert parse_count("9" * 15) == 10**15 - 1
    for text in ("", " many ", "1.5", "-3", None, "9" * 16):
        told = f"{str(text).strip()!r} is not a count. Write one whole number, 0 if there is none."
        with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
            parse_count(text)


CONV1 = (nn.Conv2d(1, 6, 5, padding=2), (1, 1, 28, 28))
CONV2 = (nn.Conv2d(6, 16, 5), (1, 6, 14, 14))
POOL = (nn.AvgPool2d(2, 2), (1, 6, 28, 28))
FLAT = (nn.Flatten(), (1, 16, 5, 5))
LINEAR = (nn.Linear(400, 120), (1, 400))
ACTIVATION = (nn.Sigmoid(), (1, 6, 28, 28))
STRIDED = (nn.Conv2d(3, 8, 3, padding=1, stride=2, dilation=2), (2, 3, 20, 31))
NO_BIAS = (nn.Conv2d(3, 8, 3, bias=False, padding="same"), (2, 3, 20, 20))
WIDE = (nn.Conv2d(1, 2, (3, 5), padding=(0, 2)), (1, 1, 10, 10))
VALID = (nn.Conv2d(1, 2, 3, padding="valid"), (1, 1, 10, 10))
DILATED = (nn.Conv2d(1, 2, 3, padding="same", dilation=2), (1, 1, 20, 20))
GROUPED = (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 10, 10))
ONE_KERNEL = (nn.Conv2d(3, 1, 3), (1, 3, 10, 10))
NO_BIASES = (nn.Linear(400, 120, bias=False), (1, 400))
CEIL = (nn.MaxPool2d(2, ceil_mode=True), (1, 6, 7, 7))
CEIL_PADDED = (nn.AvgPool2d([3, 3], [2, 2], [1, 1], ceil_mode=True), (1, 6, 10, 10))
CEIL_OUTSIDE = (nn.MaxPool2d(1, 5, ceil_mode=True), (1, 6, 4, 4))
ADAPTIVE = (nn.AdaptiveAvgPool2d(3), (1, 6, 7, 7))
TRANSPOSED = (nn.ConvTranspose2d(6, 2, 3), (1, 6, 7, 7))
TRANSPOSED_SAME = (nn.ConvTranspose2d(6, 6, 3, padding=1), (1, 6, 7, 7))
FLAT_MAPS = (nn.Flatten(2), (1, 6, 7, 7))
UNBATCHED = (nn.Conv2d(1, 6, 5), (1, 28, 28))


def feedback(case, shape=None, parameters=None):
    """Return the feedback on an answer whose other half is right."""
    layer, given = case
    right = walk_shapes(nn.Sequential(layer), given)[0]
    shape = right.output_shape if shape is None else shape
    parameters = right.parameters if parameters is None else parameters
    return diagnose(layer, given, right.output_shape, shape, parameters)


@pytest.mark.parametrize(
    "case",
    [
        CONV1,
        CONV2,
        POOL,
        FLAT,
        LINEAR,
        ACTIVATION,
        STRIDED,
        NO_BIAS,
        WIDE,
        VALID,
        DILATED,
        GROUPED,
        ONE_KERNEL,
        NO_BIASES,
        CEIL,
        CEIL_PADDED,
        CEIL_OUTSIDE,
        ADAPTIVE,
        TRANSPOSED,
        TRANSPOSED_SAME,
        FLAT_MAPS,
        UNBATCHED,
    ],
)
def test_right_answers_are_right(case):
    assert feedback(case).right and feedback(case).text == "Right."


WRONG_SHAPES = [
    (CONV1, (1, 6, 24, 24), r"^height and width: padding forgotten\. This layer puts 2 extra"),
    (CONV1, (1, 6, 26, 26), "padding counts on both sides"),
    (CONV1, (1, 6, 32, 32), "kernel forgotten"),
    (CONV1, (1, 6, 27, 27), "off by one. Count the first place"),
    (CONV1, (1, 6, 29, 29), "off by one. A window of k pixels"),
    (CONV1, (1, 6, 13, 13), "^height and width: put n = 28, k = 5, p = 2, s = 1, d = 1 in the formula"),
    (CONV1, (1, 6, 28, 24), "^width: padding forgotten"),
    (CONV1, (1, 6, 24, 28), "^height: padding forgotten"),
    (CONV1, (1, 6, 24, 27), "^height: padding forgotten.* width: off by one"),
    (CONV1, (1, 1, 28, 28), "channels: you kept the input channels"),
    (CONV1, (1, 3, 28, 28), "channels: a convolution gives"),
    (CONV1, (256, 6, 28, 28), r"^batch dimension: no layer changes the number of images, the first number\.$"),
    (CONV1, (6, 28, 28), r"^the batch dimension is missing: a shape starts with the number of images\.$"),
    (CONV1, (6, 24, 24), "batch dimension is missing.*padding forgotten"),
    (CONV1, (28, 28), r"^number of dimensions: you wrote 2 numbers\. Pictures have four"),
    (CONV1, (784,), r"^number of dimensions: you wrote 1 number\. Pictures have four"),
    (CONV1, (1, 28, 28, 6), "order: PyTorch puts the channels"),
    (CONV1, (2, 1, 24, 24), "^batch dimension.*channels.*padding"),
    (CONV2, (1, 16, 14, 14), "kernel forgotten"),
    (CONV2, (1, 16, 9, 9), "off by one. Count the first place"),
    (CONV2, (1, 16, 11, 11), "off by one. A window of k pixels"),
    (CONV2, (1, 96, 10, 10), "not multiplied"),
    (CONV2, (1, 6, 10, 10), "you kept the input channels"),
    (POOL, (1, 6, 28, 28), r"stride forgotten\. The window jumps 2 pixels"),
    (POOL, (1, 6, 27, 27), "stride forgotten"),
    (POOL, (1, 6, 13, 13), "off by one. Count the first place"),
    (POOL, (1, 6, 15, 15), "off by one. Round down"),
    (POOL, (1, 1, 14, 14), "^channels: pooling works on each channel"),
    (POOL, (1, 6, 5, 5), "put n = 28, k = 2, p = 0, s = 2, d = 1 in"),
    (POOL, (6, 14, 14), "batch dimension is missing"),
    (FLAT, (1, 16, 5, 5), r"^number of dimensions: you wrote 4 numbers\. Flatten keeps the batch dimension"),
    (FLAT, (400,), "batch dimension is missing"),
    (FLAT, (1, 25), "channels forgotten"),
    (FLAT, (1, 16), "Flatten keeps every number"),
    (FLAT, (1, 5), "Flatten keeps every number"),
    (FLAT, (1, 1), "multiply channels × height × width"),
    (FLAT, (1, 26), "you added"),
    (FLAT, (1, 401), "multiply channels × height × width"),
    (FLAT, (2, 400), r"^batch dimension: [^.]*\.$"),
    (FLAT, (2, 25), "^batch dimension.*channels forgotten"),
    (LINEAR, (1, 400), "you kept the length"),
    (LINEAR, (1, 84), "^features: the last number"),
    (LINEAR, (120,), "batch dimension is missing"),
    (LINEAR, (1, 120, 1, 1), "After Flatten there are two"),
    (ACTIVATION, (1, 6, 14, 14), r"^Sigmoid leaves the shape as it came in\.$"),
    (ACTIVATION, (2, 6, 28, 28), r"^batch dimension: [^.]*\.$"),
    (STRIDED, (2, 8, 18, 29), "stride forgotten"),
    (STRIDED, (2, 9, 15, 8), r"^order: PyTorch puts the channels before height and width\.$"),
    (STRIDED, (2, 8, 8, 14), "^height and width: padding forgotten.* puts 1 extra"),
    (STRIDED, (2, 8, 16, 27), "padding forgotten.*And stride forgotten"),
    (STRIDED, (2, 8, 10, 16), r"dilation forgotten\. The pixels of the window are 2 apart"),
    (STRIDED, (2, 8, 20, 31), "stride forgotten.*jumps 2 pixels"),
    (STRIDED, (2, 8, 9, 3), "^width: put n = 31, k = 3, p = 1, s = 2, d = 2 in"),
    (NO_BIAS, (2, 8, 18, 18), "padding forgotten.* puts 1 extra"),
    (WIDE, (1, 2, 8, 6), "^width: padding forgotten.* puts 2 extra"),
    (WIDE, (1, 2, 10, 8), "^height: kernel forgotten.* width: padding counts on both sides"),
    (VALID, (1, 2, 10, 10), "kernel forgotten"),
    (VALID, (1, 2, 3, 3), "n = 10, k = 3, p = 0, s = 1, d = 1 in"),
    (DILATED, (1, 2, 16, 16), "padding forgotten.* puts 2 extra"),
    (DILATED, (1, 2, 22, 22), "dilation forgotten"),
    (CEIL, (1, 6, 3, 3), r"^height and width: ceil_mode forgotten\. It rounds up: a last window that sticks out"),
    (CEIL, (1, 6, 6, 6), "stride forgotten"),
    (CEIL, (1, 6, 5, 5), r"off by one\. A window of k pixels"),
    (CEIL, (1, 6, 9, 9), r"put n = 7, k = 2, p = 0, s = 2, d = 1 in the formula ceil\("),
    (CEIL_PADDED, (1, 6, 5, 6), "^height: ceil_mode forgotten"),
    (CEIL_PADDED, (1, 6, 10, 6), r"^height: stride forgotten\. The window jumps 2 pixels"),
    (CEIL_OUTSIDE, (1, 6, 2, 2), r"^height and width: off by one\. A window that starts beyond the picture"),
    (CEIL_OUTSIDE, (1, 6, 0, 0), r"off by one\. Count the first place"),
    *(
        (case, shape, f"^the quiz has no hint for {type(case[0]).__name__}: look up what it does to a shape\\.$")
        for case, *shapes in (
            (ADAPTIVE, (1, 6, 7, 7), (1, 3, 3, 6), (6, 3, 3), (1, 54)),
            (TRANSPOSED, (1, 6, 5, 5), (1, 2, 7, 7), (2, 9, 9)),
            (FLAT_MAPS, (1, 294), (1, 6, 7, 7), (2, 6, 49)),
            (UNBATCHED, (6, 28, 28), (1, 6, 24, 24)),
        )
        for shape in shapes
    ),
    (TRANSPOSED_SAME, (1, 6, 9, 9), r"^ConvTranspose2d leaves the shape as it came in\.$"),
]


@pytest.mark.parametrize(("case", "shape", "words"), WRONG_SHAPES)
def test_wrong_shapes_are_told_which_term(case, shape, words):
    text = feedback(case, shape=shape).shape
    assert re.search(words, text, re.IGNORECASE), text


WRONG_COUNTS = [
    (CONV1, 150, "bias forgotten"),
    (CONV1, 151, "bias: there is one for each output channel"),
    (CONV1, 25, "output channels forgotten"),
    (CONV1, 26, "output channels forgotten"),
    (CONV1, 36, "height × width numbers"),
    (CONV1, 156 * 784, "same weights are used at every place"),
    (CONV1, 117_600, "same weights are used at every place"),
    (CONV1, 0, r"kernel height × kernel width, plus one bias per output channel\.$"),
    (CONV2, 2400, "bias forgotten"),
    (CONV2, 2401, "bias: there is one"),
    (CONV2, 2406, "bias: there is one"),
    (CONV2, 2496, "bias: there is one"),
    (CONV2, 416, "input channels forgotten"),
    (CONV2, 400, "input channels forgotten"),
    (CONV2, 150, "output channels forgotten"),
    (CONV2, 151, "output channels forgotten"),
    (CONV2, 26, "output channels forgotten"),
    (CONV2, 25, "output channels forgotten"),
    (CONV2, 480, "height × width numbers"),
    (CONV2, 496, "height × width numbers"),
    (WIDE, 6, "height × width numbers"),
    (GROUPED, 144, "bias forgotten"),
    (GROUPED, 72, "input channels forgotten"),
    (GROUPED, 296, "^output channels × input channels"),
    (ONE_KERNEL, 27, "bias forgotten"),
    (ONE_KERNEL, 9, "input channels forgotten"),
    (POOL, 4, "AvgPool2d has nothing to learn"),
    (FLAT, 400, "Flatten has nothing to learn"),
    (ACTIVATION, 6, "Sigmoid has nothing to learn"),
    (LINEAR, 48_000, "bias forgotten"),
    (LINEAR, 48_001, "bias: there is one for each output"),
    (LINEAR, 48_400, "bias: there is one for each output"),
    (LINEAR, 96_000, "bias: there is one for each output"),
    (LINEAR, 520, "multiply"),
    (LINEAR, 640, "multiply"),
    (LINEAR, 400, "one for every input"),
    (LINEAR, 120, "one for every input"),
    (LINEAR, 7, r"^outputs × inputs, plus one bias per output\.$"),
    (NO_BIASES, 7, r"^outputs × inputs\.$"),
    (NO_BIASES, 48_120, "made with bias=False"),
    (NO_BIASES, 48_001, "made with bias=False"),
    (STRIDED, 216, "bias forgotten"),
    (STRIDED, 80, "input channels forgotten"),
    (NO_BIAS, 224, "made with bias=False"),
    (NO_BIAS, 217, "made with bias=False"),
    (NO_BIAS, 1, r"^output channels × input channels × kernel height × kernel width\.$"),
]


@pytest.mark.parametrize(("case", "parameters", "words"), WRONG_COUNTS)
def test_wrong_counts_are_told_which_term(case, parameters, words):
    text = feedback(case, parameters=parameters).parameters
    assert re.search(words, text, re.IGNORECASE), text


NAMES = {"AvgPool", "False", "Flatten", "PyTorch", "Sigmoid", "bias", "floor", "out_channels", "out_features"}
NAMES |= {"AdaptiveAvgPool", "Conv", "ConvTranspose", "ceil", "ceil_mode"}


@pytest.mark.parametrize(
    ("case", "shape", "parameters"),
    [
        *((case, shape, None) for case, shape, _ in WRONG_SHAPES),
        *((case, None, count) for case, count, _ in WRONG_COUNTS),
    ],
)
def test_every_hint_is_told_in_chinese(case, shape, parameters):
    with speaking("zh"):
        text = feedback(case, shape, parameters).text
    assert not set(re.findall(r"[A-Za-z_]{3,}", text)) - NAMES, text


def test_feedback_in_one_line():
    assert feedback(CONV1, parameters=150).text == (
        "Shape: right. Parameters: Bias forgotten. Each output channel has one."
    )
    assert feedback(POOL, shape=(6, 14, 14)).text == (
        "Shape: The batch dimension is missing: a shape starts with the number of images. Parameters: right."
    )
    assert feedback(ACTIVATION, shape=(1, 6, 1, 1), parameters=6).text == (
        "Shape: Sigmoid leaves the shape as it came in. "
        "Parameters: Sigmoid has nothing to learn: no weights and no biases."
    )


def test_no_hint_gives_the_answer_away():
    quiz = explore_walk(make_lenet())
    rows = walk_shapes(make_lenet())
    for index in range(1, 13):
        right = rows[index]
        for shape in [(1, 2, 3, 4), (7,), (1, 9), (6, 24, 24), (1, 1, 14, 14), (1, 16, 9, 9), "no"]:
            for count in (1, 150, 2400, 48_000, "no"):
                text = quiz.answer(index, shape, count)
                assert ", ".join(map(str, right.output_shape)) not in text
                assert not right.parameters or not re.search(rf"\b{right.parameters}\b", text)
                assert "Traceback" not in text and "right" not in text.lower().replace("parameters: right", "")


def answer_all(quiz, net, input_shape=(1, 1, 28, 28)):
    for index, row in enumerate(walk_shapes(net, input_shape)):
        if row.name != "Reshape":
            assert quiz.answer(index, row.output_shape, row.parameters) == "Right."


def test_walk_through_lenet_reaches_12_and_61706():
    quiz = explore_walk(make_lenet())
    assert len(quiz.layers) == 12 and quiz.score == quiz.parameters == 0
    assert quiz.input_shape == [1, 1, 28, 28]
    assert quiz.layers[2] == {"index": 3, "name": "AvgPool2d", "text": str(make_lenet()[3])}
    assert "padding forgotten" in quiz.answer(1, "1, 6, 24, 24", "156")
    assert "Bias forgotten" in quiz.answer(1, "1x6x28x28", "150")
    assert quiz.score == quiz.parameters == 0
    answer_all(quiz, make_lenet())
    assert (quiz.score, quiz.parameters) == (12, 61_706)
    assert quiz.summary() == "WalkQuiz: 12 of 12 layers right, with 61,706 parameters"
    quiz.answer(12, "1, 10", 840)
    assert (quiz.score, quiz.parameters) == (11, 60_856)


def test_other_nets():
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(32, 64, 3, groups=4, bias=False), nn.Tanh(), nn.Dropout(), nn.Flatten(), nn.Linear(64 * 25, 5),
    )  # fmt: skip
    quiz = explore_walk(net, (2, 3, 32, 32))
    assert "layer.parameters()" in quiz.answer(1, (2, 32, 16, 16), 32)
    answer_all(quiz, net, (2, 3, 32, 32))
    assert quiz.score == 9 and quiz.parameters == sum(p.numel() for p in net.parameters())


def test_page_sends_an_answer_and_hears_back():
    quiz = explore_walk(make_lenet())
    for attempt in (1, 2):
        quiz._handle_custom_msg({"index": 1, "shape": "1, 6, 24, 24", "parameters": "156"}, [])
        entry = quiz.answers["1"]
        assert entry["attempts"] == attempt, "the same answer again must still be a change"
        assert (entry["shape"], entry["parameters"]) == ("1, 6, 24, 24", "156"), "the page shows what was typed"
        assert not entry["parameters_hint"] and "padding forgotten" in entry["shape_hint"]
    quiz.answer(1, (1, 6, 28, 28), 156)
    assert quiz.answers["1"] == {
        "shape": "1, 6, 28, 28",
        "parameters": "156",
        "shape_hint": "",
        "parameters_hint": "",
        "attempts": 3,
    }


def test_typing_errors_are_told_not_raised():
    text = explore_walk(make_lenet()).answer(1, "one", "")
    assert text == (
        "Shape: 'one' is not a shape. Write whole numbers with commas, such as 8, 3, 32, 32. "
        "Parameters: '' is not a count. Write one whole number, 0 if there is none."
    )


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"^net must be an nn\.Sequential, whose layers .*, got Conv2d; in a net of"):
        explore_walk(nn.Conv2d(1, 6, 5))
    with pytest.raises(ValueError, match=r"^net\[0\] \(Conv2d.*\) fails on its input of shape \(1, 3, 28, 28\): "):
        explore_walk(nn.Sequential(nn.Conv2d(1, 6, 5)), (1, 3, 28, 28))
    with pytest.raises(ValueError, match=r"^net\[1\] \(NoReturn\(\)\) must give one tensor, and gives NoneType: "):
        explore_walk(nn.Sequential(nn.Flatten(), NoReturn(), nn.Linear(784, 10)))
    with pytest.raises(ValueError, match=r"^net has no layer to ask about$"):
        explore_walk(nn.Sequential())
    with pytest.raises(ValueError, match=r"^net\[0\] is not asked; asked are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12$"):
        explore_walk(make_lenet()).answer(0, "1", 0)


def read_table(quiz):
    """Return the columns but the first of the picture's table, row by row."""
    (table,) = quiz.figure().axes[0].tables
    rows, columns = (max(place) + 1 for place in zip(*table.get_celld(), strict=True))
    return [[table[row, column].get_text().get_text() for column in range(1, columns)] for row in range(rows)]


def test_cell_stores_a_picture_that_hides_what_is_not_answered():
    quizzes = [explore_walk(make_lenet()) for _ in range(2)]
    first, second = (quiz._repr_mimebundle_()[0] for quiz in quizzes)
    assert first["image/png"] == second["image/png"]
    quiz = quizzes[1]
    assert read_table(quiz) == [["output shape", "parameters", ""]] + [["?", "?", ""]] * 12
    quiz.answer(1, "1x6x28x28", "150")
    quiz.answer(2, (1, 6, 28, 28), 0)
    assert read_table(quiz)[1:4] == [["1x6x28x28", "150", "✗"], ["1, 6, 28, 28", "0", "✓"], ["?", "?", ""]]
    assert quiz._repr_mimebundle_()[0]["image/png"] != first["image/png"]


def test_the_picture_shows_any_answer_as_it_is():
    quiz = explore_walk(make_lenet())
    quiz.answer(1, "$x_{$", "50 % \\")
    quiz.figure().savefig(io.BytesIO(), format="png")
    assert read_table(quiz)[1] == ["$x_{$", "50 % \\", "✗"]
