"""Checkpoints: what is saved comes back, and what is wrong with one is said."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from killing import killed_after

from explorax.core.errors import CheckpointError, RunDirectoryError
from explorax.run import checkpoint

DIGEST = "d" * 64


def state(scale: float = 1.0) -> dict[str, Any]:
    return {
        "weights": scale * jnp.arange(6.0).reshape(2, 3),
        "key": jax.random.split(jax.random.key(3), 2),
        "count": jnp.int32(7),
        "flags": jnp.array([True, False]),
        "empty": jnp.zeros((2, 0)),
        "nothing": (),
        "maps": np.arange(4, dtype=np.int64),
    }


def save(root: Path, chunk: int, scale: float = 1.0) -> Path:
    return checkpoint.save(root, state(scale), digest=DIGEST, seed=0, chunk=chunk, metrics_bytes=11)


def latest(root: Path) -> checkpoint.Header:
    header = checkpoint.latest(root, DIGEST, 0)
    assert header is not None
    return header


def restore(root: Path) -> Any:
    return checkpoint.restore(latest(root), state())


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    for chunk in (3, 4, 10):
        save(root, chunk, scale=chunk)
    return root


@pytest.fixture
def root(saved_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved_once, tmp_path / "checkpoints")


def test_what_was_saved_comes_back_and_two_are_kept(root: Path) -> None:
    header = latest(root)
    assert (header.chunk, header.metrics_bytes) == (10, 11)
    assert sorted(path.name for path in root.iterdir()) == ["chunk_000004", "chunk_000010"]
    back, wanted = restore(root), state(10)
    assert jax.tree.structure(back) == jax.tree.structure(wanted)
    assert jnp.issubdtype(back["key"].dtype, jax.dtypes.prng_key)
    assert (jax.random.uniform(back["key"][1]) == jax.random.uniform(wanted["key"][1])).all()
    for name in ("weights", "count", "flags", "empty"):
        np.testing.assert_array_equal(back[name], wanted[name])
        assert back[name].dtype == wanted[name].dtype


def test_a_part_can_be_restored_alone(root: Path) -> None:
    part = checkpoint.restore(latest(root), {"count": jnp.int32(0)}, whole=False)
    assert part == {"count": 7}
    with pytest.raises(CheckpointError, match="1 arrays here, 6 there"):
        checkpoint.restore(latest(root), {"count": jnp.int32(0)})


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none", DIGEST, 0) is None


def biggest(path: Path) -> Path:
    return max((p for p in path.rglob("state/**/*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(path: Path) -> None:
    file = biggest(path)
    file.write_bytes(file.read_bytes()[:-5])


def flip(path: Path) -> None:
    file = biggest(path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        record = json.loads((path / "header.json").read_text())
        (path / "header.json").write_text(json.dumps(record | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "is damaged: "),
        (flip, "has other contents than were written"),
        (lambda path: biggest(path).unlink(), "is missing"),
        (lambda path: shutil.rmtree(path / "state"), "is missing"),
        (lambda path: (path / "header.json").unlink(), "header.json cannot be read"),
        (lambda path: (path / "header.json").write_text("{"), "header.json cannot be read"),
        (
            lambda path: (path / "header.json").write_bytes(b"\xff\x00"),
            "header.json cannot be read",
        ),
        (edit(chunk="ten"), "lacks a proper 'chunk'"),
        (edit(files={}, leaves=[]), "does not fit"),
        (edit(format=9), "has format 9"),
    ],
)
def test_a_damaged_checkpoint_says_what_and_what_to_do(
    root: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(root / "chunk_000010")
    with pytest.raises(CheckpointError) as caught:
        restore(root)
    message = str(caught.value)
    assert said in message and "chunk_000010" in message and "overwrite=True" in message
    if "is damaged" in message:
        assert "Delete it to continue from chunk_000004" in message
        shutil.rmtree(root / "chunk_000010")
        np.testing.assert_array_equal(restore(root)["weights"], state(4)["weights"])


def test_another_configurations_checkpoint(root: Path) -> None:
    with pytest.raises(CheckpointError, match=r"of another experiment \(digest dddddddd"):
        checkpoint.latest(root, "e" * 64, 0)
    with pytest.raises(CheckpointError, match="this one is dddddddd, first seed 3"):
        checkpoint.latest(root, DIGEST, 3)


@pytest.mark.parametrize(
    "other",
    [
        state() | {"weights": jnp.zeros((3, 3))},
        state() | {"count": jnp.float32(0)},
        state() | {"key": jnp.zeros((2, 3), jnp.uint32)},
        state() | {"more": jnp.zeros(1)},
        {name: value for name, value in state().items() if name != "flags"},
    ],
)
def test_other_shapes(root: Path, other: Any) -> None:
    with pytest.raises(CheckpointError, match="does not fit this agent, bonus and environment"):
        checkpoint.restore(latest(root), other)


@pytest.mark.parametrize("survived", [0, 1])
def test_killed_while_saving_leaves_the_one_before(root: Path, survived: int) -> None:
    with killed_after(survived):
        save(root, 11)
    assert latest(root).chunk == 10
    np.testing.assert_array_equal(restore(root)["weights"], state(10)["weights"])
    save(root, 11, scale=11)
    np.testing.assert_array_equal(restore(root)["weights"], state(11)["weights"])


def test_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device\nand more")

    monkeypatch.setattr(checkpoint, "_checksums", lambda _: {})
    with monkeypatch.context() as patch:
        import orbax.checkpoint

        patch.setattr(orbax.checkpoint.Checkpointer, "save", full)
        with pytest.raises(RunDirectoryError) as caught:
            save(root, 11)
    assert "Cannot write" in str(caught.value) and "No space left" in str(caught.value)
    assert latest(root).chunk == 10


def test_orbax_keeps_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("absl")
    level = logger.level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save(tmp_path, 1)
        restore(tmp_path)
    out, err = capfd.readouterr()
    assert (out, err, caught, caplog.records) == ("", "", [], [])
    assert logger.level == level
