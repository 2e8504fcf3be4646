"""`ex.check`: each fault of a part is told in one sentence; what is right is let through."""

import sys
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from right_parts import Drawer, Line, Ring

import explorax as ex
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec, Step
from explorax.envs.task import Batched

SPEC = Spec(Box((3,)), Discrete(3), 2)


def made(base: Any, **members: Any) -> Any:
    """Return an object of a class like that of `base`, with other members."""
    return dataclass(frozen=True)(type(base.__name__, (base,), members))()


def refused(part: Any, *arguments: Any) -> str:
    with pytest.raises((Incompatible, InvalidSetting)) as caught:
        ex.check(part, *arguments)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and text.count(". ") <= 1
    return text


def test_parts_that_keep_their_protocols_pass():
    for part in (Ring(), Line(), Drawer(), Batched(Ring(), 3), ex.Scale(Line(), 0.5)):
        ex.check(part)
    ex.check(Line(), SPEC)
    ex.check(Drawer(), SPEC)


TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "shape of the observation": (
        {"observe": lambda self, state: jnp.zeros(2)},
        r"Ring.observe returned an observation float32 [2], where float32 [3] is wanted",
    ),
    "dtype of the observation": (
        {"observe": lambda self, state: jnp.zeros(3, jnp.int32)},
        "returned an observation int32 [3], where float32 [3] is wanted",
    ),
    "a step of five": (
        {"step": lambda self, state, key, action: (state, 0.0, False, False, {})},
        "where (state, reward, terminated) is wanted (a time limit is max_episode_steps)",
    ),
    "reward of a whole number": (
        {"step": lambda self, state, key, action: (state, jnp.int32(0), jnp.bool_(False))},
        "Ring.step returned reward as int32 [], where float32 [] is wanted",
    ),
    "flag that is a number": (
        {"step": lambda self, state, key, action: (state, jnp.float32(0), jnp.float32(0))},
        "Ring.step returned terminated as float32 [], where bool [] is wanted",
    ),
    "a state that grows": (
        {
            "step": lambda self, state, key, action: (
                {**state, "more": state["steps"]},
                jnp.float32(0),
                jnp.bool_(False),
            )
        },
        "Ring.step returned a state whose structure has gained ['more']",
    ),
    "a state of another type": (
        {
            "step": lambda self, state, key, action: (
                {**state, "steps": jnp.int32(1)},
                jnp.float32(0),
                jnp.bool_(False),
            )
        },
        "a state whose leaf ['steps'] was float32 [] and is int32 []",
    ),
    "outside the box": (
        {"obs": Box((3,), low=(-1.0, -1.0, 0.0), high=(1.0, 1.0, 5.0))},
        "Ring made an observation whose entry 2 is 6, where obs says 0 .. 5",
    ),
    "bounds of another shape": (
        {"obs": Box((3,), low=(-1.0, -1.0))},
        "Ring.obs has the low bounds (-1.0, -1.0)",
    ),
    "a dim that is not there": (
        {"view": replace(Ring.view, dims=((0, 1), 3))},
        "shows entry 3 as 'steps', and observations have the shape (3,): entries 0 .. 2",
    ),
    "a map of elsewhere": (
        {"view": replace(Ring.view, low=(-3.2, 20.0), high=(3.2, 30.0))},
        "shows entry 2 from 20.0 to 30.0 as 'steps', and observations have it between 0 and 10",
    ),
    "a map where nobody comes": (
        {
            "view": replace(Ring.view, low=(-3.2, 20.0), high=(3.2, 30.0)),
            "obs": Box((3,), -np.inf, np.inf),
        },
        "goes from 20.0 to 30.0 along 'steps', and none of 96 steps was there",
    ),
    "a cosine for an angle": (
        {"view": replace(Ring.view, dims=(0, 2))},
        "takes entry 0 for the angle 'angle (rad)', and it is a cosine or a sine; an angle is",
    ),
    "a cosine for an angle, without bounds": (
        {"view": replace(Ring.view, dims=(0, 2)), "obs": Box((3,), -np.inf, np.inf)},
        "and it is a cosine or a sine, entry 1 being the other one; an angle is written",
    ),
    "a pair that is no angle": (
        {"view": replace(Ring.view, dims=((0, 2), 2))},
        "takes entries (0, 2) for the cosine and sine of 'angle (rad)'",
    ),
    "a hidden view without where": (
        {"view": replace(Ring.view, hidden=True)},
        "Ring.view is hidden and Ring has no where(state) -> [2]",
    ),
    "a place of another structure": (
        {"place": lambda self, point: {"angle": point[0]}},
        "Ring.place returned a state whose structure has lost ['steps']",
    ),
    "a place elsewhere": (
        {"place": lambda self, point: {"angle": -point[0], "steps": 10.0 - point[1]}},
        "Ring.place of the point",
    ),
    "a step without its key": (
        {"step": lambda self, state, action: (state, jnp.float32(0), jnp.bool_(False))},
        "Ring.step takes (state, action), where (state, key, action) is wanted.",
    ),
    "no observe": ({"observe": None}, "Ring is not a task: it has no observe, and explorax.envs"),
    "actions beyond 1": (
        {"action": Box((1,), -2.0, 2.0)},
        "Ring.action is a Box of float32 from -2.0 to 2.0, and an agent's actions are float32",
    ),
    "no actions": ({"action": Discrete(0)}, "Discrete(n=0), where a whole number of actions"),
    "a shape with a hole": (
        {"obs": Box((0,))},
        "Ring.obs has the shape (0,), where a tuple such as (4,) is wanted.",
    ),
    "a dtype that is none": (
        {"obs": replace(Ring.obs, dtype="floaty")},
        "Ring.obs has the dtype 'floaty', where",
    ),
    "bounds the wrong way round": (
        {"obs": Box((3,), 1.0, -1.0)},
        "from 1.0 to -1.0, where lower bounds come first.",
    ),
    "codes of another length": (
        {"obs": replace(Ring.obs, one_hot=(10,))},
        "Ring.obs has one_hot=(10,), codes of 10 entries, and its shape (3,) has 3",
    ),
    "codes that are none": (
        {"obs": Box((3,), -np.inf, np.inf, one_hot=(3,)), "view": None},
        "Ring made an observation with the code (",
    ),
    "a grey frame": (
        {"draw": lambda self, state: np.zeros((8, 8), np.uint8)},
        "Ring.draw returned uint8 [8, 8], where uint8 [height, width, 3] is wanted",
    ),
    "a time limit of no steps": (
        {"max_episode_steps": 0},
        "Ring.max_episode_steps is 0, where a whole number from 1",
    ),
    "no reward at all": (
        {"step": lambda self, state, key, action: (state, jnp.float32(np.nan), jnp.bool_(False))},
        "Ring.step paid nan, no finite number",
    ),
}


