"""Atari's games: frames and their order, ends of episodes, pay, the map of rooms, and errors."""

import re
import sys
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing
from playing import KEY, play

from explorax.cli import listing
from explorax.core.errors import Incompatible, InvalidSetting, UnknownName
from explorax.core.protocols import Box, Discrete
from explorax.envs.atari import AtariVector, in_pyramid
from explorax.envs.suite import make, name_of

FIRE = 1
# The first level's pyramid of Montezuma's Revenge, by the numbers of its rooms.
PYRAMID = np.array(
    [
        [-1, -1, -1, 0, 1, 2, -1, -1, -1],
        [-1, -1, 3, 4, 5, 6, 7, -1, -1],
        [-1, 8, 9, 10, 11, 12, 13, 14, -1],
        [15, 16, 17, 18, 19, 20, 21, 22, 23],
    ]
)


def by_gymnasium(id: str, index: int, num_envs: int, **settings: Any) -> tuple[Any, Any]:
    """Return (game `index` of `num_envs` as Gymnasium preprocesses it, its first frame)."""
    seed = int(np.asarray(jax.random.bits(KEY, (num_envs,), "uint32"))[index]) % 2**31
    game = gymnasium.make(f"ALE/{id}", frameskip=1, disable_env_checker=True)
    env = AtariPreprocessing(game, **settings)
    return env, env.reset(seed=seed)[0]


def test_the_spec_tells_what_the_game_is():
    spec = AtariVector("MontezumaRevenge-v5", 3).spec
    assert spec.obs == Box((84, 84, 4), 0.0, 255.0, "uint8", stack=4)
    assert (spec.num_envs, spec.action, spec.max_episode_steps) == (3, Discrete(18), 27_000)
    assert spec.success_return is None
    assert spec.view is not None and spec.view.hidden and spec.view.rooms == (9, 4)
    spec = AtariVector("Pong-v5", 1, stack=1, frame_skip=5).spec
    assert spec.obs == Box((84, 84, 1), 0.0, 255.0, "uint8")
    assert (spec.action, spec.max_episode_steps, spec.view) == (Discrete(6), 21_600, None)
    assert AtariVector("Pong-v5", 1, full_action_space=True).spec.action == Discrete(18)


def test_frames_are_gymnasiums_stacked_with_the_newest_last_and_episodes_end_in_one_step():
    env = AtariVector("Breakout-v5", 2, terminal_on_life_loss=True)
    actions = np.full((90, 2), FIRE)  # nobody moves: a life is soon lost
    _, obs, rows = play(env, actions)
    assert obs.shape == (2, 84, 84, 4) and obs.dtype == np.uint8
    for index in range(2):
        game, frame = by_gymnasium("Breakout-v5", index, 2, terminal_on_life_loss=True)
        frames, ends = [frame] * 4, 0
        np.testing.assert_array_equal(obs[index], np.stack(frames, -1))
        for row in rows:
            frame, reward, terminated, truncated, _ = game.step(FIRE)
            frames = [*frames[1:], frame]
            np.testing.assert_array_equal(row.next_obs[index], np.stack(frames, -1))
            assert (row.reward[index], row.terminated[index]) == (reward, terminated)
            assert not truncated and not row.truncated[index]
            if terminated:
                frames, ends = [game.reset()[0]] * 4, ends + 1
            np.testing.assert_array_equal(row.obs[index], np.stack(frames, -1))
        assert ends >= 1
        assert any((row.obs[index, ..., 3] != row.obs[index, ..., 0]).any() for row in rows)


def test_the_key_decides_the_games():
    env = AtariVector("Breakout-v5", 2)
    actions = np.random.default_rng(0).integers(4, size=(30, 2))
    _, obs, rows = play(env, actions)
    _, obs_again, rows_again = play(env, actions)
    np.testing.assert_array_equal(obs, obs_again)
    jax.tree.map(np.testing.assert_array_equal, rows, rows_again)
    state, _ = env.reset(jax.random.key(4))
    others = [env.step(state, KEY, action)[1].obs for action in actions.astype(np.int32)]
    assert any((one != row.obs).any() for one, row in zip(others, rows, strict=True))
    assert any((row.obs[0] != row.obs[1]).any() for row in rows)


def test_sticky_actions_are_an_option():
    def frames(sticky: float) -> list[np.ndarray]:
        env = AtariVector("Breakout-v5", 4, noop_max=0, repeat_action_probability=sticky)
        _, _, rows = play(env, np.random.default_rng(0).integers(4, size=(25, 1)).repeat(4, 1))
        return [row.obs for row in rows]

    # without them and without no-ops nothing is random, whatever the seed
    assert all((obs == obs[:1]).all() for obs in frames(0.0)[:3])
    assert any((obs != obs[:1]).any() for obs in frames(0.25))


