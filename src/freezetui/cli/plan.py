"""`freezetui plan`: writes a config without the TUI."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import click

from freezetui.cli.options import InOrder, key_option, paths_argument, process_options
from freezetui.cli.output import print_lines, print_text, say
from freezetui.cli.sessions import open_session, session_options


@click.command(cls=InOrder, short_help="Write a freeze config without the TUI.")
@paths_argument
@key_option
@click.option("--freeze", multiple=True, metavar="PATTERN", help="Freeze what PATTERN matches.")
@click.option("--train", multiple=True, metavar="PATTERN", help="Train what PATTERN matches.")
@click.option(
    "--preset",
    metavar="NAME",
    help="Start from a preset: head, last-blocks:N, norms, biases, adapters, everything, nothing; "
    "for one part of the model: head:text, last-blocks:N:vision.",
)
@process_options
@click.option(
    "--default",
    type=click.Choice(["train", "freeze"]),
    help="What happens to a parameter that no rule matches (default: train).",
)
@click.option("--stage", metavar="NAME", help="Plan this stage of the config; a new one is added.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the config (default: NAME.freeze.yaml); - is stdout.",
)
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    key: str | None,
    preset: str | None,
    default: Literal["train", "freeze"] | None,
    stage: str | None,
    output: Path | None,
    freeze: tuple[str, ...],
    train: tuple[str, ...],
    **options: Any,
) -> None:
    """Write a freeze config without the TUI; --freeze and --train are applied in the order given."""
    from freezetui.cli.choosing import choose
    from freezetui.config.paths import own_descriptor
    from freezetui.formatting.tree import tie_lines, totals_lines
    from freezetui.freeze.presets import find_preset
    from freezetui.freeze.rules import Rule

    del freeze, train  # in the order given: `rules`
    rules = tuple(Rule(action, pattern) for action, pattern in ctx.meta["in_order"])
    if preset is None and default is None and stage is None and not rules:
        raise click.UsageError("Nothing to do: pass --freeze, --train, --preset or --default.", ctx)
    if stage is not None and default is not None:
        raise click.UsageError(
            "The default belongs to the whole config: pass --default without --stage.", ctx
        )
    chosen = find_preset(preset) if preset is not None else None
    to_stdout = output is not None and (str(output) == "-" or own_descriptor(output) == 1)
    existing = output is not None and os.path.isfile(output) and not to_stdout  # noqa: PTH113
    config = output if existing else None
    with closing(open_session(session_options(paths, key=key, config=config, **options))) as session:
        if existing or output is None:
            session.saved.refuse_another(session.options.source)
            for line in session.differences[:1]:
                say(f"Overwriting {session.config_path}: {line}")
        if stage is not None:
            session.stages.add(stage)
        choose(session, chosen, rules, default or "train")
        if to_stdout:
            from freezetui.config.codec import config_text

            here = Path("-.yaml")
            print_text(config_text(here, session.written(here)))
        else:
            say(f"Saved {session.save(output)}")
    print_lines([*totals_lines(session.plan), *tie_lines(session.tree)], to_stderr=to_stdout)