@pytest.mark.parametrize("fault", TASKS)
def test_faults_of_a_task(fault):
    members, said = TASKS[fault]
    assert said in refused(made(Ring, **members))


@dataclass(frozen=True)
class Doubled:
    """Environments of one's own around a batch."""

    spec = Batched(Ring(), 3).spec
    traceable = True

    def reset(self, key):
        return Batched(Ring(), 3).reset(key)

    def step(self, state, key, action):
        return Batched(Ring(), 3).step(state, key, action)

    def draw(self, state, index=0):
        return np.zeros((8, 8, 3), np.uint8)


def test_faults_of_environments_side_by_side():
    ex.check(Doubled())
    stepped = Doubled.step

    def short(self, state, key, action):
        after, out = stepped(self, state, key, action)
        return after, replace(out, truncated=out.reward)

    text = refused(made(Doubled, step=short))
    assert "Doubled.step returned Step.truncated as float32 [3], where bool [3] is wanted" in text

    def five(self, state, key, action):
        _, out = stepped(self, state, key, action)
        return out.obs, out.reward, out.terminated, out.truncated, {}

    assert "where (state, Step(obs=" in refused(made(Doubled, step=five))


def test_environments_that_are_stepped_from_python():
    class Host(Doubled):
        traceable = False
        dtype = "float32"

        def reset(self, key):
            return self.begun(0)

        def begun(self, steps: int) -> Any:
            return steps, np.asarray([[1, 0, steps]] * 3, np.float32)

        def step(self, state, key, action):
            rewards: Any = np.zeros(3, self.dtype)
            no: Any = np.zeros(3, bool)
            after, seen = self.begun(state + 1)
            return after, Step(seen, seen, rewards, no, no)

    ex.check(Host())
    text = refused(made(Host, dtype="int64"))
    assert "Host.step returned Step.reward as int64 [3], where float32 [3] is wanted" in text
    late = made(Host, reset=lambda self, key: self.begun(10))
    assert "Host made an observation whose entry 2 is 11, where obs says 0 .. 10" in refused(late)


