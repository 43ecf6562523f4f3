"""`freezetui export --to python`: running its code does to a model what `FreezeConfig.apply` does."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torchvision.models import resnet18

from freezetui import FreezeConfig
from freezetui.checkpoint.open import open_checkpoint
from freezetui.cli.export import export
from freezetui.config.codec import read_config, write_config
from freezetui.config.schema import ConfigData, ModelSection, Stage
from freezetui.formatting.python_code import python_code
from freezetui.freeze.patterns import literal
from freezetui.freeze.rules import Rule
from freezetui.session.session import Options, Session
from support import tiny_transformers as tiny

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


def printed(config: Path, *options: str) -> str:
    result = CliRunner().invoke(export, [str(config), "--to", "python", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(code, "exported.py", "exec"), namespace)
    return namespace


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters(remove_duplicate=False)}


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def check_same(config: Path, model: nn.Module, stage: str | None = None, *options: str) -> nn.Module:
    """Check that the printed code gives the flags and modes of `apply`; return the model it ran on."""
    applied, plain = copy.deepcopy(model), copy.deepcopy(model)
    FreezeConfig.load(config).apply(applied, stage=stage)
    applied.train()
    only = ("--stage", stage) if stage is not None else ()
    namespace = run(printed(config, *only, *options))
    namespace["freeze"](plain)
    namespace.get("train", nn.Module.train)(plain)
    assert flags(plain) == flags(applied)
    assert modes(plain) == modes(applied)
    return plain


def planned(path: Path, *rules: Rule) -> Path:
    session = Session(Options(str(path)))
    session.choose(None, rules)
    return session.save()


class Net(nn.Module):
    """Norms with and without parameters, a spectral norm, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4))
        self.deep = nn.Sequential(
            spectral_norm(nn.Conv2d(4, 4, 3)), nn.InstanceNorm2d(4, track_running_stats=True)
        )
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.pth"
    torch.save(Net().state_dict(), path)
    return path


@pytest.mark.parametrize(
    "frozen",
    [
        ("stem",),
        ("stem.0", "embed"),
        ("head",),
        ("deep",),
        ("stem.2.weight", "deep.0"),
        ("**",),
        ("stem.{0,2}",),
    ],
)
def test_norms_and_ties(net: Path, frozen: tuple[str, ...]) -> None:
    config = planned(net, *(Rule("freeze", pattern) for pattern in frozen))
    plain = check_same(config, Net())
    assert plain.head.weight is plain.embed.weight
    assert plain.head.weight.requires_grad is not ({"embed", "head", "**"} & {*frozen} != set())


