"""The two drivers are one way to train: held equal from the start on, over every kind of bonus."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorax.bonuses
from explorax.agents import A2C, TabularQ
from explorax.bonuses import (
    E3B,
    ICM,
    NGU,
    RE3,
    RIDE,
    RND,
    VIME,
    Clip,
    Count,
    Decay,
    Disagreement,
    Episodic,
    HashCount,
    MaxInfo,
    MedianRatio,
    NoBonus,
    PredictionError,
    Product,
    PseudoCount,
    ReturnShare,
    RunningMean,
    RunningStd,
    Scale,
    Sum,
    Surprise,
)
from explorax.core import leaves
from explorax.core.errors import Incompatible
from explorax.core.protocols import Env, Percept, Rollout
from explorax.core.pytree import replace
from explorax.densities import Empirical
from explorax.encoders import AgentLatent, InverseEncoder, RandomEncoder
from explorax.envs.chain import Chain
from explorax.envs.task import Batched
from explorax.posteriors import LastLayer
from explorax.run.config import RunConfig
from explorax.run.drivers import DeviceDriver, HostDriver, State, make_driver
from explorax.run.train import train

MODEL: dict[str, Any] = dict(hidden=(4,), min_pool_size=8, pool_size=64, batch_size=8)
FITTED: dict[str, Any] = dict(hidden=(4,), batch_size=8)
SMALL_RND = RND(4, (4,), (4,), batch_size=8)
CASES = {
    "E3B": E3B(InverseEncoder(4)),
    "E3B of the agent's latent": E3B(AgentLatent()),
    "ICM": ICM(4, (4,), batch_size=8),
    "NGU": NGU(RandomEncoder(4), SMALL_RND, k=2, capacity=20),
    "RE3": RE3(RandomEncoder(4)),
    "RE3 of what the agent encoded": RE3(AgentLatent(of="encoded")),
    "RIDE": RIDE(4, (4,)),
    "RND": SMALL_RND,
    "VIME": VIME(**MODEL),
    "VIME of the agent's latent": VIME(**MODEL, latent=AgentLatent()),
    "Clip": Clip(SMALL_RND, 0.0, 0.1),
    "Count": Count(),
    "Decay": Decay(SMALL_RND, env_steps=100),
    "Disagreement of the agent's latent": Disagreement(AgentLatent(), **FITTED),
    "Episodic": Episodic(SMALL_RND),
    "HashCount": HashCount(bits=4),
    "MaxInfo": MaxInfo(**FITTED),
    "MedianRatio, with the agent's latent": MedianRatio(VIME(**MODEL, latent=AgentLatent())),
    "NoBonus": NoBonus(),
    "PredictionError": PredictionError(**MODEL),
    "Product": Product((SMALL_RND, Count())),
    "PseudoCount": PseudoCount(Empirical()),
    "RunningMean": RunningMean(SMALL_RND),
    "RunningStd": RunningStd(SMALL_RND),
    "ReturnShare": ReturnShare(VIME(model=LastLayer()), warmup=30),
    "Scale": Scale(SMALL_RND, 0.5),
    "Sum, with the agent's latent": Sum((E3B(AgentLatent()), Count())),
    "Surprise": Surprise(**FITTED),
}
ENV = Batched(Chain(5), 3)
ITERATIONS = 3  # of 8 steps, where an episode has 14


@dataclass(frozen=True)
class Thinker:
    """The least that acts, learns from both streams of reward, remembers and tells its latents."""

    rollout_length: int = 8

    def init(self, key: Any, spec: Any) -> Any:
        return {"weights": jax.random.normal(key, (*spec.obs.shape[1:], spec.action.n))}

    def carry(self, spec: Any) -> Any:
        return jnp.zeros((spec.num_envs, 2))

    def act(self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False):
        encoded = percept.obs[:, 0] @ state["weights"]
        carry = jnp.where(percept.first[:, None], 0.0, 0.5 * carry) + jnp.tanh(encoded)
        action = jax.random.categorical(key, encoded).astype(jnp.int32)
        return action, carry, {"latent": carry, "encoded": encoded}

    def learn(self, state: Any, key: Any, rollout: Rollout, rescore: Any) -> Any:
        seen = (rollout.obs[:, :, 0] * (rollout.reward + rollout.bonus)[..., None]).mean((0, 1))
        weights = state["weights"].at[:, 1].add(0.1 * seen)
        return {"weights": weights}, {"largest": jnp.abs(weights).max()}


@dataclass(frozen=True)
class FromPython:
    """An environment in JAX that is stepped from Python, one compiled call at a time."""

    env: Env
    traceable: bool = False

    @property
    def spec(self) -> Any:
        return self.env.spec

    def reset(self, key: Any) -> Any:
        return _called(self.env)[0](key)

    def step(self, state: Any, key: Any, action: Any) -> Any:
        return _called(self.env)[1](state, key, action)

    def draw(self, state: Any, index: int = 0) -> np.ndarray:
        return self.env.draw(state, index)


@cache
def _called(env: Env) -> tuple[Any, Any]:
    return jax.jit(env.reset), jax.jit(env.step)


def drivers(bonus: Any, agent: Any = None) -> tuple[DeviceDriver, HostDriver]:
    """Return both drivers of the same run of two seeds, its three rollouts in one chunk."""
    agent = Thinker() if agent is None else agent
    env_steps = ITERATIONS * agent.rollout_length * ENV.num_envs
    config = RunConfig("chain/5", agent, bonus, env_steps, seeds=2, num_envs=3, log_points=1)
    on_device, on_host = make_driver(config, ENV), make_driver(config, FromPython(ENV))
    assert isinstance(on_device, DeviceDriver) and isinstance(on_host, HostDriver)
    return on_device, on_host


def chunk(driver: DeviceDriver | HostDriver) -> tuple[State, dict[str, np.ndarray]]:
    """Return (state, metrics) after a new run's first chunk."""
    state, metrics = driver.advance(driver.start(), ITERATIONS)
    while metrics is None:
        state, metrics = driver.advance(state, ITERATIONS)
    return state, metrics


