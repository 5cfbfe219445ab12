"""A composed configuration, typed to the last number of the net; shared by several verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnctl.config import preflight
from cnnctl.errors import Problem

if TYPE_CHECKING:
    from cnnctl.config.schema import Train
    from cnnctl.nets.spec import Spec


def settle(
    config: dict[str, Any], overrides: Sequence[str], problems: Sequence[Problem] = ()
) -> tuple[Train, Spec]:
    """Raises ConfigError with every problem.

    The net's numbers are read last, because their Spec stands beside its torch class and
    importing torch takes ten times as long as all other checks: only when nothing else is
    wrong, or when one of those numbers was changed by hand.
    """
    train, found = preflight.check(config, problems)
    model = config.get("model")
    if isinstance(model, dict) and (not found or preflight.changes_model(overrides)):
        from cnnctl import nets

        spec, more = nets.read_spec(model)
        found = preflight.merge(found, more)
    else:
        spec = None
    preflight.require(found)
    assert train is not None
    assert spec is not None
    return train, spec
