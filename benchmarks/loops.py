"""What a learner's kernel runs in the benchmarks: d2l's loop, ours, and the bare loop that PyTorch allows.

Ours is imported only where it is used, so that a kernel with d2l's loop holds nothing of it.
"""

import copy
import statistics
import time

import torch
from torch import nn

BATCH_SIZE, LR = 256, 0.9


def shorten(loaders, counts):
    """Leave only the first training and test images in two loaders, d2l's or ours; None leaves all."""
    for loader, count in zip(loaders, counts or (), strict=counts is not None):
        data = loader.dataset
        for name in ("images", "labels") if hasattr(data, "images") else ("data", "targets"):
            setattr(data, name, getattr(data, name)[:count])
    return loaders


def load_lenet(file):
    """Return LeNet with the weights in ``file``."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
    )
    net.load_state_dict(torch.load(file, weights_only=True))
    return net


def synchronize(device):
    """Wait until ``device`` has finished all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()


class D2l:
    """The lecture note's loader, training function and curves; ``weights_file`` holds the net's weights."""

    def __init__(self, weights_file, counts=None):
        from d2l import torch as d2l

        self.net = load_lenet(weights_file)
        self.loaders = shorten(d2l.load_data_fashion_mnist(BATCH_SIZE), counts)
        self.device, self.train_ch6 = d2l.try_gpu(), d2l.train_ch6

    def train(self, num_epochs):
        """Train a fresh copy of the net; return the seconds that an epoch takes, all told."""
        net = copy.deepcopy(self.net)
        torch.manual_seed(0)
        start = time.perf_counter()
        self.train_ch6(net, *self.loaders, num_epochs, LR, self.device)
        synchronize(self.device)
        return {"seconds": (time.perf_counter() - start) / num_epochs}


class Ours:
    """The same with the helpers of this course."""

    def __init__(self, weights_file, counts=None):
        from lenet_helpers import load_data_fashion_mnist, training

        self.net = load_lenet(weights_file)
        self.loaders = shorten(load_data_fashion_mnist(BATCH_SIZE), counts)
        self.device, self.training, self.reports = training.find_device(), training, []
        self.report = training.Report

    def keep_report(self, *settings):
        """Make the report of a training and keep it, for the times in it."""
        self.reports.append(self.report(*settings))
        return self.reports[-1]

    def train(self, num_epochs):
        """Train a fresh copy of the net; return the seconds of an epoch, and those that its parts take."""
        net = copy.deepcopy(self.net)
        self.training.Report = self.keep_report
        torch.manual_seed(0)
        start = time.perf_counter()
        self.training.train_ch6(net, *self.loaders, num_epochs, LR, self.device)
        seconds = time.perf_counter() - start
        self.training.Report = self.report
        report = self.reports.pop()
        parts = {"seconds": seconds, "loading": report.train_iter.seconds, "testing": report.evaluating}
        parts |= {"drawing": report.curves.seconds}
        return {name: value / num_epochs for name, value in parts.items()}

    def train_once(self, batch_size, copies, threads):
        """Train for one epoch without curves on so many copies of the data; return the seconds."""
        from lenet_helpers.data import FashionMNIST, batch_loader

        train_data, test_data = (
            FashionMNIST(loader.dataset.images.repeat(copies, 1, 1), loader.dataset.labels.repeat(copies))
            for loader in self.loaders
        )
        loaders = batch_loader(train_data, batch_size, shuffle=True), batch_loader(test_data, batch_size)
        net = copy.deepcopy(self.net).to(self.device, memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(net.parameters(), lr=LR)
        threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)
        start = time.perf_counter()
        for _ in self.training.train_steps(net, *loaders, 1, optimizer, self.device):
            pass
        synchronize(self.device)
        seconds = time.perf_counter() - start
        torch.set_num_threads(threads_before)
        return seconds

    def train_recipe(self, settings, batch_size, seed, counts=None):
        """Train the modern LeNet with changed ``settings`` and live curves; return seconds and test accuracy."""
        from dataclasses import replace

        from lenet_helpers import load_data_fashion_mnist
        from lenet_helpers.recipes import RECIPES, train_recipe

        loaders = shorten(load_data_fashion_mnist(batch_size), counts)
        recipe, layout = replace(RECIPES["modern"], **settings), torch.contiguous_format
        start = time.perf_counter()
        _, history = train_recipe(recipe, *loaders, seed, self.device, layout)
        return {"seed": seed, "seconds": time.perf_counter() - start, "test_acc": history[-1]["test_acc"]}

    def train_in_panel(self, num_epochs):
        """Train from the panel; return the share of the training thread's CPU time that is not the training's own."""
        from IPython.display import display

        from lenet_helpers import panel

        class TimedRun(panel.Run):
            training = 0.0

            def advance(self):
                start = time.thread_time()
                try:
                    return super().advance()
                finally:
                    TimedRun.training += time.thread_time() - start

        class TimedPanel(panel.TrainPanel):
            def _take_turn(self):
                super()._take_turn()
                self.cpu_seconds = time.thread_time()  # of this thread, which does nothing else

        run, panel.Run = panel.Run, TimedRun
        shown = TimedPanel(lambda: copy.deepcopy(self.net), *self.loaders, num_epochs=num_epochs)
        display(shown)
        shown.start().wait()
        panel.Run = run
        return {"share": 1 - TimedRun.training / shown.cpu_seconds, "cpu_seconds": shown.cpu_seconds}


class Bare:
    """Forward, backward and step over batches that lie ready on the device, then forward over the test set."""

    def __init__(self, ours):
        self.net, self.device = ours.net, ours.device
        self.batches, self.tests = ([(X.to(self.device), y.to(self.device)) for X, y in it] for it in ours.loaders)

    def train(self, num_epochs):
        """Train a fresh copy of the net; return the seconds of an epoch, and those of its test."""
        net = copy.deepcopy(self.net).to(self.device, memory_format=torch.channels_last)
        optimizer, loss = torch.optim.SGD(net.parameters(), lr=LR), nn.CrossEntropyLoss()
        testing, start = 0.0, time.perf_counter()
        for _ in range(num_epochs):
            for X, y in self.batches:
                optimizer.zero_grad()
                loss(net(X), y).backward()
                optimizer.step()
            test_start = time.perf_counter()
            with torch.no_grad():
                for X, _y in self.tests:
                    net(X)
            testing += time.perf_counter() - test_start
        synchronize(self.device)
        seconds = time.perf_counter() - start
        return {"seconds": seconds / num_epochs, "testing": testing / num_epochs}


def measure_gemm(device, size=1024, repeat=20, dtype=torch.float32):
    """Return how many multiply-adds a second a product of two square matrices reaches: the median of some rounds."""
    A, B = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    rates = []
    for _ in range(9):
        synchronize(A.device)
        start = time.perf_counter()
        for _ in range(repeat):
            A @ B
        synchronize(A.device)
        rates.append(size**3 * repeat / (time.perf_counter() - start))
    return statistics.median(rates)