def test_a_clipped_reward_leaves_the_return_as_the_game_has_it():
    actions = np.full((110, 1), FIRE)
    _, _, plain = play(AtariVector("SpaceInvaders-v5", 1), actions)
    _, _, clipped = play(AtariVector("SpaceInvaders-v5", 1, clip_reward=True), actions)
    paid = np.array([row.reward[0] for row in plain])
    assert paid.max() > 1
    np.testing.assert_array_equal([row.counted[0] for row in plain], paid)
    np.testing.assert_array_equal([row.counted[0] for row in clipped], paid)
    np.testing.assert_array_equal([row.reward[0] for row in clipped], np.minimum(paid, 1))


def test_the_map_is_the_pyramid_of_rooms():
    view = AtariVector("MontezumaRevenge-v5", 1).spec.view
    assert view is not None
    for room in range(24):
        ((row, column),) = np.argwhere(room == PYRAMID)
        for x, y in [(0, 128), (80, 192), (159, 255)]:
            point = np.array(in_pyramid(room, x, y), np.float32)
            np.testing.assert_array_equal(np.floor(point), (column, 3 - row))
            along, up = (int(each) for each in jax.jit(view.cell_at)(point))
            assert (along // 8, up // 8) == (column, 3 - row)
    np.testing.assert_allclose(in_pyramid(1, 80, 192), (4.5, 3.5))


def test_place_is_read_from_the_consoles_memory():
    env = AtariVector("MontezumaRevenge-v5", 2)
    state, _, _ = play(env, [])
    places = set()
    for action in np.random.default_rng(0).integers(18, size=(25, 2)).astype(np.int32):
        state, out = env.step(state, KEY, action)
        for index, one in state.vector.shares[0].worlds.items():
            ram = one.unwrapped.ale.getRAM()
            assert ram[3] == 1  # the room where the game begins
            expected = 4 + ram[42] / 160, 3 + (ram[43] - 128.0) / 128
            np.testing.assert_allclose(out.place[index], expected, rtol=1e-6)
        places |= {tuple(place) for place in out.place.tolist()}
    assert len(places) > 10
    assert play(AtariVector("Pong-v5", 1), [[0]])[2][0].place == ()


def test_names_and_settings():
    text = "ale:MontezumaRevenge-v5(clip_reward=True, repeat_action_probability=0.0)"
    env = AtariVector("MontezumaRevenge-v5", 2, clip_reward=True, repeat_action_probability=0.0)
    assert make(text, 2) == make(text.replace("0.0", "0"), 2) == env
    assert name_of(text) == name_of(env) == text
    assert name_of("ale:Pong-v5( stack = 4 )") == "ale:Pong-v5"
    (entry,) = listing.describe("ale")
    assert "ale:Pong-v5" in entry.doc
    settings = {setting.name for setting in entry.settings}
    assert {"stack", "clip_reward"} <= settings and not {"id", "num_envs", "render"} & settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stack": 0}, "stack must be at least 1"),
        ({"frame_skip": 0}, "frame_skip must be at least 1"),
        ({"noop_max": -1}, "noop_max must be at least 0"),
        ({"repeat_action_probability": 1.0}, "repeat_action_probability must be in [0, 1)"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str):
    with pytest.raises(InvalidSetting, match=re.escape(words)):
        AtariVector(**{"id": "Pong-v5", "num_envs": 1, **settings})


def test_unknown_games_and_settings_are_told():
    words = "no game 'MontezumaReveng-v5' in ale-py. Did you mean 'MontezumaRevenge-v5'? `explorax"
    with pytest.raises(UnknownName, match=re.escape(words)):
        _ = AtariVector("MontezumaReveng-v5", 1).spec
    with pytest.raises(UnknownName, match="'clip_rewards'. Did you mean 'clip_reward'"):
        make("ale:Pong-v5(clip_rewards=True)", 1)
    with pytest.raises(InvalidSetting, match="stack must be of type int"):
        make("ale:Pong-v5(stack=1.5)", 1)


@pytest.mark.parametrize("missing", ["ale_py", "cv2"])
def test_without_a_package_the_cure_is_named(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, missing, None)
    words = r"ale:Boxing-v5 needs a package that is not installed: .* 'explorax\[atari\]'"
    with pytest.raises(Incompatible, match=words) as caught:
        _ = AtariVector("Boxing-v5", 1).spec
    assert "\n" not in str(caught.value)


def test_drawing():
    env = AtariVector("Pong-v5", 2, render=True)
    state, _, _ = play(env, [])
    frame = env.draw(state, 1)
    assert frame.shape == (210, 160, 3) and frame.dtype == np.uint8 and frame.std() > 5
    with pytest.raises(InvalidSetting, match="render=True"):
        AtariVector("Pong-v5", 2).draw(state)
