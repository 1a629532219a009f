"""A panel of sliders and buttons that trains a net inside a notebook, while other cells go on answering."""

import base64
import contextvars
import copy
import html
import math
import signal
import threading
import time
import traceback
import weakref
from pathlib import Path

import anywidget
import ipywidgets as widgets
import torch
import traitlets
from IPython import get_ipython
from IPython.display import display
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from lenet_helpers.cells import close, replace_earlier
from lenet_helpers.curves import draw_png, draw_svg
from lenet_helpers.language import SpeakingWidget, _, speaking
from lenet_helpers.training import (
    add_cure,
    check_net,
    check_settings,
    find_device,
    init_weights,
    read_row,
    tell_error,
    train_steps,
)

HERE = Path(__file__).parent
LR_MIN, LR_MAX, MAX_EPOCHS, MAX_SEED = 0.001, 3.0, 30, 9999
BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
ROWS_PER_EPOCH = 10  # at fixed mini-batches, so that the same run always leaves the same history and the same picture
REDRAW_SECONDS, REDRAW_SHARE = 0.1, 0.02  # at most ten redraws a second, and at most this part of the training time
PAST_RUNS, PAST_ROWS = 8, 100  # so many earlier runs are drawn behind the present one, each with about so many points
GUESSING, NEAR = math.log(10), 0.02  # the loss of ten equal chances
BUSY = ("waiting", "running")
COLOURS = {"finished": "success", "stopped": "warning", "diverged": "danger", "failed": "danger"}

_turn = threading.Lock()  # one training at a time: two at once would share the processor and both be slow
_panels = weakref.WeakSet()