class Drops(Net):
    """The same with dropout in a module, and beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem.append(nn.Dropout())
        self.after = nn.Dropout()


@pytest.mark.parametrize("frozen", ["stem", "stem.0", "stem.{0,2}", "{stem,deep}", "embed"])
@pytest.mark.parametrize("norms", ["freeze", "update"])
def test_frozen_modules_stay_in_eval_whole(tmp_path: Path, frozen: str, norms: str) -> None:
    torch.save(Drops().state_dict(), tmp_path / "net.pth")
    config = planned(tmp_path / "net.pth", Rule("freeze", frozen))
    data = read_config(config)
    write_config(config, msgspec.structs.replace(data, frozen_modules="eval", norm_statistics=norms))
    plain = check_same(config, Drops())
    assert plain.stem[3].training is ("stem" not in frozen or frozen == "stem.0") and plain.after.training


def test_a_resnet_with_a_new_head(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    config = planned(
        tmp_path / "r18.pth", *(Rule("freeze", name) for name in ("conv1", "bn1", "layer{1..4}"))
    )
    model = resnet18()
    model.fc = nn.Sequential(nn.Linear(512, 32), nn.BatchNorm1d(32), nn.Linear(32, 7))
    plain = check_same(config, model)
    assert [name for name, trains in flags(plain).items() if trains] == [
        f"fc.{n}" for n in dict(model.fc.named_parameters())
    ]
    assert plain.fc[1].training and not plain.bn1.training


def test_stages_one_after_another(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    stages = (
        Stage("head only", rules=(Rule("freeze", "**"), Rule("train", "fc"))),
        Stage("last block", rules=(Rule("train", "layer4"),)),
        Stage("everything", rules=(Rule("train", "**"),)),
    )
    data = ConfigData(
        ModelSection(checkpoint="r18.pth"), rules=(Rule("freeze", "layer{1..4}"),), stages=stages
    )
    config = tmp_path / "r18.freeze.yaml"
    write_config(config, data)
    applied, plain, code = resnet18(), resnet18(), run(printed(config))
    plain.conv1.weight.grad = torch.ones_like(plain.conv1.weight)
    for stage in stages:
        FreezeConfig.load(config).apply(applied, stage=stage.name)
        applied.train()
        code["freeze"](plain, stage.name)
        code["train"](plain, stage.name)
        assert flags(plain) == flags(applied)
        assert modes(plain) == modes(applied)
        check_same(config, resnet18(), stage.name)
    assert plain.conv1.weight.grad is None
    assert all(flags(plain).values())


def test_statistics_that_may_change_are_not_held(net: Path) -> None:
    config = planned(net, Rule("freeze", "stem"))
    config.write_text(config.read_text().replace("norm_statistics: freeze", "norm_statistics: update"))
    assert "def train" not in printed(config)
    check_same(config, Net())


def parted(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    model = Net()
    model.stem = wrap(model.stem)
    return model


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize(
    "model",
    [
        nn.DataParallel(Net()),
        compiled(Net()),
        compiled(nn.DataParallel(Net())),
        parted(compiled),
    ],
    ids=["DataParallel", "compiled", "compiled DataParallel", "a part compiled"],
)
def test_wrappers(net: Path, model: nn.Module) -> None:
    check_same(planned(net, Rule("freeze", "stem")), model)


def test_the_code_refuses_a_model_with_less(net: Path) -> None:
    model = Net()
    model.stem = model.stem[:1]
    with pytest.raises(
        AssertionError, match="froze 112 elements, not the 120 of the checkpoint: call this with"
    ):
        run(printed(planned(net, Rule("freeze", "stem"))))["freeze"](model)


def test_a_buffer_that_the_file_does_not_tell_from_a_parameter_counts(tmp_path: Path) -> None:
    model = Net()
    model.stem.register_buffer("mean", torch.zeros(3))
    torch.save(model.state_dict(), tmp_path / "mean.pth")
    plain = check_same(planned(tmp_path / "mean.pth", Rule("freeze", "stem")), model)
    assert not any(parameter.requires_grad for parameter in plain.stem.parameters())


class Presumed(nn.Module):
    """Parameters that are called as buffers are: on the root, in a module, and one that it freezes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(4))
        self.body, self.tail, self.head = (nn.Linear(4, 4) for _ in range(3))
        self.body.mask = nn.Parameter(torch.zeros(4))
        self.tail.window = nn.Parameter(torch.zeros(4), requires_grad=False)


@pytest.mark.parametrize(
    ("rules", "frozen"),
    [
        ([("freeze", "body")], ["body.mask"]),
        ([("freeze", "**"), ("train", "head")], ["u", "body.mask"]),
        ([("freeze", "body"), ("train", "body.weight")], ["body.mask"]),
        ([("freeze", "head")], []),
        ([("freeze", "**")], ["u", "body.mask"]),
        ([("freeze", "body.weight"), ("freeze", "body.bias")], []),
        ([("freeze", "**.{weight,bias}")], []),
    ],
)
def test_a_parameter_with_a_buffers_name(tmp_path: Path, rules: list[Any], frozen: list[str]) -> None:
    torch.save(Presumed().state_dict(), tmp_path / "net.pth")
    config = planned(tmp_path / "net.pth", *(Rule(*rule) for rule in rules))
    trains = flags(check_same(config, Presumed()))
    assert [name for name in ("u", "body.mask") if not trains[name]] == frozen and not trains["tail.window"]


def test_a_parameter_with_a_buffers_name_in_stages(tmp_path: Path) -> None:
    torch.save(Presumed().state_dict(), tmp_path / "net.pth")
    stages = (
        Stage("first", rules=(Rule("freeze", "{body,tail}"),)),
        Stage("then", rules=(Rule("train", "**"),)),
    )
    config = tmp_path / "net.freeze.yaml"
    write_config(config, ConfigData(ModelSection(checkpoint="net.pth"), stages=stages))
    Session(Options(str(tmp_path / "net.pth"))).save()  # records what is frozen
    applied, plain, code = Presumed(), Presumed(), run(printed(config))
    for stage in stages:
        FreezeConfig.load(config).apply(applied, stage=stage.name)
        code["freeze"](plain, stage.name)
        assert flags(plain) == flags(applied)
    assert plain.body.mask.requires_grad and not plain.tail.window.requires_grad


def test_integers_keep_their_flag(net: Path) -> None:
    model = Net()
    model.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    run(printed(planned(net, Rule("freeze", "stem"))))["freeze"](model)
    assert not model.codes.requires_grad


SCRIPT = """
import sys
from torch import nn
model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
freeze(model)
assert "freezetui" not in sys.modules
print(*(name for name, p in model.named_parameters() if not p.requires_grad))
"""


