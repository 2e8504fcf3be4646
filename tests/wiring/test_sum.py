"""Reward r with bonus f trains as r + f: every agent, its heads, its replays, its memory.

One value head or critic: to the bit. Two, of the same discount: reward and bonus can be exchanged,
and their heads with them, and the policy learns the same. An agent with a memory that is shown the
last reward is shown r alone, never f: so it learns as from r + f but for the weights of that input,
which are held at 0 here and left out of the comparison.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_streams import (
    Passing,
    Pay,
    Paying,
    PaysStreams,
    Walk,
    changed,
    has,
    numbers,
    programs,
    setting,
)

import explorax.agents
from explorax import host_loop, loop
from explorax.agents import (
    A2C,
    DQN,
    ERWR,
    MPO,
    PPO,
    REINFORCE,
    TRPO,
    UNREAL,
    EnsembleDQN,
    SoftQ,
    TabularQ,
)
from explorax.agents import unrolling as unrolled
from explorax.auxiliaries import RewardPrediction, ValueReplay
from explorax.core.errors import Incompatible
from explorax.core.pytree import replace
from explorax.envs.task import Batched

ENVS = 4
ITERATIONS = 3
SCALE = 0.5  # of the bonus: a power of 2, so that it rounds nothing
ON_POLICY: dict[str, Any] = dict(
    rollout_length=8,
    hidden=(4,),
    value_hidden=(4,),
    value_epochs=2,
    value_minibatches=2,
    gae_lambda=0.9,
    bonus_scale=SCALE,
)
ACTOR_CRITIC: dict[str, Any] = dict(
    rollout_length=8,
    hidden=(4,),
    memory_size=4,
    gae_lambda=0.9,
    bonus_scale=SCALE,
    # Held within it, the gradient would feel the weights of the last reward by its length.
    max_grad_norm=1e6,
)
REPLAY: dict[str, Any] = dict(
    rollout_length=8,
    hidden=(4,),
    updates_per_learn=2,
    batch_size=8,
    replay_capacity=80,
    warmup_env_steps=32,
    target_copy_every=3,
    bonus_scale=SCALE,
)
SMALL: dict[str, Any] = {
    "A2C": A2C(**ACTOR_CRITIC),
    "DQN": DQN(**REPLAY),
    "EnsembleDQN": EnsembleDQN(DQN(**REPLAY), heads=2),
    "ERWR": ERWR(**ON_POLICY, iterations=3),
    "MPO": MPO(**REPLAY, sequence_length=4, action_samples=3),
    "PPO": PPO(**ACTOR_CRITIC, epochs=2, minibatches=2),
    "REINFORCE": REINFORCE(**ON_POLICY),
    "TRPO": TRPO(**ON_POLICY, cg_iterations=3),
    "UNREAL": UNREAL(
        A2C(**ACTOR_CRITIC),
        (RewardPrediction(hidden=4), ValueReplay()),
        replay_capacity=80,
        windows=4,
        window_length=4,
    ),
    "SoftQ": SoftQ(**REPLAY, value_samples=3, fixed_particles=3, updated_particles=3),
    "TabularQ": TabularQ(rollout_length=8, bonus_scale=SCALE),
}
TABLES = ("TabularQ",)  # they learn from one-hot codes alone


@dataclass(frozen=True)
class Case:
    agent: Any
    env: Any

    @property
    def two_heads(self) -> bool:
        return setting(self.agent, "bonus_discount") is not None


def cases_of(name: str) -> dict[str, Case]:
    """Return the cases of an agent by what they are called.

    Kinds of actions, number of heads or when the bonus is paid, and memory: of each two all pairs,
    as far as the agent has such a setting, and can act so.
    """
    found = {}
    for continuous, second in ((False, False), (False, True), (True, False), (True, True)):
        agent, told = SMALL[name], [name, "continuous" if continuous else "discrete"]
        if has(agent, "bonus_discount"):
            agent = changed(agent, bonus_discount=setting(agent, "discount") if second else None)
            told.append("two heads" if second else "one head")
        if has(agent, "bonus_at"):
            agent = changed(agent, bonus_at="collection" if second else "replay")
            told.append(f"paid at {setting(agent, 'bonus_at')}")
        if has(agent, "sees_last"):
            with_memory = continuous != second
            # Within one `learn` the second step down the gradient feels the weights of the last
            # reward, which cannot be held at 0 there.
            sees = with_memory and setting(agent, "epochs") is None
            memory = "lstm" if with_memory else None
            agent = changed(agent, memory=memory, sees_last=sees)
            told.append(f"memory {memory}")
        env = Paying(Batched(Walk(continuous, codes=name in TABLES), ENVS))
        try:
            jax.eval_shape(partial(agent.init, spec=env.spec), jax.random.key(0))
        except Incompatible:
            continue
        found[", ".join(told)] = Case(agent, env)
    return found


CASES = {
    called: case
    for name in explorax.agents.__all__
    if name in SMALL
    for called, case in cases_of(name).items()
}
ONE_HEAD = [name for name, case in CASES.items() if not case.two_heads]
TWO_HEADS = [name for name, case in CASES.items() if case.two_heads]
SHOWN_REWARDS = [name for name, case in CASES.items() if setting(case.agent, "sees_last")]
ON_HOST = [next(each for each in CASES if each.split(",")[0] == name) for name in SMALL]


def test_every_agent_of_the_catalogue_is_held_to_the_sum():
    assert SMALL.keys() == set(explorax.agents.__all__)
    assert {type(case.agent).__name__ for case in CASES.values()} == SMALL.keys()
    assert {type(CASES[name].agent).__name__ for name in ONE_HEAD} == SMALL.keys()
    for name, agent in SMALL.items():
        assert any(name == each.split(",")[0] for each in TWO_HEADS) == has(agent, "bonus_discount")


def without_weights_of_last_reward(tree: Any) -> Any:
    """Return parameters, or what is as them, with 0 for the weights of the memory's last input."""

    def one(path: Any, leaf: Any) -> Any:
        names = [each.key for each in path if isinstance(each, jax.tree_util.DictKey)]
        gate_of_input = names[-3:-2] == ["cell"] and names[-2].startswith("i")
        return leaf.at[-1].set(0.0) if gate_of_input and names[-1] == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(one, tree)


