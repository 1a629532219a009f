"""The rows' nets, schedules and augmentations, the split, and training by a recipe."""

import json
from dataclasses import replace

import nets
import pytest
import torch
from nets import Bomb
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lenet_helpers.checks import BUDGET
from lenet_helpers.data import load_data_fashion_mnist
from lenet_helpers.recipes import (
    RECIPES,
    Augmented,
    Bfloat16,
    Mirrored,
    constant,
    count_parameters,
    describe_recipe,
    erase,
    flip,
    format_rows,
    load_ablation,
    load_split,
    make_deep,
    make_lenet,
    make_softmax,
    one_cycle,
    recipe_steps,
    train_recipe,
)
from lenet_helpers.shapes import walk_shapes


@pytest.fixture
def X():
    torch.manual_seed(0)
    return torch.rand(200, 1, 28, 28) + 0.1  # no zeros, so that those of the border can be told apart


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_net_keeps_the_budget_and_gives_ten_scores(recipe, X):
    net = recipe.make_net()
    assert count_parameters(net) <= BUDGET
    assert net(X[:3]).shape == (3, 10)


PARAMETERS = {
    "softmax": 7850,
    "mlp": 62_020,
    **dict.fromkeys(("original", "small_lr", "relu", "max_pooling"), 61_706),
    **dict.fromkeys(("batch_norm", "modern", "flips", "mirrored"), 61_750),
    "wide": 57_526,
    "record": 56_474,
}


def test_parameters():
    assert {name: describe_recipe(recipe)["parameters"] for name, recipe in RECIPES.items()} == PARAMETERS


def test_original_is_the_lenet_of_the_lecture_note():
    assert walk_shapes(make_lenet()) == walk_shapes(nets.make_lenet())


@pytest.mark.parametrize(
    ("names", "layers"),
    [
        ("softmax", "Flatten Linear"),
        ("mlp", "Flatten Linear ReLU Linear"),
        ("original small_lr", "Conv2d Sigmoid AvgPool2d " * 2 + "Flatten Linear Sigmoid Linear Sigmoid Linear"),
        ("relu", "Conv2d ReLU AvgPool2d " * 2 + "Flatten Linear ReLU Linear ReLU Linear"),
        ("max_pooling", "Conv2d ReLU MaxPool2d " * 2 + "Flatten Linear ReLU Linear ReLU Linear"),
        ("batch_norm wide", "Conv2d BatchNorm2d ReLU MaxPool2d " * 2 + "Flatten Linear ReLU Linear ReLU Linear"),
    ],
)
def test_layers(names, layers):
    for name in names.split():
        assert " ".join(type(layer).__name__ for layer in RECIPES[name].make_net()) == layers


def test_deep_net_pools_after_its_first_and_its_third_convolution():
    rows = walk_shapes(make_deep())
    sizes = [row.output_shape[1:] for row in rows if row.name == "Conv2d"]
    assert sizes == [(16, 28, 28), (32, 14, 14), (32, 14, 14), (48, 7, 7), (64, 7, 7)]
    assert [layer.bias for layer in make_deep() if isinstance(layer, nn.Conv2d)] == [None] * 5


def test_ladder_changes_one_thing_at_a_time():
    original, *ladder = (describe_recipe(RECIPES[name]) for name in ("small_lr", "relu", "max_pooling", "batch_norm"))
    for row in ladder:
        assert {name for name in row if row[name] != original[name]} <= {"name", "title", "parameters"}
    modern, flips = describe_recipe(RECIPES["modern"]), describe_recipe(RECIPES["flips"])
    assert {name for name in modern if modern[name] != flips[name]} == {"name", "title", "augment"}


def test_settings_of_the_record():
    assert describe_recipe(RECIPES["record"]) == {
        "name": "record",
        "title": "deep: five 3×3 convolutions",
        "num_epochs": 30,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "augment": ["flip", "erase"],
        "bfloat16": True,
        "parameters": 56_474,
    }


def test_settings_can_be_stored_as_json():
    for recipe in RECIPES.values():
        assert json.loads(json.dumps(describe_recipe(recipe))) == describe_recipe(recipe)


def test_one_cycle_rises_and_falls_to_zero():
    values = [one_cycle(i / 1000) for i in range(1001)]
    top = values.index(max(values))
    assert values[0] == 0 and values[top] == 1 and values[-1] == pytest.approx(0, abs=1e-6)
    assert values[:top] == sorted(values[:top]) and values[top:] == sorted(values[top:], reverse=True)
    assert one_cycle(0.05) == pytest.approx(0.25) and one_cycle(0.6) == pytest.approx(0.5)
    assert constant(0.0) == constant(1.0) == 1


