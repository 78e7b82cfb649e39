"""A whole Myelin for tests that look behind its doors: its processes, its database's row counts, its log.

Programs come from $MYELIN_BUILD (a build folder) or, when that is not set, from an installation of the release preset made for the run.
"""

import os
import re
import shutil
import signal
import subprocess

from servers import ROOT, Myelin, myelin_prefix

REPLICATED = ("events", "sync", "federation", "rooms", "accounts")
STATUS_ROW = re.compile(r"^(?P<kind>[a-z]+) +(?:(?P<number>\d+) +)?(?P<pid>\d+) +(?P<instance>[0-9a-f]{16}|-) +(?P<state>\S+) +(?P<uptime>\S+)"
                        r" +(?P<restarts>\d+)\b")


def house_prefix(folder, kind):
    """The programs, laid out as an installation in the scratch folder."""
    build = os.environ.get("MYELIN_BUILD")
    if not build:
        return myelin_prefix(folder, None, kind)
    prefix = os.path.join(folder, "prefix")
    for place in ("bin", "lib/myelin", "share/myelin"):
        os.makedirs(os.path.join(prefix, place))
    shutil.copy2(os.path.join(build, "myelin"), os.path.join(prefix, "bin"))
    for name in os.listdir(build):
        if re.fullmatch(r"myelin-[a-z]+", name):
            shutil.copy2(os.path.join(build, name), os.path.join(prefix, "lib", "myelin"))
    shutil.copytree(os.path.join(ROOT, "schema"), os.path.join(prefix, "share", "myelin", "schema"))
    return prefix


class House(Myelin):
    def __init__(self, folder, authority, label, prefix, replicas=2, settings=(), name=None):
        settings = [f"replicas.{kind}={replicas}" for kind in REPLICATED] + ["open_registration=true"] + list(settings)
        super().__init__(folder, authority, label, prefix, settings, name)

    def tool(self, *words):
        done = subprocess.run([self.binary, *words, "--data", self.data], capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise AssertionError(f"myelin {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def processes(self):
        """What `myelin status` lists: dicts with kind, number, pid, instance, state, restarts."""
        rows = [match.groupdict() for match in map(STATUS_ROW.match, self.tool("status").splitlines()) if match]
        for row in rows:
            row.update(pid=int(row["pid"]), restarts=int(row["restarts"]), number=int(row["number"] or 0))
        return rows

    def restarts(self):
        return {f"{row['kind']} {row['number']}": row["restarts"] for row in self.processes() if row["restarts"]}

    def sql(self, statement):
        """Rows as lists of text, from the private cluster's socket."""
        done = subprocess.run(["psql", "-XAtq", "-F", "\t", "-h", os.path.join(self.data, "run"), "-p", "5432", "-U", "myelin", "-d", "myelin",
                               "-v", "ON_ERROR_STOP=1", "-c", statement], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise AssertionError("psql: " + done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines()]

    def row_counts(self, tables):
        return {name: int(count) for name, count in self.sql(" UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables))}

    def kill_everything(self):
        """As a power cut: every process at once, PostgreSQL included, no shutdown of any kind."""
        for pid in reversed(self.pids()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


def copy_logs(folder, kind):
    """Logs outlive the scratch folder, in build/<kind>/logs."""
    logs = os.path.join(ROOT, "build", kind, "logs")
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    for label in os.listdir(folder):
        if label.endswith(".log"):
            shutil.copy(os.path.join(folder, label), logs)
    return logs


def parse_log(path):
    """Lines that a sanitizer or an assertion left."""
    pattern = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|ensure|worker died|panic")
    with open(path, errors="replace") as file:
        return [line.strip()[:400] for line in file if pattern.search(line)]
