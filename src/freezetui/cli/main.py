"""The command line: one thin function per command. Does not import torch."""

from __future__ import annotations

import errno
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from freezetui import __version__
from freezetui.cli.diff import diff
from freezetui.cli.export import export
from freezetui.cli.options import (
    InOrder,
    config_option,
    json_option,
    key_option,
    model_options,
    paths_argument,
)
from freezetui.cli.progress import progress_line
from freezetui.cli.values import stats, validate
from freezetui.errors import FreezeTuiError, from_os_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from freezetui.sanity.protocol import Progress
    from freezetui.session.session import Options, Session

_EXAMPLES = """\b
Examples:
  freezetui model.pth                          open the TUI
  freezetui show model.pth --depth 2           print the tree
  freezetui plan model.pth --freeze features   write a config without the TUI
  freezetui check model.pth                    verify that frozen weights do not change
  freezetui diff before.pth after.pth          show what a training run changed
  freezetui export model.freeze.yaml --to python   print plain PyTorch code
  freezetui hf://organization/model            open a directory or a URL (downloads only headers)
\b
Exit codes: 0 success or held, 1 a frozen tensor changed, 2 bad usage or input, 3 inconclusive.
Completion: eval "$(_FREEZETUI_COMPLETE=bash_source freezetui)"   (zsh_source, fish_source)
"""

#: What click 8.2 and later raise if there are no arguments.
_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
#: Errors of writing to stdout.
_FULL = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)
#: The exit code of a program that was ended by Ctrl+C.
_INTERRUPTED = 130


class _Commands(click.Group):
    """`freezetui PATH` means `freezetui open PATH`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            if len(args) > 1 and (meant := self._meant(args[0])):
                message = f"There is no file and no command {args[0]!r}. Did you mean {meant!r}?"
                raise click.UsageError(message, ctx)
            args = ["open", *args]
        return super().resolve_command(ctx, args)

    def _meant(self, word: str) -> str:
        """Return the command that a misspelled word is closest to; "" for a path, or if none is close."""
        if not word.isalpha() or os.path.lexists(word):
            return ""
        from difflib import get_close_matches

        return next(iter(get_close_matches(word, self.commands, 1, 0.7)), "")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # An option of `open` may precede the path: freezetui --key ema model.pth
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h", "--version"):
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return completions: the commands, else files."""
        from click.shell_completion import CompletionItem

        return super().shell_complete(ctx, incomplete) or [CompletionItem(incomplete, type="file")]


@click.group(
    cls=_Commands,
    epilog=_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="PATH | COMMAND ...",
)
@click.version_option(__version__, prog_name="freezetui")
def main() -> None:
    """Choose which weights of a PyTorch checkpoint train, and prove that the frozen ones do not change.

    `freezetui PATH` opens a checkpoint in the terminal.
    """


