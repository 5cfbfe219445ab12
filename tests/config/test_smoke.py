from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config import companions, compose, paths, preflight, schema, smoke
from cnnctl.config.duration import Duration
from cnnctl.config.masks import MASKS
from cnnctl.config.rules_learning import swa_begin

OPTIONS = {
    group: sorted(file.stem for file in (paths.conf_dir() / group).glob("*.yaml"))
    for group in ("recipe", "data", "schedule", "hardware")
}
EVERY = [(group, name) for group, names in OPTIONS.items() for name in names]
NEEDS = {"folder": ["data.root=x"], "folder_masks": ["data.root=x"], "unet_isbi": ["data.root=x"]}
ALONE = {"devices": 1, "num_nodes": 1, "strategy": "auto", "sync_batchnorm": False}
MAY_CHANGE = {"data", "loss", "trainer", "optimizer", "schedule", "hardware", "transfer", "logger"}


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """Nobody may change it, which a test looks at."""
    with compose.opened():
        config, problems = compose.compose("train", companions.completed(overrides))
    assert problems == []
    return config


def checked(config: dict[str, Any]) -> schema.Train:
    train, problems = preflight.check(config, [])
    assert problems == []
    assert train is not None
    return train


def shrunk(*overrides: str) -> dict[str, Any]:
    return smoke.shrink(composed(*overrides))


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return composed("data=fake", "data.size=32", "trainer.max_epochs=600")


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_option_can_be_shrunk_and_still_fits_the_schema(group, name) -> None:
    long = [] if group == "recipe" else ["trainer.max_epochs=1000"]
    config = composed(f"{group}={name}", *NEEDS.get(name, []), *long)
    before = copy.deepcopy(config)
    found = smoke.shrink(config)
    assert config == before
    train = checked(found)
    assert train.trainer.max_epochs == 2
    assert train.data.name in ("digits", "fake", "shapes")
    assert (train.data.name == "shapes") == (config["data"]["name"] in MASKS)
    assert smoke.shrink(found) == found


@pytest.mark.parametrize("recipe", OPTIONS["recipe"])
def test_what_a_recipe_is_about_stays(recipe) -> None:
    config = composed(f"recipe={recipe}", *NEEDS.get(recipe, []))
    found = smoke.shrink(config)
    assert {key for key in config if found[key] != config[key]} <= MAY_CHANGE
    assert found.keys() == config.keys()
    for section in MAY_CHANGE - {"data", "logger"}:
        assert found[section].keys() == config[section].keys()
    for key in ("label_smoothing", "ema", "clip", "test_flip", "swa_lr", "channels_last"):
        assert found["trainer"][key] == config["trainer"][key]
    same = {key: value for key, value in config["optimizer"].items() if key != "lr"}
    assert same.items() <= found["optimizer"].items()
    for key in ("channels", "mean", "std", "split_seed", "balance"):
        assert found["data"][key] == config["data"][key]
    assert found["schedule"]["name"] == config["schedule"]["name"]
    assert found["data"]["workers"] == 0


@pytest.mark.parametrize("name", OPTIONS["data"])
def test_noise_takes_the_place_of_images_with_all_keys_of_noise(name) -> None:
    needs = NEEDS.get(name, [])
    found = shrunk(f"data={name}", "data.size=300", "data.batch_size=256", *needs)["data"]
    if name == "digits":
        assert (found["name"], found["size"], found["batch_size"]) == ("digits", 300, 256)
        assert found["test_fraction"] == 0.8
        return
    masks = name in MASKS
    kind = "shapes" if masks else "fake"
    assert set(found) == set(schema.DATA[kind].__dataclass_fields__)
    assert (found["name"], found["size"], found["batch_size"]) == (kind, 80, 3)
    assert found["images"] == 18
    assert found.get("classes") == (None if masks else 6)
    assert found["source"] == f"{'shapes' if masks else 'noise'} of a smoke run"


def test_shapes_have_classes_of_their_own_and_so_weights_go() -> None:
    words = ["data=voc", "loss=focal", f"loss.weights={[1] * 21}".replace(" ", ""), "loss.gamma=3"]
    found = shrunk(*words)
    assert (found["loss"]["weights"], found["loss"]["gamma"]) == (None, 3)
    assert (found["data"]["resize"], found["data"]["channels"]) == (None, 3)
    found = shrunk("data=shapes", "loss=focal", "loss.weights=[1,2,3,4]")
    assert found["loss"]["weights"] == [1, 2, 3, 4]
    assert found["data"]["images"] == 18


@pytest.mark.parametrize(("classes", "wanted"), [(2, 2), (6, 6), (1000, 6)])
def test_a_few_classes_stay_as_many_as_they_are(classes, wanted) -> None:
    assert shrunk("data=fake", f"data.classes={classes}")["data"]["classes"] == wanted


def test_small_images_and_batches_stay_and_a_library_net_keeps_its_size() -> None:
    found = shrunk("data=cifar10", "data.batch_size=1")["data"]
    assert (found["size"], found["batch_size"]) == (32, 1)
    config = composed("data=imagenet")
    library = config | {"model": config["model"] | {"family": "library"}}
    assert smoke.shrink(library)["data"]["size"] == 224
    assert smoke.shrink(config)["data"]["size"] == 80


def test_folds_go_because_there_are_few_images() -> None:
    found = shrunk("data.folds=5", "data.fold=2")["data"]
    assert (found["folds"], found["fold"]) == (None, None)


