"""What a learner may do to the train panel at the wrong moment: each has a message, and the next attempt works."""

import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
import torch
from test_panel import Gate, go_through, load, make_net, on_the_cpu, wait_for  # noqa: F401
from torch import nn
from traitlets import TraitError

from lenet_helpers import panel as panel_module
from lenet_helpers.panel import LR_MAX, LR_MIN, TrainPanel


def count_trainings():
    return sum(thread.name == "TrainPanel" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """After each test no training goes on, the turn is free, and nothing was written."""
    monkeypatch.chdir(tmp_path)
    yield
    wait_for(lambda: count_trainings() == 0)
    assert not panel_module._turn.locked()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.permits.release(100_000)


@pytest.fixture
def gated(gate):
    """A panel of 3 × 10 mini-batches, which trains as far as the gate lets it."""
    return TrainPanel(lambda: nn.Sequential(gate, make_net()), *load(32), num_epochs=3)


def train_whole(panel):
    """Let the panel train a new run, and check that this works."""
    panel.start().wait(60)
    assert panel.state == "finished" and panel._alert.value == ""
    assert panel.runs[-1]["end"] == "finished" and panel.history[-1]["test_acc"] is not None
    return panel


@pytest.mark.fault("panel and explorers", "Train clicked 50 times")
def test_fifty_clicks_on_train_are_one_run(gate, gated):
    for _ in range(50):
        gated._train_button.click()
    with ThreadPoolExecutor(8) as pool:
        assert all(panel is gated for panel in pool.map(lambda _: gated.start(), range(50)))
    go_through(gate, 2)
    assert count_trainings() == len(gated.runs) == 1
    assert gated._train_button.disabled and "Training" in gated._status.message
    gate.permits.release(100_000)
    gated.wait(60)
    assert gated.state == "finished" and gate.passes == 30
    assert len(train_whole(gated).runs) == 2


@pytest.mark.fault("panel and explorers", "Stop before the run and after the run")
def test_stop_before_the_first_run_does_not_end_that_run():
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    panel._stop_button.click()
    panel.stop().wait(1)
    assert panel.state == "ready" and "press Train" in panel._status.message and panel._stop_button.disabled
    assert len(train_whole(panel).runs) == 1


@pytest.mark.fault("panel and explorers", "Stop before the run and after the run")
def test_stop_after_the_run_leaves_it_finished_and_continue_works():
    panel = train_whole(TrainPanel(make_net, *load(32), num_epochs=1))
    panel._stop_button.click()
    panel.stop().wait(1)
    assert panel.state == "finished" and "Finished" in panel._status.message
    panel.resume().wait(60)
    assert panel.state == "finished" and panel.history[-1]["epoch"] == 2
    assert len(train_whole(panel.stop()).runs) == 2


@pytest.mark.fault("panel and explorers", "Stop before the run and after the run")
def test_stop_at_once_after_train_can_go_on_as_if_nothing_had_been():
    panel = TrainPanel(make_net, *load(32), num_epochs=2)
    panel.start().stop().stop().wait(20)
    assert panel.state == "stopped" and "Continue goes on to epoch 2. Train starts afresh" in panel._status.message
    panel.resume().wait(60)
    assert panel.history[-1] == train_whole(TrainPanel(make_net, *load(32), num_epochs=2)).history[-1]


def move_at_random(panel, draw):
    """Move one control to any value, at times beyond its end."""
    moves = {
        panel.lr: lambda: draw.choice([10 ** draw.uniform(-3, 0.5), 0, -1, 1e9, math.inf]),
        panel.num_epochs: lambda: draw.randint(-5, 40),
        panel.batch_size: lambda: draw.choice(panel.batch_size.options),
        panel.seed: lambda: draw.randint(-5, 99_999),
    }
    control = draw.choice(list(moves))
    control.value = moves[control]()


@pytest.mark.fault("panel and explorers", "sliders moved at random while training")
def test_a_run_survives_sliders_that_move_at_random(gate, gated):
    draw, optimizer_lrs = random.Random(0), []
    gated.start()
    for _ in range(25):
        for _ in range(8):
            move_at_random(gated, draw)
        go_through(gate, 1)
        optimizer_lrs.append(gated._runs[0]._optimizer.param_groups[0]["lr"])
    gate.permits.release(100_000)
    gated.wait(60)
    assert gated.state == "finished" and gated._alert.value == ""
    assert len(set(optimizer_lrs)) > 5 and all(LR_MIN <= lr <= LR_MAX for lr in optimizer_lrs)
    assert [row["epoch"] for row in gated.history if row["test_acc"] is not None] == [1, 2, 3]
    assert all(math.isfinite(row["loss"]) for row in gated.history)
    shown = gated._read_lr(), gated.num_epochs.value, gated.batch_size.value, gated.seed.value
    settings = "lr={:g}, num_epochs={}, batch_size={}, seed={}".format(*shown)
    assert train_whole(gated).runs[-1]["settings"] == settings


@pytest.mark.fault("panel and explorers", "sliders moved at random while training")
@pytest.mark.parametrize(
    "value, words", [(math.nan, "^the learning rate must be a number, for example 0.9; it is nan$"), ("fast", "float")]
)
def test_a_learning_rate_that_is_no_number_is_refused_and_the_old_one_stays(value, words, gate, gated):
    gated.start()
    go_through(gate, 2)
    with pytest.raises(TraitError, match=words):
        gated.lr.value = value
    gate.permits.release(100_000)
    gated.wait(60)
    assert gated.state == "finished" and gated.runs[0]["lrs"] == [(0, 0.9)]
    train_whole(gated)


@pytest.mark.fault("panel and explorers", "cell run again ten times")
def test_ten_runs_of_the_cell_leave_one_training(monkeypatch):
    panels = []
    for execution in range(10):
        monkeypatch.setattr(panel_module, "find_cell", lambda execution=execution: ("cell 4", execution))
        panels.append(TrainPanel(make_net, *load(32, 3200), num_epochs=30).start())
    *old, last = panels
    for panel in old:
        panel.wait(60)
    assert [panel.state for panel in old] == ["stopped"] * 9
    wait_for(lambda: last.state == "running" and last.history)
    assert count_trainings() == 1
    last.stop().wait(60)
    last.num_epochs.value = 1
    train_whole(last)


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_three_panels_train_one_after_the_other(gate, gated):
    others = [TrainPanel(make_net, *load(32), num_epochs=2, seed=seed) for seed in (1, 2)]
    gated.start()
    go_through(gate, 1)
    for panel in others:
        panel.start()
    go_through(gate, 5)
    for panel in others:
        assert panel.state == "waiting" and panel.history == []
        assert "This one starts when that one ends" in panel._status.message
    gate.permits.release(100_000)
    for panel in (gated, *others):
        panel.wait(60)
        alone = TrainPanel(make_net, *load(32), num_epochs=panel.num_epochs.value, seed=panel.seed.value)
        assert panel.state == "finished" and panel.history == train_whole(alone).history


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_of_three_panels_one_gives_up_its_place_and_one_fails_and_the_third_trains(gate, gated):
    class Broken(nn.Module):
        def forward(self, X):
            raise ValueError("this layer is broken")

    broken = TrainPanel(lambda: nn.Sequential(Broken(), make_net()), *load(32), num_epochs=1)
    leaving, patient = (TrainPanel(make_net, *load(32), num_epochs=1) for _ in range(2))
    gated.start()
    go_through(gate, 1)
    for panel in (broken, leaving, patient):
        panel.start()
    leaving.stop().wait(20)
    assert leaving.state == "stopped" and "Train starts afresh" in leaving._status.message
    gate.permits.release(100_000)
    with pytest.raises(ValueError, match="this layer is broken"):
        broken.wait(60)
    assert broken.state == "failed" and "Correct its cause" in broken._status.message
    patient.wait(60)
    assert patient.state == "finished"
    train_whole(leaving)


def raise_name_error():
    return make_nett()  # noqa: F821


NO_NETS = {
    "a slip of the pen": (raise_name_error, NameError, "make_nett"),
    "no return": (
        lambda: None,
        TypeError,
        r"^make_net\(\) must return a net, an nn.Module, and returned NoneType; does it end in `return`\?$",
    ),
    "the class itself": (lambda: nn.Sequential, TypeError, "returned type; does it end in `return`"),
    "nothing to learn": (
        nn.Flatten,
        ValueError,
        "^the net has no parameters, so there is nothing to train: give it a layer such as nn.Linear$",
    ),
    "an argument": (lambda width: nn.Linear(width, 10), TypeError, "width"),
    "impossible size": (lambda: nn.Linear(784, -1), RuntimeError, "negative"),
}


@pytest.mark.fault("panel and explorers", "exception in make_net")
@pytest.mark.parametrize("fault", NO_NETS)
def test_a_make_net_that_makes_none_is_told_and_the_next_attempt_works(fault):
    wrong, error, words = NO_NETS[fault]
    panel = TrainPanel(wrong, *load(32), num_epochs=1)
    state = torch.get_rng_state()
    panel._train_button.click()
    with pytest.raises(error, match=words):
        panel.wait(1)
    assert panel.state == "failed" and "run this cell again" in panel._status.message
    assert f"{error.__name__}: " in panel._alert.value and "Traceback" in panel._alert.value
    assert panel.runs == [] and torch.equal(torch.get_rng_state(), state)
    panel._make_net = make_net  # what running the cell again does
    train_whole(panel)


@pytest.mark.fault("panel and explorers", "exception in make_net")
def test_an_interrupt_in_make_net_leaves_the_panel_ready():
    def interrupt():
        raise KeyboardInterrupt

    panel = TrainPanel(interrupt, *load(32), num_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        panel.start()
    assert panel.state == "ready" and panel.runs == []
    panel._make_net = make_net
    train_whole(panel)


@pytest.mark.fault("panel and explorers", "exception in make_net")
def test_an_exception_in_make_net_does_not_harm_the_run_before_it():
    panel = train_whole(TrainPanel(make_net, *load(32), num_epochs=1))
    panel._make_net = raise_name_error
    with pytest.raises(NameError):
        panel.start().wait(1)
    assert len(panel.runs) == 1 and panel.runs[0]["end"] == "finished"
    panel.resume().wait(60)
    assert panel.state == "finished" and panel._alert.value == "" and panel.history[-1]["epoch"] == 2


@pytest.mark.fault("panel and explorers", "closing the page in training")
def test_a_training_answers_the_message_that_started_it_and_not_a_later_one():
    message, answered = ContextVar("message"), set()

    class Answer(nn.Module):
        def forward(self, X):
            answered.add(message.get(None))
            return X

    panel = TrainPanel(lambda: nn.Sequential(Answer(), make_net()), *load(32), num_epochs=1)
    message.set("Train in the first page")
    panel.start()
    message.set("hello from the second page")
    panel.wait(60)
    assert answered == {"Train in the first page"}
