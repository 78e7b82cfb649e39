"""Homeservers for tests, on loopback: Myelin from an installed prefix, Synapse from PyPI, a private PostgreSQL for Synapse.

Everything lives in one scratch folder, runs without root's rights where a program asks for that, and ends with the test.
Server names are localhost:PORT with certificates from an authority that the test makes.
"""

import glob
import http.server
import json
import os
import pwd
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from matrix import Client, Http
from ports import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYNAPSE = "matrix-synapse[postgres]==1.163.2"
SECRET = "interop"


def shell(script, *arguments):
    """Calls functions of ops/lib/install.sh."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", '. "$MYELIN_ROOT/ops/lib/install.sh"; ' + script, os.path.basename(sys.argv[0]),
                           *arguments], env={**os.environ, "MYELIN_ROOT": ROOT})
    if done.returncode:
        raise SystemExit(f"step failed: {script}")


def synapse_python():
    """The interpreter of a virtual environment that has Synapse, made on first use (about a minute)."""
    venv = os.path.join(ROOT, "build", "interop", "venv")
    python, marker = os.path.join(venv, "bin", "python"), os.path.join(venv, ".installed")
    if not os.path.exists(marker) or open(marker).read() != SYNAPSE:
        print("installing Synapse into build/interop/venv", flush=True)
        shell("need_packages python3 python3-venv python3-dev gcc libpq-dev")
        shutil.rmtree(venv, ignore_errors=True)
        os.makedirs(os.path.dirname(venv), exist_ok=True)
        subprocess.run([shutil.which("python3"), "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check", SYNAPSE], check=True)
        open(marker, "w").write(SYNAPSE)
    return python


def scratch_folder(kind):
    """Readable by the unprivileged account, and short: PostgreSQL's and ZeroMQ's sockets have a limit of 107 bytes."""
    folder = tempfile.mkdtemp(prefix=f"myelin-{kind}-", dir="/tmp")
    os.chmod(folder, 0o755)
    return folder


def unprivileged():
    """Arguments for subprocess that drop root's rights, and the account's name; nothing when we are not root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return {}


