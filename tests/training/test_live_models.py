"""Configs of a checkpoint on the live models that people train: new heads, adapters, wrappers, parts."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import weight_norm
from torchvision.models import resnet18, resnet34, resnet50

from freezetui.engine.check import check
from freezetui.errors import ConfigError, PatternError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.training.config import FreezeConfig
from freezetui.training.guard import FreezeGuard
from support import tiny_transformers as tiny


def planned(path: Path, *rules: Rule, default: str = "train") -> FreezeConfig:
    """Return what `freezetui plan` saves for a checkpoint, loaded as a script does."""
    session = Session(Options(str(path)))
    session.choose(None, rules, default)
    return FreezeConfig.load(session.save())


def trainable(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}


BODY = tuple(Rule("freeze", name) for name in ("conv1", "bn1", "layer{1..4}"))


@pytest.fixture(scope="module")
def r18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("r18") / "r18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


def test_rules_stand_as_they_were_given(r18: Path) -> None:
    config = planned(r18, *BODY)
    assert (config.default, config.rules) == ("train", BODY)
    assert config.expect is not None and config.expect.frozen.fingerprint


@pytest.mark.parametrize("reach", [True, False], ids=["file there", "file gone"])
def test_a_new_head_trains_and_is_listed(r18: Path, reach: bool, tmp_path: Path) -> None:
    config = planned(r18, *BODY)
    if not reach:
        config.save(tmp_path / "alone.yaml")
        config = FreezeConfig.load(tmp_path / "alone.yaml")
    for change, names in (
        ({"fc": nn.Linear(512, 2)}, {"fc.weight", "fc.bias"}),
        ({"aux": nn.Linear(512, 3)}, {"fc.weight", "fc.bias", "aux.weight", "aux.bias"}),
        ({"fc": nn.Identity(), "head": nn.Linear(512, 2)}, {"head.weight", "head.bias"}),
    ):
        model = resnet18()
        for name, module in change.items():
            setattr(model, name, module)
        applied = config.apply(model)
        assert trainable(model) == set(applied.trainable) == names
        assert applied.counts.frozen.tensors == 60
        listed = config.apply(model, checkpoint=r18)
        assert set(listed.new) == names - ({"fc.weight", "fc.bias"} if "aux" in change else set())


def test_another_model_is_refused(r18: Path, tmp_path: Path) -> None:
    model = resnet34()
    with pytest.raises(ConfigError, match="the checkpoint has nothing for them"):
        planned(r18, *BODY).apply(model)
    torch.save(model.state_dict(), tmp_path / "r34.pth")
    with pytest.raises(
        ConfigError, match=r"has the block layer1\.2, which is frozen, and the model does not"
    ):
        planned(tmp_path / "r34.pth", *BODY).apply(resnet18())
    with pytest.warns(UserWarning, match="nothing for them: they would keep"):
        applied = planned(r18, *BODY).apply(model, strict=False)
    assert applied.problems and len(trainable(model)) == 2


def test_what_would_stay_random_is_never_frozen(r18: Path) -> None:
    model = resnet18(num_classes=2)
    with pytest.raises(ConfigError, match=r"fc\.weight is \[2, 512\] in the model and \[1000, 512\]"):
        planned(r18, default="freeze").apply(model)
    model.aux = nn.Linear(512, 2)
    with pytest.raises(ConfigError, match=r"aux\.weight and 1 more would be frozen") as caught:
        planned(r18, Rule("train", "fc"), default="freeze").apply(model)
    assert caught.value.hint.endswith("train: aux")
    named = FreezeConfig.load(r18.with_name("r18.freeze.yaml"))
    fixed = FreezeConfig(
        model=named.model, default="freeze", rules=(*named.rules, Rule("train", "aux")), expect=named.expect
    )
    assert fixed.apply(model, checkpoint=r18).new == ("fc.weight", "fc.bias", "aux.weight", "aux.bias")


def test_a_rule_that_is_left_without_a_parameter_is_an_error(r18: Path) -> None:
    model = resnet18()
    model.fc = nn.Identity()
    with pytest.raises((ConfigError, PatternError), match="fc"):
        planned(r18, *BODY, Rule("freeze", "fc")).apply(model)


def test_ddp_refuses_a_thaw_and_takes_what_it_reduces(process_group: None, r18: Path) -> None:
    config = planned(r18, *BODY)
    model = resnet18()
    config.apply(model)
    wrapped = DistributedDataParallel(model)
    assert config.apply(wrapped).counts.frozen.tensors == 60
    everything = planned(r18, Rule("train", "**"))
    with pytest.raises(
        ConfigError, match=r"inside DistributedDataParallel.*Apply the config before wrapping"
    ):
        everything.apply(wrapped)
    assert len(trainable(wrapped)) == 2


def test_scripted_meta_and_assigned_models_and_twice(r18: Path) -> None:
    config = planned(r18, *BODY)
    with torch.device("meta"):
        meta = resnet18()
    assigned = resnet18()
    assigned.load_state_dict(torch.load(r18), assign=True)
    for model in (torch.jit.script(resnet18()), meta, assigned):
        first, second = config.apply(model), config.apply(model)
        assert first == second and first.counts.frozen.tensors == 60
        assert trainable(model) == {"fc.weight", "fc.bias"}


def test_an_encoder_inside_a_larger_model(r18: Path) -> None:
    model = nn.Module()
    model.encoder, model.decoder = resnet18(), nn.Conv2d(512, 2, 1)
    config = planned(r18, Rule("freeze", "**"))
    applied = config.apply(model)
    assert trainable(model) == set(applied.trainable) == {"decoder.weight", "decoder.bias"}
    model.momentum = copy.deepcopy(model.encoder)
    with pytest.raises(ConfigError, match="several places"):
        config.apply(model, checkpoint=r18)
    config.apply(model, root="momentum")
    assert not any(name.startswith("momentum") for name in trainable(model))
    with pytest.raises(ConfigError, match=r"no module 'encodr'.*encoder"):
        config.apply(model, checkpoint=r18, root="encodr")


def test_weight_norm_in_its_old_and_new_spelling(tmp_path: Path) -> None:
    def model(norm) -> nn.Module:
        return nn.Sequential(norm(nn.Conv1d(4, 8, 3)), nn.ReLU(), norm(nn.Conv1d(8, 4, 3)))

    torch.save(model(weight_norm).state_dict(), tmp_path / "wn.pth")
    live = model(nn.utils.parametrizations.weight_norm)
    live.load_state_dict(torch.load(tmp_path / "wn.pth"))
    applied = planned(tmp_path / "wn.pth", Rule("freeze", "0")).apply(live)
    assert len(applied.frozen) == 3 and all(name.startswith("0.") for name in applied.frozen)


@pytest.mark.parametrize("name", tiny.HUB)
def test_files_as_the_hub_has_them(name: str, tmp_path: Path) -> None:
    import transformers

    tiny.put(tmp_path / "m", tiny.hub_shaped(name, tiny.saved(tiny.build(name), tmp_path / "m")))
    layer = {"GPT2": "h.0", "T5Fo": "encoder.block", "Llam": "model.layers.0"}.get(name[:4])
    rule = Rule("freeze", layer or f"{'bert' if name.startswith('Bert') else 'roberta'}.encoder")
    config = planned(tmp_path / "m", rule)
    live = getattr(transformers, name).from_pretrained(tmp_path / "m")
    applied = config.apply(live)
    assert applied.frozen and not applied.problems
    session = Session(Options(str(tmp_path / "m"), device="cpu"))
    report = check(session.request())
    assert report.verdict == "held"
    assert report.frozen.tensors == applied.counts.frozen.tensors
    assert report.trainable.tensors == applied.counts.trainable.tensors
    assert set(report.in_file_names().gradients) <= {t.name for t in session.tree.tensors} | set(
        live.state_dict()
    )


def test_t5_with_its_encoder_frozen_tells_the_tie(tmp_path: Path) -> None:
    import transformers

    tiny.saved(tiny.build("T5ForConditionalGeneration"), tmp_path / "m")
    config = planned(tmp_path / "m", Rule("freeze", "encoder"))
    live = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "m")
    applied = config.apply(live)
    assert live.lm_head.weight.requires_grad
    assert (
        "shared.weight",
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
    ) in (applied.tied)
    report = check(Session(Options(str(tmp_path / "m"), device="cpu")).request())
    assert (report.verdict, report.frozen.tensors) == ("held", applied.counts.frozen.tensors)
    assert [f.tensors[0] for f in report.findings if f.code == "N10"] == ["shared.weight"]


def test_barts_bias_of_the_logits_is_a_buffer(tmp_path: Path) -> None:
    tiny.saved(tiny.build("BartForConditionalGeneration"), tmp_path / "m")
    tree = Session(Options(str(tmp_path / "m"))).tree
    assert [t.name for t in tree.tensors if t.kind == "buffer"] == ["final_logits_bias"]


def test_experts_that_become_one_parameter_must_agree(tmp_path: Path) -> None:
    import transformers

    tensors = tiny.saved(tiny.build("MixtralForCausalLM"), tmp_path / "m")
    live = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "m")
    experts = "model.layers.0.block_sparse_moe.experts"
    assert any(name.startswith(experts) for name in tensors)
    if any(".experts.0." in name for name, _ in live.named_parameters()):
        pytest.skip("this version of transformers keeps experts apart")
    assert planned(tmp_path / "m", Rule("freeze", experts)).apply(live).counts.frozen.tensors == 2
    with pytest.raises(
        ConfigError, match=r"experts\.0.* is frozen and .*experts\.1.* trains, but both become"
    ):
        planned(tmp_path / "m", Rule("freeze", f"{experts}.0")).apply(live)


class TestPeft:
    """LoRA with a trained copy of the head."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        tiny.saved(tiny.build("LlamaForCausalLM"), tmp_path / "base")
        return tmp_path / "base"

    def lora(self, base: Path) -> nn.Module:
        peft = pytest.importorskip("peft")
        import transformers

        model = transformers.LlamaForCausalLM.from_pretrained(base)
        settings = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
        return peft.get_peft_model(model, settings)

    @pytest.mark.parametrize("train", ["lm_head", ""])
    def test_a_config_of_the_base(self, base: Path, train: str) -> None:
        rules = (Rule("freeze", "**"), *([Rule("train", train)] if train else []))
        model = self.lora(base)
        applied = planned(base, *rules).apply(model)
        on = trainable(model)
        assert {name for name in on if "lora_" in name} == {
            name for name, _ in model.named_parameters() if "lora_" in name
        }
        assert ("base_model.model.lm_head.modules_to_save.default.weight" in on) == bool(train)
        assert not any("original_module" in name or "base_layer" in name for name in on)
        assert applied.counts.frozen.tensors == 21 - bool(train)

    def test_a_rule_on_the_adapter_alone(self, base: Path) -> None:
        model = self.lora(base)
        config = planned(base, Rule("freeze", "**"), Rule("train", "lm_head"))
        rules = (*config.rules, Rule("freeze", "**.lora_A.**"))
        changed = FreezeConfig(model=config.model, rules=rules, expect=config.expect)
        changed.apply(model, checkpoint=base)
        assert not any("lora_A" in name for name in trainable(model))
        assert any("lora_B" in name for name in trainable(model))

    def test_a_config_of_the_adapter(self, base: Path, tmp_path: Path) -> None:
        peft = pytest.importorskip("peft")
        import transformers

        self.lora(base).save_pretrained(tmp_path / "lora")
        model = peft.PeftModel.from_pretrained(
            transformers.LlamaForCausalLM.from_pretrained(base), tmp_path / "lora"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # nothing is thawed that no rule names
            planned(tmp_path / "lora", Rule("train", "**")).apply(model)
        assert all("lora_" in name or "modules_to_save" in name for name in trainable(model))
        assert len(trainable(model)) == 5
        planned(tmp_path / "lora", Rule("freeze", "**"), Rule("train", "lm_head")).apply(model)
        assert trainable(model) == {"base_model.model.lm_head.modules_to_save.default.weight"}


def test_stored_flags_are_where_a_plan_starts(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    model[0].weight.requires_grad_(False)
    torch.save(model, tmp_path / "module.pt")
    session = Session(Options(str(tmp_path / "module.pt")))
    assert session.plan.mask()[0] == 0 and not session.unsaved
    config = planned(tmp_path / "module.pt", Rule("freeze", "1.bias"))
    assert config.rules == (Rule("freeze", "0.weight"), Rule("freeze", "1.bias"))


def test_what_a_constructor_froze_is_told_when_it_trains(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    model[1].bias.requires_grad_(False)
    config = planned(tmp_path / "m.safetensors", Rule("freeze", "0"))
    with pytest.warns(UserWarning, match=r"1\.bias was frozen before.*add a rule: freeze: 1\.bias"):
        config.apply(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.apply(model)  # frozen by us from now on


def test_the_checkpoint_is_asked_for_where_the_names_are_not_known(tmp_path: Path) -> None:
    import transformers

    name = "BertForMaskedLM"
    tiny.put(tmp_path / "m", tiny.hub_shaped(name, tiny.saved(tiny.build(name), tmp_path / "m")))
    live = transformers.BertForMaskedLM.from_pretrained(tmp_path / "m")
    live.config._name_or_path = live.name_or_path = ""
    planned(tmp_path / "m", Rule("freeze", "bert"))  # and its pooler, which the model lacks
    config = FreezeConfig.load(tmp_path / "m.freeze.yaml")
    (tmp_path / "m").rename(tmp_path / "moved")
    with pytest.raises((ConfigError, PatternError), match=r"apply\(model, checkpoint=PATH\)"):
        config.apply(live)
    applied = config.apply(live, checkpoint=tmp_path / "moved")
    assert "bert.embeddings.LayerNorm.weight" in applied.frozen
    assert set(applied.unplaced) | set(applied.dropped) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }


def test_a_check_with_a_root_loads_and_freezes_there(r18: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "import torch\nfrom torch import nn\nfrom torchvision.models import resnet18\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.encoder, self.head = resnet18(), nn.Linear(1000, 2)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.encoder(x))\n"
    )
    session = Session(
        Options(
            str(r18), device="cpu", steps=1, model=ModelSpec(f"{tmp_path / 'parts.py'}:Net", {}, (3, 64, 64))
        )
    )
    session.choose(None, BODY)
    report = check(session.request())
    assert (report.verdict, report.frozen.tensors, report.trainable.tensors) == ("held", 60, 4)


def test_one_error_tells_of_a_whole_head_or_of_another_model(r18: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(and 1 more\): frozen, they would .* rule below: train: fc$"):
        planned(r18, default="freeze").apply(resnet18(num_classes=2))
    with pytest.raises(
        ConfigError, match=r"more\): frozen.* Apply the config to the model that the checkpoint"
    ):
        planned(r18, *BODY).apply(resnet50())


def test_what_is_not_a_model_is_told_with_what_to_pass(r18: Path) -> None:
    class Trainer:
        model = resnet18()

    config = planned(r18, *BODY)
    for call in (config.apply, lambda model: config.parameter_groups(model, lr=1.0), FreezeGuard):
        with pytest.raises(
            ConfigError, match=r"needs a torch\.nn\.Module, not a Trainer\. Pass its \.model\."
        ):
            call(Trainer())
        with pytest.raises(ConfigError, match=r"not an OrderedDict\. Pass the model itself\."):
            call(Trainer.model.state_dict())