@pytest.mark.parametrize(
    ("warmup", "max_steps", "wanted"),
    [("0", "null", 0), ("5epochs", "null", "30%"), ("300epochs", "null", "50%"),
     ("600epochs", "null", "100%"), ("10%", "null", "30%"), ("45%", "null", "45%"),
     ("100steps", "null", "30%"), ("100steps", "200", "50%"), ("500steps", "200", "100%")],
)  # fmt: skip
def test_a_warm_up_becomes_its_share_and_one_step_at_least(warmup, max_steps, wanted) -> None:
    words = [f"schedule.warmup={warmup}", f"trainer.max_steps={max_steps}"]
    found = shrunk("schedule=cosine", "trainer.max_epochs=600", *words)
    assert found["schedule"]["warmup"] == wanted
    assert found["trainer"]["max_steps"] is None
    for total in (2, 4, 6):
        steps = Duration.parse(wanted).steps(per_epoch=total // 2, total=total)
        assert steps <= total
        assert (steps > 0) == (wanted != 0)


@pytest.mark.parametrize(
    ("schedule", "key", "wanted"),
    [("step", "every", 1), ("multistep", "milestones", [1]), ("plateau", "patience", 0)],
)
def test_a_cut_comes_after_the_first_epoch(schedule, key, wanted) -> None:
    found = shrunk(f"schedule={schedule}", "trainer.max_epochs=90")
    assert found["schedule"][key] == wanted
    assert found["schedule"]["gamma"] == 0.1


@pytest.mark.parametrize("swa", ["75%", "150epochs", "100steps"])
def test_a_mean_of_the_weights_still_has_two_epochs(swa) -> None:
    words = ["trainer.swa_lr=0.01", "trainer.max_epochs=200", "trainer.accumulate=4"]
    train = checked(shrunk(f"trainer.swa={swa}", *words))
    for per_epoch in (1, 2, 3, 180):
        assert swa_begin(train.trainer, per_epoch=per_epoch, steps=2 * per_epoch) == per_epoch


def test_lengths_that_count_epochs_follow() -> None:
    words = ["trainer.swa=150epochs", "trainer.max_epochs=200", "trainer.accumulate=8"]
    found = shrunk("transfer=finetune_top", "transfer.unfreeze_every=20", *words)
    assert found["trainer"]["swa"] == "50%"
    assert found["trainer"]["accumulate"] == 2
    assert found["transfer"]["unfreeze_every"] == 1
    found = shrunk()
    assert found["trainer"]["swa"] is None
    assert found["trainer"]["accumulate"] == 1
    assert found["transfer"]["unfreeze_every"] is None


@pytest.mark.parametrize(
    ("words", "lr"),
    [(["data.batch_size=300"], 0.001), (["data.batch_size=3"], 0.1), (["data.batch_size=2"], 0.1),
     (["data.batch_size=30", "trainer.accumulate=20"], 0.001),
     (["data.batch_size=300", "optimizer.scaling=linear"], 0.1)],
)  # fmt: skip
def test_the_learning_rate_shrinks_as_the_batch_does_unless_it_does_so_anyway(words, lr) -> None:
    found = shrunk("data=fake", "optimizer=sgd", "optimizer.lr=0.1", *words)
    assert found["optimizer"]["lr"] == pytest.approx(lr)


def test_the_digits_keep_their_learning_rate_and_their_batch() -> None:
    before, found = composed(), shrunk()
    assert found["optimizer"] == before["optimizer"]
    assert found["data"]["batch_size"] == before["data"]["batch_size"]


@pytest.mark.parametrize("hardware", OPTIONS["hardware"])
def test_one_device_without_what_a_machine_may_lack(hardware) -> None:
    found = shrunk(f"hardware={hardware}", "trainer.compile=true", "logger=wandb")
    assert ALONE.items() <= found["hardware"].items()
    assert found["hardware"]["accelerator"] == ("cpu" if hardware == "cpu" else "auto")
    assert found["trainer"]["compile"] is False
    assert found["logger"] == {"name": "local"}


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [("16-mixed", "32-true"), ("16-true", "32-true"), ("bf16-mixed", "bf16-mixed"),
     ("64-true", "64-true"), ("32-true", "32-true")],
)  # fmt: skip
def test_float16_goes_since_no_cpu_has_it(precision, wanted) -> None:
    found = shrunk(f"hardware.precision={precision}")
    assert found["hardware"]["precision"] == wanted


@settings(deadline=None, max_examples=40)
@given(
    amount=st.integers(0, 600), unit=st.sampled_from(["steps", "epochs", "%"]),
    epochs=st.integers(1, 600), steps=st.none() | st.integers(1, 10**6),
    batch=st.integers(1, 4096), accumulate=st.integers(1, 64), size=st.integers(1, 512),
)  # fmt: skip
def test_whatever_the_numbers_the_second_time_changes_nothing(
    plain, amount, unit, epochs, steps, batch, accumulate, size
) -> None:
    length = f"{min(amount, 100) if unit == '%' else amount}{unit}"
    config = copy.deepcopy(plain)
    config["data"] |= {"batch_size": batch, "size": size}
    config["trainer"] |= {"max_epochs": epochs, "max_steps": steps, "accumulate": accumulate}
    config["schedule"]["warmup"] = length
    found = smoke.shrink(config)
    assert smoke.shrink(found) == found
    train = checked(found)
    assert train.schedule.warmup.unit in ("%", unit)
    assert train.schedule.warmup.amount <= 100
    assert (train.schedule.warmup.amount == 0) == (amount == 0)
