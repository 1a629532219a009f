"""The challenge of notebook 07: the learner's own net at LeNet's budget, trained like the modern LeNet and placed."""

import statistics
from dataclasses import replace

import torch
from torch import nn

from lenet_helpers.checks import BUDGET
from lenet_helpers.figures import show_ablation
from lenet_helpers.recipes import RECIPES, count_parameters, load_ablation, load_split, recipe_steps
from lenet_helpers.training import read_row


class Refused(Exception):
    """The net cannot take part; the message tells the learner why and what to do."""


def check_challenge(make_net, num_epochs=10, seeds=(0,), split=None, results=None):
    """Train the learner's net by the modern LeNet's recipe, print its place among the rows and return a picture of it.

    ``make_net`` returns a new net that takes images (N, 1, 28, 28) to scores (N, 10) within 62,200 parameters. Weights
    are initialised by Xavier's rule. The place goes by validation accuracy, the mean over ``seeds``: so a learner can
    try as often as she likes, and the test set stays unseen. A net that cannot take part is refused with a printed
    message, and None is returned. ``split`` and ``results`` default to ``load_split()`` and ``load_ablation()``.
    """
    if num_epochs < 1 or not seeds:
        raise ValueError("num_epochs must be at least 1, and seeds must hold at least one number")
    rows = (results or load_ablation())["rows"]
    try:
        num_parameters = inspect_net(make_net)
        train_iter, validation_iter, _ = split or load_split()
        print(f"Accepted: {num_parameters:,} of {BUDGET:,} parameters.")
        recipe = replace(RECIPES["modern"], make_net=make_net, num_epochs=num_epochs)
        accuracy = statistics.mean(measure(recipe, seed, train_iter, validation_iter) for seed in seeds)
    except Refused as reason:
        print(f"Not accepted: {reason}.")
        return None
    print("\n".join(tell_place(rows, accuracy, num_parameters)))
    return show_ablation(rows, measure="validation_acc", yours=accuracy)


def inspect_net(make_net):
    """Return the number of parameters of the net that ``make_net`` returns; raise Refused if it cannot take part."""
    if isinstance(make_net, nn.Module) or not callable(make_net):
        raise Refused("hand in the function that makes the net, without calling it: check_challenge(make_net)")
    torch.manual_seed(0)
    X = torch.rand(2, 1, 28, 28)
    net = attempt("make_net()", make_net)
    if not isinstance(net, nn.Module):
        raise Refused(
            f"make_net() must return a net, an nn.Module, and returned {type(net).__name__}; does it end in `return`?"
        )
    net.eval()
    with torch.no_grad():
        scores = attempt(f"your net, given images of shape {tuple(X.shape)},", net, X)
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if shape != (2, 10):
        raise Refused(f"for 2 images the scores must have the shape (2, 10), one score per class; received {shape}")
    if not torch.isfinite(scores).all():
        raise Refused("the scores hold NaN or infinity before any training; look for a division or a logarithm")
    num_parameters = count_parameters(net)
    if num_parameters == 0:
        raise Refused("your net has no parameters, so there is nothing to train")
    if num_parameters > BUDGET:
        names = {name: parameter.numel() for name, parameter in net.named_parameters()}
        largest = max(names, key=names.get)
        raise Refused(
            f"your net has {num_parameters:,} parameters, {num_parameters - BUDGET:,} over the budget of {BUDGET:,}; "
            f"the largest share, {names[largest]:,}, lies in {largest}"
        )
    return num_parameters


def attempt(who, function, *arguments):
    """Return ``function(*arguments)``; refuse the net if that raises."""
    try:
        return function(*arguments)
    except Exception as error:
        raise Refused(f"{who} raised {type(error).__name__}: {error}") from error


def measure(recipe, seed, train_iter, validation_iter):
    """Train with one seed, print a line per epoch and return the validation accuracy after the last one."""
    torch.manual_seed(seed)
    net, accuracy = attempt("make_net()", recipe.make_net), None
    try:
        for epoch, metric, accuracy in recipe_steps(recipe, net, train_iter, validation_iter, torch.device("cpu")):
            if accuracy is not None:
                loss = read_row(epoch, metric, accuracy)["loss"]
                print(f"seed {seed}, epoch {epoch}: loss {loss:.3f}, validation accuracy {accuracy:.3f}")
    except FloatingPointError:
        raise Refused(
            f"the loss became NaN or infinite in epoch {epoch}: try batch norm after the convolutions"
        ) from None
    except Exception as error:
        raise Refused(f"the training raised {type(error).__name__}: {error}") from error
    return accuracy


def tell_place(rows, accuracy, num_parameters):
    """Return the lines of the table by validation accuracy, best first, with the learner's net at its place."""
    entries = [(row["mean"]["validation_acc"], row["parameters"], row["title"]) for row in rows]
    yours = (accuracy, num_parameters, "YOUR NET")
    entries = sorted([*entries, yours], key=lambda entry: -entry[0])
    place = entries.index(yours)
    lines = [f"Your net takes place {place + 1} of {len(entries)} by validation accuracy:"]
    for index, (value, parameters, title) in enumerate(entries):
        lines.append(f"{'→' if index == place else ' '} {value:.3f}  {parameters:>6,} parameters  {title}")
    if place:
        lines.append(f"It lacks {entries[place - 1][0] - accuracy:.4f} on the row above it.")
    return lines