class TrainPanel:
    """Train a net with sliders for its settings, buttons to start, stop and go on, and curves that grow meanwhile.

    ``make_net`` is a function without arguments that returns a new net; ``train_iter`` and ``test_iter`` are
    DataLoaders. ``lr``, ``num_epochs``, ``batch_size`` and ``seed`` are the controls: ``panel.lr.value = 0.1`` moves
    one. A change of ``lr`` acts from the next mini-batch on, one of the others from the next run on.

    ``state`` is ready, waiting, running, stopped, finished, diverged or failed. ``net`` is the net of the latest run,
    and while that goes on a copy, which can be measured without disturbing it; ``history`` holds its rows as
    ``train_ch6`` returns them, and ``runs`` is a list of dicts, one for each run. The line ``run["settings"]``
    re-creates a run, unless its lr was moved on the way::

        torch.manual_seed(seed)
        train_ch6(make_net(), *load_data_fashion_mnist(batch_size), num_epochs, lr, device)

    For this a run draws its weights and the order of its images from a random stream of its own, so that other cells
    may draw random numbers meanwhile. What a net draws while it computes, as dropout does, is not in that stream.
    Raises TypeError or ValueError for arguments that cannot be trained with.
    """

    def __init__(self, make_net, train_iter, test_iter, lr=0.9, num_epochs=10, *, seed=0):
        check_arguments(make_net, train_iter, test_iter, num_epochs, lr, seed)
        self._make_net, self._train_iter, self._test_iter = make_net, train_iter, test_iter
        self._runs, self._error, self._thread, self._displays = [], None, None, []
        self._guard, self._stop, self._ended = threading.Lock(), threading.Event(), threading.Event()
        self._ended.set()  # there is nothing yet to wait for
        self._build_widgets(lr, num_epochs, seed)
        self._draw()
        self._enter("ready")
        replace_earlier(self)
        _panels.add(self)
        hear_interrupts()

    def start(self):
        """Start a new run with the settings of the controls, unless one is going on; return the panel."""
        with self._guard, speaking(self._status.language):  # and so does the thread, wherever the notebook's folder is
            if self.state not in BUSY:
                self._forget_error()
                try:  # here and not in the thread: a net draws its weights from the random numbers that all cells share
                    settings = self.num_epochs.value, self._read_lr(), self.batch_size.value, self.seed.value
                    self._runs.append(Run(self._make_net, self._train_iter, self._test_iter, *settings))
                except (Exception, SystemExit) as error:
                    self._enter(self._fail(error))
                else:
                    for run in self._runs[:-1]:
                        run.let_go()
                    self._launch()
        return self

    def resume(self):
        """Go on with the latest run and return the panel.

        A run that was stopped goes on to its last epoch; one that has finished gets ``num_epochs`` more.
        """
        with self._guard, speaking(self._status.language):
            if self.state not in BUSY and self._can_resume():
                self._forget_error()  # of an attempt to start another run since then
                run = self._runs[-1]
                if run.state == "finished" and run.epoch == run.num_epochs:  # else it was extended, but did not begin
                    run.extend(self.num_epochs.value)
                self._launch()
        return self

    def stop(self):
        """End the training after the present mini-batch; return the panel."""
        self._stop.set()
        return self

    def wait(self, timeout=None):
        """Block until the training has ended, then raise the exception that ended it, if there was one.

        An interrupt also stops the training. Raises TimeoutError if it has not ended after ``timeout`` seconds.
        """
        try:  # not by join: up to Python 3.12, one that is interrupted takes the thread for dead from then on
            ended = self._ended.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if not ended:
            raise TimeoutError(f"the panel is still {self.state} after {timeout} seconds: wait longer or stop it")
        if self._error is not None:
            raise self._error

    @property
    def net(self):
        net = self._runs[-1].net if self._runs else None
        return copy.deepcopy(net) if self.state in BUSY else net

    @property
    def history(self):
        return self._runs[-1].history if self._runs else []

    @property
    def runs(self):
        return [run.describe() for run in self._runs]

    def _retire(self):
        """Stop, and take the widgets out of the page and the kernel; what else the panel holds stays to be read."""
        self.stop()
        self._displays = []
        close(self._view)

    # The training thread. Of the notebook it touches only traits of the widgets and, at the end, the stored picture.

    def _launch(self):
        self._stop.clear()
        self._ended = ended = threading.Event()  # one for each thread: an old one may still be about to set its own
        try:
            self._enter("waiting" if _turn.locked() else "running")
            self._draw()
            # What the thread sends belongs to the click or cell that has started it. Else the kernel takes it for an
            # answer to the latest message of any page, and waits for clicks where that page will no longer send them.
            work = contextvars.copy_context().run
            self._thread = threading.Thread(target=work, args=(self._work, ended), name="TrainPanel", daemon=True)
            self._thread.start()
        except BaseException as error:  # without its thread, the panel would be busy for ever
            ended.set()
            self._enter(self._fail(error))
            raise

    def _work(self, ended):
        """Do all that the thread is there for, and say when it has ended."""
        try:
            self._take_turn()
        finally:
            ended.set()

    def _take_turn(self):
        """Train the latest run in its turn, and whatever goes wrong, leave the panel in a state to start again from."""
        state, bundle = "failed", {}
        try:
            state = self._try_to_train(self._runs[-1])
            self._draw()
            bundle = self._bundle() if self._displays else {}
        except BaseException as error:  # in drawing: nobody hears of an error in a thread
            state = self._fail(error)
        finally:
            with self._guard:
                self._enter(state)
        for shown in self._displays if bundle else ():  # JupyterLab draws the panel anew, with the buttons as they are
            shown.update(bundle, raw=True)

    def _try_to_train(self, run):
        """Wait for the turn and train the run; return the state that this leads to, or that an error leads to."""
        while not _turn.acquire(timeout=0.05):
            if self._stop.is_set():
                run.state = "stopped"
                return run.state
        try:
            self._enter("running")
            return self._train(run)
        except BaseException as error:  # SystemExit, too
            return self._fail(error)
        finally:
            _turn.release()

    def _train(self, run):
        """Drive a run until it has done its epochs or Stop is pressed; return the state that this leads to."""
        first_epoch, seconds_before = run.epoch, run.seconds
        start = next_draw = time.perf_counter()
        run.state = "running"
        while not self._stop.is_set():
            run.set_lr(self._read_lr())
            if not run.advance():
                run.state = "finished"
                return run.state
            now = time.perf_counter()
            run.seconds = seconds_before + now - start
            if run.at_epoch_end():
                self._status.message = _("Training. {told}").format(told=run.tell())
            if now >= next_draw:
                done = max(run.epoch - first_epoch, 1e-6)  # 0 where a stopped run had only its test left to do
                self._draw(seconds_left=(now - start) * (run.num_epochs - run.epoch) / done)
                next_draw = now + max(REDRAW_SECONDS, (time.perf_counter() - now) / REDRAW_SHARE)
        run.note_step()
        run.state = "stopped"
        return run.state

    def _fail(self, error):
        """Show why the training broke off, and keep the error for ``wait``; return the state that this leads to."""
        state = "diverged" if isinstance(error, FloatingPointError) else "failed"
        if self._runs and self._runs[-1].state == "running":  # not one that had ended before
            self._runs[-1].break_off(state)
        if state == "failed":
            self._error = error
            add_cure(error)
            self._show_alert(tell_error(error), "".join(traceback.format_exception(error)))
        else:
            self._show_alert(_("Stopped: {error}.").format(error=error))
        return state

    def _forget_error(self):
        self._error = None
        self._show_alert("")

    def _read_lr(self):
        """Return the learning rate as the slider shows it, in three digits, so that what is read can be repeated."""
        return float(f"{self.lr.value:.3g}")

    def _can_resume(self):
        return bool(self._runs) and self._runs[-1].state in ("stopped", "finished")

    # What the learner sees.

    def _build_widgets(self, lr, num_epochs, seed):
        look = {"style": {"description_width": "90px"}, "layout": widgets.Layout(width="360px")}
        batch_size = read_batch_size(self._train_iter)
        self.lr = LearningRateSlider(lr, description=_("learning rate"), **look)
        self.num_epochs = widgets.IntSlider(num_epochs, min=1, max=MAX_EPOCHS, description=_("epochs"), **look)
        sizes = sorted({*BATCH_SIZES, batch_size})
        self.batch_size = widgets.Dropdown(value=batch_size, options=sizes, description=_("batch size"), **look)
        self.seed = widgets.BoundedIntText(seed, min=0, max=MAX_SEED, description=_("seed"), **look)
        button = widgets.Layout(width="116px")
        self._train_button = widgets.Button(description=_("Train"), icon="play", button_style="success", layout=button)
        self._stop_button = widgets.Button(description=_("Stop"), icon="stop", layout=button)
        self._continue_button = widgets.Button(description=_("Continue"), icon="step-forward", layout=button)
        self._bar = widgets.FloatProgress(0, min=0, max=1, layout=widgets.Layout(width="360px"))
        self._status = StatusLine()
        self._numbers, self._alert, self._curves, self._table = (widgets.HTML() for _ in range(4))

        buttons = widgets.HBox([self._train_button, self._stop_button, self._continue_button])
        settings = [self.lr, self.num_epochs, self.batch_size, self.seed]
        controls = widgets.VBox([*settings, buttons, self._bar]).add_class("lenet-controls")
        left = widgets.VBox([controls, self._numbers, self._status, self._alert])
        top = widgets.HBox([left, self._curves], layout=widgets.Layout(flex_flow="row wrap"))
        self._view = widgets.VBox([top, self._table]).add_class("lenet-panel")

        self._train_button.on_click(lambda button: self.start())
        self._stop_button.on_click(lambda button: self.stop())
        self._continue_button.on_click(lambda button: self.resume())
        for control in (self.num_epochs, self.batch_size, self.seed):
            control.observe(self._tell_next_run, "value")

    def _ipython_display_(self):
        self._displays.append(display(self._bundle(), raw=True, display_id=True))

    def _bundle(self):
        """Return what the cell stores: the live panel, and for readers without a kernel the curves as a picture."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._view.model_id}
        bundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": _("TrainPanel: press Train")}
        if self._runs:
            png = draw_png(self.history, self._runs[-1].num_epochs, self._past())
            bundle["image/png"] = base64.b64encode(png).decode()
        return bundle

    def _enter(self, state):
        self.state = state
        self._train_button.disabled = state in BUSY
        self._stop_button.disabled = state not in BUSY
        self._continue_button.disabled = state in BUSY or not self._can_resume()
        self._bar.bar_style = COLOURS.get(state, "")
        self._status.running = state in BUSY
        self._status.message = tell_state(state, self._runs[-1] if self._runs else None)

    def _tell_next_run(self, change):
        if self.state in BUSY:
            name = change["owner"].description.capitalize()
            text = _("{name}: the new value acts from the next run on. Only the learning rate acts at once.")
            self._status.message = text.format(name=name)

    def _draw(self, seconds_left=None):
        """Bring curves, progress bar, numbers, warning and table up to date."""
        if not self._runs:
            self._curves.value = draw_svg([], self.num_epochs.value)
            return
        run = self._runs[-1]
        rows = run.live_history()
        self._curves.value = draw_svg(rows, run.num_epochs, self._past())
        self._bar.value = run.epoch / run.num_epochs
        self._numbers.value = tell_numbers(run, rows, seconds_left) if rows else ""
        if run.state in ("running", "stopped", "finished"):  # else an error stands there
            self._show_alert(advise(run.lr) if is_guessing(rows) else "")
        if run.state != "running":
            self._table.value = tabulate(self.runs)

    def _past(self):
        return [thin_out(run.history) for run in self._runs[:-1][-PAST_RUNS:]]

    def _show_alert(self, message, details=""):
        text = f'<div role="alert" class="lenet-alert">{html.escape(message)}</div>' if message else ""
        if details:
            where = _("Where it happened")
            text += f"<details><summary>{where}</summary><pre>{html.escape(details)}</pre></details>"
        self._alert.value = text


class Run:
    """One training run: its settings, its net and how far it has come.

    ``step`` is the latest ``(epoch, metric, test_acc)`` of the training loop, ``lrs`` lists each learning rate and the
    epoch from which it was in use, ``seconds`` is the time spent on training.
    """

    def __init__(self, make_net, train_iter, test_iter, num_epochs, lr, batch_size, seed):
        self.num_epochs, self.batch_size, self.seed, self.lrs = num_epochs, batch_size, seed, [(0, lr)]
        self.history, self.state, self.seconds = [], "running", 0.0
        self.epoch, self.step = 0, None
        stream, self._device = torch.Generator(), find_device()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # the CPU's alone: a GPU's would not be put back
            self.net = make_net()
            check_net(self.net)
            self.net.apply(init_weights)
            stream.set_state(torch.get_rng_state())
        self.net.to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(self.net.parameters(), lr=lr)
        train_iter = load_anew(train_iter, batch_size, stream)
        self._loaders = train_iter, load_anew(test_iter, read_batch_size(test_iter), stream)
        self._num_batches = len(train_iter)
        self._add_epochs(num_epochs)

    @property
    def lr(self):
        return self.lrs[-1][1]

    def _add_epochs(self, num_epochs):
        self._epochs_before = self.epoch
        self._steps = train_steps(self.net, *self._loaders, num_epochs, self._optimizer, self._device)

    def extend(self, num_epochs):
        """Let a run that has done all its epochs go on for some more, with the same net and optimiser."""
        self.num_epochs += num_epochs
        self._add_epochs(num_epochs)

    def set_lr(self, lr):
        """Use another learning rate from the next mini-batch on."""
        if lr != self.lr:
            self.lrs.append((self.epoch, lr))
            for group in self._optimizer.param_groups:
                group["lr"] = lr

    def advance(self):
        """Train on one mini-batch, or finish the epoch; return False if there is nothing left to do."""
        self.net.train()  # a cell may have put it into evaluation mode since then
        step = next(self._steps, None)
        if step is None:
            return False
        epoch, metric, test_acc = step
        self.epoch = self._epochs_before + epoch
        self.step = self.epoch, metric, test_acc
        batch = round(epoch * self._num_batches) % self._num_batches
        if self.at_epoch_end() or (batch and batch % max(1, self._num_batches // ROWS_PER_EPOCH) == 0):
            self._keep(read_row(*self.step))
        return True

    def _keep(self, row):
        """Add a row to the history, in place of one of the same epoch that has no test accuracy."""
        if self.history and self.history[-1]["epoch"] == row["epoch"]:
            self.history.pop()
        self.history.append(row)

    def at_epoch_end(self):
        """Return whether the latest step measured the test accuracy."""
        return self.step is not None and self.step[2] is not None

    def live_history(self):
        """Return the history with the latest step behind it, whether or not that step belongs to it."""
        if self.step is None or (self.history and self.history[-1]["epoch"] == self.epoch):
            return self.history
        return [*self.history, read_row(*self.step)]

    def note_step(self):
        """Let the history end with the latest step."""
        self.history = self.live_history()

    def let_go(self):
        """Give up the net and the images, which only the latest run of a panel needs, and keep what is told of it."""
        self.net = self._optimizer = self._loaders = self._steps = None

    def break_off(self, state):
        """End the run at the last row of its history, because of an error."""
        self.state, self.step = state, None

    def tell(self):
        """Say in words what the latest complete epoch has reached."""
        rows = [row for row in self.history if row["test_acc"] is not None]
        if not rows:
            return _("No epoch is complete yet.")
        row = rows[-1]
        text = _("Epoch {epoch} of {count}: train loss {loss}, test accuracy {test_acc}.")
        numbers = {"loss": f"{row['loss']:.3f}", "test_acc": f"{row['test_acc']:.3f}"}
        return text.format(epoch=round(row["epoch"]), count=self.num_epochs, **numbers)

    def describe(self):
        """Return the run as a dict: the settings that re-create it, how it ended, what it reached, and its history."""
        accuracies = [row["test_acc"] for row in self.history if row["test_acc"] is not None]
        lr = "→".join(f"{lr:g}" for _, lr in (self.lrs if len(self.lrs) < 5 else (self.lrs[0], self.lrs[-1])))
        return {
            "settings": f"lr={lr}, num_epochs={self.num_epochs}, batch_size={self.batch_size}, seed={self.seed}",
            "lrs": list(self.lrs),
            "end": self.state if self.state == "finished" else f"{self.state} at epoch {self.epoch:.2f}",
            "best": max(accuracies, default=None),
            "last": accuracies[-1] if accuracies else None,
            "seconds": self.seconds,
            "history": self.history,
        }


class StreamSampler(RandomSampler):
    """A RandomSampler that draws the seed of each epoch's order from ``stream`` and not from torch's shared stream."""

    def __init__(self, data, stream):
        super().__init__(data)
        self.stream = stream

    def __iter__(self):
        seed = torch.empty((), dtype=torch.int64).random_(generator=self.stream).item()
        self.generator = torch.Generator().manual_seed(seed)
        return super().__iter__()


class LearningRateSlider(widgets.FloatLogSlider):
    """A slider on a log scale that shows exactly the value it is given.

    The page rounds a value to whole steps from the slider's left end: with fixed steps of 0.05 decades it would turn
    0.9 into 0.891, and tell the kernel so. So each new value comes with a step that it is a multiple of.

    The page tells the kernel a value when the hand lets go of it. Told on the way, two views of the slider, which
    JupyterLab keeps once a run has ended, would answer each other without end with values rounded to different steps.
    """

    def __init__(self, value, **options):
        low, high = math.log10(LR_MIN), math.log10(LR_MAX)
        super().__init__(value, min=low, max=high, step=self.find_step(value), continuous_update=False, **options)

    def notify_change(self, change):
        if change["name"] == "value":
            step = self.find_step(change["new"])
            with self.hold_sync():  # both reach the page in one message
                if abs(step - self.step) > 1e-6:  # a change by less would only interrupt the hand on the slider
                    self.step = step
                super().notify_change(change)
        else:
            super().notify_change(change)

    def get_state(self, *args, **kwargs):
        """Return the state with the step before the value: the page applies them in this order."""
        return dict(sorted(super().get_state(*args, **kwargs).items()))

    @traitlets.validate("value")
    def _validate_value(self, proposal):
        if math.isnan(proposal["value"]):
            raise traitlets.TraitError("the learning rate must be a number, for example 0.9; it is nan")
        return super()._validate_value(proposal)

    @staticmethod
    def find_step(value):
        """Return a step of about 0.05 decades that leads from the left end to ``value`` in whole steps."""
        distance = math.log10(value / LR_MIN)
        return distance / max(1, round(distance / 0.05)) or 0.05


class StatusLine(SpeakingWidget, anywidget.AnyWidget):
    """The line that says what the panel does; its script also labels the sliders and notices a lost kernel."""

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("language.js", "panel.js"))
    _css = (HERE / "panel.css").read_text(encoding="utf-8")
    message = traitlets.Unicode().tag(sync=True)
    running = traitlets.Bool().tag(sync=True)

    def __init__(self):
        super().__init__()
        self.on_msg(lambda *message: self.send("here"))


def check_arguments(make_net, train_iter, test_iter, num_epochs, lr, seed):
    """Raise TypeError or ValueError, saying what to do, for arguments that a panel cannot work with."""
    if not callable(make_net) or isinstance(make_net, torch.nn.Module):
        raise TypeError(
            f"make_net must be a function that returns a new net, for example lambda: nn.Sequential(...); "
            f"it is {type(make_net).__name__}. Every run needs a net that has learned nothing yet"
        )
    for loader in (train_iter, test_iter):
        read_batch_size(loader)
    check_settings(train_iter, test_iter, num_epochs, lr)
    if not LR_MIN <= lr <= LR_MAX:
        raise ValueError(f"lr must be between {LR_MIN} and {LR_MAX:g}, the ends of the slider; it is {lr}")
    if num_epochs > MAX_EPOCHS:
        raise ValueError(f"num_epochs must be at most {MAX_EPOCHS}, the end of the slider; it is {num_epochs}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be a whole number from 0 to {MAX_SEED}; it is {seed!r}")


def read_batch_size(loader):
    """Return the batch size of a DataLoader; raise TypeError or ValueError for something that has none."""
    if not isinstance(loader, DataLoader):
        raise TypeError(
            f"train_iter and test_iter must be DataLoaders, as load_data_fashion_mnist returns them; "
            f"one is of type {type(loader).__name__}"
        )
    batch_size = loader.batch_size or getattr(loader.sampler, "batch_size", None)
    if batch_size is None:
        raise ValueError("a DataLoader has no batch_size; make it with load_data_fashion_mnist(batch_size)")
    return batch_size


def load_anew(loader, batch_size, stream):
    """Return a DataLoader over the same data with this batch size, which draws its random numbers from ``stream``.

    It draws the same numbers in the same order as ``loader`` would draw from torch's shared stream.
    """
    whole_batches = loader.batch_size is None  # the loaders of lenet_helpers.data take a mini-batch by one indexing
    order = loader.sampler.sampler if whole_batches else loader.sampler
    drop_last = loader.sampler.drop_last if whole_batches else loader.drop_last
    drop_last = drop_last and batch_size <= len(order)  # a single mini-batch that is not full is kept
    if isinstance(order, RandomSampler):
        order = StreamSampler(loader.dataset, stream)
    if whole_batches:
        batches = BatchSampler(order, batch_size, drop_last)
        return DataLoader(loader.dataset, sampler=batches, batch_size=None, generator=stream)
    kept = {"collate_fn": loader.collate_fn, "num_workers": loader.num_workers, "drop_last": drop_last}
    return DataLoader(loader.dataset, batch_size, sampler=order, generator=stream, **kept)


def thin_out(history):
    """Return the rows of a history with a test accuracy, and as many others as a pale curve needs."""
    step = 1 + len(history) // PAST_ROWS
    return [row for index, row in enumerate(history) if index % step == 0 or row["test_acc"] is not None]


def is_guessing(history):
    """Return whether the loss has stayed at ln 10 for most of the last half epoch, the first half epoch not counted."""
    recent = [row for row in history if row["epoch"] >= max(0.5, history[-1]["epoch"] - 0.5)]
    long_enough = bool(recent) and recent[-1]["epoch"] - recent[0]["epoch"] >= 0.35
    return long_enough and all(abs(row["loss"] - GUESSING) < NEAR for row in recent)


def advise(lr):
    """Say what a loss of ln 10 means, and what to try."""
    if lr < 0.5:
        return _(
            "The net is guessing: 2.303 is ln 10, the loss of ten equal chances. "
            "It may take off after some more epochs. "
            "You can also try a larger learning rate, for example 0.9, or a smaller batch size."
        )
    return _(
        "The net is guessing: 2.303 is ln 10, the loss of ten equal chances. "
        "It may take off after some more epochs. "
        "You can also try another seed, or a learning rate from 0.5 to 1, or a smaller batch size."
    )


def tell_state(state, run):
    """Say what a panel in ``state`` does, and what the learner can do next; ``run`` is the latest run or None."""
    match state:
        case "ready":
            return _("Ready. Choose the settings and press Train.")
        case "waiting":
            return _("Waiting: another panel is training. This one starts when that one ends. Stop gives up the place.")
        case "running":
            return _("Training.")
        case "stopped":
            text = _("Stopped at epoch {epoch}. Continue goes on to epoch {count}. Train starts afresh.")
            return text.format(epoch=f"{run.epoch:.2f}", count=run.num_epochs)
        case "finished":
            text = _("Finished. {told} Continue adds epochs, as many as the slider says. Train starts afresh.")
            return text.format(told=run.tell())
        case "diverged":
            return _("Stopped, because the loss is no longer a number. Choose a smaller learning rate and press Train.")
        case "failed":
            return _("The training failed: the error stands below. Correct its cause, then run this cell again.")


def tell_numbers(run, rows, seconds_left):
    """Return the latest numbers of a run as one line; ``seconds_left`` is None when it does not train."""
    row = rows[-1]
    test_acc = next((row["test_acc"] for row in reversed(rows) if row["test_acc"] is not None), None)
    time_text = _("{time} so far") if seconds_left is None else _("{time} left")
    parts = [
        _("epoch {epoch} of {count}").format(epoch=f"{row['epoch']:.2f}", count=run.num_epochs),
        _("lr {lr}").format(lr=f"{run.lr:g}"),
        _("loss {loss}").format(loss=f"{row['loss']:.3f}"),
        _("train acc {train_acc}").format(train_acc=f"{row['train_acc']:.3f}"),
        _("test acc {test_acc}").format(test_acc=tell_share(test_acc)),
        time_text.format(time=tell_seconds(run.seconds if seconds_left is None else seconds_left)),
    ]
    return '<div class="lenet-numbers">' + " · ".join(parts) + "</div>"


def tell_share(value):
    return "–" if value is None else f"{value:.3f}"


def tell_seconds(seconds):
    if seconds < 90:
        return _("{seconds} s").format(seconds=f"{seconds:.0f}")
    return _("{minutes} min").format(minutes=f"{seconds / 60:.1f}")


def tell_end(run):
    """Say how a run that ``Run.describe`` describes has ended."""
    state, _at, epoch = run["end"].partition(" at epoch ")
    texts = {
        "finished": _("finished"),
        "stopped": _("stopped at epoch {epoch}"),
        "diverged": _("diverged at epoch {epoch}"),
        "failed": _("failed at epoch {epoch}"),
    }
    return texts[state].format(epoch=epoch)


def tell_moves(count):
    """Say that the learning rate was moved so many times on the way, if it was."""
    if not count:
        return ""
    if count == 1:
        return _(" (lr was moved once: the line alone does not re-create it)")
    return _(" (lr was moved {count} times: the line alone does not re-create it)").format(count=count)


def tabulate(runs):
    """Return the table of all runs as HTML: what re-creates each, how it ended, its accuracies and its time."""
    rows = []
    for number, run in enumerate(runs, 1):
        note = tell_moves(len(run["lrs"]) - 1)
        rows.append(
            f'<tr><th scope="row">{number}</th><td><code>{run["settings"]}</code>{note}</td><td>{tell_end(run)}</td>'
            f"<td>{tell_share(run['best'])}</td><td>{tell_share(run['last'])}</td><td>{tell_seconds(run['seconds'])}</td></tr>"
        )
    names = _("run"), _("settings"), _("end"), _("best"), _("last"), _("time")
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    caption = _("Runs, with the best and the last test accuracy")
    return f'<table class="lenet-runs"><caption>{caption}</caption><tr>{heads}</tr>{"".join(rows)}</table>'


def hear_interrupts():
    """Let the notebook's ■ button stop the training, while a cell runs as well as between cells."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return
    shell.events.register("pre_run_cell", _hear_in_cell)
    _hear_in_cell()
    if hasattr(kernel, "saved_sigint_handler"):  # ipykernel puts this handler in place when the cell has ended
        kernel.saved_sigint_handler = _stop_panels


def _hear_in_cell(info=None):
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt_cell)


def _interrupt_cell(number, frame):
    _stop_panels()
    signal.default_int_handler(number, frame)


def _stop_panels(*_):
    for panel in list(_panels):
        panel.stop()
