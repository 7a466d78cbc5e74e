"""Run the command line with ``python -m pldebias``."""

from pldebias.cli import main

if __name__ == "__main__":
    main()
