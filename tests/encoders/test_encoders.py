"""What a bonus sees: against plain NumPy, and what learns, drifts or is not known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import DQN, TRPO
from explorax.bonuses import VIME, NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.encoders import AgentLatent, InverseEncoder, RandomEncoder, Raw
from explorax.encoders.encoder import action_code
from explorax.envs.mountain_car import MountainCar
from explorax.envs.task import Batched
from explorax.ops import moments

STEPS, ENVS = 10, 2
SPEC = Spec(obs=Box((2, 2)), action=Discrete(3), num_envs=ENVS)
LATENT = Spec(obs=Box((2,)), action=Discrete(3), num_envs=ENVS, latent=Box((4,)))


def experience(seed=0, spec=SPEC, steps=STEPS):
    rng = np.random.default_rng(seed)
    shape = (steps, spec.num_envs)
    done = rng.random(shape) < 0.2
    obs = rng.normal(2.0, 3.0, (steps + 1, spec.num_envs, *spec.obs.shape)).astype(np.float32)
    extras = ()
    if spec.latent is not None:
        latent = rng.normal(1.0, 2.0, (*shape, *spec.latent.shape)).astype(np.float32)
        extras = {"latent": jnp.asarray(latent)}
    zeros = jnp.zeros(shape)
    return Rollout(
        obs=jnp.asarray(obs[:-1]),
        action=jnp.asarray(rng.integers(0, 3, shape), jnp.int32),
        reward=zeros,
        next_obs=jnp.asarray(obs[1:]),
        terminated=jnp.asarray(done),
        truncated=jnp.zeros(shape, bool),
        first=jnp.zeros(shape, bool),
        bonus=zeros,
        extras=extras,
    )


def updated(encoder, *rollouts, spec=SPEC):
    state = jax.jit(partial(encoder.init, spec=spec))(jax.random.key(0))
    metrics = {}
    for index, rollout in enumerate(rollouts):
        state, metrics = jax.jit(encoder.update)(state, jax.random.key(index), rollout)
    return state, metrics


def scaled(rows, seen):
    """Rows in deviations of everything in `seen`, clipped at 5."""
    flat = seen.reshape(-1, *rows.shape[2:])
    return np.clip((rows - flat.mean(0)) / flat.std(0), -5, 5)


def test_raw_is_the_observation_in_deviations_of_the_successors_so_far():
    one, two = experience(0), experience(1)
    state, _ = updated(Raw(), one)
    pairs = jax.jit(Raw().pairs)(state, two)
    seen = np.asarray(one.next_obs)
    np.testing.assert_allclose(
        pairs.before,
        scaled(np.asarray(two.obs), seen).reshape(STEPS, ENVS, 4),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        pairs.after,
        scaled(np.asarray(two.next_obs), seen).reshape(STEPS, ENVS, 4),
        rtol=1e-4,
        atol=1e-5,
    )
    assert pairs.known.all()
    plain = jax.jit(Raw(standardize=False).pairs)(state, two)
    np.testing.assert_array_equal(plain.before, two.obs.reshape(STEPS, ENVS, 4))


def test_random_encoder_is_a_relu_network_that_never_changes():
    encoder = RandomEncoder(features=3, hidden=(5,))
    first, _ = updated(encoder)
    state, _ = updated(encoder, experience(0), experience(1))
    for one, other in zip(
        jax.tree.leaves(first.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    rollout = experience(2)
    seen = np.concatenate([np.asarray(experience(n).next_obs) for n in (0, 1)])
    layers = {name: jax.tree.map(np.asarray, of) for name, of in state.params["params"].items()}
    x = scaled(np.asarray(rollout.next_obs), seen).reshape(-1, 4)
    hidden = np.maximum(x @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"], 0)
    want = hidden @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]
    pairs = jax.jit(encoder.pairs)(state, rollout)
    np.testing.assert_allclose(pairs.after.reshape(-1, 3), want, rtol=1e-3, atol=1e-4)
    # rows in another order, as a replay has them, have the same features
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[::-1], rollout)
    again = jax.jit(encoder.pairs)(state, replace(rows, extras=(), carry=()))
    np.testing.assert_allclose(again.after[::-1], pairs.after.reshape(-1, 3), rtol=1e-5, atol=1e-5)


def acted_walk(seed, steps=64):
    """A world of four numbers: the action moves the first, the others are noise."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 3, (steps, ENVS))
    before = rng.normal(size=(steps, ENVS, 4)).astype(np.float32)
    after = rng.normal(size=(steps, ENVS, 4)).astype(np.float32)
    after[..., 0] = before[..., 0] + action - 1
    rollout = experience(seed, Spec(Box((4,)), Discrete(3), ENVS), steps)
    return replace(
        rollout,
        obs=jnp.asarray(before),
        next_obs=jnp.asarray(after),
        action=jnp.asarray(action, jnp.int32),
    )


