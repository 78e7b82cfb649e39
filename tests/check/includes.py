#!/usr/bin/env python3
"""The include direction of DESIGN §16: base <- proto, matrix <- kit <- store <- kinds; kinds never include each other.

Prints every #include that goes the wrong way and fails when there is one."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
ALLOWED = {
    "lib/base": ["lib/base"],
    "proto": ["lib/base", "proto", "lib/kit"],  # dispatch.h and stubs.h expand the tables for kinds
    "lib/matrix": ["lib/base", "lib/matrix", "proto/fault.h"],
    "lib/kit": ["lib/base", "proto", "lib/matrix", "lib/kit"],
    "lib/store": ["lib/base", "proto", "lib/matrix", "lib/kit", "lib/store"],
    "frontend": ["lib/base", "proto", "lib/kit", "lib/matrix/ids.h", "frontend", "lib/matrix/x_matrix.h"],
    "supervisor": ["lib/base", "proto", "lib/matrix", "lib/kit", "supervisor"],
}
for kind in (root / "workers").iterdir():
    ALLOWED[f"workers/{kind.name}"] = ["lib/base", "proto", "lib/matrix", "lib/kit", "lib/store", f"workers/{kind.name}"]

bad, seen = [], 0
for folder, allowed in ALLOWED.items():
    for path in sorted((root / folder).glob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            seen += 1
            target = match.group(1)
            if not any(target == a or target.startswith(a + "/") for a in allowed):
                bad.append(f"{path.relative_to(root)}:{number}: {folder} must not include {target}")
print("\n".join(bad) or f"{seen} includes, all in the allowed direction")
sys.exit(bool(bad) or seen == 0)
