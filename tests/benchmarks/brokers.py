"""The brokers of a benchmark: each started in a temporary directory on free loopback ports, ended by its pid."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from lib.gateway import Gateway
from lib.ports import free_port
from lib.postgres import Postgres

# Messages that a consumer may hold unacknowledged; PREFETCH of the load generator.
PREFETCH = 1024


def family(pid):
    """A process and all that it started."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += family(int(child))
    return pids


def wait_port(port, process, log, seconds=90):
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on {port}:\n{log.read_text(errors='replace')[-4000:]}") from None
            time.sleep(0.1)


def end(process, seconds=20):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# All queues deliver before the commit, MQTT's sessions too: `#` does not match names that begin with `$`.
EAGER = '[{match = "#", dispatch = "eager"}, {match = "$session/#", dispatch = "eager"}]'


class Evergate:
    """The gateway on one of its journals; as it comes, or eager: it delivers before the commit, as RabbitMQ does."""

    protocols = ("mqtt", "amqp", "stomp")

    def __init__(self, journal, eager=False):
        self.name = "evergate-eager" if eager else f"evergate-{journal}"
        # Without durable messages neither the journal nor the policy plays a part: one of all is enough.
        self.modes = ("transient", "durable") if self.name == "evergate-sqlite" else ("durable",)
        self.postgres = Postgres().start() if journal == "postgres" else None
        environment = {"EVERGATE__POLICY": EAGER} if eager else None
        try:
            self.gateway = Gateway(self.postgres.url if self.postgres else None, environment).start()
        except BaseException:
            self.stop()
            raise

    def port(self, protocol):
        return self.gateway.ports[protocol]

    def pids(self):
        return [self.gateway.pid, *(family(self.postgres.process.pid) if self.postgres else [])]

    def version(self):
        said = subprocess.run([self.gateway.process.args[0], "--version"], capture_output=True, text=True, check=False)
        return said.stdout.strip() or "evergate"

    def stop(self):
        if hasattr(self, "gateway"):
            self.gateway.remove()
        if self.postgres:
            self.postgres.remove()


class Mosquitto:
    """Debian's mosquitto. It keeps sessions in memory and writes them to a file now and then: never before a PUBACK."""

    name = "mosquitto"
    protocols = ("mqtt",)
    modes = ("transient", "durable")

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="evergate-mosquitto-"))
        self.directory.chmod(0o777)
        self.mqtt = free_port()
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.mqtt} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.directory}/\nset_tcp_nodelay true\n"
            f"max_inflight_messages {PREFETCH}\nmax_queued_messages 100000\n"
        )
        log = self.directory / "log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", configuration], stdout=out, stderr=out)
        try:
            wait_port(self.mqtt, self.process, log)
        except BaseException:
            self.stop()
            raise

    def port(self, _):
        return self.mqtt

    def pids(self):
        return [self.process.pid]

    def version(self):
        said = subprocess.run(["/usr/sbin/mosquitto", "-h"], capture_output=True, text=True, check=False)
        return said.stdout.splitlines()[0]

    def stop(self):
        end(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)


class RabbitMQ:
    """Debian's rabbitmq-server with its plugins for MQTT, AMQP 1.0 and STOMP. Confirms come after fsync."""

    name = "rabbitmq"
    protocols = ("mqtt", "amqp", "stomp")
    modes = ("transient", "durable")

    HOME = Path("/usr/lib/rabbitmq")

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="evergate-rabbitmq-"))
        self.ports = {name: free_port() for name in ("mqtt", "amqp", "stomp", "distribution", "epmd")}
        self.environment = self._prepare()
        account = pwd.getpwnam("rabbitmq") if os.geteuid() == 0 else None
        identity = {}
        if account:
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            for path in [self.directory, *self.directory.rglob("*")]:
                os.chown(path, account.pw_uid, account.pw_gid)
        # An epmd of its own: Erlang would leave one running.
        epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self.ports["epmd"])]
        log = self.directory / "log"
        with open(log, "wb") as out:
            started = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "cwd": self.directory, **identity}
            self.epmd = subprocess.Popen(epmd, **started)
            server = next(self.HOME.glob("lib/rabbitmq_server-*/sbin/rabbitmq-server"))
            self.process = subprocess.Popen([server], env=self.environment, start_new_session=True, **started)
        try:
            for name in ("stomp", "mqtt", "amqp"):
                wait_port(self.ports[name], self.process, log)
        except BaseException:
            self.stop()
            raise

    def _prepare(self):
        write = lambda name, text: (self.directory / name).write_text(text)  # noqa: E731
        write("enabled_plugins", "[rabbitmq_amqp1_0,rabbitmq_mqtt,rabbitmq_stomp].\n")
        write(
            "rabbitmq.conf",
            f"listeners.tcp.1 = 127.0.0.1:{self.ports['amqp']}\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.ports['mqtt']}\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{self.ports['stomp']}\n"
            f"mqtt.prefetch = {PREFETCH}\n"
            "disk_free_limit.absolute = 50MB\nlog.file.level = warning\n",
        )
        write(".erlang.cookie", "evergatebenchmark")
        (self.directory / ".erlang.cookie").chmod(0o400)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"evergate-bench-{os.getpid()}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
        }

    def port(self, protocol):
        return self.ports[protocol]

    def pids(self):
        return family(self.process.pid)

    def version(self):
        server = next(self.HOME.glob("lib/rabbitmq_server-*"))
        return f"RabbitMQ {server.name.rsplit('-', 1)[1]}"

    def stop(self):
        # The server script may or may not pass signals on: all that it started is told.
        pids = family(self.process.pid) if self.process.poll() is None else []
        for pid in pids:
            tell(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.05)
        for pid in pids:
            tell(pid, signal.SIGKILL)
        self.process.wait()
        end(self.epmd)
        shutil.rmtree(self.directory, ignore_errors=True)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def tell(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
