"""Predict the walk: right answers, and which term a wrong one has wrong."""

import re

import pytest
import torch
from torch import nn

from lenet_helpers.explorers import explore_walk
from lenet_helpers.explorers.walk import diagnose, parse_count, parse_shape
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
    ["1, 6, 28, 28", "(1,6,28,28)", "1x6x28x28", "torch.Size([1, 6, 28, 28])", " 1 6 28 28 ", "[1, 6, 28, 28,]",
     "1 × 6 × 28 × 28", "（1，6，28，28）", "1*6*28*28", (1, 6, 28, 28), torch.Size([1, 6, 28, 28])],
)  # fmt: skip
def test_shapes_are_read_as_learners_write_them(text):
    assert parse_shape(text) == (1, 6, 28, 28)


@pytest.mark.parametrize("text", ["", "six", "1, 6, 28.0, 28", "1, -6, 28, 28", "1,,6", "28²", "(n, 6, 28, 28)"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(ValueError, match="is not a shape"):
        parse_shape(text)


def test_counts():
    assert [parse_count(text) for text in ("61,706", " 61706 ", "61_706", "61 706", "６１，７０６", 61706)] == [
        61706
    ] * 6
    for text in ("", "many", "1.5", "-3", None):
        with pytest.raises(ValueError, match="is not a count"):
            parse_count(text)


CONV1 = (nn.Conv2d(1, 6, 5, padding=2), (1, 1, 28, 28))
CONV2 = (nn.Conv2d(6, 16, 5), (1, 6, 14, 14))
POOL = (nn.AvgPool2d(2, 2), (1, 6, 28, 28))
FLAT = (nn.Flatten(), (1, 16, 5, 5))
LINEAR = (nn.Linear(400, 120), (1, 400))
ACTIVATION = (nn.Sigmoid(), (1, 6, 28, 28))
STRIDED = (nn.Conv2d(3, 8, 3, padding=1, stride=2, dilation=2), (2, 3, 20, 31))
NO_BIAS = (nn.Conv2d(3, 8, 3, bias=False, padding="same"), (2, 3, 20, 20))


def feedback(case, shape=None, parameters=None):
    """Return the feedback on an answer whose other half is right."""
    layer, given = case
    right = walk_shapes(nn.Sequential(layer), given)[0]
    shape = right.output_shape if shape is None else shape
    parameters = right.parameters if parameters is None else parameters
    return diagnose(layer, given, right.output_shape, shape, parameters)


@pytest.mark.parametrize("case", [CONV1, CONV2, POOL, FLAT, LINEAR, ACTIVATION, STRIDED, NO_BIAS])
def test_right_answers_are_right(case):
    assert feedback(case).right and feedback(case).text == "Right."


@pytest.mark.parametrize(
    ("case", "shape", "words"),
    [
        (CONV1, (1, 6, 24, 24), "height and width: padding forgotten"),
        (CONV1, (1, 6, 26, 26), "padding counts on both sides"),
        (CONV1, (1, 6, 32, 32), "kernel forgotten"),
        (CONV1, (1, 6, 27, 27), "off by one"),
        (CONV1, (1, 6, 29, 29), "off by one"),
        (CONV1, (1, 6, 13, 13), "in the formula"),
        (CONV1, (1, 6, 28, 24), "width: padding forgotten"),
        (CONV1, (1, 1, 28, 28), "channels: you kept the input channels"),
        (CONV1, (1, 3, 28, 28), "channels: a convolution gives"),
        (CONV1, (256, 6, 28, 28), "batch dimension"),
        (CONV1, (6, 28, 28), "batch dimension is missing"),
        (CONV1, (6, 24, 24), "batch dimension is missing.*padding forgotten"),
        (CONV1, (28, 28), "number of dimensions: you wrote 2 numbers"),
        (CONV1, (784,), "number of dimensions: you wrote 1 number\\."),
        (CONV1, (1, 28, 28, 6), "order: PyTorch puts the channels"),
        (CONV1, (2, 1, 24, 24), "batch dimension.*channels.*padding"),
        (CONV2, (1, 16, 14, 14), "kernel forgotten"),
        (CONV2, (1, 16, 9, 9), "off by one"),
        (CONV2, (1, 16, 11, 11), "off by one"),
        (CONV2, (1, 96, 10, 10), "not multiplied"),
        (CONV2, (1, 6, 10, 10), "you kept the input channels"),
        (POOL, (1, 6, 28, 28), "stride forgotten"),
        (POOL, (1, 6, 27, 27), "stride forgotten"),
        (POOL, (1, 6, 13, 13), "off by one. Count the first place"),
        (POOL, (1, 6, 15, 15), "off by one. Round down"),
        (POOL, (1, 1, 14, 14), "pooling works on each channel"),
        (POOL, (6, 14, 14), "batch dimension is missing"),
        (FLAT, (1, 16, 5, 5), "number of dimensions: you wrote 4 numbers.*Flatten"),
        (FLAT, (400,), "batch dimension is missing"),
        (FLAT, (1, 25), "channels forgotten"),
        (FLAT, (1, 16), "Flatten keeps every number"),
        (FLAT, (1, 26), "you added"),
        (FLAT, (1, 401), "multiply channels × height × width"),
        (FLAT, (2, 400), "batch dimension"),
        (LINEAR, (1, 400), "you kept the length"),
        (LINEAR, (1, 84), "out_features"),
        (LINEAR, (120,), "batch dimension is missing"),
        (LINEAR, (1, 120, 1, 1), "After Flatten there are two"),
        (ACTIVATION, (1, 6, 14, 14), "works on each number by itself"),
        (ACTIVATION, (2, 6, 28, 28), "batch dimension"),
        (STRIDED, (2, 8, 18, 29), "stride forgotten"),
        (STRIDED, (2, 8, 8, 14), "padding forgotten"),
        (STRIDED, (2, 8, 16, 27), "padding forgotten.*And stride forgotten"),
        (STRIDED, (2, 8, 10, 16), "off by one|dilation forgotten"),
        (NO_BIAS, (2, 8, 18, 18), "padding forgotten"),
    ],
)
def test_wrong_shapes_are_told_which_term(case, shape, words):
    text = feedback(case, shape=shape).shape
    assert re.search(words, text, re.IGNORECASE), text


@pytest.mark.parametrize(
    ("case", "parameters", "words"),
    [
        (CONV1, 150, "bias forgotten"),
        (CONV1, 151, "bias: there is one for each output channel"),
        (CONV1, 25, "output channels forgotten"),
        (CONV1, 26, "output channels forgotten"),
        (CONV1, 36, "height × width numbers"),
        (CONV1, 156 * 784, "same weights are used at every place"),
        (CONV1, 117_600, "same weights are used at every place"),
        (CONV1, 0, "output channels × input channels"),
        (CONV2, 2400, "bias forgotten"),
        (CONV2, 2401, "bias: there is one"),
        (CONV2, 2406, "bias: there is one"),
        (CONV2, 2496, "bias: there is one"),
        (CONV2, 416, "input channels forgotten"),
        (CONV2, 400, "input channels forgotten"),
        (CONV2, 150, "output channels forgotten"),
        (CONV2, 151, "output channels forgotten"),
        (CONV2, 26, "output channels forgotten"),
        (POOL, 4, "AvgPool2d has nothing to learn"),
        (FLAT, 400, "Flatten has nothing to learn"),
        (ACTIVATION, 6, "Sigmoid has nothing to learn"),
        (LINEAR, 48_000, "bias forgotten"),
        (LINEAR, 48_001, "bias: there is one for each output"),
        (LINEAR, 48_400, "bias: there is one for each output"),
        (LINEAR, 520, "multiply"),
        (LINEAR, 120, "one for every input"),
        (LINEAR, 7, "outputs × inputs, plus one bias"),
        (STRIDED, 216, "bias forgotten"),
        (STRIDED, 80, "input channels forgotten"),
        (NO_BIAS, 224, "made with bias=False"),
        (NO_BIAS, 1, "kernel height × kernel width\\."),
    ],
)
def test_wrong_counts_are_told_which_term(case, parameters, words):
    text = feedback(case, parameters=parameters).parameters
    assert re.search(words, text, re.IGNORECASE), text


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
        assert not entry["parameters_hint"] and "padding forgotten" in entry["shape_hint"]


def test_typing_errors_are_told_not_raised():
    text = explore_walk(make_lenet()).answer(1, "one", "")
    assert "'one' is not a shape" in text and "is not a count" in text


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"must be an nn.Sequential, got Conv2d"):
        explore_walk(nn.Conv2d(1, 6, 5))
    with pytest.raises(ValueError, match="layer 0, Conv2d"):
        explore_walk(nn.Sequential(nn.Conv2d(1, 6, 5)), (1, 3, 28, 28))
    with pytest.raises(ValueError, match="no layer to ask about"):
        explore_walk(nn.Sequential())
    with pytest.raises(ValueError, match=r"net\[0\] is not asked"):
        explore_walk(make_lenet()).answer(0, "1", 0)


def test_cell_stores_a_picture_that_hides_what_is_not_answered():
    quizzes = [explore_walk(make_lenet()) for _ in range(2)]
    first, second = (quiz._repr_mimebundle_()[0] for quiz in quizzes)
    assert first["image/png"] == second["image/png"]
    answer_all(quizzes[1], make_lenet())
    assert quizzes[1]._repr_mimebundle_()[0]["image/png"] != first["image/png"]
