"""Which keys of a run that goes on may be changed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from cnnctl.config import compose, resume


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    with compose.opened():
        return compose.compose("train", ["hardware=cpu"])[0]


@pytest.fixture
def changed(saved):
    """`saved` with other values: changed({"optimizer.lr": 1})."""

    def change(values: dict[str, Any]) -> dict[str, Any]:
        config = deepcopy(saved)
        for key, value in values.items():
            *sections, name = key.split(".")
            section = config
            for part in sections:
                section = section[part]
            section[name] = value
        return config

    return change


def test_nothing_is_refused_of_what_stays_the_same(saved) -> None:
    assert resume.refused(saved, deepcopy(saved)) == []
    assert resume.warnings(saved, deepcopy(saved)) == []
    assert list(resume.differences(saved, deepcopy(saved))) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.max_epochs", 41),
        ("outputs", "elsewhere"),
        ("trainer.compile", True),
        ("checkpoint.every", "5steps"),
        ("progress", "none"),
        ("logger.name", "wandb"),
        ("on_nan", "rollback"),
        ("on_oom", "split"),
        ("hardware.name", "gpu"),
        ("hardware.devices", 2),
        ("hardware.accelerator", "gpu"),
        ("data.workers", 4),
        ("data.cache", "never"),
        ("data.batch_size", 32),
        ("trainer.accumulate", 2),
    ],
)
def test_what_does_not_change_the_mathematics_may_be_changed(saved, changed, key, value) -> None:
    assert resume.refused(saved, changed({key: value})) == []


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("seed", 1, "seed=1 would change the run, which has 0"),
        ("optimizer.lr", 1, "optimizer.lr=1 would change the run, which has 0.003"),
        ("optimizer.betas", [0, 0.9], "optimizer.betas=[0,0.9] would change the run, which has [0.9,0.999]"),  # noqa: E501 - the text in one piece
        ("trainer.clip", 2, "trainer.clip=2 would change the run, which has null"),
        ("hardware.precision", "bf16-mixed", "hardware.precision=bf16-mixed would change the run, which has 32-true"),  # noqa: E501 - the text in one piece
        ("data.split_seed", 1, "data.split_seed=1 would change the run, which has 0"),
        ("pretrained", "timm", "pretrained=timm would change the run, which has null"),
    ],
)  # fmt: skip
def test_what_would_change_it_is_refused_with_both_values(saved, changed, key, value, text) -> None:
    (problem,) = resume.refused(saved, changed({key: value}))
    assert (problem.key, problem.message) == (key, text)
    assert problem.hint == "that is a new run: cnnctl train --config RUN/config.yaml …"


def test_every_key_is_named(saved, changed) -> None:
    wanted = changed({"seed": 1, "optimizer.lr": 1, "augment.flip": 1, "trainer.max_epochs": 3})
    found = resume.refused(saved, wanted)
    keys = {"seed", "optimizer.lr", "augment.flip", "trainer.max_epochs"}
    assert {problem.key for problem in found} == keys


def test_of_another_choice_its_name_says_it_all(saved, changed) -> None:
    with compose.opened():
        wanted, _ = compose.compose("train", ["hardware=cpu", "optimizer=sgd", "augment=mixup"])
    found = {problem.key for problem in resume.refused(saved, wanted)}
    assert found == {"optimizer.name", "augment.name"}
    wanted["hardware"]["name"], wanted["hardware"]["precision"] = "gpu", "bf16-mixed"
    assert "hardware.precision" in {problem.key for problem in resume.refused(saved, wanted)}


def test_keys_that_are_new_or_gone_are_told(saved, changed) -> None:
    wanted = changed({"trainer.newer": 1})
    del wanted["trainer"]["clip"]
    assert set(resume.differences(saved, wanted)) == {("trainer.newer", None, 1)}
    assert set(resume.differences(wanted, saved)) == {("trainer.newer", 1, None)}


@pytest.mark.parametrize("epochs", [1, 39])
def test_a_run_is_not_cut(saved, changed, epochs) -> None:
    (problem,) = resume.refused(saved, changed({"trainer.max_epochs": epochs}))
    text = f"trainer.max_epochs={epochs} would cut the run, which has 40 (at least 40)"
    assert (problem.key, str(problem)) == ("trainer.max_epochs", text)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (7, 7, None),
        (7, 8, None),
        (7, None, None),
        (7, 6, "trainer.max_steps=6 would cut the run, which has 7 (at least 7)"),
        (None, 7, "trainer.max_steps=7 would cut the run, which has null"),
    ],
)
def test_steps_may_become_more_and_not_fewer(changed, before, after, text) -> None:
    one, other = (changed({"trainer.max_steps": steps}) for steps in (before, after))
    found = resume.refused(one, other)
    assert [(problem.key, str(problem)) for problem in found] == (
        [("trainer.max_steps", text)] if text else []
    )
    assert (resume.lengths(one) == resume.lengths(other)) == (before == after)


@pytest.mark.parametrize(
    ("key", "value", "shares"),
    [
        ("data.batch_size", 32, True),
        ("trainer.accumulate", 2, True),
        ("hardware.devices", "auto", False),  # other batches would be another global batch
        ("data.workers", 3, False),
        ("trainer.max_epochs", 41, False),
    ],
)
def test_batch_norm_notices_which_images_go_through_together(
    saved, changed, key, value, shares
) -> None:
    assert resume.shares(saved, changed({key: value})) is shares


@pytest.mark.parametrize(
    ("schedule", "warmup", "warned"),
    [
        ("cosine", 0, True),
        ("one_cycle", "30%", True),
        ("constant", 0, False),
        ("constant", "5steps", False),
        ("constant", "10%", True),
        ("multistep", "2epochs", False),
        ("plateau", 0, False),
    ],
)
def test_a_schedule_that_knows_its_end_is_warned_of(
    saved, changed, schedule, warmup, warned
) -> None:
    before = changed({"schedule.name": schedule, "schedule.warmup": warmup})
    after = deepcopy(before)
    assert resume.warnings(before, after) == []
    after["trainer"]["max_epochs"] = 50
    text = f"the {schedule} schedule now ends where the longer run does"
    text += "; the steps so far were made as if it ended earlier"
    assert resume.warnings(before, after) == ([text] if warned else [])


@pytest.mark.parametrize(("swa", "warned"), [("25%", True), ("5epochs", False), (None, False)])
def test_a_share_of_the_run_for_swa_is_warned_of(changed, swa, warned) -> None:
    before = changed({"schedule.name": "constant", "trainer.swa": swa, "trainer.max_steps": 7})
    after = deepcopy(before)
    assert resume.warnings(before, after) == []
    after["trainer"]["max_steps"] = 8
    text = f"trainer.swa={swa} is now a share of the longer run"
    assert resume.warnings(before, after) == ([text] if warned else [])