def test_flip_mirrors_about_half_of_the_images(X):
    Y = flip(X)
    mirrored = (X.flip(-1) == Y).flatten(1).all(1)
    kept = (Y == X).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 60 < mirrored.sum() < 140


def test_erase_blackens_a_square_in_about_half_of_the_images():
    X = torch.ones(400, 1, 28, 28)
    holes = erase(X) == 0
    assert torch.equal(X, torch.ones_like(X))
    chosen = holes.flatten(1).any(1)
    assert 140 < chosen.sum() < 260
    for hole in holes[chosen, 0]:
        height, width = (int(hole.any(axis).sum()) for axis in (1, 0))
        assert height * width == hole.sum() and 5 <= height <= 9 and 5 <= width <= 9
    assert holes.sum((0, 1)).min() > 0  # every pixel is hit now and then


@pytest.mark.parametrize("change", [flip, erase])
def test_changes_are_drawn_where_the_images_are_and_need_no_square(change):
    changed = change(torch.ones(3, 1, 28, 20, device="meta"))
    assert (changed.shape, changed.device.type) == ((3, 1, 28, 20), "meta")


def test_mirrored_net_scores_an_image_and_its_mirror_image_alike(X):
    torch.manual_seed(0)
    net = make_lenet(nn.ReLU)
    mirrored = Mirrored(net)
    assert torch.equal(mirrored(X), net(X))
    mirrored.eval()
    torch.testing.assert_close(mirrored(X), (net(X) + net(X.flip(-1))) / 2)
    torch.testing.assert_close(mirrored(X), mirrored(X.flip(-1)))


def test_augmented_changes_images_and_keeps_labels_and_length(X):
    loader = [(X, torch.arange(200)), (X, torch.arange(200))]
    batches = list(Augmented(loader, (flip,)))
    assert len(Augmented(loader, (flip,))) == 2
    assert all(torch.equal(y, torch.arange(200)) for _, y in batches)
    assert not torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(next(iter(Augmented(loader, ())))[0], X)


def test_bfloat16_gives_nearly_the_same_scores_in_float32(X):
    torch.manual_seed(0)
    net = make_lenet(nn.ReLU)
    exact, rounded = net(X), Bfloat16(net)(X)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)
    assert not torch.equal(rounded, exact)


def test_split_holds_out_5000_images_once_and_for_all():
    train_iter, validation_iter, test_iter = load_split(batch_size=256)
    train, validation = train_iter.dataset, validation_iter.dataset
    assert (len(train), len(validation), len(test_iter.dataset)) == (55_000, 5_000, 10_000)
    last = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))[-5000:]
    assert torch.equal(validation.images, load_data_fashion_mnist(1)[0].dataset.images[last])
    assert [len(loader) for loader in load_split()] == [len(train_iter), len(validation_iter), len(test_iter)]
    assert not torch.equal(next(iter(train_iter))[1], train.labels[:256])
    assert torch.equal(next(iter(validation_iter))[1], validation.labels[:256])
    known = {image.numpy().tobytes() for image in train.images}
    repeated = sum(image.numpy().tobytes() in known for image in validation.images)
    assert repeated < 10  # the data set itself holds a few images twice
    assert train.labels.bincount().add(validation.labels.bincount()).tolist() == [6000] * 10


@pytest.fixture
def steps():
    """The settings of the optimizer at each of its steps."""
    steps = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: steps.append(dict(optimizer.param_groups[0])))
    yield steps
    hook.remove()


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_steps_follow_the_recipe(momentum, make_loaders, steps):
    recipe = replace(RECIPES["softmax"], num_epochs=2, lr=0.5, momentum=momentum, weight_decay=0.01)
    recipe = replace(recipe, schedule=lambda progress: 0.9 - progress / 2)
    for _ in recipe_steps(recipe, recipe.make_net(), *make_loaders(640), torch.device("cpu")):
        pass
    assert [step["lr"] for step in steps] == pytest.approx([0.5 * (0.9 - i / 16) for i in range(8)])
    for step in steps:
        assert (step["momentum"], step["nesterov"], step["weight_decay"]) == (momentum, momentum > 0, 0.01)


@pytest.mark.parametrize("options", [{}, {"memory_format": torch.contiguous_format}])
def test_memory_format_is_channels_last_but_for_another_one(options, make_loaders):
    recipe = replace(RECIPES["original"], num_epochs=1)
    net, _ = train_recipe(recipe, *make_loaders(640), **options)
    stepped = recipe.make_net()
    next(recipe_steps(recipe, stepped, *make_loaders(640), torch.device("cpu"), **options))
    for weight in (net[3].weight, stepped[3].weight):
        assert weight.is_contiguous(memory_format=torch.channels_last) == (not options)
        assert weight.is_contiguous() == bool(options)


