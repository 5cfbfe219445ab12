from __future__ import annotations

import copy
import subprocess
import sys

import audits
import pytest

from cnnctl.config import audit
from cnnctl.errors import UsageError
from cnnctl.report import formats

FORMS = ("csv", "md", "html", "svg", "dot")
BEGINS = {
    "csv": "net,convention,batch_size,name,", "md": "## lenet5\n", "html": "<!DOCTYPE html>\n",
    "svg": "<svg xmlns=", "dot": 'digraph "lenet5" {\n',
}  # fmt: skip
IMPORTED = """
import sys
from cnnctl.report import audit, formats, scatter
formats.text([], "csv"), formats.text([], "md")
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_every_format_is_known_but_those_of_the_terminal() -> None:
    allowed = set(audit.Format.__args__)
    assert set(formats.FORMS) == set(FORMS) == allowed - {"table", "json"}


@pytest.mark.parametrize("form", FORMS)
def test_a_document_becomes_a_text_that_ends_with_its_line(form) -> None:
    text = formats.text([audits.of("lenet5")], form)
    assert text.startswith(BEGINS[form])
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("form", FORMS)
def test_writing_leaves_the_document_as_it_is(form) -> None:
    net = audits.of("resnet20")
    before = copy.deepcopy(net)
    assert formats.text([net], form) == formats.text([net], form)
    assert net == before


@pytest.mark.parametrize("form", ["csv", "md", "html", "dot"])
def test_several_nets_stand_in_one_text(form) -> None:
    nets = [audits.of("lenet5"), audits.of("mlp"), audits.of("perceptron")]
    text = formats.text(nets, form)
    places = [text.index(net["name"]) for net in nets]
    assert places == sorted(places)
    assert -1 not in places


def test_dot_has_a_graph_for_each_net() -> None:
    text = formats.text([audits.of("lenet5"), audits.of("mlp")], "dot")
    assert [line for line in text.splitlines() if line.startswith("digraph")] == [
        'digraph "lenet5" {', 'digraph "mlp" {',
    ]  # fmt: skip


def test_a_drawing_is_of_one_net() -> None:
    with pytest.raises(UsageError) as caught:
        formats.text([audits.of("lenet5")] * 3, "svg")
    assert str(caught.value) == "format=svg draws one net, got 3 (format=html, or one net)"


def test_neither_jinja_nor_matplotlib_is_needed_before_a_page_or_a_picture_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    assert "'cnnctl'" in done.stdout
    for package in ("jinja2", "matplotlib", "torch"):
        assert f"'{package}'" not in done.stdout
