from __future__ import annotations

from dataclasses import replace

import pytest

from cnnctl.commands import job
from cnnctl.config import compose
from cnnctl.errors import ConfigError
from cnnctl.plan_checks import check

STEP = "schedule=step"
CUTS = "schedule=multistep"


def checked(*overrides: str, devices: int = 1) -> list[str]:
    """What is said of a plan on 1259 digits, as if the machine had so many devices."""
    words = ["hardware=cpu", "progress=none", "model=mlp", *overrides]
    with compose.opened():
        config, problems = compose.compose("train", words)
    assert problems == []
    ready = job.prepare(config, words)
    device = replace(ready.plan.device, devices=devices)
    whole = ready.plan.global_batch * devices
    return check(ready.train, replace(ready.plan, device=device, global_batch=whole))


def refused(*overrides: str, devices: int = 1) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checked(*overrides, devices=devices)
    return [str(problem) for problem in caught.value.problems]


def test_the_main_road_needs_no_word() -> None:
    assert checked() == []
    assert checked("trainer.accumulate=4") == []  # 20 batches
    assert checked("data.batch_size=1259", "on_oom=split", "on_nan=rollback") == []


@pytest.mark.parametrize(
    ("overrides", "devices", "text"),
    [
        (
            ["data.batch_size=630", "trainer.accumulate=2"], 1,
            (
                "a step of data.batch_size=630 x trainer.accumulate=2 takes 1,260 images, "
                "but there are 1,259 to train on (at most data.batch_size=629)"
            ),
        ),
        (
            ["data.batch_size=200"], 8,
            (
                "a step of data.batch_size=200 x 8 devices takes 1,600 images, "
                "but there are 1,259 to train on (at most data.batch_size=157)"
            ),
        ),
        (
            ["data.batch_size=2", "trainer.accumulate=200"], 8,
            (
                "a step of data.batch_size=2 x 8 devices x trainer.accumulate=200 takes "
                "3,200 images, but there are 1,259 to train on "
                "(fewer devices, or less to accumulate)"
            ),
        ),
    ],
)  # fmt: skip
def test_a_step_of_more_images_than_there_are_is_refused(overrides, devices, text) -> None:
    assert refused(*overrides, devices=devices) == [text]


def test_a_step_of_all_images_is_allowed() -> None:
    (found,) = checked("data.batch_size=629", "trainer.accumulate=2")
    assert found.endswith("the 3 batches of an epoch: its last step has one image instead of 1258")
    assert checked("data.batch_size=157", devices=8) == []


def test_devices_that_are_known_now_are_asked_about_splitting() -> None:
    found = refused("on_oom=split", devices=2)
    assert len(found) == 1
    assert found[0].startswith("on_oom=split works on one device, got 2: ")


def test_all_that_is_refused_is_told_at_once() -> None:
    assert len(refused("on_oom=split", "data.batch_size=1000", devices=2)) == 2


@pytest.mark.parametrize("batch", [1260, 5000])
def test_one_batch_may_be_larger_than_the_set_unless_its_rate_is_scaled(batch) -> None:
    assert checked(f"data.batch_size={batch}") == []
    (found,) = checked(f"data.batch_size={batch}", "optimizer.scaling=linear")
    text = f"data.batch_size={batch}, but there are 1259 images to train on"
    assert found == f"{text}: the learning rate is scaled for {batch}"


@pytest.mark.parametrize(
    ("overrides", "devices", "text"),
    [
        (["trainer.accumulate=3"], 1, "=3 does not divide the 20 batches of an epoch: 107 192"),
        (["trainer.accumulate=19"], 1, "=19 does not divide the 20 batches of an epoch: 43 1216"),
        # 630 images for each device: 9 batches of 64 and 54 left
        (["trainer.accumulate=3"], 2, "=3 does not divide the 10 batches of an epoch: 108 384"),
    ],
)
def test_a_last_step_of_fewer_batches_is_told_with_its_images(overrides, devices, text) -> None:
    start, _, numbers = text.rpartition(": ")
    few, whole = numbers.split()
    expected = f"trainer.accumulate{start}: its last step has {few} images instead of {whole}"
    assert checked(*overrides, devices=devices) == [expected]


def test_a_last_step_that_is_never_made_is_not_told() -> None:
    assert checked("trainer.accumulate=3", "trainer.max_steps=6") == []
    assert len(checked("trainer.accumulate=3", "trainer.max_steps=7")) == 1


@pytest.mark.parametrize(
    ("overrides", "epoch", "missed"),
    [
        ([STEP, "schedule.every=3", "trainer.max_steps=60"], 3, "3"),
        ([CUTS, "trainer.max_steps=400"], 20, "20, 30"),
        ([CUTS, "trainer.max_steps=401"], 21, "30"),
        ([CUTS, "trainer.max_steps=1"], 1, "20, 30"),
    ],
)
def test_cuts_of_the_learning_rate_beyond_max_steps_are_told(overrides, epoch, missed) -> None:
    steps = overrides[-1]
    assert checked(*overrides) == [
        f"{steps} ends the run in epoch {epoch}: the learning rate is not cut after epoch {missed}"
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        [STEP, "schedule.every=3", "trainer.max_steps=61"],
        [CUTS, "trainer.max_steps=601"],
        [CUTS, "schedule.milestones=[]", "trainer.max_steps=5"],
        ["schedule=cosine", "trainer.max_steps=5"],
        ["schedule=plateau", "trainer.max_steps=5"],
    ],
)
def test_cuts_that_are_reached_or_depend_on_the_steps_are_not_told(overrides) -> None:
    assert checked(*overrides) == []


def test_weights_of_classes_for_another_number_of_them() -> None:
    """Told with the plan: by a dry run, too, and before there is a folder."""
    masks = ("data=shapes", "data.images=20", "model=unet_small", "loss=focal")
    text = "loss.weights must have one number for each of 4 classes, got {} "
    text += "(background, disc, square, triangle)"
    for weights, count in (("[1]", 1), ("[1,2,3,4,5]", 5)):
        assert refused(*masks, f"loss.weights={weights}") == [text.format(count)]
    assert checked(*masks, "loss.weights=[0,1,2,3]") == []
    assert checked(*masks) == []
