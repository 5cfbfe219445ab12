from __future__ import annotations

from cnnctl.config import compose, provenance


def rows(*overrides: str) -> dict[str, tuple[object, str]]:
    with compose.opened():
        config, problems = compose.compose("train", overrides)
        assert problems == []
        source = provenance.sources("train", overrides)
    table = provenance.rows(config, source)
    assert [list(row) for row in table] == [["key", "value", "source"]] * len(table)
    return {row["key"]: (row["value"], row["source"]) for row in table}


def test_every_key_has_the_file_that_set_it() -> None:
    found = rows()
    assert found["seed"] == (0, "conf/train.yaml")
    assert found["trainer.max_steps"] == (None, "conf/train.yaml")
    assert found["model.input"] == ([1, 32, 32], "conf/model/lenet5.yaml")
    assert found["optimizer.lr"] == (0.003, "conf/optimizer/adam.yaml")
    assert "?" not in {source for _, source in found.values()}


def test_a_recipe_and_an_override_come_last() -> None:
    found = rows("recipe=digits", "++optimizer.lr=1", "model=mlp")
    assert found["trainer.max_epochs"] == (40, "conf/recipe/digits.yaml")
    assert found["trainer.clip"] == (None, "conf/train.yaml")
    assert found["optimizer.lr"] == (1, "command line: ++optimizer.lr=1")
    assert found["model.hidden"] == ([300], "conf/model/mlp.yaml")


def test_a_dict_sets_only_the_keys_that_it_has() -> None:
    found = rows("trainer={max_epochs: 3}")
    assert found["trainer.max_epochs"] == (3, "command line: trainer={max_epochs: 3}")
    assert found["trainer.clip"] == (None, "conf/train.yaml")


def test_a_missing_value_is_no_source(tmp_path) -> None:
    file = tmp_path / "conf" / "recipe" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nseed: ???\ntrainer:\n  clip: 2\n")
    found = rows("recipe=mine")
    assert found["seed"] == (0, "conf/train.yaml")
    assert found["trainer.clip"] == (2, str(file))


def test_an_option_of_the_user_is_named_with_its_folder(tmp_path) -> None:
    (tmp_path / "conf" / "logger").mkdir(parents=True)
    (tmp_path / "conf" / "logger" / "mine.yaml").write_text("name: local\n")
    file = tmp_path / "conf" / "logger" / "mine.yaml"
    assert rows("logger=mine")["logger.name"] == ("local", str(file))


def test_an_empty_section_is_a_row_of_its_own() -> None:
    assert provenance.rows({"a": {}, "b": {"c": 1}}, {"b.c": "x"}) == [
        {"key": "a", "value": {}, "source": "?"},
        {"key": "b.c", "value": 1, "source": "x"},
    ]


def test_an_inherited_key_has_the_file_it_stands_in() -> None:
    found = rows("model=vgg16")
    assert found["model.name"] == ("vgg16", "conf/model/vgg16.yaml")
    assert found["model.hidden"] == ([4096, 4096], "conf/model/vgg_d.yaml")


def test_an_item_of_a_list_belongs_to_its_list() -> None:
    stages, source = rows("model=vgg_a", "model.stages.0=[conv3-32]")["model.stages"]
    assert stages[:2] == [["conv3-32"], ["conv3-128"]]
    assert source == "command line: model.stages.0=[conv3-32]"


def test_a_net_of_a_library_is_its_own_source() -> None:
    found = rows("model=torchvision/resnet18", "model.strict=true")
    assert found["model.twin"] == ("torchvision/resnet18", "torchvision/resnet18")
    assert found["model.strict"] == (True, "command line: model.strict=true")
