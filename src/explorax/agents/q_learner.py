"""What DQN and EnsembleDQN share: the replay, the targets, and one step down the gradient.

The functions take `DQN`'s settings. `learn` is told by `update` what is learned from a batch: one
network calls `stepped` once, an ensemble once for each of its members. What a network is worth is a
function (params, features) -> Q(s, ·), so that an ensemble can add a prior that is not learned.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from explorax.agents import experience, sight
from explorax.behaviors.behavior import Behavior
from explorax.core.errors import Incompatible
from explorax.core.protocols import Discrete, Key, Metrics, Rescore, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.nets.mlp import MLP
from explorax.ops import finite, replay
from explorax.ops import moments as running
from explorax.ops.q_learning import n_step_sums, q_targets


class Settings(experience.Settings, sight.Settings, Protocol):
    """The settings of DQN that are read here."""

    @property
    def behavior(self) -> Behavior: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...
    @property
    def updates_per_learn(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def warmup_env_steps(self) -> int: ...
    @property
    def discount(self) -> float: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def double(self) -> bool: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def loss(self) -> str: ...
    @property
    def max_grad_norm(self) -> float | None: ...
    @property
    def target_update(self) -> str: ...
    @property
    def target_copy_every(self) -> int: ...
    @property
    def polyak_rate(self) -> float: ...
    @property
    def optimism(self) -> float: ...
    @property
    def optimism_power(self) -> float: ...
    @property
    def max_states(self) -> int: ...


@pytree
class Counts:
    """How often each action was taken in each state, of an agent that is optimistic."""

    table: Any  # int32 [S, A]
    numbers: finite.Numbering  # of states


@pytree
class State:
    """What is learned with. Of K networks the leaves of the first three are [K, ...]."""

    params: Any
    target_params: Any
    optimizer: Any
    ring: replay.Ring  # of Rollout rows [E, ...], bonus included; of images, see `agents.frames`
    moments: running.Moments  # of observations; of none where they are images
    env_steps: Any  # int32 [], of all E environments
    gradient_steps: Any  # int32 []
    counts: Any = ()  # Counts, with `optimism`
    priors: Any = ()  # weights that are never learned, of agents that have some


@pytree
class Batch:
    """Rows to regress on, leaves [B, ...]."""

    features: Any  # of the observation in which `action` was taken
    action: Any
    reward: Any  # the sum over the steps to `next_features`
    discount: Any  # of the value of `next_features`; 0 after a terminal step
    next_features: Any
    next_optimism: Any  # [B, A], what is added to the values of `next_features`; () for nothing
    known: Any  # whether the row can be learned from
    extras: Any  # what else was kept of the step in which `action` was taken


QFunction = Callable[[Any, jax.Array], jax.Array]
Learned = tuple[Any, Any, Any, jax.Array]  # params, target_params, optimizer, gradient_steps


def network(settings: Settings, params: Any) -> MLP:
    """Return the network whose weights `params` are, of one network or of several."""
    num_actions = params["params"]["output"]["bias"].shape[-1]
    return MLP(
        settings.hidden,
        num_actions,
        settings.activation,
        encoder=sight.encoder_of(settings, params),
    )


def network_for(settings: Settings, agent: str, spec: Spec) -> MLP:
    """Return a network of the actions of `spec`.

    Raises Incompatible for continuous actions and for a behavior that needs counts.
    """
    if not isinstance(spec.action, Discrete):
        raise Incompatible(
            f"{agent} chooses among discrete actions, and these are continuous: {spec.action}. "
            "Agents that take continuous actions: TRPO, REINFORCE, ERWR, MPO, SoftQ, A2C, PPO."
        )
    if settings.behavior.needs_counts:
        raise Incompatible(
            f"{agent} does not count how often each action was taken in a state, and "
            f"{settings.behavior!r} needs that. An agent that counts: TabularQ."
        )
    encoder = sight.encoder_for(settings, spec)
    return MLP(settings.hidden, spec.action.n, settings.activation, encoder=encoder)


def start(
    settings: Settings,
    spec: Spec,
    params: Any,
    optimizer: Any,
    priors: Any = (),
    extras: Mapping[str, Any] | None = None,
) -> State:
    """Return the state before the first step; `extras` are what the replay keeps of a step beside
    what all steps have. Raises Incompatible where the replay holds less than a rollout or window.
    """
    steps = experience.steps_kept(settings, spec, settings.n_steps, "rollout_length", "n_steps")
    actions = params["params"]["output"]["bias"].shape[-1]
    return State(
        params=params,
        target_params=jax.tree.map(jnp.copy, params),
        optimizer=optimizer,
        ring=replay.empty(experience.row(spec, extras), steps),
        moments=sight.moments(spec),
        env_steps=jnp.int32(0),
        gradient_steps=jnp.int32(0),
        counts=_no_counts(settings, spec, actions) if settings.optimism > 0 else (),
        priors=priors,
    )


def _no_counts(settings: Settings, spec: Spec, actions: int) -> Counts:
    cure = "Without optimism=... an agent needs no table; a bonus may look at any observations."
    owner = f"An agent with optimism={settings.optimism}"
    size = finite.table_size(spec.obs, owner, settings.max_states, cure)
    return Counts(jnp.zeros((size, actions), jnp.int32), finite.numbering(spec.obs))


def _places(counts: Counts, obs: jax.Array, lead: tuple[int, ...]) -> jax.Array:
    """Return the numbers, int32 [*lead], of observations [*lead, ...]."""
    return finite.number_of(counts.numbers, obs.reshape(*lead, -1))


def optimism(settings: Settings, state: State, obs: jax.Array) -> jax.Array:
    """Return optimism / (n(s, ·) + 1)^optimism_power [N, A] of observations [N, ...].

    Rashid et al. 2020, OPIQ (arXiv 2002.12174): a network's values of what was never tried are not
    optimistic by themselves, whatever a bonus pays for what was. For a state with counts.
    """
    tried = state.counts.table[_places(state.counts, obs, obs.shape[:1])]
    return settings.optimism / (tried.astype(jnp.float32) + 1.0) ** settings.optimism_power


def _counted(counts: Any, rollout: Rollout) -> Any:
    """Return the counts with the actions of a rollout [T, E] added."""
    if isinstance(counts, tuple):
        return counts
    place = _places(counts, rollout.obs, rollout.reward.shape)
    return replace(counts, table=counts.table.at[place, rollout.action].add(1))


def optimizer_of(settings: Settings) -> optax.GradientTransformation:
    """Return Adam, behind a bound on the whole gradient's norm where one is set."""
    adam = optax.adam(settings.learning_rate)
    if settings.max_grad_norm is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(settings.max_grad_norm), adam)


