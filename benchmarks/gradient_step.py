"""One gradient step of MPO and of soft Q-learning beside one of a plain actor-critic.

All have the same networks: policy and critic of three layers of 256, 24 observations, 6 actions, as
the suite's walker has, and 256 transitions a step. The plain one is a deterministic policy
gradient: a critic fitted to r + γ Q'(s', π'(s')), a policy that climbs Q(s, π(s)), Adam for both,
targets copied every 100 steps.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

from explorax.agents import MPO, SoftQ, action_values
from explorax.agents.mpo_critic import Sequences
from explorax.agents.soft_q import Batch
from explorax.core.protocols import Box, Spec

NETS: dict[str, Any] = dict(hidden=(256, 256, 256), activation="relu", batch_size=256)
OBS, ACTION, STEPS, ROUNDS = 24, Box((6,)), 20, 9
MPOS = {
    "MPO": MPO(**NETS, action_samples=20),
    "MPO, n-step": MPO(**NETS, action_samples=20, evaluation="n_step"),
    "MPO, parametric": MPO(**NETS, action_samples=20, variant="parametric"),
}
SOFTS = {"SoftQ, 16 + 16 particles, 16 samples": SoftQ(**NETS)}


def numbers(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(0, 0.5, shape), jnp.float32)


def mpo_step(agent: MPO) -> tuple[Callable[..., Any], Any]:
    lead = (agent.sequence_length, agent.batch_size // agent.sequence_length)
    never = jnp.zeros(lead, bool)
    sequences = Sequences(
        numbers(*lead, OBS), numbers(*lead, OBS), numbers(*lead, 6), numbers(*lead) - 5,
        numbers(*lead), never, never, ~never,
    )  # fmt: skip
    state = agent.init(jax.random.key(0), Spec(Box((OBS,)), ACTION, 1))
    learned = (
        state.params, state.multipliers, state.target, state.optimizer, state.gradient_steps
    )  # fmt: skip
    return lambda learned, key: agent._update(ACTION, learned, sequences, key), learned


def soft_step(agent: SoftQ) -> tuple[Callable[..., Any], Any]:
    rows = agent.batch_size
    batch = Batch(
        numbers(rows, OBS), numbers(rows, 6), numbers(rows), numbers(rows, OBS),
        jnp.zeros(rows, bool), jnp.ones(rows, bool),
    )  # fmt: skip
    state = agent.init(jax.random.key(0), Spec(Box((OBS,)), ACTION, 1))
    learned = (state.params, state.target, state.optimizer, state.gradient_steps)
    alpha = jnp.float32(agent.temperature)
    return lambda learned, key: agent._update(ACTION, alpha, learned, batch, key), learned


def plain_step() -> tuple[Callable[..., Any], Any]:
    settings = SoftQ(**NETS)
    critic = action_values.network(settings, ACTION)
    policy = critic.clone(outputs=6)
    optimizer = optax.adam(3e-4)
    features = numbers(1, OBS)
    params: Any = {
        "policy": policy.init(jax.random.key(0), features),
        "critic": critic.init(jax.random.key(1), numbers(1, OBS + 6)),
    }
    rows = settings.batch_size
    obs, action, reward, next_obs = (
        numbers(rows, OBS), numbers(rows, 6), numbers(rows), numbers(rows, OBS)
    )  # fmt: skip

    def q(critic_params: Any, obs: Any, action: Any) -> jax.Array:
        return action_values.q_of(settings, ACTION, critic_params, obs, action)

    def act(params: Any, obs: Any) -> Any:
        return jnp.tanh(policy.run(params["policy"], obs)[0])

    def step(learned: Any, key: Any) -> tuple[Any, Any]:
        params, target, memory, count = learned
        targets = reward + 0.99 * q(target["critic"], next_obs, act(target, next_obs))

        def loss(learning: Any) -> jax.Array:
            error = q(learning["critic"], obs, action) - targets
            return (
                0.5 * jnp.square(error).mean() - q(params["critic"], obs, act(learning, obs)).mean()
            )

        value, gradient = jax.value_and_grad(loss)(params)
        change, memory = optimizer.update(gradient, memory, params)
        params: Any = optax.apply_updates(params, change)
        due = (count + 1) % 100 == 0
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), params, target)
        return (params, target, memory, count + 1), {"loss": value}

    return step, (params, params, optimizer.init(params), jnp.int32(0))


def main() -> None:
    parts = {
        "plain actor-critic": plain_step(),
        **{name: mpo_step(agent) for name, agent in MPOS.items()},
        **{name: soft_step(agent) for name, agent in SOFTS.items()},
    }
    programs = {}
    for name, (step, learned) in parts.items():
        scan = jax.jit(partial(jax.lax.scan, step))
        keys = jax.random.split(jax.random.key(0), STEPS)
        programs[name] = partial(scan.lower(learned, keys).compile(), learned, keys)
        jax.block_until_ready(programs[name]())
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine hits all of them
        for name, program in programs.items():
            begun = time.perf_counter()
            jax.block_until_ready(program())
            taken[name].append((time.perf_counter() - begun) / STEPS)
    plain = np.asarray(taken["plain actor-critic"])
    common.write(
        "gradient_step",
        "One gradient step: batch 256, three layers of 256, 20 action samples",
        ["agent", "ms", "time / plain actor-critic"],
        [
            [name, f"{1e3 * np.median(each):.2f}", f"{np.median(np.asarray(each) / plain):.2f}"]
            for name, each in taken.items()
        ],
        f"Medians of {ROUNDS} rounds of {STEPS} steps in one program, the ratio taken round by "
        "round.",
    )


if __name__ == "__main__":
    main()
