"""The functions of plain PyTorch code, as templates for `str.format`."""

from __future__ import annotations

IS_FROZEN = '''\
def is_frozen(name{arg}):
    """Whether the parameter or module called `name` is frozen."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
{prefixes}{kept}    return f"{{name}}.".startswith(FROZEN{key})
'''
WITHOUT = "    name = name.removeprefix({})\n"
#: What no rule freezes, in a module whose other parameters are frozen.
KEPT = """\
    if {file_name}.startswith(KEPT{key}):
        return False
"""
#: The same for an adapter, whose base has other names.
OF_ADAPTER = '''\
def in_file(name):
    """Return what the checkpoint calls the live `name`, with a dot."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
{prefixes}    return f"{{name}}."


def is_frozen(name{arg}):
    """Whether the parameter or module called `name` is frozen."""
{kept}    return in_file(name).startswith(FROZEN{key})


def is_stored(name):
    """Whether the adapter has the parameter called `name`, not its base."""
    if "original_module." in name:
        return False
    stored = in_file(name)
    return stored.startswith(WHOLE) or any(p in f".{{stored}}" for p in ADDED)
'''
FREEZE = '''\
def freeze(model{arg}):
    """Freeze what is_frozen says, and train {rest}.

    Call it before wrapping the model in DDP, and before building
    {optimizer}.
    """
    frozen = 0
    # A tied parameter comes once, under its first name.
    for name, parameter in model.named_parameters():
        if not (parameter.is_floating_point() or parameter.is_complex()):
            continue  # integers cannot train
{others}{presumed}        parameter.requires_grad_(not is_frozen(name{arg}))
        if not parameter.requires_grad:
            parameter.grad = None  # an optimizer would still use it
            frozen += parameter.numel()
{buffers}    expected = EXPECTED{key}
    assert frozen == expected, (
        f"froze {{frozen:,}} elements, not the {{expected:,}} of the checkpoint: "
        "call this with the module that has these names"
    )
'''
#: A file does not always tell whether the model has a parameter or a buffer there.
COUNTED = """\
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in UNSURE and is_frozen(name{arg}):
            frozen += buffer.numel()
"""
#: Nor whether it has a buffer or a parameter there.
PRESUMED = """\
        if name.rpartition(".")[2] in BUFFERS:
            own = OWN_FLAGS.setdefault(name, parameter.requires_grad)
            parameter.requires_grad_(own and not is_frozen(name{arg}))
            if not parameter.requires_grad:
                parameter.grad = None
            continue
"""
OTHERS = """\
        if not is_stored(name):
            continue  # the base model's parameters keep their flags
"""
TRAIN = '''\
def train(model{arg}):
    """Call this instead of model.train().

    In train mode, {why}.
    """
    model.train()
    for name, module in model.named_modules():
        if {has_statistics}is_frozen(name{arg}):
            module.eval()
'''
