"""Deep sea by bsuite's protocol: DQN, DQN with optimism and EnsembleDQN, with counts and without.

python benchmarks/ensemble.py ROOT [ROWS [SEEDS]]      (runs already in ROOT are kept)

Of more than 30 rows twice the episodes, and only what solved 30 rows, without a bonus.
"""

import sys
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
import pandas as pd

import explorax as ex
from explorax import presets
from explorax.run.expressions import expression

FIRST_SEED = 100  # settings were chosen on seeds 0 to 9
EPISODES, MORE_EPISODES = 5_000, 10_000  # of up to 30 rows, and of more
GOOD = 0.2  # bsuite: solved at the first episode where fewer than 0.8 so far were bad
LATE = 0.1  # of the run, over which ours asks for half of the returns


def episodes_until(seed: pd.DataFrame) -> tuple[float, float, float]:
    """Return (episodes to the first treasure, to bsuite's mark, share of the last ones with it).

    seed: one seed's rows, one per chunk, so that episodes are known to the end of a chunk; infinity
    where it never came.
    """
    episodes = seed["episodes"].cumsum().to_numpy()
    good = (seed["episodes"] * seed["success_rate"].fillna(0.0)).cumsum().to_numpy()

    def first(reached: np.ndarray) -> float:
        return float(episodes[np.argmax(reached)]) if reached.any() else np.inf

    late = seed["success_rate"].to_numpy()[-max(1, round(LATE * len(seed))) :]
    return first(good > 0), first(good > GOOD * episodes), float(np.mean(late))


def row(frame: pd.DataFrame, agent: str, bonus: str) -> list[str]:
    """Return the table's row about the run of an agent with a bonus."""
    told = np.asarray([episodes_until(each) for _, each in frame.groupby("seed")])
    found, solved, late = told.T

    def median(values: np.ndarray) -> str:
        middle = float(np.median(values))
        return f"{middle:,.0f}" if np.isfinite(middle) else "never"

    count = len(told)
    return [
        f"`{agent}`",
        f"`{bonus}`",
        f"{np.isfinite(found).sum()} of {count}",
        median(found),
        f"{np.isfinite(solved).sum()} of {count}",
        median(solved),
        f"{(late >= 0.5).sum()} of {count}",
    ]


def main(root: Path, rows: int, seeds: int) -> None:
    large = rows > 30
    episodes = MORE_EPISODES if large else EPISODES
    every = presets.preset("deep_exploration")
    written, agents = [], list(dict.fromkeys(each.agent for each in every))
    experiments = [
        replace(each, env=f"deep_sea/{rows}", env_steps=episodes * rows, seeds=seeds)
        for each in every
        if not large or (each.bonus == ex.NoBonus() and each.agent != agents[0])
    ]
    for each in experiments:
        comparison = ex.compare([each], seed=FIRST_SEED, root=root, film=False, progress=False)
        called = ("DQN", "DQN, optimism 1", "EnsembleDQN")[agents.index(each.agent)]
        written.append(row(comparison.frame, called, expression(each.bonus)))
        print(" | ".join(written[-1]), flush=True)
    common.write(
        "ensemble" if rows == 30 else f"ensemble_{rows}",
        f"Deep sea of {rows} rows by values that are linear in the cell",
        ["agent", "bonus", "seeds that found the treasure", "median episode of the first",
         "solved by bsuite's mark", "median episode of it", "solved by ours"],
        written,
        f"The preset `deep_exploration`: {seeds} seeds from {FIRST_SEED} on, of {episodes:,} "
        "episodes; settings were chosen on seeds 0 to 9. bsuite's mark: the first episode where "
        "less than 0.8 of all so far missed the treasure. Ours: half of the last tenth take it.",
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, (sys.argv[2:] + ["30", "10"][len(sys.argv) - 2 :])))
