"""The train panel as a Python object: no browser, no kernel, a small random data set."""

import base64
import gc
import html
import math
import os
import re
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import comm
import pytest
import torch
from nets import make_lenet
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from lenet_helpers import cells, train_ch6
from lenet_helpers import panel as panel_module
from lenet_helpers.curves import draw_svg
from lenet_helpers.data import FashionMNIST, batch_loader
from lenet_helpers.panel import Run, TrainPanel, is_guessing, load_anew, read_batch_size, tabulate

END = {"epoch": 1, "loss": 0.8125, "train_acc": 0.625, "test_acc": 0.5}
MIDDLE = {"epoch": 1.5, "loss": 0.75, "train_acc": 0.6875, "test_acc": None}

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


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


def make_run(num_epochs=3, lr=0.9, batch_size=32, **changes):
    """Return a run that has not begun, but for the attributes given."""
    run = Run(make_net, *load(batch_size), num_epochs, lr, batch_size, 0)
    vars(run).update(changes)
    return run


def read(page):
    """Return the words of a piece of HTML."""
    return html.unescape(re.sub("<[^>]+>", "", page))


def read_table(page):
    """Return the caption of a table in HTML and the cells of each of its rows."""
    caption, *rows = page.split("<tr>")
    return read(caption), [read(re.sub("</t[hd]>", "|", row)).split("|")[:-1] for row in rows]


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
    loss, accuracy = f"{panel.history[-1]['loss']:.3f}", f"{panel.history[-1]['test_acc']:.3f}"
    assert panel._status.message == (
        f"Finished. Epoch 2 of 2: train loss {loss}, test accuracy {accuracy}. "
        "Continue adds epochs, as many as the slider says. Train starts afresh."
    )
    assert panel._curves.value == draw_svg(panel.history, 2)
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
    _, (_, row) = read_table(gated._table.value)
    assert row[1] == run["settings"] + " (lr was moved once: the line alone does not re-create it)"


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
    assert panel.lr.get_state().keys() > panel.lr.get_state(drop_defaults=True).keys() > {"min", "max"}
    step = TrainPanel(make_net, *load(32), lr=lr).lr.step
    assert step == panel.lr.step
    panel.lr.value = 0.001 * 10 ** (3 * step)  # what an arrow key leads to keeps the step
    assert panel.lr.step == pytest.approx(step, abs=1e-8)


def test_the_slider_tells_the_page_a_value_and_its_step_at_once(monkeypatch):
    panel, sent = TrainPanel(make_net, *load(32), lr=0.3), []
    monkeypatch.setattr(panel.lr, "send_state", lambda key: sent.append(set(key)))
    panel.lr.value = 0.1
    panel.lr.value = 0.001 * 10 ** (3 * panel.lr.step)  # where an arrow key leads to: a step would stop the hand
    assert sent == [{"value", "step"}, {"value"}]
    panel.lr.disabled = True
    assert panel.lr.disabled and len(sent) == 3 and not panel.lr.continuous_update


@pytest.mark.parametrize(
    ("control", "value", "name"), [("num_epochs", 1, "Epochs"), ("batch_size", 64, "Batch size"), ("seed", 4, "Seed")]
)
def test_other_controls_act_from_the_next_run(gate, gated, control, value, name):
    gated.start()
    go_through(gate, 2)
    getattr(gated, control).value = value
    assert gated._status.message == (
        f"{name}: the new value acts from the next run on. Only the learning rate acts at once."
    )
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
    assert re.match("epoch 1.50 of 3 · .* · 30 s left$", read(gated._numbers.value))
    assert gated._status.message == f"Training. {gated._runs[0].tell()}" and gated._bar.value == 0.5
    assert gated._curves.value == draw_svg(gated._runs[0].live_history(), 3) and gated._table.value == ""
    gated.stop()
    gate.permits.release()
    gated.wait(20)
    assert re.match("epoch 1.60 of 3 · .* · 32 s so far$", read(gated._numbers.value))
    assert gate.reached.acquire(timeout=20)  # of the batch that was the last
    gated._continue_button.click()
    go_through(gate, 4)
    assert re.match("epoch 2.00 of 3 · .* · 20 s left$", read(gated._numbers.value))
    gate.permits.release(1000)
    gated.wait(60)
    assert re.match("epoch 3.00 of 3 · .* · 60 s so far$", read(gated._numbers.value))
    assert gated.runs[0]["seconds"] == 60 and gated._bar.value == 1


