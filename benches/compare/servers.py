"""The servers: where each comes from, how it is started and what it is asked."""

import glob
import http.client
import os
import re
import shutil
import subprocess
import tempfile
import time

from loads import BODY, ENVELOPE
from process import Failure
from workplace import HERE, ROOT, say


class Missing(Exception):
    """Why a server cannot be had here."""


def quietly(command, log, **options):
    """Whether a command that installs something came through; what it said is in the log."""
    with open(log, "ab") as words:
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, **options).returncode == 0
        except OSError as error:
            words.write(f"{command[0]}: {error.strerror}\n".encode())
            return False


def output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.strip()


class Server:
    """A peer: started here, on a port, and given its load through templates."""

    # Loads that it cannot carry as they are, and what is changed for it; None where it has no such thing. In words: the note.
    changes = {"batches": None}
    note = None
    method_headers = ()
    # How much less than the hub it writes around a text.
    less_around_it = ENVELOPE

    def __init__(self, tools):
        self.tools = tools
        self.log = os.path.join(tools, "install.log")

    def load(self, load):
        """The load as it is for this server; None if it is not."""
        if not self.carries(load.name):
            return None
        changes = {"pad": load.pad + self.less_around_it} if load.evened else {}
        return load.with_changes({**changes, **self.changes.get(load.name, {})})

    def carries(self, name):
        return self.changes.get(name, {}) is not None

    def prepare(self, port, load):
        """Before the load comes."""

    def worker(self, process):
        """The process that does the work."""
        return process.child.pid

    def topic(self, load):
        return "{i}" if load.work == "user" else "all"

    def stream_path(self, load):
        return f"/{self.topic(load)}"

    def publish_path(self, load):
        return f"/{self.topic(load)}"

    def arguments(self, load, port, pid):
        words = ["--port", str(port), "--pid", str(pid), "--stream-path", self.stream_path(load)]
        if load.work != "connect":
            words += ["--publish-path", self.publish_path(load), "--publish-body", BODY]
            words += ["--per", "1" if load.work == "user" else str(load.streams)]
            for header in self.method_headers:
                words += ["--publish-header", header]
        return words


class Hub(Server):
    """Campanile itself. Its load tool starts it, with sign-in and on a disk, as it is started for good."""

    name, title = "hub", "Campanile"
    changes = {}
    less_around_it = 0

    def __init__(self, tools, given=None):
        super().__init__(tools)
        self.given = given

    def install(self):
        if self.given:
            if not os.access(self.given, os.X_OK):
                raise Missing(f"{self.given} is not a program")
            self.program = os.path.abspath(self.given)
            return
        say("building this checkout's hub for release: minutes, the first time")
        target = os.path.dirname(self.tools)
        command = ["cargo", "build", "--release", "--locked", "--bin", "campanile", "--target-dir", target]
        if not quietly(command, self.log, cwd=ROOT):
            raise Missing(f"cargo could not build it; see {self.log}")
        self.program = os.path.join(target, "release", "campanile")

    def version(self):
        commit = output("git", "-C", ROOT, "describe", "--always", "--dirty")
        return output(self.program, "--version") + (f" ({commit})" if commit and not self.given else "")


class OfPeers(Server):
    """One of the two that are written here."""

    def install(self):
        target = os.path.join(self.tools, "peers")
        command = ["cargo", "build", "--release", "--locked", "--bin", self.name, "--target-dir", target]
        if not quietly(command, self.log, cwd=os.path.join(HERE, "peers")):
            raise Missing(f"cargo could not build benches/compare/peers; see {self.log}")
        self.program = os.path.join(target, "release", self.name)

    def command(self, port, _directory):
        return [self.program, str(port)]

    def locked(self, package):
        with open(os.path.join(HERE, "peers", "Cargo.lock")) as lock:
            return re.search(rf'name = "{package}"\nversion = "(.+)"', lock.read()).group(1)


class Floor(OfPeers):
    name, title = "floor", "floor"
    changes = {"users": None, "batches": None}

    def version(self):
        return f"mio {self.locked('mio')}"


class Axum(OfPeers):
    name, title = "axum", "axum"

    def version(self):
        return f"axum {self.locked('axum')}, tokio {self.locked('tokio')}"


