"""The challenge of notebook 07: the learner's own net at LeNet's budget, trained like the modern LeNet and placed."""

import statistics
from dataclasses import replace

import torch
from torch import nn

from lenet_helpers.checks import BUDGET
from lenet_helpers.figures import show_ablation
from lenet_helpers.language import _
from lenet_helpers.recipes import RECIPES, count_parameters, load_ablation, load_split, recipe_steps
from lenet_helpers.training import read_row

MOST_EPOCHS = RECIPES["modern"].num_epochs


class Refused(Exception):
    """The net or its training cannot take part; the message tells the learner why and what to do."""


def check_challenge(make_net, num_epochs=MOST_EPOCHS, seeds=(0,), split=None, results=None):
    """Train the learner's net by the modern LeNet's recipe, print its place among the rows and return a picture of it.

    ``make_net`` returns a new net that takes images (N, 1, 28, 28) to scores (N, 10) within 62,200 parameters. Weights
    are initialised by Xavier's rule. The place goes by validation accuracy, the mean over ``seeds``: so a learner can
    try as often as she likes, and the test set stays unseen. A net that cannot take part, or more than ten epochs, is
    refused with a printed message, and None is returned. ``split`` and ``results`` default to ``load_split()`` and
    ``load_ablation()``.
    """
    if num_epochs < 1 or not seeds:
        raise ValueError("num_epochs must be at least 1, and seeds must hold at least one number")
    rows = (results or load_ablation())["rows"]
    try:
        if num_epochs > MOST_EPOCHS:
            text = _(
                "the challenge allows {most} epochs, and num_epochs is {given}; "
                "to be surer of a place, train with more seeds, such as seeds=(0, 1, 2)"
            )
            raise Refused(text.format(most=MOST_EPOCHS, given=num_epochs))
        num_parameters = inspect_net(make_net)
        train_iter, validation_iter = (split or load_split())[:2]
        text = _("Accepted: {count} of {budget} parameters.")
        print(text.format(count=f"{num_parameters:,}", budget=f"{BUDGET:,}"))
        recipe = replace(RECIPES["modern"], make_net=make_net, num_epochs=num_epochs)
        accuracy = statistics.mean(measure(recipe, seed, train_iter, validation_iter) for seed in seeds)
    except Refused as reason:
        print(_("Not accepted: {reason}.").format(reason=reason))
        return None
    print("\n".join(tell_place(rows, accuracy, num_parameters)))
    return show_ablation(rows, measure="validation_acc", yours=accuracy)


def inspect_net(make_net):
    """Return the number of parameters of the net that ``make_net`` returns; raise Refused if it cannot take part."""
    if isinstance(make_net, nn.Module) or not callable(make_net):
        raise Refused(_("hand in the function that makes the net, without calling it: check_challenge(make_net)"))
    torch.manual_seed(0)
    X = torch.rand(2, 1, 28, 28)
    net = attempt("make_net()", make_net)
    if not isinstance(net, nn.Module):
        text = _("make_net() must return a net, an nn.Module, and returned {kind}; does it end in `return`?")
        raise Refused(text.format(kind=type(net).__name__))
    net.eval()
    with torch.no_grad():
        scores = attempt(_("your net, given images of shape {shape},").format(shape=tuple(X.shape)), net, X)
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if shape != (2, 10):
        text = _("for 2 images the scores must have the shape (2, 10), one score per class; received {shape}")
        raise Refused(text.format(shape=shape))
    if not torch.isfinite(scores).all():
        raise Refused(_("the scores hold NaN or infinity before any training; look for a division or a logarithm"))
    num_parameters = count_parameters(net)
    if num_parameters == 0:
        raise Refused(_("your net has no parameters, so there is nothing to train"))
    if num_parameters > BUDGET:
        names = {name: parameter.numel() for name, parameter in net.named_parameters()}
        largest = max(names, key=names.get)
        text = _(
            "your net has {count} parameters, {excess} over the budget of {budget}; "
            "the largest share, {share}, lies in {largest}"
        )
        counts = {"count": num_parameters, "excess": num_parameters - BUDGET, "budget": BUDGET, "share": names[largest]}
        raise Refused(text.format(largest=largest, **{name: f"{number:,}" for name, number in counts.items()}))
    return num_parameters


def attempt(who, function, *arguments):
    """Return ``function(*arguments)``; refuse the net if that raises."""
    try:
        return function(*arguments)
    except Exception as error:
        raise Refused(_("{who} raised {error}").format(who=who, error=f"{type(error).__name__}: {error}")) from error


def measure(recipe, seed, train_iter, validation_iter):
    """Train with one seed, print a line per epoch and return the validation accuracy after the last one."""
    torch.manual_seed(seed)
    net, accuracy = attempt("make_net()", recipe.make_net), None
    try:
        for epoch, metric, accuracy in recipe_steps(recipe, net, train_iter, validation_iter, torch.device("cpu")):
            if accuracy is not None:
                loss = read_row(epoch, metric, accuracy)["loss"]
                text = _("seed {seed}, epoch {epoch}: loss {loss}, validation accuracy {accuracy}")
                print(text.format(seed=seed, epoch=epoch, loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}"))
    except FloatingPointError:
        text = _("the loss became NaN or infinite in epoch {epoch}: try batch norm after the convolutions")
        raise Refused(text.format(epoch=epoch)) from None
    except Exception as error:
        told = _("the training raised {error}").format(error=f"{type(error).__name__}: {error}")
        raise Refused(told) from error
    return accuracy


def tell_place(rows, accuracy, num_parameters):
    """Return the lines of the table by validation accuracy, best first, with the learner's net at its place."""
    entries = [(row["mean"]["validation_acc"], row["parameters"], row["title"]) for row in rows]
    yours = (accuracy, num_parameters, _("YOUR NET"))
    entries = sorted([*entries, yours], key=lambda entry: -entry[0])
    place = entries.index(yours)
    text = _("Your net takes place {place} of {count} by validation accuracy:")
    lines = [text.format(place=place + 1, count=len(entries))]
    for index, (value, parameters, title) in enumerate(entries):
        told = _("{count} parameters").format(count=f"{parameters:>6,}")
        lines.append(f"{'→' if index == place else ' '} {value:.3f}  {told}  {title}")
    if place:
        lack = f"{entries[place - 1][0] - accuracy:.4f}"
        lines.append(_("It is {lack} below the row above it.").format(lack=lack))
    return lines
