"""Nets that several test files use."""

from torch import nn


def make_lenet(activation=nn.Sigmoid):
    """Return an untrained LeNet."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), activation(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), activation(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), activation(), nn.Linear(120, 84), activation(), nn.Linear(84, 10),
    )  # fmt: skip


class Bomb(nn.Module):
    """A layer that raises ``error`` in the ``strike``-th pass of one phase: forward, backward or evaluation.

    With ``lasting`` it does so in every later pass, too.
    """

    def __init__(self, phase, strike, error=KeyboardInterrupt, lasting=False):
        super().__init__()
        self.phase, self.left, self.error, self.lasting = phase, strike, error, lasting

    def tick(self, *arguments):
        self.left -= 1
        if self.left == 0 or (self.lasting and self.left < 0):
            raise self.error

    def forward(self, X):
        if self.phase == "backward" and self.training:
            X = X.clone().requires_grad_()
            X.register_hook(self.tick)
        elif self.phase == ("forward" if self.training else "evaluation"):
            self.tick()
        return X
