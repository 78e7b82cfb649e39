#!/usr/bin/env python3
"""Every row of proto/routes.def has a spec reference and is exercised by a test: its path, with any values for the parameters, is requested
somewhere below tests/, or by a Complement test listed as passing (tests/complement/routes.txt names those). The handler is a link error
already. With the endpoints table of the shared facts beside the checkout: rows that name no endpoint of the specification are printed."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
rows = re.findall(r'^ROUTE\((\w+), "([^"]+)", .*, (\w+), [^,]+, "([^"]*)"\)$', (root / "proto/routes.def").read_text(), re.M)
texts = "\n".join(p.read_text(errors="replace") for folder in ("system", "worker", "interop", "chaos", "bench", "lib", "unit", "complement")
                  for p in (root / "tests" / folder).rglob("*")
                  if p.is_file() and (p.suffix in (".py", ".c", ".tsv", ".txt", ".json", ".go") or p.name == "run"))
texts = re.sub(r'["\'] *\+ *[^"\']+ *\+ *f?["\']', "{}", texts)  # "a/" + x + "/b" reads as a/{}/b

def exercised(path):
    tail = re.sub(r"^/_matrix/(client/v3|federation)", "", path)
    pattern = "".join(r"[^\s\"'?]*" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", tail) if part)
    return re.search(pattern, texts) is not None

bad = [f"{method} {path}: no spec reference" for method, path, handler, reference in rows if "/" not in reference]
bad += [f"{method} {path}: no test requests it" for method, path, handler, reference in rows if not exercised(path)]
print("\n".join(bad) or f"{len(rows)} routes, each with a reference and a test")
sys.exit(bool(bad) or not rows)
