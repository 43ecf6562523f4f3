"""Options whose order between each other counts, and those that become one struct."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from freezetui.cli.options import InOrder
from freezetui.cli.training_options import training_options
from freezetui.sanity.training import Training


@click.command(cls=InOrder)
@click.argument("paths", nargs=-1)
@click.option("--freeze", multiple=True)
@click.option("-t", "--train", multiple=True)
@click.option("--preset")
@click.pass_context
def command(ctx: click.Context, **options: Any) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    return ctx.meta["in_order"], options


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ("a", []),
        ("a --freeze x", [("freeze", "x")]),
        ("a --freeze=x --train y --freeze z", [("freeze", "x"), ("train", "y"), ("freeze", "z")]),
        ("--train=y a --preset head --freeze x b", [("train", "y"), ("freeze", "x")]),
        ("-t y -tz --freeze x", [("train", "y"), ("train", "z"), ("freeze", "x")]),
        ("--freeze x --freeze x --train x", [("freeze", "x"), ("freeze", "x"), ("train", "x")]),
        ("--freeze --train --train=-x", [("freeze", "--train"), ("train", "-x")]),
        ("--freeze x -- --train y", [("freeze", "x")]),
    ],
)
def test_values_are_kept_in_the_order_given(arguments, order):
    kept, options = command.main(arguments.split(), standalone_mode=False)
    assert kept == order
    assert options["freeze"] == tuple(value for name, value in order if name == "freeze")
    assert options["train"] == tuple(value for name, value in order if name == "train")


@pytest.mark.parametrize("arguments", [["--freeze"], ["--freez", "x"], ["--trained"]])
def test_what_click_refuses_is_refused(arguments):
    with pytest.raises(click.UsageError):
        command.main(arguments, standalone_mode=False)


def test_a_command_line_that_is_being_completed_is_read_as_far_as_it_goes():
    ctx = command.make_context("command", ["--freeze", "x", "--train"], resilient_parsing=True)
    assert ctx.meta["in_order"] == [("freeze", "x")]


def test_the_options_of_training_become_one_struct():
    seen = []

    @click.command()
    @training_options
    def command(training: Training) -> None:
        seen.append(training)

    def parsed(line: str) -> Training:
        result = CliRunner().invoke(command, line.split())
        assert result.exit_code == 0, result.output
        return seen.pop()

    assert parsed("") == Training() and not Training().own
    given = parsed("--optimizer sgd --lr 1e-5 --weight-decay 0 --optimizer-arg momentum=0.9")
    assert given == Training(
        optimizer="sgd", lr=1e-5, weight_decay=0.0, optimizer_arguments={"momentum": 0.9}
    )
    assert parsed("--warm").warm == "none" and parsed("--warm-style zeros").warm == "zeros"
    assert all(parsed(line).own for line in ("--lr 0", "--weight-decay 0", "--warm", "--optimizer adam"))
    assert parsed("--dtype float16 --amp --compile") == Training(dtype="float16", amp=True, compile=True)
    assert parsed("--step a:b --warm-style before-step").step == "a:b"
    for wrong in (
        "--step a:b --amp",
        "--step a:b --batch c:d",
        "--step a:b --warm-style zeros",
        "--dtype int8",
    ):
        assert CliRunner().invoke(command, wrong.split()).exit_code == 2, wrong
    for wrong in ("--lr nan", "--lr inf", "--lr -1", "--warm-style late", "--optimizer-arg momentum"):
        assert CliRunner().invoke(command, wrong.split()).exit_code == 2, wrong
