"""Start the command line with `python -m yardmaster`."""

from yardmaster.cli import main

if __name__ == "__main__":
    main()
