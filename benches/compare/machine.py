"""The machine that it was measured on, and what it must allow."""

import os
import platform
import resource

from process import Failure

# What a server has open beside its streams: publishers, files, the terminal, libraries.
BESIDE = 1_000


def described():
    with open("/proc/cpuinfo") as cpuinfo:
        lines = dict(line.split(":", 1) for line in cpuinfo if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    with open("/proc/meminfo") as meminfo:
        total = int(meminfo.readline().split()[1])
    return {
        "cpu": fields.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in fields.get("flags", "").split(),
        "memoryGiB": round(total / 1024 / 1024),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def allow_open_files(streams):
    """Raises the soft limit as far as is needed; the processes that are started inherit it."""
    needed = streams + BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Failure(
            f"{streams:,} streams take {needed:,} open files in a process, and the limit here is {hard:,}. Raise it, as "
            f"root: `ulimit -n {needed}` in this shell, or `sudo prlimit --pid $$ --nofile={needed}`. Or leave rows out: "
            "`--rows 1,3,4` are content with 2,000")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def allow_ports(streams):
    """The load's connections all come from one address."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as ports:
        low, high = map(int, ports.read().split())
    if high - low < streams + BESIDE:
        raise Failure(
            f"{streams:,} connections need as many ports, and net.ipv4.ip_local_port_range allows {high - low + 1:,}: "
            "`sysctl -w net.ipv4.ip_local_port_range='32768 60999'`")
