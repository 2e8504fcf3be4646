"""Constructor text: how settings are written and read, and classes of the user's own found."""
