"""What the shown plan costs in memory, beside training everything; with what the last check measured."""

from __future__ import annotations

from rich.text import Text

from freezetui import numbers
from freezetui.freeze.cost import full_training_memory, training_memory
from freezetui.session.session import Session

_ASSUMED = (
    "Counted from sizes and dtypes, with AdamW: a gradient and two moments for each trainable "
    "tensor, in its dtype. Activations are not counted."
)

_WITHOUT_BASE = "The adapter alone: the base model's weights are not counted."
_WITHOUT_WEIGHTS = "Memory without weights: gradients, optimizer state and what is saved for backward."
_GPU_PEAK = "The peak of all that torch allocates on the GPU, weights included."


def cost_table(session: Session) -> list[Text]:
    """Return the memory of this plan and of training everything, one line for each part."""
    totals = session.totals
    plan, full = training_memory(totals), full_training_memory(totals)
    rows = [("weights", "gradients", "AdamW state", "total"), (*plan, plan.total), (*full, full.total)]
    lines = [Text(f"{'counted':<12}{'this plan':>12}{'all trained':>13}", "bold")]
    for what, one, other in zip(*rows, strict=True):
        style = "bold" if what == "total" else ""
        lines.append(Text(f"{what:<12}{numbers.size(one):>12}{numbers.size(other):>13}", style))
    return [*lines, Text(_WITHOUT_BASE)] if session.is_adapter else lines


def cost_text(session: Session) -> Text:
    """Return all that is known about the cost of the shown plan."""
    return Text("\n").join([*cost_table(session), Text(), *_measured(session), Text(_ASSUMED)])


def _measured(session: Session) -> list[Text]:
    report = session.report
    if report is None or report.cost is None:
        return [Text("Press r to measure steps with this plan and with everything trained."), Text()]
    cost = report.cost
    when = " (of another plan: check again)" if session.report_is_stale else ""
    step = numbers.duration(cost.step_seconds), numbers.duration(cost.control_step_seconds)
    memory = numbers.size(cost.memory_bytes), numbers.size(cost.control_memory_bytes)
    on_gpu = report.device.startswith("cuda")
    what = ("GPU peak" if on_gpu else "no weights"), _GPU_PEAK if on_gpu else _WITHOUT_WEIGHTS
    noise = [] if cost.step_share is not None else [Text("The steps differ by no more than noise.")]
    return [
        Text(f"Measured by the last check{when}", "bold"),
        Text(f"{'fastest step':<12}{step[0]:>12}{step[1]:>13}"),
        *noise,
        Text(f"{what[0]:<12}{memory[0]:>12}{memory[1]:>13}"),
        Text(f"{what[1]} The check's SGD keeps one moment; AdamW keeps two."),
        Text(),
    ]
