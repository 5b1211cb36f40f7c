"""System calls that the daemon never makes, and those that it makes all the time, with their numbers."""

from collections.abc import Mapping

import attrs

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_AARCH64 = 0xC00000B7

OFTEN = ("recvfrom", "sendto", "epoll_pwait", "epoll_wait", "futex", "read", "write", "close")
"""By far the most of them; let through first."""

NEVER = (
    # another program, or a file to run it from
    "execve", "execveat", "fork", "vfork", "memfd_create",
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    # what attacks on the kernel begin with
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl", "personality", "modify_ldt", "iopl", "ioperm", "vhangup",
    # namespaces, mounts, files past their folders
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
    "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "mknod", "mknodat",
    "fanotify_init", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct",
    # the machine
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "syslog",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
    # another user
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid",
    "setfsgid", "capset",
)  # fmt: skip
"""Refused whatever their arguments."""

BY_ARGUMENTS = ("socket", "clone", "clone3", "prctl", "ioctl")
"""Refused or not by what they are asked for (`awfproxy.hardening.bpf`)."""

_X86_64 = {
    "read": 0, "write": 1, "close": 3, "ioctl": 16, "socket": 41, "sendto": 44, "recvfrom": 45, "clone": 56,
    "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101, "syslog": 103, "setuid": 105, "setgid": 106,
    "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "setfsuid": 122,
    "setfsgid": 123, "capset": 126, "mknod": 133, "personality": 135, "vhangup": 153, "modify_ldt": 154,
    "pivot_root": 155, "prctl": 157, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164,
    "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
    "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "futex": 202, "clock_settime": 227, "epoll_wait": 232, "kexec_load": 246,
    "add_key": 248, "request_key": 249, "keyctl": 250, "mknodat": 259, "unshare": 272, "epoll_pwait": 281,
    "perf_event_open": 298, "fanotify_init": 300, "open_by_handle_at": 304, "clock_adjtime": 305,
    "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
    "seccomp": 317, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "execveat": 322,
    "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "ioctl": 29, "mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "vhangup": 58,
    "close": 57, "quotactl": 60, "read": 63, "write": 64, "epoll_pwait": 22, "acct": 89, "capset": 91,
    "personality": 92, "unshare": 97, "futex": 98, "kexec_load": 104, "init_module": 105,
    "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
    "setregid": 143, "setgid": 144, "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid": 149,
    "setfsuid": 151, "setfsgid": 152, "setgroups": 159, "sethostname": 161, "setdomainname": 162,
    "prctl": 167, "settimeofday": 170, "adjtimex": 171, "socket": 198, "sendto": 206, "recvfrom": 207,
    "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "swapon": 224,
    "swapoff": 225, "perf_event_open": 241, "fanotify_init": 262, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "seccomp": 277, "memfd_create": 279, "bpf": 280, "execveat": 281,
    "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
_ALIKE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
}  # fmt: skip
"""From 424 on numbers are the same everywhere."""


@attrs.frozen
class Architecture:
    """One that the filter can be made for."""

    audit: int
    """AUDIT_ARCH_…: how seccomp is told of a call's architecture."""

    numbers: Mapping[str, int]
    """Those of the calls above that it has, and seccomp's own."""

    has_x32: bool = False
    """A second set of numbers, with the bit 2^30, under the same AUDIT_ARCH."""


ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(AUDIT_ARCH_X86_64, _X86_64 | _ALIKE, has_x32=True),
    "aarch64": Architecture(AUDIT_ARCH_AARCH64, _AARCH64 | _ALIKE),
}
"""By what uname(2) calls the machine."""
