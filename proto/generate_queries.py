#!/usr/bin/env python3
"""Turns a folder's queries.sql into typed C (STYLE §8): generate_queries.py SOURCE.sql TARGET_DIR FOLDER

A block of queries.sql is one statement with its types:

    -- name: user_by_token
    -- why: one line, optional
    -- scan: published_room optional: the growing tables (a,b) that it may read from end to end, and why
    -- param: token_hash bytea
    -- column: user_id text
    SELECT user_id FROM access_token WHERE token_hash = $1;

It becomes q_user_by_token(), struct user_by_token_row and user_by_token_next() on top of lib/kit/db.h, in TARGET_DIR/queries.h
and queries.c. queries.json holds the same facts for tests/check/queries, which prepares and plans all of them. What can be wrong
without a server (types, counts, names) is refused here, with file and line.
"""
import json
import os
import re
import sys

# SQL type: (enum db_type, C type, member of union db_value)
TYPES = {
    "bigint": ("DB_BIGINT", "int64_t", "number"),
    "integer": ("DB_INTEGER", "int64_t", "number"),
    "xid8": ("DB_XID8", "int64_t", "number"),
    "boolean": ("DB_BOOLEAN", "bool", "number"),
    "text": ("DB_TEXT", "struct slice", "bytes"),
    "bytea": ("DB_BYTEA", "struct slice", "bytes"),
    "bigint[]": ("DB_BIGINTS", "struct i64s", "numbers"),
    "text[]": ("DB_TEXTS", "struct slices", "texts"),
    "bytea[]": ("DB_BYTEAS", "struct slices", "texts"),
}
TAKEN = set("""auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false
batch result row values""".split())
WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|DROP|ALTER|PG_NOTIFY|NOTIFY)\b")


class Wrong(Exception):
    pass


class Statement:
    def __init__(self, name, file, line):
        self.name, self.file, self.line = name, file, line
        self.why = self.scan = ""
        self.params, self.columns, self.lines = [], [], []

    def wrong(self, line, text):
        return Wrong(f"{self.file}:{line}: {self.name}: {text}")

    @property
    def sql(self):
        return "\n".join(self.lines).strip().rstrip(";").rstrip()

    def bare(self):
        """The SQL without comments and string literals, for looking at its words."""
        return re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", " ", "\n".join(self.lines), flags=re.S)

    @property
    def writes(self):
        words = re.sub(r"\bFOR\s+(NO\s+KEY\s+)?UPDATE\b", " ", self.bare().upper())
        return bool(WRITES.search(words))

    def check(self):
        bare = self.bare().strip()
        if not bare.strip(";").strip():
            raise self.wrong(self.line, "no statement follows")
        if not bare.endswith(";"):
            raise self.wrong(self.line, "the statement does not end with ;")
        if ";" in bare[:-1]:
            raise self.wrong(self.line, "more than one statement")
        used = {int(n) for n in re.findall(r"\$(\d+)", bare)}
        if used != set(range(1, len(self.params) + 1)):
            shown = " ".join(f"${n}" for n in sorted(used)) or "none"
            raise self.wrong(self.line, f"{len(self.params)} params declared, used: {shown}")
        for what, fields in (("param", self.params), ("column", self.columns)):
            names = [name for name, _ in fields]
            for name in names:
                if names.count(name) > 1:
                    raise self.wrong(self.line, f"{what} {name} twice")


