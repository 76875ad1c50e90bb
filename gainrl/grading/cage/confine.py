"""What a process takes from itself before it runs a program: resources, privileges, files (Landlock), system calls (seccomp).

Nothing of it can be undone by the process. Numbers and structures are those of Linux's user-space headers for x86_64 and
aarch64; the calls go through ctypes, since Python wraps none of them. Imports the standard library alone (see `values`).
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
from collections.abc import Iterable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of `_REFUSED`, and what seccomp calls the architecture."""

# -- resources ---------------------------------------------------------------------------------------------------------


def limit_resources(seconds: float, memory: int, file_size: int, files: int) -> None:
    """Processor seconds, bytes of address space, bytes of a file, open files; no core dump. Hard, for this process alone.

    The processor's hard limit is a second later, so that what ends the process tells why: SIGXCPU, not SIGKILL.
    """
    limits = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_NOFILE: files,
        resource.RLIMIT_CORE: 0,
    }
    for limit, amount in limits.items():
        later = amount + (limit == resource.RLIMIT_CPU)
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            amount, later = min(amount, hard), min(later, hard)
        with contextlib.suppress(ValueError, OSError):  # not every system can set these limits
            resource.setrlimit(limit, (amount, later))


def forbid_processes() -> None:
    """No further process or thread: as many as the user has already are too many. Root is exempt from this limit."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


def leave_root(user: int) -> bool:
    """Become a user without rights, if this is root and that user could still import Python's library."""
    if os.geteuid() != 0 or not _open_to_all(Path(os.__file__)):
        return False
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:  # a container that knows no such user
        return False
    return True


def _open_to_all(path: Path) -> bool:
    return path.stat().st_mode & 0o4 != 0 and all(folder.stat().st_mode & 0o1 for folder in path.parents)


# -- privileges --------------------------------------------------------------------------------------------------------


def _prctl(option: int, value: int, pointer: object = 0) -> bool:
    try:
        return bool(_LIBC.prctl(option, value, pointer, 0, 0) == 0)
    except AttributeError:  # not Linux
        return False


def die_with_parent() -> None:
    """SIGKILL when the thread that forked this process ends."""
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def hide_memory() -> None:
    """No process of the same user can trace this one or open its memory and files through /proc."""
    _prctl(4, 0)  # PR_SET_DUMPABLE


def adopt_orphans() -> None:
    """Descendants whose parent ends become this process's children, whichever session they are in."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def drop_privileges() -> None:
    """No capability now, and none through any program. Raises OSError where that fails."""
    column, _ = _MACHINES[os.uname().machine]
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)  # version 3, this process; two empty sets
    _check(_LIBC.syscall((126, 91)[column], header, nothing), "capset")
    if not _prctl(38, 1):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "no_new_privs")


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


# -- files: Landlock ---------------------------------------------------------------------------------------------------

LEAST_LANDLOCK = 3
"""Version of the kernel's interface (Linux 6.2). Before it, a file that may not be written could still be cut to nothing."""
_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
_HIGH = 200
"""A descriptor beyond those that a program's standard streams and sockets are put at."""
_ALL_FILES = (1 << 15) - 1
_DEVICES = 1 << 15  # ioctl on devices, from version 5
_MAKE = (
    _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | sum(1 << bit for bit in (4, 5, 7, 8, 12, 13))
)  # remove, dir, file, link, move from folder to folder


def landlock_version() -> int:
    """0 where the kernel has no Landlock."""
    try:
        return max(0, int(_LIBC.syscall(444, None, 0, 1)))
    except AttributeError:
        return 0