@main.command(name="open", short_help="Open the TUI (prints the tree when stdout is not a terminal).")
@paths_argument
@key_option
@config_option
@model_options
def open_command(paths: tuple[str, ...], **options: Any) -> None:
    """Open a checkpoint in the terminal; without a terminal, print what `show` prints."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _show(_options(paths, **options), depth=None, as_json=False)
        return
    from freezetui.session.loading import open_in_thread

    opening = open_in_thread(_options(paths, **options))
    from freezetui.tui.app import FreezeTuiApp  # takes 0.1 s; most files are read meanwhile

    if opening.done():
        opening.result()
    app = FreezeTuiApp(_options(paths, **options), opening)
    code = app.run()
    if app.failure is not None:
        raise app.failure
    sys.exit(code or 0)


@main.command(short_help="Print the parameter tree with counts and freeze state.")
@paths_argument
@key_option
@config_option
@json_option
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Limit the tree to N levels.")
def show(paths: tuple[str, ...], as_json: bool, depth: int | None, **options: Any) -> None:
    """Print the parameter tree with counts and freeze state."""
    _show(_options(paths, **options), depth, as_json)


@main.command(cls=InOrder, short_help="Write a freeze config without the TUI.")
@paths_argument
@key_option
@click.option("--freeze", multiple=True, metavar="PATTERN", help="Freeze what PATTERN matches.")
@click.option("--train", multiple=True, metavar="PATTERN", help="Train what PATTERN matches.")
@click.option(
    "--preset",
    metavar="NAME",
    help="Start from a preset: head, last-blocks:N, norms, biases, everything, nothing.",
)
@click.option(
    "--default",
    type=click.Choice(["train", "freeze"]),
    help="What happens to a parameter that no rule matches (default: train).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the config (default: NAME.freeze.yaml).",
)
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    key: str | None,
    preset: str | None,
    default: Literal["train", "freeze"] | None,
    output: Path | None,
    **_: Any,
) -> None:
    """Write a freeze config without the TUI; --freeze and --train are applied in the order given."""
    from freezetui.formatting.tree import totals_lines
    from freezetui.freeze.presets import find_preset
    from freezetui.freeze.rules import Rule
    from freezetui.text import printable

    rules = tuple(Rule(action, pattern) for action, pattern in ctx.meta["in_order"])
    if preset is None and default is None and not rules:
        raise click.UsageError("Nothing to do: pass --freeze, --train, --preset or --default.", ctx)
    chosen = find_preset(preset) if preset is not None else None
    session = _session(_options(paths, key=key, config=output if output and output.exists() else None))
    session.choose(chosen, rules, default or "train")
    click.echo(printable(f"Saved {session.save(output)}"), err=True)
    click.echo("\n".join(totals_lines(session.plan)))


@main.command(short_help="Run a short training check and verify that frozen weights do not change.")
@paths_argument
@key_option
@config_option
@model_options
@json_option
def check(paths: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run a few real training steps, then compare every tensor bit for bit."""
    from freezetui.sanity.client import run_check

    session = _session(_options(paths, **options))
    if not session.architecture.trusted and not _may_import(session):
        named = session.architecture.model.architecture
        raise FreezeTuiError(
            f"{session.config_path} wants to import and run {named}.",
            f"If you trust it, pass --architecture {named}.",
        )
    if session.saved.refused:
        raise FreezeTuiError(
            f"{session.config_path} does not fit: {'; '.join(session.saved.refused[:3])}.",
            "FreezeConfig.apply would reject it too. Open the checkpoint and re-save the config.",
        )
    report = run_check(session.request(), _progress, session.options.timeout)
    if as_json:
        from freezetui.formatting.json import json_text

        click.echo(json_text(report))
    else:
        from freezetui.formatting.report import report_lines

        click.echo("\n".join(report_lines(report)))
    sys.exit(report.exit_code)


for _command in (diff, stats, validate, export):
    main.add_command(_command)


def _options(
    paths: tuple[str, ...],
    architecture: str = "",
    arguments: dict[str, Any] | None = None,
    input: tuple[int, ...] = (),
    **options: Any,
) -> Options:
    from freezetui.model_spec import ModelSpec
    from freezetui.session.session import Options

    model = ModelSpec(architecture, arguments or {}, input)
    return Options(source=paths[0], more=paths[1:], model=model, **options)


def _session(options: Options) -> Session:
    from freezetui.session.session import Session

    with progress_line() as progress:
        session = Session(options, progress)
    if session.saved.problem is not None:
        raise session.saved.problem
    return session


def _show(options: Options, depth: int | None, as_json: bool) -> None:
    from freezetui.formatting.tree import show_json, show_lines

    session = _session(options)
    for line in session.differences:
        click.echo(f"{session.config_path.name}: {line}", err=True)
    if as_json:
        from freezetui.formatting.json import json_text

        document = show_json(session.checkpoint, session.plan, session.architecture.model.architecture)
        click.echo(json_text(document))
    else:
        click.echo("\n".join(show_lines(session.checkpoint, session.plan, session.architecture.label, depth)))


def _may_import(session: Session) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    named = session.architecture.model.architecture
    return click.confirm(f"{session.config_path.name} wants to import and run {named}. Continue?", err=True)


def _progress(event: Progress) -> None:
    click.echo(event.text, err=True)


def run() -> None:
    """Run the command line; errors that the user can act on become one line on stderr and exit code 2."""
    # Imported and loaded objects live until exit; collecting garbage would take a fifth of the start-up.
    gc.disable()
    try:
        sys.exit(main(prog_name="freezetui", standalone_mode=False))
    except _HELP as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = f" See {error.ctx.command_path} --help." if error.ctx else ""
        _end(f"{' '.join(error.format_message().split())}{where}", 2)
    except FreezeTuiError as error:
        _end(str(error), 2)
    except click.Abort:
        _end("Interrupted.", _INTERRUPTED)
    except OSError as error:
        if error.errno not in _FULL:
            _end(str(from_os_error(error)), 2)
        # Otherwise Python reports the error again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)  # the reader has closed the pipe
        _end(f"Cannot write output: {error.strerror}.", 2)


def _end(message: str, code: int) -> NoReturn:
    from freezetui.text import printable

    click.echo(f"freezetui: {printable(message)}", err=True)
    sys.exit(code)
