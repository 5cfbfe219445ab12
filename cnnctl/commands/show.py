"""cnnctl show: the composed configuration and, per key, the file or override that set it.

Sections named on the command line are shown alone.
"""

from __future__ import annotations

from cnnctl.commands import Call
from cnnctl.config import companions, compose, paths, preflight, provenance
from cnnctl.config.near import did_you_mean
from cnnctl.config.overrides import quoted
from cnnctl.errors import UsageError
from cnnctl.report.result import Result


def run(call: Call) -> Result:
    """Compose and check as `train` would, then tell where each value came from."""
    overrides = [quoted(override) for override in call.overrides]
    overrides = companions.completed(overrides, paths.extra_dirs(call.flags))
    with compose.opened(paths.extra_dirs(call.flags)):
        config, problems = compose.compose("train", overrides)
        _, problems = preflight.check(config, problems)
        preflight.require(problems)
        source = provenance.sources("train", overrides)
    for name in call.targets:
        if name not in config:
            hint = did_you_mean(name, config) or f"sections: {', '.join(config)}"
            raise UsageError(f"no section '{name}'", hint)
    shown = {name: config[name] for name in call.targets} or config
    return Result("keys", {"keys": provenance.rows(shown, source)})
