#!/usr/bin/env python3
"""What can be known of proto/routes.def without running anything; routes_answered (tests/lib/answered.py) is the other half.

* Every ROUTE row can be read by this script, and its kind has a program: a handler that is missing is a link error of that program.
* Its reference is a heading of the specification (spec_anchors), or `admin/…` for paths below /_synapse/admin.
* Every endpoint of the specification (spec_endpoints) is a row or waits in endpoints_later, never both. Where the list of facts lies beside
  the checkout, spec_endpoints is compared with it.
* Some test builds its path. Tests build paths from pieces, so what is looked for is the path's last literal segment: a reminder.
"""
import csv
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1]).resolve()
here = root / "tests/check"
bad = []


def same(method, path):
    """Parameters have other names in other lists."""
    return method, re.sub(r"\{[^}]*\}", "{}", path.strip())


def words(path):
    return [line.split("#")[0].strip() for line in path.read_text().splitlines() if line.split("#")[0].strip()]


text = (root / "proto/routes.def").read_text()
rows = re.findall(r'^ROUTE\((\w+), "([^"]+)", .*, (\w+), (\w+), [^,]+, "([^"]*)"\)$', text, re.M)
written = len(re.findall(r"^\s*ROUTE\(", text, re.M))
if not rows or len(rows) != written:
    bad.append(f"{written} rows begin with ROUTE(, {len(rows)} can be read: one row a line, reference last")

# What runs it and where it is specified
anchors = set(words(here / "spec_anchors"))
for method, path, kind, handler, reference in rows:
    if not (root / "workers" / kind / "main.c").exists():
        bad.append(f"{method} {path}: {handler} has no program, workers/{kind}/main.c is missing")
    if reference not in anchors and not (reference.startswith("admin/") and path.startswith("/_synapse/admin/")):
        bad.append(f"{method} {path}: the specification has no heading {reference} (spec_anchors)")

# Nothing of the specification is forgotten
ours = {same(method, path): path for method, path, *_ in rows}
if len(ours) != len(rows):
    bad.append("two rows have one method and path")
later = {same(*line.split()): line for line in words(here / "endpoints_later")}
bad += [f"{line}: has a row in routes.def, so it waits no longer (endpoints_later)" for key, line in later.items() if key in ours]
known = {same(*line.split()) for line in words(here / "spec_endpoints")}
bad += [f"{method} {path}: neither in routes.def nor in endpoints_later" for method, path in sorted(known - set(ours) - set(later))]
bad += [f"{later[key]}: the specification has no such endpoint (endpoints_later)" for key in later if key not in known]
facts = root.parent / "shared/facts/ENDPOINTS.tsv"
if facts.exists():
    with open(facts) as file:
        told = {same(row["method"], row["path"]) for row in csv.DictReader(file, delimiter="\t")}
    bad += [f"{method} {path}: in one of spec_endpoints and the list of facts only" for method, path in sorted(known ^ told)]

# Some test knows it
texts = "\n".join(p.read_text(errors="replace") for folder in ("system", "worker", "interop", "chaos", "bench", "lib", "unit", "complement")
                  for p in (root / "tests" / folder).rglob("*")
                  if p.is_file() and (p.suffix in (".py", ".c", ".tsv", ".txt", ".json", ".go") or p.name == "run"))


def is_known(path):
    literal = [part for part in path.split("/") if part and not part.startswith("{")][-1]
    return re.search(r"[/\"'(`]" + re.escape(literal) + r"(?![\w.])", texts) is not None


bad += [f"{method} {path}: no test requests it" for method, path, *_ in rows if not is_known(path)]
print("\n".join(bad) or f"{len(rows)} routes with program, heading and test; {len(later)} of the specification's {len(known)} wait")
sys.exit(bool(bad))
