"""Nets from files of the user's own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn
from torch.nn import init

from cnnctl.audit import stranger
from cnnctl.audit.forward import forward
from cnnctl.audit.stranger import Target, read
from cnnctl.errors import CnnctlError, NetError, UsageError

NETS = """
    import torch
    import torchvision
    from torch import nn
    from torch.nn import Linear

    class Net(nn.Module):
        def __init__(self, width: int = 8, *, classes: "int" = 10) -> None:
            super().__init__()
            if width % 2:
                raise ValueError(f"width must be even, got {width}\\nand more")
            self.conv = nn.Conv2d(3, width, 3, bias=False)
            self.head = nn.Linear(width, classes)

        def forward(self, image):
            return self.head(self.conv(image).mean((2, 3)))

    class Narrow(Net):
        def __init__(self, width, depth=2):
            super().__init__(width)

    class Config:
        pass

    def regnet():
        return torchvision.models.regnet_y_400mf()

    def numbers():
        return nn.Conv2d(3, int(torch.linspace(0, 10, 3)[1].item()), 3)

    def lazy(side=None):
        net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))
        if side:
            net(torch.zeros(1, 3, side, side))
        return net

    def settings():
        return {}

    def nothing():
        pass

    def leave():
        raise SystemExit(3)

    ready = nn.Sequential(nn.Conv2d(3, 4, 1))
    number = 3
    table = dict
    several = [1, 2]
    _hidden = nn.Linear(1, 1)
