"""What builds a model: the three forms, and one clear line for everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from freezetui.errors import ModelError
from freezetui.models.spec import call, imported, parse_factory

FILE = Path(__file__).resolve().parents[1] / "support" / "factories.py"


@pytest.mark.parametrize("text", ["torchvision:vgg16", "package.module:Class.build", f"{FILE}:mlp"])
def test_a_spec_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_factory(text)) == text


@pytest.mark.parametrize(
    "text", ["", "vgg16", "torchvision:", "torchvision:vgg 16", ":mlp", "a b:c", "missing/file.py:mlp"]
)
def test_anything_else_is_one_clear_line(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_factory(text)
    assert "\n" not in str(caught.value) and "torchvision:NAME" in caught.value.hint


def test_a_factory_in_a_file_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    model = call(parse_factory(f"{FILE}:mlp"), {"width": 4, "classes": 2})
    assert [tuple(p.shape) for p in model.parameters()] == [(4, 5), (4,), (2, 4), (2,)]
    assert isinstance(call(parse_factory(f"{FILE}:Nested.mlp"), {}), nn.Sequential)
    assert isinstance(call(parse_factory(f"{FILE}:ready"), {}), nn.Sequential)
    assert isinstance(
        call(parse_factory("torch.nn:Linear"), {"in_features": 2, "out_features": 3}), nn.Linear
    )


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("mpl", {}, "has no mpl. Did you mean mlp?"),
        ("number", {}, "is an int, not a callable"),
        ("wrong", {}, "returned a str, not a torch.nn.Module"),
        ("broken", {}, "raised ValueError: no such width"),
        ("leaving", {}, "raised SystemExit: not a module"),
        ("mlp", {"depth": 2}, "mlp(depth=2) raised TypeError"),
        ("ready", {"depth": 2}, "takes no arguments"),
    ],
)
def test_what_a_persons_code_does_wrong_is_one_line(
    name: str, arguments: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        call(parse_factory(f"{FILE}:{name}"), arguments)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert bool(capsys.readouterr().err) == ("raised" in said)


def test_torchvisions_names_are_suggested_and_weights_refused() -> None:
    with pytest.raises(ModelError, match=r"no model resnet81. Did you mean resnet18"):
        call(parse_factory("torchvision:resnet81"), {})
    with pytest.raises(ModelError, match="weights is not allowed"):
        call(parse_factory("torchvision:resnet18"), {"weights": "DEFAULT"})


def test_a_model_of_timm_is_named_by_an_argument() -> None:
    pytest.importorskip("timm")
    with pytest.raises(
        ModelError, match=r"timm has no resnet18\. Write .*timm:create_model --arg model_name=r"
    ):
        call(parse_factory("timm:resnet18"), {})


@pytest.mark.parametrize("source", ["no_such_package.models", "torch.no_such_module"])
def test_a_module_that_does_not_exist_is_named(source: str) -> None:
    missing = source.partition(".")[0] if source.startswith("no_") else source
    with pytest.raises(ModelError, match=f"^No module named '{missing}'. Install it, or correct --arch"):
        call(parse_factory(f"{source}:build"), {})


def test_a_module_that_lacks_another_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ModelError, match=r"raised ModuleNotFoundError: .*no_such_dependency.*lacking\.py, line 1"
    ):
        call(parse_factory("lacking:build"), {})


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("import sys; sys.exit(2)", "below if __name__ == '__main__'."),
        ("from . import data", "Name it as a module of its package: --step package.module:name."),
    ],
)
def test_a_script_that_cannot_be_imported_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, advice: str
) -> None:
    (tmp_path / "train.py").write_text(f"{line}\n")
    monkeypatch.setattr("sys.path", [*sys.path])
    with pytest.raises(ModelError, match=r"Importing .*train\.py, line 1, in <module>\. ") as caught:
        imported(parse_factory(f"{tmp_path / 'train.py'}:step"), "--step")
    assert str(caught.value).endswith(advice)


def test_a_torchvision_that_does_not_match_torch(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from freezetui.errors import ModelError\n"
        "from freezetui.models.spec import call, parse_factory\n"
        "print(call(parse_factory('torch.nn:Identity'), {}))\n"
        "try: call(parse_factory('torchvision:vgg16'), {})\n"
        "except ModelError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "Identity()"
    assert second == (
        "torchvision does not match torch: operator torchvision::nms does not exist. "
        "Run: pip install --upgrade --force-reinstall torch torchvision"
    )
