"""The fix of a finding as code: lines of a training script, or of the config."""

from __future__ import annotations

from freezetui.freeze.patterns import literal
from freezetui.sanity.report import Finding

#: Names that are written out; a pattern would not say more.
_MAX_NAMES = 4
_NORMS = "norm_statistics: freeze  # in the config"


def fix_code(finding: Finding) -> str:
    """Return the fix as code for a script or a config; "" if it cannot be written as such.

    Args:
        finding: with the names of the live model.
    """
    names = finding.tensors[:_MAX_NAMES]
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    lines: list[str] = []
    if finding.code in ("M1", "M3", "M4", "M6"):
        lines = [_NORMS]
    elif finding.code == "M5":
        lines = [f"model.get_submodule({module!r}).max_norm = None" for module in modules]
    elif finding.code == "M7":
        disable = "torch.ao.quantization.disable_observer"
        lines = [f"model.get_submodule({module!r}).apply({disable})" for module in modules]
    elif finding.code == "M10":
        lines = [f"model.get_parameter({name!r}).grad = None" for name in names]
    elif finding.code == "N11":
        lines = ["frozen_modules: eval  # in the config"]
    elif finding.code in ("N2", "S3", "S7") and finding.severity == "warning" and names:
        lines = ["rules:  # in the config", *(f"  - freeze: {_quoted(literal(name))}" for name in names)]
    more = len(finding.tensors) - len(names)
    if more and lines and finding.code not in ("M1", "M3", "M4", "M6", "N11"):
        lines.append(f"# and {more:,} more")
    return "\n".join(lines)


def _quoted(pattern: str) -> str:
    """Return a pattern as a YAML string."""
    plain = pattern[:1].isalpha() and pattern.replace(".", "").replace("_", "").isalnum()
    return pattern if plain else "'" + pattern.replace("'", "''") + "'"
