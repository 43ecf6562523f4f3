"""Labels for models of transformers, by the task in the class's name, so that they compute a loss."""

from __future__ import annotations

from typing import Any

from freezetui.models.inputs.draws import Constant, Draw, PerExample
from freezetui.models.inputs.transformers_config import Facts


def labels_of(facts: Facts) -> dict[str, Any]:
    """Return the labels that the forward takes; {} if it takes none, or if nothing is known of them."""
    names = facts.names
    found: dict[str, Any] = {}
    if "return_loss" in names and "labels" not in names and "future_values" not in names:
        found["return_loss"] = Constant(True)
    if "start_positions" in names:
        place = Draw("labels", (), "integers", facts.length)
        return found | {"start_positions": place, "end_positions": place}
    if "future_values" in names and "past_time_features" not in names:
        length = int(facts.get("prediction_length", default=8))
        found["future_values"] = Draw("series", (length, *(facts.channels or (1,))))
    if "target_values" in names:
        found["target_values"] = _classes(facts, ())
    if "mask_labels" in names:
        shape = (2, *facts.pixels[-2:])
        found["mask_labels"] = PerExample(Draw("masks", shape, "ones", batch=None))
        found["class_labels"] = PerExample(_classes(facts, (2,), batch=None))
    if "next_sentence_label" in names:
        found["next_sentence_label"] = Draw("labels", (), "integers", 2)
    if "labels" in names:
        label = _label(facts)
        found |= {"labels": label} if label is not None else {}
    return found


def _label(facts: Facts) -> Any:
    """Return what `labels` is for the task; None if that is not known."""
    name, image = facts.class_name, facts.pixels[-2:]
    if name.endswith("MultipleChoice"):
        return Draw("labels", (), "integers", 2)
    if name.endswith("NextSentencePrediction"):
        return Draw("labels", (), "integers", 2)
    if "ObjectDetection" in name or name.endswith("ForSegmentation"):
        boxes = Draw("boxes", (2, 4), "uniform", batch=None)
        return PerExample({"class_labels": _classes(facts, (2,), batch=None), "boxes": boxes})
    if name.endswith(("SemanticSegmentation",)):
        return _classes(facts, image)
    if name.endswith("ImageSegmentation"):
        return Draw("labels", image, "uniform")
    if name.endswith("DepthEstimation"):
        return Draw("labels", image, "uniform")
    if name.startswith("Vilt") and name.endswith("QuestionAnswering"):
        return Draw("labels", (facts.classes,), "uniform")
    if name.endswith("TokenClassification"):
        return _classes(facts, (facts.length,))
    if name.endswith(("Classification", "SequenceClassification")):
        problem = getattr(facts.config, "problem_type", None)
        if problem == "multi_label_classification":
            return Draw("labels", (facts.classes,), "uniform")
        return Draw("labels", ()) if facts.classes == 1 else _classes(facts, ())
    if name.endswith("CTC"):
        return Draw("labels", (4,), "integers", facts.vocabulary_of_output, 1)
    if name.startswith("Musicgen"):
        codebooks = int(facts.get("num_codebooks", part="decoder", default=4))
        return Draw("labels", (8, codebooks), "integers", facts.decoder_vocabulary)
    if name.startswith("VisualBert"):
        return Draw("labels", (facts.length + 5,), "integers", facts.vocabulary)
    if (
        name.endswith(_OF_TOKENS)
        and "input_ids" in facts.names
        and not getattr(facts.config, "is_encoder_decoder", False)
    ):
        return Draw("labels", (facts.ids().shape[-1],), "integers", facts.vocabulary)
    if name.endswith((*_OF_TOKENS, "SpeechToText", "Model", "QuestionAnswering")) and (
        "decoder_input_ids" in facts.names
    ):
        return Draw("labels", (8,), "integers", facts.decoder_vocabulary, 3)
    return None


#: Ends of the names of classes whose labels are tokens.
_OF_TOKENS = (
    "LM",
    "LMHeadModel",
    "MaskedLM",
    "CausalLM",
    "ConditionalGeneration",
    "MTModel",
    "ForPreTraining",
)


def _classes(facts: Facts, shape: tuple[int, ...], batch: int | None = 0) -> Draw:
    return Draw("labels", shape, "integers", facts.classes, batch=batch)
