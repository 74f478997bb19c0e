"""Runs one command so that nothing of it outlives whoever started it.  A program of its own, standard library only.

    python -I -S supervisor.py GRACE COMMAND…

The command gets a session of its own and no input.  Standard input here is a pipe whose other end the client holds:
when it closes - because the client wants the step to stop, or because the client was killed - the command and all its
descendants get SIGTERM, and SIGKILL after GRACE seconds.  Processes that leave the session are found too: on Linux
orphans of the command become children of this process (PR_SET_CHILD_SUBREAPER).  Ends with the command's exit code,
128 + N for signal N.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LINUX = sys.platform == "linux"
ROUNDS = 3
KILL_WAIT = 5.0  # seconds to wait for killed processes to go; only one that hangs in the kernel needs more


class Supervisor:
    """One command, its descendants, and the pipe to the client."""

    def __init__(self, command: list[str], grace: float) -> None:
        self.grace = grace
        self.parent = os.getppid()
        self.status: int | None = None
        self.wake = _wake_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self.asked = False
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.child = os.fork()
        if self.child == 0:
            _become(command)

    def run(self) -> int:
        """Wait for the command or the client's word; returns the exit code when nothing is left."""
        while self.status is None and not self.asked:
            self.wait(1.0, [0, self.wake])
        if self.alive():
            self.stop()
        if self.status is None:
            return 128 + signal.SIGKILL
        code = os.waitstatus_to_exitcode(self.status)
        return 128 - code if code < 0 else code

    def wait(self, seconds: float, descriptors: list[int]) -> None:
        readable, _, _ = select.select(descriptors, [], [], seconds)
        if self.wake in readable:
            signals = os.read(self.wake, 512)
            self.asked |= any(number != signal.SIGCHLD for number in signals)
        self.asked |= 0 in readable or os.getppid() != self.parent
        self.reap()

    def reap(self) -> bool:
        """Take the exit codes of whoever ended; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self.child:
                self.status = status

    def stop(self) -> None:
        """TERM to all that is left, KILL after the grace."""
        self.send(signal.SIGTERM)
        deadline = time.monotonic() + self.grace
        while (alive := self.alive()) and time.monotonic() < deadline:
            self.wait(0.05, [self.wake])
        deadline = time.monotonic() + KILL_WAIT
        while alive and time.monotonic() < deadline:
            self.send(signal.SIGKILL)
            self.wait(0.05, [self.wake])
            alive = self.alive()

    def alive(self) -> bool:
        """Whether anything is left.  Where orphans do not become our children, the group says so."""
        if self.reap():
            return True
        if LINUX:
            return False
        try:
            os.killpg(self.child, 0)
        except OSError:
            return False
        return True

    def send(self, number: int) -> None:
        """Signal the command's group as one, and every descendant that left it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, number)
        told = set[int]()
        for _ in range(ROUNDS):  # one that is not told yet may have started another after the look at who there is
            fresh = {pid for pid in descendants(os.getpid()) if _group(pid) != self.child} - told
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            told |= fresh


def _group(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def descendants(root: int) -> list[int]:
    """Every process below `root`, as /proc tells; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stream:
                parent = int(stream.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _become(command: list[str]) -> None:
    """In the child: a session of its own, no input, default signals; dies with the supervisor."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"error: {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wake_on(*numbers: int) -> int:
    """A descriptor that has one byte for each of these signals that came."""
    readable, writable = os.pipe()
    for descriptor in (readable, writable):
        os.set_blocking(descriptor, False)
    for number in numbers:
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _prctl(option: int, value: int) -> None:
    if LINUX:
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(Supervisor(sys.argv[2:], float(sys.argv[1])).run())
