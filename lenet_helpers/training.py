"""Train a net and measure its accuracy; the one training loop that the notebooks, the panel and the tests drive."""

import functools
import math
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from numbers import Integral, Real

import torch
from torch import nn
from torch.utils.data import RandomSampler

from lenet_helpers.curves import LiveCurves
from lenet_helpers.language import _, find_language


def evaluate_accuracy_gpu(net, data_iter, device=None):
    """Return the share of examples in ``data_iter`` that ``net`` classifies correctly, in [0, 1].

    Runs on ``device``, by default the one that holds the net's parameters, or the CPU for a net without any. Leaves
    the net in the mode it found it in. Raises ValueError if ``data_iter`` is empty.
    """
    if device is None:
        device = next((p.device for p in net.parameters()), "cpu")
    was_training = net.training
    net.eval()
    correct, total = torch.zeros((), dtype=torch.int64, device=device), 0
    try:
        with torch.no_grad():
            for X, y in data_iter:
                X, y = X.to(device), y.to(device)
                correct += (net(X).argmax(dim=1) == y).sum()
                total += len(y)
    finally:
        net.train(was_training)
    if total == 0:
        raise ValueError("data_iter is empty: there is nothing to measure the accuracy on; give it at least one batch")
    return correct.item() / total


def init_weights(layer):
    """Draw the weights of a linear or convolutional layer by Xavier's uniform rule (Glorot and Bengio, 2010)."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)


def train_steps(net, train_iter, test_iter, num_epochs, optimizer, device):
    """Train, and yield ``(epoch, metric, test_acc)`` after every mini-batch; the caller decides how long to go on.

    ``epoch`` counts the epochs done, in fractions. ``metric`` is a tensor on ``device``: the sum of the losses, the
    number of correct predictions and the number of examples of this epoch so far. ``test_acc`` is None, but for one
    more step at the end of each epoch. A change of ``optimizer``'s learning rate acts from the next mini-batch.
    """
    loss = nn.CrossEntropyLoss()
    for epoch in range(num_epochs):
        metric = torch.zeros(3, dtype=sum_dtype(device), device=device)
        net.train()
        for i, (X, y) in enumerate(train_iter):
            optimizer.zero_grad()
            X, y = X.to(device), y.to(device)
            y_hat = net(X)
            l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            with torch.no_grad():
                metric[0] += l * len(y)
                metric[1] += (y_hat.argmax(dim=1) == y).sum()
                metric[2] += len(y)
            yield epoch + (i + 1) / len(train_iter), metric, None
        yield epoch + 1, metric, evaluate_accuracy_gpu(net, test_iter, device)


def train_ch6(net, train_iter, test_iter, num_epochs, lr, device, *, snapshots=None):
    """Initialise ``net``, train it by mini-batch SGD with live curves, print the result and return the history.

    The history is a list of rows ``{"epoch", "loss", "train_acc", "test_acc"}``, about six per epoch; test_acc is None
    but in the last row of each epoch. An interrupt, or a loss that is no longer finite, ends the training early with a
    message; the net and the history stay usable. A list given as ``snapshots`` gets the weights after every epoch.
    """
    report = Report(train_iter, test_iter, num_epochs, lr, device)
    net.apply(init_weights)
    print("training on", device)
    net.to(device, memory_format=torch.channels_last)  # same numbers, in the order that convolutions run fastest on
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    try:
        for epoch, metric, test_acc in train_steps(net, report.train_iter, test_iter, num_epochs, optimizer, device):
            report.add(epoch, metric, test_acc)
            if snapshots is not None and test_acc is not None:
                snapshots.append(copy_weights(net))
    except (KeyboardInterrupt, FloatingPointError) as reason:
        report.stop(reason)
    return report.finish()


class Report:
    """What ``train_ch6`` tells while it trains: the history, the live curves, the speed and the result.

    Raises ValueError or TypeError for settings that cannot be trained with.
    """

    def __init__(self, train_iter, test_iter, num_epochs, lr, device):
        check_settings(train_iter, test_iter, num_epochs, lr)
        self.device = read_device(device)
        find_language()  # raises an error for a wrong LENET_LANGUAGE now, and not when the result is told
        self.train_iter = TimedLoader(train_iter)
        self.history = []
        self.curves = LiveCurves(num_epochs)
        self.num_batches = len(train_iter)
        self.evaluating = 0.0
        self.start = self.last = time.perf_counter()

    def add(self, epoch, metric, test_acc):
        """Note a step; read it from the device, and draw it, five times an epoch and at the epoch's end."""
        batch = round(epoch * self.num_batches) % self.num_batches
        if test_acc is not None:
            self.evaluating += time.perf_counter() - self.last
        if test_acc is not None or batch % max(1, self.num_batches // 5) == 0:
            self.history.append(read_row(epoch, metric, test_acc))
            self.curves.update(self.history)
        self.last = time.perf_counter()

    def stop(self, reason):
        """Say why the training ends before its last epoch, and what is left of it."""
        if isinstance(reason, KeyboardInterrupt):
            print(_("stopped early: you interrupted it. The net keeps what it has learned, and the history ends here"))
        else:
            text = _(
                "stopped early: {reason}. The history ends here; make the net anew, its biases may be NaN for good"
            )
            print(text.format(reason=reason))

    def finish(self):
        """Wait for the device, print d2l's two lines, draw the last picture and return the history."""
        with suppress(KeyboardInterrupt):  # it costs what is told and drawn here, not the history
            synchronize(self.device)
            seconds = time.perf_counter() - self.start
            computing = seconds - self.train_iter.seconds - self.curves.seconds - self.evaluating
            finished = [row for row in self.history if row["test_acc"] is not None]
            if finished:
                last = finished[-1]
                print(f"loss {last['loss']:.3f}, train acc {last['train_acc']:.3f}, test acc {last['test_acc']:.3f}")
                text = _("{rate} examples/sec on {device} ({most} examples/sec without loading, testing and drawing)")
                rate, most = (f"{self.train_iter.examples / time_spent:.1f}" for time_spent in (seconds, computing))
                print(text.format(rate=rate, device=self.device, most=most))
            self.curves.finish(self.history)
        return self.history


class TimedLoader:
    """A data loader that counts its examples, and the seconds in which the training waits for the next mini-batch."""

    def __init__(self, loader):
        self.loader, self.seconds, self.examples = loader, 0.0, 0

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        start = time.perf_counter()
        for X, y in self.loader:
            self.seconds += time.perf_counter() - start
            self.examples += len(y)
            yield X, y
            start = time.perf_counter()


def read_row(epoch, metric, test_acc):
    """Read a step of ``train_steps`` from its device into a row of the history; the device is waited for.

    Raises FloatingPointError if the loss has turned NaN or infinite.
    """
    loss_sum, correct, examples = metric.tolist()
    loss = loss_sum / examples
    if not math.isfinite(loss):
        text = _("the loss is {loss} at epoch {epoch}: the weights grew without bound; try a smaller learning rate")
        raise FloatingPointError(text.format(loss=loss, epoch=f"{epoch:.2f}"))
    return {"epoch": epoch, "loss": loss, "train_acc": correct / examples, "test_acc": test_acc}


def check_settings(train_iter, test_iter, num_epochs, lr):
    """Raise TypeError or ValueError, saying what to do, for settings that cannot be trained with."""
    if isinstance(num_epochs, bool) or not isinstance(num_epochs, Integral):
        raise TypeError(f"num_epochs must be a whole number, for example 10; it is {num_epochs!r}")
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1; it is {num_epochs}")
    if isinstance(lr, bool) or not isinstance(lr, Real):
        raise TypeError(f"lr, the learning rate, must be a number, for example 0.9; it is {lr!r}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr, the learning rate, must be positive and finite, for example 0.9; it is {lr}")
    for name, loader in {"train_iter": train_iter, "test_iter": test_iter}.items():
        if isinstance(loader, Iterator) or not (isinstance(loader, Iterable) and isinstance(loader, Sized)):
            raise TypeError(
                f"{name} must be a DataLoader, which starts anew in every epoch, and is {type(loader).__name__}: "
                "load_data_fashion_mnist(batch_size) makes one"
            )
        if len(loader) == 0:
            raise ValueError(f"{name} is empty: there is no mini-batch in it; give it at least one batch")
    if is_shuffled(test_iter) and not is_shuffled(train_iter):
        frame, stacklevel = sys._getframe(), 1
        while frame.f_globals["__name__"].startswith("lenet_helpers."):  # the learner's line is outside this package
            frame, stacklevel = frame.f_back, stacklevel + 1
        warnings.warn(
            _(
                "test_iter shuffles its images and train_iter does not: are the two swapped? "
                "First comes the loader to train on, then the one to test on"
            ),
            stacklevel=stacklevel,
        )


def read_device(device):
    """Return a torch.device for it or for its name; raise ValueError, saying what to do, for something else."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device must be a torch.device or its name, for example find_device() or 'cpu'; it is {device!r}"
        ) from None


def check_net(net):
    """Raise TypeError or ValueError, saying what to do, for a net that cannot be trained."""
    if not isinstance(net, nn.Module):
        text = _(
            "the net must be an nn.Module, and is of type {kind}: call make_net() with its brackets, "
            "and let it end in `return`"
        )
        raise TypeError(text.format(kind=type(net).__name__))
    if any(map(nn.parameter.is_lazy, net.parameters())):
        raise ValueError(
            _("a lazy layer of the net has no weights yet: call net(torch.zeros(1, 1, 28, 28)) once before training")
        )
    if next(net.parameters(), None) is None:
        raise ValueError(
            _("the net has no parameters, so there is nothing to train: give it a layer such as nn.Linear")
        )


def is_shuffled(loader):
    """Return whether a DataLoader gives its examples in a new order every epoch."""
    sampler = getattr(loader, "sampler", None)
    return isinstance(getattr(sampler, "sampler", sampler), RandomSampler)  # a BatchSampler holds another one


def tell_error(error):
    """Return an error's type, message and notes in one line of text; unlike ``str``, for every error there may be."""
    return " ".join(map(str.strip, traceback.format_exception_only(error)))


def is_about_memory(error):
    """Return whether an error says that a GPU or the machine has no memory left."""
    words = "out of (shared )?memory|OutOfMemory|allocate memory|unable to allocate|ALLOC_FAILED|killed by signal"
    return re.search(words, tell_error(error), re.IGNORECASE) is not None


def find_cure(error):
    """Return what to do about an error of PyTorch in training, which its message leaves out."""
    told = tell_error(error)
    if is_about_memory(error):
        return _("Choose a smaller batch size, shut down other kernels that use this device, and try again.")
    if "device-side assert" in told:
        return _(
            "Probably the net has fewer than ten outputs. Restart the kernel, and give its last layer ten outputs."
        )
    if "NoneType" in told:
        return _("If a layer gave None: its forward must end in `return`.")
    if re.search(r"dtype|scalar type|type \((?!torch)|not implemented for '", told):
        return _(
            "The net and the images must be of type torch.float32, the labels of type torch.int64: "
            "net.float(), X.float() / 255 and y.long() make them so."
        )
    if re.search("device|nvidia|cuda|meta tensor", told, re.IGNORECASE):
        return _(
            "The net and the images must be on one device that this machine has: "
            "find_device() in lenet_helpers.training names it, and net.to(device) moves a net."
        )
    if re.search(r"Target -?\d+ is out of bounds|target tensor expected|class probabilities", told):
        return _(
            "Each image needs one label, a whole number from 0 to 9, and the net must give ten scores for each image."
        )
    return _(
        "If this is about shapes: the net must take images of shape (n, 1, 28, 28) and give ten scores for each. "
        "walk_shapes(net) in lenet_helpers.shapes shows what every layer does."
    )


def add_cure(error):
    """Add a note with the cure to an error that PyTorch raised; leave others, which name their cure, as they are.

    An error of memory gives up what its pass through the net still holds, or the next attempt would find none either.
    """
    known = isinstance(error, RuntimeError | IndexError | AssertionError | MemoryError)
    none_given = re.search(r"not NoneType|'NoneType' object|got \(NoneType", tell_error(error))
    if (known or none_given) and not hasattr(error, "__notes__"):
        error.add_note(find_cure(error))
    if is_about_memory(error):
        traceback.clear_frames(error.__traceback__)


def with_cure(function):
    """Return the function with a note below the errors of PyTorch, which says what to do about them."""

    @functools.wraps(function)
    def call(*arguments, **options):
        try:
            return function(*arguments, **options)
        except Exception as error:
            add_cure(error)
            raise

    return call


def with_care(train):
    """Return ``train_ch6`` with a look at the net and the snapshots first, and with a snapshot of every whole epoch."""

    @functools.wraps(train)
    def call(net, *settings, snapshots=None, **named):
        check_net(net)
        if not isinstance(snapshots, list | None):
            raise TypeError(f"snapshots must be a list, for example []; it is of type {type(snapshots).__name__}")
        taken = len(snapshots or [])
        history = train(net, *settings, snapshots=snapshots, **named)
        epochs = sum(row["test_acc"] is not None for row in history)
        if snapshots is not None and len(snapshots) < taken + epochs:  # an interrupt came between row and snapshot
            snapshots.append(copy_weights(net))
        return history

    return call


# Not as decorators: notebook 04 shows the two functions as they stand above.
evaluate_accuracy_gpu, train_ch6 = with_cure(evaluate_accuracy_gpu), with_cure(with_care(train_ch6))


def copy_weights(net):
    """Return a copy of the net's weights on the CPU, as ``net.load_state_dict`` takes them."""
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


def find_device():
    """Return the machine's accelerator (CUDA or MPS) as a torch.device, or the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def synchronize(device):
    """Wait until ``device`` has finished all that was asked of it."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def sum_dtype(device):
    """Return the precision to sum losses in: float64, or float32 on MPS, which has no float64."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64
