"""Record the metrics of small runs of every agent and every bonus, or compare with a record.

python benchmarks/same_numbers.py record FILE
python benchmarks/same_numbers.py check FILE        (exits with 1 and names what differs)

For refactorings, whose numbers must stay equal to the byte: `record` before the first step, `check`
after each. FILE holds a digest of each run's metrics.csv, which has no times in it; digests are of
one machine and one version of JAX.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import explorax as ex

CODES, VECTOR, TORQUE = "four_rooms", "mountain_car_sparse", "pendulum_swing_up"
MAZE, HOST, HOST_TORQUE = "memory_maze/7", "gymnasium:CartPole-v1", "gymnasium:Pendulum-v1"
SMALL = "hidden=(8,)"
POLICY = f"rollout_length=16, {SMALL}, value_hidden=(8,)"
REPLAY = f"{SMALL}, batch_size=8, rollout_length=4, updates_per_learn=2, warmup_env_steps=64"
AUXILIARIES = "(PixelControl(cell=1), FeatureControl(), RewardPrediction(), ValueReplay())"
# Agent: environments that it can act in.
AGENTS = {
    f"TRPO({POLICY})": (CODES, TORQUE, HOST),
    f"TRPO({POLICY}, bonus_discount=0.9, bonus_episodic=False)": (VECTOR,),
    f"REINFORCE({POLICY})": (CODES, TORQUE),
    f"ERWR({POLICY})": (CODES, TORQUE),
    f"PPO(rollout_length=16, {SMALL})": (CODES, TORQUE, HOST),
    f"PPO(rollout_length=16, {SMALL}, memory='gru')": (MAZE,),
    f"A2C({SMALL}, memory='lstm', sees_last=True)": (MAZE, HOST_TORQUE),
    f"UNREAL(windows=8, replay_capacity=640, auxiliaries={AUXILIARIES})": (MAZE,),
    f"DQN({REPLAY})": (CODES, "mountain_car", HOST),
    f"DQN({REPLAY}, optimism=1.0)": (CODES,),
    f"EnsembleDQN(DQN({REPLAY}), heads=3)": (CODES, HOST),
    f"SoftQ({REPLAY})": (CODES, TORQUE, HOST_TORQUE),
    f"MPO({REPLAY})": (CODES, TORQUE, HOST_TORQUE),
    "TabularQ()": (CODES,),
}
PAID = "Scale(RunningStd(RND()), 0.1)"
# Bonus: environments in which it is paid to TRPO.
BONUSES = {
    "VIME()": (CODES, VECTOR, HOST),
    "VIME(noise_head=True, likelihood_std=1.0)": (VECTOR,),
    "VIME(latent=AgentLatent())": (VECTOR,),
    "VIME.paper()": (VECTOR,),
    "ReturnShare(VIME(model=LastLayer()))": (CODES, VECTOR, HOST),
    "VIME(model=LastLayer(of='state_action', gain='realized', noise='head'))": (VECTOR,),
    "VIME(model=LastLayer(InverseEncoder(), given='rollout'))": (VECTOR,),
    "Scale(MedianRatio(PredictionError()), 0.1)": (VECTOR,),
    "RND()": (CODES, VECTOR, HOST),
    "ICM()": (VECTOR, MAZE),
    "Disagreement()": (VECTOR,),
    "Surprise()": (VECTOR,),
    "Surprise(form='progress')": (VECTOR,),
    "MaxInfo()": (VECTOR,),
    "Count()": (CODES,),
    "HashCount()": (VECTOR,),
    "PseudoCount(Factored())": (CODES,),
    "PseudoCount(Empirical())": (CODES,),
    "NGU()": (VECTOR,),
    "RIDE()": (CODES,),
    "RIDE(count='kernel')": (VECTOR,),
    "RE3()": (VECTOR,),
    "E3B()": (VECTOR, MAZE),
    "Sum((Clip(RND(), 0.0, 1.0), Decay(Count(), 500)))": (CODES,),
    "Product((Episodic(Count()), RunningMean(RND())))": (CODES,),
}
ENV_STEPS, SEEDS, ENVS = 640, 2, 4


def cases() -> Iterator[tuple[str, str, str]]:
    """Yield (environment, agent, bonus)."""
    for agent, envs in AGENTS.items():
        yield from ((env, agent, bonus) for env in envs for bonus in ("NoBonus()", PAID))
    for bonus, envs in BONUSES.items():
        yield from ((env, f"TRPO({POLICY})", bonus) for env in envs)


def digests() -> dict[str, str]:
    """Return what each run's metrics.csv hashes to."""
    found = {}
    for env, agent, bonus in cases():
        with tempfile.TemporaryDirectory() as root:
            given: dict[str, Any] = dict(
                seeds=SEEDS, num_envs=ENVS, root=root, film=False, progress=False
            )
            result = ex.train(env, agent, bonus, ENV_STEPS, **given)
            text = (result.directory / "metrics.csv").read_bytes()
        name = f"{env} | {agent} | {bonus}"
        found[name] = hashlib.sha256(text).hexdigest()
        print(found[name][:12], name, flush=True)
    return found


def main(mode: str, path: Path) -> int:
    found = digests()
    if mode == "record":
        path.write_text(json.dumps(found, indent=1))
        return 0
    before = json.loads(path.read_text())
    differ = [name for name in before.keys() | found.keys() if before.get(name) != found.get(name)]
    for name in sorted(differ):
        print(f"differs: {name}")
    print(f"{len(found)} runs, {len(differ)} differ")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