def make_rules(readable: Iterable[str], listed: Iterable[str], scratch: str) -> int:
    """A Landlock ruleset, as a file descriptor that `restrict_files` takes: all but these is refused.

    Args:
        readable: files, and folders with all that is in them.
        listed: folders whose names, and those of folders within, can be listed, but not read.
        scratch: the one folder in which files can be made, changed and removed.

    Raises OSError: the kernel has no Landlock, or an older one.
    """
    version = landlock_version()
    if version < LEAST_LANDLOCK:
        raise OSError(errno.ENOSYS, f"Landlock's version is {version}; {LEAST_LANDLOCK} is needed")
    handled = _ALL_FILES | (_DEVICES if version >= 5 else 0)
    network, scopes = (0b11 if version >= 4 else 0), (0b11 if version >= 6 else 0)  # TCP; abstract sockets and signals
    attributes = struct.pack("QQQ", handled, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _check(_LIBC.syscall(444, attributes, len(attributes), 0), "Landlock")
    allowed = [(path, _READ_FILE | _READ_DIR) for path in readable]
    allowed += [(path, _READ_DIR) for path in listed] + [(scratch, _MAKE), ("/dev/null", _READ_FILE | _WRITE_FILE)]
    for path, access in allowed:
        if os.path.exists(path):
            _allow(rules, path, access)
    high = fcntl.fcntl(rules, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(rules)
    return high


def _allow(rules: int, path: str, access: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        access &= ~_READ_DIR
    _check(_LIBC.syscall(445, rules, 1, struct.pack("=Qi", access, beneath), 0), f"Landlock's rule for {path}")
    os.close(beneath)


def restrict_files(rules: int) -> None:
    """Put the rules into force. Raises OSError."""
    _check(_LIBC.syscall(446, rules, 0), "Landlock")
    os.close(rules)


# -- system calls: seccomp ---------------------------------------------------------------------------------------------

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # new processes and programs; clone is allowed for threads alone
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # signals, traces and settings of other processes
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "setpgid": (109, 154), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # sockets; what a pair of sockets needs is allowed
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # what Landlock does not know of files: modes, owners, times, extended attributes
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "mknod": (133, None), "mknodat": (259, 33),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # memory and queues that outlive a process, or that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "memfd_create": (319, 279), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219),
    # namespaces and mounts
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268),
    # wide doors into the kernel, and the machine's own settings
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "personality": (135, 92),
    "modify_ldt": (154, None), "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116), "acct": (163, 89),
    "init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "quotactl": (179, 60), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "fanotify_init": (300, 262),
    "vhangup": (153, 58),
}  # fmt: skip
"""Number on x86_64 and on aarch64."""
_FIRST_SHARED = 424
"""From here on both architectures have the same numbers. Of these calls, only `_SHARED_ALLOWED` exist for a program."""
_SHARED_ALLOWED = (436, 437, 439, 441, 444, 445, 446, 449, 451, 454, 455, 456, 462)
"""close_range, openat2, faccessat2, epoll_pwait2, Landlock's three, futexes, cachestat, mseal. Not clone3, io_uring, pidfds."""
_CLONE, _PRLIMIT, _FCNTL, _IOCTL = (56, 220), (302, 261), (72, 25), (16, 29)
_CLONE_THREAD = 0x10000
_FCNTL_REFUSED = (8, 10, 15, 1024)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, which send signals to others, and F_SETLEASE."""
_IOCTL_REFUSED = (0x5412, 0x541C, 0x8901, 0x8902)
"""TIOCSTI and TIOCLINUX, which type into a terminal; FIOSETOWN and SIOCSPGRP."""

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF: load a word; jump if equal, if greater or equal, if bits are set; return."""


def refuse_system_calls() -> None:
    """Put the filter into force, for this thread and those that it starts. Needs `drop_privileges`. Raises OSError."""
    column, architecture = _MACHINES[os.uname().machine]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _filter(column, architecture))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if not _prctl(22, 2, program):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def has_seccomp() -> bool:
    """Whether this is Linux on a machine whose numbers are known here."""
    return os.uname().sysname == "Linux" and os.uname().machine in _MACHINES


def _filter(column: int, architecture: int) -> list[tuple[int, int, int, int]]:
    """Instructions (code, jump if true, jump if false, operand); every test returns at once or passes on to the next."""
    number, argument = 0, 16  # where they lie in what the kernel gives: the call's number, 8 bytes for each argument
    refused, unknown = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    allowed = (_RETURN, 0, 0, _ALLOW)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, number)]
    for shared in _SHARED_ALLOWED:
        steps += [(_EQUAL, 0, 1, shared), allowed]
    steps += [(_AT_LEAST, 0, 1, _FIRST_SHARED), unknown]  # 32-bit numbers of x86_64 lie here as well
    for numbers in _REFUSED.values():
        if numbers[column] is not None:
            steps += [(_EQUAL, 0, 1, numbers[column] or 0), refused]
    thread_only = [(_LOAD, 0, 0, argument), (_BITS, 1, 0, _CLONE_THREAD), refused, allowed]
    own_only = [(_LOAD, 0, 0, argument), (_EQUAL, 1, 0, 0), refused, allowed]
    commands = [(_FCNTL, _FCNTL_REFUSED), (_IOCTL, _IOCTL_REFUSED)]
    blocks = [(_CLONE, thread_only), (_PRLIMIT, own_only)]
    for call, values in commands:
        tests = [step for value in values for step in ((_EQUAL, 0, 1, value), refused)]
        blocks.append((call, [(_LOAD, 0, 0, argument + 8), *tests, allowed]))
    for call, block in blocks:
        steps += [(_EQUAL, 0, len(block), call[column]), *block]
    return [*steps, allowed]
