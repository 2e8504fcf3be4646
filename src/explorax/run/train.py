"""Training with everything around it: directory, log, checkpoints, progress, Ctrl-C, films."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from explorax.checking import check_foreign
from explorax.core import jax_settings
from explorax.core.errors import BadEnvironmentData, Diverged
from explorax.envs import suite
from explorax.envs.supervision import ALONE, Supervision
from explorax.files import user_path
from explorax.run import checkpoint, code, divergence, drivers, maps
from explorax.run.cache import use_compilation_cache
from explorax.run.checkpoint import saved_in
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.divergence import Broken
from explorax.run.drivers import DeviceDriver, HostDriver, make_driver, signs
from explorax.run.film import film_of
from explorax.run.inherit import Inheritance, inherit
from explorax.run.interrupt import Interrupted, Stop, listening
from explorax.run.log import MetricsFile
from explorax.run.meta import Meta, now
from explorax.run.paths import paths_of
from explorax.run.progress import Progress
from explorax.run.tensorboard import TensorBoard, check_installed
from explorax.run.visited import Visited, can_be_projected

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
    on_divergence: str = "stop",
    supervision: Supervision = ALONE,
    env: Any = None,
    place: Path | None = None,
    stale: str = "stop",
) -> Path:
    """Return the run directory, after training every seed of `config`.

    resume: continue what is there, to the byte as if it had never stopped where the environment is
    in JAX; starts from the beginning where there is nothing. A finished run is kept.
    overwrite: delete what is there. env: the environment or task itself, where its name is not in
    the catalogue. checkpoint_seconds: the least time between two checkpoints. on_divergence: what
    to do when a number of any seed is no longer finite, "stop", with all saved, or "note" it and go
    on. supervision: who steps environments outside JAX, and how often one may be restarted after a
    fault. place: the run directory itself, in place of the one that `root` and the configuration
    decide. stale: what to do with what is there and came from other code, "stop", before anything
    is trained, "keep" it and say so, or "retrain" it.

    Raises RunDirectoryError, CheckpointError, NotEnoughMemory, Incompatible, UnknownName before the
    run starts; Diverged and BadEnvironmentData, with what was learned saved; Interrupted after
    Ctrl-C.
    """
    begun = time.perf_counter()
    divergence.check_choice(on_divergence)
    code.check_choice(stale)
    jax_settings.check_same(config.jax_settings)
    use_compilation_cache()
    if tensorboard:
        check_installed()
    root = user_path(root)
    directory = RunDirectory(config.directory(root) if place is None else place)
    directory.check_free(config, resume, overwrite)
    resume = resume or (directory.done and not overwrite)
    environment = suite.make(config.env if env is None else env, config.num_envs)
    environment = suite.supervised(environment, supervision)
    near = root if place is None else place.parents[2]
    made_with = code.code_of(config, environment, near)
    told = ""
    if resume:
        overwrite, told = code.heeded(directory, made_with, stale)
    total = config.iterations * config.env_steps_per_iteration * config.seeds
    title = f"{config.env} {config.directory(root).parent.name}"
    with Progress(title, total, progress) as shown, listening() as stop:
        if resume and directory.done and not overwrite:
            if told:
                directory.add_note(told)
                shown.note(told)
            shown.note(f"Finished before, kept: {directory.path}")
            return directory.path
        check_foreign(environment, config.agent, config.bonus)
        driver = make_driver(config, environment)
        taken = None
        begins = overwrite or not saved_in(directory.checkpoints)
        if config.init_from is not None and begins:
            taken = inherit(config, near, driver.agent_shapes, environment.spec)
        compile_seconds = driver.compile()
        with directory.locked():
            if overwrite:
                directory.clear()
            directory.create(config.to_json(environment.spec, made_with), anew=begins)
            run = _Run(
                config,
                environment,
                directory,
                driver,
                shown,
                stop,
                checkpoint_seconds,
                on_divergence,
            )
            run.go(begun, compile_seconds, tensorboard, taken, told)
    if progress:
        print(f"Everything is in {directory.path}/ (see it with: explorax report {directory.path})")
    return directory.path


def resume_run(
    run_dir: str | Path,
    *,
    extra: tuple[type, ...] = (),
    trust: tuple[str, ...] = (),
    **options: Any,
) -> Path:
    """Return the directory of an unfinished run after finishing it; `options` as for `train`.

    extra: classes of the caller's own that its configuration names. trust: modules that may be
    imported for others that it names.
    """
    path = user_path(run_dir).resolve()  # it may have been moved or renamed since
    config = RunDirectory(path).read_config(extra, trust, env=options.get("env"))
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
        on_divergence: str,
    ) -> None:
        self.on_divergence = on_divergence
        self.config, self.env, self.directory = config, env, directory
        self.driver, self.progress, self.stop = driver, progress, stop
        self.agent_shapes = driver.agent_shapes
        self.checkpoint_seconds = checkpoint_seconds
        ends = maps.phase_ends(len(config.chunks))
        self.survey_problem, survey = maps.working_survey(
            env, config.bonus, driver.template.learner if isinstance(driver, DeviceDriver) else None
        )
        self.maps: maps.Maps | Visited | None = None
        if env.spec.view is not None:
            self.maps = maps.Maps(env.spec.view, config.seeds, ends, survey)
        elif isinstance(driver, HostDriver) and can_be_projected(env):
            self.maps = Visited(env.spec.obs.shape[0], config.seed_numbers, ends)
            driver.watch = self.maps.see
        self.chunk = 0  # how many are over
        self.saved_at = 0.0  # by time.perf_counter
        self.warm = driver.compiles_ahead  # else the first chunk's time is mostly compilation
        self.timed_env_steps = 0  # of all seeds
        self.seconds = 0.0  # in the training programs: without maps, checkpoints, compilation
        self.state: Any = None

    def go(
        self,
        begun: float,
        compile_seconds: float | None,
        tensorboard: bool,
        taken: Inheritance | None,
        told: str,
    ) -> None:
        """Restore or start, train, and finish the directory.

        taken: what a new run starts with. told: what is to be said of the code, if anything.
        """
        length = self.restore(taken)
        resumed = self.env_steps > 0
        self.meta = Meta(self.directory, resumed=resumed, begun=begun)
        for text in self.opening(told):
            self.say(text)
        self.meta.write(compile_seconds=compile_seconds and round(compile_seconds, 3))
        self.metrics = MetricsFile(self.directory.metrics, length)
        numbers = self.config.seed_numbers
        events = None
        if tensorboard:
            events = TensorBoard(self.directory.tensorboard, numbers, self.env_steps)
        try:
            if taken is not None:
                self.meta.record["inherited_sha256"] = taken.sha256
                self.save()  # from here on the run can be resumed without the one it started from
            if self.meta.record["diverged"] and self.on_divergence == "stop":
                raise Diverged(divergence.again(self.meta.record["diverged"], self.directory.path))
            self.loop(events)
        except BaseException as error:
            status = "diverged" if isinstance(error, Diverged) else "failed"
            self.meta.write(status=status, env_steps=self.env_steps)
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
        return self.env_steps_of_chunks + self.state.done * self.config.env_steps_per_iteration

    @property
    def env_steps_of_chunks(self) -> int:
        """Of each seed, in the chunks that are over."""
        return sum(self.config.chunks[: self.chunk]) * self.config.env_steps_per_iteration

    def opening(self, told: str) -> list[str]:
        """Return what is said before the first step; `told`: of the code, if anything."""
        texts = [told] if told else []
        if self.env_steps and not self.driver.restores_everything:
            texts.append(_FRESH_EPISODES)
        if self.survey_problem:
            texts.append(f"No map of the bonus over the state space: {self.survey_problem}")
        return texts

    def say(self, text: str) -> None:
        self.meta.note(text)
        self.progress.note(text)

    def restore(self, taken: Inheritance | None) -> int:
        """Take state and chunk from the newest checkpoint, if any; return the log's bytes there."""
        config = self.config
        header = checkpoint.latest(self.directory.checkpoints, config.digest, config.seed)
        if header is None:
            self.state = self.driver.start()
            if taken is not None:
                agents = taken.given_to(self.driver.learner(self.state).agent)
                self.state = self.driver.with_agents(self.state, agents)
            return 0
        template = self.saved(self.driver.template, checkpoint.shapes_within(header, "history"))
        saved = checkpoint.restore(header, template)
        self.state = self.driver.from_saved(saved["training"], header.iteration, saved["history"])
        if self.maps is not None:
            self.maps.state = {name: np.array(each) for name, each in saved["maps"].items()}
        self.chunk = header.chunk
        return header.metrics_bytes

    def saved(self, training: Any, history: Any) -> dict[str, Any]:
        maps = {} if self.maps is None else self.maps.state
        return {"training": training, "history": history, "maps": maps}

    def save(self) -> Path:
        """Save all and return where. Raises Diverged as `heed` does, for the chunk under way."""
        done, history = self.state.done, self.driver.history(self.state)
        if done:
            self.heed(self.broken(signs(history, done)))
        self.metrics.sync()
        path = checkpoint.save(
            self.directory.checkpoints,
            self.saved(self.driver.to_saved(self.state), history),
            digest=self.config.digest,
            seed=self.config.seed,
            chunk=self.chunk,
            iteration=done,
            metrics_bytes=self.metrics.length,
        )
        self.meta.write(env_steps=self.env_steps)
        return path

    def loop(self, events: TensorBoard | None) -> None:
        """Train until the end or until asked to stop; save at either."""
        first, self.saved_at = self.env_steps, time.perf_counter()
        self.progress.begin(first * self.config.seeds)
        while self.chunk < len(self.config.chunks) and not self.stop.requested:
            over = self.advance(events)
            least = 0.0 if over else drivers.CALL_SECONDS  # short chunks are not saved in parts
            if time.perf_counter() - self.saved_at >= max(self.checkpoint_seconds, least):
                self.save()
                self.saved_at = time.perf_counter()
        if self.seconds:
            self.meta.write(env_steps_per_second=round(self.timed_env_steps / self.seconds, 1))
        self.save()

    def advance(self, events: TensorBoard | None) -> bool:
        """Go on with a chunk; return whether it is over, and written down.

        Raises Diverged as `heed` does.
        """
        begun, before = time.perf_counter(), self.env_steps
        try:
            self.state, metrics = self.driver.advance(self.state, self.config.chunks[self.chunk])
        except BadEnvironmentData as error:
            path = self.save()
            raise BadEnvironmentData(
                f"{error} What was learned until {self.env_steps:,} env steps is saved in {path}. "
                f"Go on with: {self.config.continuing(self.directory.path)}"
            ) from error
        finally:
            for text in self.driver.take_notes(self.state):
                self.say(text)
        now, broken = time.perf_counter(), []
        if metrics is not None:
            broken = self.broken(metrics)
            self.chunk += 1
        if self.warm:
            self.seconds += now - begun
            self.timed_env_steps += (self.env_steps - before) * self.config.seeds
        else:
            self.saved_at = now
        self.warm = True
        if metrics is not None:
            self.metrics.append(self.config.seed_numbers, metrics)
            if events is not None:
                events.append(metrics)
            self.survey()
        self.progress.show(self.env_steps * self.config.seeds, metrics)
        self.heed(broken)
        return metrics is not None

    def broken(self, metrics: dict[str, Any]) -> list[Broken]:
        """Return the seeds in which a number of this chunk was not finite, and take the sign of it
        out of `metrics`."""
        return divergence.take(
            metrics,
            self.agent_shapes,
            self.config.seed_numbers,
            self.env_steps_of_chunks,
            self.config.env_steps_per_iteration,
        )

    def survey(self) -> None:
        if self.maps is not None and self.maps.ends_phase(self.chunk):
            learner = self.driver.learner(self.state)
            tally = self.driver.tally(self.state)
            self.maps.record(self.chunk, self.env_steps, tally, learner.bonus, learner.key)
            self.maps.write(self.directory, self.chunk)

    def heed(self, broken: list[Broken]) -> None:
        """Say once for each seed that its numbers stopped being numbers; stop if so asked."""
        known = self.meta.record["diverged"]
        fresh = [each for each in broken if str(each.seed) not in known]
        if not fresh:
            return
        known |= {str(each.seed): each.env_steps for each in fresh}
        self.meta.record["nonfinite"] |= {str(each.seed): each.quantity for each in fresh}
        for each in fresh:
            self.meta.note(divergence.note(each))
        if self.on_divergence == "stop":
            finite = saved_in(self.directory.checkpoints)[-1:]
            path = self.save()
            told = divergence.message(fresh, path, finite[0] if finite else None, self.config.agent)
            raise Diverged(told)
        for each in fresh:
            self.progress.note(divergence.note(each))

    def interrupted(self) -> None:
        number = self.stop.signal_number
        self.meta.write(status="interrupted")
        raise Interrupted(
            self.directory.path,
            f"Stopped at {self.env_steps:,} env steps per seed and saved in {self.directory.path}. "
            f"Go on with: {self.config.continuing(self.directory.path)}",
            2 if number is None else number,
        )

    def finish(self) -> None:
        learner = self.driver.learner(self.state)
        problem = paths_of(self.directory, self.config, self.env, learner.agent)
        if problem:
            self.say(f"No picture of paths: {problem}")
        if self.config.film:
            problem = film_of(self.directory, self.config, self.env, learner)
            if problem:
                self.say(f"No film: {problem}")
        self.meta.write(status="finished", finished=now(), env_steps=self.env_steps)
        self.directory.write_done(f"{self.env_steps} env steps of each seed")