@pytest.mark.parametrize(
    ("batch_seconds", "draw_seconds", "epochs"),
    [
        (1, 0, [0, *(batch / 10 for batch in range(1, 11)), 1]),
        (1 / 32, 0, [0, 0.1, 0.5, 0.9, 1]),  # ten redraws a second
        (1 / 8, 1 / 128, [0, 0.1, 0.5, 0.9, 1]),  # a fiftieth of the time
    ],
)
def test_redraws_take_little_of_the_time(batch_seconds, draw_seconds, epochs, monkeypatch):
    clock, drawn = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(panel_module, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    class Slow(nn.Module):
        def forward(self, X):
            clock.now += batch_seconds * self.training
            return X

    def draw(seconds_left=None):
        drawn.append(panel._runs[-1].epoch)
        clock.now += draw_seconds

    panel = TrainPanel(lambda: nn.Sequential(Slow(), make_net()), *load(32), num_epochs=1)
    monkeypatch.setattr(panel, "_draw", draw)
    panel.start().wait(60)
    assert drawn == epochs


def test_a_panel_is_busy_before_its_thread_has_begun(monkeypatch):
    panel = TrainPanel(make_net, *load(32))
    monkeypatch.setattr(panel, "_take_turn", lambda: None)
    panel.start().wait(20)
    assert panel.state == "running" and panel._train_button.disabled


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
    assert panel.state == "failed" and panel.runs[0]["end"] == "failed at epoch 0.00"
    assert 'role="alert"' in panel._alert.value and "<b>" not in panel._alert.value
    told, trace = read(panel._alert.value).split("Where it happened")
    assert told == "ValueError: no <b>such</b> layer"
    assert trace.startswith("Traceback (most recent call last):\n  File ") and trace.endswith(f"\n{told}\n")
    assert panel._status.message == (
        "The training failed: the error stands below. Correct its cause, then run this cell again."
    )


def test_an_error_of_pytorch_is_shown_with_its_cure():
    panel = TrainPanel(lambda: nn.Linear(5, 10), *load(32))
    with pytest.raises(RuntimeError) as caught:
        panel.start().wait(20)
    told, _ = read(panel._alert.value).split("Where it happened")
    assert told == f"RuntimeError: {caught.value} {caught.value.__notes__[0]}"


def test_an_error_of_make_net_is_shown_and_raised_and_the_next_run_works():
    panel = TrainPanel(lambda: nn.Linear("wide"), *load(32), num_epochs=1)
    with pytest.raises(TypeError):
        panel.start().wait(20)
    assert panel.state == "failed" and panel.runs == []
    alerts = []
    panel._make_net = lambda: alerts.append(panel._alert.value) or make_net()
    panel.start().wait(60)
    assert panel.state == "finished" and panel._alert.value == "" and alerts == [""]


@pytest.mark.fault("panel and explorers", "NaN loss in a panel")
def test_a_loss_that_is_no_number_stops_and_keeps_the_history():
    class Explode(nn.Module):
        calls = 0

        def forward(self, X):
            self.calls += self.training
            return X * (float("nan") if self.calls > 15 else 1.0)

    panel = TrainPanel(lambda: nn.Sequential(make_net(), Explode()), *load(32), num_epochs=3)
    panel.start().wait(60)
    assert panel.state == "diverged"
    assert panel.history[-1]["epoch"] == 1.5 and panel.runs[0]["end"] == "diverged at epoch 1.60"
    assert read(panel._alert.value) == (
        "Stopped: the loss is nan at epoch 1.60: the weights grew without bound; try a smaller learning rate."
    )
    assert panel._status.message == (
        "Stopped, because the loss is no longer a number. Choose a smaller learning rate and press Train."
    )
    _, (_, row) = read_table(panel._table.value)
    assert row[2] == "diverged at epoch 1.60"
    panel._make_net = make_net  # what a smaller learning rate does
    panel.start().wait(60)
    assert panel.state == "finished" and panel._alert.value == "" and panel._bar.bar_style == "success"
    assert [run["end"] for run in panel.runs] == ["diverged at epoch 1.60", "finished"]


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_a_second_panel_waits_its_turn(gate, gated):
    second = TrainPanel(make_net, *load(32), num_epochs=1)
    gated.start()
    go_through(gate, 1)
    second.start()
    assert second.state == "waiting" and second.history == [] and second._thread.daemon
    assert second._numbers.value == "" and second._bar.value == 0
    assert second._status.message == (
        "Waiting: another panel is training. This one starts when that one ends. Stop gives up the place."
    )
    with pytest.raises(TimeoutError, match=r"^the panel is still waiting after 0\.1 seconds: wait longer or stop it$"):
        second.wait(0.1)
    gate.permits.release(1000)
    for panel in (gated, second):  # the second may begin, and end, before the first has told its end
        panel.wait(60)
        assert panel.state == "finished"


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_a_waiting_panel_can_be_stopped(gate, gated):
    second = TrainPanel(make_net, *load(32), num_epochs=1)
    gated.start()
    go_through(gate, 1)
    second.start().stop().wait(20)
    assert second.state == "stopped" and second.history == []
    assert second._status.message == "Stopped at epoch 0.00. Continue goes on to epoch 1. Train starts afresh."
    assert gated.state == "running"


@pytest.mark.fault("panel and explorers", "cell run again ten times")
def test_running_the_cell_again_stops_the_old_run(gate, monkeypatch):
    place = {"now": ("cell 4", "first")}
    monkeypatch.setattr(cells, "find_cell", lambda: place["now"])
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
    monkeypatch.setattr(cells, "find_cell", lambda: place["now"])
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
    first, images = weakref.ref(panel.net), weakref.ref(panel._runs[0]._loaders[0])
    panel.start().wait(60)
    gc.collect()
    assert first() is None and images() is None and panel.net is not None
    assert len(panel.runs) == 2 and panel.runs[0]["last"] is not None


def test_finished_runs_stay_as_pale_curves_and_in_the_table():
    panel = TrainPanel(make_net, *load(32), num_epochs=2)
    panel.start().wait(60)
    assert panel._curves.value.count('class="past"') == 0
    panel.lr.value = 0.3
    panel.start().wait(60)
    assert panel._curves.value.count('class="past"') == 3
    assert [run["settings"][:6] for run in panel.runs] == ["lr=0.9", "lr=0.3"]
    _, (_, *rows) = read_table(panel._table.value)
    for run, row in zip(panel.runs, rows, strict=True):
        accuracies = [end["test_acc"] for end in run["history"] if end["test_acc"] is not None]
        assert run["best"] == max(accuracies) and run["last"] == accuracies[-1] and run["seconds"] > 0
        assert row[1:5] == [run["settings"], "finished", f"{run['best']:.3f}", f"{run['last']:.3f}"]
    assert panel._curves.value == draw_svg(panel.history, 2, [panel.runs[0]["history"]])


def test_eight_earlier_runs_are_drawn_each_with_a_hundred_points_or_so():
    panel = TrainPanel(make_net, *load(32))
    panel._runs = [make_run(history=[{**END, "epoch": number}]) for number in range(10)]
    assert panel._past() == [[{**END, "epoch": number}] for number in range(1, 9)]
    long = [MIDDLE] * 250
    long[100] = END
    for length, count in ((99, 99), (100, 50), (250, 85)):
        panel._runs[-2].history = long[:length]
        assert len(panel._past()[-1]) == count
    assert panel._past()[-1].count(END) == 1


def test_a_run_stopped_before_an_epoch_ends_has_no_accuracy_yet(gate, gated):
    gated.start()
    go_through(gate, 1)
    gated.stop()
    gate.permits.release(1000)
    gated.wait(20)
    run = gated.runs[0]
    assert run["best"] is None and run["last"] is None and run["end"] == "stopped at epoch 0.20"
    _, (_, row) = read_table(gated._table.value)
    assert row[:-1] == ["1", run["settings"], "stopped at epoch 0.20", "–", "–"]


def test_a_run_is_described_with_the_settings_that_re_create_it():
    run = make_run(history=[END, MIDDLE, {**END, "epoch": 2, "test_acc": 0.25}, MIDDLE], epoch=2.5, seconds=4.0)
    for state, end in (("stopped", "stopped at epoch 2.50"), ("finished", "finished")):
        run.state = state
        assert run.describe() == {
            "settings": "lr=0.9, num_epochs=3, batch_size=32, seed=0",
            "lrs": [(0, 0.9)],
            "end": end,
            "best": 0.5,
            "last": 0.25,
            "seconds": 4.0,
            "history": run.history,
        }
    for rates, told in (([1, 0.1, 0.5, 3], "1→0.1→0.5→3"), ([1, 0.1, 0.5, 3, 0.25], "1→0.25")):
        run.lrs = list(enumerate(rates))
        assert run.describe()["settings"] == f"lr={told}, num_epochs=3, batch_size=32, seed=0"


def test_the_table_tells_of_each_run_how_it_ended_and_what_it_reached():
    runs = [
        make_run(history=[END, {**END, "test_acc": 0.25}], state="finished", seconds=89.4),
        make_run(lr=0.1, history=[MIDDLE], epoch=1.5, state="stopped", seconds=90, lrs=[(0, 1), (1, 2)]),
        make_run(batch_size=64, epoch=0.25, state="failed", lrs=[(0, 1), (1, 2), (2, 3)]),
        make_run(num_epochs=5, epoch=2, state="diverged", seconds=600),
    ]
    caption, rows = read_table(tabulate([run.describe() for run in runs]))
    assert caption == "Runs, with the best and the last test accuracy"
    once, twice = (f" (lr was moved {count}: the line alone does not re-create it)" for count in ("once", "2 times"))
    assert rows == [
        ["run", "settings", "end", "best", "last", "time"],
        ["1", "lr=0.9, num_epochs=3, batch_size=32, seed=0", "finished", "0.500", "0.250", "89 s"],
        ["2", f"lr=1→2, num_epochs=3, batch_size=32, seed=0{once}", "stopped at epoch 1.50", "–", "–", "1.5 min"],
        ["3", f"lr=1→2→3, num_epochs=3, batch_size=64, seed=0{twice}", "failed at epoch 0.25", "–", "–", "0 s"],
        ["4", "lr=0.9, num_epochs=5, batch_size=32, seed=0", "diverged at epoch 2.00", "–", "–", "10.0 min"],
    ]


@pytest.mark.parametrize(
    ("rows", "seconds_left", "accuracy", "seconds"),
    [
        ([MIDDLE], 30.4, "–", "30 s left"),
        ([{**END, "test_acc": 0.25}, END, MIDDLE], 0, "0.500", "0 s left"),
        ([END, MIDDLE], None, "0.500", "12 s so far"),
    ],
)
def test_the_numbers_are_the_latest(rows, seconds_left, accuracy, seconds):
    run = make_run(lr=0.123, seconds=12.3)
    assert read(panel_module.tell_numbers(run, rows, seconds_left)) == (
        f"epoch 1.50 of 3 · lr 0.123 · loss 0.750 · train acc 0.688 · test acc {accuracy} · {seconds}"
    )


def test_what_the_latest_whole_epoch_has_reached_is_told():
    assert make_run(history=[MIDDLE]).tell() == "No epoch is complete yet."
    run = make_run(history=[{**END, "loss": 2}, {**END, "epoch": 2.0}, MIDDLE])
    assert run.tell() == "Epoch 2 of 3: train loss 0.812, test accuracy 0.500."


@pytest.mark.parametrize(
    ("state", "enabled", "colour", "told"),
    [
        ("ready", "Train", "", "Ready. Choose the settings and press Train."),
        ("waiting", "Stop", "", "Waiting: "),
        ("running", "Stop", "", "Training."),
        ("stopped", "Train Continue", "warning", "Stopped at epoch 1.50. Continue goes on to epoch 3."),
        ("finished", "Train Continue", "success", "Finished. No epoch is complete yet. Continue adds epochs"),
        ("diverged", "Train", "danger", "Stopped, because the loss"),
        ("failed", "Train", "danger", "The training failed: "),
    ],
)
def test_each_state_says_what_to_do_next_and_enables_it(state, enabled, colour, told):
    panel = TrainPanel(make_net, *load(32))
    if state != "ready":
        panel._runs.append(make_run(epoch=1.5, state=state))
    panel._enter(state)
    buttons = panel._train_button, panel._stop_button, panel._continue_button
    assert " ".join(button.description for button in buttons if not button.disabled) == enabled
    assert panel.state == state and panel._bar.bar_style == colour
    assert panel._status.running is (enabled == "Stop") and panel._status.message.startswith(told)
    panel.seed.value = 4
    assert panel._status.message.startswith("Seed: the new value" if enabled == "Stop" else told)


@pytest.mark.parametrize(
    ("batch_size", "given", "shown"),
    [
        (32, {}, (0.9, 10, 32, 0)),
        (20, {"lr": 0.001, "num_epochs": 1, "seed": 9999}, (0.001, 1, 20, 9999)),
        (2048, {"lr": 3.0, "num_epochs": 30, "seed": 0}, (3.0, 30, 2048, 0)),
    ],
)
def test_the_controls_begin_with_the_settings_given(batch_size, given, shown):
    panel = TrainPanel(make_net, *load(batch_size), **given)
    controls = panel.lr, panel.num_epochs, panel.batch_size, panel.seed
    assert tuple(control.value for control in controls) == shown
    assert [control.description for control in controls] == ["learning rate", "epochs", "batch size", "seed"]
    assert (panel.lr.base, panel.lr.min, panel.lr.max) == (10, -3, math.log10(3))
    assert (panel.num_epochs.min, panel.num_epochs.max, panel.seed.min, panel.seed.max) == (1, 30, 0, 9999)
    assert panel.batch_size.options == tuple(sorted({32, 64, 128, 256, 512, 1024, batch_size}))
    assert panel._curves.value == draw_svg([], shown[1]) and panel._table.value == panel._alert.value == ""


def test_the_page_finds_every_part_of_the_panel():
    panel = TrainPanel(make_net, *load(32))
    (left, curves), table = panel._view.children[0].children, panel._view.children[1]
    controls, *below = left.children
    *settings, buttons, bar = controls.children
    assert settings == [panel.lr, panel.num_epochs, panel.batch_size, panel.seed]
    assert [button.description for button in buttons.children] == ["Train", "Stop", "Continue"]
    assert below == [panel._numbers, panel._status, panel._alert] and bar is panel._bar
    assert curves is panel._curves and table is panel._table and (bar.min, bar.max, bar.value) == (0, 1, 0)
    assert controls._dom_classes == ("lenet-controls",) and panel._view._dom_classes == ("lenet-panel",)


def test_the_kernel_answers_the_page_that_asks_for_it(monkeypatch):
    status, sent = TrainPanel(make_net, *load(32))._status, []
    monkeypatch.setattr(status, "send", sent.append)
    status._handle_custom_msg("are you there?", [])
    assert sent == ["here"]


@pytest.mark.parametrize(
    ("batch_size", "epochs"),
    [
        (64, [0.2, 0.4, 0.6, 0.8, 1]),
        (32, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (13, [0.08, 0.16, 0.24, 0.32, 0.4, 0.48, 0.56, 0.64, 0.72, 0.8, 0.88, 0.96, 1]),
        (8, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
    ],
)
def test_an_epoch_leaves_ten_rows_or_so_at_fixed_batches(batch_size, epochs):
    run = make_run(num_epochs=2, batch_size=batch_size)
    assert run.live_history() == [] and not run.at_epoch_end()
    while run.advance():
        assert run.live_history()[-1]["epoch"] == run.epoch
    assert [row["epoch"] for row in run.history] == pytest.approx([*epochs, *(1 + epoch for epoch in epochs)])
    assert [row["epoch"] for row in run.history if row["test_acc"] is not None] == [1, 2]


def test_the_net_is_on_the_device_that_was_found(monkeypatch):
    steps = []
    monkeypatch.setattr(panel_module, "find_device", lambda: torch.device("meta"))
    monkeypatch.setattr(panel_module, "train_steps", lambda *arguments: steps.append(arguments))
    run = Run(lambda: make_lenet(nn.Sigmoid), *load(32), 3, 0.9, 64, 0)
    ((net, train_iter, test_iter, num_epochs, optimizer, device),) = steps
    assert net is run.net and {parameter.device.type for parameter in net.parameters()} == {"meta"}
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert (read_batch_size(train_iter), read_batch_size(test_iter), num_epochs) == (64, 32, 3)
    assert optimizer.param_groups[0]["lr"] == 0.9 and device == torch.device("meta")


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
        ([], False),
        ([2.303] * 8, False),
        ([2.303] * 9, True),
        ([2.0] * 4 + [2.303] * 5, True),  # the first half epoch does not count
        ([2.0] * 5 + [2.303] * 5, False),
        ([2.0] * 10 + [2.303] * 5, False),  # nor does what is longer ago than half an epoch
        ([2.0] * 10 + [2.303] * 6, True),
        ([2.303] * 10 + [2.28], False),
    ],
)
def test_guessing_is_a_loss_that_stays_at_ln_10(losses, expected):
    assert is_guessing(history_of(losses)) is expected


@pytest.mark.parametrize(
    ("lr", "cure"),
    [
        (0.49, "You can also try a larger learning rate, for example 0.9, or a smaller batch size."),
        (0.5, "You can also try another seed, or a learning rate from 0.5 to 1, or a smaller batch size."),
    ],
)
def test_what_helps_a_net_that_guesses_depends_on_the_learning_rate(lr, cure):
    assert panel_module.advise(lr) == (
        "The net is guessing: 2.303 is ln 10, the loss of ten equal chances. "
        f"It may take off after some more epochs. {cure}"
    )


def test_the_warning_comes_and_goes():
    panel = TrainPanel(make_net, *load(32), lr=0.1)
    panel._runs.append(Run(make_net, *load(32), 2, 0.1, 32, 0))
    panel._runs[0].history = history_of([2.303] * 10)
    panel._draw(seconds_left=1)
    assert read(panel._alert.value) == panel_module.advise(0.1)
    for state, shown in (
        ("stopped", panel_module.advise(0.1)),
        ("finished", panel_module.advise(0.1)),
        ("diverged", "an error"),
        ("failed", "an error"),
    ):
        panel._runs[0].state = state
        panel._show_alert("an error")
        panel._draw()
        assert read(panel._alert.value) == shown
    panel._runs[0].state = "running"
    panel._runs[0].history += history_of([1.9] * 11)[10:]
    panel._draw(seconds_left=1)
    assert panel._alert.value == ""


def test_a_real_net_that_guesses_is_warned_of(make_loaders):
    """LeNet with sigmoids at lr 0.1, on 2,560 images of Fashion-MNIST: ten mini-batches an epoch."""
    panel = TrainPanel(lambda: make_lenet(nn.Sigmoid), *make_loaders(256), lr=0.1, num_epochs=2)
    panel.start().wait(60)
    assert panel.state == "finished" and abs(panel.history[-1]["loss"] - math.log(10)) < 0.02
    assert "2.303 is ln 10" in panel._alert.value and "larger learning rate" in panel._alert.value


def test_an_interrupt_while_waiting_stops_the_training(gate, gated, monkeypatch):
    """An interrupted join would take the thread for dead, and ipykernel would close the socket that it sends by."""
    gated.start()
    go_through(gate, 1)
    wait = gated._ended.wait

    def wait_and_be_interrupted(timeout):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return wait(timeout)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(gated._ended, "wait", wait_and_be_interrupted)
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
    assert before == {
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": panel._view.model_id,
        },
        "text/plain": "TrainPanel: press Train",
    }
    panel.start().wait(60)
    picture = panel._bundle()["image/png"]
    assert panel._bundle() == before | {"image/png": picture} and base64.b64decode(picture).startswith(b"\x89PNG")
    again = TrainPanel(make_net, *load(32), num_epochs=1, seed=1)
    again.start().wait(60)
    again.seed.value = 0
    again.start().wait(60)
    assert again.history == panel.history
    assert again._bundle()["image/png"] != picture, "the earlier run is behind"
    again._runs.pop(0)
    assert again._bundle()["image/png"] == picture