@dataclass(frozen=True)
class NotHearingRewards(Passing):
    """An agent that is shown the last reward, by weights of 0."""

    def init(self, key: Any, spec: Any) -> Any:
        return without_weights_of_last_reward(self.agent.init(key, spec))

    def learn(self, state: Any, key: Any, rollout: Any, rescore: Any) -> Any:
        state, metrics = self.agent.learn(state, key, rollout, rescore)
        return without_weights_of_last_reward(state), metrics


def learner_of(case: Case) -> Any:
    return NotHearingRewards(case.agent) if setting(case.agent, "sees_last") else case.agent


def trained(case: Case, pay: Pay, on_host: bool = False, twist: Any = None) -> tuple[Any, Any]:
    """Return (the agent's state, metrics) after a few iterations from the same start."""
    agent = learner_of(case)
    start, chunk = programs(case.env, agent, ITERATIONS)
    training = pay.given_to(start(jax.random.key(0)))
    if twist is not None:
        learner = training.learner
        training = replace(training, learner=replace(learner, agent=twist(learner.agent)))
    if on_host:
        chunk = partial(host_loop.chunk_on_host, case.env, agent, PaysStreams(), ITERATIONS)
    training, metrics = chunk(training)
    return training.learner.agent, metrics


def same(one: Any, other: Any, but: tuple[str, ...] = (), **tolerance: float) -> None:
    """Raise AssertionError unless all leaves are equal, but for those with `but` in their path."""
    one, other = numbers(one), numbers(other)
    assert one.keys() == other.keys()
    for path in one:
        if not any(each in path for each in but):
            np.testing.assert_allclose(
                one[path], other[path], err_msg=path, **{"rtol": 0, "atol": 0, **tolerance}
            )


# A replay keeps the two streams apart, as it should.
KEPT_APART = (".data.reward", ".data.bonus")
NOBODY = Pay(reward=(1.0, 0.0))
TOGETHER = Pay(reward=(1.0, SCALE))


def with_bonus(agent: Any) -> Pay:
    """Return the second stream as a bonus; what the agent is not to ask for is something else."""
    paid, other = (0.0, 1.0), (2.0, 4.0)
    if setting(agent, "bonus_at") == "replay":
        return Pay(reward=(1.0, 0.0), live=other, again=paid)
    return Pay(reward=(1.0, 0.0), live=paid, again=other)


def check_the_sum(case: Case, on_host: bool = False, learner: Any = None) -> None:
    """Raise unless r with f trains as r + f, to the bit, and otherwise than r alone."""
    heard = case if learner is None else Case(learner, case.env)
    apart, _ = trained(heard, with_bonus(case.agent), on_host=on_host)
    together, _ = trained(case, TOGETHER, on_host=on_host)
    same(apart, together, but=KEPT_APART)
    alone, _ = trained(case, NOBODY, on_host=on_host)
    with pytest.raises(AssertionError):
        same(apart, alone, but=KEPT_APART)


@pytest.mark.parametrize("name", ONE_HEAD)
def test_reward_with_bonus_trains_as_their_sum(name):
    case = CASES[name]
    check_the_sum(case)
    if setting(case.agent, "bonus_at") == "replay":
        # What cannot be replayed stays what it was paid when it was new.
        kept, _ = trained(case, Pay(reward=(1.0, 0.0), live=(0.0, 1.0)))
        same(kept, trained(case, TOGETHER)[0], but=KEPT_APART)
    if name in ON_HOST:
        check_the_sum(case, on_host=True)
        # Other programs, in which sums of several numbers are added up in another order.
        device, host = (
            trained(case, with_bonus(case.agent), on_host=each) for each in (False, True)
        )
        same(device, host, rtol=1e-5, atol=1e-6)


