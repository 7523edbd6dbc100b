"""`python -m streamsep`: the same as the console script."""

import sys

from streamsep.cli import main

if __name__ == "__main__":
    sys.exit(main())
