"""What a check has shown, in three plain sentences: frozen, allowed to move, trainable."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from freezetui import numbers
from freezetui.sanity.causes import BY_FLAG
from freezetui.sanity.report import OwnTraining, SanityReport, TrainablePart
from freezetui.text import listed, printable

_MAX_LOSSES = 5


class InFile(NamedTuple):
    """How many of the tensors that were to be checked the checkpoint has, each tied group once.

    Attributes:
        is_adapter: whether the model has a base as well, which the checkpoint does not hold.
    """

    frozen: int
    trainable: int
    is_adapter: bool = False


def frozen_tensors(count: int, stored: InFile | None, noun: str = "frozen tensor") -> str:
    """Return how many frozen tensors the model has; and the checkpoint, if it is another number."""
    if stored is None or stored.frozen == count:
        return numbers.plural(count, noun)
    if stored.is_adapter and 0 < stored.frozen < count:
        return f"{numbers.plural(stored.frozen, noun)} and {count - stored.frozen:,} of the base model"
    return f"{numbers.plural(count, noun)} ({stored.frozen:,} in the file)"


def sentences(report: SanityReport, stored: InFile | None = None) -> tuple[str, ...]:
    """Return what is frozen, whether it would have changed, and what trains; then with which steps.

    Args:
        stored: what the checkpoint has of it, if that is to be told.
    """
    found = [_frozen(report, stored), _allowed(report), _trainable(report, stored)]
    if report.own is not None:
        found.append(_own(report.own))
    if report.loop:
        found.append(f"The steps: {report.loop}.")
    return tuple(printable(sentence) for sentence in found if sentence)


def _frozen(report: SanityReport, stored: InFile | None) -> str:
    frozen = report.frozen
    if not frozen.tensors:
        return "Frozen: nothing is frozen."
    if frozen.moved:
        count = f"{len(frozen.moved):,} of {numbers.plural(frozen.tensors, 'tensor')}"
        return f"Frozen: {count} changed: {listed(frozen.moved, most=3, longest=None)}."
    if gone := _gone(report):
        count = f"{len(gone):,} of {numbers.plural(frozen.tensors, 'tensor')}"
        return f"Frozen: {count} cannot be found after the steps: {listed(gone, most=3, longest=None)}."
    after = numbers.plural(report.steps, "training step" if report.forward else "optimizer step")
    whole = (
        f"Frozen: {frozen_tensors(frozen.tensors, stored, 'tensor')} identical, bit for bit, after {after}"
    )
    if not report.forward:
        whole += " without a forward pass"
    held, drifted = report.buffers.held, len(report.buffers.drifted)
    if held and not drifted:
        whole += f"; so are {numbers.plural(held, 'buffer')}"
    return f"{whole}; {numbers.plural(drifted, 'buffer')} changed." if drifted else f"{whole}."


def _allowed(report: SanityReport) -> str:
    """Return what the control run has shown of the tensors that did not change."""
    left = report.frozen.tensors - len(report.frozen.moved) - len(_gone(report))
    if left <= 0:
        return ""
    if report.cost is None:
        return "Without a control run it is not known whether they would change if they were trainable."
    unproven = set(report.frozen.unproven)
    named = [n for f in report.findings if f.key in BY_FLAG for n in f.tensors]
    cut_off = [name for name in named if name not in unproven]
    proven = left - len(unproven) - len(cut_off)
    parts = []
    if proven == left:
        parts.append("The same weights changed when they were allowed to (control run)")
    elif proven:
        parts.append(f"{proven:,} of them changed when they were allowed to (control run)")
    if cut_off:
        names = listed(cut_off, most=3, longest=None)
        parts.append(
            f"no gradient reaches {len(cut_off):,} even then, so only their flag was tested: {names}"
        )
    if unproven:
        parts.append(f"{len(unproven):,} did not change even then, which proves nothing about them")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _gone(report: SanityReport) -> list[str]:
    """Return the frozen tensors that the model's own code has removed."""
    return report.tensors_of("vanished")


def _trainable(report: SanityReport, stored: InFile | None) -> str:
    part = report.trainable
    if not part.tensors:
        return "Trainable: nothing is trainable."
    by = "their gradients" if report.forward else "random gradients, for want of a forward pass"
    in_file = part.tensors if stored is None else stored.trainable
    of_file = "" if in_file == part.tensors else f" ({in_file:,} in the file)"
    text = f"Trainable: {_moved(part)}{of_file} changed by {by}"
    if None in report.losses:
        return f"{text}; but a loss was not a finite number, so this proves nothing."
    return f"{text}{_unchanged(part)}."


def _own(own: OwnTraining) -> str:
    parts = []
    if own.frozen.tensors:
        changed = (
            f"{len(own.frozen.moved):,} of {numbers.plural(own.frozen.tensors, 'frozen tensor')} changed"
        )
        parts.append(changed if own.frozen.moved else "what is frozen is identical")
    if own.trainable.tensors:
        whole = numbers.plural(own.trainable.tensors, "trainable tensor")
        parts.append(f"{own.trainable.moved:,} of {whole} changed{_unchanged(own.trainable)}")
    if own.step and own.losses:
        shown = ["not finite" if loss is None else f"{loss:.4g}" for loss in own.losses[:_MAX_LOSSES]]
        parts.append(f"losses {', '.join(shown)}{', ...' if len(own.losses) > _MAX_LOSSES else ''}")
    after = f"With {own.whose}, after {numbers.plural(own.steps, 'step')}"
    return f"{after}: {'; '.join(parts)}."


def _moved(part: TrainablePart) -> str:
    return f"{part.moved:,} of {numbers.plural(part.tensors, 'tensor')}"


def _unchanged(part: TrainablePart) -> str:
    """Return how many did not change, and why, to follow what did."""
    reasons = Counter(still.reason for still in part.still)
    if not reasons:
        return ""
    told = ", ".join(reason if len(reasons) == 1 else f"{n:,} {reason}" for reason, n in reasons.items())
    return f"; {len(part.still):,} did not: {told}"
