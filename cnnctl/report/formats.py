"""The written formats of an audit: `cnnctl audit format=csv`, and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cnnctl.errors import UsageError
from cnnctl.report import graph, page, tabular

Nets = Sequence[dict[str, Any]]


def text(nets: Nets, form: str) -> str:
    """Documents of `cnnctl.audit.document.audit` as csv, md, html, svg or dot.

    Raises UsageError where a format shows one net and there are several.
    """
    return FORMS[form](nets)


def _svg(nets: Nets) -> str:
    if len(nets) > 1:
        raise UsageError(f"format=svg draws one net, got {len(nets)}", "format=html, or one net")
    return page.svg(nets[0])


def _dot(nets: Nets) -> str:
    return "\n".join(map(graph.dot, nets))


FORMS: dict[str, Callable[[Nets], str]] = {
    "csv": tabular.csv, "md": tabular.md, "html": page.html, "svg": _svg, "dot": _dot,
}  # fmt: skip
