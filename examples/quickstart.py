"""Train with and without a bonus, and look at the results. About a minute on two cores."""

import explorax as ex

comparison = ex.compare(
    env="mountain_car_sparse(power=0.0008)",
    agent=ex.TRPO(),
    bonus=(ex.NoBonus(), ex.Scale(ex.MedianRatio(ex.VIME()), 1e-4)),
    env_steps=100_000,
    seeds=10,
)
print(comparison)

plain, curious = comparison.results
print(curious.frame.groupby("seed")["return_mean"].last())
curious.plot().savefig("curves.png")
