"""JAX's cache of compiled programs after a process was killed while it wrote an entry."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

from explorax.run import cache


def dead() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_half_an_entry_of_a_dead_process_is_deleted_and_no_other(tmp_path: Path) -> None:
    whole = zlib.compress(bytes(range(256)) * 9)
    contents = {"whole": whole, "half": whole[:-9], "none": b"", "old": whole[:-9]}
    for name, data in contents.items():
        (tmp_path / f"{name}-cache").write_bytes(data)
    (tmp_path / "else").write_bytes(whole[:-9])
    os.utime(tmp_path / "old-cache", (1, 1))  # from before the process
    there = entries(tmp_path)
    mine, others = tmp_path / f".writing-{os.getpid()}", tmp_path / f".writing-{dead()}"
    mine.touch()
    cache._mend(tmp_path)
    assert entries(tmp_path) == there | {mine.name}
    others.touch()
    cache._mend(tmp_path)
    assert entries(tmp_path) == there - {"half-cache", "none-cache"} | {mine.name}


def test_what_is_compressed_in_a_way_unknown_here_stays() -> None:
    import importlib.util

    known = any(importlib.util.find_spec(name) for name in ("compression", "zstandard"))
    assert cache._is_whole(b"\x28\xb5\x2f\xfd and more") is not known


def test_a_process_marks_itself_and_takes_its_mark_back(tmp_path: Path) -> None:
    code = (
        "from explorax.run.cache import use_compilation_cache as use; use(); use(); "
        "from pathlib import Path; print(*(p.name for p in Path('jax').iterdir()))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"],
        env=environment | {"EXPLORAX_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(".writing-")
    assert not list((tmp_path / "jax").iterdir())