def test_inverse_encoder_learns_to_see_what_actions_move_and_not_noise():
    spec = Spec(Box((4,)), Discrete(3), ENVS)
    encoder = InverseEncoder(
        features=4, hidden=(16,), learning_rate=1e-2, batch_size=64, updates_per_step=0.25
    )
    state, metrics = updated(encoder, *map(acted_walk, range(40)), spec=spec)
    chance = np.log(3)
    assert metrics["inverse_loss"] < 0.35 * chance
    rollout = acted_walk(99)

    def moved_by(dimension):
        """How far the features go when one number of the observation does."""
        other = replace(rollout, next_obs=rollout.next_obs.at[..., dimension].add(1.0))
        one, two = (jax.jit(encoder.pairs)(state, each).after for each in (rollout, other))
        return float(jnp.abs(one - two).mean())

    assert moved_by(0) > 3 * max(moved_by(dimension) for dimension in (1, 2, 3))


def test_inverse_loss_is_cross_entropy_or_squared_error():
    rng = np.random.default_rng(0)
    before, after = (jnp.asarray(rng.normal(size=(6, 4)), jnp.float32) for _ in range(2))
    for space in (Discrete(3), Box((2,))):
        encoder = InverseEncoder(features=3, hidden=(5,), standardize=False)
        spec = Spec(Box((4,)), space, ENVS)
        params = updated(encoder, spec=spec)[0].trained.params
        action = (
            jnp.asarray(rng.integers(0, 3, 6), jnp.int32)
            if isinstance(space, Discrete)
            else jnp.asarray(rng.normal(0, 2, (6, 2)), jnp.float32)
        )
        rows = replace(
            jax.tree.map(lambda leaf: leaf.reshape(-1)[:6], experience(spec=LATENT)),
            obs=before,
            next_obs=after,
            action=action,
        )
        seen = moments.empty((4,))

        def loss_of(params, rows, encoder=encoder, seen=seen):
            return encoder.inverse_loss(params, *encoder.encoded(params, seen, rows), rows)

        loss = jax.jit(loss_of)(params, rows)
        plain = jax.tree.map(np.asarray, params)

        def through(layers, x, names):
            for name in names[:-1]:
                x = np.maximum(x @ layers[name]["kernel"] + layers[name]["bias"], 0)
            return x @ layers[names[-1]]["kernel"] + layers[names[-1]]["bias"]

        both = np.concatenate(
            [
                through(plain["encoder"]["params"], np.asarray(x), ("Dense_0", "Dense_1"))
                for x in (before, after)
            ],
            -1,
        )
        out = through(plain["inverse"]["params"], both, ("Dense_0", "output"))
        if isinstance(space, Discrete):
            shifted = np.exp(out - out.max(-1, keepdims=True))
            log_p = np.log(shifted / shifted.sum(-1, keepdims=True))
            want = -log_p[np.arange(6), np.asarray(action)].mean()
        else:
            want = np.square(out - np.clip(action, -1, 1)).mean()
        np.testing.assert_allclose(loss, want, rtol=1e-4)