class Authority:
    """A certificate authority and certificates for loopback names."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "ca")
        os.makedirs(self.folder, exist_ok=True)
        self.certificate, self.key = os.path.join(self.folder, "ca.crt"), os.path.join(self.folder, "ca.key")
        self._openssl("-subj", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                      "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", "req", "-x509", "-days", "7", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *arguments],
                       check=True, capture_output=True)

    def issue(self, name):
        crt, key = os.path.join(self.folder, name + ".crt"), os.path.join(self.folder, name + ".key")
        self._openssl("-CA", self.certificate, "-CAkey", self.key, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
                      "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", crt)
        os.chmod(key, 0o644)  # a throw-away key, read by whatever account the server runs as
        return crt, key


class Postgres:
    """A private cluster that listens on a Unix socket only."""

    def __init__(self, folder):
        shell("need_packages postgresql-15")
        self.folder = os.path.join(folder, "pg")
        self.data, self.log = os.path.join(self.folder, "data"), open(os.path.join(folder, "postgres.log"), "a")
        binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
        self.bin = binaries[-1] if binaries else os.path.dirname(shutil.which("postgres") or "")
        os.makedirs(self.folder)
        self.account = unprivileged()
        if self.account:
            os.chown(self.folder, self.account["user"], self.account["group"])
        self.run("initdb", "-D", self.data, "-U", "synapse", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()

    def start(self):
        self.process = subprocess.Popen([os.path.join(self.bin, "postgres"), "-D", self.data, "-k", self.folder, "-c", "listen_addresses="],
                                        stdout=self.log, stderr=self.log, cwd=self.folder, start_new_session=True, **self.account)
        deadline = time.monotonic() + 30
        while subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", self.folder, "-d", "postgres", "-U", "synapse"]).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the private PostgreSQL did not start, see " + self.log.name)
            time.sleep(0.05)

    def run(self, program, *arguments):
        subprocess.run([os.path.join(self.bin, program), *arguments], check=True, stdout=self.log, stderr=self.log, cwd=self.folder, **self.account)

    def create(self, database):
        self.run("createdb", "-h", self.folder, "-U", "synapse", "-T", "template0", "-E", "UTF8", "--locale=C", database)

    def pids(self):
        return [self.process.pid]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
            self.process.wait(30)


class Server:
    """What a test asks of a homeserver. Subclasses know how to configure and start one."""

    kind = "?"

    def __init__(self, folder, authority, label, name=None):
        self.folder = os.path.join(folder, label)
        os.makedirs(self.folder)
        self.label, self.authority, self.process = label, authority, None
        self.client_port, self.federation_port = free_port(), free_port()
        self.name = name or f"localhost:{self.federation_port}"
        self.log = os.path.join(folder, label + ".log")

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def start(self, seconds=60):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, env=self.environment(), start_new_session=True)
        deadline = time.monotonic() + seconds
        while True:
            try:
                if Http("127.0.0.1", self.client_port, timeout=5).send("GET", "/_matrix/client/versions")[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = open(self.log, errors="replace").read()[-3000:]
                raise SystemExit(f"{self.label} did not start; the end of {self.log}:\n{tail}")
            time.sleep(0.05)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                print(f"{self.label} did not stop within 30 s of SIGTERM: killed", flush=True)
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def kill_everything(self):
        """As a power cut: every process at once, the database included, no shutdown of any kind."""
        for pid in reversed(self.pids()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def client(self):
        return Client("127.0.0.1", self.client_port)

    def user(self, name, admin=False):
        return self.client().register(name, "secret-" + name, SECRET, admin)

    def federation(self):
        """Federation as another server sees it: TLS, our authority."""
        return Http("localhost", self.federation_port, cafile=self.authority.certificate)

    def pids(self):
        """The processes that belong to this server, its database included."""
        roots = [self.process.pid]
        for found in glob.glob(os.path.join(self.folder, "**", "postmaster.pid"), recursive=True):
            try:
                roots.append(int(open(found).readline()))
            except (OSError, ValueError):
                pass
        return process_tree(roots)


class Myelin(Server):
    kind = "myelin"

    def __init__(self, folder, authority, label, prefix, settings=(), name=None):
        super().__init__(folder, authority, label, name)
        self.data, self.settings, self.binary = os.path.join(self.folder, "data"), list(settings), os.path.join(prefix, "bin", "myelin")
        self.certificate, self.key = authority.issue(label)

    def command(self):
        pairs = {"registration_shared_secret": SECRET, "rate_limits": "false", "password_cost": "cheap", "federation_allow_private": "true",
                 "federation_ca_file": self.authority.certificate, "tls_certificate": self.certificate, "tls_key": self.key}
        words = [self.binary, "up", "--data", self.data, "--server-name", self.name, "--client-listen", f"127.0.0.1:{self.client_port}",
                 "--federation-listen", f"127.0.0.1:{self.federation_port},tls"]
        for pair in [f"{name}={value}" for name, value in pairs.items()] + self.settings:
            words += ["--set", pair]
        return words


class Synapse(Server):
    kind = "synapse"

    def __init__(self, folder, authority, label, postgres=None, extra=None, name=None):
        super().__init__(folder, authority, label, name)
        self.python = synapse_python()
        self.postgres = postgres
        self.config = os.path.join(self.folder, "homeserver.yaml")
        certificate, key = authority.issue(label)
        fast = {"per_second": 100000, "burst_count": 100000}
        database = {"name": "sqlite3", "args": {"database": os.path.join(self.folder, "homeserver.db")}}
        if postgres:
            postgres.create(label)
            database = {"name": "psycopg2", "args": {"user": "synapse", "dbname": label, "host": postgres.folder, "cp_min": 5, "cp_max": 10}}
        config = {
            "server_name": self.name, "report_stats": False, "signing_key_path": os.path.join(self.folder, "signing.key"),
            "media_store_path": os.path.join(self.folder, "media"), "pid_file": os.path.join(self.folder, "pid"), "database": database,
            "listeners": [
                {"port": self.client_port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]},
                {"port": self.federation_port, "type": "http", "tls": True, "bind_addresses": ["127.0.0.1"],
                 "resources": [{"names": ["federation", "keys"]}]}],
            "tls_certificate_path": certificate, "tls_private_key_path": key, "federation_custom_ca_list": [authority.certificate],
            "ip_range_blacklist": [], "federation_ip_range_blacklist": [], "trusted_key_servers": [],
            "registration_shared_secret": SECRET, "macaroon_secret_key": secrets.token_hex(), "form_secret": secrets.token_hex(),
            "bcrypt_rounds": 4, "presence": {"enabled": False}, "allow_public_rooms_over_federation": True,
            "federation": {"destination_min_retry_interval": "1s", "destination_max_retry_interval": "3s", "max_short_retry_delay": "1s",
                           "max_long_retry_delay": "2s"},
            "rc_message": fast, "rc_registration": fast, "rc_admin_redaction": fast, "rc_joins_per_room": fast, "rc_room_creation": fast,
            "rc_login": {"address": fast, "account": fast, "failed_attempts": fast}, "rc_joins": {"local": fast, "remote": fast},
            "rc_invites": {"per_room": fast, "per_user": fast, "per_issuer": fast},
            "rc_federation": {"window_size": 1000, "sleep_limit": 100000, "sleep_delay": 1, "reject_limit": 100000, "concurrent": 100},
            "federation_rr_transactions_per_room_per_second": 100000,
        }
        config.update(extra or {})
        with open(self.config, "w") as file:
            json.dump(config, file, indent=1)  # JSON is YAML
        subprocess.run([self.python, "-m", "synapse.app.homeserver", "-c", self.config, "--generate-keys"], check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL)

    def command(self):
        return [self.python, "-m", "synapse.app.homeserver", "-c", self.config]

    def environment(self):
        return {**os.environ, "SYNAPSE_LOG_LEVEL": "WARNING", "HOME": self.folder}

    def pids(self):
        return process_tree([self.process.pid] + (self.postgres.pids() if self.postgres else []))


class WellKnown:
    """Serves /.well-known/matrix/server for `localhost` on port 443, so that the name delegates to a port. Needs root."""

    def __init__(self, authority, target):
        body = json.dumps({"m.server": target}).encode()
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/.well-known/matrix/server"
                outer.asked += found
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("well-known"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def myelin_prefix(folder, given, kind):
    """Copies the installed Myelin, built and installed first unless one is given, into the scratch folder: the account that Myelin
    drops its rights to may not see the checkout, and a rebuild during the run does no harm."""
    if not given:
        given = os.path.join(ROOT, "build", kind, "prefix")
        shell('install_release "$1"', given)
    return shutil.copytree(given, os.path.join(folder, "prefix"), symlinks=True)


# Processes

def process_parents():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open(f"/proc/{entry}/stat").read()
                parents[int(entry)] = int(stat[stat.rindex(")") + 2:].split()[1])
            except (OSError, ValueError):
                pass
    return parents


def process_tree(roots):
    parents, found = process_parents(), set(roots)
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return sorted(pid for pid in found if pid in parents)


def cpu_seconds(pids):
    """User and system time of the processes, with that of children already reaped."""
    ticks = 0
    for pid in pids:
        try:
            stat = open(f"/proc/{pid}/stat").read()
            ticks += sum(int(field) for field in stat[stat.rindex(")") + 2:].split()[11:15])
        except (OSError, ValueError):
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_bytes(pids):
    """Proportional set size: shared pages are counted once over all processes that share them."""
    total = 0
    for pid in pids:
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total
