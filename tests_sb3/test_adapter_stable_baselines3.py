"""The wrapper of Stable-Baselines3's vectors: what it pays, and that its trainers learn from it."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch  # pyright: ignore[reportMissingImports]  (another environment's)
from stable_baselines3 import DQN, PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.monitor import Monitor  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
    DummyVecEnv,
    VecCheckNan,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
)
from worlds import (  # pyright: ignore[reportMissingImports]  (tests/adapters)
    PaysPlace,
    Walk,
    by_hand,
    paid,
    told_of,
)

from explorax.adapters.stable_baselines3 import IntrinsicReward
from explorax.bonuses import VIME, Count, Episodic
from explorax.core.errors import BadEnvironmentData, CheckpointError, Incompatible
from explorax.encoders import AgentLatent

torch.set_num_threads(1)
ENVS, STEPS = 3, 120
SMALL = dict(policy_kwargs={"net_arch": [8]}, seed=3, device="cpu")
TRAINERS = {
    "PPO": lambda env: PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=2, **SMALL),
    "DQN": lambda env: DQN(
        "MlpPolicy", env, learning_starts=32, buffer_size=500, batch_size=16, train_freq=4, **SMALL
    ),
}


def vector(envs=ENVS, **settings):
    return DummyVecEnv([partial(Walk, **settings)] * envs)


def actions(steps=STEPS, envs=ENVS, seed=1):
    return (np.random.default_rng(seed).random((steps, envs)) < 0.6).astype(np.int64)


def run(env, chosen, seed=5):
    env.seed(seed)
    env.reset()
    return [env.step(each) for each in chosen]


def bonuses_of(told):
    return np.array([[info["intrinsic_reward"] for info in out[3]] for out in told])


def test_a_count_is_paid_as_by_hand():
    chosen, visits, ends = actions(), Counter(), Counter()
    told = run(IntrinsicReward(vector(), Count(beta=0.5), 2.0), chosen)
    for out, row in zip(told, by_hand(ENVS, "SAME_STEP", STEPS, chosen, 5), strict=True):
        _, reward, done, infos = out
        for index, (_, _, after, extrinsic, arrived, late) in enumerate(row):
            visits[after] += 1
            wanted = 0.5 / np.sqrt(visits[after])
            assert done[index] == (arrived or late)
            ends.update({"goal": arrived, "late": late})
            assert infos[index]["intrinsic_reward"] == pytest.approx(wanted, rel=1e-6)
            assert infos[index]["extrinsic_reward"] == extrinsic
            assert reward[index] == pytest.approx(extrinsic + 2.0 * wanted, rel=1e-6)
        assert reward.dtype == np.float32
    assert ends["goal"] > 10 and ends["late"] > 3


def test_it_learns_from_every_transition_and_knows_time_limits():
    chosen = actions()
    env = IntrinsicReward(vector(), PaysPlace(), 0.25, update_every=20)  # 7 steps of 3
    run(env, chosen)
    facts = [fact for row in by_hand(ENVS, "SAME_STEP", STEPS, chosen, 5) for fact in row]
    wanted = told_of(facts, 21)
    assert env.metrics == wanted | {"scored": wanted["rows"]}


@pytest.mark.parametrize("kind", ["discrete", "box", "dict", "image"])
def test_every_kind_of_observation_is_paid_alike_and_passed_untouched(kind):
    chosen = actions(60)
    plain = run(vector(shown=kind), chosen)
    told = run(IntrinsicReward(vector(shown=kind), PaysPlace()), chosen)
    for one, other in zip(plain, told, strict=True):
        pairs = [(one[0], other[0])]
        if kind == "dict":
            pairs = [(one[0][name], other[0][name]) for name in one[0]]
        for here, there in pairs:
            np.testing.assert_array_equal(here, there)
            assert here.dtype == there.dtype
    facts = by_hand(ENVS, "SAME_STEP", 60, chosen, 5)
    np.testing.assert_array_equal(
        bonuses_of(told), [[paid(fact[2]) for fact in row] for row in facts]
    )


def trained(trainer, env, steps=400):
    """Return the parameters after training."""
    model = TRAINERS[trainer](env).learn(steps)
    return {name: value.numpy().copy() for name, value in model.policy.state_dict().items()}


def same(one, other):
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def check_the_bonus_reaches_the_trainer(trainer, wrapper=IntrinsicReward):
    """Reward r with bonus f trains to the bit as an environment that pays r + f."""
    with_bonus = trained(trainer, wrapper(vector(4, shown="box"), PaysPlace()))
    same(with_bonus, trained(trainer, vector(4, shown="box", extra=True)))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_reward_with_bonus_trains_as_their_sum_does(trainer):
    check_the_bonus_reaches_the_trainer(trainer)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_bonus_moves_the_trainer_and_scale_zero_does_not(trainer):
    plain = trained(trainer, vector(4, shown="box"))
    same(plain, trained(trainer, IntrinsicReward(vector(4, shown="box"), PaysPlace(), 0.0)))
    with pytest.raises(AssertionError):
        same(plain, trained(trainer, IntrinsicReward(vector(4, shown="box"), PaysPlace(), 1.0)))


class Deaf(IntrinsicReward):
    """Keeps the bonus to itself."""

    def step_wait(self):
        obs, _, done, infos = super().step_wait()
        paid_outside = np.array([info["extrinsic_reward"] for info in infos], np.float32)
        return obs, paid_outside, done, infos


class Late(IntrinsicReward):
    """Pays at the end of an episode for where the next one begins."""

    def _last(self, info):
        return np.zeros_like(super()._last(info))


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("mutant", [Deaf, Late])
def test_an_adapter_that_is_wrong_is_found(trainer, mutant):
    with pytest.raises(AssertionError):
        check_the_bonus_reaches_the_trainer(trainer, mutant)


def test_it_stands_among_their_own_wrappers():
    monitored = DummyVecEnv([lambda: Monitor(Walk("box"))] * 2)
    env = VecCheckNan(VecNormalize(IntrinsicReward(monitored, PaysPlace(), 10.0)))
    returns = []
    for out in run(env, actions(80, 2)):
        returns += [info["episode"]["r"] for info in out[3] if "episode" in info]
    assert set(returns) == {0.0, 1.0}  # the walk's own returns
    images = VecTransposeImage(IntrinsicReward(vector(2, shown="image"), PaysPlace()))
    stacked = VecFrameStack(images, 2)
    told = run(stacked, actions(30, 2))
    assert told[0][0].shape == (2, 2, 8, 8)
    facts = by_hand(2, "SAME_STEP", 30, actions(30, 2), 5)
    wanted = [[paid(fact[2]) for fact in row] for row in facts]
    np.testing.assert_array_equal(bonuses_of(told), wanted)


def test_saved_and_restored_it_goes_on_as_if_nothing_had_happened(tmp_path):
    bonus = Episodic(Count())
    one = IntrinsicReward(vector(), bonus, update_every=50, seed=1)
    run(one, actions(60))
    one.save(tmp_path / "bonus.npz")
    other = IntrinsicReward(vector(), bonus, update_every=50, seed=9)
    other.restore(tmp_path / "bonus.npz")
    later = [bonuses_of(run(each, actions(60, seed=2), seed=8)) for each in (one, other)]
    np.testing.assert_array_equal(later[0], later[1])
    with pytest.raises(CheckpointError, match="was saved with"):
        IntrinsicReward(vector(), Count()).restore(tmp_path / "bonus.npz")


class Broken(Walk):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float("nan"), *rest


def test_it_says_what_is_wrong():
    env = IntrinsicReward(DummyVecEnv([Walk, Broken]), Count())
    env.reset()
    with pytest.raises(BadEnvironmentData, match="environment 1, step 1: the reward"):
        env.step(np.array([0, 0]))
    with pytest.raises(Incompatible, match="InverseEncoder"):
        IntrinsicReward(vector(), VIME(latent=AgentLatent()))
