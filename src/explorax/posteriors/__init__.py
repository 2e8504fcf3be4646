"""What is known of the dynamics, and what a transition would teach. `__all__` is the catalogue."""

from explorax.posteriors.last_layer import LastLayer

__all__ = ["LastLayer"]