def exchanged(state: Any) -> Any:
    """Return an agent's state with its two critics, or the two outputs of its value head, swapped.

    What a critic has learned is of its stream's size, which is twice as large for one, and half as
    large for the other: the scales of the targets alone know it.
    """
    if hasattr(state, "bonus_critic"):
        return replace(state, critic=state.bonus_critic, bonus_critic=state.critic)

    def one(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        return leaf[..., ::-1] if "['value']" in name or name in SCALES else leaf

    return jax.tree_util.tree_map_with_path(one, state)


SCALES = (".scale.mean", ".scale.std")


def in_units(state: Any, first: float, second: float) -> Any:
    """Return the state with the scales of the two streams' targets divided by these numbers."""
    if hasattr(state, "bonus_critic"):
        first_critic, second_critic = (
            replace(
                critic,
                scale=replace(
                    critic.scale, mean=critic.scale.mean / unit, std=critic.scale.std / unit
                ),
            )
            for critic, unit in ((state.critic, first), (state.bonus_critic, second))
        )
        return replace(state, critic=first_critic, bonus_critic=second_critic)
    units = jnp.asarray([first, second])
    scale = state.scale
    return replace(state, scale=replace(scale, mean=scale.mean / units, std=scale.std / units))


@pytest.mark.parametrize("name", TWO_HEADS)
def test_with_two_heads_reward_and_bonus_can_be_exchanged(name):
    """A = A_r + ½ A_f is A of reward ½ f and bonus 2 r."""
    case = CASES[name]
    one, _ = trained(case, Pay(reward=(1.0, 0.0), live=(0.0, 1.0), again=(2.0, 4.0)))
    other, _ = trained(
        case,
        Pay(reward=(0.0, SCALE), live=(1.0 / SCALE, 0.0), again=(2.0, 4.0)),
        twist=exchanged,
    )
    other = in_units(exchanged(other), 1.0 / SCALE, SCALE)
    same(one, other, but=KEPT_APART)
    alone, _ = trained(case, Pay(reward=(1.0, 0.0)))
    with pytest.raises(AssertionError):
        same(one, alone, but=KEPT_APART)


@dataclass(frozen=True)
class Deaf(Passing):
    """A mutant: an agent that never hears of the bonus."""

    def learn(self, state: Any, key: Any, rollout: Any, rescore: Any) -> Any:
        silent = dataclasses.replace(rollout, bonus=jnp.zeros_like(rollout.bonus))
        return self.agent.learn(state, key, silent, lambda key, rows: jnp.zeros_like(rows.reward))


@pytest.mark.parametrize("name", ["DQN", "REINFORCE", "TabularQ"])
def test_mutant_deaf_to_the_bonus_is_caught(name):
    case = next(case for each, case in CASES.items() if each.split(",")[0] == name)
    with pytest.raises(AssertionError):
        check_the_sum(case, learner=Deaf(case.agent))


@pytest.mark.parametrize(
    "name", [name for name in CASES if setting(CASES[name].agent, "sees_last")]
)
def test_the_last_reward_that_a_memory_is_shown_is_without_the_bonus(name):
    """However large the bonus, the learner's inputs and values of successors stay as they were."""
    case = CASES[name]
    settings = getattr(case.agent, "base", case.agent)
    start, _ = programs(case.env, case.agent, ITERATIONS)
    training = NOBODY.given_to(start(jax.random.key(0)))
    begun = training.learner.agent
    # the first value heads say 0 whatever they are shown
    state = replace(begun, params=jax.tree.map(lambda leaf: leaf + 0.1, begun.params))
    learner = replace(training.learner, agent=state)
    collect = jax.jit(partial(loop.collect_on_device, case.env, case.agent, learner))
    actor, _ = collect(training.actor)
    _, rollout = collect(actor)
    assert (rollout.carry["last"] != 0).any()  # in the midst of episodes
    shown = rollout.extras["last_reward"]
    before = np.where(rollout.first[1:], 0.0, rollout.reward[:-1])
    np.testing.assert_array_equal(np.where(rollout.first[1:], 0.0, shown[1:]), before)

    @jax.jit
    def told(rollout: Any) -> Any:
        return (
            unrolled.inputs_of(settings, state, rollout),
            unrolled.next_values(settings, state, rollout),
        )

    loud = replace(rollout, bonus=jnp.full_like(rollout.bonus, 100.0))
    same(told(rollout), told(loud))
    with pytest.raises(AssertionError):
        same(told(rollout), told(replace(rollout, reward=loud.bonus)))
