"""`python -m freezetui`."""

from freezetui.cli.main import run

if __name__ == "__main__":
    run()
