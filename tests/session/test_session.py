"""The session: who decides what builds the model, and what is forgotten when that changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freezetui.config.codec import read_config
from freezetui.config.paths import why_no_config
from freezetui.model_spec import ModelSpec
from freezetui.sanity.report import FrozenPart, SanityReport
from freezetui.session.options import Options
from freezetui.session.session import Session
from support.reports import sanity_report

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"
OTHER_MODEL = """\
freezetui: 1
model:
  architecture: {architecture}
  arguments: {{num_classes: 3}}
  input: [1, 28, 28]
  fingerprint: sha256:00
rules:
  - freeze: '**.bias'
"""


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Session]:
    """A session on a copy of a sample, with a config of this text beside it."""

    def run(config: str = "", sample: str = "vgg_digits.pth", **options: object) -> Session:
        source = Path(shutil.copy(SAMPLES / sample, tmp_path))
        if config:
            source.with_name(f"{source.stem}.freeze.yaml").write_text(config)
        return Session(Options(str(source), **options))

    return run


def report() -> SanityReport:
    return sanity_report(
        frozen=FrozenPart(1, 1),
        input=(3, 32, 32),
    )


def test_a_config_made_for_another_model_tells_nothing_of_what_builds_this_one(opened):
    session = opened(OTHER_MODEL.format(architecture="torchvision:resnet18"))
    assert session.differences
    assert session.architecture.model.architecture == "torchvision:vgg16"
    assert session.architecture.model.arguments == {"num_classes": 10}
    assert session.architecture.model.input == ()
    written = read_config(session.save()).model
    assert (written.architecture, written.arguments) == ("torchvision:vgg16", {"num_classes": 10})


def test_what_built_another_model_is_told_where_nothing_is_known_of_this_one(opened):
    session = opened(OTHER_MODEL.format(architecture="pkg.mod:build"), sample="tiny_transformer.pth")
    assert session.architecture.model.architecture == ""
    assert "that model was built by pkg.mod:build" in session.differences
    assert read_config(session.save()).model.architecture == ""


def test_a_config_with_a_rule_that_names_nothing_still_tells_what_builds_the_model(opened):
    session = opened("freezetui: 1\nmodel: {architecture: 'pkg.mod:build'}\nrules:\n  - freeze: fc\n")
    assert session.differences
    assert session.architecture.model.architecture == "pkg.mod:build"
    assert not session.architecture.trusted


def test_the_command_line_wins_over_the_config(opened):
    config = "freezetui: 1\nmodel: {architecture: 'pkg.mod:build', arguments: {a: 1, b: 2}, input: [4]}\n"
    session = opened(config, model=ModelSpec(arguments={"b": 3}, input=(5,)))
    assert session.architecture.model.architecture == "pkg.mod:build"
    assert session.architecture.model.arguments == {"a": 1, "b": 3}
    assert session.architecture.model.input == (5,)
    session = opened(config, model=ModelSpec("torchvision:vgg16", {"b": 3}))
    assert session.architecture.model.arguments == {"b": 3}
    assert session.architecture.trusted


def test_another_architecture_forgets_the_report_the_arguments_and_the_input(opened):
    session = opened()
    session.checked(report(), session.plan.mask())
    assert session.architecture.model.input == (3, 32, 32)
    session.name_architecture(ModelSpec("pkg.mod:build"))
    assert session.report is None
    assert session.architecture.model.arguments == {}
    assert session.architecture.model.input == ()
    assert session.request().model == ModelSpec("pkg.mod:build")


def test_no_architecture_is_a_choice_too(opened):
    session = opened()
    session.name_architecture(ModelSpec())
    assert session.architecture.tensors_only
    assert session.request().model == ModelSpec()


def test_a_config_that_somebody_else_has_written_is_not_written_over_unasked(opened):
    session = opened()
    session.plan.set([session.tree.span(1)], False)
    path = session.save()
    assert session.saved.why_not_write(path) == ""
    path.write_text(path.read_text() + "# mine\n")
    assert session.saved.changed_on_disk
    assert "changed on disk" in session.saved.why_not_write(path)
    session.save()
    assert session.saved.why_not_write(path) == ""
    path.unlink()
    assert session.saved.why_not_write(path) == ""


def test_another_architecture_is_unsaved_until_it_is_saved(opened):
    session = opened()
    session.name_architecture(ModelSpec("torchvision:vgg11"))
    assert session.unsaved
    session.save()
    assert not session.unsaved
    session.name_architecture(ModelSpec())
    assert not session.unsaved


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (".", "directory"),
        ("a.txt", "end in"),
        (".json", "end in"),
        ("no/a.yaml", "No such directory"),
    ],
)
def test_names_that_cannot_be_saved_under_are_refused_at_once(name, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert why in why_no_config(name)
    assert why_no_config("a.freeze.yaml") == ""


@pytest.mark.parametrize("device", [d for d in ("/dev/zero", "/dev/full") if Path(d).exists()])
def test_a_device_in_place_of_a_config_is_refused_before_it_is_read(tmp_path, device):
    """Both are endless: a session once read them whole, to tell later whether the file has changed."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from pathlib import Path\n"
        "from freezetui.errors import ConfigError\n"
        "from freezetui.session.session import Options, Session\n"
        "try: Session(Options(sys.argv[1], config=Path(sys.argv[2])))\n"
        "except ConfigError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(SAMPLES / "vgg_digits.pth"), device],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout.startswith(f"{device} is not a file."), result.stderr
