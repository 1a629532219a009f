"""The train panel as a Python object: no browser, no kernel, a small random data set."""

import gc
import math
import os
import signal
import threading
import time
import weakref
from types import SimpleNamespace

import comm
import pytest
import torch
from nets import make_lenet
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lenet_helpers import panel as panel_module
from lenet_helpers import train_ch6
from lenet_helpers.data import FashionMNIST, batch_loader
from lenet_helpers.panel import Run, TrainPanel, is_guessing, load_anew, read_batch_size, tabulate


def load(batch_size, num_examples=320):
    """Return (train_iter, test_iter) over random images whose class can be learned."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 10, (num_examples,), generator=generator)
    images = torch.randint(0, 100, (num_examples, 28, 28), generator=generator, dtype=torch.uint8)
    images[torch.arange(num_examples), labels] = 255
    data = FashionMNIST(images, labels)
    return batch_loader(data, batch_size, shuffle=True), batch_loader(data, batch_size)


def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Sigmoid(), nn.Linear(16, 10))


class Gate(nn.Module):
    """A layer that lets the training pass one forward pass at a time, so that a test decides when it goes on."""

    def __init__(self):
        super().__init__()
        self.permits, self.passes = threading.Semaphore(0), 0
        self.reached = threading.Semaphore(0)

    def forward(self, X):
        if self.training:
            self.reached.release()
            assert self.permits.acquire(timeout=20), "the test left the training behind a closed gate"
            self.passes += 1
        return X


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(panel_module, "find_device", lambda: torch.device("cpu"))


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.permits.release(100_000)


@pytest.fixture
def gated(gate):
    """Return a panel that trains as far as the gate lets it; ten mini-batches an epoch."""
    return TrainPanel(lambda: nn.Sequential(gate, make_net()), *load(32), num_epochs=3)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen"
        time.sleep(0.005)


def go_through(gate, batches):
    """Let so many mini-batches pass, and return when the next one stands at the gate."""
    for _ in range(batches):
        assert gate.reached.acquire(timeout=20)
        gate.permits.release()
    wait_for(lambda: gate.reached._value > 0)


def test_a_run_finishes():
    panel = TrainPanel(make_net, *load(32), num_epochs=2)
    panel.start().wait(60)
    assert panel.state == "finished"
    assert [row["epoch"] for row in panel.history if row["test_acc"] is not None] == [1, 2]
    assert panel.history[-1].keys() == {"epoch", "loss", "train_acc", "test_acc"}
    assert panel._bar.value == 1
    assert "Finished" in panel._status.message
    assert not panel._train_button.disabled and panel._stop_button.disabled and not panel._continue_button.disabled
    assert isinstance(panel.net, nn.Sequential)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_settings_line_re_creates_the_run(seed):
    panel = TrainPanel(make_net, *load(32), lr=0.5, num_epochs=3, seed=seed)
    panel.batch_size.value = 64
    torch.manual_seed(99)
    panel.start()
    for _ in range(200):
        torch.rand(10)  # what other cells draw meanwhile changes nothing
    panel.wait(60)
    assert panel.runs[0]["settings"] == f"lr=0.5, num_epochs=3, batch_size=64, seed={seed}"
    settings = eval(f"dict({panel.runs[0]['settings']})")  # the line is Python, as a learner would paste it
    torch.manual_seed(settings["seed"])
    history = train_ch6(
        make_net(), *load(settings["batch_size"]), settings["num_epochs"], settings["lr"], torch.device("cpu")
    )
    ends, expected = ([row for row in rows if row["test_acc"] is not None] for rows in (panel.history, history))
    assert len(ends) == len(expected) == 3
    for row, same in zip(ends, expected, strict=True):
        assert row == pytest.approx(same, rel=1e-6)


def test_a_run_does_not_disturb_the_random_numbers_of_other_cells():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    panel = TrainPanel(make_net, *load(32), num_epochs=2).start()
    drawn = torch.rand(3)
    panel.wait(60)
    assert torch.equal(drawn, expected)
    torch.manual_seed(5)
    TrainPanel(make_net, *load(32), num_epochs=2).start().wait(60)
    assert torch.equal(torch.rand(3), expected)


def test_stop_and_continue_lead_to_the_same_net_as_one_go(gate, gated):
    gated.start()
    go_through(gate, 14)
    gated.stop()
    gate.permits.release()  # the batch at the gate
    gated.wait(20)
    assert gated.state == "stopped" and gate.passes == 15
    assert gated.history[-1]["epoch"] == 1.5
    assert "epoch 1.50" in gated._status.message and not gated._continue_button.disabled
    assert gated.net.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    torch.rand(7)
    gate.permits.release(1000)
    gated.resume().wait(60)
    assert gated.state == "finished" and gated.history[-1]["epoch"] == 3
    assert len(gated.runs) == 1
    whole = TrainPanel(make_net, *load(32), num_epochs=3)
    whole.start().wait(60)
    assert gated.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-6)


def test_stop_before_the_test_of_an_epoch_and_continue(gate, gated):
    gated.start()
    go_through(gate, 9)
    gated.stop()
    gate.permits.release()  # the last batch of the epoch: its test is still to come
    gated.wait(20)
    assert gated.state == "stopped" and gated.history[-1] | {"loss": 0, "train_acc": 0} == {
        "epoch": 1, "loss": 0, "train_acc": 0, "test_acc": None,
    }  # fmt: skip
    gate.permits.release(1000)
    gated.resume().wait(60)
    assert gated.state == "finished"
    assert [row["test_acc"] is not None for row in gated.history if row["epoch"] == 1] == [True]


def test_continue_after_the_end_adds_epochs_to_the_same_run():
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    panel.start().wait(60)
    net, optimizer = panel.net, panel._runs[0]._optimizer
    panel.num_epochs.value = 2
    panel.resume().wait(60)
    assert panel.net is net and panel._runs[0]._optimizer is optimizer
    assert panel.history[-1]["epoch"] == 3
    assert [run["settings"] for run in panel.runs] == ["lr=0.9, num_epochs=3, batch_size=32, seed=0"]
    whole = TrainPanel(make_net, *load(32), num_epochs=3)
    whole.start().wait(60)
    assert panel.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-6)


def test_continue_does_nothing_before_the_first_run():
    panel = TrainPanel(make_net, *load(32))
    assert panel._continue_button.disabled
    panel.resume().wait(1)
    assert panel.state == "ready"


def test_moving_a_control_trains_nothing():
    panel = TrainPanel(make_net, *load(32))
    panel.lr.value, panel.num_epochs.value, panel.batch_size.value, panel.seed.value = 0.1, 5, 64, 2
    assert panel.state == "ready" and panel._thread is None and panel.runs == []


@pytest.mark.fault("panel and explorers", "Train clicked 50 times")
def test_one_click_is_one_run(gate, gated):
    gated._train_button.click()
    thread = gated._thread
    gated._train_button.click()
    gated.start()
    assert gated._thread is thread
    gate.permits.release(1000)
    gated.wait(60)
    assert len(gated.runs) == 1
    gated._train_button.click()
    gated.wait(60)
    assert len(gated.runs) == 2


def test_lr_acts_from_the_next_batch(gate, gated):
    gated.start()
    go_through(gate, 4)
    group = gated._runs[0]._optimizer.param_groups[0]
    assert group["lr"] == 0.9
    gated.lr.value = 0.1
    go_through(gate, 1)
    assert group["lr"] == 0.1
    gate.permits.release(1000)
    gated.wait(60)
    run = gated.runs[0]
    assert run["settings"].startswith("lr=0.9→0.1,") and run["lrs"] == [(0, 0.9), (0.5, 0.1)]
    assert "does not re-create it" in gated._table.value


def test_what_is_trained_with_is_what_the_slider_shows():
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    panel.lr.value = 10**-0.8  # 0.158489…, where an arrow key leads to
    panel.start().wait(60)
    assert panel.runs[0]["settings"].startswith("lr=0.158,")
    assert panel._runs[0]._optimizer.param_groups[0]["lr"] == 0.158


@pytest.mark.parametrize("lr", [0.001, 0.00123, 0.05, 0.1, 0.9, 1, 3])
def test_the_lr_slider_can_show_the_value_it_is_given(lr):
    panel = TrainPanel(make_net, *load(32), lr=0.3)
    panel.lr.value = lr
    steps = math.log10(lr / 0.001) / panel.lr.step
    assert steps == pytest.approx(round(steps), abs=1e-5) and 0.02 < panel.lr.step < 0.1
    assert list(panel.lr.get_state({"value", "step"})) == ["step", "value"]  # else the page rounds to the old steps
    step = panel.lr.step
    panel.lr.value = 0.001 * 10 ** (3 * step)  # what an arrow key leads to keeps the step
    assert panel.lr.step == pytest.approx(step, abs=1e-8)


@pytest.mark.parametrize(("control", "value"), [("num_epochs", 1), ("batch_size", 64), ("seed", 4)])
def test_other_controls_act_from_the_next_run(gate, gated, control, value):
    gated.start()
    go_through(gate, 2)
    getattr(gated, control).value = value
    assert "next run" in gated._status.message
    gate.permits.release(10_000)
    gated.wait(60)
    gated.start().wait(60)
    before, after = gated.runs
    assert before["settings"] == "lr=0.9, num_epochs=3, batch_size=32, seed=0"
    assert f"{control}={value}" in after["settings"]


def test_the_time_left_is_told_while_it_trains_and_the_time_taken_afterwards(gate, gated, monkeypatch):
    clock = SimpleNamespace(perf_counter=lambda: 2.0 * gate.passes)  # each of the 30 mini-batches takes two seconds
    monkeypatch.setattr(panel_module, "time", clock)
    gated.start()
    go_through(gate, 15)
    assert "epoch 1.50 of 3" in gated._numbers.value and "30 s left" in gated._numbers.value
    gate.permits.release(1000)
    gated.wait(60)
    assert "60 s so far" in gated._numbers.value and "left" not in gated._numbers.value


def test_stop_ends_after_the_present_batch(gate, gated):
    gated.start()
    go_through(gate, 3)
    gated._stop_button.click()
    gate.permits.release(1000)
    gated.wait(20)
    assert gate.passes == 4
    assert gated.state == "stopped" and gated._train_button.disabled is False


def test_an_error_is_shown_and_raised():
    class Broken(nn.Module):
        def forward(self, X):
            raise ValueError("no <b>such</b> layer")

    panel = TrainPanel(lambda: nn.Sequential(Broken(), nn.Linear(1, 1)), *load(32))
    with pytest.raises(ValueError, match="such"):
        panel.start().wait(20)
    assert panel.state == "failed"
    assert 'role="alert"' in panel._alert.value
    assert "ValueError: no &lt;b&gt;such&lt;/b&gt; layer" in panel._alert.value and "<b>" not in panel._alert.value
    assert panel._stop_button.disabled and panel._continue_button.disabled and not panel._train_button.disabled


def test_an_error_of_make_net_is_shown_and_raised_and_the_next_run_works():
    panel = TrainPanel(lambda: nn.Linear("wide"), *load(32), num_epochs=1)
    with pytest.raises(TypeError):
        panel.start().wait(20)
    assert panel.state == "failed" and panel.runs == []
    panel._make_net = make_net
    panel.start().wait(60)
    assert panel.state == "finished" and panel._alert.value == ""


def test_a_loss_that_is_no_number_stops_and_keeps_the_history():
    class Explode(nn.Module):
        calls = 0

        def forward(self, X):
            self.calls += self.training
            return X * (float("nan") if self.calls > 15 else 1.0)

    panel = TrainPanel(lambda: nn.Sequential(make_net(), Explode()), *load(32), num_epochs=3)
    panel.start().wait(60)
    assert panel.state == "diverged"
    assert panel.history[-1]["epoch"] == 1.5 and "smaller" in panel._alert.value
    assert panel.runs[0]["end"].startswith("diverged at epoch 1.6") and panel._continue_button.disabled


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_a_second_panel_waits_its_turn(gate, gated):
    second = TrainPanel(make_net, *load(32), num_epochs=1)
    gated.start()
    go_through(gate, 1)
    second.start()
    assert second.state == "waiting" and "another panel" in second._status.message
    assert not second._stop_button.disabled and second.history == []
    with pytest.raises(TimeoutError, match="waiting"):
        second.wait(0.1)
    gate.permits.release(1000)
    second.wait(60)
    assert gated.state == "finished" and second.state == "finished"


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_a_waiting_panel_can_be_stopped(gate, gated):
    second = TrainPanel(make_net, *load(32), num_epochs=1)
    gated.start()
    go_through(gate, 1)
    second.start().stop().wait(20)
    assert second.state == "stopped" and second.history == [] and "Stopped at epoch 0" in second._status.message
    assert gated.state == "running"


@pytest.mark.fault("panel and explorers", "cell run again ten times")
def test_running_the_cell_again_stops_the_old_run(gate, monkeypatch):
    place = {"now": ("cell 4", "first")}
    monkeypatch.setattr(panel_module, "find_cell", lambda: place["now"])
    old = TrainPanel(lambda: nn.Sequential(gate, make_net()), *load(32))
    beside = TrainPanel(make_net, *load(32))  # a second panel of the same cell does not stop the first
    old.start()
    go_through(gate, 1)
    place["now"] = ("cell 5", "other")
    TrainPanel(make_net, *load(32))
    assert not old._stop.is_set() and not beside._stop.is_set()
    place["now"] = ("cell 4", "second")
    TrainPanel(make_net, *load(32))
    gate.permits.release(1000)
    old.wait(20)
    assert old.state == "stopped"


def test_a_panel_that_is_replaced_closes_its_widgets_and_keeps_its_results(monkeypatch):
    place = {"now": ("cell 4", "first")}
    monkeypatch.setattr(panel_module, "find_cell", lambda: place["now"])
    open_comms = comm.get_comm_manager().comms  # one for each widget, layout and style
    before = set(open_comms)
    old = TrainPanel(make_net, *load(32), num_epochs=1)
    old.start().wait(60)
    opened = set(open_comms) - before
    place["now"] = ("cell 4", "second")
    new = TrainPanel(make_net, *load(32), num_epochs=1)
    assert len(opened) > 20 and not opened & set(open_comms)
    assert old.state == "finished" and old.net is not None and len(old.runs) == 1
    old.start().wait(60)  # a name that still points to it can go on without the page
    assert len(old.runs) == 2
    new.start().wait(60)


def test_only_the_latest_run_holds_a_net():
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    panel.start().wait(60)
    first = weakref.ref(panel.net)
    panel.start().wait(60)
    gc.collect()
    assert first() is None and panel.net is not None
    assert len(panel.runs) == 2 and panel.runs[0]["last"] is not None


def test_finished_runs_stay_as_pale_curves_and_in_the_table():
    panel = TrainPanel(make_net, *load(32), num_epochs=2)
    panel.start().wait(60)
    assert panel._curves.value.count('class="past"') == 0
    panel.lr.value = 0.3
    panel.start().wait(60)
    assert panel._curves.value.count('class="past"') == 3
    assert [run["settings"][:6] for run in panel.runs] == ["lr=0.9", "lr=0.3"]
    for run in panel.runs:
        accuracies = [row["test_acc"] for row in run["history"] if row["test_acc"] is not None]
        assert run["best"] == max(accuracies) and run["last"] == accuracies[-1] and run["seconds"] > 0
        assert run["settings"] in panel._table.value


def test_a_run_stopped_before_an_epoch_ends_has_no_accuracy_yet(gate, gated):
    gated.start()
    go_through(gate, 1)
    gated.stop()
    gate.permits.release(1000)
    gated.wait(20)
    run = gated.runs[0]
    assert run["best"] is None and run["end"] == "stopped at epoch 0.20"
    assert "<td>–</td>" in tabulate(gated.runs)


def history_of(losses, per_epoch=10):
    empty = {"train_acc": 0.1, "test_acc": None}
    return [{"epoch": index / per_epoch, "loss": loss, **empty} for index, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.303] * 4, False),  # too early to tell
        ([2.31] * 10, True),
        ([2.303] * 10 + [2.2], False),  # it has taken off
        ([2.0] * 10 + [2.303] * 3, False),
        ([2.0] * 10 + [2.29] * 10, True),
        ([2.34] * 20, False),
    ],
)
def test_guessing_is_a_loss_that_stays_at_ln_10(losses, expected):
    assert is_guessing(history_of(losses)) is expected


def test_the_warning_comes_and_goes():
    panel = TrainPanel(make_net, *load(32), lr=0.1)
    panel._runs.append(Run(make_net, *load(32), 2, 0.1, 32, 0))
    panel._runs[0].history = history_of([2.303] * 10)
    panel._draw(seconds_left=1)
    assert "2.303 is ln 10" in panel._alert.value and "larger learning rate" in panel._alert.value
    panel._runs[0].history += history_of([1.9] * 11)[10:]
    panel._draw(seconds_left=1)
    assert panel._alert.value == ""


def test_a_real_net_that_guesses_is_warned_of(make_loaders):
    """LeNet with sigmoids at lr 0.1, on 2,560 images of Fashion-MNIST: ten mini-batches an epoch."""
    panel = TrainPanel(lambda: make_lenet(nn.Sigmoid), *make_loaders(256), lr=0.1, num_epochs=2)
    panel.start().wait(60)
    assert panel.state == "finished" and abs(panel.history[-1]["loss"] - math.log(10)) < 0.02
    assert "2.303 is ln 10" in panel._alert.value and "larger learning rate" in panel._alert.value


def test_an_interrupt_while_waiting_stops_the_training(gate, gated):
    """An interrupted join would take the thread for dead, and ipykernel would close the socket that it sends by."""
    gated.start()
    go_through(gate, 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            gated.wait(20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert gated._thread.is_alive()  # it stands at the gate
    gate.permits.release(1000)
    gated.wait(20)
    assert gated.state == "stopped"


def test_the_stored_output_has_a_picture_once_something_was_trained():
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    before = panel._bundle()
    panel.start().wait(60)
    after = panel._bundle()
    assert "image/png" not in before and "image/png" in after
    assert before["text/plain"] == after["text/plain"] == "TrainPanel: press Train"
    again = TrainPanel(make_net, *load(32), num_epochs=1)
    again.start().wait(60)
    assert again._bundle()["image/png"] == after["image/png"]


def plain_loaders(batch_size):
    data = TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
    return DataLoader(data, batch_size, shuffle=True), DataLoader(data, batch_size)


@pytest.mark.parametrize("make", [load, plain_loaders])
def test_a_loader_made_anew_gives_the_same_batches_from_a_stream_of_its_own(make):
    train_iter, test_iter = make(16)
    torch.manual_seed(7)
    expected = [y for _ in range(2) for loader in (train_iter, test_iter) for _, y in loader]
    stream = torch.Generator().manual_seed(7)
    anew = [load_anew(loader, 16, stream) for loader in (train_iter, test_iter)]
    got = [y for _ in range(2) for loader in anew for _, y in [*loader, (torch.rand(1), None)] if y is not None]
    assert len(got) == len(expected) and all(map(torch.equal, got, expected))
    assert read_batch_size(load_anew(train_iter, 32, stream)) == 32


def test_a_plain_data_loader_works_too():
    panel = TrainPanel(make_net, *plain_loaders(16), num_epochs=1)
    panel.start().wait(60)
    panel.batch_size.value = 32
    panel.start().wait(60)
    assert [run["settings"] for run in panel.runs] == [
        f"lr=0.9, num_epochs=1, batch_size={batch_size}, seed=0" for batch_size in (16, 32)
    ]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"make_net": make_net()}, TypeError, "function that returns a new net"),
        ({"make_net": 3}, TypeError, "function that returns a new net"),
        ({"train_iter": [1, 2]}, TypeError, "DataLoader"),
        ({"test_iter": None}, TypeError, "DataLoader"),
        ({"lr": 5}, ValueError, "between 0.001 and 3"),
        ({"lr": 0}, ValueError, "positive"),
        ({"lr": "fast"}, TypeError, "number"),
        ({"num_epochs": 31}, ValueError, "at most 30"),
        ({"num_epochs": 0}, ValueError, "at least 1"),
        ({"num_epochs": 1.5}, TypeError, "whole number"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 1.5}, ValueError, "seed"),
    ],
)
def test_bad_arguments_are_refused_in_words(change, error, words):
    train_iter, test_iter = load(32)
    arguments = {"make_net": make_net, "train_iter": train_iter, "test_iter": test_iter, **change}
    with pytest.raises(error, match=words):
        TrainPanel(**arguments)
