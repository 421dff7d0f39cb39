"""Preflight: before anything starts, validate the settings, lock the data folder and test the ports.

Two locks protect the data folder. The supervisor holds `supervisor.lock` while the stack runs. The supervisor, its
watchdog and all processes hold `watchdog.lock` until the last process of the stack has stopped. If the supervisor is
killed, a new stack waits until the old processes have stopped. The kernel releases a lock when all processes that hold
the lock have stopped, even after kill -9.

Note: two servers that listen with SO_REUSEPORT share a port without an error. A port is therefore free only if a
socket without SO_REUSEPORT can be bound to it and no server accepts connections on it.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from infra.embedded.child import signal_name
from infra.embedded.stack_file.stack import Stack

CONNECT_TIMEOUT_SECONDS = 0.5
MAX_CLEANUP_SECONDS = 6.0  # more than the time in which the watchdog or a guard ends a process
POLL_SECONDS = 0.05


class PreflightError(Exception):
    """A setting is wrong or a resource is in use. The message says which one, and what to change."""


def prepare(stack: Stack) -> int | None:
    """Check everything that the stack needs, and lock its data folder. Raises `PreflightError`.

    Return the descriptor of the watchdog's lock, or None if the stack has no data folder.
    """
    _run_check(stack)
    lock = None if stack.data_folder is None else _lock_folder(stack, stack.data_folder)
    _check_hosts(stack)
    _check_ports(stack)
    if stack.scratch_folder is not None:
        create_empty(stack.scratch_folder)
    return lock


def _run_check(stack: Stack) -> None:
    if not stack.check:
        return
    try:
        check = subprocess.run(  # noqa: S603 - the stack file names the command
            stack.check, env=stack.environment, check=False, capture_output=True, text=True
        )
    except OSError as error:
        raise PreflightError(f"cannot run the command `check` of the stack file: {error}") from error
    if check.returncode != 0:
        output = (check.stdout + check.stderr).strip().removeprefix("error: ")
        raise PreflightError(output or _silent_failure(stack.check, check.returncode))


def _silent_failure(command: Sequence[str], code: int) -> str:
    end = f"exited with code {code}" if code >= 0 else f"was stopped by {signal_name(-code)}"
    return f"the command `check` of the stack file {end} and printed nothing; to see why, run it: {shlex.join(command)}"


def _lock_folder(stack: Stack, folder: Path) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.stat()  # raises an OSError for a loop of links
        if folder.is_symlink() and not folder.exists():
            target = folder.resolve()
            raise PreflightError(
                f"the data folder {folder} is a link to {target}, which does not exist: mount its disk. For a new data "
                f"folder, create it: mkdir {target}"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
        supervisor, watchdog = _open(folder / "supervisor.lock"), _open(folder / "watchdog.lock")
    except OSError as error:
        raise PreflightError(
            f"cannot use the data folder {folder}: {error}; {_owner_advice(folder, error)}"
            f"set {stack.variable(stack.data_setting or '')} to a folder that this user can write to"
        ) from error
    if not _lock(supervisor):
        owner = os.pread(supervisor, 20, 0).decode(errors="replace")
        raise PreflightError(
            f"another stack (process {owner}) uses the data folder {folder}: stop it, "
            f"or set {stack.variable(stack.data_setting or '')} and the ports to run a second stack"
        )
    deadline = time.monotonic() + MAX_CLEANUP_SECONDS
    while not _lock(watchdog):
        if time.monotonic() > deadline:
            raise PreflightError(
                f"processes of a killed stack still use the data folder {folder}: start again when they have stopped"
            )
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(OSError):  # the disk is full, and only the message above contains the number
        os.truncate(supervisor, 0)
        os.pwrite(supervisor, str(os.getpid()).encode(), 0)
    return watchdog


def _owner_advice(folder: Path, error: OSError) -> str:
    """Return how to give this user the folder if another user owns it, or the file in it that `error` names."""
    user = os.geteuid()
    for path in (folder, error.filename) if isinstance(error, PermissionError) else ():
        with contextlib.suppress(OSError):
            if (owner := Path(path).stat().st_uid) != user:
                users = f"{path} belongs to {_user(owner)}, and this process runs as {_user(user)}"
                return f"{users}: make {_user(user)} the owner of the folder and its files, or "
    return ""


def access_advice(folder: Path) -> str:
    """Return how to make the files of the data folder usable that this user cannot read or write, if there are any."""
    with contextlib.suppress(OSError):
        if files := [str(file) for file in sorted(folder.iterdir()) if not os.access(file, os.R_OK | os.W_OK)]:
            user = _user(os.geteuid())
            return f"{user} cannot read or write {', '.join(files)}: make {user} the owner, with the mode 600"
    return ""


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:  # in a container
        return f"the user {number}"


def _make_private(folder: Path) -> None:
    """Deny other users access to the data folder and its files, even if an earlier version or a copy allowed it.

    This does not change folders that all users share, such as /tmp, and folders and files of other users.
    """
    status = folder.stat()
    if status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return
    folder.chmod(0o700)
    for file in folder.iterdir():
        status = file.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
            file.chmod(stat.S_IMODE(status.st_mode) & 0o700)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_hosts(stack: Stack) -> None:
    for setting in {process.host_setting for process in stack.processes if process.host_setting is not None}:
        host = str(stack.settings[setting])
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as listening:
                listening.bind(address)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is empty or too long
            reason = error.strerror if isinstance(error, OSError) else "not a valid host name"
            raise PreflightError(f"cannot listen on {host} ({stack.variable(setting)}): {reason}") from error


def _check_ports(stack: Stack) -> None:
    problems = []
    for process in stack.processes:
        port = stack.port(process)
        problem = None if port is None else _port_problem(stack.host(process), port)
        if process.port_setting is not None and problem is not None:
            variable = stack.variable(process.port_setting)
            problems.append(
                f"port {port} on {stack.host(process)} {problem}: set {variable} to a free port for {process.name}"
            )
    if problems:
        problems.append("or stop the server that uses the port, which may belong to a stack with another data folder")
        raise PreflightError("\n".join(problems))


def _port_problem(host: str, port: int) -> str | None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections of a stopped server
        try:
            listening.bind(address)
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    with socket.socket(family, kind, protocol) as client:
        client.settimeout(CONNECT_TIMEOUT_SECONDS)
        return "is in use" if client.connect_ex(address) == 0 else None


def create_empty(folder: Path) -> None:
    """Create a private folder, or empty it. Its parent may be a folder in which all users can create folders."""
    try:
        with contextlib.suppress(FileNotFoundError):
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise PreflightError(f"the scratch folder {folder} belongs to another user: remove it")
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise PreflightError(f"cannot empty the scratch folder {folder}: {error}") from error


def is_private(folder: Path) -> bool:
    """Return whether a folder exists and belongs to this user. Another user can create a deleted one in /dev/shm."""
    with contextlib.suppress(FileNotFoundError):
        status = folder.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return False
