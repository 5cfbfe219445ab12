from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from oracle import aten, ghosts, told
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import build, on_meta, spec

from cnnctl.nets import meta
from cnnctl.nets.shapes import RULES

ZOO = (
    "lenet5_1998", "neocognitron", "alexnet", "vgg_a_lrn", "googlenet", "wrn40_4", "resnet18",
    "shufflenet_v1_g8", "shufflenet_v2_x0_5", "efficientnet_b0", "mobilenet_v2",
)  # fmt: skip
NOT_IN_THE_ZOO = {  # the other tests of rules have them
    "_softmax.default", "add.Scalar", "clamp_.default", "elu.default", "erfinv_.default",
    "fill_.Scalar", "gelu.default", "gelu_backward.default", "leaky_relu.default",
    "leaky_relu_backward.default", "max_unpool2d.default", "mul_.Tensor", "normal_.default",
    "reflection_pad2d.default", "reflection_pad2d_backward.default", "sub.Scalar",
    "uniform_.default", "upsample_bicubic2d.default", "upsample_bicubic2d_backward.default",
    "upsample_bilinear2d.default", "upsample_bilinear2d_backward.default",
    "upsample_nearest2d.default", "upsample_nearest2d_backward.default", "zero_.default",
    "zeros_like.default",
}  # fmt: skip
WALK = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import zoo
from cnnctl.nets import meta
for name in ("vgg16", "resnet18"):
    net = zoo.on_meta(name).eval()
    with torch.no_grad(), meta.device():
        assert net(torch.empty(1, *zoo.spec(name).input)).shape == (1, 1000)
slow = "torch._dynamo", "sympy", "torchvision", "pytorch_lightning"
print(*(name for name in slow if name in sys.modules))
"""


class Compared(TorchDispatchMode):
    """Asks torch and the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[Any] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        theirs = func(*args, **(kwargs or {}))
        if func in RULES:
            self.asked.add(func)
            ours = meta.run(func, ghosts(args), kwargs)
            # What batch normalisation saves in evaluation is a CPU's: another test compares it.
            in_evaluation = func is aten.native_batch_norm.default and not args[5]
            parts = slice(1) if in_evaluation else slice(None)
            assert told(ours)[parts] == told(theirs)[parts]
        return theirs


def compared(net: nn.Module, image: Tensor) -> set[Any]:
    """The operations of a training step and of an evaluation: torch and the rules agree."""
    labels = torch.zeros(len(image), dtype=torch.int64, device=image.device)
    with Compared() as mode:
        net.loss(net.train()(image), labels).backward()
        with torch.no_grad():
            net.eval()(image)
    return mode.asked


def test_the_operations_of_the_zoo_are_answered_as_torch_answers_them() -> None:
    asked = set()
    for name in ZOO:
        asked |= compared(on_meta(name), torch.empty(2, *spec(name).input, device="meta"))
    assert {str(func).removeprefix("aten.") for func in set(RULES) - asked} == NOT_IN_THE_ZOO


@pytest.mark.parametrize(
    "name", ["densenet_bc100_12", "shufflenet_v2_x0_5", "mobilenet_v2", "lenet5"]
)
def test_channels_last_is_kept_where_real_numbers_keep_it(name) -> None:
    shape = (1, 32, 32) if name == "lenet5" else (3, 32, 32)
    image = torch.zeros(2, *shape).to(memory_format=torch.channels_last)
    assert aten.convolution_backward.default in compared(build(name, shape, 10), image)


def test_building_and_walking_a_net_imports_nothing_that_takes_time(request) -> None:
    command = [sys.executable, "-c", WALK, str(request.config.rootpath / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_device_is_meta_inside_and_what_it_was_afterwards() -> None:
    with torch.device("cpu"):
        with meta.device():
            assert torch.zeros(3).device == nn.Linear(2, 3).weight.device == torch.device("meta")
        assert torch.zeros(3).device == torch.device("cpu")
    with pytest.raises(ZeroDivisionError), meta.device():
        torch.zeros(1 // 0)
    assert torch.zeros(3).device == torch.device("cpu")
    assert torch.get_default_device() == torch.device("cpu")


def test_the_random_numbers_stay_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with meta.device():
        nn.init.normal_(nn.Linear(2, 3).weight)
        torch.rand(2)
        torch.rand(2, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_net_of_terabytes_is_built_and_called_without_memory() -> None:
    with meta.device():
        out = nn.Linear(10**6, 10**6)(torch.empty(10**6, 10**6))
    assert out.is_meta
    assert out.untyped_storage().nbytes() == 4 * 10**12
    assert out.untyped_storage().data_ptr() == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: conv2d(torch.empty(1, 3, 8, 8), torch.empty(4, 2, 3, 3)), "Invalid channel"),
        (lambda: conv2d(torch.empty(1, 3, 2, 2), torch.empty(4, 3, 3, 3)), "Kernel size can't"),
        (lambda: linear(torch.empty(2, 4), torch.empty(5, 3)), "must have same reduction dim"),
        (lambda: torch.cat([torch.empty(2, 3), torch.empty(2, 4)]), "Sizes of tensors must match"),
        (lambda: torch.cat([]), "expected a non-empty list of Tensors"),
        (lambda: nn.MaxPool2d(3)(torch.empty(1, 3, 2, 2)), "Output size is too small"),
        (lambda: avg_pool2d(torch.empty(1, 3, 4, 4), 2, 0), "stride should not be zero"),
        (lambda: nn.BatchNorm2d(4)(torch.empty(2, 3, 5, 5)), "running_mean should contain 3"),
        (lambda: batch_norm(torch.empty(2, 3), None, None, training=False), "running_mean must be"),
        (lambda: torch.empty(2, 3) + torch.empty(2, 4), "must match the size|broadcast"),
        (lambda: torch.empty(3).add_(torch.empty(2, 3)), "doesn't match the broadcast shape"),
        (lambda: torch.empty(2, 3).sum(2), "Dimension out of range"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_torch(call, text) -> None:
    said = []
    for place in (torch.device("meta"), meta.device()):
        with place, pytest.raises((RuntimeError, IndexError, ValueError), match=text) as caught:
            call()
        said.append((caught.type, str(caught.value)))
    assert said[0] == said[1]


def test_what_no_rule_knows_is_left_to_torch() -> None:
    with meta.device():
        assert torch.fft.fft(torch.empty(2, 8)).dtype == torch.complex64
        assert torch.empty(2, 3, 8).sort().indices.shape == (2, 3, 8)
        assert nn.ConvTranspose2d(3, 4, 2, 2)(torch.empty(1, 3, 5, 5)).shape == (1, 4, 10, 10)
        assert torch.add(torch.empty(2, 3), torch.empty(3), alpha=2).shape == (2, 3)


def test_new_tensors_may_have_another_type_and_place() -> None:
    with meta.device():
        value = torch.empty(2, 3)
        assert torch.ones_like(value).device.type == "meta"
        assert torch.ones_like(value, dtype=torch.int64).dtype == torch.int64
        assert torch.zeros_like(value, device="cpu").tolist() == [[0, 0, 0]] * 2


def test_real_tensors_are_computed_while_it_is_open() -> None:
    value = torch.tensor([1.0, -2.0])
    with meta.device():
        assert torch.relu(value).tolist() == [1, 0]
        assert (value + value).tolist() == [2, -4]
        assert torch.cat([value, value]).tolist() == [1, -2, 1, -2]
