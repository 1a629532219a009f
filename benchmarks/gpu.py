"""What a CUDA GPU adds to the benchmarks: images a second of the taught loop and of a CUDA graph, and two floors."""

import copy
import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile

LR = 0.9


def measure_gpu(net, loaders, batch_size, rounds):
    """Return images a second of both loops, and of the floors that launches and memory traffic set.

    ``loaders`` are those of ``load_data_fashion_mnist``; their images are kept on the GPU. Tests are not in the times.
    """
    device = torch.device("cuda")
    batches = [(X.to(device), y.to(device)) for X, y in loaders[0] if len(y) == batch_size]
    taught, graph = TaughtLoop(net, batches), GraphLoop(net, batches)
    rates = {"taught": [], "graph": []}
    for number in range(rounds + 1):  # the first round warms up
        for name, loop in (("taught", taught), ("graph", graph)):
            rate = len(batches) * batch_size / time_call(loop.train)
            if number:
                rates[name].append(rate)
    kernels = count_kernels(lambda: taught.step(*batches[0]))
    launch_seconds = measure_launch(device)
    traffic, bandwidth = count_traffic(net, batches[0][0].shape), measure_bandwidth(device)
    return {
        "batch_size": batch_size,
        "images_per_second": {
            name: {"all": list_, "median": statistics.median(list_)} for name, list_ in rates.items()
        },
        "launch_floor": {
            "kernels_per_step": kernels,
            "seconds_per_launch": launch_seconds,
            "images_per_second": batch_size / (kernels * launch_seconds),
        },
        "bandwidth_floor": {
            "bytes_per_step": traffic,
            "bytes_per_second": bandwidth,
            "images_per_second": batch_size * bandwidth / traffic,
        },
    }


class TaughtLoop:
    """The loop of notebook 04 as it stands, without its test."""

    def __init__(self, net, batches):
        from lenet_helpers.training import train_steps

        self.net = copy.deepcopy(net).to("cuda", memory_format=torch.channels_last)
        self.optimizer, self.loss = torch.optim.SGD(self.net.parameters(), lr=LR), torch.nn.CrossEntropyLoss()
        self.batches, self.train_steps = batches, train_steps

    def train(self):
        """Train for an epoch; the test set is one mini-batch."""
        for _ in self.train_steps(self.net, self.batches, self.batches[:1], 1, self.optimizer, "cuda"):
            pass

    def step(self, X, y):
        """Make one step as the loop does, for the profiler to count."""
        for _ in self.train_steps(self.net, [(X, y)], [(X, y)], 1, self.optimizer, "cuda"):
            return


class GraphLoop:
    """The same steps, recorded once as a CUDA graph and replayed on each mini-batch."""

    def __init__(self, net, batches):
        self.net = copy.deepcopy(net).to("cuda", memory_format=torch.channels_last)
        self.optimizer, self.loss = torch.optim.SGD(self.net.parameters(), lr=LR), torch.nn.CrossEntropyLoss()
        self.batches = batches
        self.X, self.y = (tensor.clone() for tensor in batches[0])
        self.metric = torch.zeros(2, device="cuda")
        side = (
            torch.cuda.Stream()
        )  # https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs asks for a warm-up
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def step(self):
        """Make one step on the mini-batch that lies in ``X`` and ``y``."""
        self.optimizer.zero_grad(set_to_none=True)
        y_hat = self.net(self.X)
        l = self.loss(y_hat, self.y)
        l.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.metric[0] += l * len(self.y)
            self.metric[1] += (y_hat.argmax(dim=1) == self.y).sum()

    def train(self):
        """Train for an epoch."""
        for X, y in self.batches:
            self.X.copy_(X)
            self.y.copy_(y)
            self.graph.replay()


def time_call(function):
    """Return the seconds of a call, with all that it left the GPU to do."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def count_kernels(step):
    """Return how many kernels and copies a step starts on the GPU."""
    step()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in seen.events())


def measure_launch(device, count=10_000):
    """Return the seconds that starting a kernel takes which does almost nothing."""
    X = torch.zeros(1, device=device)
    return time_call(lambda: [X.add_(1) for _ in range(count)]) / count


def measure_bandwidth(device, size=2**28, repeat=20):
    """Return how many bytes a second a copy reads and writes in the GPU's memory."""
    X = torch.zeros(size, device=device)
    Y = torch.empty_like(X)
    time_call(lambda: Y.copy_(X))
    return 2 * X.nbytes * repeat / time_call(lambda: [Y.copy_(X) for _ in range(repeat)])


def count_traffic(net, shape):
    """Return the bytes that a step moves if each layer's output is written and read once, forward and backward."""
    from lenet_helpers.shapes import walk_shapes

    numbers = sum(torch.Size(row.output_shape).numel() for row in walk_shapes(net, tuple(shape)))
    weights = sum(parameter.numel() for parameter in net.parameters())
    return 4 * (4 * numbers + 4 * weights)
