#!/usr/bin/env python3
"""Every row of proto/routes.def has a spec reference, and some test requests its path.

Tests build paths from pieces, so what is looked for is the path's last literal segment as a word of a path somewhere below tests/.
The handler is a link error already when it is missing."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
rows = re.findall(r'^ROUTE\((\w+), "([^"]+)", .*, (\w+), [^,]+, "([^"]*)"\)$', (root / "proto/routes.def").read_text(), re.M)
texts = "\n".join(p.read_text(errors="replace") for folder in ("system", "worker", "interop", "chaos", "bench", "lib", "unit", "complement")
                  for p in (root / "tests" / folder).rglob("*")
                  if p.is_file() and (p.suffix in (".py", ".c", ".tsv", ".txt", ".json", ".go") or p.name == "run"))

def exercised(path):
    literal = [part for part in path.split("/") if part and not part.startswith("{")][-1]
    return re.search(r"[/\"'(`]" + re.escape(literal) + r"(?![\w.])", texts) is not None

bad = [f"{method} {path}: no spec reference" for method, path, handler, reference in rows if "/" not in reference]
bad += [f"{method} {path}: no test requests it" for method, path, handler, reference in rows if not exercised(path)]
print("\n".join(bad) or f"{len(rows)} routes, each with a reference and a test")
sys.exit(bool(bad) or not rows)
