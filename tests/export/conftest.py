from __future__ import annotations

from pathlib import Path

import pytest
from exports import trained


@pytest.fixture(scope="session")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, one epoch long."""
    return trained(tmp_path_factory.mktemp("outputs"))