def read_statements(file):
    statements, current, names = [], None, {}
    with open(file, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            line = line.rstrip()
            mark = re.match(r"--\s*(name|why|scan|param|column):\s*(.*)$", line)
            if mark and mark[1] == "name":
                name = mark[2].strip()
                if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > 60:
                    raise Wrong(f"{file}:{number}: bad name “{name}”")
                if name in names:
                    raise Wrong(f"{file}:{number}: {name} is there already, in line {names[name]}")
                names[name] = number
                current = Statement(name, file, number)
                statements.append(current)
            elif mark and current is None:
                raise Wrong(f"{file}:{number}: “{mark[1]}” before the first “name”")
            elif mark and current.lines:
                raise current.wrong(number, f"“{mark[1]}” after the statement began")
            elif mark and mark[1] in ("why", "scan"):
                setattr(current, mark[1], mark[2].strip())
            elif mark:
                field = re.fullmatch(r"([a-z][a-z0-9_]*)\s+(\S+)", mark[2].strip())
                if not field:
                    raise current.wrong(number, f"“{mark[1]}” wants: name type")
                if field[1] in TAKEN:
                    raise current.wrong(number, f"{field[1]} cannot be a name in C")
                if field[2] not in TYPES:
                    raise current.wrong(number, f"unknown type {field[2]}; known: {' '.join(TYPES)}")
                (current.params if mark[1] == "param" else current.columns).append((field[1], field[2]))
            elif current is None:
                if line and not line.startswith("--"):
                    raise Wrong(f"{file}:{number}: SQL before the first “name”")
            elif line.startswith("--"):
                if not current.lines and re.match(r"--\s*[a-z]+:", line):
                    raise current.wrong(number, f"unknown mark “{line}”")
            elif line or current.lines:
                current.lines.append(line)
    for statement in statements:
        statement.check()
    return statements


def c_string(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').split("\n")
    return "\n        ".join(f'"{line}\\n"' if i + 1 < len(escaped) else f'"{line}"' for i, line in enumerate(escaped))


def prototype(s):
    params = "".join(f", {TYPES[kind][1]} {name}" for name, kind in s.params)
    return f"struct db_result *q_{s.name}(struct db_batch *batch{params})"


def header(statements, folder, source):
    guard = "MYELIN_" + re.sub(r"[^A-Za-z0-9]", "_", folder).upper() + "_QUERIES_H"
    out = [f"/* Made by proto/generate_queries.py from {source}. */", f"#ifndef {guard}", f"#define {guard}", "",
           '#include "lib/kit/db.h"', ""]
    for s in statements:
        if s.why:
            out.append(f"/* {s.why.replace('*/', '* /')} */")
        out.append(prototype(s) + ";")
        if s.columns:
            out.append(f"struct {s.name}_row {{")
            out += [f"    {TYPES[kind][1]} {name};" for name, kind in s.columns]
            out.append("};")
            out.append(f"bool {s.name}_next(struct db_result *result, struct {s.name}_row *row);")
        out.append("")
    return "\n".join(out + ["#endif", ""])


def types_array(s, what, fields):
    if not fields:
        return None
    return f"static const enum db_type {s.name}_{what}[] = {{{', '.join(TYPES[kind][0] for _, kind in fields)}}};"


def body(statements, folder, source):
    out = [f"/* Made by proto/generate_queries.py from {source}. */", f'#include "{folder}/queries.h"', ""]
    for s in statements:
        out += [a for a in (types_array(s, "params", s.params), types_array(s, "columns", s.columns)) if a]
        out.append(f"static const struct db_statement {s.name}_statement = {{")
        out.append(f'    .name = "{s.name}",')
        out.append(f"    .sql = {c_string(s.sql)},")
        if s.params:
            out.append(f"    .params = {s.name}_params,")
            out.append(f"    .param_count = {len(s.params)},")
        if s.columns:
            out.append(f"    .columns = {s.name}_columns,")
            out.append(f"    .column_count = {len(s.columns)},")
        out.append(f"    .writes = {'true' if s.writes else 'false'},")
        out += ["};", "", prototype(s), "{"]
        if s.params:
            values = ", ".join(f"{{.{TYPES[kind][2]} = {name}}}" for name, kind in s.params)
            out.append(f"    const union db_value values[] = {{{values}}};")
            out.append(f"    return db_add(batch, &{s.name}_statement, values);")
        else:
            out.append(f"    return db_add(batch, &{s.name}_statement, NULL);")
        out += ["}", ""]
        if s.columns:
            out += [f"bool {s.name}_next(struct db_result *result, struct {s.name}_row *row)", "{",
                    f"    union db_value values[{len(s.columns)}];", "    if (!db_next(result, values))", "        return false;"]
            for i, (name, kind) in enumerate(s.columns):
                same = " == 1" if kind == "boolean" else ""  # NULL reads as false
                out.append(f"    row->{name} = values[{i}].{TYPES[kind][2]}{same};")
            out += ["    return true;", "}", ""]
    if statements:
        out.append("static const struct db_statement *const all[] = {")
        out += [f"    &{s.name}_statement," for s in statements]
        out += ["};", "", "__attribute__((constructor)) static void register_all(void)", "{",
                "    db_register_statements(all, sizeof all / sizeof all[0]);", "}", ""]
    return "\n".join(out)


def manifest(statements, folder):
    rows = [{"name": s.name, "folder": folder, "file": s.file, "line": s.line, "sql": s.sql, "params": s.params,
             "columns": s.columns, "writes": s.writes, "scan": s.scan} for s in statements]
    return json.dumps(rows, indent=1) + "\n"


def write_file(path, text):
    with open(path + ".new", "w", encoding="utf-8") as target:
        target.write(text)
    os.replace(path + ".new", path)


def main(arguments):
    if len(arguments) != 4:
        sys.exit(__doc__.split("\n")[0])
    _, source, target, folder = arguments
    try:
        statements = read_statements(source)
    except Wrong as wrong:
        sys.exit(str(wrong))
    os.makedirs(target, exist_ok=True)
    shown = f"{folder}/queries.sql"
    write_file(os.path.join(target, "queries.h"), header(statements, folder, shown))
    write_file(os.path.join(target, "queries.c"), body(statements, folder, shown))
    write_file(os.path.join(target, "queries.json"), manifest(statements, folder))


if __name__ == "__main__":
    main(sys.argv)
