"""`python -m emlib` is the command `emlib`; torchrun starts it this way."""

from emlib.cli import main

if __name__ == "__main__":
    main()
