"""Check a freeze on many architectures; `--write docs/architectures.md` writes the table.

Each model is small and random. Its library saves it, the first half of its parameters is frozen, and the check
runs as the command line runs it: the model is built from the spec, an input is searched for, the weights are
loaded, and three steps are compared with three steps of the control run. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import msgspec  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402

from freezetui.checkpoint.open import open_checkpoint  # noqa: E402
from freezetui.config.schema import ConfigData  # noqa: E402
from freezetui.engine.check import check_model  # noqa: E402
from freezetui.engine.model_under_test import ModelUnderTest, load_model_under_test  # noqa: E402
from freezetui.freeze.rules import Rule  # noqa: E402
from freezetui.model_spec import ModelSpec  # noqa: E402
from freezetui.recognition.catalog import recognize  # noqa: E402
from freezetui.sanity.protocol import CheckRequest  # noqa: E402
from support import own_models, tiny_transformers  # noqa: E402
from support.more_transformers import MORE  # noqa: E402
from support.shrunk_configs import shrunk  # noqa: E402

_MAX_SECONDS = 240

#: Models of transformers, by task; those not in `tiny_transformers` are made of shrunk configs.
TRANSFORMERS = (
    # text
    "BertForMaskedLM RobertaForSequenceClassification DistilBertForQuestionAnswering AlbertForMaskedLM "
    "ElectraForTokenClassification DebertaV2ForSequenceClassification MPNetForMultipleChoice "
    "BertForPreTraining BertForNextSentencePrediction XLMRobertaForTokenClassification "
    "BigBirdForMaskedLM LongformerForQuestionAnswering FunnelForMaskedLM CanineForSequenceClassification "
    "GPT2LMHeadModel GPT2ForSequenceClassification LlamaForCausalLM MistralForCausalLM MixtralForCausalLM "
    "Qwen2ForCausalLM GemmaForCausalLM PhiForCausalLM GPTNeoXForCausalLM OPTForCausalLM BloomForCausalLM "
    "FalconForCausalLM MambaForCausalLM XLNetLMHeadModel "
    "T5ForConditionalGeneration BartForConditionalGeneration BartForSequenceClassification MarianMTModel "
    "PegasusForConditionalGeneration MT5ForConditionalGeneration LEDForConditionalGeneration "
    # images
    "ViTForImageClassification DeiTForImageClassification BeitForImageClassification SwinForImageClassification "
    "ConvNextForImageClassification ResNetForImageClassification MobileViTForImageClassification "
    "Dinov2ForImageClassification ViTMAEForPreTraining SegformerForSemanticSegmentation "
    "UperNetForSemanticSegmentation DetrForObjectDetection YolosForObjectDetection "
    "ConditionalDetrForObjectDetection DPTForDepthEstimation GLPNForDepthEstimation "
    "MaskFormerForInstanceSegmentation Mask2FormerForUniversalSegmentation Swin2SRForImageSuperResolution "
    "SamModel ViTMAEModel VitPoseForPoseEstimation "
    # video and audio
    "VideoMAEForVideoClassification TimesformerForVideoClassification VivitForVideoClassification "
    "Wav2Vec2ForCTC Wav2Vec2ForSequenceClassification HubertForCTC WavLMForCTC SEWForCTC "
    "ASTForAudioClassification WhisperForConditionalGeneration Speech2TextForConditionalGeneration "
    "SpeechT5ForSpeechToText MusicgenForConditionalGeneration EncodecModel ClapModel "
    # time series
    "PatchTSTForPrediction PatchTSMixerForPrediction TimeSeriesTransformerForPrediction "
    "InformerForPrediction AutoformerForPrediction DecisionTransformerModel "
    # several modalities
    "CLIPModel SiglipModel ChineseCLIPModel AlignModel GroupViTModel CLIPSegForImageSegmentation "
    "ViltForQuestionAnswering ViltForMaskedLM BlipForConditionalGeneration BlipForQuestionAnswering "
    "BlipForImageTextRetrieval Blip2ForConditionalGeneration GitForCausalLM FlavaModel "
    "LlavaForConditionalGeneration PaliGemmaForConditionalGeneration Qwen2VLForConditionalGeneration "
    "Idefics3ForConditionalGeneration InstructBlipForConditionalGeneration Kosmos2ForConditionalGeneration "
    "OwlViTForObjectDetection LayoutLMForTokenClassification LayoutLMv3ForTokenClassification "
    "LxmertForPreTraining VisualBertForPreTraining TapasForQuestionAnswering Pix2StructForConditionalGeneration "
    "VisionEncoderDecoderModel SpeechEncoderDecoderModel EncoderDecoderModel VisionTextDualEncoderModel"
).split()

TORCHVISION = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11",
    "vit_b_32",
    "maxvit_t",
    "fcn_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fcos_resnet50_fpn",
    "r3d_18",
    "s3d",
    "mvit_v1_b",
    "swin3d_t",
    "raft_small",
    "quantized_resnet18",
    "quantized_mobilenet_v2",
    "quantized_mobilenet_v3_large",
    "quantized_googlenet",
    "quantized_inception_v3",
    "quantized_shufflenet_v2_x0_5",
]

TIMM = [
    "convnext_atto",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "efficientnet_b0",
    "efficientformer_l1",
    "mixer_s32_224",
    "resnet18",
    "resnetv2_50",
    "regnetx_002",
    "levit_128s",
    "crossvit_tiny_240",
    "cait_xxs24_224",
    "coat_tiny",
    "pit_ti_224",
    "poolformer_s12",
    "mobilevit_xxs",
    "tf_efficientnet_lite0",
    "xcit_nano_12_p16_224",
    "beit_base_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch14_dinov2",
    "maxvit_rmlp_pico_rw_256",
    "ghostnet_050",
    "hrnet_w18_small",
    "dla34",
    "edgenext_xx_small",
    "gcresnet33ts",
    "repvgg_a0",
    "tresnet_m",
    "twins_pcpvt_small",
    "visformer_tiny",
    "inception_next_atto",
    "fastvit_t8",
    "nfnet_l0",
]

OWN = [
    name
    for name, value in vars(own_models).items()
    if isinstance(value, type) and issubclass(value, nn.Module) and not name.startswith("_")
]


class Row(msgspec.Struct):
    """One architecture's result.

    Attributes:
        library, name: what was checked.
        verdict: "held", "moved", "inconclusive" or "error".
        frozen, trainable: how many tensors.
        input: what the input was.
        reason: why it was not held.
        seconds: from the file to the verdict.
    """

    library: str
    name: str
    verdict: str
    frozen: int = 0
    trainable: int = 0
    input: str = ""
    reason: str = ""
    seconds: float = 0


class NotSaved(Exception):
    """The model could not be made small, or saved."""


def save_transformers(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save a tiny model by its library."""
    model_class = getattr(transformers, name)
    make = tiny_transformers.FAMILIES.get(name) or MORE.get(name)
    config = make(transformers) if make else shrunk(model_class.config_class)
    model_class(config).save_pretrained(directory)
    return directory, ModelSpec(f"transformers:{name}")


