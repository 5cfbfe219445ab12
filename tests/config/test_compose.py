from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnctl.config import compose, paths
from cnnctl.errors import ConfigError, UsageError

MANY = "gives several values (cnnctl train -m runs each; a list is written [1,2])"
MLP = "# Mine.\nname: mine\nfamily: mlp\nyear: 2024\npaper: Mine 2024\ninput: [1, 8, 8]\n"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def composed(*overrides: str, root: str = "train") -> tuple[dict[str, Any], list[str]]:
    with compose.opened():
        config, problems = compose.compose(root, overrides)
    return config, [str(problem) for problem in problems]


def test_groups_then_the_recipe_then_the_overrides() -> None:
    config, problems = composed("recipe=digits", "model=mlp", "trainer.max_epochs=3")
    assert problems == []
    assert (config["model"]["name"], config["augment"]["name"]) == ("mlp", "shift_rotate")
    assert config["trainer"]["max_epochs"] == 3
    assert "hydra" not in config


def test_interpolations_are_resolved(monkeypatch) -> None:
    monkeypatch.setenv("PHOTOS", "photos")
    overrides = ["data=folder", "data.root=${outputs}/${oc.env:PHOTOS}", "seed=${data.size}"]
    config, problems = composed(*overrides, "outputs=${hydra:job.name}")
    assert problems == []
    assert (config["seed"], config["data"]["size"]) == (32, 32)
    assert (config["outputs"], config["data"]["root"]) == ("cnnctl", "cnnctl/photos")


def test_the_root_of_predict_has_five_keys() -> None:
    wanted = {"checkpoint": "best", "top": None, "tile": None, "output": None, "format": "table"}
    assert composed(root="predict")[0] == wanted


def test_every_fault_is_told_and_the_rest_is_composed() -> None:
    config, problems = composed(
        "seed=5", "nope=1", "model=resnetx", "optimizer=sgd", "[", "trainr.x=1"
    )
    assert problems == [
        "cannot read '[': a quote that is not closed, or a sign that no key has",
        "no 'resnetx' in group 'model' (see: cnnctl list models)",
        "unknown key 'nope'",
        "unknown key 'trainr.x'",
    ]
    assert (config["seed"], config["model"]["name"], config["optimizer"]["name"]) == (
        5,
        "lenet5",
        "sgd",
    )


def test_keys_of_a_group_that_could_not_be_chosen_are_not_blamed() -> None:
    assert composed("data=foldr", "data.root=x")[1] == [
        "no 'foldr' in group 'data' (did you mean 'folder'?)"
    ]


def test_a_value_that_does_not_resolve_or_is_missing_becomes_null() -> None:
    config, _ = composed("data=folder", "optimizer.lr=${nope}")
    assert (config["data"]["root"], config["optimizer"]["lr"]) == (None, None)


def test_nothing_is_left_open_behind_a_composition() -> None:
    composed("seed=${nope}")
    assert composed("seed=3")[0]["seed"] == 3
    assert not compose.GlobalHydra.instance().is_initialized()
    assert compose.HydraConfig.instance().cfg is None


def user_folder(place: str, tmp_path: Path, monkeypatch) -> Path:
    if place == "named":
        (tmp_path / "named").mkdir()
        monkeypatch.setenv("CNNCTL_CONFIG_DIR", str(tmp_path / "named"))
    return tmp_path / place


@pytest.mark.parametrize("place", ["conf", "named", "home/.config/cnnctl/conf"])
def test_options_of_the_user(place, tmp_path, monkeypatch) -> None:
    folder = user_folder(place, tmp_path, monkeypatch)
    put(folder / "model" / "mine.yaml", MLP + "hidden: [5]\nactivation: relu\n")
    put(folder / "model" / "mlp.yaml", "name: shadow\n")
    put(folder / "train.yaml", "seed: 99\n")
    config, problems = composed("model=mine")
    assert problems == []
    assert (config["model"]["hidden"], config["seed"]) == ([5], 0)
    assert composed("model=mlp")[0]["model"]["name"] == "mlp"
    assert composed("model=x")[1] == ["no 'x' in group 'model' (there are xception)"]


@pytest.mark.parametrize("place", ["conf", "named", "home/.config/cnnctl/conf"])
def test_broken_yaml_of_the_user_is_named_with_its_line(place, tmp_path, monkeypatch) -> None:
    file = user_folder(place, tmp_path, monkeypatch) / "model" / "mine.yaml"
    put(file, "# Mine.\nname: mine\n  family: mlp\n")
    assert composed("model=mine", "nope=1")[1] == [
        f"{file}:3: not valid YAML: mapping values are not allowed here",
        "unknown key 'nope'",
    ]
    assert composed()[1] == []


def test_an_edited_file_of_the_product_is_blamed_itself(tmp_path, monkeypatch) -> None:
    put(tmp_path / "own" / "train.yaml", "defaults: [_self_, model: lenet5]\nseed: 0\n")
    put(tmp_path / "own" / "model" / "lenet5.yaml", "name: [\n")
    monkeypatch.setattr(paths, "conf_dir", lambda: tmp_path / "own")
    with pytest.raises(ConfigError) as caught:
        composed("seed=1")
    file = tmp_path / "own" / "model" / "lenet5.yaml"
    assert str(caught.value).startswith(f"{file}:2: not valid YAML: ")


def test_the_folder_of_config_dir_comes_before_those_of_the_user(tmp_path) -> None:
    put(tmp_path / "more" / "logger" / "mine.yaml", "name: more\n")
    put(tmp_path / "conf" / "logger" / "mine.yaml", "name: conf\n")
    with compose.opened(paths.extra_dirs({"--config-dir": "more"})):
        assert compose.compose("train", ["logger=mine"])[0]["logger"] == {"name": "more"}
    assert composed("logger=mine")[0]["logger"] == {"name": "conf"}


def test_a_config_dir_that_is_missing_is_an_error() -> None:
    assert paths.extra_dirs({}) == []
    with pytest.raises(UsageError, match=r"^--config-dir is not a folder: nowhere$"):
        paths.extra_dirs({"--config-dir": "nowhere"})


def test_a_multirun_is_checked_one_sweep_at_a_time() -> None:
    with compose.opened():
        points = compose.points(["model=lenet5,mlp", "seed=range(0,3)", "outputs='a,b'"])
        assert compose.points([]) == [[]]
        assert compose.points(["optimizer=glob(adam*)"]) == [
            ["optimizer=adam"],
            ["optimizer=adamw"],
        ]
    assert points == [
        ["model=lenet5", "seed=0", "outputs='a,b'"],
        ["model=mlp", "seed=0", "outputs='a,b'"],
        ["model=lenet5", "seed=1", "outputs='a,b'"],
        ["model=lenet5", "seed=2", "outputs='a,b'"],
    ]


def test_a_multirun_that_cannot_be_read_is_an_error() -> None:
    with compose.opened(), pytest.raises(ConfigError, match=r"^cannot read 'a=\[': "):
        compose.points(["a=["])
    text = r"^'seed=interval\(0,1\)' has no end of values \(give them: "
    with compose.opened(), pytest.raises(ConfigError, match=text):
        compose.points(["seed=interval(0,1)"])
