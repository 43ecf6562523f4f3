"""The codes S and N of the findings, and what a code is: severity, message, fix; see docs/findings.md."""

from __future__ import annotations

from typing import NamedTuple

from freezetui.sanity.report import Severity


class Code(NamedTuple):
    """One cause.

    Attributes:
        key: what the engine calls it; several causes may share a code.
        code: M, why frozen tensors change; F, why a flag is not what was set; S, why trainable tensors do
            not change; N, what a check could not verify.
        severity: None for a cause in a training script, which a check of the model cannot see.
        message: what happened, with placeholders in braces.
        fix: what to do; "" if no action is needed.
    """

    key: str
    code: str
    severity: Severity | None
    message: str
    fix: str


#: Keys of what is held by its flag alone: no gradient reaches it when it is trainable.
BY_FLAG = ("cut_off", "frozen_anyway")

TABLE = (
    Code(
        "replaced",
        "S1",
        "warning",
        "trainable, but the model's own code replaces it with another one: the optimizer keeps the old one",
        "write into the parameter that is there",
    ),
    Code(
        "no_gradient",
        "S3",
        "warning",
        "trainable, but no gradient reached it: unused in forward, or cut off by detach() or no_grad()",
        "freeze it if that is intended; otherwise use it in forward",
    ),
    Code(
        "zero_gradient",
        "S3",
        "warning",
        "trainable, but its gradient is exactly zero: a dead ReLU or an unused branch",
        "freeze it if that is intended; otherwise look at its activations",
    ),
    Code(
        "not_reached",
        "S3",
        "note",
        "trainable, but not reached by this batch: its module did not run",
        "no action needed if other batches reach it, as with experts and optional branches",
    ),
    Code(
        "noise_gradient",
        "S3",
        "note",
        "trainable, but its gradient is below a millionth of the model's largest: rounding noise (typical "
        "for bias before norm or softmax), or it vanishes on the way",
        "no action needed if intended",
    ),
    Code(
        "precision",
        "S4",
        "warning",
        "trainable, but its updates are too small to change a single bit of its dtype",
        "keep this weight in float32 and use autocast for speed",
    ),
    Code(
        "reentrant",
        "S6",
        "warning",
        "trainable, but gets a gradient only when more is trainable, as under re-entrant checkpointing",
        "checkpoint with use_reentrant=False, or call enable_input_require_grads()",
    ),
    Code(
        "one_byte",
        "S7",
        "warning",
        "trainable, but in a one-byte dtype, which optimizers cannot update",
        "load the weight in bfloat16 or float32",
    ),
    Code(
        "all_frozen", "S8", "warning", "everything is frozen: there is nothing to train", "unfreeze something"
    ),
    Code("untrainable", "S9", "warning", "no tensor of this checkpoint is trainable", ""),
    Code(
        "no_input",
        "N1",
        "warning",
        "no forward pass: {reason}; only an optimizer step on the tensors was checked",
        "pass the shape of one input: --input 3,224,224 (key o in the TUI), or --batch data.py:batch",
    ),
    Code(
        "no_model",
        "N1",
        "warning",
        "no forward pass: {reason}; only an optimizer step on the tensors was checked",
        "pass the architecture: --architecture {suggestion} (key o in the TUI)",
    ),
    Code(
        "constructor",
        "N2",
        "warning",
        "the model's constructor freezes it, and the config trains it",
        "to keep it frozen, add a rule: freeze: {first}",
    ),
    Code(
        "no_control",
        "N3",
        "note",
        "no control run: the model {reason}, so it is not known what would have changed",
        "no action needed: frozen tensors were still compared",
    ),
    Code(
        "not_finite",
        "N4",
        "warning",
        "the loss is not a finite number",
        "look for NaN or infinite weights in the checkpoint, or try --device cpu",
    ),
    Code(
        "not_finite_weight",
        "N4",
        "warning",
        "the loss is not a finite number: values are NaN or infinite already before the first step",
        "take a checkpoint from before they appeared; freezetui stats shows which tensors have them",
    ),
    Code(
        "not_finite_output",
        "N4",
        "warning",
        "the loss is not a finite number, and {module} is the first whose output is not",
        "its weights are finite: look for an overflow or a division by zero in it, or try --device cpu",
    ),
    Code("none_frozen", "N5", "note", "nothing is frozen, so there is nothing to verify", "freeze something"),
    Code("nothing_to_hold", "N5", "note", "this stage freezes nothing, so there is nothing to hold", ""),
    Code(
        "unproven",
        "N6",
        "note",
        "unchanged, but it does not change when trainable either, so this proves nothing",
        "no action needed where its gradient is zero on this batch by chance; try --steps 10",
    ),
    Code(
        "frozen_anyway",
        "N6",
        "note",
        "frozen by its flag, and the model's own code freezes it as well, with everything trainable too",
        "no action needed: the flag is False, and an optimizer that had it left it unchanged",
    ),
    Code(
        "cut_off",
        "N6",
        "note",
        "frozen by its flag, and cut off from the loss as well: no gradient reaches it when it is trainable",
        "no action needed: the flag is False, and an optimizer that had it left it unchanged",
    ),
    Code(
        "none_changed",
        "N7",
        "warning",
        "no trainable tensor was changed by a gradient, so unchanged frozen ones prove nothing",
        "look at the findings S3: a dead ReLU, a closed gate, detach() or no_grad()",
    ),
    Code(
        "ignored",
        "N8",
        "note",
        "{count} of the checkpoint's tensors are not in the model, and were not loaded",
        "no action needed if they are an old head, a pooler or a mask",
    ),
    Code(
        "initialized",
        "N9",
        "note",
        "{count} of the model's parameters are not in the checkpoint, and have new values",
        "no action needed if they are a new head",
    ),
    Code(
        "base_trains",
        "N9",
        "warning",
        "the adapter's base model, which is not in the checkpoint and keeps its own flags, trains too",
        "freeze the base model where it is built, or add a rule: freeze: {first}",
    ),
    Code(
        "tied",
        "N10",
        "note",
        "one parameter under several names, which trains or is frozen as one: {names}",
        "",
    ),
    Code(
        "frozen_by_tie",
        "N10",
        "note",
        "frozen although no rule names it: it shares all its memory with a parameter that a rule freezes",
        "give it a copy of its own if it should train; else add a freeze rule for it, to say so",
    ),
    Code(
        "dropout",
        "N11",
        "note",
        "dropout in a frozen module stays random in train mode",
        "set frozen_modules: eval (key O in the TUI), which keeps frozen modules in eval, dropout included",
    ),
    Code(
        "not_looked_further",
        "N12",
        "note",
        "forward passes on other batches raised an error in {mode} mode, so drift there is not looked for",
        "no action needed if the model is not made for that mode",
    ),
    Code(
        "renamed",
        "N13",
        "note",
        "the model's own code renames it in a forward pass; its bits are unchanged under the new name",
        "no action needed",
    ),
    Code(
        "vanished",
        "N13",
        "error",
        "frozen, but gone after the steps: the model's own code removes or renames it",
        "do this before the config is applied, and save the checkpoint with the new names",
    ),
)