def test_agent_latent_pairs_each_step_with_the_next_of_its_episode():
    rollout = experience(3, LATENT)
    state, _ = updated(AgentLatent(), experience(4, LATENT), spec=LATENT)
    pairs = jax.jit(AgentLatent().pairs)(state, rollout)
    z = scaled(
        np.asarray(rollout.extras["latent"]), np.asarray(experience(4, LATENT).extras["latent"])
    )
    known = np.zeros((STEPS, ENVS), bool)
    for t in range(STEPS):
        for env in range(ENVS):
            np.testing.assert_allclose(pairs.before[t, env], z[t, env], rtol=1e-4, atol=1e-5)
            if t + 1 < STEPS and not rollout.terminated[t, env]:
                known[t, env] = True
                np.testing.assert_allclose(pairs.after[t, env], z[t + 1, env], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(pairs.known, known)
    assert rollout.terminated.any() and not AgentLatent().replayable


def test_moments_of_a_drifting_latent_follow_it():
    encoder, still = AgentLatent(horizon=200), AgentLatent(horizon=10**9)
    rollouts = [experience(n, LATENT, 50) for n in range(20)]
    moved = [
        replace(each, extras={"latent": each.extras["latent"] + 10.0 * (index >= 10)})
        for index, each in enumerate(rollouts)
    ]
    after, slow = (updated(each, *moved, spec=LATENT)[0] for each in (encoder, still))
    np.testing.assert_allclose(after.mean, 11.0, atol=0.6)
    np.testing.assert_allclose(slow.mean, 6.0, atol=0.6)
    np.testing.assert_allclose(np.sqrt(after.squares / after.count), 2.0, atol=0.7)


def test_an_agent_without_a_latent_is_refused_with_the_cure():
    with pytest.raises(Incompatible, match="MPO, SoftQ, DQN, EnsembleDQN, A2C, PPO, UNREAL, with"):
        VIME(latent=AgentLatent()).init(jax.random.key(0), SPEC)


def test_rollouts_of_one_step_have_no_latent_successors_and_are_refused():
    agent, env = DQN(hidden=(8,), rollout_length=1), Batched(MountainCar(), 3)
    with pytest.raises(Incompatible, match="rollout_length of 2 or more"):
        jax.eval_shape(
            partial(loop.start, env, agent, VIME(latent=AgentLatent())), jax.random.key(0)
        )


@pytest.mark.parametrize(
    ("agent", "size"),
    [
        (TRPO(rollout_length=20, hidden=(8,)), 8),
        (TRPO(rollout_length=20, hidden=()), 2),
        (DQN(hidden=(8, 6), rollout_length=10), 6),
    ],
)
def test_the_loop_tells_a_bonus_what_the_agents_latent_is_like(agent, size):
    env, told = Batched(MountainCar(), 3), []

    class Listening(NoBonus):
        def init(self, key, spec):
            told.append(spec.latent)
            return ()

    training = jax.jit(partial(loop.start, env, agent, Listening()))(jax.random.key(0))
    assert told[0].shape == (size,)
    _, rollout = jax.jit(partial(loop.collect_on_device, env, agent))(
        training.learner, training.actor
    )
    assert rollout.extras["latent"].shape == (agent.rollout_length, 3, size)


def test_action_codes():
    np.testing.assert_array_equal(
        action_code(jnp.asarray([[2], [0]], jnp.int32), (2, 1), 3), [[[0, 0, 1]], [[1, 0, 0]]]
    )
    np.testing.assert_array_equal(
        action_code(jnp.asarray([[[3.0], [-0.5]]]), (1,), 2), [[1.0, -0.5]]
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Raw(clip=0.0), "clip"),
        (lambda: RandomEncoder(features=0), "features"),
        (lambda: InverseEncoder(batch_size=0), "batch_size"),
        (lambda: InverseEncoder(hidden=(0,)), "hidden"),
        (lambda: AgentLatent(horizon=0), "horizon"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(InvalidSetting, match=words):
        make()


def test_observations_of_nothing_are_refused():
    with pytest.raises(Incompatible, match="nothing to encode"):
        RandomEncoder().init(jax.random.key(0), Spec(Box((0,)), Discrete(2), 1))
