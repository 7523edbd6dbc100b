"""`python -m streamsep`: the same as the console script."""

from streamsep.cli import program

if __name__ == "__main__":
    program()
