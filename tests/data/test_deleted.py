"""A file that goes away while a run reads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from folders import PETS, load
from images import make

from cnnctl.data.module import DataModule
from cnnctl.errors import DataError
