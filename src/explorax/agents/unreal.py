"""UNREAL: an actor-critic with a memory and auxiliary losses from a replay of what it saw."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import a2c, actor_critic, experience, frames, unrolling
from explorax.agents.a2c import A2C
from explorax.agents.actor_critic import State
from explorax.auxiliaries import PixelControl, RewardPrediction, ValueReplay
from explorax.auxiliaries.auxiliary import About, Auxiliary, Scene
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace
from explorax.core.settings import check_types
from explorax.ops import replay
from explorax.ops.images import is_image

FRAMES = 3  # observations in a row from which reward prediction tells the next reward
BASE = A2C(
    hidden=(256,),
    activation="relu",
    encoder="a3c",
    memory="lstm",
    memory_size=256,
    sees_last=True,
    entropy_coef=1e-3,
)


@dataclass(frozen=True)
class UNREAL:
    """Unsupervised reinforcement and auxiliary learning (Jaderberg et al. 2016, arXiv 1611.05397).

    L = L_base + Σ λ_i L_i (Eq. 2). `base` is an A2C, in the paper one with an LSTM that sees the
    last action and reward; `auxiliaries` are losses on what a replay of recent steps holds, each
    with its own weight, and an agent without any is its base. They share one draw of `windows`
    stretches of `window_length` + 1 steps, over which the network runs once from an empty memory,
    and one draw of as many triples of observations, half of which end in a reward.

    Each frame is kept once, as it came, also where observations are stacks (`agents.frames`).
    Rewards are replayed with the bonus that they got when they were new.

    Differences from the paper: A2C for A3C, one draw for all losses and one optimiser's step for
    their sum at every rollout, and those of A2C.
    """

    base: A2C = BASE
    auxiliaries: tuple[Auxiliary, ...] = (PixelControl(), RewardPrediction(), ValueReplay())
    replay_capacity: int = 20_000  # env steps; 2,000 in each of the paper's environments
    windows: int = 16  # drawn for each gradient step
    window_length: int = 20  # steps

    hands_on = actor_critic.HANDS_ON

    def __post_init__(self) -> None:
        check_types(self)
        for field in ("replay_capacity", "windows", "window_length"):
            require(getattr(self, field) >= 1, self, field, "at least 1")
        require(
            all(hasattr(each, "loss") for each in self.auxiliaries),
            self, "auxiliaries", "a tuple such as (PixelControl(), ValueReplay()) or ()",
        )  # fmt: skip

    @property
    def rollout_length(self) -> int:
        return self.base.rollout_length

    def init(self, key: Key, spec: Spec) -> State:
        """Return the state before the first step.

        Raises Incompatible where an auxiliary loss is not for these observations or actions, and
        where the replay holds less than a window.
        """
        steps = self.replay_capacity // spec.num_envs
        # with the frames before the first that the stacks of images are put together from
        earlier = spec.obs.stack - 1 if is_image(spec.obs.shape) else 0
        needed = max(max(self.window_length + 1, FRAMES) + earlier, self.rollout_length)
        if self.auxiliaries and steps < needed:
            raise Incompatible(
                f"UNREAL(replay_capacity={self.replay_capacity}) holds {steps} steps of each of "
                f"{spec.num_envs} environments, and needs {needed} of them: a window of "
                f"{self.window_length} + {1 + earlier}, and a rollout of {self.rollout_length}. "
                f"Give more capacity, shorter windows or fewer environments."
            )
        state = self.base.init(key, spec)  # the same that it begins with by itself
        network = actor_critic.network(self.base, state.params)
        latent = network.hidden[-1] if network.memory is None else network.memory_size
        about = About(spec.obs, spec.action, latent, network.hidden[-1])
        heads = tuple(
            each.init(jax.random.fold_in(key, number), about)
            for number, each in enumerate(self.auxiliaries)
        )
        params = {**state.params, "auxiliaries": heads}
        return replace(
            state,
            params=params,
            optimizer=actor_critic.optimizer_of(self.base).init(params),
            replay=_empty(spec, steps) if self.auxiliaries else (),
        )

    def carry(self, spec: Spec) -> Any:
        return self.base.carry(spec)

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Any, Any, Any]:
        """See `actor_critic.act`."""
        return self.base.act(state, carry, key, percept, greedy=greedy)

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        base = self.base
        inputs = unrolling.inputs_of(base, state, rollout)
        wanted = unrolling.targets(base, state, rollout)
        state = unrolling.rescaled(state, wanted.value)
        drawn: tuple[Any, ...] = ()
        if self.auxiliaries:
            ring = replay.add(state.replay, _kept(rollout, state.replay))
            state = replace(state, replay=ring)
            drawn = self._draw(ring, key, frames.stack_of(ring, rollout))

        def loss(params: Any) -> tuple[jax.Array, Metrics]:
            total, metrics = a2c.loss(base, state, params, inputs, rollout, wanted)
            if not self.auxiliaries:
                return total, metrics
            more, told = self._auxiliary_loss(state, params, *drawn)
            return total + more, metrics | told

        gradient, metrics = jax.grad(loss, has_aux=True)(state.params)
        params, optimizer = actor_critic.stepped(
            base, state, state.params, state.optimizer, gradient
        )
        state = replace(state, params=params, optimizer=optimizer)
        state, shared = unrolling.finish(base, state, rollout, wanted)
        return state, {**metrics, "gradient_norm": optax.tree.norm(gradient), **shared}

    def _draw(
        self, ring: replay.Ring, key: Key, stack: int
    ) -> tuple[Rollout, Rollout, jax.Array, jax.Array]:
        """Return (windows [L + 1, B], triples [3, B], which triples are known [B], whether there
        are windows [])."""
        key_windows, key_triples = jax.random.split(key)
        length = self.window_length + stack
        rows = replay.sample_windows(ring, key_windows, self.windows, length)
        rows = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), rows)
        triples, known = replay.sample_skewed(
            ring, key_triples, self.windows, FRAMES, ring.data.reward != 0, ~ring.data.first,
            before=stack - 1,
        )  # fmt: skip
        return _whole(rows, stack), _whole(triples, stack), known, ring.count >= length

    def _auxiliary_loss(
        self,
        state: State,
        params: Any,
        rows: Rollout,
        triples: Rollout,
        known: jax.Array,
        full: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Return (Σ λ_i L_i [], metrics by the auxiliaries' names), 0 unless there are windows."""
        scene = self._scene(state, params, rows, triples, known)
        total, metrics = jnp.float32(0.0), {}
        for name, each, own in zip(
            _names(self.auxiliaries), self.auxiliaries, params["auxiliaries"], strict=True
        ):
            loss, told = each.loss(own, scene)
            total = total + each.weight * jnp.where(full, loss, 0.0)
            for word, value in {"loss": loss, **told}.items():
                metrics[f"{name}_{word}"] = jnp.where(full, value, jnp.nan)
        return total, metrics

    def _scene(
        self, state: State, params: Any, rows: Rollout, triples: Rollout, known: jax.Array
    ) -> Scene:
        base = self.base
        network = actor_critic.network(base, params)
        carry = actor_critic.empty_carry(base, self.windows, network.outputs)
        earlier = jnp.concatenate([jnp.zeros_like(rows.reward[:1]), rows.reward[:-1]])
        inputs = unrolling.inputs_from(base, state, rows, earlier, carry)
        said, _ = unrolling.unrolled(
            base, params, inputs, actor_critic.flat_action(state, rows.action)
        )
        seen = actor_critic.seen(base, state, triples.obs)
        if base.bonus_discount is None:
            streams = (rows.reward + base.bonus_scale * rows.bonus)[..., None]
            discounts, episodic = (base.discount,), (True,)
        else:
            streams = jnp.stack([rows.reward, rows.bonus], -1)
            discounts = (base.discount, base.bonus_discount)
            episodic = (True, base.bonus_episodic)
        ends = jnp.asarray(episodic)[None, None]
        return Scene(
            rows=rows,
            newest=rows.obs[..., -state.replay.data.obs.shape[-1] :],
            latent=said.latent,
            encoded=said.encoded,
            value=actor_critic.values(state, said),
            streams=streams,
            ended=rows.terminated[..., None] & ends,
            unknown=rows.truncated[..., None] & ends,
            discounts=discounts,
            std=state.scale.std,
            skewed=triples,
            skewed_encoded=network.encode(params["network"], seen),
            skewed_known=known,
        )


