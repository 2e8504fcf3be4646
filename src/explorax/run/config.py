"""What a run is: the one record that decides its numbers and the place of its directory."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorax.core import jax_settings
from explorax.core.arguments import argument, named, resuming
from explorax.core.errors import InvalidSetting, require, unknown_name
from explorax.core.protocols import Spec
from explorax.core.settings import check_types
from explorax.naming.grammar import modules, not_importable, own_names, remade_by_hand
from explorax.naming.own import check_trust
from explorax.naming.writing import class_name
from explorax.run.expressions import expression, parse

FORMAT = 1  # of config.json
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Origin:
    """The checkpoint that a run starts from (`init_from`)."""

    run: str  # its run directory; a relative one is under the root of the run that starts
    env: str
    digest: str  # of its configuration
    seed: int  # its first seed's number
    chunk: int  # which checkpoint: chunks done
    iteration: int = 0  # and iterations of the next

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class RunConfig:
    """One experiment: an environment, an agent, a bonus, a budget, and how many seeds of it."""

    env: str  # a name that `explorax list` shows, or one of others, "gymnasium:<id>"
    agent: Any
    bonus: Any
    env_steps: int  # of each seed, over all its environments; rounded up to whole rollouts
    seeds: int = 1
    seed: int = 0  # the first seed's number; the others follow it
    num_envs: int = 10
    log_points: int = 100  # about so many rows per seed in metrics.csv
    film: bool = True  # of the final policy, at the end
    init_from: Origin | None = None  # whose checkpoint the agents start from; None: from scratch
    # Of JAX's settings those that change numbers and are not at JAX's defaults, "name=value".
    jax_settings: tuple[str, ...] = dataclasses.field(default_factory=jax_settings.deviating)

    def __post_init__(self) -> None:
        check_types(self)
        require(bool(self.env), self, "env", "a name")
        for name in ("agent", "bonus"):
            part = getattr(self, name)
            made = not isinstance(part, type)
            require(made, self, name, f"an object and not a class: write {short_name(part)}(...)")
        agent_like = all(hasattr(self.agent, name) for name in ("act", "learn", "rollout_length"))
        bonus_like = all(hasattr(self.bonus, name) for name in ("score", "update", "rescore"))
        require(agent_like, self, "agent", "an agent such as TRPO()")
        require(bonus_like, self, "bonus", "a bonus such as VIME(), or NoBonus()")
        for part in (self.agent, self.bonus):
            expression(part)  # what another process would write in another way is refused here
        for name in ("env_steps", "seeds", "num_envs", "log_points"):
            self._require(getattr(self, name) >= 1, name, "a whole number of at least 1")
        self._require(self.seeds <= _LARGEST_SEED, "seeds", f"at most {_LARGEST_SEED}")
        seed_fits = 0 <= self.seed <= _LARGEST_SEED - self.seeds
        self._require(seed_fits, "seed", f"a whole number from 0 to {_LARGEST_SEED} - seeds")
        rollout = self.env_steps_per_iteration
        enough = (
            f"at least {rollout:,}, one rollout of {self.num_envs} environments with this agent"
        )
        self._require(self.env_steps >= rollout, "env_steps", enough)

    def _require(self, condition: bool, field: str, wanted: str) -> None:
        """Raise InvalidSetting, which names the argument, unless `condition`."""
        if not condition:
            given = argument(field, getattr(self, field))
            raise InvalidSetting(f"{given}: {named(field)} must be {wanted}.")

    @property
    def env_steps_per_iteration(self) -> int:
        """The env steps of one rollout [T, E] of one seed."""
        return int(self.agent.rollout_length) * self.num_envs

    @property
    def iterations(self) -> int:
        """The rollouts of each seed: env_steps rounded up."""
        return -(-self.env_steps // self.env_steps_per_iteration)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The iterations between log points, in order.

        All equal where a divisor of `iterations` gives between half and 1.25 times `log_points`
        rows, so that every row is of as many rollouts; else the last is shorter.
        """
        total = self.iterations
        wanted = max(1, math.ceil(total / self.log_points))
        fewest, most = total / (1.25 * self.log_points), total / (0.5 * self.log_points)
        divisors = [n for n in range(1, 2 * wanted + 1) if total % n == 0 and fewest <= n <= most]
        size = min(divisors, key=lambda n: (abs(n - wanted), n), default=wanted)
        whole, rest = divmod(total, size)
        return (size,) * whole + ((rest,) if rest else ())

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def digest(self) -> str:
        """sha256 of everything but `seed` and where `init_from` lies, as hexadecimal digits."""
        values = {name: value for name, value in self.to_dict().items() if name != "seed"}
        if self.init_from is not None:
            del values["init_from"]["run"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def directory(self, root: str | Path) -> Path:
        """Return root/<env>/<agent>+<bonus>/<first 8 digits of the digest>."""
        parts = f"{short_name(self.agent)}+{short_name(self.bonus)}"
        return Path(root) / safe_name(self.env) / safe_name(parts) / self.digest[:8]

    def continuing(self, path: Path) -> str:
        """Return how to go on with the run in `path`."""
        texts = (self.env, expression(self.agent), expression(self.bonus))
        if any(remade_by_hand(text) for text in texts):
            return "in Python, the call that began it, with resume=True and the same objects"
        trusted = dict.fromkeys(module for text in texts for module in modules(text))
        return resuming(path, trusted)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, with agent and bonus as constructor text.

        Without `init_from` and `jax_settings` where there are none, and without the iteration of
        `init_from` where a chunk is over, so that digests stay what they were before these.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["jax_settings"] = list(self.jax_settings)
        if not self.jax_settings:
            del fields["jax_settings"]
        if self.init_from is None:
            del fields["init_from"]
        else:
            fields["init_from"] = dataclasses.asdict(self.init_from)
            if not self.init_from.iteration:
                del fields["init_from"]["iteration"]
        return fields | {"agent": expression(self.agent), "bonus": expression(self.bonus)}

    def to_json(self, spec: Spec | None = None, code: Mapping[str, Any] | None = None) -> str:
        """Return config.json: the fields, every resolved value nested, what `spec` tells, and the
        `code` that the run is made with, as `run.code.code_of` gives it."""
        resolved = {"agent": resolve(self.agent), "bonus": resolve(self.bonus)}
        record = {"format": FORMAT, "digest": self.digest, **self.to_dict(), "resolved": resolved}
        if spec is not None:
            record |= _describe(spec)
        if code is not None:
            record["code"] = dict(code)
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(
        cls,
        text: str,
        extra: Iterable[type] = (),
        trust: Container[str] = (),
        makes_env: bool = False,
    ) -> "RunConfig":
        """Return the configuration that `text` records. Runs no code but the parts' constructors.

        `extra`: classes of the caller's own that it names; `trust`: modules that may be imported
        for others, and where `makes_env`, its environment is made after this, for that too.
        Raises InvalidSetting, UnknownName, Incompatible.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidSetting(f"The configuration is no JSON: {error}.") from None
        if not isinstance(record, dict):
            raise InvalidSetting(f"The configuration is a {type(record).__name__}, not an object.")
        if record.get("format", FORMAT) != FORMAT:
            raise InvalidSetting(
                f"The configuration has format {record['format']!r}; this version of explorax "
                f"reads format {FORMAT}. Use the version that wrote it (meta.json names it)."
            )
        texts = [str(record.get(name, "")) for name in ("agent", "bonus", "env")]
        check_trust(foreign(texts if makes_env else texts[:2], extra), trust)
        return cls.from_dict({k: v for k, v in record.items() if k not in _DERIVED}, extra, trust)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], extra: Iterable[type] = (), trust: Container[str] = ()
    ) -> "RunConfig":
        """Return the configuration with these fields, agent and bonus as constructor text."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise unknown_name("field of the configuration", name, fields)
        missing = [
            name
            for name, field in fields.items()
            if field.default is field.default_factory is dataclasses.MISSING and name not in values
        ]
        if missing:
            raise InvalidSetting(f"The configuration lacks {', '.join(missing)}.")
        parts: dict[str, Any] = {"jax_settings": tuple(values.get("jax_settings") or ())}
        extra = tuple(extra)
        for kind in ("agent", "bonus"):
            if not isinstance(values[kind], str):
                raise InvalidSetting(f"{kind} must be constructor text, not {values[kind]!r}.")
            parts[kind] = parse(values[kind], kind, extra, trust)
        if values.get("init_from") is not None:
            parts["init_from"] = _origin(values["init_from"])
        return cls(**{**values, **parts})


def foreign(texts: Iterable[str], extra: Iterable[type] = ()) -> tuple[str, ...]:
    """Return the modules that making these texts would import, `extra` being there already."""
    known = tuple(map(class_name, extra))
    needed = [
        name.partition(":")[0]
        for text in texts
        for name in own_names(text)
        if not not_importable(name)  # which is said when it is made
        and not any(name == given or name.startswith(f"{given}.") for given in known)
    ]
    return tuple(dict.fromkeys(needed))


def _origin(record: Any) -> Origin:
    names = {field.name for field in dataclasses.fields(Origin)}
    if not isinstance(record, Mapping) or {*record, "iteration"} != names:
        raise InvalidSetting(f"init_from must hold {', '.join(sorted(names))}, not {record!r}.")
    return Origin(**record)


_DERIVED = frozenset({"format", "digest", "resolved", "spec", "view", "code"})


def resolve(value: Any) -> Any:
    """Return settings as nested JSON values: {"class": name, field: value, ...}."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: resolve(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [resolve(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no infinity
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def short_name(part: Any) -> str:
    """Return the class names from the outside in, such as Scale-MedianRatio-VIME."""
    names = [part.__name__ if isinstance(part, type) else type(part).__name__]
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            inner = value if isinstance(value, tuple) else (value,)
            names += [short_name(item) for item in inner if hasattr(item, "rescore")]
    return "-".join(names)


def safe_name(text: str) -> str:
    """Return `text` as one component of a path on any file system, at most 96 characters."""
    safe = re.sub(r"[^A-Za-z0-9_.+=-]+", "-", text).strip("-.") or "unnamed"
    if len(safe) <= 96:
        return safe
    return f"{safe[:87]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _describe(spec: Spec) -> dict[str, Any]:
    view = spec.view
    essentials = {
        "num_envs": spec.num_envs,
        "obs": resolve(spec.obs),
        "action": resolve(spec.action),
        "max_episode_steps": spec.max_episode_steps,
        "success_return": spec.success_return,
    }
    return {"spec": essentials, "view": None if view is None else resolve(view)}
