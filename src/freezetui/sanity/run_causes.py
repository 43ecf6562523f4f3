"""The finding codes that only `freezetui diff` reports: what two checkpoints say about a training run."""

from __future__ import annotations

from freezetui.sanity.causes import Code

_KEPT_IN_EVAL = "apply the config, and do not set train mode afterwards"

TABLE = (
    Code(
        "kept_statistics",
        "M1",
        "error",
        "the running statistics of frozen modules changed, although the config keeps their norms in eval",
        _KEPT_IN_EVAL,
    ),
    Code(
        "kept_spectral_norm",
        "M6",
        "error",
        "the u and v vectors of frozen spectral norms changed, and so the effective weights, although the "
        "config keeps their norms in eval",
        _KEPT_IN_EVAL,
    ),
    Code(
        "changed_in_run",
        "M10",
        "error",
        "frozen, but changed{detail}: the optimizer still had them, other weights were loaded, or an adapter "
        "was merged into them (unmerging it leaves rounding errors)",
        "freeze before the first forward, and give the optimizer trainable parameters only",
    ),
    Code(
        "shrunk",
        "M12",
        "error",
        "frozen, but all elements shrank by one factor ({detail}): weight decay without a gradient",
        "give the optimizer trainable parameters only; parameter_groups() does",
    ),
    Code(
        "some_rows",
        "M13",
        "error",
        "frozen, but some rows changed ({detail}): those of an embedding that were in the data, rows "
        "that a gradient hook leaves trainable, or max_norm",
        "freeze the whole tensor; no weight decay on rows that a hook freezes; max_norm=None on an embedding",
    ),
    Code(
        "rounded",
        "M16",
        "error",
        "frozen, but changed by rounding ({detail}), as in an EMA, an average of equal weights, or an "
        "adapter that was merged and unmerged",
        "copy frozen weights into the average instead of updating them",
    ),
    Code(
        "cast_and_back",
        "M16",
        "error",
        "frozen, but changed by a conversion ({detail})",
        "save and load frozen weights in their original dtype",
    ),
    Code(
        "never_frozen",
        "F4",
        "error",
        "every frozen tensor changed: the freeze was not in effect or came too late, or the run began with "
        "other weights",
        "apply it with FreezeConfig.apply; `freezetui check` shows what undoes it",
    ),
    Code(
        "unchanged_in_run",
        "S3",
        "note",
        "trainable, but unchanged bit for bit after the run",
        "run `freezetui check` to find out why",
    ),
    Code(
        "no_training",
        "N7",
        "warning",
        "no trainable tensor changed either: there was no training in between, or it had no effect",
        "compare with a checkpoint saved after training",
    ),
)
