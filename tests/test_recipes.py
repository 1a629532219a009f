"""The rows' nets, schedules and augmentations, the split, and training by a recipe."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lenet_helpers.checks import BUDGET
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
    make_lenet,
    one_cycle,
    recipe_steps,
    train_recipe,
)


@pytest.fixture
def X():
    torch.manual_seed(0)
    return torch.rand(200, 1, 28, 28) + 0.1  # no zeros, so that those of the border can be told apart


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_net_keeps_the_budget_and_gives_ten_scores(recipe, X):
    net = recipe.make_net()
    assert count_parameters(net) <= BUDGET
    assert net(X[:3]).shape == (3, 10)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("softmax", 7850), ("mlp", 62_020), ("original", 61_706), ("relu", 61_706), ("batch_norm", 61_750)],
)
def test_parameters(name, parameters):
    assert describe_recipe(RECIPES[name])["parameters"] == parameters


def test_original_is_the_lenet_of_the_lecture_note():
    kinds = " ".join(type(layer).__name__ for layer in make_lenet())
    block = "Conv2d Sigmoid AvgPool2d"
    assert kinds == f"{block} {block} Flatten Linear Sigmoid Linear Sigmoid Linear"


def test_ladder_changes_one_thing_at_a_time():
    original, *ladder = (describe_recipe(RECIPES[name]) for name in ("small_lr", "relu", "max_pooling", "batch_norm"))
    for row in ladder:
        assert {name for name in row if row[name] != original[name]} <= {"name", "title", "parameters"}
    modern, flips = describe_recipe(RECIPES["modern"]), describe_recipe(RECIPES["flips"])
    assert {name for name in modern if modern[name] != flips[name]} == {"name", "title", "augment"}


def test_settings_can_be_stored_as_json():
    for recipe in RECIPES.values():
        assert json.loads(json.dumps(describe_recipe(recipe))) == describe_recipe(recipe)


def test_one_cycle_rises_and_falls_to_zero():
    values = [one_cycle(i / 1000) for i in range(1001)]
    top = values.index(max(values))
    assert values[0] == 0 and values[top] == 1 and values[-1] == pytest.approx(0, abs=1e-6)
    assert values[:top] == sorted(values[:top]) and values[top:] == sorted(values[top:], reverse=True)
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
    assert torch.equal(validation.labels, load_split()[1].dataset.labels)
    known = {image.numpy().tobytes() for image in train.images}
    repeated = sum(image.numpy().tobytes() in known for image in validation.images)
    assert repeated < 10  # the data set itself holds a few images twice
    assert train.labels.bincount().add(validation.labels.bincount()).tolist() == [6000] * 10


def test_steps_follow_the_schedule(make_loaders):
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    recipe = replace(RECIPES["softmax"], num_epochs=2, lr=0.5, schedule=lambda progress: 1 - progress)
    for _ in recipe_steps(recipe, recipe.make_net(), *make_loaders(640), torch.device("cpu")):
        pass
    hook.remove()
    assert rates == pytest.approx([0.5 * (1 - i / 8) for i in range(8)])


@pytest.mark.parametrize("bfloat16", [False, True])
def test_train_recipe_learns_and_repeats_itself(make_loaders, capsys, bfloat16):
    recipe = replace(RECIPES["modern"], num_epochs=2, bfloat16=bfloat16)
    (net, history), (_, again) = (train_recipe(recipe, *make_loaders(64), seed=3) for _ in range(2))
    assert history == again
    assert history[-1]["epoch"] == 2 and history[-1]["test_acc"] > 0.6
    assert isinstance(net, nn.Sequential)
    assert "test acc" in capsys.readouterr().out


def test_missing_results_file_tells_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="make ablation"):
        load_ablation(tmp_path / "ablation.json")


def test_table_lines_up_with_one_seed_or_more():
    mean = {"test_acc": 0.91234, "validation_acc": 0.92, "loss": 0.3, "cpu_seconds": 482.6}
    row = {"title": "a net", "parameters": 61_706, "num_epochs": 10, "mean": mean}
    row["std"] = dict.fromkeys(mean, 0.0012) | {"cpu_seconds": 26.04}
    one_seed = row | {"title": "another net", "std": dict.fromkeys(mean)}
    head, first, second = format_rows([row, one_seed]).splitlines()
    assert "0.912 ± 0.001" in first and "61,706" in first and first.endswith("483 ±  26") and "±" not in second
    assert len(head) == len(first) == len(second)
    assert head.index("train loss") == first.index("0.300")
    assert head.index("test accuracy") == second.index("0.912") and "483" in second


def test_table_fits_the_page():
    assert max(map(len, format_rows(load_ablation()["rows"]).splitlines())) <= 90
