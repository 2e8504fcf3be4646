"""Starting from what another run has learned: `--init-from`.

An agent says which fields of its state it hands on (`hands_on`; see the protocol). Seed n of the
new run takes them from seed n of the old one, counted round where that has fewer seeds. All else is
new: the bonus, the replay, the counters of steps, the optimisers, the episodes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np

from explorax.core import leaves
from explorax.core.arguments import argument, resuming
from explorax.core.errors import CheckpointError, Incompatible, RunDirectoryError
from explorax.core.protocols import Discrete, Spec
from explorax.files import user_path
from explorax.naming.writing import class_name
from explorax.ops.images import is_image
from explorax.run import checkpoint
from explorax.run.config import Origin, RunConfig, resolve
from explorax.run.directory import CHECKPOINTS, RunDirectory
from explorax.run.expressions import expression

_ON_DEVICE, _ON_HOST = "['training'].learner.agent", "['training'][{}][0].agent"
# Settings of agents that change what arrays of the same shapes stand for.
_MEANING = ("activation", "normalize_obs", "covariance", "prior_scale")
_MEANING_OF_IMAGES = ("encoder",)
_SHOWN = 3  # arrays that do not fit, in a message


@dataclass(frozen=True)
class Inheritance:
    """What a new run's seeds start with: arrays [S, ...] by their place in an agent's state."""

    arrays: Mapping[str, np.ndarray]

    @property
    def sha256(self) -> str:
        """Of names, shapes and contents, as hexadecimal digits."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def given_to(self, agents: Any) -> Any:
        """Return agents' states [S, ...] with these arrays in their places."""

        def one(path: Any, leaf: Any) -> Any:
            array = self.arrays.get(jax.tree_util.keystr(path))
            return leaf if array is None else leaves.as_leaf(array, leaf)

        return jax.tree_util.tree_map_with_path(one, agents)


def origin_of(path: str | Path) -> Origin:
    """Return the newest checkpoint of the run in `path`, or the checkpoint at `path` itself.

    Raises RunDirectoryError, CheckpointError.
    """
    path = user_path(path).resolve()
    alone = path.parent.name == CHECKPOINTS
    run = path.parent.parent if alone else path
    record = _record(run)
    digest, seed = record["digest"], record["seed"]
    if alone and path.is_dir():
        header = checkpoint.read_header(path, digest, seed)
    else:
        header = checkpoint.latest(run / CHECKPOINTS, digest, seed)
    if header is None or (alone and header.path != path):
        raise CheckpointError(_no_checkpoint(run, path.name if alone else None))
    return Origin(str(run), record["env"], digest, seed, header.chunk, header.iteration)


def origin_of_config(config: RunConfig) -> Origin:
    """Return the last checkpoint of the run of `config` under the same root, trained or not yet."""
    run = config.directory("").as_posix()
    return Origin(run, config.env, config.digest, config.seed, len(config.chunks))


def inherit(config: RunConfig, root: Path, state: Any, spec: Spec) -> Inheritance:
    """Return what the seeds of `config` take from where `config.init_from` says.

    `state`: the arrays, or their shapes, of one seed's agent. Raises RunDirectoryError,
    CheckpointError where the source is missing or damaged, or is not finite; Incompatible where it
    is of another agent or of other shapes.
    """
    origin = config.init_from
    assert origin is not None
    run = root / origin.run
    record = _record(run)
    path = checkpoint.place(run / CHECKPOINTS, origin.chunk, origin.iteration)
    if not path.is_dir():
        raise CheckpointError(_no_checkpoint(run, path.name))
    header = checkpoint.read_header(path, origin.digest, origin.seed)
    _check_agent(config, run, record)
    _check_meaning(config.agent, run, record, is_image(spec.obs.shape))
    wanted = _wanted(config.agent, state)
    host = not any(str(leaf[0]).startswith(_ON_DEVICE) for leaf in header.leaves)
    there = _there(config.agent, header, host)
    _check_shapes(config, run, record, spec, wanted, there)
    rows = [(number - origin.seed) % record["seeds"] for number in config.seed_numbers]
    taken = _read(header, list(wanted), rows, host)
    _check_finite(path, taken, [origin.seed + row for row in rows])
    return Inheritance(taken)


