"""`freezetui export`: prints what a config selects in other forms, such as plain PyTorch code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezetui.cli.options import key_option
from freezetui.cli.output import print_text
from freezetui.cli.progress import progress_line

if TYPE_CHECKING:
    from freezetui.config.schema import ConfigData


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
def export(config: Path, to: str, stage: str | None, checkpoint: str | None, key: str | None) -> None:
    """Print plain PyTorch code that freezes what CONFIG freezes and that does not import freezetui.

    A training script can paste it. Names are those of the checkpoint, whose header is read for them.
    """
    from freezetui.config.codec import read_config
    from freezetui.config.selection import selected
    from freezetui.formatting.python_code import python_code
    from freezetui.session.options import Options
    from freezetui.session.session import Session

    data = read_config(config)
    source = checkpoint or _checkpoint(data, config)
    with progress_line() as progress:
        session = Session(Options(source=source, key=key), progress)
    stages = [stage] if stage is not None else [each.name for each in data.stages]
    masks = {name: selected(data, session.tree, name) for name in stages} if stages else {}
    if len(masks) < 2:
        only = stages[0] if stages else None
        masks = {"": selected(data, session.tree, only)}
    hold_norms = data.norm_statistics == "freeze"
    print_text(python_code(session.checkpoint, session.tree, masks, config.name, hold_norms))


def _checkpoint(config: ConfigData, path: Path) -> str:
    """Return the path or URL of the checkpoint that a config names.

    Raises:
        ConfigError: it names none, or there is nothing at the path.
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
