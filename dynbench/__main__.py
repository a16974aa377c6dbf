"""Runs the command line: `python -m dynbench`."""

from dynbench.cli import main

if __name__ == "__main__":  # child processes import it
    main()