def seen(settings: Settings, state: State, obs: jax.Array) -> jax.Array:
    """Return what networks see [N, ...] of observations [N, ...]."""
    return sight.seen(settings, state.moments, state.params, obs)


def learn(
    settings: Settings,
    state: State,
    key: Key,
    rollout: Rollout,
    rescore: Rescore,
    update: Callable[[Learned, Batch], tuple[Learned, Metrics]],
    extras: Any = (),
) -> tuple[State, Metrics]:
    """Return (state, metrics) after storing the rollout, with `extras`, and `updates_per_learn`
    calls of `update`.

    Metrics are NaN while the replay holds less than `warmup_env_steps`.
    """
    state = experience.stored(settings, state, rollout, extras)
    state = replace(state, counts=_counted(state.counts, rollout))
    batches = _batches(settings, state, key, rollout, rescore)
    begin = (state.params, state.target_params, state.optimizer, state.gradient_steps)
    filled = experience.filled(state.ring, rollout, settings.n_steps)
    ready = (state.env_steps >= settings.warmup_env_steps) & filled
    after, metrics = experience.trained(update, begin, batches, ready)
    params, target_params, optimizer, gradient_steps = after
    return replace(
        state,
        params=params,
        target_params=target_params,
        optimizer=optimizer,
        gradient_steps=gradient_steps,
    ), metrics


def _batches(
    settings: Settings, state: State, key: Key, rollout: Rollout, rescore: Rescore
) -> Batch:
    """Return all batches of one `learn`, leaves [U, B, ...]; `rollout` was the last stored."""
    key_draw, key_rescore = jax.random.split(key)
    drawn = settings.updates_per_learn * settings.batch_size
    windows = experience.windows(state.ring, key_draw, drawn, settings.n_steps, rollout)
    paid = experience.total_reward(settings, key_rescore, windows, rescore)
    windows, known = experience.learnable(state.ring, windows)
    reward, discount, last = n_step_sums(
        paid, windows.terminated, windows.truncated, settings.discount
    )
    next_obs = windows.next_obs[jnp.arange(drawn), last]
    counting = not isinstance(state.counts, tuple)
    batch = Batch(
        features=seen(settings, state, windows.obs[:, 0]),
        action=windows.action[:, 0],
        reward=reward,
        discount=discount,
        next_features=seen(settings, state, next_obs),
        next_optimism=optimism(settings, state, next_obs) if counting else (),
        known=known[:, 0],
        extras=jax.tree.map(lambda leaf: leaf[:, 0], windows.extras),
    )
    shape = (settings.updates_per_learn, settings.batch_size)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), batch)


def stepped(
    settings: Settings, q: QFunction, learned: Learned, batch: Batch
) -> tuple[Learned, Metrics]:
    """Return (what one network has learned, metrics) after one gradient step on its Q, `q`."""
    params, target_params, optimizer, gradient_steps = learned
    online, target = q(params, batch.next_features), q(target_params, batch.next_features)
    if not isinstance(batch.next_optimism, tuple):
        online, target = online + batch.next_optimism, target + batch.next_optimism
    targets = q_targets(batch.reward, batch.discount, online, target, settings.double)

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        values = q(params, batch.features)
        value = jnp.take_along_axis(values, batch.action[:, None], axis=1)[:, 0]
        each = optax.huber_loss if settings.loss == "huber" else optax.l2_loss
        return jnp.where(batch.known, each(value, targets), 0.0).mean(), value.mean()

    (loss_mean, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    step, optimizer = optimizer_of(settings).update(gradient, optimizer, params)
    params = optax.apply_updates(params, step)
    gradient_steps = gradient_steps + 1
    target_params = _followed(settings, target_params, params, gradient_steps)
    metrics = {
        "loss": loss_mean,
        "q_mean": q_mean,
        "target_mean": targets.mean(),
        "gradient_norm": optax.tree.norm(gradient),
    }
    return (params, target_params, optimizer, gradient_steps), metrics


def _followed(
    settings: Settings, target_params: Any, params: Any, gradient_steps: jax.Array
) -> Any:
    """Return the target network's parameters after gradient step number `gradient_steps`."""
    if settings.target_update == "polyak":
        return optax.incremental_update(params, target_params, settings.polyak_rate)
    due = gradient_steps % settings.target_copy_every == 0
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), params, target_params)
