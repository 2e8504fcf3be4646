"""The nouns and the errors. Imports nothing of explorax but itself."""
