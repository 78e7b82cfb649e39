"""A whole Myelin for tests that look behind its doors: its processes, what its database holds, its log.

Programs come from $MYELIN_BUILD (a build folder) or, when that is not set, from an installation of the release preset made for the run.
"""

import os
import re
import shutil
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


class Psql:
    """A psql that stays, for tests that ask often: a new one each time costs more than the statement."""

    END = "-- end of the answer --"

    def __init__(self, data):
        words = ["psql", "-XAtq", "-F", "\t", "-h", os.path.join(data, "run"), "-p", "5432", "-U", "myelin", "-d", "myelin"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def rows(self, statement):
        self.process.stdin.write(f"{statement};\n\\echo {self.END}\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline().rstrip("\n")) != self.END:
            if self.process.poll() is not None or line.startswith(("ERROR:", "FATAL:")):
                raise AssertionError("psql: " + line)
            lines.append(line.split("\t"))
        return lines

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class House(Myelin):
    def __init__(self, folder, authority, label, prefix, replicas=2, settings=(), name=None):
        settings = [f"replicas.{kind}={replicas}" for kind in REPLICATED] + ["open_registration=true"] + list(settings)
        super().__init__(folder, authority, label, prefix, settings, name)
        self.prefix = prefix
        self.hashing, self.psql = {}, None  # statements of table_hashes, and who runs them

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

    def table_hashes(self, without=()):
        """Table → what it holds, as "rows:hash", for every table that there is but those of `without`."""
        key = frozenset(without)
        if key not in self.hashing:
            tables = [row[0] for row in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
            if key - set(tables):
                raise AssertionError(f"no such tables: {sorted(key - set(tables))}")
            self.hashing[key] = " UNION ALL ".join(
                f"""SELECT '{table}', count(*) || ':' || md5(coalesce(string_agg(t::text, E'\n' ORDER BY t::text COLLATE "C"), '')) FROM {table} t"""
                for table in tables if table not in key)
        self.psql = self.psql or Psql(self.data)
        return dict(self.psql.rows(self.hashing[key]))

    def stop(self):
        if self.psql:
            self.psql.stop()
            self.psql = None
        super().stop()


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
