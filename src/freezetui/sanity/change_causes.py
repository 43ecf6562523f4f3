"""Why frozen tensors change, and why a flag is not what was set: the codes M and F of the table."""

from __future__ import annotations

from freezetui.sanity.causes import Code

_EVAL = "set norm_statistics: freeze (key B in the TUI); apply() then keeps frozen norms in eval"
_ON_PARAMETERS = "set it on the parameters of the model that trains"
_NOT_IN_MODEL = "remove requires_grad from the model's train() and forward()"
_NOT_IN_STEP = "remove requires_grad from your step, and from the model's train() and forward()"
_NOT_AVERAGED = "copy frozen weights instead of averaging them, and leave averaged ones out of what is frozen"
_AROUND = "freeze what trains around it, or call eval() on it, to hold it; no action needed if it may change"

TABLE = (
    Code(
        "batch_norm", "M1", "note", "a frozen BatchNorm updates its running statistics in train mode", _EVAL
    ),
    Code(
        "statistics",
        "M1",
        "note",
        "buffers of frozen modules that their own code writes in train mode change, as statistics do",
        _EVAL,
    ),
    Code(
        "unheld_statistics",
        "M1",
        "warning",
        "buffers of frozen modules change in train mode, and not in eval",
        "keep the module that writes them in eval; frozen_modules: eval (key O) does so for frozen ones",
    ),
    Code(
        "mixed_statistics",
        "M1",
        "note",
        "statistics between frozen and trainable parameters change in train mode: no rule freezes them",
        _AROUND,
    ),
    Code(
        "norm_in_train_mode",
        "M2",
        "error",
        "a frozen norm kept in eval changed: the model's own code puts it back into train mode",
        "do not touch this norm's .training in the model's train() or forward()",
    ),
    Code(
        "norm_in_eval",
        "M2",
        "error",
        "a frozen norm kept in eval changed: its own code updates the statistics in eval too",
        "update the statistics only when self.training",
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
        "mixed_tracking_norm",
        "M4",
        "note",
        "an InstanceNorm or SyncBatchNorm between frozen and trainable parameters updates its statistics",
        _AROUND,
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
        "mixed_spectral_norm",
        "M6",
        "note",
        "a spectral norm between frozen and trainable parameters updates its u and v vectors",
        _AROUND,
    ),
    Code(
        "observer",
        "M7",
        "warning",
        "observers under frozen modules change, in eval too",
        "call torch.ao.quantization.disable_observer on the frozen modules",
    ),
    Code(
        "mixed_observer",
        "M7",
        "note",
        "observers between frozen and trainable parameters change",
        "call torch.ao.quantization.disable_observer to hold them; no action needed if they may change",
    ),
    Code(
        "writes_weight",
        "M8",
        "error",
        "frozen but changed: the model's own code writes the weight in its {phase}",
        "write the weight only while its requires_grad is True, or not at all",
    ),
    Code(
        "optimizer_hook",
        "M8",
        "error",
        "frozen but changed: a hook on the optimizer step writes it, or gives it a gradient",
        "let the hook skip parameters whose requires_grad is False",
    ),
    Code(
        "step_writes",
        "M8",
        "error",
        "frozen but changed: your own step, or the model's own code, writes the weight",
        "write only weights whose requires_grad is True",
    ),
    Code(
        "replaced_frozen",
        "M8",
        "error",
        "frozen but changed: the model's own code puts a new parameter under its name",
        "write into the parameter that is there, or not at all",
    ),
    Code(
        "writes_buffer",
        "M8",
        "warning",
        "the model's own code rewrites buffers of frozen modules",
        "write them only when self.training, and in their own module; no action needed for caches",
    ),
    Code(
        "writes_in_training",
        "M8",
        "warning",
        "the model's own code rewrites buffers of frozen modules in train mode",
        _EVAL,
    ),
    Code(
        "mixed_buffer",
        "M8",
        "note",
        "the model's own code rewrites buffers between frozen and trainable parameters",
        _AROUND,
    ),
    Code(
        "cache",
        "M8",
        "note",
        "the model's own code rewrites buffers of frozen modules that no state dict contains",
        "no action needed if they are caches",
    ),
    Code(
        "left_gradient",
        "M10",
        "error",
        "frozen but changed: something leaves a gradient in .grad, and the optimizer uses it",
        "set p.grad = None after freezing (apply() does); give the optimizer trainable parameters only",
    ),
    Code(
        "averaged",
        "M16",
        "error",
        "frozen but changed: the model's own code averages (EMA) other weights into it in its {phase}",
        _NOT_AVERAGED,
    ),
    Code(
        "step_averages",
        "M16",
        "error",
        "frozen but changed: your own step, or the model's own code, averages (EMA) other weights into it",
        _NOT_AVERAGED,
    ),
    Code(
        "shared_memory",
        "M17",
        "error",
        "frozen but changed: it shares its memory with a trainable tensor",
        "freeze both or train both",
    ),
    Code(
        "shared_buffer",
        "M17",
        "warning",
        "a buffer among frozen parameters shares its memory with a trainable tensor, and changes with it",
        "clone the buffer, or freeze both",
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
        "frozen by the config, but trainable as it runs: the model's own code sets requires_grad",
        _NOT_IN_MODEL,
    ),
    Code(
        "frozen_by_model",
        "F6",
        "error",
        "trainable by the config, but frozen as it runs: the model's own code sets requires_grad",
        _NOT_IN_MODEL,
    ),
    Code(
        "unfrozen_in_step",
        "F6",
        "error",
        "frozen by the config, but trainable as it runs: your own step, or the model, sets requires_grad",
        _NOT_IN_STEP,
    ),
    Code(
        "frozen_in_step",
        "F6",
        "error",
        "trainable by the config, but frozen as it runs: your own step, or the model, sets requires_grad",
        _NOT_IN_STEP,
    ),
)