def bonus_score(change):
    """Return a `score` that gives what `change` makes of what a right one gives."""
    return {"score": lambda self, *given: change(*Line.score(self, *given))}


def trains(self, state, key, rollout):
    paid, state = Line.score(self, state, key, rollout)
    return paid, {**state, "weights": self.fitted(state["weights"], rollout)}


def trains_in_a_loop(self, state, key, rollout):
    paid, state = Line.score(self, state, key, rollout)
    weights, _ = jax.lax.scan(
        lambda weights, _: (jax.jit(self.fitted)(weights, rollout), None), state["weights"], None, 3
    )
    return paid, {**state, "weights": weights}


def by_order(self, state, key, rows):
    return jnp.arange(rows.reward.shape[0], dtype=jnp.float32)


BONUSES: dict[str, tuple[dict[str, Any], str]] = {
    "[T, E, 2]": (
        bonus_score(lambda paid, state: (jnp.stack([paid, paid], -1), state)),
        "Line.score returned a bonus float32 [6, 2, 2], where float32 [T, E] = [6, 2] is wanted",
    ),
    "a scalar": (
        bonus_score(lambda paid, state: (paid.mean(), state)),
        "Line.score returned a bonus float32 [], where float32 [T, E] = [6, 2]",
    ),
    "whole numbers": (
        bonus_score(lambda paid, state: (paid.astype(jnp.int32), state)),
        "Line.score returned a bonus int32 [6, 2], where float32",
    ),
    "no state": (
        {"score": lambda self, *given: Line.score(self, *given)[0]},
        "Line.score returned float32 [6, 2], where the pair (bonus, state) is wanted",
    ),
    "not finite": (
        bonus_score(lambda paid, state: (jnp.log(-1.0 - paid), state)),
        "Line.score paid nan for 12 of 12 ordinary steps, where finite numbers are wanted",
    ),
    "a score that trains": (
        {"score": trains},
        "Line.score trains: it returns a state whose ['weights'] changed by a",
    ),
    "a score that trains in a loop": (
        {"score": trains_in_a_loop},
        "Line.score trains: it returns a state whose ['weights']",
    ),
    "a state of another shape": (
        bonus_score(lambda paid, state: (paid, {**state, "seen": paid})),
        "Line.score returned a state whose leaf ['seen'] was float32 [] and is float32 [6, 2]",
    ),
    "metrics that are no scalars": (
        {"update": lambda self, state, key, rollout: (state, {"loss": rollout.reward})},
        "Line.update returned the metric 'loss' as float32 [6, 2], where a scalar is wanted",
    ),
    "rescore of [T, E]": (
        {"rescore": lambda self, state, key, rows: rows.reward[None]},
        "Line.rescore returned a bonus float32 [1, 12], where float32 [N] = [12] is wanted",
    ),
    "undeclared losses": (
        bonus_score(lambda paid, state: (-1.0 - paid, state)),
        "and does not declare may_be_negative = True, by which normalisers",
    ),
    "a rescore by order": ({"rescore": by_order}, "otherwise when the rows come in another order"),
    "replayable as a text": ({"replayable": "no"}, "Line.replayable is 'no', where True or False"),
    "numbers without a key": (
        {
            "init": lambda self, key, spec: (
                {"seen": jnp.float32(np.random.rand())}
                | Line.init(self, key, spec)
                | {"more": jnp.float32(np.random.rand())}
            )
        },
        "Line.init is another program when it is traced a second time",
    ),
}


