"""The wrapper of Gymnasium's vectors, beside walks that are stepped and counted by hand."""

from collections import Counter
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers import vector as wrappers
from worlds import (
    KINDS,
    LENGTH,
    PaysNoise,
    PaysOne,
    PaysPlace,
    PaysUpdates,
    Walk,
    by_hand,
    paid,
    step_of,
    told_of,
    vector,
)

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.bonuses import E3B, VIME, Count, Episodic, MedianRatio, RunningMean, Scale, Sum
from explorax.core.errors import CheckpointError, Incompatible, InvalidSetting
from explorax.core.protocols import Rollout
from explorax.encoders import AgentLatent, RandomEncoder

MODES = ("SAME_STEP", "NEXT_STEP", "DISABLED")
ENVS, STEPS = 3, 150


def actions(steps=STEPS, envs=ENVS, seed=1):
    # More often right than left, so that many episodes end at the goal.
    return (np.random.default_rng(seed).random((steps, envs)) < 0.6).astype(np.int64)


def run(env, chosen, seed=5):
    """Return what every step returned, after a reset."""
    env.reset(seed=seed)
    return [step_of(env, each) for each in chosen]


def bonuses_of(told):
    return np.array([out[4]["intrinsic_reward"] for out in told])


@pytest.mark.parametrize("mode", MODES)
def test_a_count_is_paid_as_by_hand(mode):
    chosen = actions()
    told = run(IntrinsicReward(vector(ENVS, mode), Count(beta=0.5), 2.0), chosen)
    visits, ends = Counter(), Counter()
    for out, row in zip(told, by_hand(ENVS, mode, STEPS, chosen, 5), strict=True):
        _, reward, terminated, truncated, info = out
        for index, fact in enumerate(row):
            assert info["_intrinsic_reward"][index] == (fact is not None)
            assert info["_extrinsic_reward"][index] == (fact is not None)
            wanted, extrinsic = 0.0, 0.0
            if fact is not None:
                _, _, after, extrinsic, arrived, late = fact
                visits[after] += 1
                wanted = 0.5 / np.sqrt(visits[after])
                assert (terminated[index], truncated[index] and not arrived) == (arrived, late)
                ends.update({"goal": arrived, "late": late})
            np.testing.assert_allclose(info["intrinsic_reward"][index], wanted, rtol=1e-6)
            np.testing.assert_allclose(reward[index], extrinsic + 2.0 * wanted, rtol=1e-6)
            assert info["extrinsic_reward"][index] == extrinsic
    assert ends["goal"] > 10 and ends["late"] > 3


@pytest.mark.parametrize("mode", MODES)
def test_it_learns_from_every_transition_and_from_nothing_else(mode):
    chosen, every = actions(), 20  # 7 steps of 3 environments
    env = IntrinsicReward(vector(ENVS, mode), PaysPlace(), 0.25, update_every=every)
    run(env, chosen)
    facts = [fact for row in by_hand(ENVS, mode, STEPS, chosen, 5) for fact in row if fact]
    wanted = told_of(facts, 21)
    metrics = env.metrics
    scored = metrics.pop("scored")
    assert metrics == wanted
    assert wanted["rows"] <= scored <= wanted["rows"] + ENVS


@pytest.mark.parametrize("mode", MODES)
def test_what_is_remembered_of_an_episode_is_its_own(mode):
    """Rows that only reset leave no trace in the memory of any environment."""
    chosen = actions()
    told = run(IntrinsicReward(vector(ENVS, mode), Episodic(PaysOne())), chosen)
    visits = [Counter() for _ in range(ENVS)]
    for bonus, row in zip(bonuses_of(told), by_hand(ENVS, mode, STEPS, chosen, 5), strict=True):
        for index, fact in enumerate(row):
            wanted = 0.0
            if fact is not None:
                begins, before, after = fact[:3]
                if begins:
                    visits[index] = Counter([before])
                visits[index][after] += 1
                wanted = visits[index][after] ** -0.5
            np.testing.assert_allclose(bonus[index], wanted, rtol=1e-6)


