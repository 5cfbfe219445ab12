from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cnnctl.latency import energy

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def package(folder: Path, name: str, used: int | str, most: int = 1000) -> Path:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "energy_uj").write_text(f"{used}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")
    return place


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    place = tmp_path / "powercap"
    monkeypatch.setattr(energy, "POWERCAP", place)
    return place


def test_the_packages_of_a_cpu_are_added(folder) -> None:
    package(folder, "intel-rapl:0", 100)
    package(folder, "intel-rapl:0:0", 7)  # a part of the first
    package(folder, "intel-rapl:1", 500)
    meter = energy.meter(CPU)
    assert meter is not None
    assert meter.source == "RAPL"
    assert meter.joules() == 0
    package(folder, "intel-rapl:0", 130)
    package(folder, "intel-rapl:0:0", 900)
    package(folder, "intel-rapl:1", 505)
    assert meter.joules() == pytest.approx(35e-6)


def test_a_counter_that_begins_anew_goes_on(folder) -> None:
    package(folder, "intel-rapl:0", 990)
    meter = energy.meter(CPU)
    assert meter is not None
    package(folder, "intel-rapl:0", 15)
    assert meter.joules() == pytest.approx(25e-6)
    package(folder, "intel-rapl:0", 5)
    assert meter.joules() == pytest.approx(1015e-6)


def test_where_nothing_counts_there_is_no_meter(folder) -> None:
    assert energy.meter(CPU) is None
    package(folder, "intel-rapl", 5)  # the kind itself, not a package
    assert energy.meter(CPU) is None
    assert energy.meter(torch.device("mps")) is None


def test_where_it_may_not_be_read_there_is_no_meter(folder, monkeypatch) -> None:
    package(folder, "intel-rapl:0", "nonsense")
    assert energy.meter(CPU) is None
    package(folder, "intel-rapl:0", 5)
    meter = energy.meter(CPU)
    monkeypatch.setattr(Path, "read_text", _refused)
    assert energy.meter(CPU) is None
    assert meter is not None
    assert meter.joules() is None  # of a package that is gone meanwhile


def _refused(_: Path) -> str:
    raise PermissionError(13, "Permission denied")


class Driver:
    """What of NVML is called; each function gives 0 unless it fails."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.asked: bytes | None = None
        self.used = 5000

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's name
        return self.fails == "init"

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, _: object) -> int:  # noqa: N802 - NVML's
        self.asked = uuid
        return self.fails == "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, _: object, place) -> int:  # noqa: N802 - NVML's
        place._obj.value = self.used
        return self.fails == "energy"


@pytest.fixture
def driver(monkeypatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: made)
    about = SimpleNamespace(uuid="1-2-3")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)
    return made


def test_a_gpu_is_asked_by_its_uuid(driver) -> None:
    meter = energy.meter(GPU)
    assert meter is not None
    assert (meter.source, driver.asked) == ("NVML", b"GPU-1-2-3")
    assert meter.joules() == pytest.approx(5)
    driver.used = 7500
    assert meter.joules() == pytest.approx(7.5)
    driver.fails = "energy"
    assert meter.joules() is None
    driver.fails = ""
    assert meter.joules() == pytest.approx(7.5)


@pytest.mark.parametrize("fails", ["init", "handle", "energy"])
def test_a_driver_that_does_not_tell_is_no_meter(driver, fails) -> None:
    driver.fails = fails
    assert energy.meter(GPU) is None


def test_without_a_driver_there_is_no_meter(monkeypatch) -> None:
    monkeypatch.setattr(energy, "NVML", "libnone.so.1")
    assert energy.meter(GPU) is None