def test_the_stored_output_is_renewed_when_a_run_ends_until_the_cell_runs_again(shown, monkeypatch):
    monkeypatch.setattr(panel_module, "display", shown.display)
    panel = TrainPanel(make_net, *load(32), num_epochs=1)
    for _ in range(2):
        panel._ipython_display_()
    before = panel._bundle()
    panel.start().wait(60)
    for handle in shown.handles:
        assert handle.options == {"raw": True, "display_id": True} and handle.bundles == [before, panel._bundle()]
    panel._retire()
    panel.start().wait(60)
    panel._thread.join(20)
    assert [len(handle.bundles) for handle in shown.handles] == [2, 2]


@pytest.fixture
def kernel(monkeypatch):
    """A stand-in for the kernel of a notebook, with what it is told to do before each cell."""
    kernel = SimpleNamespace(saved_sigint_handler=None, before_cell={})
    events = SimpleNamespace(register=kernel.before_cell.__setitem__)
    shell = SimpleNamespace(kernel=kernel, events=events, get_parent=lambda: {})
    monkeypatch.setattr(panel_module, "get_ipython", lambda: shell)
    handler = signal.getsignal(signal.SIGINT)
    yield kernel
    signal.signal(signal.SIGINT, handler)


def test_an_interrupt_stops_every_panel_in_a_cell_and_between_cells(kernel):
    panels = [TrainPanel(make_net, *load(32)) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert all(panel._stop.is_set() for panel in panels)
    for panel in panels:
        panel._stop.clear()
    kernel.saved_sigint_handler(signal.SIGINT, None)
    assert all(panel._stop.is_set() for panel in panels)
    signal.signal(signal.SIGINT, kernel.saved_sigint_handler)  # as ipykernel does after the cell
    kernel.before_cell["pre_run_cell"](None)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_interrupts_are_left_to_a_kernel_that_runs_cells_in_another_thread(kernel):
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(TrainPanel, make_net, *load(32)).result()
        assert kernel.before_cell == {} and kernel.saved_sigint_handler is None
        TrainPanel(make_net, *load(32))
        signal.signal(signal.SIGINT, before)
        pool.submit(kernel.before_cell["pre_run_cell"], None).result()
    assert signal.getsignal(signal.SIGINT) is before
    del kernel.saved_sigint_handler  # another kernel than ipykernel
    TrainPanel(make_net, *load(32))
    assert not hasattr(kernel, "saved_sigint_handler")


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"metadata": {"cellId": "4"}, "content": {"code": "panel"}, "header": {"msg_id": "a"}}, ("4", "a")),
        ({"metadata": {}, "content": {"code": "panel"}, "header": {"msg_id": "b"}}, ("panel", "b")),
        ({}, (None, None)),
    ],
)
def test_a_cell_is_known_by_its_id_or_else_by_its_code(request_, found, monkeypatch):
    shell = SimpleNamespace(kernel=object(), get_parent=lambda: request_)
    monkeypatch.setattr(cells, "get_ipython", lambda: shell)
    assert cells.find_cell() == found
    for outside in (None, SimpleNamespace(kernel=None), SimpleNamespace()):
        monkeypatch.setattr(cells, "get_ipython", lambda outside=outside: outside)
        assert cells.find_cell() == (None, None)