def test_a_step_is_paid_before_anything_is_learned_from_it():
    told = run(IntrinsicReward(vector(4), PaysUpdates(), update_every=40), actions(35, 4))
    np.testing.assert_array_equal(bonuses_of(told)[:, 0], np.arange(35) // 10)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_observation_is_paid_alike_and_passed_untouched(kind):
    chosen = actions(60)
    plain = run(vector(ENVS, shown=kind), chosen)
    env = IntrinsicReward(vector(ENVS, shown=kind), PaysPlace())
    told = run(env, chosen)
    for one, other in zip(plain, told, strict=True):
        assert data_equivalence(one[0], other[0])
        assert env.observation_space.contains(other[0])
        assert {*other[4]} - {*one[4]} == {
            f"{mask}{name}_reward" for mask in ("", "_") for name in ("intrinsic", "extrinsic")
        }
    facts = by_hand(ENVS, "SAME_STEP", 60, chosen, 5)
    wanted = [[paid(fact[2]) for fact in row] for row in facts]
    np.testing.assert_array_equal(bonuses_of(told), wanted)


@pytest.mark.parametrize(
    "bonus",
    [
        Sum((PaysNoise(), Scale(Count(), 0.5))),
        E3B(RandomEncoder(features=4)),
    ],
    ids=["Sum", "E3B"],
)
def test_what_is_paid_is_the_bonus_of_the_same_rows(bonus):
    """Step by step as a rollout [1, E], then learned from as [T, E], with the keys of each."""
    chosen, every = actions(40), 30
    told = run(IntrinsicReward(vector(ENVS), bonus, update_every=every, seed=3), chosen)
    bare = vector(ENVS)
    obs, first, gathered = one_hot(bare.reset(seed=5)[0]), np.ones(ENVS, bool), []
    probe = IntrinsicReward(bare, bonus, seed=3)
    key_init, key = jax.random.split(jax.random.key(3))
    state = jax.jit(bonus.init, static_argnums=1)(key_init, probe._stream._spec)
    score, update = jax.jit(bonus.score), jax.jit(bonus.update)
    for t, each in enumerate(chosen):
        seen, reward, terminated, truncated, info = bare.step(each)
        done = terminated | truncated
        after = [info["final_obs"][i] if done[i] else seen[i] for i in range(ENVS)]
        row = Rollout(
            obs, each.astype(np.int32), reward.astype(np.float32), one_hot(np.array(after)),
            terminated, truncated & ~terminated, first, np.zeros(ENVS, np.float32),
        )  # fmt: skip
        now = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], row)
        amount, state = score(state, jax.random.fold_in(key, 2 * (t + 1)), now)
        np.testing.assert_allclose(told[t][4]["intrinsic_reward"], amount[0], rtol=2e-5, atol=1e-7)
        gathered.append(row)
        if len(gathered) * ENVS == every:
            rollout = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gathered)
            state, _ = update(state, jax.random.fold_in(key, 2 * (t * ENVS // every) + 1), rollout)
            gathered = []
        obs, first = one_hot(seen), done
    assert bonuses_of(told)[-5:].max() > 0


def one_hot(places):
    return np.eye(LENGTH, dtype=np.float32)[places]


def test_saved_and_restored_it_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    bonus = Sum((PaysNoise(), Count()))
    one = IntrinsicReward(vector(ENVS, "NEXT_STEP"), bonus, update_every=50, seed=1)
    run(one, actions(60))
    one.save("~/deep/bonus.npz")
    other = IntrinsicReward(vector(ENVS, "NEXT_STEP"), bonus, update_every=50, seed=9)
    other.restore(tmp_path / "deep" / "bonus.npz")
    later = [bonuses_of(run(each, actions(60, seed=2), seed=8)) for each in (one, other)]
    np.testing.assert_array_equal(later[0], later[1])
    fresh = IntrinsicReward(vector(ENVS, "NEXT_STEP"), bonus, update_every=50, seed=1)
    assert (bonuses_of(run(fresh, actions(60, seed=2), seed=8)) != later[0]).any()
    assert one.metrics == other.metrics != {}


def test_a_file_of_another_bonus_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "bonus.npz"
    one = IntrinsicReward(vector(ENVS), Count())
    one.save(path)
    for other in (
        IntrinsicReward(vector(ENVS), Count(beta=0.2)),
        IntrinsicReward(vector(ENVS + 1), Count()),
        IntrinsicReward(vector(ENVS), Count(), update_every=8),
    ):
        with pytest.raises(CheckpointError, match="was saved with"):
            other.restore(path)
    with pytest.raises(CheckpointError, match="There is no file"):
        one.restore(tmp_path / "nothing.npz")
    for place in (path / "below a file.npz", tmp_path / ("long" * 100), tmp_path):
        with pytest.raises(CheckpointError, match="Cannot write"):
            one.save(place)
    assert [each.name for each in tmp_path.iterdir()] == ["bonus.npz"]
    whole = path.read_bytes()
    for harmed in (whole[:-100], b"", whole[:600] + bytes([whole[600] ^ 1]) + whole[601:]):
        path.write_bytes(harmed)
        with pytest.raises(CheckpointError, match="damaged"):
            one.restore(path)


def test_scale_zero_pays_nothing_and_tells_the_bonus():
    chosen = actions(50)
    plain, told = run(vector(ENVS), chosen), run(IntrinsicReward(vector(ENVS), Count(), 0), chosen)
    for one, other in zip(plain, told, strict=True):
        np.testing.assert_array_equal(one[1], other[1])
        assert one[1].dtype == other[1].dtype
    assert bonuses_of(told).min() > 0


def counted_by_hand(mode, chosen):
    """Return [(environment, return, length)] of the episodes of these walks, in order."""
    told, running = [], [[0.0, 0] for _ in range(ENVS)]
    for row in by_hand(ENVS, mode, len(chosen), chosen, 5):
        for index, fact in enumerate(row):
            if fact is None:
                continue
            running[index][0] += fact[3] + fact[1] / 8  # as PaysForWhere does
            running[index][1] += 1
            if fact[4] or fact[5]:
                told.append((index, *running[index]))
                running[index] = [0.0, 0]
    return told


class PaysForWhere(Walk):
    """A walk that pays an eighth of the place where each step begins, too."""

    def step(self, action):
        before = self.place
        obs, reward, arrived, late, info = super().step(action)
        return obs, reward + before / 8, arrived, late, info


@pytest.mark.parametrize("mode", MODES)
def test_returns_and_lengths_of_episodes_are_the_tasks_own(mode):
    """In the order that docs/your_trainer.md shows; Gymnasium 1.3.0's wrapper of vectors tells
    (2, 2) of an episode of three steps that pay 1 each, in SAME_STEP."""
    makers = [lambda: RecordEpisodeStatistics(PaysForWhere())] * ENVS
    vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode[mode])
    env, chosen, told = IntrinsicReward(vector, PaysPlace(), 10.0), actions(80), []
    for out in run(env, chosen):
        info = out[4]["final_info"] if mode == "SAME_STEP" and "final_info" in out[4] else out[4]
        for index in np.flatnonzero(info.get("_episode", [])):
            episode = info["episode"]
            told.append((int(index), float(episode["r"][index]), int(episode["l"][index])))
    assert told == counted_by_hand(mode, chosen)
    assert len({length for _, _, length in told}) > 3 and len({each for _, each, _ in told}) > 5


def test_it_stands_among_gymnasiums_own_wrappers():
    env = IntrinsicReward(vector(ENVS), PaysPlace(), 10.0)
    outer = wrappers.DictInfoToList(wrappers.NormalizeReward(env))
    outer.reset(seed=5)
    for each in actions(20):
        infos = outer.step(each)[4]
        assert all({"intrinsic_reward", "extrinsic_reward"} <= info.keys() for info in infos)
    assert env.single_action_space == Walk().action_space and env.num_envs == ENVS
    assert repr(outer).count("IntrinsicReward") == 1


def test_in_a_list_of_infos_a_step_that_only_resets_has_none():
    env = wrappers.DictInfoToList(IntrinsicReward(vector(ENVS, "NEXT_STEP"), Count()))
    env.reset(seed=5)
    chosen = actions(40)
    facts = by_hand(ENVS, "NEXT_STEP", 40, chosen, 5)
    for each, row in zip(chosen, facts, strict=True):
        infos = env.step(each)[4]
        assert ["intrinsic_reward" in info for info in infos] == [fact is not None for fact in row]


def test_the_same_seeds_give_the_same_numbers_and_other_seeds_others():
    chosen = actions(30, 2)
    one, same, other = (
        bonuses_of(run(IntrinsicReward(vector(2), PaysNoise(), update_every=20, seed=s), chosen))
        for s in (4, 4, 5)
    )
    np.testing.assert_array_equal(one, same)
    assert (one[-1] != other[-1]).all()


def test_whole_rewards_become_floats_and_others_keep_their_kind():
    class Whole(wrappers.TransformReward):
        def __init__(self, env, kind):
            super().__init__(env, lambda reward: reward.astype(kind))

    for kind, wanted in (("float32", "float32"), ("float64", "float64"), ("int32", "float64")):
        env = IntrinsicReward(Whole(vector(2), kind), PaysPlace())
        env.reset(seed=0)
        assert env.step(np.array([1, 1]))[1].dtype == wanted


def test_it_says_what_it_cannot_do():
    def refused(match, error: type = Incompatible, bonus=None, mode="SAME_STEP", **settings):
        with pytest.raises(error, match=match):
            IntrinsicReward(vector(2, mode), bonus or Count(), **settings)

    refused("InverseEncoder", bonus=Scale(VIME(latent=AgentLatent()), 0.1))
    refused("cross_episodes=False", bonus=VIME(cross_episodes=True), mode="NEXT_STEP")
    refused("HashCount", bonus=Count(max_states=3))
    refused("at least 0", InvalidSetting, scale=-1.0)
    refused("at least 1", InvalidSetting, update_every=0)
    env: Any = vector(2)
    env.autoreset_mode = env.metadata["autoreset_mode"] = None  # as a vector of one's own may be
    with pytest.raises(Incompatible, match="autoreset_mode"):
        IntrinsicReward(env, Count())


def test_it_warns_of_memories_of_a_few_rollouts():
    with pytest.warns(UserWarning, match=r"window=5120"):
        IntrinsicReward(vector(2), MedianRatio(Count()))
    with pytest.warns(UserWarning, match=r"decay=0\.99998"):
        IntrinsicReward(vector(2), Scale(RunningMean(Count()), 0.1))
    IntrinsicReward(vector(2), MedianRatio(Count(), window=5120))


def test_a_vector_that_does_not_tell_where_an_episode_ended_is_refused():
    class Forgetful(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            *rest, info = self.env.step(actions)
            return *rest, {name: value for name, value in info.items() if name != "final_obs"}

    with pytest.raises(Incompatible, match="NEXT_STEP"):
        run(IntrinsicReward(Forgetful(vector(2)), Count()), actions(30, 2))
