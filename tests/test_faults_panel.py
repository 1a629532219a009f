"""What a learner may do to the train panel at the wrong moment: each has a message, and the next attempt works."""

import html
import math
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
import torch
from test_panel import Gate, go_through, load, make_net, on_the_cpu, wait_for  # noqa: F401
from torch import nn
from traitlets import TraitError

from lenet_helpers import cells, evaluate_accuracy_gpu, language
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
def test_stop_at_once_after_train_can_go_on_as_if_nothing_had_been(gate, gated):
    gated.start().stop().stop()
    gate.permits.release(100_000)
    gated.wait(20)
    assert gated.state == "stopped" and "Continue goes on to epoch 3. Train starts afresh" in gated._status.message
    gated.resume().wait(60)
    assert gated.history[-1] == train_whole(TrainPanel(make_net, *load(32), num_epochs=3)).history[-1]


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
        monkeypatch.setattr(cells, "find_cell", lambda execution=execution: ("cell 4", execution))
        panels.append(TrainPanel(make_net, *load(32, 3200), num_epochs=30).start())
    *old, last = panels
    for panel in old:
        panel.wait(60)
    assert [panel.state for panel in old] == ["stopped"] * 9
    wait_for(lambda: last.state == "running" and last.history)
    wait_for(lambda: count_trainings() == 1)  # the thread of a panel that has told its end is still to go
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
        r"^the net must be an nn\.Module, and is of type NoneType: call make_net\(\) with its brackets, "
        "and let it end in `return`$",
    ),
    "the class itself": (lambda: nn.Sequential, TypeError, r"is of type type: call make_net\(\) with its brackets"),
    "lazy layer": (lambda: nn.LazyLinear(10), ValueError, "has no weights yet"),
    "the end of the program": (lambda: sys.exit("no net"), SystemExit, "no net"),
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


class Unspeakable(Exception):
    def __str__(self):
        return 1 // 0


