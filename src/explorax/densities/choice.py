"""Which density suits observations where none was chosen."""

from typing import Any

from explorax.core.protocols import Box
from explorax.densities import grey
from explorax.densities.cts import CTS, CTSState
from explorax.densities.density import Density
from explorax.densities.empirical import Empirical, EmpiricalState
from explorax.densities.factored import Factored, FactoredState
from explorax.ops import finite

_BY_STATE = {EmpiricalState: Empirical, CTSState: CTS, FactoredState: Factored}


def density_for(box: Box) -> Density:
    """Return Empirical() for one-hot codes of which there are few enough to count, CTS() for
    images, Factored() for all else."""
    states = finite.num_states(box)
    if states is not None and states <= Empirical().max_states:
        return Empirical()
    return CTS() if grey.is_image(box) and box.one_hot is None else Factored()


def density_of(state: Any) -> Density:
    """Return the density that `density_for` chose where `state` was begun."""
    return _BY_STATE[type(state)]()
