"""The challenge: who may take part, what a refused learner reads, and the place among the rows."""

import pytest
import torch
from torch import nn

from lenet_helpers.challenge import check_challenge, tell_place
from lenet_helpers.figures import Picture

ROWS = [
    {
        "title": title,
        "parameters": 61_750,
        "num_epochs": 10,
        "mean": {"validation_acc": value},
        "std": {"validation_acc": 0.01},
        "seeds": [{"validation_acc": value - 0.01}, {"validation_acc": value + 0.01}],
    }
    for title, value in (("guessing", 0.1), ("perfect", 0.999))
]


def make_net(*, hidden=32, outputs=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Divided(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, X):
        return self.linear(X.flatten(1)) / torch.zeros(10)


class Exploding(nn.Module):
    """Fine before the training, infinite in it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, X):
        return self.linear(X.flatten(1)) * (float("inf") if self.training else 1)


@pytest.fixture
def challenge(make_loaders):
    """``check_challenge`` on a small split, for one epoch."""
    train_iter, validation_iter = make_loaders(128)
    split = (train_iter, validation_iter, None)  # the test set is not even there
    return lambda make_net: check_challenge(make_net, num_epochs=1, split=split, results={"rows": ROWS})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: make_net(hidden=79), ["62,815 parameters", "615 over", "62,200", "61,936", "1.weight"]),
        (lambda: make_net(outputs=11), ["(2, 10)", "(2, 11)"]),
        (lambda: nn.Conv2d(1, 10, 5), ["(2, 10)", "(2, 10, 24, 24)"]),
        (lambda: nn.LSTM(28, 10), ["raised", "(2, 1, 28, 28)"]),
        (lambda: None, ["nn.Module", "NoneType", "return"]),
        (lambda: torch.zeros(2, 10), ["nn.Module", "Tensor"]),
        (lambda: 1 / 0, ["make_net()", "ZeroDivisionError"]),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), ["raised RuntimeError", "(2, 1, 28, 28)"]),
        (lambda: nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10)), ["no parameters"]),
        (Divided, ["NaN", "before any training"]),
        (Exploding, ["NaN", "epoch 1"]),
        (make_net(), ["without calling it", "check_challenge(make_net)"]),
        ("make_net", ["without calling it"]),
    ],
)
def test_refuses_and_says_why(challenge, capsys, answer, words):
    assert challenge(answer) is None
    printed = capsys.readouterr().out
    assert "Not accepted: " in printed and "place" not in printed
    for word in words:
        assert word in printed


def test_refuses_more_epochs_than_the_rows_had(make_loaders, capsys):
    split = (*make_loaders(128), None)
    assert check_challenge(make_net, num_epochs=11, split=split, results={"rows": ROWS}) is None
    printed = capsys.readouterr().out
    assert "Not accepted: the challenge allows 10 epochs, and num_epochs is 11;" in printed
    assert "seeds=(0, 1, 2)" in printed and "Accepted" not in printed
    assert isinstance(check_challenge(make_net, num_epochs=10, split=split, results={"rows": ROWS}), Picture)


def test_accepts_the_budget_to_the_last_parameter(challenge, capsys):
    def make_exact():
        net = make_net(hidden=78)  # 62,020 parameters
        net.register_parameter("rest", nn.Parameter(torch.zeros(180)))
        return net

    assert isinstance(challenge(make_exact), Picture)
    assert "62,200 of 62,200" in capsys.readouterr().out


def test_trains_and_places(challenge, capsys):
    picture = challenge(make_net)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Accepted: 25,450 of 62,200 parameters."
    assert lines[1].startswith("seed 0, epoch 1: loss ")
    assert lines[2] == "Your net takes place 2 of 3 by validation accuracy:"
    assert [line[:1] for line in lines[3:6]] == [" ", "→", " "]
    assert [line.split("parameters  ")[1] for line in lines[3:6]] == ["perfect", "YOUR NET", "guessing"]
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == ["guessing", "perfect", "your net"]
    assert 0.5 < float(lines[4].split()[1]) < 0.95


def test_same_net_gets_the_same_place_again(challenge, capsys):
    challenge(make_net)
    first = capsys.readouterr().out
    torch.rand(7)
    challenge(make_net)
    assert capsys.readouterr().out == first


def test_mean_over_seeds_counts(make_loaders, capsys):
    train_iter, validation_iter = make_loaders(128)
    results = {"rows": ROWS}
    check_challenge(make_net, 1, seeds=(0, 1), split=(train_iter, validation_iter, None), results=results)
    lines = capsys.readouterr().out.splitlines()
    each = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("seed")]
    placed = next(float(line.split()[1]) for line in lines if "YOUR NET" in line)
    assert len(each) == 2 and placed == pytest.approx(sum(each) / 2, abs=1.1e-3)


def test_first_place_lacks_nothing():
    lines = tell_place(ROWS, 1.0, 100)
    assert "place 1 of 3" in lines[0] and lines[1].startswith("→ 1.000")
    assert not any("lacks" in line for line in lines)
    assert tell_place(ROWS, 0.5, 100)[-1] == "It is 0.4990 below the row above it."
