"""The command line: one thin function per command. Does not import torch."""

from __future__ import annotations

import errno
import gc
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from freezetui import __version__
from freezetui.cli.options import (
    config_option,
    json_option,
    key_option,
    model_options,
    paths_argument,
    stage_option,
)
from freezetui.cli.output import print_json, print_lines, say
from freezetui.cli.sessions import open_session, session_options
from freezetui.cli.streams import open_standard_streams
from freezetui.errors import FreezeTuiError, from_os_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from freezetui.session.options import Options

_EXAMPLES = """\b
Examples:
  freezetui model.pth                          open the TUI
  freezetui                                    choose among recent checkpoints and those below
  freezetui show model.pth --depth 2           print the tree
  freezetui plan model.pth --freeze features   write a config without the TUI
  freezetui check model.pth                    verify that frozen weights do not change
  freezetui diff before.pth after.pth          show what a training run changed
  freezetui after.pth --against before.pth     show the changes in the TUI
  freezetui export model.freeze.yaml --to python   print plain PyTorch code
  freezetui hf://organization/model            open a directory or a URL (downloads only headers)
\b
Exit codes: 0 success or held, 1 a frozen tensor changed, 2 bad usage or input, 3 inconclusive,
70 unexpected error.
Completion: eval "$(_FREEZETUI_COMPLETE=bash_source freezetui)"   (zsh_source, fish_source)
"""

#: Commands -> the module of `freezetui.cli` that has them, imported when they are used.
_MODULES = {
    "check": "check",
    "diff": "diff",
    "export": "export",
    "plan": "plan",
    "stats": "values",
    "validate": "values",
}
#: What click 8.2 and later raise if there are no arguments.
_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
#: Errors of writing to stdout.
_FULL = (errno.ENOSPC, errno.EIO, errno.EBADF)
#: The exit code of a program whose output nobody reads any more, as of one that SIGPIPE ended.
_UNREAD = 141
#: The exit code of a program that was ended by Ctrl+C.
_INTERRUPTED = 130
#: The exit code after an unexpected error: EX_SOFTWARE of sysexits.h.
_CRASHED = 70


class _UnreadError(Exception):
    """What reads the output, such as `head`, has closed the pipe."""