def save_torchvision(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict; a quantized one is prepared for quantization-aware training, as its users do."""
    arguments: dict[str, Any] = {}
    if name.startswith("quantized_"):
        spec = ModelSpec(f"{ROOT / 'tests' / 'support' / 'quantized_models.py'}:{name}")
        from support import quantized_models

        model = getattr(quantized_models, name)()
        side = 299 if "inception" in name else 128
        model(torch.randn(2, 3, side, side))  # observers allocate per channel
    else:
        detection = ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn", "lraspp")
        none = {"weights_backbone": None} if any(word in name for word in detection) else {}
        if not none and not name.startswith("raft"):
            arguments = {"num_classes": 7}
        model = torchvision.models.get_model(name, weights=None, **none, **arguments)
        spec = ModelSpec(f"torchvision:{name}", arguments)
    torch.save(model.state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", spec


def save_timm(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict."""
    torch.save(timm.create_model(name, num_classes=7).state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", ModelSpec("timm:create_model", {"model_name": name, "num_classes": 7})


def save_own(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict; lazy layers after a first batch, as their users do."""
    model = getattr(own_models, name)()
    first = {"LazyNet": (2, 3, 20, 20), "MadeInForward": (2, 10), "ActNormFlow": (4, 6)}
    if name in first:
        model(torch.randn(first[name]))
    torch.save(model.state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", ModelSpec(f"{ROOT / 'tests' / 'support' / 'own_models.py'}:{name}")


SAVE = {
    "transformers": (save_transformers, TRANSFORMERS),
    "torchvision": (save_torchvision, TORCHVISION),
    "timm": (save_timm, TIMM),
    "own code": (save_own, OWN),
}


def frozen_half(under_test: ModelUnderTest) -> tuple[Rule, ...]:
    """Return rules that freeze the first half of the live parameters, by the file's names."""
    assert under_test.names is not None
    parameters = [t for t in under_test.names.live if t.kind == "parameter" and t.files]
    half = parameters[: max(1, len(parameters) // 2)]
    return tuple(Rule("freeze", name) for name in dict.fromkeys(name for t in half for name in t.files))


def held(library: str, name: str) -> Row:
    """Save, freeze and check one model."""
    save, _ = SAVE[library]
    with tempfile.TemporaryDirectory() as directory:
        try:
            torch.manual_seed(0)
            path, spec = save(name, Path(directory))
        except Exception as error:
            raise NotSaved(f"{type(error).__name__}: {error}") from error
        started = time.perf_counter()
        checkpoint = open_checkpoint(str(path))
        request = CheckRequest(checkpoint=str(path), model=spec, recognition=recognize(checkpoint.tensors))
        under_test = load_model_under_test(request, checkpoint, torch.device("cpu"), lambda phase: None)
        report = check_model(under_test, ConfigData(rules=frozen_half(under_test)))
    seconds = time.perf_counter() - started
    reason = ""
    if report.verdict != "held":
        reason = under_test.reason or "; ".join(
            f"{f.code} {f.message} {', '.join(f.tensors[:2])}"
            for f in report.findings
            if f.severity != "note"
        )
    shown = getattr(under_test, "input", "") or "x".join(map(str, report.input))
    return Row(
        library, name, report.verdict, report.frozen.tensors, report.trainable.tensors, shown, reason, seconds
    )


def child(library: str, name: str, pipe: Any, verbose: bool) -> None:
    """Send one row."""
    torch.set_num_threads(1)
    silent = contextlib.ExitStack()
    started = time.perf_counter()
    with silent:
        if not verbose:
            silent.enter_context(contextlib.redirect_stderr(io.StringIO()))
            silent.enter_context(contextlib.redirect_stdout(io.StringIO()))
        silent.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            row = held(library, name)
        except Exception as error:
            if verbose:
                traceback.print_exc()
            kind = "not saved" if isinstance(error, NotSaved) else "error"
            said = str(error) if isinstance(error, NotSaved) else f"{type(error).__name__}: {error}"
            row = Row(
                library,
                name,
                kind,
                reason=" ".join(said.split())[:200],
                seconds=time.perf_counter() - started,
            )
    pipe.send_bytes(msgspec.json.encode(row))


def check(library: str, name: str, verbose: bool) -> Row:
    """Check one model in a process of its own, which is ended when it takes too long."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(library, name, sender, verbose))
    process.start()
    sender.close()
    try:
        if receiver.poll(_MAX_SECONDS):
            return msgspec.json.decode(receiver.recv_bytes(), type=Row)
        reason = f"more than {_MAX_SECONDS} s"
    except EOFError:
        reason = "the process died"
    finally:
        process.kill()
        process.join()
    return Row(library, name, "error", reason=reason, seconds=_MAX_SECONDS)


def markdown(rows: list[Row]) -> str:
    """The document: how many are held, what remains, and the table."""
    done = [row for row in rows if row.verdict != "not saved"]
    good = [row for row in done if row.verdict == "held"]
    per = Counter(row.library for row in good)
    total = Counter(row.library for row in done)
    counts = ", ".join(f"{per[library]} of {total[library]} of {library}" for library in SAVE)
    lines = [
        "# Architectures that were checked",
        "",
        *(__doc__ or "").splitlines()[2:],
        "Written by `scripts/check_architectures.py` with torch "
        f"{torch.__version__.split('+')[0]}, transformers {transformers.__version__}, timm {timm.__version__}, "
        f"torchvision {torchvision.__version__.split('+')[0]}.",
        "",
        f"{len(good)} of {len(done)} are held ({counts}).",
        "",
        "## What remains",
        "",
        *(
            f"- {row.library} {row.name}: {row.verdict}: {row.reason}"
            for row in done
            if row.verdict != "held"
        ),
        "",
        "## All",
        "",
        "| library | architecture | verdict | frozen | trains | input | seconds |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {r.library} | {r.name} | {r.verdict} | {r.frozen} | {r.trainable} | {r.input} | {r.seconds:.1f} |"
            for r in done
        ),
        "",
    ]
    return "\n".join(lines)


def cases(only: str) -> Iterator[tuple[str, str]]:
    """Yield (library, name)."""
    for library, (_, names) in SAVE.items():
        for name in names:
            if any(word in f"{library}:{name}" for word in only.split(",")):
                yield library, name


def main() -> None:
    """Check all, print as it goes, and write the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", default="", help="names or libraries that contain one of these, with commas"
    )
    parser.add_argument("--write", type=Path, help="where the document goes")
    parser.add_argument("--results", type=Path, help="a file of JSON lines; what it has is not checked again")
    parser.add_argument("--verbose", action="store_true", help="show what the models print, and tracebacks")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = {}
    if arguments.results and arguments.results.exists():
        read = [msgspec.json.decode(line, type=Row) for line in arguments.results.read_bytes().splitlines()]
        known = {(row.library, row.name): row for row in read}
    rows = []
    for library, name in cases(arguments.only):
        row = known.get((library, name)) or check(library, name, arguments.verbose)
        rows.append(row)
        if arguments.results and (library, name) not in known:
            with arguments.results.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        print(f"{row.verdict:12} {library}:{name} {row.seconds:.1f} s {row.input} {row.reason}", flush=True)
    if arguments.write:
        arguments.write.write_text(markdown(rows), "utf-8")
    print(Counter(row.verdict for row in rows))


if __name__ == "__main__":
    main()
