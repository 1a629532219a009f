"""The challenge: who may take part, what a refused learner reads, and the place among the rows."""

import re

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


class Untrainable(nn.Linear):
    """Fine before the training, and an error in it."""

    def __init__(self):
        super().__init__(784, 10)

    def forward(self, X):
        if self.training:
            raise ValueError("not ready")
        return super().forward(X.flatten(1))


class Counted(nn.Linear):
    """Two values where one is expected."""

    def __init__(self):
        super().__init__(784, 10)

    def forward(self, X):
        return super().forward(X.flatten(1)), len(X)


NO_NET = "make_net() must return a net, an nn.Module, and returned {}; does it end in `return`?"
NO_SCORES = "for 2 images the scores must have the shape (2, 10), one score per class; received {}"
CALLED = "hand in the function that makes the net, without calling it: check_challenge(make_net)"
NO_FIT = "your net, given images of shape (2, 1, 28, 28), raised {}: …"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            lambda: make_net(hidden=79),
            "your net has 62,815 parameters, 615 over the budget of 62,200; "
            "the largest share, 61,936, lies in 1.weight",
        ),
        (lambda: make_net(outputs=11), NO_SCORES.format("(2, 11)")),
        (lambda: nn.Conv2d(1, 10, 5), NO_SCORES.format("(2, 10, 24, 24)")),
        (Counted, NO_SCORES.format("tuple")),
        (lambda: nn.LSTM(28, 10), NO_FIT.format("…Error")),
        (lambda: None, NO_NET.format("NoneType")),
        (lambda: torch.zeros(2, 10), NO_NET.format("Tensor")),
        (lambda: 1 / 0, "make_net() raised ZeroDivisionError: division by zero"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), NO_FIT.format("RuntimeError")),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10)),
            "your net has no parameters, so there is nothing to train",
        ),
        (Divided, "the scores hold NaN or infinity before any training; look for a division or a logarithm"),
        (Exploding, "the loss became NaN or infinite in epoch 1: try batch norm after the convolutions"),
        (Untrainable, "the training raised ValueError: not ready"),
        (iter([make_net()]).__next__, "make_net() raised StopIteration: "),  # the second time
        (make_net(), CALLED),
        ("make_net", CALLED),
    ],
)
def test_refuses_and_says_why(challenge, capsys, answer, reason):
    assert challenge(answer) is None
    printed = capsys.readouterr().out
    told = re.escape(f"Not accepted: {reason}.\n").replace("…", ".*")
    assert re.fullmatch(rf"(Accepted: .* of 62,200 parameters\.\n)?{told}", printed, re.DOTALL), printed


@pytest.mark.parametrize("arguments", [{"num_epochs": 0}, {"seeds": ()}])
def test_nothing_to_train_is_refused(arguments):
    words = "^num_epochs must be at least 1, and seeds must hold at least one number$"
    with pytest.raises(ValueError, match=words):
        check_challenge(make_net, results={"rows": ROWS}, **arguments)


def test_the_stored_rows_and_the_training_images_are_the_default(make_loaders, monkeypatch, capsys):
    small = (*make_loaders(128), None)
    monkeypatch.setattr("lenet_helpers.challenge.load_split", lambda: small)
    monkeypatch.setattr("lenet_helpers.challenge.load_ablation", lambda: {"rows": ROWS})
    check_challenge(make_net)
    by_default = capsys.readouterr().out
    assert by_default.count("seed 0, epoch ") == by_default.count("seed ") == 10
    monkeypatch.undo()
    monkeypatch.setattr("lenet_helpers.challenge.load_split", lambda: pytest.fail("the given images were not taken"))
    check_challenge(make_net, 10, (0,), small, {"rows": ROWS})
    assert capsys.readouterr().out == by_default


def test_refuses_more_epochs_than_the_rows_had(make_loaders, capsys):
    split = (*make_loaders(128), None)
    assert check_challenge(make_net, num_epochs=11, split=split, results={"rows": ROWS}) is None
    printed = capsys.readouterr().out
    assert printed == (
        "Not accepted: the challenge allows 10 epochs, and num_epochs is 11; "
        "to be surer of a place, train with more seeds, such as seeds=(0, 1, 2).\n"
    )
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
    assert re.fullmatch(r"seed 0, epoch 1: loss \d\.\d{3}, validation accuracy 0\.\d{3}", lines[1])
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


def test_place_among_the_rows():
    assert tell_place(ROWS, 0.5, 100) == [
        "Your net takes place 2 of 3 by validation accuracy:",
        "  0.999  61,750 parameters  perfect",
        "→ 0.500     100 parameters  YOUR NET",
        "  0.100  61,750 parameters  guessing",
        "It is 0.4990 below the row above it.",
    ]
    lines = tell_place(ROWS, 1.0, 100)
    assert lines[:2] == [
        "Your net takes place 1 of 3 by validation accuracy:",
        "→ 1.000     100 parameters  YOUR NET",
    ]
    assert len(lines) == 4 and lines[3].endswith("guessing"), "the first place lacks nothing"
