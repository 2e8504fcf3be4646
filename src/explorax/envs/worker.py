"""Processes that step environments: one that hangs can be stopped, and one that dies replaced."""

import contextlib
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from explorax.core.errors import BadEnvironmentData, ExploraxError, Incompatible, in_words
from explorax.envs import shared_memory
from explorax.envs.supervision import Supervision
from explorax.envs.surroundings import Surroundings, interpreter, surroundings
from explorax.envs.worlds import Build, Fault, Rows, Share, layout

_START_S = 120.0  # for a process to begin, and to make its environments
_MAIN = "from explorax.envs.worker import main; main()"
_FINISH = pickle.dumps(("finish", ()))
_Fields = dict[str, tuple[tuple[int, ...], str]]


def launch(
    name: str, build: Build, num_envs: int, supervision: Supervision
) -> tuple[Sequence["Remote"], Rows, Any]:
    """Return (shares of the environments, the rows that they write, the space of actions)."""
    if sys.platform == "win32":
        raise Incompatible("Worker processes need Linux or macOS. Leave workers at 0.")
    count = min(supervision.workers, num_envs)
    edges = [num_envs * i // count for i in range(count + 1)]
    shares: list[Remote] = []
    try:
        for i in range(count):
            indices = range(*edges[i : i + 2])
            shares.append(Remote(name, build, indices, num_envs, supervision.step_limit_s))
        kinds = [share.made() for share in shares]
        fields, action_space = kinds[0]
        memory = shared_memory.allocate(_size(fields))
        try:
            rows = _mapped(fields, memory)
            for share in shares:
                share.open(rows, fields, memory)
        finally:
            os.close(memory)
    except BaseException:
        for share in shares:
            share.close()
        raise
    return shares, rows, action_space


class Remote:
    """The environments of `indices`, stepped by a process of their own.

    The rows of a step are in memory that both see; commands and faults go through a socket. The
    process hears no Ctrl-C, which is for the one that trains, and ends when that one does, however
    that ends: a pipe between them breaks.
    """

    def __init__(
        self,
        name: str,
        build: Build,
        indices: range,
        num_envs: int,
        limit_s: float | None,
    ) -> None:
        self.name, self.indices, self.limit_s = name, indices, limit_s
        self.memory = -1  # the file that holds the rows
        CloudpickleWrapper: Any = import_module("gymnasium.vector.utils").CloudpickleWrapper

        try:  # what a script of the user's own has defined can be sent too
            self.build, self.num_envs = pickle.dumps(CloudpickleWrapper(build)), num_envs
        except Exception as error:  # pickling raises whatever it pleases
            raise Incompatible(
                f"{name} cannot be sent to a worker process: {in_words(error)}. Leave workers at "
                "0, or register it in a module that the process can import."
            ) from error
        self.rows: Rows | None = None
        self._launch(0)

    def _launch(self, step: int) -> None:
        self.step = step
        ours, theirs = socket.socketpair()
        ear, self.lifeline = os.pipe()
        given = (theirs.fileno(), ear)
        self.process = subprocess.Popen(
            interpreter(_MAIN, given),
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # nothing is computed there with JAX, which need not look for a GPU
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        theirs.close()
        os.close(ear)
        self.connection = Connection(ours.detach())
        self._send("make", surroundings(), self.build, self.indices, step, self.num_envs)

    def made(self) -> tuple[_Fields, Any]:
        """Return (what rows hold, the space of actions) once the environments are made."""
        try:
            return self._answer(_START_S)
        except _Gone as gone:
            raise BadEnvironmentData(f"{self._named()}: they could not be made: {gone}.") from None

    def open(self, rows: Rows, fields: _Fields, memory: int) -> None:
        self.rows, self.fields, self.memory = rows, fields, os.dup(memory)
        self._map()

    def _map(self) -> None:
        self._send("map", self.fields)
        with contextlib.suppress(OSError):  # the process is gone, as `_answer` will find
            shared_memory.send(self.connection.fileno(), self.memory)
        self._answer(_START_S)

    def reset(self, seeds: Sequence[int]) -> list[Fault]:
        return self._asked("reset", list(seeds))

    def begin(self, step: int) -> None:
        self.step = step
        with contextlib.suppress(OSError):  # the process is gone, as `finish` will find
            self.connection.send_bytes(_FINISH)

    def finish(self) -> list[Fault]:
        try:
            return self._answer(self.limit_s)
        except _Gone as gone:
            return [self._lost(gone)]

    def restart(self, index: int, seed: int, step: int) -> list[Fault]:
        return self._asked("restart", index, seed, step)

    def launch_again(self, step: int) -> None:
        """Begin a new process in place of the one that is gone."""
        self._launch(step)
        try:
            self.made()
            self._map()
        except BaseException:
            self._kill()
            raise

    def draw(self, index: int) -> np.ndarray:
        self._send("draw", index)
        return self._answer(_START_S)

    def close(self) -> None:
        """Let the environments be closed, and then end the process, whatever it does."""
        self.connection.close()
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
        self._kill()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # and whatever it has started itself
        self.process.wait()
        self.connection.close()
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def _asked(self, command: str, *arguments: Any) -> list[Fault]:
        try:
            self._send(command, *arguments)
            return self._answer(None if self.limit_s is None else _START_S + self.limit_s)
        except _Gone as gone:
            return [self._lost(gone)]

    def _send(self, command: str, *arguments: Any) -> None:
        with contextlib.suppress(OSError):  # the process is gone, as `_answer` will find
            self.connection.send_bytes(pickle.dumps((command, arguments)))

    def _answer(self, limit_s: float | None) -> Any:
        """Return what the process answers. Raises _Gone, and what it raised itself."""
        begun = self._begun()
        try:
            while not self.connection.poll(limit_s):
                before, begun = begun, self._begun()
                if begun == before:  # no other environment was begun meanwhile
                    raise _Gone(f"it has not answered for {limit_s:g} s and was stopped")
            value = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise _Gone(f"its process died ({_end(self.process)})") from None
        if isinstance(value, _Raised):
            raise BadEnvironmentData(f"{self._named()}: {value}.")
        if isinstance(value, Exception):
            raise value
        return value

    def _named(self) -> str:
        return f"{self.name}, environments {self.indices[0]} to {self.indices[-1]}"

    def _begun(self) -> int:
        span = slice(self.indices.start, self.indices.stop)
        return 0 if self.rows is None else int(self.rows.begun[span].sum())

    def _lost(self, gone: "_Gone") -> Fault:
        """Return the fault of the environment that was under way."""
        self._kill()
        ready = () if self.rows is None else self.rows.ready
        index = next((each for each in self.indices if not ready[each]), self.indices[0])
        return Fault(index, f"{self.name}, environment {index}, step {self.step}: {gone}.", True)


class _Gone(ExploraxError):
    """The process does not answer."""


class _Raised(Exception):
    """What the process did not expect to be raised, in words."""


def _end(process: subprocess.Popen[bytes]) -> str:
    """Return how the process ended, in words."""
    try:
        code = process.wait(5.0)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    if code >= 0:
        return f"exit status {code}"
    return f"killed by {signal.Signals(-code).name}"


def _size(fields: _Fields) -> int:
    return sum(_padded(shape, dtype) for shape, dtype in fields.values())


def _padded(shape: tuple[int, ...], dtype: str) -> int:
    """Return the bytes of an array, so that the next one begins at a multiple of 64."""
    return -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 64) * 64


def _mapped(fields: _Fields, file: int) -> Rows:
    memory, offset, arrays = mmap.mmap(file, _size(fields)), 0, {}
    for name, (shape, dtype) in fields.items():
        arrays[name] = np.ndarray(shape, dtype, memory, offset)
        offset += _padded(shape, dtype)
    return Rows(**arrays)


class _Worker:
    """What a process does for the one that launched it."""

    def __init__(self, connection: int) -> None:
        self.connection = connection

    def make(
        self, around: Surroundings, build: bytes, indices: range, steps: int, num_envs: int
    ) -> tuple[_Fields, Any]:
        around.adopt()
        self.share = Share(pickle.loads(build).fn, indices, steps)
        world = self.share.worlds[indices[0]]
        return layout(num_envs, world), world.action_space

    def map(self, fields: _Fields) -> None:
        memory = shared_memory.receive(self.connection)
        try:
            self.share.open(_mapped(fields, memory))
        finally:
            os.close(memory)

    def do(self, command: str, arguments: tuple[Any, ...]) -> Any:
        own = getattr(self, command, None)
        return (own or getattr(self.share, command))(*arguments)


def main() -> None:
    """Serve the process that launched this one until it closes the connection, or is gone."""
    file, ear = map(int, sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(ear,), daemon=True).start()
    connection, worker = Connection(file), _Worker(file)
    with contextlib.suppress(EOFError, OSError):
        while True:
            command, arguments = pickle.loads(connection.recv_bytes())
            try:
                answer = pickle.dumps(worker.do(command, arguments))
            except ExploraxError as error:
                answer = pickle.dumps(error)
            except BaseException as error:  # sys.exit() too: who asked is to be told
                answer = pickle.dumps(_Raised(f"{command} raised {in_words(error)}"))
            connection.send_bytes(answer)
    with contextlib.suppress(AttributeError):  # of which none was made
        worker.share.close()


def _end_with_parent(ear: int) -> None:
    os.read(ear, 1)  # nothing is ever written: this returns when the other end is gone
    os._exit(1)