def plain_loaders(batch_size):
    data = TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
    return DataLoader(data, batch_size, shuffle=True), DataLoader(data, batch_size)


@pytest.mark.parametrize("make", [load, plain_loaders])
def test_a_loader_made_anew_gives_the_same_batches_from_a_stream_of_its_own(make):
    train_iter, test_iter = make(20)  # the last mini-batch is a smaller one
    torch.manual_seed(7)
    expected = [y for _ in range(2) for loader in (train_iter, test_iter) for _, y in loader]
    stream = torch.Generator().manual_seed(7)
    anew = [load_anew(loader, 20, stream) for loader in (train_iter, test_iter)]
    got = [y for _ in range(2) for loader in anew for _, y in [*loader, (torch.rand(1), None)] if y is not None]
    assert len(got) == len(expected) and all(map(torch.equal, got, expected))
    assert read_batch_size(load_anew(train_iter, 32, stream)) == 32


def test_a_plain_loader_made_anew_collates_as_before_with_as_many_workers():
    data = TensorDataset(torch.rand(8, 1, 28, 28), torch.arange(8))
    loader = DataLoader(data, 4, collate_fn=len, num_workers=2)
    anew = load_anew(loader, 3, torch.Generator())
    assert (anew.collate_fn, anew.num_workers, anew.dataset, anew.batch_size) == (len, 2, data, 3)
    assert isinstance(anew.sampler, SequentialSampler) and not anew.drop_last


