"""Bonuses for people who keep their own trainer: wrappers that pay them within the reward.

`gymnasium.IntrinsicReward` wraps a Gymnasium vector environment, and
`stable_baselines3.IntrinsicReward` one of Stable-Baselines3, which only that module imports.
"""