class _Commands(click.Group):
    """`freezetui PATH` means `freezetui open PATH`; most commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, imported or not."""
        return sorted({*self.commands, *_MODULES})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is none of this name."""
        if cmd_name in _MODULES and cmd_name not in self.commands:
            self.add_command(_imported(cmd_name))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.list_commands(ctx):
            if len(args) > 1 and (meant := self._meant(args[0], ctx)):
                message = f"No file or command is called {args[0]!r}. Did you mean {meant!r}?"
                raise click.UsageError(message, ctx)
            args = ["open", *args]
        return super().resolve_command(ctx, args)

    def _meant(self, word: str, ctx: click.Context) -> str:
        """Return the command that a misspelled word is closest to; "" for a path, or if none is close."""
        if not word.isalpha() or os.path.lexists(word):
            return ""
        from difflib import get_close_matches

        return next(iter(get_close_matches(word, self.list_commands(ctx), 1, 0.7)), "")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and _is_terminal():  # asks which checkpoint to open
            args = ["open"]
        # An option of `open` may precede the path: freezetui --key ema model.pth
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h", "--version"):
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would exit with 1, which means "moved"
            raise _UnreadError from error

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
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=str, readable=False))
@key_option
@config_option
@click.option(
    "--against",
    metavar="BEFORE",
    type=click.Path(path_type=str, readable=False),
    help="Show what changed since an earlier checkpoint.",
)
@model_options
@click.pass_context
def open_command(ctx: click.Context, /, paths: tuple[str, ...], **options: Any) -> None:
    """Open a checkpoint in the terminal; without a terminal, print what `show` or `diff` prints.

    Without a PATH, list recent checkpoints and those below the working directory.
    """
    if not paths and not _is_terminal():
        raise click.UsageError("Missing argument 'PATH...'.", ctx)
    if not _is_terminal():
        if options["against"] is not None and len(paths) == 1:
            shared = {name: options[name] for name in ("config", "python", "engine")}
            ctx.invoke(
                _imported("diff"), paths=(options["against"], *paths), key_after=options["key"], **shared
            )
        _show(session_options(paths, **options), depth=None, as_json=False)
        return
    from freezetui.checkpoint.forked_reading import fork_reading

    chosen = session_options(paths or (".",), **options)
    reading = fork_reading(chosen.sources, chosen.key) if paths else None
    from freezetui.session.loading import open_in_thread  # what follows is imported while the child reads

    opening = open_in_thread(chosen, reading) if paths else None
    from freezetui.tui.app import FreezeTuiApp
    from freezetui.tui.run import run_app

    if opening is not None and opening.done():
        opening.result()
    app = FreezeTuiApp(chosen, opening, choose=not paths)
    code = run_app(app)
    if app.failure is not None:
        raise app.failure
    if app.crash is not None:
        _end(_crashed(app.crash, app.log_path), code)
    sys.exit(code)


@main.command(short_help="Print the parameter tree with counts and freeze state.")
@paths_argument
@key_option
@config_option
@stage_option
@json_option
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Limit the tree to N levels.")
def show(paths: tuple[str, ...], as_json: bool, depth: int | None, **options: Any) -> None:
    """Print the parameter tree with counts and freeze state."""
    _show(session_options(paths, **options), depth, as_json)


def _imported(name: str) -> click.Command:
    module = import_module(f"freezetui.cli.{_MODULES[name]}")
    command: click.Command = getattr(module, name)
    return command


def _is_terminal() -> bool:
    """Whether the TUI can be drawn: a dumb terminal, as in Emacs, shows nothing but lines."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _show(options: Options, depth: int | None, as_json: bool) -> None:
    from freezetui.formatting.tree import show_json, show_lines

    session = open_session(options)
    for line in session.differences:
        say(f"{session.config_path.name}: {line}")
    if as_json:
        document = show_json(session.checkpoint, session.plan, session.architecture.model.architecture)
        print_json(document)
    else:
        print_lines(show_lines(session.checkpoint, session.plan, session.architecture.label, depth))


def run() -> None:
    """Run the command line; errors that the user can act on become one line on stderr and exit code 2."""
    # Imported and loaded objects live until exit; collecting garbage would take a fifth of the start-up.
    gc.disable()
    open_standard_streams()
    if not sys.warnoptions:  # unless the user asked for them: most are not about the user's own code
        warnings.simplefilter("ignore")
    try:
        sys.exit(main(prog_name="freezetui", standalone_mode=False))
    except _HELP as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = f" See {error.ctx.command_path} --help." if error.ctx else ""
        message = " ".join(error.format_message().split())
        stop = "" if message.endswith((".", "?")) else "."
        _end(f"{message}{stop}{where}", 2)
    except FreezeTuiError as error:
        _end(str(error), 2)
    except click.Abort:
        _end("Interrupted.", _INTERRUPTED)
    except _UnreadError:
        _discard(sys.stdout, sys.stderr)
        sys.exit(_UNREAD)
    except OSError as error:
        if error.errno not in _FULL:
            _end(str(from_os_error(error)), 2)
        _discard(sys.stdout)
        _end(f"Cannot write output: {error.strerror}.", 2)
    except Exception as error:
        from freezetui.state import log_error

        _end(_crashed(error, log_error(error, " ".join(sys.argv[1:3]))), _CRASHED)
    finally:
        gc.freeze()  # so that the exit does not search for cycles either


def _discard(*streams: TextIO) -> None:
    """Write to nowhere what Python flushes at exit; it would report the error again."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _crashed(error: BaseException, log: Path | None) -> str:
    from freezetui.user_code import one_line

    details = f" Details: {log}" if log else ""
    return f"Unexpected error: {one_line(error)}.{details}"


def _end(message: str, code: int) -> NoReturn:
    say(f"freezetui: {message}")
    sys.exit(code)
