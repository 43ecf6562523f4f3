"""`freezetui export`: prints what a config selects in other forms, such as plain PyTorch code."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezetui.cli.options import key_option, process_options
from freezetui.cli.output import print_text, say
from freezetui.cli.progress import progress_line
from freezetui.errors import FreezeTuiError

if TYPE_CHECKING:
    from freezetui.config.schema import ConfigData
    from freezetui.description.types import Description
    from freezetui.freeze.live_plan import LivePlan
    from freezetui.freeze.name_map import NameMap
    from freezetui.session.session import Session


@click.command(short_help="Print a config as plain PyTorch code.")
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path, readable=False))
@click.option("--to", type=click.Choice(["python"]), required=True, help="What to print.")
@click.option("--stage", metavar="NAME", help="Only this stage (default: all stages of the config).")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=str, readable=False),
    metavar="PATH",
    help="The checkpoint (default: the one that the config names).",
)
@key_option
@process_options
def export(
    config: Path,
    to: str,
    stage: str | None,
    checkpoint: str | None,
    key: str | None,
    python: str,
    engine: bool,
) -> None:
    """Print plain PyTorch code that freezes what CONFIG freezes and that does not import freezetui.

    Paste it into a training script. Names are those of the checkpoint, whose header is read; where a library
    renames parameters when it builds the model, those of the live model.
    """
    from freezetui.config.codec import read_config
    from freezetui.config.selection import selected
    from freezetui.formatting.python_code import python_code
    from freezetui.freeze.live_tree import live_mask, live_tree
    from freezetui.session.as_opened import read
    from freezetui.session.options import Options
    from freezetui.session.session import Session

    data = read_config(config)
    source = checkpoint or _checkpoint(data, config)
    options = Options(source=source, key=key, python=python, engine=engine)
    with progress_line() as progress:
        session = Session(options, read(options, progress))
    with closing(session):
        live = _description(session)
    stages: list[str | None] = [stage] if stage is not None else [each.name for each in data.stages]
    masks = {name: selected(data, session.tree, name) for name in stages or [None]}
    tree = session.tree
    if live is not None:
        tree = live_tree(live.names)
        plans = {name: _live_plan(data, session, live.names, name) for name in masks}
        masks = {name: live_mask(live.names, tree, plan.trains) for name, plan in plans.items()}
    named = {name or "": mask for name, mask in masks.items()}
    if len(named) == 1:
        named = {"": next(iter(named.values()))}
    hold_norms = data.norm_statistics == "freeze"
    model = live.model if live is not None else ""
    hold_modules = data.frozen_modules == "eval"
    code = python_code(session.checkpoint, tree, named, config.name, hold_norms, model, hold_modules)
    print_text(code)


def _description(session: Session) -> Description | None:
    """Return what a library's model calls its parameters; None if the checkpoint's names are the same."""
    from freezetui.freeze.live_tree import has_other_names
    from freezetui.recognition.architecture import may_rename

    renames = may_rename(session.architecture.model.architecture)
    if not (renames and session.options.engine and session.describable):
        return None
    try:
        found = session.describe().result()
    except FreezeTuiError as error:
        say(f"freezetui: the names are the checkpoint's: {error}")
        return None
    return found if has_other_names(found.names) else None


def _live_plan(config: ConfigData, session: Session, names: NameMap, stage: str | None) -> LivePlan:
    """Return what `FreezeConfig.apply` makes of the live model.

    Raises:
        ConfigError: it refuses.
    """
    from freezetui.freeze.live_plan import live_plan

    rules = config.rules_for(stage)
    plan = live_plan(rules, config.default, session.checkpoint.tensors, names)
    if plan.problems:
        raise plan.problems[0]
    return plan


def _checkpoint(config: ConfigData, path: Path) -> str:
    """Return the path or URL of the checkpoint that a config names.

    Raises:
        ConfigError: it names none, or the path does not exist.
    """
    from freezetui.checkpoint.sources.urls import is_url
    from freezetui.errors import ConfigError
    from freezetui.text import quoted

    named = config.model.checkpoint
    if is_url(named):
        return named
    source = path.parent / named
    if named and source.exists():
        return str(source)
    why = f"names {quoted(named)}, which does not exist" if named else "does not name its checkpoint"
    raise ConfigError(f"{path} {why}, and the code needs its parameter names.", "Pass --checkpoint PATH.")
