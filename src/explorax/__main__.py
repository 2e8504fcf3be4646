"""`python -m explorax` is `explorax`."""

import sys

from explorax.cli import main

if __name__ == "__main__":
    sys.exit(main())
