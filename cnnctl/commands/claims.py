"""cnnctl audit claims: the figures that lectures print, computed again and judged."""

from __future__ import annotations

from cnnctl.audit import claims
from cnnctl.commands import COMMON, Call
from cnnctl.errors import UsageError
from cnnctl.report.result import Result


def run(call: Call) -> Result:
    """`claims [NET…] [--failed]`: all claims, or those about some nets or systems.

    That figures differ is a finding, not a failure: the exit code is 0. Raises UsageError for
    a name that no claim is about, before torch is imported.
    """
    for given in (*call.overrides, *call.flags):
        if given not in {"--failed", *COMMON}:
            raise UsageError(f"'{given}' has no effect on: cnnctl audit claims")
    found = claims.judged(claims.chosen(claims.load(), call.targets[1:]))
    return Result("claims", claims.failed(found) if "--failed" in call.flags else found)
