"""Training with everything around it: directory, log, checkpoints, progress, Ctrl-C, films."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import BadEnvironmentData
from explorax.envs import suite
from explorax.run import checkpoint, maps
from explorax.run.cache import use_compilation_cache
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.drivers import DeviceDriver, HostDriver, make_driver
from explorax.run.film import film_of
from explorax.run.interrupt import Interrupted, Stop, listening
from explorax.run.log import MetricsFile
from explorax.run.meta import Meta, now
from explorax.run.progress import Progress
from explorax.run.tensorboard import TensorBoard, check_installed

_FRESH_EPISODES = (
    "Resumed: what was learned was restored. The episodes under way were not (the environment's "
    "own state cannot be saved): each environment began a new episode."
)


def train(
    config: RunConfig,
    root: str | Path = "runs",
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
    checkpoint_seconds: float = 60.0,
    env: Any = None,
    place: Path | None = None,
) -> Path:
    """Return the run directory, after training every seed of `config`.

    resume: continue what is there, to the byte as if it had never stopped where the environment is
    in JAX; starts from the beginning where there is nothing, and does nothing where all is done.
    overwrite: delete what is there. env: the environment or task itself, where its name is not in
    the catalogue. checkpoint_seconds: the least time between two checkpoints. place: the run
    directory itself, in place of the one that `root` and the configuration decide.

    Raises RunDirectoryError, CheckpointError, NotEnoughMemory, Incompatible, UnknownName before the
    run starts; BadEnvironmentData, with what was learned saved; Interrupted after Ctrl-C.
    """
    begun = time.perf_counter()
    use_compilation_cache()
    if tensorboard:
        check_installed()
    directory = RunDirectory(config.directory(root) if place is None else place)
    directory.check_free(config, resume, overwrite)
    environment = suite.make(config.env if env is None else env, config.num_envs)
    total = config.iterations * config.env_steps_per_iteration * config.seeds
    title = f"{config.env} {config.directory(root).parent.name}"
    with Progress(title, total, progress) as shown, listening() as stop:
        if resume and directory.done:
            shown.note(f"Nothing to do: {directory.path} is finished.")
            return directory.path
        driver = make_driver(config, environment)
        compile_seconds = driver.compile()
        with directory.locked():
            if overwrite:
                directory.clear()
            directory.create(config.to_json(environment.spec))
            run = _Run(config, environment, directory, driver, shown, stop, checkpoint_seconds)
            run.go(begun, compile_seconds, tensorboard)
    if progress:
        print(f"Everything is in {directory.path}/ (see it with: explorax report {directory.path})")
    return directory.path


def resume_run(run_dir: str | Path, *, extra: tuple[type, ...] = (), **options: Any) -> Path:
    """Return the directory of an unfinished run after finishing it; `options` as for `train`.

    extra: classes of the caller's own that its configuration names.
    """
    path = Path(run_dir).resolve()  # it may have been moved or renamed since
    config = RunDirectory(path).read_config(extra)
    return train(config, resume=True, place=path, **options)


class _Run:
    """One process's share of a run. Chunks are counted from the start of the run."""

    def __init__(
        self,
        config: RunConfig,
        env: Any,
        directory: RunDirectory,
        driver: DeviceDriver | HostDriver,
        progress: Progress,
        stop: Stop,
        checkpoint_seconds: float,
    ) -> None:
        self.config, self.env, self.directory = config, env, directory
        self.driver, self.progress, self.stop = driver, progress, stop
        self.checkpoint_seconds = checkpoint_seconds
        view = env.spec.view
        ends = maps.phase_ends(len(config.chunks))
        self.survey_problem, survey = _working_survey(env, config.bonus, driver)
        self.maps = maps.Maps(view, config.seeds, ends, survey) if view is not None else None
        self.chunk = 0
        self.warm = driver.compiles_ahead  # else the first chunk's time is mostly compilation
        self.timed_env_steps = 0  # of all seeds
        self.seconds = 0.0  # in the training programs: without maps, checkpoints, compilation
        self.state: Any = None

    def go(self, begun: float, compile_seconds: float | None, tensorboard: bool) -> None:
        """Restore or start, train, and finish the directory."""
        length = self.restore()
        self.meta = Meta(self.directory, resumed=self.chunk > 0, begun=begun)
        if self.chunk and not self.driver.restores_everything:
            self.say(_FRESH_EPISODES)
        if self.survey_problem:
            self.say(f"No map of the bonus over the state space: {self.survey_problem}")
        self.meta.write(compile_seconds=compile_seconds and round(compile_seconds, 3))
        self.metrics = MetricsFile(self.directory.metrics, length)
        numbers = self.config.seed_numbers
        events = None
        if tensorboard:
            events = TensorBoard(self.directory.tensorboard, numbers, self.env_steps)
        try:
            self.loop(events)
        except BaseException:
            self.meta.write(status="failed", env_steps=self.env_steps)
            raise
        finally:
            self.metrics.close()
            if events is not None:
                events.close()
        if self.stop.requested:
            self.interrupted()
        self.finish()
        if self.stop.requested:  # during the film: this run is whole, and no other shall begin
            raise Interrupted(
                self.directory.path,
                f"Stopped. {self.directory.path} had just finished.",
                self.stop.signal_number or 2,
            )

    @property
    def env_steps(self) -> int:
        """Of each seed, so far."""
        return sum(self.config.chunks[: self.chunk]) * self.config.env_steps_per_iteration

    def say(self, text: str) -> None:
        self.meta.note(text)
        self.progress.note(text)

    def restore(self) -> int:
        """Take state and chunk from the newest checkpoint, if any; return the log's bytes there."""
        config = self.config
        header = checkpoint.latest(self.directory.checkpoints, config.digest, config.seed)
        if header is None:
            self.state = self.driver.start()
            return 0
        template = self.saved(self.driver.template)
        saved = checkpoint.restore(header, template)
        self.state = self.driver.from_saved(saved["training"])
        if self.maps is not None:
            self.maps.state = {name: np.array(each) for name, each in saved["maps"].items()}
        self.chunk = header.chunk
        return header.metrics_bytes

    def saved(self, training: Any) -> dict[str, Any]:
        return {"training": training, "maps": {} if self.maps is None else self.maps.state}

    def save(self) -> Path:
        self.metrics.sync()
        path = checkpoint.save(
            self.directory.checkpoints,
            self.saved(self.driver.to_saved(self.state)),
            digest=self.config.digest,
            seed=self.config.seed,
            chunk=self.chunk,
            metrics_bytes=self.metrics.length,
        )
        self.meta.write(env_steps=self.env_steps)
        return path

    def loop(self, events: TensorBoard | None) -> None:
        """Train chunk by chunk until the end or until asked to stop; save at either."""
        config = self.config
        first, saved_at = self.env_steps, time.perf_counter()
        self.progress.begin(first * config.seeds)
        while self.chunk < len(config.chunks) and not self.stop.requested:
            metrics = self.advance()
            self.metrics.append(config.seed_numbers, metrics)
            if events is not None:
                events.append(metrics)
            self.note_divergence(metrics)
            self.survey()
            self.progress.show(self.env_steps * config.seeds, metrics)
            if time.perf_counter() - saved_at >= self.checkpoint_seconds:
                self.save()
                saved_at = time.perf_counter()
        if self.seconds:
            self.meta.write(env_steps_per_second=round(self.timed_env_steps / self.seconds, 1))
        self.save()

    def advance(self) -> dict[str, np.ndarray]:
        begun, iterations = time.perf_counter(), self.config.chunks[self.chunk]
        try:
            state, metrics = self.driver.advance(self.state, iterations)
        except BadEnvironmentData as error:
            path = self.save()
            raise BadEnvironmentData(
                f"{error} What was learned until {self.env_steps:,} env steps is saved in {path}; "
                f"mend the environment and continue with --resume."
            ) from error
        self.state = state
        self.chunk += 1
        if self.warm:
            env_steps = iterations * self.config.env_steps_per_iteration
            self.seconds += time.perf_counter() - begun
            self.timed_env_steps += env_steps * self.config.seeds
        self.warm = True
        return metrics

    def survey(self) -> None:
        if self.maps is not None and self.maps.ends_phase(self.chunk):
            learner = self.driver.learner(self.state)
            tally = self.driver.tally(self.state)
            self.maps.record(self.chunk, self.env_steps, tally, learner.bonus, learner.key)
            self.maps.write(self.directory, self.chunk)

    def note_divergence(self, metrics: dict[str, np.ndarray]) -> None:
        """Say once for each seed that its numbers stopped being numbers."""
        broken = np.asarray(_has_nan(self.driver.learner(self.state).agent, self.config.seeds))
        for name in ("reward_mean", "bonus_mean", "bonus_max"):
            broken = broken | ~np.isfinite(metrics[name])
        known = self.meta.record["diverged"]
        for row in np.flatnonzero(broken):
            seed = str(self.config.seed_numbers[row])
            if seed not in known:
                known[seed] = self.env_steps
                self.say(
                    f"Seed {seed} diverged: NaN or infinity in its bonus or its agent's parameters "
                    f"at {self.env_steps:,} env steps. Its rows from there on mean nothing; lower "
                    f"the step size or the bonus's scale."
                )

    def interrupted(self) -> None:
        number = self.stop.signal_number
        self.meta.write(status="interrupted")
        raise Interrupted(
            self.directory.path,
            f"Stopped at {self.env_steps:,} env steps per seed and saved in {self.directory.path}. "
            f"Go on with: explorax train --resume {self.directory.path}",
            2 if number is None else number,
        )

    def finish(self) -> None:
        if self.config.film:
            agents = self.driver.learner(self.state).agent
            problem = film_of(self.directory, self.config, self.env, agents)
            if problem:
                self.say(f"No film: {problem}")
        self.meta.write(status="finished", finished=now(), env_steps=self.env_steps)
        self.directory.write_done(f"{self.env_steps} env steps of each seed")


def _working_survey(env: Any, bonus: Any, driver: Any) -> tuple[str, Any]:
    """Return (what is wrong with it, the survey); a map is not worth a failed run."""
    survey = maps.survey(env, bonus)
    if survey is None or not isinstance(driver, DeviceDriver):
        return "", None
    learner = driver.template.learner
    try:
        jax.eval_shape(survey, learner.bonus, learner.key)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], None
    return "", survey


@partial(jax.jit, static_argnums=1)
def _has_nan(agents: Any, seeds: int) -> jax.Array:
    """Return for each seed [S] whether a number in its agent's state is NaN."""
    floats = [leaf for leaf in jax.tree.leaves(agents) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    broken = jnp.zeros(seeds, bool)
    for leaf in floats:
        broken |= jnp.isnan(leaf).reshape(seeds, -1).any(axis=1)
    return broken
