from __future__ import annotations

import pytest
import torch
from exports import manifest, net, pixels, program

from cnnctl.export.program import Program, images, trace


@pytest.mark.parametrize(
    ("include", "dynamic", "shape", "kind"),
    [
        (("preprocess",), True, (2, 1, 37, 41), torch.uint8),
        (("preprocess", "softmax"), False, (1, 1, 37, 41), torch.uint8),
        (("softmax",), True, (2, 1, 32, 32), torch.float32),
        ((), False, (1, 1, 32, 32), torch.float32),
    ],
)
def test_the_example_is_what_the_manifest_says(
    include: tuple[str, ...], *, dynamic: bool, shape: tuple[int, ...], kind: torch.dtype
) -> None:
    found = images(manifest(include=include, dynamic_batch=dynamic))
    assert (found.shape, found.dtype) == (shape, kind)


def test_a_net_alone_gives_its_logits() -> None:
    made, _ = program(include=())
    given = torch.randn(3, 1, 32, 32)
    assert torch.equal(made(given), net()(given))


def test_bytes_go_in_and_probabilities_come_out() -> None:
    made, _ = program()
    given = pixels(3, 1, 40, 60)
    found = made(given)
    assert torch.equal(found, net()(made.preprocess(given)).softmax(1))
    assert torch.allclose(found.sum(1), torch.ones(3))


def test_half_is_inside_and_float_outside() -> None:
    made, _ = program(precision="fp16")
    given = pixels(3, 1, 40, 60)
    found, whole = made(given), program()[0](given)
    assert {value.dtype for value in made.net.parameters()} == {torch.float16}
    assert made.preprocess.scale.dtype == torch.float32
    assert found.dtype == torch.float32
    assert 0 < float((found - whole).abs().max()) < 1e-2


def test_nothing_learns_and_nothing_is_random() -> None:
    made = Program(net().train(), manifest())
    assert not made.training
    assert not any(value.requires_grad for value in made.parameters())


@pytest.mark.parametrize("include", [("preprocess",), ()])
def test_a_trace_takes_any_number_of_images(include: tuple[str, ...]) -> None:
    made, about = program(include=include)
    traced = trace(made, about)
    assert set(traced.free) == ({0, 2, 3} if include else {0})
    for count in (1, 2, 7):
        given = pixels(count, 1, 32, 32)
        given = given if include else given.float()
        assert torch.allclose(traced.program.module()(given), made(given), atol=1e-6)


def test_a_trace_of_one_image_takes_one() -> None:
    made, about = program(include=(), dynamic_batch=False)
    traced = trace(made, about)
    assert traced.free == {}
    with pytest.raises((RuntimeError, AssertionError)):
        traced.program.module()(torch.zeros(2, 1, 32, 32))


def test_a_trace_knows_no_folders_of_this_machine() -> None:
    traced = trace(*program())
    assert not any("stack_trace" in node.meta for node in traced.program.graph.nodes)