@pytest.mark.parametrize("fault", BONUSES)
def test_faults_of_a_bonus(fault):
    members, said = BONUSES[fault]
    assert said in refused(made(Line, **members), SPEC)


def test_state_kept_in_python():
    class Box_:
        count = 0

    @dataclass(frozen=True)
    class Counting(Line):
        box: Any = field(default_factory=Box_)

        def score(self, state, key, rollout):
            self.box.count += 1
            return Line.score(self, state, key, rollout)

    assert "Counting.box.count changed while methods were called" in refused(Counting(), SPEC)

    kept = []

    def remembers(self, state, key, rollout):
        paid, state = Line.score(self, state, key, rollout)
        kept.append(paid)
        return paid + kept[0], state

    assert "so state is kept in Python" in refused(made(Line, score=remembers), SPEC)

    def leaks(self, state, key, rollout):
        kept.append(rollout.reward)
        return Line.score(self, state, key, rollout)[0] + kept[-2], state

    assert "used an array of an earlier call" in refused(made(Line, score=leaks), SPEC)


def test_settings_that_could_change():
    @dataclass(eq=False)
    class Loose:
        replayable = True
        init, score, update, rescore = Line.init, Line.score, Line.update, Line.rescore

    assert "Loose is a dataclass whose fields can change" in refused(Loose())


def test_settings_without_a_hash():
    @dataclass(frozen=True)
    class Listed(Line):
        widths: Any = field(default_factory=lambda: [8])

    assert "Listed has no hash, because of widths (a list)" in refused(Listed())
    assert "Line is a class, and an object is wanted: write Line(...)" in refused(Line)
    assert "is neither a task, environments, an agent nor a bonus" in refused(3)


AGENTS: dict[str, tuple[dict[str, Any], str]] = {
    "actions as floats": (
        {"act": lambda self, s, carry, k, p, greedy=False: (p.reward, carry, ())},
        "Drawer.act returned an action float32 [2], where int32 [2] is wanted",
    ),
    "an action that is not there": (
        {"act": lambda self, s, c, k, p, greedy=False: (jnp.full(2, 3, jnp.int32), c, ())},
        "Drawer.act returned the action 3, where whole numbers 0 .. 2 are wanted",
    ),
    "a carry that grows": (
        {"act": lambda self, s, c, k, p, greedy=False: (jnp.zeros(2, jnp.int32), (c, c), ())},
        "Drawer.act returned a carry whose structure",
    ),
    "a carry of one": (
        {"carry": lambda self, spec: jnp.zeros(5)},
        "Drawer.carry returned float32 [5], where one entry for each of 2 environments is wanted",
    ),
    "extras without environments": (
        {"act": lambda self, s, c, k, p, greedy=False: (jnp.zeros(2, jnp.int32), c, {"a": c[0]})},
        "Drawer.act returned extras['a'] as float32 [1], where one entry for each of 2",
    ),
    "two results": (
        {"act": lambda self, s, c, k, p, greedy=False: (jnp.zeros(2, jnp.int32), c)},
        "where (action, carry, extras) is wanted",
    ),
    "a state that changes": (
        {"learn": lambda self, state, key, rollout, rescore: ({}, {})},
        "Drawer.learn returned a state whose structure has lost ['logits']",
    ),
    "metrics of each step": (
        {"learn": lambda self, state, key, rollout, rescore: (state, {"r": rollout.reward})},
        "Drawer.learn returned the metric 'r' as float32 [4, 2], where a scalar is wanted",
    ),
    "rollouts of no steps": (
        {"rollout_length": property(lambda self: 0.5)},
        "rollout_length is 0.5, where a whole",
    ),
}


