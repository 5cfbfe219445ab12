from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = sorted((ROOT / "cnnctl").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def functions(file: Path) -> dict[str, int]:
    """Each function of a file and its number of lines, decorators included."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, FUNCTIONS)]
    return {
        f"{file.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0)
        - min([node.lineno, *(one.lineno for one in node.decorator_list)])
        + 1
        for node in nodes
    }


def test_imports_keep_the_contracts() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    contracts = (ROOT / "pyproject.toml").read_text().count("[[tool.importlinter.contracts]]")
    assert f"Contracts: {contracts} kept, 0 broken." in done.stdout


def test_no_file_is_longer_than_250_lines() -> None:
    assert [f"{file}: {lines(file)}" for file in [*SOURCE, *TESTS] if lines(file) > 250] == []


def test_no_function_is_longer_than_40_lines() -> None:
    sizes = {name: size for file in SOURCE for name, size in functions(file).items()}
    assert {name: size for name, size in sizes.items() if size > 40} == {}
    assert len(sizes) > 100


def test_nine_of_ten_functions_of_a_usual_file_have_25_lines_at_most() -> None:
    high = [
        statistics.quantiles(found, n=10, method="inclusive")[-1] if len(found) > 1 else found[0]
        for file in SOURCE
        if (found := list(functions(file).values()))
    ]
    assert statistics.median(high) <= 25


def test_there_are_as_many_lines_of_tests_as_of_source() -> None:
    assert sum(map(lines, TESTS)) >= sum(map(lines, SOURCE))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_tests_mirror_the_source(file: Path) -> None:
    folder = file.parent.relative_to(ROOT / "tests")
    assert (ROOT / "cnnctl" / folder).is_dir()
    assert file.read_text().startswith("from __future__ import annotations\n") or re.match(
        r'"""[^"]+"""\n\nfrom __future__ import annotations\n', file.read_text()
    )
