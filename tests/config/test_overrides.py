from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnctl.config.overrides import key_of, quoted

parser = OverridesParser.create()


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=1", "seed"),
        ("+optimizer.lr=1", "optimizer.lr"),
        ("++optimizer.lr=a=b", "optimizer.lr"),
        ("~model", "model"),
        ("outputs=+x", "outputs"),
    ],
)
def test_the_key_of_an_override(override, key) -> None:
    assert key_of(override) == key


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("checkpoint=epoch=9-step=3910.ckpt", "checkpoint='epoch=9-step=3910.ckpt'"),
        ("data.root=~/images", "data.root='~/images'"),
        ("logger.group=a#1", "logger.group='a#1'"),
        ("data.root=my images", "data.root='my images'"),
        ("data.root=Bob's images", "data.root='Bob\\'s images'"),
        ("data.root=C:\\my images", "data.root='C:\\my images'"),
        ("data.root=my images\\", "data.root='my images\\\\'"),
        ("data.root=/home/jürg", "data.root='/home/jürg'"),
        ("data.root=a-{000..127}.tar", "data.root='a-{000..127}.tar'"),
        ("data.root=R&D!", "data.root='R&D!'"),
        ("+note=a b", "+note='a b'"),
    ],
)
def test_what_hydra_cannot_read_bare_is_quoted(override, text) -> None:
    assert quoted(override) == text


@pytest.mark.parametrize(
    "override",
    [
        "seed=1", "model=lenet5,mlp", "data.mean=[0.5, 0.5]", "trainer={max_epochs: 3}",
        "outputs='a b'", 'outputs="a=b"', "outputs=${oc.env:HOME} x", "outputs=a${seed}",
        "seed=range(1, 3)", "seed=choice(1, 2)", "~model", "seed=", "data.root=/a/b-c.d_e",
        "data.root=C:\\x", "(a b)", "optimizer.lr=1e-3", "seed=(1, 2)",
    ],
)  # fmt: skip
def test_the_rest_stays_as_it_is(override) -> None:
    assert quoted(override) == override


values = st.builds(
    lambda first, rest, sign, end: first + rest + sign + end,
    st.sampled_from("abX/-.~=#"),
    st.text("ab1/-.'\"\\ =~#,:[]{}()éß", max_size=10),
    st.sampled_from("=~# é"),
    st.text("ab1'\"\\ =~#", max_size=4),
)


@settings(max_examples=50, deadline=None)
@given(values.filter(lambda value: quoted(f"k={value}") != f"k={value}"))
@example("it's=x")
@example("a b\\")
@example("a\\'b c")
@example("a\\\\'b c\\\\")
@example("x y'")
def test_a_quoted_value_reaches_hydra_unchanged(value: str) -> None:
    read = parser.parse_override(quoted(f"k={value}"))
    assert (read.key_or_group, read.value()) == ("k", value)
    assert not read.is_sweep_override()
