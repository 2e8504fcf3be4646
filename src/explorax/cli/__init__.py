"""The command line. `main` is what `explorax` runs."""

from explorax.cli.program import main as main
