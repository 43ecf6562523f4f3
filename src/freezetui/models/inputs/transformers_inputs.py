"""Inputs for models of transformers, from the forward's signature and the config's sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from typing import Any

from torch import nn

from freezetui.models.inputs.draws import Candidate, Constant, Draw, changed
from freezetui.models.inputs.transformers_config import Facts
from freezetui.models.inputs.transformers_labels import labels_of

Inputs = dict[str, Any]


def transformers_candidates(model: nn.Module) -> Iterator[Candidate]:
    """Yield inputs with labels, so that the model's own loss is used; then without; then text alone."""
    try:
        facts = Facts(model, tuple(signature(model.forward).parameters))
        inputs = {**_text(facts), **_image(facts), **_audio(facts), **_series(facts), **_others(facts)}
        labels = labels_of(facts)
    except Exception:  # a config of a remote class may be anything
        return
    if not inputs:
        return
    decoded = _decoded(facts)
    text = {name: value for name, value in inputs.items() if name in ("input_ids", "token_type_ids")}
    main = {name: value for name, value in inputs.items() if name == getattr(model, "main_input_name", "")}
    every = [
        {**inputs, **labels},
        {**inputs, **decoded},
        {**inputs, **labels, **decoded},
        inputs,
        {**text, **labels} if text and len(inputs) > len(text) else {},
        text,
        main,
    ]
    plain: list[Candidate] = []
    for kwargs in every:
        candidate = Candidate((), kwargs)
        if kwargs and candidate not in plain:
            plain.append(candidate)
    yield from plain
    for candidate in plain[:2]:  # some take one example at a time, without a padding token
        yield Candidate((), changed(candidate.kwargs, _single))


def _single(draw: Draw) -> Draw:
    return draw if draw.batch is None else replace(draw, shape=(1, *draw.shape), batch=None)


def _text(facts: Facts) -> Inputs:
    """Return token ids, with as many image tokens as there are image features."""
    if "input_ids" not in facts.names:
        return {}
    found: Inputs = {"input_ids": facts.ids()}
    length = found["input_ids"].shape[-1]
    if "bbox" in facts.names:
        corners = ((0, 10), (1, 20), (2, 30), (3, 40))
        found["bbox"] = Draw("boxes", (length, 4), "integers", 1, fixed=corners)
    if "qformer_input_ids" in facts.names:
        rows = facts.get("vocab_size", part="qformer_config", default=100)
        found["qformer_input_ids"] = Draw("tokens", (8,), "integers", rows, 1)
    if "image_embeds_position_mask" in facts.names:
        places = tuple((i, 1) for i in range(1, 1 + facts.get("latent_query_num", default=8)))
        found["image_embeds_position_mask"] = Draw("masks", (length,), "zeros", fixed=places)
    if facts.class_name.startswith(("PaliGemma", "Gemma3For")):
        found["token_type_ids"] = Draw("types", (length,), "ones", dtype=facts.int64)
    if "mm_token_type_ids" in facts.names and facts.image_tokens:
        places = tuple((i, 1) for i in range(1, 1 + facts.image_tokens))
        found["mm_token_type_ids"] = Draw("types", (length,), "zeros", dtype=facts.int64, fixed=places)
    return found


def _image(facts: Facts) -> Inputs:
    """Return images, or videos, or flattened patches."""
    found: Inputs = {}
    if "flattened_patches" in facts.names:
        width = facts.get("patch_embed_hidden_size", part="vision_config", default=768)
        found["flattened_patches"] = Draw("patches", (16, 2 + width), "uniform")
    if "image_grid_thw" in facts.names:
        return found | _patches(facts)
    for name in ("pixel_values", "pixel_values_videos", "images", "conditional_pixel_values"):
        if name in facts.names and not (found and name != "pixel_values"):
            if name == "images" and not facts.get("image_size", default=0):
                continue
            found[name] = Draw("images", facts.pixels)
    if "input_points" in facts.names and "pixel_values" in found:
        found["input_points"] = Draw("points", (1, 1, 2), "uniform")
    if facts.class_name.startswith("CLIPSeg"):
        found.pop("conditional_pixel_values", None)
    return found


def _patches(facts: Facts) -> Inputs:
    """Return an image as Qwen's processors cut it: rows of patches, and a grid for each image."""
    import torch

    side, rows = 2 * facts.get("spatial_merge_size", part="vision_config", default=2), facts.patch_width
    grid = Constant(torch.tensor([[1, side, side]] * 2))
    return {"pixel_values": Draw("patches", (2 * side * side, rows), batch=None), "image_grid_thw": grid}


