#!/usr/bin/env python3
"""The board, the alerts and the runbooks speak of metrics, options and files that exist."""
import json
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
sources = "\n".join(path.read_text() for folder in ("lib", "frontend", "supervisor", "workers") for path in (root / folder).rglob("*.c"))
known = set(re.findall(r"\bmyelin_[a-z_]+", sources))
known |= {name + suffix for name in set(known) for suffix in ("_bucket", "_sum", "_count")}
bad, seen = [], 0

board = json.loads((root / "ops/grafana/myelin.json").read_text())
expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
alerts = (root / "ops/prometheus/myelin.yml").read_text()
expressions += re.findall(r"^ +expr: (.*)$", alerts, re.M)
for text in expressions:
    names = re.findall(r"\bmyelin_[a-z_]+", text)
    seen += len(names)
    bad += [f"{text}: no such metric: {name}" for name in names if name not in known]
    bad += [f"{text}: brackets" for pair in ("()", "{}", "[]") if text.count(pair[0]) != text.count(pair[1])]
bad += [f"the alerts name {path}, which is missing" for path in re.findall(r"runbook: (\S+)", alerts) if not (root / path).exists()]

commands = set(re.findall(r'^    \{"([a-z-]+)", "', (root / "supervisor/main.c").read_text(), re.M))
settings = re.findall(r"^SETTING\(.*?, (\w+), ", (root / "proto/settings.def").read_text(), re.M)
for path in sorted((root / "ops/runbooks").glob("*.md")):
    text = path.read_text()
    bad += [f"{path.name}: there is no `myelin {word}`" for word in re.findall(r"(?:`|^ {4})myelin ([a-z][a-z-]+)", text, re.M) if word not in commands]
    bad += [f"{path.name}: {link} is missing" for link in re.findall(r"\]\(([^)#]+)\)", text) if not (path.parent / link).exists()]
    bad += [f"{path.name}: no such metric: {name}" for name in re.findall(r"`(myelin_[a-z_]+)`", text) if name not in known]
    bad += [f"{path.name}: no such setting: {name}" for name in re.findall(r"`((?:database|signing)_[a-z_]+)`", text) if name not in settings]
print("\n".join(bad) or f"{seen} mentions of metrics, all known")
sys.exit(bool(bad) or seen < 20)
