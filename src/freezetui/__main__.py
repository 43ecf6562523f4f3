"""`python -m freezetui`, and the script `freezetui`."""

import gc
import sys


def run() -> None:
    """Run the command line; see `cli.main.run`."""
    gc.disable()  # as it does itself, but before the imports, which create most objects
    try:
        from freezetui.cli.main import run as run_command
    except KeyboardInterrupt:
        sys.exit(130)  # as it does itself

    run_command()


if __name__ == "__main__":
    run()
