"""Helpers for the notebooks: the data, the training loop and the widgets of *LeNet, step by step*."""

from lenet_helpers.data import load_data_fashion_mnist
from lenet_helpers.machine import keep_freed_memory
from lenet_helpers.training import evaluate_accuracy_gpu, train_ch6

__all__ = ["evaluate_accuracy_gpu", "load_data_fashion_mnist", "train_ch6"]

keep_freed_memory()
