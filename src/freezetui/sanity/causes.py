"""The table of finding codes, with severity, message and fix; README's tables are made from it."""

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
        fix: what to do; "" if there is nothing to do.
    """

    key: str
    code: str
    severity: Severity | None
    message: str
    fix: str


_EVAL = "set norm_statistics: freeze, which keeps frozen norms in eval; apply() does"
_ON_PARAMETERS = "set it on the parameters of the model that trains"
_NOT_IN_MODEL = "remove requires_grad from the model's train() and forward()"

TABLE = (
    Code(
        "batch_norm", "M1", "note", "a frozen BatchNorm updates its running statistics in train mode", _EVAL
    ),
    Code(
        "norm_in_train_mode",
        "M2",
        "error",
        "a frozen norm kept in eval changed: the model's own code puts it back into train mode",
        "do not touch this norm's .training in the model's train() or forward()",
    ),
    Code(
        "batch_counter",
        "M3",
        "note",
        "only the batch counter of a frozen BatchNorm changes (momentum 0)",
        "no action needed; norm_statistics: freeze stops it too",
    ),
    Code(
        "tracking_norm",
        "M4",
        "note",
        "a frozen InstanceNorm or SyncBatchNorm updates its running statistics in train mode",
        _EVAL,
    ),
    Code(
        "max_norm",
        "M5",
        "error",
        "frozen but changed: max_norm makes the embedding rewrite its own weight in forward, in eval too",
        "set max_norm=None on the frozen embedding",
    ),
    Code(
        "spectral_norm",
        "M6",
        "note",
        "a frozen spectral norm updates its u and v vectors, and so the effective weight, in train mode",
        _EVAL,
    ),
    Code(
        "observer",
        "M7",
        "warning",
        "observers under frozen modules change, in eval too",
        "call torch.ao.quantization.disable_observer on the frozen modules",
    ),
    Code(
        "writes_weight",
        "M8",
        "error",
        "frozen but changed: the model's own code writes the weight in its {phase}",
        "write the weight only when self.training, or not at all",
    ),
    Code(
        "writes_buffer",
        "M8",
        "warning",
        "the model's own code rewrites buffers of frozen modules",
        "write them only when self.training; no action needed for caches and counters",
    ),
    Code(
        "left_gradient",
        "M10",
        "error",
        "frozen but changed: something leaves a gradient in .grad, and the optimizer uses it",
        "set p.grad = None after freezing (apply() does); give the optimizer trainable parameters only",
    ),
    Code(
        "shared_memory",
        "M17",
        "error",
        "frozen but changed: it shares its memory with a trainable tensor",
        "freeze both or train both",
    ),
    Code(
        "misspelled_flag",
        "F1",
        "warning",
        "the attribute {attribute} has no effect: probably a misspelling of requires_grad",
        "set requires_grad on the parameters, or leave it to the config",
    ),
    Code(
        "flag_on_module",
        "F2",
        "warning",
        "the attribute {attribute} was set on a module, where it has no effect",
        "call requires_grad_(False) on the module, or leave it to the config",
    ),
    Code(
        "flag_on_state_dict", "F3", None, "requires_grad set on the tensors of state_dict()", _ON_PARAMETERS
    ),
    Code(
        "rebuilt_model", "F5", None, "requires_grad set on a model that is built again later", _ON_PARAMETERS
    ),
    Code(
        "unfrozen_by_model",
        "F6",
        "error",
        "frozen by the config, trainable after the steps: the model's own code sets requires_grad",
        _NOT_IN_MODEL,
    ),
    Code(
        "frozen_by_model",
        "F6",
        "error",
        "trainable by the config, frozen after the steps: the model's own code sets requires_grad",
        _NOT_IN_MODEL,
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
        "trainable, but received only rounding noise as gradient (typical for bias before norm or softmax)",
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
        "trainable, but a one-byte dtype, which optimizers cannot update",
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
        "pass the shape of one input: --input 3,224,224 (key o in the TUI)",
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
    Code("none_frozen", "N5", "note", "nothing is frozen, so there is nothing to verify", "freeze something"),
    Code(
        "unproven",
        "N6",
        "note",
        "unchanged, but also unchanged when trainable, so this is no evidence",
        "no action needed if this part is unused in the forward pass",
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
        "no trainable tensor was changed by a gradient, so frozen ones that did not change are no evidence",
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
    Code("tied", "N10", "note", "one parameter under several names: it trains or is frozen as one", ""),
    Code(
        "dropout",
        "N11",
        "note",
        "dropout in a frozen module stays random in train mode",
        "set frozen_modules: eval to keep frozen modules in eval, dropout included",
    ),
)
