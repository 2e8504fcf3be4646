"""Densities over observations that learn online, for pseudo-counts. `__all__` is the catalogue."""

__all__: list[str] = []
