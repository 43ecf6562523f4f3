"""Guesses which tensors of a plain state_dict are buffers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from freezetui.checkpoint.types import STATISTICS, Kind, can_require_grad

_BUFFERS = re.compile(
    r"(original_)?inv_freq|(cos|sin)_cached|freqs_c(is|os)|position_ids|token_type_ids|(\w+_)?mask|masked_bias|"
    r"relative_position_index|rel_pos_index|anchors?|anchor_grid|pixel_(mean|std)|(\w*_)?u|window|"
    r"filters?_bank|mel_basis|final_logits_bias"
)
_PARAMETERS = re.compile(
    r".*(weight|bias)(_(ih|hh)_l\d+(_reverse)?|_orig|_g|_hr_l\d+(_reverse)?)?|gamma|beta|(logit_)?scale|cls_token"
)


class BufferDetector:
    """Infers kinds from names and dtypes; cached by last segment, which 100,000 names share.

    Args:
        names: all names of the state_dict.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names
        self._known: dict[tuple[str, str], tuple[Kind, bool]] = {}
        self._spectral: frozenset[str] | None = None

    def kind(self, name: str, dtype: str) -> tuple[Kind, bool]:
        """Return the kind of a tensor, and whether it is a guess that could be wrong."""
        key = (name[name.rfind(".") + 1 :], dtype)
        known = self._known.get(key)
        if known is None:
            if key[0].endswith("_v"):
                return self._of_factor(name, dtype)
            known = self._known[key] = _by_name(*key)
        return known

    def columns(self, names: Sequence[str], dtypes: Sequence[str]) -> tuple[Iterable[Kind], Iterable[bool]]:
        """Return the kinds, and whether each is a guess, as `kind` does; faster for many names."""
        lasts = [name[name.rfind(".") + 1 :] for name in names]
        distinct = {*dtypes}
        if len(distinct) != 1:
            ends: Sequence[Any] = list(zip(lasts, dtypes, strict=True))
            settled = {end: _by_name(*end) for end in {*ends}}
        else:  # without a tuple for each name
            ends, dtype = lasts, distinct.pop()
            settled = {last: _by_name(last, dtype) for last in {*lasts}}
        if any(last.endswith("_v") for last in {*lasts}):
            each = list(map(self.kind, names, dtypes))
            return [kind for kind, _ in each], [guessed for _, guessed in each]
        if len({*settled.values()}) == 1:
            kind, guessed = settled[ends[0]]
            return repeat(kind, len(names)), repeat(guessed, len(names))
        kinds = {end: kind for end, (kind, _) in settled.items()}
        guesses = {end: guessed for end, (_, guessed) in settled.items()}
        return map(kinds.__getitem__, ends), map(guesses.__getitem__, ends)

    def _of_factor(self, name: str, dtype: str) -> tuple[Kind, bool]:
        """Return the kind of `weight_v`: a buffer in spectral_norm, beside `weight_u`; else a parameter."""
        if self._spectral is None:
            self._spectral = frozenset(other for other in self._names if other.endswith("_u"))
        beside = f"{name[:-1]}u" in self._spectral
        return ("buffer", True) if beside or not can_require_grad(dtype) else ("parameter", True)


def _by_name(last: str, dtype: str) -> tuple[Kind, bool]:
    if last in STATISTICS:
        return "buffer", False
    if not can_require_grad(dtype) or _BUFFERS.fullmatch(last):
        return "buffer", True
    return "parameter", _PARAMETERS.fullmatch(last) is None