def test_the_code_runs_in_a_process_without_freezetui(tmp_path: Path) -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    torch.save(model.state_dict(), tmp_path / "linear.pth")
    config = planned(tmp_path / "linear.pth", Rule("freeze", "{0..1}"), Rule("train", "**.bias"))
    script = tmp_path / "script.py"
    script.write_text(f"{printed(config)}\n{SCRIPT}")
    done = subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    FreezeConfig.load(config).apply(model)
    frozen = [name for name, trains in flags(model).items() if not trains]
    assert done.stdout.split() == frozen == ["0.weight", "1.weight"]


def tiny_model(name: str, directory: Path, first: int, last: int) -> tuple[nn.Module, Path]:
    """Return a model of transformers, and a config that freezes a part of its file in quarters."""
    model = tiny.build(name)
    tiny.saved(model, directory)
    session = Session(Options(str(directory)))
    size = len(session.tree.tensors)
    session.plan.set([(size * first // 4, size * last // 4)], False)
    return model, session.save()


@pytest.mark.parametrize("quarters", [(0, 2), (2, 4), (1, 3), (0, 4)], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "BertForMaskedLM",
        "GPT2LMHeadModel",
        "T5ForConditionalGeneration",
        "LlamaForCausalLM",
        "BartForConditionalGeneration",
        "WhisperForConditionalGeneration",
        "CLIPModel",
    ],
)
def test_models_of_transformers(name: str, quarters: tuple[int, int], tmp_path: Path) -> None:
    model, config = tiny_model(name, tmp_path / "m", *quarters)
    check_same(config, model, None, "--no-engine")  # the names are the same; tests/cli has those that differ


@pytest.mark.parametrize("name", ["LlavaForConditionalGeneration", "ViTForImageClassification"])
def test_code_with_the_checkpoints_names_refuses_a_model_with_others(name: str, tmp_path: Path) -> None:
    model, config = tiny_model(name, tmp_path / "m", 0, 2)
    if {tensor.name for tensor in open_checkpoint([str(tmp_path / "m")]).tensors} == set(model.state_dict()):
        pytest.skip("this version of transformers keeps the names")
    with pytest.raises(AssertionError, match="elements, not the"):
        run(printed(config, "--no-engine"))["freeze"](model)


def live(session: Session) -> nn.Module:
    """Return a model with the sample's names, shapes and ties."""
    model, known = nn.Module(), {}
    for tensor in session.tree.tensors:
        *path, name = tensor.name.split(".")
        owner = model
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        value = torch.zeros(tensor.shape, dtype=getattr(torch, tensor.dtype))
        if tensor.untrainable_reason:
            owner.register_buffer(name, value)
        else:
            owner.register_parameter(
                name, known.setdefault(tensor.storage or tensor.name, nn.Parameter(value))
            )
    return model


SESSIONS = {
    name: Session(Options(str(SAMPLES / name)))
    for name in ("vgg_digits.pth", "shufflenet_digits.safetensors", "tiny_transformer.pth")
}


def rules(session: Session) -> st.SearchStrategy[list[Rule]]:
    nodes = st.integers(1, len(session.tree) - 1).map(session.tree.path).map(literal)
    rule = st.builds(Rule, st.sampled_from(["freeze", "train"]), nodes)
    return st.lists(rule, max_size=6)


@pytest.mark.parametrize("name", SESSIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_random_plans_of_the_samples(name: str, data: st.DataObject) -> None:
    session = SESSIONS[name]
    drawn = [r for r in data.draw(rules(session)) if not _only_buffers(session, r)]
    session.choose(None, tuple(drawn))
    applied, plain = live(session), live(session)
    FreezeConfig(**_fields(session.written())).apply(applied, checkpoint=str(SAMPLES / name))
    code = run(python_code(session.checkpoint, session.tree, {"": session.plan.mask()}))
    code["freeze"](plain)
    assert flags(plain) == flags(applied)
    code.get("train", nn.Module.train)(plain)
    assert modes(plain) == modes(applied.train())


def _only_buffers(session: Session, rule: Rule) -> bool:
    tree = session.tree
    node = next(n for n in range(1, len(tree)) if literal(tree.path(n)) == rule.pattern)
    return all(t.untrainable_reason for t in tree.tensors[slice(*tree.span(node))])


def _fields(data: ConfigData) -> dict[str, Any]:
    return {name: getattr(data, name) for name in data.__struct_fields__}


def test_a_rule_for_a_new_head_is_allowed_where_the_config_records_what_is_frozen(net: Path) -> None:
    config = planned(net, Rule("freeze", "stem"))
    text = config.read_text()
    config.write_text(text.replace("rules:\n", "rules:\n  - train: newborn\n"))
    assert 'FROZEN = ("stem.",)' in printed(config)