def _audio(facts: Facts) -> Inputs:
    """Return waves or spectrograms."""
    bins = facts.get("num_mel_bins", part="audio_config", default=80)
    if "input_values" in facts.names and not facts.class_name.startswith("Musicgen"):
        return {"input_values": Draw("signals", facts.wave)}
    if "input_features" not in facts.names:
        return {}
    if facts.get("max_source_positions", default=0) and "Speech2Text" not in facts.class_name:
        frames = 2 * facts.get("max_source_positions", part="audio_config", default=1500)
        return {"input_features": Draw("spectrograms", (bins, frames))}
    if "is_longer" in facts.names:
        side = facts.get("spec_size", part="audio_config", default=256)
        ratio = side // bins
        longer = Draw("flags", (1,), "zeros", dtype=facts.bool)
        return {"input_features": Draw("spectrograms", (1, side * max(1, ratio), bins)), "is_longer": longer}
    width = facts.get("input_feat_per_channel", default=0) * facts.get("input_channels", default=1)
    width = width or facts.get("feature_projection_input_dim", "input_size", default=bins)
    return {"input_features": Draw("spectrograms", (64, width))}


def _series(facts: Facts) -> Inputs:
    """Return time series with their features, or a decision transformer's trajectory."""
    names, get = facts.names, facts.get
    if "returns_to_go" in names:
        step = {"states": get("state_dim"), "actions": get("act_dim"), "rewards": 1, "returns_to_go": 1}
        found: Inputs = {name: Draw("series", (8, width)) for name, width in step.items()}
        found["timesteps"] = Draw("times", (8,), "integers", get("max_ep_len", default=8))
        found["attention_mask"] = Draw("masks", (8,), "ones", dtype=facts.int64)
        return found
    if "past_values" not in names:
        return {}
    length, extra = get("context_length", "prediction_length", default=32), facts.channels
    if "past_time_features" not in names:
        return {"past_values": Draw("series", (length, *(extra or (1,))))}
    past = length + max(get("lags_sequence", default=[0]))
    future, features = get("prediction_length", default=8), get("num_time_features", default=0)
    found = {
        "past_values": Draw("series", (past, *extra)),
        "past_time_features": Draw("features", (past, features)),
        "past_observed_mask": Draw("masks", (past, *extra), "ones"),
        "future_values": Draw("series", (future, *extra)),
        "future_time_features": Draw("features", (future, features)),
    }
    static, real = (
        get("num_static_categorical_features", default=0),
        get("num_static_real_features", default=0),
    )
    if static:
        rows = min(get("cardinality", default=[2]))
        found["static_categorical_features"] = Draw("categories", (static,), "integers", rows)
    if real:
        found["static_real_features"] = Draw("features", (real,))
    return found


def _others(facts: Facts) -> Inputs:
    """Return regions of images that a detector has found, and what else single families take."""
    found: Inputs = {}
    if "visual_feats" in facts.names:
        found["visual_feats"] = Draw("regions", (5, facts.get("visual_feat_dim", default=2048)))
        found["visual_pos"] = Draw("boxes", (5, facts.get("visual_pos_dim", default=4)), "uniform")
    if "visual_embeds" in facts.names:
        found["visual_embeds"] = Draw("regions", (5, facts.get("visual_embedding_dim", default=512)))
    if facts.class_name.startswith("Tapas"):
        found["token_type_ids"] = Draw("types", (facts.length, 7), "zeros", dtype=facts.int64)
    if facts.class_name.startswith("SpeechEncoderDecoder"):
        found.pop("inputs", None)
    return found


def _decoded(facts: Facts) -> Inputs:
    """Return ids for the decoder, which some models derive from labels."""
    if "decoder_input_ids" not in facts.names:
        return {}
    if facts.class_name.startswith("Musicgen"):  # a row for each codebook of each example
        books = int(facts.get("num_codebooks", part="decoder", default=4))
        return {
            "decoder_input_ids": Draw(
                "codes", (2 * books, 8), "integers", facts.decoder_vocabulary, batch=None
            )
        }
    return {"decoder_input_ids": Draw("tokens", (8,), "integers", facts.decoder_vocabulary, 3)}
