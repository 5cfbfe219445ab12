from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl import runs
from cnnctl.errors import RunError

SEE = "(see them with: cnnctl list runs)"


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Two finished runs and a third without a result, oldest first."""
    made = []
    for number, name in enumerate(["2026-01-01_a", "2026-01-02_b", "2026-01-03_c"]):
        run = tmp_path / "outputs/train" / name
        run.mkdir(parents=True)
        (run / runs.CONFIG).write_text("seed: 0\n")
        if number < 2:
            (run / runs.RESULT).write_text(json.dumps({"n": number}))
        made.append(run)
    return made


def refusal(target: str, outputs: str = "outputs") -> str:
    with pytest.raises(RunError) as caught:
        runs.find(target, outputs)
    return str(caught.value)


def test_a_run_folder_is_named_by_time_words_and_chance() -> None:
    before = dt.datetime.now().replace(microsecond=0)  # noqa: DTZ005 - the user's own clock
    run = runs.create("outputs", "train", "lenet5", "digits")
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_lenet5_digits_[0-9a-f]{4}", run.name)
    assert match
    assert dt.datetime.strptime(match[1], "%Y-%m-%d_%H-%M-%S") >= before  # noqa: DTZ007 - as above
    assert run.parent == Path("outputs/train")
    assert [entry.name for entry in run.iterdir()] == ["checkpoints"]


def test_what_has_no_checkpoints_has_no_place_for_them() -> None:
    run = runs.create("outputs", "evaluate", "lenet5", checkpoints=False)
    assert run.parent == Path("outputs/evaluate")
    assert list(run.iterdir()) == []
    assert runs.listed("outputs") == []


def test_runs_of_the_same_second_never_share_a_folder(monkeypatch) -> None:
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(runs.secrets, "token_hex", lambda _: next(drawn))

    class Stopped(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 21, 14, 3, 19, tzinfo=tz)

    monkeypatch.setattr(runs, "datetime", Stopped)
    names = [runs.create("outputs", "train", "x").name for _ in range(2)]
    assert names == ["2026-11-21_14-03-19_x_aaaa", "2026-11-21_14-03-19_x_bbbb"]


def test_outputs_may_be_meant_with_a_tilde(tmp_path) -> None:
    run = runs.create("~/runs", "train", "x")
    assert run.parent == tmp_path / "home/runs/train"
    (run / runs.CONFIG).write_text("seed: 0\n")
    assert runs.find(run.name, "~/runs") == run


@pytest.mark.parametrize("outputs", ["file", "file/below"])
def test_outputs_below_a_file_are_refused(outputs) -> None:
    Path("file").write_text("kept")
    with pytest.raises(RunError) as caught:
        runs.create(outputs, "train", "x")
    text = f"cannot make a run folder in {outputs}/train: Not a directory"
    assert str(caught.value) == f"{text} (choose another folder with outputs=…)"
    assert Path("file").read_text() == "kept"


def test_a_run_is_found_by_path_and_by_name(three) -> None:
    assert runs.find(str(three[2])) == three[2]
    assert runs.find("2026-01-02_b") == Path("outputs/train/2026-01-02_b")
    assert [run.name for run in runs.listed("outputs")] == [run.name for run in three]


def test_latest_is_the_last_finished_run(three) -> None:
    assert runs.find("latest") == Path("outputs/train/2026-01-02_b")
    for run in three[:2]:
        (run / runs.RESULT).unlink()
    assert refusal("latest") == "no finished run in outputs (make one with: cnnctl train)"
    assert refusal("latest", "no") == "no finished run in no (make one with: cnnctl train)"


def test_an_unknown_run_is_refused_with_the_nearest(three) -> None:
    assert refusal("2026-01-02_bb") == (
        "no run '2026-01-02_bb' in outputs (did you mean '2026-01-02_b'?)"
    )
    assert refusal("zzz") == f"no run 'zzz' in outputs {SEE}"


def test_a_folder_without_a_configuration_is_no_run(tmp_path) -> None:
    text = f"{tmp_path} is no run: it has no config.yaml (see runs with: cnnctl list runs)"
    assert refusal(str(tmp_path)) == text


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = (
    scalars | st.sampled_from(["1e-8", "null", "true", "3", "~"]) | st.lists(scalars, max_size=3)
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, values | st.dictionaries(texts, values, max_size=3), max_size=3))
def test_a_saved_configuration_is_read_back_the_same(tmp_path_factory, config) -> None:
    run = tmp_path_factory.mktemp("run")
    runs.write_config(run, config)
    assert runs.read_config(run / runs.CONFIG) == config
    assert [file.name for file in run.iterdir()] == [runs.CONFIG]


def test_a_saved_configuration_says_how_to_replay_it(tmp_path) -> None:
    runs.write_config(tmp_path, {"name": "grün", "lr": 1e-8})
    assert (tmp_path / runs.CONFIG).read_text(encoding="utf-8") == (
        f"# Replay this run:  cnnctl train --config {tmp_path / 'config.yaml'}\n"
        "name: grün\nlr: 1.0e-08\n"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-8", 1e-8),
        ("-2E+3", -2000.0),
        ("+5e0", 5.0),
        ("1e", "1e"),
        ("'1e-8'", "1e-8"),
        ("e5", "e5"),
    ],
)
def test_exponents_are_numbers_without_a_dot_too(tmp_path, text, value) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"eps: {text}\n")
    found = runs.read_config(file)["eps"]
    assert (type(found), found) == (type(value), value)
    assert yaml.safe_load("1e-8") == "1e-8"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\nb: [1,\n", "config.yaml:3: not valid YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "config.yaml:1: not valid YAML"),
        (b"a: \xff\xfe\n", "config.yaml: not valid YAML"),
        (b"- a\n", "config.yaml is no configuration (give the config.yaml of a run)"),
        (b"", "config.yaml is no configuration (give the config.yaml of a run)"),
    ],
)
def test_a_broken_configuration_is_refused_with_its_line(text, said) -> None:
    Path("config.yaml").write_bytes(text)
    with pytest.raises(RunError) as caught:
        runs.read_config(Path("config.yaml"))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("name", "reason"), [("no", "No such file or directory"), (".", "Is a directory")]
)
def test_a_configuration_that_cannot_be_opened_is_refused(name, reason) -> None:
    with pytest.raises(RunError) as caught:
        runs.read_config(Path(name))
    assert str(caught.value) == f"cannot read {name}: {reason}"


def test_a_file_that_cannot_be_written_is_named_and_left_alone(tmp_path) -> None:
    place = tmp_path / "plan.json"
    place.mkdir()
    with pytest.raises(RunError) as caught:
        runs.write_json(place, {})
    text = f"cannot write {place}: Is a directory (choose another folder with outputs=…)"
    assert str(caught.value) == text
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "home"] == ["plan.json"]


def test_a_document_is_written_readably(tmp_path) -> None:
    runs.write_json(tmp_path / "a.json", {"ä": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ä": 1\n}\n'


@pytest.mark.parametrize("text", [None, "", "{", "{}", "[]", "null"])
def test_a_run_without_a_whole_result_has_none(tmp_path, text) -> None:
    if text is not None:
        (tmp_path / runs.RESULT).write_text(text)
    assert runs.read_result(tmp_path) is None


def test_a_result_is_read(three) -> None:
    assert runs.read_result(three[1]) == {"n": 1}


def test_a_plan_is_read_back(tmp_path) -> None:
    runs.write_json(tmp_path / runs.PLAN, {"shape": [1, 32, 32], "classes": ["ä"]})
    assert runs.read_plan(tmp_path) == {"shape": [1, 32, 32], "classes": ["ä"]}


@pytest.mark.parametrize("text", [None, "", "{", b"\xff"])
def test_a_run_without_a_whole_plan_is_refused(tmp_path, text) -> None:
    if text is not None:
        (tmp_path / runs.PLAN).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunError) as caught:
        runs.read_plan(tmp_path)
    said = f"cannot read {tmp_path / 'plan.json'} (see runs with: cnnctl list runs)"
    assert str(caught.value) == said


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("way", ["unlink", "mkdir"])
def test_a_run_is_not_opened_again_where_nothing_can_be_written(three, monkeypatch, way) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, way, refuse)
        with pytest.raises(RunError) as caught:
            runs.reopen(three[0])
    assert str(caught.value) == f"cannot write in {three[0]}: Permission denied"
    runs.reopen(three[0])
    assert runs.read_result(three[0]) is None
    assert [entry.name for entry in (three[0]).iterdir() if entry.is_dir()] == ["checkpoints"]


def test_a_file_on_a_disk_that_has_become_read_only_is_named(tmp_path, monkeypatch) -> None:
    for way in ("write_text", "unlink"):
        monkeypatch.setattr(Path, way, refuse)
    with pytest.raises(RunError, match=r"^cannot write .*plan\.json: Permission denied"):
        runs.write_json(tmp_path / "plan.json", {})


def test_a_run_folder_that_cannot_be_written_is_not_locked(three, monkeypatch) -> None:
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError) as caught, runs.locked(three[0]):
        pass
    assert str(caught.value) == f"cannot write in {three[0]}: Permission denied"
