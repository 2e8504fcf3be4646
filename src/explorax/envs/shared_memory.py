"""Memory that several processes see: a file without a name, that lasts while somebody has it."""

import errno
import os
import socket
import tempfile

from explorax.core.errors import NotEnoughMemory

IN_MEMORY = "/dev/shm"  # of Linux; elsewhere, and where it is full, a file on a disk does too
_BLOCK = bytes(1 << 20)


def allocate(size: int) -> int:
    """Return a file descriptor of `size` bytes, each 0, that are there to be written to.

    Raises NotEnoughMemory where neither /dev/shm nor the directory for temporary files has room.
    """
    told = []
    for find in (lambda: IN_MEMORY, tempfile.gettempdir):
        place = ""
        try:
            place = find()
            return _allocate_in(place, size)
        except OSError as error:
            told.append(f"{place}: {error.strerror or error}".removeprefix(": "))
    raise NotEnoughMemory(
        f"Worker processes share {size:,} bytes of memory with the one that trains, and there is "
        f"no room ({'; '.join(told)}). Make {IN_MEMORY} larger (docker run --shm-size=1g), set "
        "TMPDIR to a directory with room, have fewer environments, or leave workers at 0."
    )


def _allocate_in(place: str, size: int) -> int:
    file, path = tempfile.mkstemp(dir=place)
    try:
        os.unlink(path)
        done = 0
        # A file of that length may be had without a page behind it, and the first to write there
        # would die of SIGBUS. What has been written is there, on every kind of file system.
        while done < size:
            wrote = os.pwrite(file, _BLOCK[: size - done], done)
            if not wrote:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done += wrote
    except BaseException:
        os.close(file)
        raise
    return file


def send(connection: int, file: int) -> None:
    """Give another process the file, through the socket that `connection` describes."""
    with socket.socket(fileno=os.dup(connection)) as channel:
        socket.send_fds(channel, [b"."], [file])


def receive(connection: int) -> int:
    """Return the file that `send` gives. Raises OSError where nothing came."""
    with socket.socket(fileno=os.dup(connection)) as channel:
        _, files, _, _ = socket.recv_fds(channel, 1, 1)
    if not files:
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
    return files[0]
