"""`python -m refopt` is the `refopt` command."""

from refopt.cli import main

if __name__ == "__main__":
    main()
