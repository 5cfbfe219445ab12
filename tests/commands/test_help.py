from __future__ import annotations

import dataclasses

import pytest

from cnnctl.commands import COMMON, VERBS
from cnnctl.commands import help as pages
from cnnctl.config import audit, paths, schema
from cnnctl.config.images import Data


@pytest.mark.parametrize("name", VERBS)
def test_the_page_of_a_verb(cnnctl, name: str) -> None:
    code, out, err = cnnctl(name, "--help")
    assert (code, err) == (0, "")
    verb = VERBS[name]
    assert out.startswith(f"usage: {verb.usage}\n\n{verb.summary}.\n\n{verb.about}\n\nflags:\n")
    for flag, (_, text) in {**verb.flags, **COMMON}.items():
        assert flag in out
        assert text in out
    assert cnnctl(name, "-h", "--json").out == out


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", VERBS)
def test_no_row_is_wider_than_the_terminal(
    cnnctl, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    _, _, tables = cnnctl(name, "--help").out.partition("\nflags:\n")
    assert max(map(len, tables.splitlines())) <= width


def test_what_does_not_fit_goes_on_below_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = pages._table(
        "keys", [("a.key", "one two three four five six seven eight"), ("b", "nine")]
    )
    assert table.splitlines() == [
        "keys:",
        "  a.key  one two three four five six",
        "         seven eight",
        "  b      nine",
    ]


def test_groups_are_named_with_their_options_or_how_many_there_are(cnnctl) -> None:
    lines = cnnctl("train", "--help").out.splitlines()
    rows = lines[lines.index("groups:") + 1 : lines.index("keys:") - 1]
    files = paths.config_files()
    assert [row.split()[0] for row in rows] == list(pages.GROUPS)
    assert set(files) == set(pages.GROUPS)
    for row in rows:
        group, _, text = row.strip().partition(" ")
        few = len(files[group]) <= paths.FEW
        plural = "data" if group == "data" else f"{group}s"
        many = f"{len(files[group])} {plural}, see: cnnctl list {plural}"
        named = ", ".join(sorted(files[group]))
        assert text.strip() == (named if few else many)


def test_every_key_is_named_with_type_meaning_and_limits(cnnctl) -> None:
    _, _, keys = cnnctl("train", "--help").out.partition("\nkeys:\n")
    for field in dataclasses.fields(schema.Hardware):
        assert f"  hardware.{field.name} " in keys or field.name == "name"
    for lines in (
        "  trainer.clip               largest norm of the gradient [a number or null, above 0]\n",
        "  data.quarantine            folder: a file that lists images to leave out [text or null",
        "  data.download              mnist and 12 others: download it if it is not there [true or",
        "  optimizer.nesterov         sgd: Nesterov's form of the momentum [true or false]\n",
        "  data.on_error              what to do with an image that cannot be read [one of fail,",
    ):
        assert lines in keys
    assert "groups:" not in cnnctl("evaluate", "--help").out
    assert "  split        which images [one of train, val, test]\n" in cnnctl("evaluate", "-h").out


def test_an_audit_names_the_groups_that_it_composes_and_no_other(cnnctl) -> None:
    lines = cnnctl("audit", "--help").out.splitlines()
    rows = lines[lines.index("groups:") + 1 : lines.index("keys:") - 1]
    nets, sets = (len(paths.config_files()[group]) for group in ("model", "data"))
    assert [row.split(maxsplit=1) for row in rows] == [
        ["model", f"{nets} models, see: cnnctl list models"],
        ["data", f"{sets} data, see: cnnctl list data"],
        ["optimizer", "adam, adamw, rmsprop, sgd"],
    ]


def test_an_audit_names_its_own_keys_first_and_each_of_them(cnnctl) -> None:
    _, _, keys = cnnctl("audit", "--help").out.partition("\nkeys:\n")
    named = [line.split()[0] for line in keys.splitlines() if line[2:3].strip()]
    own = [field.name for field in dataclasses.fields(audit.Audit)]
    assert own[-3:] == list(audit.GROUPS)
    assert named[: len(own) - 3] == own[:-3]
    assert named[len(own) - 3] == "model.…"
    for line in (
        "  budget                     memories to fit into: 3GB,24GB [a list of texts or null]\n",
        "  memory                     what the memory columns count [one of rows, slides, outputs,",
        "  data.verify                folder: decode every image once before training",
        "  optimizer.momentum         sgd: momentum [a number, at least 0, below 1]\n",
    ):
        assert line in keys
    for field in dataclasses.fields(Data):
        assert keys.count(f"  data.{field.name} ") == (field.name != "name")


def test_a_verb_without_a_configuration_has_neither_groups_nor_keys(cnnctl) -> None:
    for verb in set(VERBS) - set(pages.COMPOSES):
        tables = cnnctl(verb, "--help").out.partition("\nflags:\n")[2]
        assert "groups:" not in tables
        assert "keys:" not in tables
    assert set(pages.COMPOSES) == {
        "train", "show", "evaluate", "predict", "export", "bench", "audit"
    }  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_written_by_hand_fits_80_columns(verb: str) -> None:
    written = f"usage: {VERBS[verb].usage}\n{VERBS[verb].about}\n{VERBS[verb].summary}"
    assert [line for line in written.splitlines() if len(line) > 80] == []
