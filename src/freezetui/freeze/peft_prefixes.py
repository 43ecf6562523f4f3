"""The names that adapters have in a model: PEFT's, and loralib's among them."""

from __future__ import annotations

#: How the segments begin that PEFT's methods add to the names of a model (`PEFT_TYPE_TO_PREFIX_MAPPING`).
ADDED_BY_PEFT = (
    *("adamss_", "beft_", "boft_", "c3a_", "deft_", "delora_", "fourierft_", "frod_", "glora_", "gralora_"),
    *("hada_", "hira_", "hra_", "ia3_", "lily_", "ln_tuning_", "lokr_", "lora_", "miss_", "oft_", "osf_"),
    *("peanut_", "poly_", "psoft_", "pvera_", "randlora_", "road_", "shadow_", "shira_", "supertuning_"),
    *("tinylora_", "trainable_tokens_", "unilora_", "vblora_", "vera_", "waveft_"),
)
#: Where PEFT keeps the copy that trains of a module that is trained in full.
TRAINED_IN_FULL = "modules_to_save"


def is_added(name: str) -> bool:
    """Whether a tensor has the name of what an adapter adds to a model, e.g. `q.lora_A`."""
    return any(segment.startswith(ADDED_BY_PEFT) for segment in name.split("."))


def added_prefix(name: str) -> str:
    """Return how the segment of an addition begins, e.g. "lora_" in `q.lora_A`; "" in other names."""
    segments = name.split(".")
    return next((each for segment in segments for each in ADDED_BY_PEFT if segment.startswith(each)), "")


def owner(name: str) -> str:
    """Return the path of the module that something was added to, e.g. "q" of `q.lora_A`; "" at the top."""
    segments = name.split(".")
    found = (i for i, segment in enumerate(segments) if segment.startswith(ADDED_BY_PEFT))
    return ".".join(segments[: next(found, 0)])