class Nchan(Server):
    """Debian's nginx with nchan: unpacked, because the package would start a service on port 80, now and at each boot."""

    name, title = "nchan", "nginx + nchan"
    changes = {"users": {"publishers": 16}, "batches": None}
    note = "16 publishers to users"
    packages = ("nginx", "libnginx-mod-nchan")

    def install(self):
        self.place = os.path.join(self.tools, "nchan")
        self.program = os.path.join(self.place, "usr/sbin/nginx")
        if not os.path.exists(os.path.join(self.place, "complete")):
            self.unpack()
        if not quietly([self.program, "-v"], self.log):
            raise Missing(f"the unpacked nginx does not run here; see {self.log}")

    def unpack(self):
        for tool in ("apt-get", "dpkg"):
            if not shutil.which(tool):
                raise Missing(f"it is unpacked from Debian's packages, and there is no {tool} here")
        say(f"unpacking Debian's {' and '.join(self.packages)} into {self.place}")
        fetch = ["apt-get", "download", *self.packages]
        update = ["apt-get", "update"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get", "update"]
        with tempfile.TemporaryDirectory() as fetched:
            # The lists may be missing or stale, as in a fresh container: then once more with new ones.
            if not quietly(fetch, self.log, cwd=fetched):
                if not (quietly(update, self.log) and quietly(fetch, self.log, cwd=fetched)):
                    raise Missing(f"apt-get could not download {' and '.join(self.packages)}; see {self.log}")
            shutil.rmtree(self.place, ignore_errors=True)
            archives = sorted(glob.glob(os.path.join(fetched, "*.deb")))
            for archive in archives:
                if not quietly(["dpkg", "-x", archive, self.place], self.log):
                    raise Missing(f"dpkg could not unpack {os.path.basename(archive)}; see {self.log}")
            self.move_large_messages()
            versions = [output("dpkg-deb", "-f", archive, "Version") for archive in archives]
        with open(os.path.join(self.place, "complete"), "w") as complete:
            complete.write("\n".join(versions) + "\n")

    def move_large_messages(self):
        """nchan makes sure, whatever its configuration says, of a directory that only the installed package has. In the unpacked
        copy it is given one of the same length below nginx's own; nothing here is large enough to get there."""
        built_in, instead = b"/var/lib/nginx/body\0", b"nchan-message-files\0"
        module = os.path.join(self.place, "usr/lib/nginx/modules/ngx_nchan_module.so")
        with open(module, "rb") as file:
            code = file.read()
        if code.count(built_in) != 1:
            raise Missing("this nchan keeps large messages elsewhere than version 1.3.6 does, and does not run unpacked")
        with open(module, "wb") as file:
            file.write(code.replace(built_in, instead))

    def version(self):
        with open(os.path.join(self.place, "complete")) as complete:
            # Without Debian's epoch and revision.
            nchan, nginx = (re.sub(r"^\d+:|[-+].*$", "", version) for version in complete.read().split())
        return f"nginx {nginx}, nchan {nchan}"

    def command(self, port, directory):
        path = os.path.join(directory, "nginx.conf")
        with open(os.path.join(HERE, "nchan.conf")) as template, open(path, "w") as conf:
            conf.write(template.read().replace("$MODULES", os.path.join(self.place, "usr/lib/nginx/modules"))
                       .replace("$DIRECTORY", directory).replace("$PORT", str(port)))
        return [self.program, "-p", directory, "-e", "stderr", "-c", path]

    def worker(self, process):
        pid, until = process.child.pid, time.monotonic() + 20
        # The master listens before it has a worker.
        while time.monotonic() < until:
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                found = children.read().split()
            if found:
                return int(found[0])
            time.sleep(0.02)
        raise Failure(f"nginx started no worker{process.last_words()}")

    def stream_path(self, load):
        return f"/sub/{self.topic(load)}"

    def publish_path(self, load):
        return f"/pub/{self.topic(load)}"


class DurableStreams(Server):
    """A log for each topic, synced before it is answered, as it is by default."""

    name, title = "durable-streams", "durable-streams"
    release = "0.1.5"
    method_headers = ("Content-Type: text/plain",)
    # It ends each stream after a minute, and opening them takes it so long that 19,000 are never open together. Each topic is
    # an open file of the server's, beside the streams.
    changes = {
        "idle-19000": {"streams": 10_000},
        "users": {"streams": 1_000},
        "batches": None,
    }
    note = "memory to 10,000 streams, 1,000 users"

    def install(self):
        place = os.path.join(self.tools, "durable-streams")
        self.program = os.path.join(place, "bin", "durable-streams-server")
        if self.version() == f"durable-streams {self.release}":
            return
        say(f"installing durable-streams {self.release} into {place}")
        command = ["cargo", "install", "durable-streams", "--version", self.release, "--locked", "--root", place,
                   "--target-dir", os.path.join(self.tools, "durable-streams-build")]
        if not quietly(command, self.log):
            raise Missing(f"cargo could not install durable-streams {self.release}; see {self.log}")
        shutil.rmtree(os.path.join(self.tools, "durable-streams-build"))

    def version(self):
        """What cargo has noted, for the program does not say."""
        noted = os.path.join(self.tools, "durable-streams", ".crates.toml")
        found = None
        if os.path.exists(noted):
            with open(noted) as crates:
                found = re.search(r'"durable-streams (\S+) ', crates.read())
        return f"durable-streams {found.group(1)}" if found else None

    def command(self, port, directory):
        return [self.program, "--host", "127.0.0.1", "--port", str(port), "--data-dir", os.path.join(directory, "data")]

    def prepare(self, port, load):
        topics = map(str, range(load.streams)) if load.work == "user" else ["all"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for topic in topics:
            connection.request("PUT", f"/{topic}", headers={"Content-Type": "text/plain"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise Failure(f"durable-streams answered {answer.status} when it was to create /{topic}")
        connection.close()

    def stream_path(self, load):
        return f"/{self.topic(load)}?offset=now&live=sse"


ALL = {server.name: server for server in (Hub, Floor, Axum, Nchan, DurableStreams)}
