"""Two whole Myelin servers for tests of accounts, and small clients for them that say what came back instead of raising."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import ed25519
from matrix import Http, quote
from servers import Authority, Myelin, scratch_folder

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse"
SETTINGS = ["open_registration=true", "guest_registration=true", "public_base_url=https://here.example", "well_known_server=here.example:443",
            "replicas.accounts=2"]


def prefix_of(build, folder):
    """The programs of a build folder, laid out as installed: the account that Myelin runs as may not see the checkout."""
    prefix = os.path.join(folder, "prefix")
    for place in ("bin", "lib/myelin", "share/myelin"):
        os.makedirs(os.path.join(prefix, place))
    for name in os.listdir(build):
        if name == "myelin" or (name.startswith("myelin-") and os.access(os.path.join(build, name), os.X_OK)):
            shutil.copy(os.path.join(build, name), os.path.join(prefix, "bin" if name == "myelin" else "lib/myelin", name))
    shutil.copytree(os.path.join(ROOT, "schema"), os.path.join(prefix, "share/myelin/schema"))
    return prefix


class Pair:
    """Two servers that can reach each other."""

    def __init__(self, build):
        self.folder = scratch_folder("accounts")
        authority, prefix = Authority(self.folder), prefix_of(build, self.folder)
        self.servers = [Myelin(self.folder, authority, label, prefix, SETTINGS) for label in ("here", "there")]
        for server in self.servers:
            server.start()

    def stop(self):
        """Gives signs of processes that died."""
        for server in self.servers:
            server.stop()
        complaints = self.complaints()
        if os.environ.get("KEEP"):
            print("data and logs are in " + self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return complaints

    def complaints(self):
        marks = ("ERROR: AddressSanitizer", "runtime error:", "ensure(", "assertion", "LeakSanitizer")
        lines = []
        for server in self.servers:
            lines += [line.strip() for line in open(server.log, errors="replace") if any(mark in line for mark in marks)]
        return lines


class Device:
    """A client: every request gives (status, body)."""

    def __init__(self, server):
        self.server, self.http = server, Http("127.0.0.1", server.client_port)
        self.user_id = self.token = self.device_id = self.since = None

    def ask(self, method, path, body=None, token=None):
        token = token or self.token
        headers = {"Authorization": "Bearer " + token} if token else {}
        return self.http.send(method, path if path.startswith("/_") or path.startswith("/.") else V3 + path, body, headers)

    def get(self, path):
        return self.ask("GET", path)

    def put(self, path, body):
        return self.ask("PUT", path, body)

    def post(self, path, body=None):
        return self.ask("POST", path, {} if body is None else body)

    def delete(self, path, body=None):
        return self.ask("DELETE", path, body)

    def take(self, answer):
        self.user_id, self.token, self.device_id = answer["user_id"], answer["access_token"], answer["device_id"]
        return self

    def join_as(self, name=None, **more):
        """Registers a new user."""
        body = {"username": name or "u" + secrets.token_hex(5), "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **more}
        status, answer = self.post("/register", body)
        assert status == 200, answer
        return self.take(answer)

    def log_in(self, user_id, password=PASSWORD, **more):
        return self.post("/login", {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": password, **more})

    def proof(self, password=PASSWORD, user_id=None, **more):
        return {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id or self.user_id}, "password": password, **more}

    def sync(self, timeout_ms=0):
        path = f"/sync?timeout={timeout_ms}" + (f"&since={self.since}" if self.since else "")
        status, answer = self.get(path)
        assert status == 200, answer
        self.since = answer["next_batch"]
        return answer

    def room(self, **body):
        status, answer = self.post("/createRoom", {"preset": "public_chat", **body})
        assert status == 200, answer
        return answer["room_id"]

    def join(self, room, server=None):
        status, answer = self.post(f"/join/{quote(room)}" + (f"?server_name={server.name}&via={server.name}" if server else ""))
        assert status == 200, answer

    def me(self, path):
        return f"/user/{quote(self.user_id)}{path}"


def shared_secret(device, name, password=PASSWORD, admin=False, secret="interop", **more):
    path = "/_synapse/admin/v1/register"
    nonce = device.get(path)[1]["nonce"]
    text = b"\0".join(part.encode() for part in (nonce, name, password, "admin" if admin else "notadmin"))
    mac = hmac.new(secret.encode(), text, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac, **more}
    return device.post(path, body), body


# ---- keys

def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Key:
    """An Ed25519 key that signs JSON."""

    def __init__(self):
        self.secret = ed25519.Key(secrets.token_bytes(32))
        self.public = unpadded(self.secret.public)

    def sign(self, value, user_id, name):
        bare = {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
        signature = unpadded(self.secret.sign(canonical(bare)))
        signatures = value.setdefault("signatures", {}).setdefault(user_id, {})
        signatures["ed25519:" + name] = signature
        return value


def device_keys(device, key):
    body = {"user_id": device.user_id, "device_id": device.device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {f"ed25519:{device.device_id}": key.public, f"curve25519:{device.device_id}": unpadded(secrets.token_bytes(32))}}
    return key.sign(body, device.user_id, device.device_id)


def one_time_keys(device, key, *names):
    return {f"signed_curve25519:{name}": key.sign({"key": unpadded(secrets.token_bytes(32))}, device.user_id, device.device_id) for name in names}


def cross_key(user_id, usage, key):
    return {"user_id": user_id, "usage": [usage], "keys": {"ed25519:" + key.public: key.public}}