@pytest.mark.parametrize("fault", AGENTS)
def test_faults_of_an_agent(fault):
    members, said = AGENTS[fault]
    made_: Any = type("Drawer", (Drawer,), members)
    part = object.__new__(made_)
    if not isinstance(members.get("rollout_length"), property):
        part = made_()
    assert said in refused(part, SPEC)


def test_what_a_part_raises_is_told_with_its_file_and_line():
    def broken(self, state, key, rollout):
        return jnp.zeros(3) + jnp.zeros(4), state

    line = sys._getframe().f_lineno - 2
    text = refused(made(Line, score=broken), SPEC)
    assert text.startswith("Line.score raised ") and "(4,)" in text
    assert text.endswith(f"test_check.py:{line}).")


def test_what_fails_within_a_package_names_no_line_of_ours():
    text = refused(made(Ring, observe=jnp.zeros_like), None)
    assert "calls.py" not in text


def test_what_a_part_lacks_is_named():
    def without(cls, name):
        kept = {key: value for key, value in vars(cls).items() if key != name}
        return type(cls.__name__, (), {k: v for k, v in kept.items() if not k.startswith("__")})()

    assert refused(without(Line, "update")).startswith(
        "Line is not a bonus: it has no update, and "
    )
    assert refused(without(Line, "score")).startswith("Line is not a bonus: it has no score, and ")
    assert refused(without(Drawer, "learn")).startswith(
        "Drawer is not an agent: it has no learn, and "
    )
    assert refused(without(Drawer, "carry")).startswith(
        "Drawer is not an agent: it has no carry, and "
    )
    assert refused(without(Ring, "obs")).startswith("Ring is not a task: it has no obs, and ")
    assert refused(without(Ring, "step")).startswith("Ring is not a task: it has no step, and ")
    assert refused(object()).startswith("An object of object is neither a task, environments,")


def test_a_memory_that_is_lost_is_told_by_what_it_was():
    forgetful = made(
        Drawer,
        act=lambda self, state, carry, key, percept, *, greedy=False: (
            jnp.zeros(percept.reward.shape, jnp.int32),
            (),
            (),
        ),
    )
    assert "whose structure was float32 [2, 1] and is ()" in refused(forgetful, SPEC)


def test_a_key_may_be_part_of_a_tasks_state():
    ex.check(
        made(
            Ring,
            reset=lambda self, key: {"angle": jnp.float32(0), "steps": jnp.float32(0), "key": key},
            step=lambda self, state, key, action: (
                {**state, "steps": state["steps"] + 1.0, "key": key},
                jnp.float32(0),
                jnp.bool_(False),
            ),
            place=lambda self, point: {
                "angle": point[0],
                "steps": point[1],
                "key": jax.random.key(0),
            },
        )
    )


def test_what_a_part_refuses_itself_is_passed_on():
    spec = replace(SPEC, action=Box((2,)))
    assert refused(Drawer(), spec) == "Drawer acts in Discrete alone."
    ex.check(Drawer())  # which the other small worlds let through


def test_training_checks_parts_from_outside_before_it_begins(tmp_path):
    task = made(Ring, **TASKS["dtype of the observation"][0])
    with pytest.raises(Incompatible, match="Ring.observe returned an observation int32"):
        ex.train(task, root=tmp_path, progress=False)
    wrong = made(Line, **BONUSES["a scalar"][0])
    with pytest.raises(Incompatible, match="where float32 .T, E. = .6, 10. is wanted"):
        ex.train("cart_pole", bonus=ex.Scale(wrong, 0.1), root=tmp_path, progress=False)
    with pytest.raises(Incompatible, match="Drawer.learn returned a state whose"):
        agent = made(Drawer, **AGENTS["a state that changes"][0])
        ex.train("cart_pole", agent, root=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
