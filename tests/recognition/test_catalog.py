"""The shipped index against the installed torchvision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest
from torch import nn
from torchvision.models import list_models

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.model_spec import ModelSpec
from freezetui.recognition import catalog
from freezetui.recognition.catalog import in_module_order, recognize

Infos = Callable[[Iterable[tuple[str, Any]]], list[TensorInfo]]


@pytest.mark.parametrize("name", list_models())
def test_every_model_is_recognized_with_its_class_count(
    make_catalog: ModuleType, name: str, infos: Infos
) -> None:
    arguments = {"num_classes": 10} if make_catalog.takes(name, "num_classes") else {}
    state = make_catalog.build(name, **arguments).state_dict()
    found = recognize(infos(state.items()))
    assert found is not None and found.exact
    assert f"torchvision:{name}" in (found.model.architecture, *found.alternatives)
    assert found.model == ModelSpec(found.model.architecture, arguments)
    ordered = in_module_order(Checkpoint("x", "x", tuple(infos(sorted(state.items())))), found)
    assert [tensor.name for tensor in ordered] == list(state)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("googlenet", {"num_classes": 10, "aux_logits": False}),
        ("inception_v3", {"num_classes": 10, "aux_logits": False}),
        ("fcn_resnet50", {"num_classes": 21, "aux_loss": True}),
        ("deeplabv3_mobilenet_v3_large", {"num_classes": 3, "aux_loss": True}),
        ("keypointrcnn_resnet50_fpn", {"num_classes": 2, "num_keypoints": 5}),
        ("vit_b_16", {"num_classes": 10, "image_size": 384}),
    ],
)
def test_arguments_are_read_from_names_and_shapes(
    make_catalog: ModuleType, name: str, arguments: dict[str, Any], infos: Infos
) -> None:
    found = recognize(infos(make_catalog.build(name, **arguments).state_dict().items()))
    assert found is not None and found.exact
    assert found.model == ModelSpec(f"torchvision:{name}", arguments)
    assert found.input.shape[1] == arguments.get("image_size", found.input.shape[1])


def test_plain_models_come_before_their_quantized_and_resized_twins(
    make_catalog: ModuleType, infos: Infos
) -> None:
    for name, twin in [
        ("resnet18", "quantized_resnet18"),
        ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    ]:
        found = recognize(infos(make_catalog.build(twin).state_dict().items()))
        assert found is not None
        assert found.model.architecture == f"torchvision:{name}"
        assert found.alternatives == (f"torchvision:{twin}",)


def test_old_checkpoints_without_batch_counters(make_catalog: ModuleType, infos: Infos) -> None:
    state = make_catalog.build("resnet18", num_classes=5).state_dict()
    tensors = infos((n, t) for n, t in state.items() if not n.endswith("num_batches_tracked"))
    found = recognize(tensors)
    assert found is not None and found.exact
    assert found.label == "torchvision resnet18, 5 classes"


def test_other_widths_are_told_from_the_known_ones(make_catalog: ModuleType, infos: Infos) -> None:
    def narrow(tensor: TensorInfo) -> TensorInfo:
        shape = tuple(n // 8 if i < 2 and n >= 64 else n for i, n in enumerate(tensor.shape))
        return TensorInfo(tensor.name, shape, tensor.dtype)

    for name in ("vgg16", "resnet50"):
        tensors = infos(make_catalog.build(name, num_classes=10).state_dict().items())
        found = recognize([narrow(tensor) for tensor in tensors])
        assert found is not None and not found.exact
        assert found.label == f"torchvision {name}, custom widths, 10 classes"


def test_other_kernels_are_another_architecture(make_catalog: ModuleType, infos: Infos) -> None:
    tensors = infos(make_catalog.build("alexnet").state_dict().items())
    tensors[0] = TensorInfo(tensors[0].name, (64, 3, 5, 5), "float32")
    assert recognize(tensors) is None


def test_a_large_checkpoint_is_turned_away_before_the_index_is_read() -> None:
    catalog.index.cache_clear()
    assert recognize([TensorInfo(f"layers.{i}.weight", (4, 4), "float32") for i in range(100_000)]) is None
    assert catalog.index.cache_info().currsize == 0
    assert recognize([]) is None


def test_no_known_model_is_larger_than_what_is_turned_away(make_catalog: ModuleType) -> None:
    assert max(len(make_catalog.build(name).state_dict()) for name in DEEPEST) < catalog.MAX_TENSORS


DEEPEST = ("densenet201", "efficientnet_v2_l", "efficientnet_b7", "regnet_y_1_6gf", "resnet152", "swin_b")


def test_a_known_model_settles_which_tensors_are_buffers(make_catalog: ModuleType, infos: Infos) -> None:
    model: nn.Module = make_catalog.build("swin_v2_t")
    tensors = infos(model.state_dict().items())
    found = in_module_order(Checkpoint("x", "x", tuple(tensors)), recognize(tensors))
    parameters = {name for name, _ in model.named_parameters()}
    assert {t.name: t.kind for t in found} == {
        t.name: "parameter" if t.name in parameters else "buffer" for t in tensors
    }


def test_recognition_loads_no_torch() -> None:
    code = (
        "import sys; from freezetui.recognition.catalog import index, recognize; "
        "from freezetui.checkpoint.types import TensorInfo; "
        "recognize([TensorInfo('a', (1,), 'float32')]); index(); "
        "print([m for m in ('torch', 'numpy', 'textual', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
