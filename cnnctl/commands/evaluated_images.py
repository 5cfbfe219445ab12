"""What an evaluation of images that a net has made anew measures, and the document about it. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Evaluate
from cnnctl.report.result import Result


def result(nets: Sequence[Trained], evaluate: Evaluate, flags: Mapping[str, str]) -> Result:
    """Of one net, of two against each other (--compare) or of several together (--ensemble)."""
    raise NotImplementedError