"""
HAS = "Net, Narrow, regnet(), numbers(), lazy(), settings(), nothing(), leave(), ready"


@pytest.fixture(autouse=True)
def nets() -> Path:
    """nets.py in the working folder."""
    file = Path("nets.py")
    file.write_text(dedent(NETS), encoding="utf-8")
    return file


def refused(text: str) -> CnnctlError:
    with pytest.raises(CnnctlError) as caught:
        stranger.load(text)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("nets.py:Net", 216 + 90),
        ("nets.py:Net()", 216 + 90),
        ("./nets.py:Net(4)", 108 + 50),
        ("nets.py:Net(4, classes=3)", 108 + 15),
        ("nets.py: Net( width = 4 )", 108 + 50),
        ("nets.py:ready", 16),
        ("nets.py:Linear(3, out_features=2)", 8),
        ("nets.py:lazy(32)", 112 + 3 * 3600 + 3),
    ],
)
def test_a_net_is_built_by_class_function_or_name_without_memory(text, params) -> None:
    net = stranger.load(text)
    assert sum(parameter.numel() for parameter in net.parameters()) == params
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}


def test_a_folder_may_stand_in_front(tmp_path, nets, monkeypatch) -> None:
    (tmp_path / "else where").mkdir()
    monkeypatch.chdir(tmp_path / "else where")
    assert type(stranger.load("../nets.py:Net")).__name__ == "Net"
    assert type(stranger.load(f"{tmp_path}/nets.py:Net")).__name__ == "Net"


def test_its_layers_are_audited() -> None:
    walk = forward(stranger.load("nets.py:Net(4)"), (3, 8, 8)).walk
    assert [(row.name, row.type, row.macs) for row in walk.rows] == [
        ("conv", "Conv2d", 36 * 108), ("mean", "mean", 0), ("head", "Linear", 40),
    ]  # fmt: skip


def test_constructors_that_compute_with_tensors_are_run_on_the_cpu() -> None:
    net = stranger.load("nets.py:regnet")
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_344_144
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}
    assert stranger.load("nets.py:numbers").get_parameter("weight").shape == (5, 3, 3, 3)


def test_building_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    before, fill = torch.get_rng_state(), init.kaiming_uniform_
    stranger.load("nets.py:numbers")
    refused("nets.py:Net(3)")
    assert torch.equal(torch.get_rng_state(), before)
    assert init.kaiming_uniform_ is fill
    assert torch.zeros(1).device.type == "cpu"
    assert init.zeros_(torch.ones(2)).tolist() == [0, 0]


def test_weights_are_not_filled_where_the_cpu_is_needed(tmp_path) -> None:
    (tmp_path / "fills.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n"
        "    float(torch.ones(()))\n"
        "    value = torch.full((2,), 7.0)\n"
        "    nn.init.normal_(tensor=value)\n"
        "    nn.init.constant_(value, 5)\n"
        "    return nn.Linear(2, int(value.sum()))\n"
    )
    assert stranger.load("fills.py:make").get_parameter("weight").shape == (14, 2)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("a/b.py", Target(Path("a/b.py"), "")),
        ("a/b.py:", Target(Path("a/b.py"), "")),
        ("a.py.d/b.py:Net", Target(Path("a.py.d/b.py"), "Net")),
        ("b.py:Net()", Target(Path("b.py"), "Net", called=True)),
        (
            "b.py:Net(-1, (2, 3), 'a:b.py', size=[1.5, None], on=True)",
            Target(
                Path("b.py"), "Net", (-1, (2, 3), "a:b.py"), {"size": [1.5, None], "on": True}, True  # noqa: FBT003 - a field
            ),
        ),
    ],
)  # fmt: skip
def test_a_target_is_a_file_a_name_and_literals(text, target) -> None:
    assert read(text) == target


BUILT = "cannot be built"
LITERAL = "give a number, a text, True, False, None, or a list, tuple or dict of them"
EXAMPLE = "such as nets.py:Net or nets.py:Net(3, width=64)"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nets.txt:Net", "'nets.txt:Net' is no Python file", EXAMPLE),
        ("none.py:Net", "there is no file none.py", None),
        ("nets.py", f"nets.py has {HAS}: name what to audit", "such as nets.py:Net"),
        ("nets.py:Nett", f"nets.py has no 'Nett', but {HAS}", "did you mean 'Net'?"),
        ("nets.py:Zzz", f"nets.py has no 'Zzz', but {HAS}", None),
        ("nets.py:regnt", f"nets.py has no 'regnt', but {HAS}", "did you mean 'regnet'?"),
        ("nets.py:Net(", "'Net(' is no name and no call: '(' was never closed", EXAMPLE),
        ("nets.py:nn.Linear", "'nn.Linear' is no name and no call", EXAMPLE),
        ("nets.py:Net()()", "'Net()()' is no name and no call", EXAMPLE),
        ("nets.py:Net(width)", "'width' is no literal", LITERAL),
        ("nets.py:Net(classes=open('x'))", "'open('x')' is no literal", LITERAL),
        ("nets.py:Net(*[1])", "'*[1]' is no literal", LITERAL),
        ("nets.py:Net({[]: 1})", "'{[]: 1}' is no literal", LITERAL),
        ("nets.py:Net(**{})", "'Net(**{})' has an argument twice, or one without a name", EXAMPLE),
        ("nets.py:ready()", "nets.py:ready is a net and takes no arguments", "nets.py:ready"),
        (
            "nets.py:number",
            "nets.py:number is an int, no nn.Module and no function that gives one", None,
        ),
    ],
)  # fmt: skip
def test_what_was_mistyped_is_told_in_one_line(text, message, hint) -> None:
    error = refused(text)
    assert isinstance(error, UsageError)
    assert (error.message, error.hint) == (message, hint)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "nets.py:Narrow",
            f"nets.py:Narrow {BUILT}: TypeError: missing a required argument: 'width'",
            "give arguments: nets.py:Narrow(width, depth=2)",
        ),
        (
            "nets.py:Net(4, 10)", f"nets.py:Net {BUILT}: TypeError: too many positional arguments",
            "give arguments: nets.py:Net(width=8, *, classes=10)",
        ),
        (
            "nets.py:Net(3)",
            f"nets.py:Net {BUILT}, line 11: ValueError: width must be even, got 3", None,
        ),
        ("nets.py:leave", f"nets.py:leave {BUILT}, line 44: SystemExit: 3", None),
        ("nets.py:settings", "nets.py:settings gives a dict, no nn.Module", None),
        ("nets.py:Config", "nets.py:Config gives a Config, no nn.Module", None),
        ("nets.py:table", "nets.py:table gives a dict, no nn.Module", None),
        ("nets.py:nothing", "nets.py:nothing gives None, no nn.Module", None),
        (
            "nets.py:lazy",
            "nets.py:lazy has layers without sizes: 0.weight, 0.bias, 2.weight, 2.bias",
            "give all sizes, or a function that runs an image and returns the net",
        ),
    ],
)  # fmt: skip
def test_what_the_users_code_does_wrong_is_told_in_one_line(text, message, hint) -> None:
    error = refused(text)
    assert isinstance(error, NetError)
    assert (error.message, error.hint) == (message, hint)


def test_a_file_without_nets_says_so(nets) -> None:
    nets.write_text("from torch.nn import Conv2d\nfrom os.path import join\nvalue = 3\n")
    assert str(refused("nets.py")) == "nets.py has no nn.Module: name what to audit"
    assert str(refused("nets.py:Net")) == "nets.py has no 'Net', but no nn.Module"
    assert isinstance(stranger.load("nets.py:Conv2d(3, 4, 1)"), nn.Conv2d)