def test_recipe_trains_on_the_device_that_is_named(make_loaders):
    """On "meta" all works but for reading a number."""
    recipe = RECIPES["softmax"]
    _epoch, metric, _test_acc = next(recipe_steps(recipe, recipe.make_net(), *make_loaders(640), torch.device("meta")))
    assert metric.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta tensor"):
        train_recipe(recipe, *make_loaders(640), device="meta")


def test_seed_is_0_but_for_another_one(make_loaders):
    recipe = replace(RECIPES["softmax"], num_epochs=1)
    default, zero, one = (
        train_recipe(recipe, *make_loaders(640), **seed)[1] for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert default == zero != one


@pytest.mark.parametrize("bfloat16", [False, True])
def test_recipe_chooses_the_precision(bfloat16, make_loaders):
    net, rounded = make_softmax(), []
    net.register_forward_hook(lambda *_: rounded.append(torch.is_autocast_enabled("cpu")))
    recipe = replace(RECIPES["softmax"], num_epochs=1, bfloat16=bfloat16)
    for _ in recipe_steps(recipe, net, *make_loaders(640), torch.device("cpu")):
        pass
    assert rounded == [bfloat16] * 5, "four steps of training and the test"


@pytest.mark.parametrize(
    ("error", "told"), [(KeyboardInterrupt, "you interrupted it"), (FloatingPointError("the loss is nan"), "is nan")]
)
def test_recipe_that_is_stopped_keeps_the_net_and_the_history(error, told, make_loaders, capsys):
    recipe = replace(RECIPES["softmax"], make_net=lambda: nn.Sequential(*make_softmax(), Bomb("forward", 3, error)))
    net, history = train_recipe(recipe, *make_loaders(640))
    assert [row["epoch"] for row in history] == [0.25, 0.5]
    assert isinstance(net, nn.Sequential)
    assert told in capsys.readouterr().out


@pytest.mark.fault("training", "a slip in an argument")
def test_slips_are_told_and_errors_of_pytorch_have_a_cure(make_loaders, capsys):
    recipe = replace(RECIPES["softmax"], num_epochs=1)
    with pytest.raises(ValueError, match=r"^device must be a torch.device or its name, .*; it is None$"):
        train_recipe(recipe, *make_loaders(640), device=None)
    with pytest.raises(TypeError, match="and is of type NoneType"):
        train_recipe(replace(recipe, make_net=lambda: None), *make_loaders(640))
    assert capsys.readouterr().out == ""
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        train_recipe(replace(recipe, make_net=lambda: nn.Linear(784, 10)), *make_loaders(640))
    assert "If this is about shapes" in caught.value.__notes__[0]
    assert train_recipe(recipe, *make_loaders(640))[1][-1]["epoch"] == 1


@pytest.mark.parametrize("bfloat16", [False, True])
def test_train_recipe_learns_and_repeats_itself(make_loaders, capsys, bfloat16):
    recipe = replace(RECIPES["modern"], num_epochs=2, bfloat16=bfloat16)
    (net, history), (_, again) = (train_recipe(recipe, *make_loaders(64), seed=3) for _ in range(2))
    assert history == again
    assert history[-1]["epoch"] == 2 and history[-1]["test_acc"] > 0.6
    assert isinstance(net, nn.Sequential)
    assert "test acc" in capsys.readouterr().out


def test_missing_results_file_tells_the_command(tmp_path):
    told = "^the results file ablation.json is not there: make it with `make ablation`$"
    with pytest.raises(FileNotFoundError, match=told):
        load_ablation(tmp_path / "ablation.json")


def test_table_lines_up_with_one_seed_or_more():
    mean = {"test_acc": 0.91234, "validation_acc": 0.92, "loss": 0.3, "cpu_seconds": 482.6}
    row = {"title": "a net", "parameters": 61_706, "num_epochs": 10, "mean": mean}
    row["std"] = dict.fromkeys(mean, 0.0012) | {"cpu_seconds": 26.04}
    one_seed = row | {"title": "another net", "std": dict.fromkeys(mean)}
    assert format_rows([row, one_seed]).splitlines() == [
        "             parameters  epochs  test accuracy  train loss         CPU s",
        "a net            61,706      10  0.912 ± 0.001  0.300 ± 0.001  483 ±  26",
        "another net      61,706      10  0.912          0.300          483      ",
    ]


def test_table_fits_the_page():
    assert max(map(len, format_rows(load_ablation()["rows"]).splitlines())) <= 90