def parts(driver: DeviceDriver | HostDriver, state: Any) -> Any:
    """Return all that both drivers have, leaves [S, ...], keys as numbers."""
    if isinstance(driver, HostDriver):
        actors = [replace(training.actor, env=()) for training in state.training]
        actor = jax.tree.map(lambda *leaves: np.stack(leaves), *actors)
    else:
        actor = replace(state.training.actor, env=())
    return as_numbers((driver.learner(state), driver.tally(state), actor))


def as_numbers(tree: Any) -> Any:
    """Return the tree with numbers in place of its keys."""
    return jax.tree.map(
        lambda leaf: (
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ),
        tree,
    )


def compare(one: Any, other: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    paths, structure = jax.tree_util.tree_flatten_with_path(one)
    assert structure == jax.tree.structure(other)
    for (path, a), b in zip(paths, jax.tree.leaves(other), strict=True):
        where = jax.tree_util.keystr(path)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=where)


def test_every_bonus_of_the_catalogue_is_held_equal() -> None:
    assert {type(bonus).__name__ for bonus in CASES.values()} == set(explorax.bonuses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_both_drivers_start_alike(name: str) -> None:
    on_device, on_host = drivers(CASES[name])
    device, host = on_device.start(), on_host.start()
    compare(parts(on_device, device), parts(on_host, host))
    shapes = jax.eval_shape(lambda: on_host.learner(host))
    assert jax.tree.map(leaves.shape_and_dtype, on_device.template.learner) == jax.tree.map(
        leaves.shape_and_dtype, shapes
    )


@pytest.mark.parametrize(
    "bonus",
    [
        CASES["Sum, with the agent's latent"],
        # in one program, since most of the time is spent on compiling it
        pytest.param(Sum(tuple(CASES.values())), id="all at once", marks=pytest.mark.slow),
    ],
)
def test_both_drivers_learn_alike_from_there(bonus: Any) -> None:
    on_device, on_host = drivers(bonus)
    on_device.compile()
    device, told = chunk(on_device)
    host, said = chunk(on_host)
    compare(parts(on_device, device), parts(on_host, host), rtol=2e-4, atol=2e-5)
    compare(told, said, rtol=2e-4, atol=2e-5)


def test_a_restored_seed_goes_on_with_all_that_it_learned_and_opens_new_episodes() -> None:
    _, driver = drivers(CASES["Sum, with the agent's latent"])
    before = driver.advance(driver.start(), 1)[0]  # 8 steps of an episode's 14
    after = driver.from_saved(driver.to_saved(before))
    for one, other in zip(before.training, after.training, strict=True):
        compare(as_numbers(one.learner), as_numbers(other.learner))
        assert one.tally.running_length.tolist() == [8, 8, 8]
        empty = replace(one.tally, running_return=jnp.zeros(3), running_length=jnp.zeros(3))
        compare(empty, other.tally)
        assert not one.actor.percept.first.any() and other.actor.percept.first.all()
        assert one.actor.carry.any() and not other.actor.carry.any()
    obs = [training.actor.percept.obs for training in after.training]
    assert (obs[0].argmax(-1) == 1).all()  # where an episode of the chain begins


def test_an_agents_latent_is_told_where_environments_are_stepped_from_python(
    tmp_path: Path,
) -> None:
    pytest.importorskip("gymnasium")
    bonus = Scale(MedianRatio(VIME(**MODEL, latent=AgentLatent())), 0.001)
    agent = A2C(hidden=(4,))
    config = RunConfig("gymnasium:CartPole-v1", agent, bonus, 400, num_envs=2, film=False)
    path = train(config, tmp_path, progress=False)
    assert "bonus_mean" in (path / "metrics.csv").read_text() and (path / "DONE").exists()


def test_an_agent_without_a_latent_is_refused_by_both_drivers() -> None:
    for driver in (ENV, FromPython(ENV)):
        config = RunConfig(
            "chain/5",
            TabularQ(rollout_length=8),
            CASES["E3B of the agent's latent"],
            1000,
            num_envs=3,
        )
        with pytest.raises(Incompatible, match="this one does not"):
            make_driver(config, driver)
