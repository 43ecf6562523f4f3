"""`python -m freezetui`, and the script `freezetui`."""

import gc
import sys


def run() -> None:
    """Run the command line; see `cli.main.run`."""
    gc.disable()  # as cli.main.run does, but before the imports, which create most objects
    try:
        from freezetui.cli.main import run as run_command
    except KeyboardInterrupt:
        sys.exit(130)  # as cli.main.run does

    run_command()


if __name__ == "__main__":
    run()