class Raise(nn.Module):
    """A layer that raises an error in training."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, X):
        raise self.error


ERRORS = {
    "end of the program": (SystemExit(), "SystemExit"),
    "no words": (Unspeakable(), "test_faults_panel.Unspeakable: <exception str() failed>"),
    "no words, from PyTorch": (type("Silent", (Unspeakable, RuntimeError), {})(), "Silent: <exception str() failed>"),
    "interrupt in the thread": (KeyboardInterrupt(), "KeyboardInterrupt"),
}


@pytest.mark.fault("panel and explorers", "an error that is no Exception, or has no words")
@pytest.mark.parametrize("kind", ERRORS)
def test_whatever_a_net_raises_the_panel_fails_and_trains_again(kind):
    error, told = ERRORS[kind]
    panel = TrainPanel(lambda: nn.Sequential(Raise(error), make_net()), *load(32), num_epochs=1).start()
    with pytest.raises(type(error)):
        panel.wait(20)
    assert panel.state == "failed" and not panel._train_button.disabled and panel._stop_button.disabled
    assert told in html.unescape(panel._alert.value) and "Where it happened" in panel._alert.value
    panel._make_net = make_net
    train_whole(panel)


@pytest.mark.fault("panel and explorers", "an error in drawing")
@pytest.mark.parametrize("method", ["_draw", "_bundle"])
def test_an_error_in_showing_the_end_is_told_and_the_finished_run_can_go_on(method, shown, monkeypatch):
    def break_at_the_end(*arguments, **options):
        if threading.current_thread().name == "TrainPanel" and panel._runs[-1].state == "finished":
            raise OSError("cannot be drawn")
        return draw(*arguments, **options)

    monkeypatch.setattr(panel_module, "display", shown.display)
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    panel._ipython_display_()
    draw = getattr(panel, method)
    with monkeypatch.context() as patch:
        patch.setattr(panel, method, break_at_the_end)
        with pytest.raises(OSError, match="cannot be drawn"):
            panel.start().wait(20)
    assert panel.state == "failed" and "cannot be drawn" in panel._alert.value
    assert not panel._train_button.disabled and panel.history[-1]["test_acc"] is not None
    panel.resume().wait(60)
    assert panel.state == "finished" and panel.history[-1]["epoch"] == 2
    train_whole(panel)


@pytest.mark.fault("panel and explorers", "no thread to be had, or an interrupt as one begins")
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
@pytest.mark.parametrize("button", ["start", "resume"])
def test_a_training_whose_thread_does_not_begin_leaves_the_panel_ready_for_the_next(button, error, monkeypatch):
    def refuse(thread):
        raise error

    panel = train_whole(TrainPanel(make_net, *load(32), num_epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(type(error)):
            getattr(panel, button)()
    assert panel.state == "failed" and not panel._train_button.disabled
    assert panel._continue_button.disabled == (button == "start")
    with pytest.raises(type(error)):
        panel.wait(1)
    if button == "resume":
        panel.resume().wait(60)
        assert panel.history[-1]["epoch"] == panel._runs[-1].num_epochs == 2
    train_whole(panel)


@pytest.mark.fault("panel and explorers", "the folder is deleted, or LENET_LANGUAGE changed, while training")
def test_a_training_needs_no_folder_and_speaks_the_language_of_its_panel(gate, gated, tmp_path, monkeypatch):
    monkeypatch.setattr(language, "_chosen", None)
    folder = tmp_path / "zh"
    folder.mkdir()
    monkeypatch.chdir(folder)
    panel = TrainPanel(lambda: nn.Sequential(gate, make_net()), *load(32), num_epochs=1).start()
    go_through(gate, 2)
    folder.rmdir()
    monkeypatch.setenv("LENET_LANGUAGE", "fr")
    gate.permits.release(100_000)
    panel.wait(60)
    assert panel.state == "finished" and "训练完成" in panel._status.message
    train_whole(panel)
    monkeypatch.chdir(tmp_path)


@pytest.mark.fault("panel and explorers", "Train clicked while the end of a run is being shown")
def test_wait_does_not_take_the_end_of_the_run_before_for_that_of_this_one(gate, monkeypatch):
    """The first thread is held up after the buttons are free again, and before it says that it has ended."""
    panel = TrainPanel(lambda: nn.Sequential(gate, make_net()), *load(32), num_epochs=1)
    entered, go_on = threading.Event(), threading.Event()
    enter = panel._enter

    def enter_and_hold_up(state):
        enter(state)
        if state == "finished":
            entered.set()

    def take_turn():
        TrainPanel._take_turn(panel)
        assert go_on.wait(20)

    with monkeypatch.context() as patch:
        patch.setattr(panel, "_enter", enter_and_hold_up)
        patch.setattr(panel, "_take_turn", take_turn)
        gate.permits.release(10)
        first = panel.start()._thread
        assert entered.wait(20)
    panel.start()
    go_on.set()
    first.join(20)
    with pytest.raises(TimeoutError):
        panel.wait(0.2)
    assert panel.state == "running" and panel._train_button.disabled and len(panel.runs) == 2
    gate.permits.release(100_000)
    panel.wait(60)
    assert panel.state == "finished"


@pytest.fixture
def spied(gate):
    """A panel of 3 × 10 mini-batches behind the gate, and the modes in which its net was trained and tested."""

    class Spy(nn.Module):
        def forward(self, X):
            if threading.current_thread().name == "TrainPanel":
                if self.training:
                    gate(X)
                modes.append(self.training)
            return X

    modes = []
    make = lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), Spy(), nn.Dropout(), nn.Linear(784, 10))  # noqa: E731
    return TrainPanel(make, *load(32), num_epochs=3), modes


ONE_EPOCH = [True] * 10 + [False] * 10  # as many mini-batches to train on as to test on


@pytest.mark.fault("panel and explorers", "the net is measured while it trains")
def test_measuring_the_net_while_it_trains_does_not_disturb_the_run(gate, spied):
    def batches():
        for X, y in load(32)[1]:
            go_through(gate, 2)
            yield X + 9, y

    panel, modes = spied
    panel.start()
    go_through(gate, 1)
    assert 0 <= evaluate_accuracy_gpu(panel.net, list(load(32)[1])) <= 1
    evaluate_accuracy_gpu(panel.net, batches())
    panel.net.eval()
    gate.permits.release(100_000)
    panel.wait(60)
    assert modes == 3 * ONE_EPOCH
    assert panel.net[1].num_batches_tracked == 30 and panel.net[1].running_mean.max() < 1


@pytest.mark.fault("panel and explorers", "the net is measured while it trains")
def test_a_net_put_into_evaluation_mode_at_a_stop_is_trained_on(gate, spied):
    panel, modes = spied
    panel.start()
    go_through(gate, 4)
    panel.stop()
    gate.permits.release(100_000)
    panel.wait(20)
    panel.net.eval()
    panel.resume().wait(60)
    assert modes == 3 * ONE_EPOCH and panel.state == "finished"