@pytest.mark.parametrize("in_batches", [True, False])
def test_a_loader_made_anew_drops_the_last_mini_batch_as_before_but_never_the_only_one(in_batches):
    data = TensorDataset(torch.rand(8, 1, 28, 28), torch.arange(8))
    batches = BatchSampler(SequentialSampler(data), 3, drop_last=True)
    how = {"sampler": batches, "batch_size": None} if in_batches else {"batch_size": 3, "drop_last": True}
    loader = DataLoader(data, **how)
    sizes = [[len(y) for _, y in load_anew(loader, size, torch.Generator())] for size in (3, 5, 8, 32)]
    assert sizes == [[3, 3], [5], [8], [8]] and len(loader) == 2


def test_a_plain_data_loader_works_too():
    panel = TrainPanel(make_net, *plain_loaders(16), num_epochs=1)
    panel.start().wait(60)
    panel.batch_size.value = 32
    panel.start().wait(60)
    assert [run["settings"] for run in panel.runs] == [
        f"lr=0.9, num_epochs=1, batch_size={batch_size}, seed=0" for batch_size in (16, 32)
    ]


NO_BATCHES = DataLoader(TensorDataset(torch.rand(4, 1, 28, 28), torch.arange(4)), batch_size=None)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"make_net": make_net()},
            TypeError,
            "make_net must be a function that returns a new net, for example lambda: nn.Sequential(...); "
            "it is Sequential. Every run needs a net that has learned nothing yet",
        ),
        (
            {"make_net": 3},
            TypeError,
            "make_net must be a function that returns a new net, for example lambda: nn.Sequential(...); "
            "it is int. Every run needs a net that has learned nothing yet",
        ),
        (
            {"train_iter": [1, 2]},
            TypeError,
            "train_iter and test_iter must be DataLoaders, as load_data_fashion_mnist returns them; "
            "one is of type list",
        ),
        (
            {"test_iter": None},
            TypeError,
            "train_iter and test_iter must be DataLoaders, as load_data_fashion_mnist returns them; "
            "one is of type NoneType",
        ),
        (
            {"test_iter": NO_BATCHES},
            ValueError,
            "a DataLoader has no batch_size; make it with load_data_fashion_mnist(batch_size)",
        ),
        ({"lr": 3.01}, ValueError, "lr must be between 0.001 and 3, the ends of the slider; it is 3.01"),
        ({"lr": 0.0009}, ValueError, "lr must be between 0.001 and 3, the ends of the slider; it is 0.0009"),
        ({"lr": 0}, ValueError, "lr, the learning rate, must be positive and finite, for example 0.9; it is 0"),
        ({"lr": "fast"}, TypeError, "lr, the learning rate, must be a number, for example 0.9; it is 'fast'"),
        ({"num_epochs": 31}, ValueError, "num_epochs must be at most 30, the end of the slider; it is 31"),
        ({"num_epochs": 0}, ValueError, "num_epochs must be at least 1; it is 0"),
        ({"num_epochs": 1.5}, TypeError, "num_epochs must be a whole number, for example 10; it is 1.5"),
        ({"seed": -1}, ValueError, "seed must be a whole number from 0 to 9999; it is -1"),
        ({"seed": 10_000}, ValueError, "seed must be a whole number from 0 to 9999; it is 10000"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number from 0 to 9999; it is 1.5"),
        ({"seed": True}, ValueError, "seed must be a whole number from 0 to 9999; it is True"),
    ],
)
def test_bad_arguments_are_refused_in_words(change, error, words):
    train_iter, test_iter = load(32)
    arguments = {"make_net": make_net, "train_iter": train_iter, "test_iter": test_iter, **change}
    with pytest.raises(error) as refused:
        TrainPanel(**arguments)
    assert str(refused.value) == words
