"""Densities over observations that learn online, for pseudo-counts. `__all__` is the catalogue."""

from explorax.densities.cts import CTS
from explorax.densities.empirical import Empirical
from explorax.densities.factored import Factored

__all__ = ["CTS", "Empirical", "Factored"]
