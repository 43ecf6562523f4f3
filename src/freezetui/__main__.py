"""`python -m freezetui`."""

from freezetui.cli import main

if __name__ == "__main__":
    main()
