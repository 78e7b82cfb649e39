"""Bad input that every endpoint must refuse in the same way, made from proto/routes.def: bodies that are not JSON or no object, bodies over
the row's cap, ids in the path that cannot be, and requests of nobody. A new endpoint is tested the day its row is written."""

import os
import re

from matrix import quote
from servers import ROOT
from suite import expect

ROW = re.compile(r'^ROUTE\((\w+), "([^"]+)", (\w+), \w+, (\w+), (\w+)\((\d+)\), \w+, (\w+), ', re.M)
UNITS = {"KIB": 1024, "MIB": 1024 * 1024}
NOT_JSON, NO_OBJECT = ("400", "M_NOT_JSON"), ("400", "M_BAD_JSON")
EITHER = ("400", "M_NOT_JSON|M_BAD_JSON")
BODIES = [
    ("cut short", b'{"a":', NOT_JSON), ("two values", b"{} {}", NOT_JSON), ("single quotes", b"{'a':1}", NOT_JSON), ("bare word", b'{"a":nope}', NOT_JSON),
    ("invalid UTF-8 in a string", b'{"a":"\xff\xfe"}', NOT_JSON), ("surrogate as UTF-8", b'{"a":"\xed\xa0\x80"}', NOT_JSON),
    ("invalid UTF-8 in a key", b'{"\xc0\xaf":1}', NOT_JSON), ("NUL byte", b'{"a":"\x00"}', NOT_JSON), ("UTF-16", "{}".encode("utf-16"), NOT_JSON),
    ("lone surrogate", b'{"a":"\\ud800"}', EITHER), ("huge exponent without digits", b'{"a":1e}', NOT_JSON),
    ("deep nesting", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", EITHER), ("a key twice", b'{"a":1,"a":2}', EITHER),
    ("array", b"[]", NO_OBJECT), ("string", b'"x"', NO_OBJECT), ("number", b"1", NO_OBJECT), ("null", b"null", NO_OBJECT), ("true", b"true", NO_OBJECT)]
# A whole and plausible value of path parameters for which OTHERWISE will not do.
OTHERWISE = "bad-routes"
PLACES = {
    "userId": "<user>", "roomId": "<room>", "roomIdOrAlias": "<room>", "roomAlias": "#bad-routes:<server>", "eventId": "<event>", "deviceId": "<device>",
    "keyName": "displayname", "eventType": "org.example.bad", "stateKey": "", "type": "org.example.bad", "tag": "u.bad", "filterId": "0",
    "receiptType": "m.read", "serverName": "<stranger>", "keyId": "ed25519:peer"}
IDS = {"userId": "@{}:<server>", "roomId": "!{}:<server>", "roomIdOrAlias": "!{}:<server>", "roomAlias": "#{}:<server>", "eventId": "${}"}
SERVER_PLACES = {"roomId": "<joined>", "eventId": "<joined_event>"}  # that server is a member


class Route:
    def __init__(self, method, path, auth, body, unit, cap, handler):
        self.method, self.path, self.auth, self.body, self.cap, self.handler = method, path, auth, body, int(cap) * UNITS[unit], handler
        self.names = re.findall(r"\{(\w+)\*?\}", path)
        self.title = f"{method} {path}"
        self.asker = {"SERVER": "server", "NONE": "none", "ADMIN": "admin"}.get(auth, "user")

    def url(self, names, **changes):
        """changes: raw replacements, percent-encoded already."""
        def place(match):
            name = match[1]
            if name in changes:
                return changes[name]
            text = SERVER_PLACES.get(name) if self.auth == "SERVER" else None
            text = PLACES.get(name, OTHERWISE) if text is None else text
            return quote(re.sub(r"<(\w+)>", lambda found: names[found[1]], text))
        return re.sub(r"\{(\w+)\*?\}", place, self.path)


def read_routes():
    text = re.sub(r"/\*.*?\*/", "", open(os.path.join(ROOT, "proto", "routes.def"), encoding="utf-8").read(), flags=re.S)
    routes = [Route(*row) for row in ROW.findall(text)]
    expect(len(routes) == len(re.findall(r"^ROUTE\(", text, re.M)), "rows of routes.def that bad_routes does not understand")
    return routes


def bodies(stage, route):
    url = route.url(stage.names)
    with stage.nothing_stored():
        for what, data, due in BODIES:
            try:
                stage.refused(route.method, url, route.asker, data, *due)
            except AssertionError as problem:
                raise AssertionError(f"{what}: {problem}") from None


def oversize(stage, route):
    """A body one byte over the cap. Caps of many megabytes are those of the listener, which refuses what is only announced."""
    with stage.nothing_stored():
        if route.cap <= 1024 * 1024:
            stage.refused(route.method, route.url(stage.names), route.asker, b'{"a":"' + b"x" * (route.cap - 7) + b'"}', "413", "M_TOO_LARGE")
        else:
            status, answer = stage.ask(route.method, route.url(stage.names), route.asker, None, length=1 << 34)
            expect(status == 413, f"answered {status} {answer}")


def ids(stage, route):
    """Oversize ids, NUL and invalid UTF-8 in each place of the path."""
    body = b"{}" if route.body == "JSON" else None
    with stage.nothing_stored():
        for name in route.names:
            flaws = [("NUL", "a%00b", "400", "M_INVALID_PARAM"), ("invalid UTF-8", "%ff%fe", "400", "M_INVALID_PARAM"),
                     ("overlong UTF-8", "%c0%af", "400", "M_INVALID_PARAM")]
            if name in IDS:
                long = quote(re.sub(r"<(\w+)>", lambda found: stage.names[found[1]], IDS[name].format("x" * 255)))
                flaws.append(("over 255 bytes", long, "400|401|403|404|413", "M_INVALID_PARAM|M_BAD_JSON|M_MISSING_PARAM|M_MISSING_TOKEN|M_FORBIDDEN|M_NOT_FOUND|M_TOO_LARGE"))
            for what, value, statuses, errcodes in flaws:
                try:
                    stage.refused(route.method, route.url(stage.names, **{name: value}), route.asker, body, statuses, errcodes)
                except AssertionError as problem:
                    raise AssertionError(f"{{{name}}}, {what}: {problem}") from None


def strangers(stage, route):
    """Who does not say who he is, or lies about it, is refused before anything else."""
    body = b"{}" if route.body == "JSON" else None
    flaws = {"ADMIN": [("none", "M_MISSING_TOKEN"), ("bad", "M_UNKNOWN_TOKEN")], "SERVER": [("none", "M_UNAUTHORIZED"), ("user", "M_UNAUTHORIZED"), ("server:wrong-destination", "M_UNAUTHORIZED"),
                        ("server:bad-signature", "M_UNAUTHORIZED"), ("server:old-key", "M_UNAUTHORIZED")]}
    with stage.nothing_stored():
        for auth, errcode in flaws.get(route.auth, [("none", "M_MISSING_TOKEN"), ("bad", "M_UNKNOWN_TOKEN"), ("server", "M_MISSING_TOKEN")]):
            try:
                stage.refused(route.method, route.url(stage.names), auth, body, "401", errcode)
            except AssertionError as problem:
                raise AssertionError(f"auth {auth}: {problem}") from None


def run(checks, stage, match):
    for route in read_routes():
        if match not in route.title:
            continue
        if route.body == "JSON":
            checks.step(f"every bad body: {route.title}", lambda: bodies(stage, route))
            checks.step(f"body over the cap: {route.title}", lambda: oversize(stage, route))
        if route.names:
            checks.step(f"ids in the path: {route.title}", lambda: ids(stage, route))
        if route.auth not in ("NONE", "OPTIONAL"):
            checks.step(f"who asks: {route.title}", lambda: strangers(stage, route))
