"""The mathematics: free functions on arrays, which know no agent, bonus or environment."""