def _record(run: Path) -> dict[str, Any]:
    """Return what config.json says, without making the agent and bonus that it names."""
    text = _given(run)
    if not RunDirectory(run).config.is_file():
        what = "it has no config.json" if run.is_dir() else "there is no such directory"
        raise RunDirectoryError(
            f"{text}{what}. Give a directory that `explorax train` made, "
            f"runs/<env>/<agent>+<bonus>/<digest>."
        )
    try:
        record = json.loads(RunDirectory(run).config.read_text(encoding="utf-8"))
        kinds = {"digest": str, "env": str, "agent": str, "seed": int, "seeds": int}
        lacking = [name for name, kind in kinds.items() if not isinstance(record[name], kind)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunDirectoryError(
            f"{text}config.json cannot be read ({type(error).__name__}: {error}). Give a directory "
            f"that `explorax train` made, runs/<env>/<agent>+<bonus>/<digest>."
        ) from None
    if lacking or record["seeds"] < 1:
        raise RunDirectoryError(f"{text}config.json has no proper {lacking or 'seeds'}.")
    return record


def _given(path: Path) -> str:
    return f"{argument('init_from', path)}: "


def _no_checkpoint(run: Path, name: str | None) -> str:
    there = [path.name for path in checkpoint.saved_in(run / CHECKPOINTS)]
    has = f"it has {', '.join(there)}" if there else "it was stopped before its first"
    return (
        f"{_given(run)}the run has no checkpoint{'' if name is None else f' {name}'}: {has}. "
        f"Go on with it ({resuming(run)}), or give a checkpoint that is there, "
        f"RUN/{CHECKPOINTS}/chunk_NNNNNN."
    )


def _check_agent(config: RunConfig, run: Path, record: Mapping[str, Any]) -> None:
    here, there = class_name(type(config.agent)), record["agent"].partition("(")[0]
    if here != there:
        raise Incompatible(
            f"{_given(run)}its agent is {there}, and this run's is {here}. What one learns "
            f"says nothing to another: give an agent {there}(...), or a run of {here}."
        )
    if not getattr(config.agent, "hands_on", ()):
        raise Incompatible(
            f"{_given(run)}{here} does not say what it hands on. Give the class "
            f'hands_on = ("params", ...), the names of fields of its state.'
        )


def _check_meaning(agent: Any, run: Path, record: Mapping[str, Any], images: bool) -> None:
    """Raise Incompatible where settings differ that make other functions of the same arrays."""
    there, here = _within(_within(record, "resolved"), "agent"), resolve(agent)
    pairs = [("", there, here), ("base.", _within(there, "base"), _within(here, "base"))]
    odd = [
        f"{prefix}{name}={before[name]!r} there, {after[name]!r} here"
        for prefix, before, after in pairs
        for name in (*_MEANING, *(_MEANING_OF_IMAGES if images else ()))
        if name in before and name in after and before[name] != after[name]
    ]
    if odd:
        raise Incompatible(
            f"{_given(run)}what was learned there would mean something else here: "
            f"{'; '.join(odd)}. Give the agent the same."
        )


def _within(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = record.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _wanted(agent: Any, state: Any) -> dict[str, list[Any]]:
    """Return {name: [shape, dtype]} of what the agent takes, in one seed's state."""
    return {
        f".{field}{jax.tree_util.keystr(path)}": leaves.shape_and_dtype(leaf)
        for field in agent.hands_on
        for path, leaf in jax.tree_util.tree_leaves_with_path(attrgetter(field)(state))
    }


def _there(agent: Any, header: checkpoint.Header, host: bool) -> dict[str, list[Any]]:
    """Return {name: [shape, dtype]} of what a checkpoint has of the same fields, for one seed."""
    prefix = _ON_HOST.format(0) if host else _ON_DEVICE
    found = {}
    for name, shape, dtype in header.leaves:
        place = str(name).removeprefix(prefix)
        of_field = any(
            place == f".{field}" or place.startswith((f".{field}.", f".{field}["))
            for field in agent.hands_on
        )
        if place != name and of_field:
            found[place] = [list(shape) if host else list(shape)[1:], dtype]
    return found


def _read(
    header: checkpoint.Header, names: list[str], rows: list[int], host: bool
) -> dict[str, np.ndarray]:
    """Return the arrays [rows, ...] of these names in the agents' states of a checkpoint."""
    if not host:
        saved = checkpoint.read_arrays(header, [_ON_DEVICE + name for name in names])
        return {name: array[np.asarray(rows)] for name, array in zip(names, saved, strict=True)}
    places = {name: [_ON_HOST.format(row) + name for row in rows] for name in names}
    needed = [place for each in places.values() for place in each]
    saved = dict(zip(needed, checkpoint.read_arrays(header, needed), strict=True))
    return {name: np.stack([saved[place] for place in each]) for name, each in places.items()}


def _check_shapes(
    config: RunConfig,
    run: Path,
    record: Mapping[str, Any],
    spec: Spec,
    wanted: Mapping[str, list[Any]],
    there: Mapping[str, list[Any]],
) -> None:
    def told(each: list[Any] | None, other: list[Any] | None) -> str:
        if each is None:
            return "none"
        same_shape = other is not None and each[0] == other[0]
        return f"{tuple(each[0])}{f' {each[1]}' if same_shape else ''}"

    odd = [
        f"{name.lstrip('.')} {told(there.get(name), wanted.get(name))} there, "
        f"{told(wanted.get(name), there.get(name))} here"
        for name in {**wanted, **there}
        if wanted.get(name) != there.get(name)
    ]
    if not odd:
        return
    apart = _apart(record, spec)
    shown = "; ".join([*apart, *odd[:_SHOWN], *(["..."] if len(odd) > _SHOWN else [])])
    if not apart and record["agent"] == expression(config.agent):
        raise CheckpointError(
            f"{_given(run)}its arrays are not those of the same agent here: {shown}. It was "
            f"probably written by another version of explorax: use that version (meta.json names "
            f"it), or train it again."
        )
    raise Incompatible(
        f"{_given(run)}its shapes are not those of this run: {shown}. Give an "
        f"environment with the same observations and actions as {record['env']}, and an agent "
        f"whose networks are those of {record['agent']}."
    )


def _apart(record: Mapping[str, Any], spec: Spec) -> list[str]:
    """Return in what way the environments' observations and actions differ, as far as is known."""
    try:
        obs, action = record["spec"]["obs"]["shape"], record["spec"]["action"]
        action = f"{action['n']} choices" if "n" in action else f"{tuple(action['shape'])}"
    except (KeyError, TypeError):
        return []
    here = spec.action
    acting = f"{here.n} choices" if isinstance(here, Discrete) else f"{here.shape}"
    pairs = (("obs", f"{tuple(obs)}", f"{spec.obs.shape}"), ("actions", action, acting))
    return [f"{what} {old} there, {new} here" for what, old, new in pairs if old != new]


def _check_finite(path: Path, taken: Mapping[str, np.ndarray], seeds: list[int]) -> None:
    for name, array in taken.items():
        if not np.issubdtype(array.dtype, np.floating):
            continue
        broken = ~np.isfinite(array).reshape(len(seeds), -1).all(axis=1)
        if broken.any():
            whose = ", ".join(str(seeds[row]) for row in np.flatnonzero(broken))
            raise CheckpointError(
                f"{_given(path)}{name.lstrip('.')} of seed {whose} is not finite: that run "
                f"had diverged. Give its checkpoint before, {path.parent}/chunk_NNNNNN."
            )
