"""`python -m freezetui`."""

from freezetui.cli import run

if __name__ == "__main__":
    run()
