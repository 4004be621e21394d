"""Only the installation's user can read its files: directories 0700, files 0600, each written whole or not at all.

They hold keys, signing secrets and all events. Every process gives other users no rights to the files it creates
(`keep_to_oneself`; that includes its child processes, and libraries: RocksDB, SQLite, the broker), and removes their
rights from a home that has any (`close_home`). Processes of one installation on one machine run as one user.
"""

import contextlib
import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from operations.logs import event

log = logging.getLogger("atlas.files")
OTHERS = 0o077
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS})
"""Some containers' file systems have no links; there the lock of the home keeps two processes apart."""
OURS = (
    *("master.key", "dev.json", "atlas.lock", "read-model.sqlite*"),
    *("kafka", "logs", "faust", "tables", "edge-spool", "prometheus"),
)
"""What Atlas keeps in its home, as patterns; nothing else there is touched."""


def keep_to_oneself() -> int:
    """From here on this process and its children make files that nobody else can read. Returns the umask before."""
    return os.umask(OTHERS)


def make_home(home: Path) -> str | None:
    """Makes ATLAS_HOME, or closes the one that is there: see `close_home`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return close_home(home)


def close_home(home: Path) -> str | None:
    """Takes others' rights away: to a home that is there, and to what Atlas has made in it. Returns what to say of it,
    also where it can't be done; None where there is nothing to say. Of a directory that is another user's (a volume of
    a container) the group's rights may be what we live by ourselves: they are left.
    """
    try:
        found = home.stat()
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(found.st_mode)
    if not mode & OTHERS:
        return None
    if found.st_uid != os.geteuid() or mode & stat.S_ISVTX or home in (Path.home(), Path("/")):
        return f"{home} is open to every user of this machine (mode {mode:04o})" if mode & stat.S_IRWXO else None
    home.chmod(0o700)
    count = sum(map(_closed, _made_by_us(home)))
    return (
        f"{home} was open to other users (mode {mode:04o}): closed it (0700), and {count} files and directories in it"
    )


def log_open_home(home: Path) -> None:
    """For processes: closes it, and says so in the log."""
    closed = close_home(home)
    if closed is not None:
        event(log, "home.open", logging.WARNING, told=closed)


def write_whole(path: Path, content: bytes, *, replace: bool = True) -> bool:
    """The file appears under its name once it is complete and on disk; only its owner can read it. Without `replace` an
    existing file stays, even one that appeared a moment ago; returns whether this content is the file's.
    """
    arriving = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            arriving.replace(path)
        else:
            _link(arriving, path)
        _settle(path.parent)
    except FileExistsError:
        return False
    finally:
        arriving.unlink(missing_ok=True)
    return True


def _link(arriving: Path, path: Path) -> None:
    """Raises FileExistsError, at once with giving the name: of two that come at the same time one gets it."""
    try:
        os.link(arriving, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        arriving.replace(path)


def _settle(directory: Path) -> None:
    """Else a name may be gone after a power cut, and its file with it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made_by_us(home: Path) -> Iterator[Path]:
    for pattern in OURS:
        for path in home.glob(pattern):
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from path.rglob("*")


def _closed(path: Path) -> bool:
    """Whether others had rights to it. Links are left as they are, and so are files that disappear meanwhile."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
            return True
    return False