def _empty(spec: Spec, steps: int) -> replay.Ring:
    """Return a replay whose rows have no successor: that of a step is the next row's."""
    return replay.empty(replace(experience.row(spec), next_obs=()), steps)


def _kept(rollout: Rollout, ring: replay.Ring) -> Rollout:
    """Return the rows as they are kept: without a successor, of a stack the newest frame."""
    return frames.newest(replace(rollout, extras=(), carry=()), ring.data.obs.shape[-1])


def _whole(rows: Rollout, stack: int) -> Rollout:
    """Return rows [T, B, ...] with whole stacks from kept ones [k − 1 + T, B, ...]."""
    if stack == 1:
        return rows
    kept, first = rows.obs.swapaxes(0, 1), rows.first.swapaxes(0, 1)
    rows = jax.tree.map(lambda leaf: leaf[stack - 1 :], replace(rows, obs=()))
    return replace(rows, obs=frames.stacked(kept, first, stack).swapaxes(0, 1))


def _names(auxiliaries: tuple[Auxiliary, ...]) -> list[str]:
    """Return what each is called among the metrics, a number behind it where it stands twice."""
    names: list[str] = []
    for each in auxiliaries:
        name = "".join("_" * c.isupper() + c.lower() for c in type(each).__name__).lstrip("_")
        again = sum(other.rstrip("0123456789") == name for other in names)
        names.append(f"{name}{again + 1}" if again else name)
    return names
