#!/usr/bin/env python3
"""test_database.py BUILD_DIR SOURCE_DIR: what schema/OWNERS promises. Old rows are put into the tables by hand; sweeps come five times a
second here, take what is past its time and leave the rest."""
import http.client
import json
import subprocess
import sys
import threading
import time

from sync_rig import Device, System

DAY = 24 * 3600 * 1000


class Database:
    def __init__(self, system):
        self.command = ["psql", "-XAtq", "-F", "\t", "-h", system.folder + "/data/run", "-U", "myelin", "-d", "myelin", "-v", "ON_ERROR_STOP=1"]

    def rows(self, sql):
        done = subprocess.run([*self.command, "-c", sql], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def names(self, sql):
        return {row[0] for row in self.rows(sql)}

    def until(self, sql, wanted, seconds=60):
        """The first column of the rows."""
        deadline = time.monotonic() + seconds
        while (found := self.names(sql)) != wanted:
            assert time.monotonic() < deadline, (sql, found, wanted)
            time.sleep(0.05)


def asked(device, method, path, body):
    """(status, answer), whatever it is."""
    connection = http.client.HTTPConnection("127.0.0.1", device.system.port, timeout=90)
    connection.request(method, "/_matrix/client/v3" + path, json.dumps(body), {"Content-Type": "application/json", "Authorization": f"Bearer {device.token}"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def each_kind_is_its_own_login(system, database):
    """RESET ROLE leads nowhere: tests/unit/test_supervisor.c tries."""
    alice = Device(system)
    alice.room()
    alice.sync()
    found = database.rows("SELECT DISTINCT application_name, usename FROM pg_stat_activity WHERE application_name LIKE 'myelin-%' "
                          "AND application_name <> 'myelin-supervisor'")
    assert {"myelin-accounts", "myelin-events", "myelin-sync"} <= {name for name, _ in found}, found
    assert all(role == name.replace("-", "_") for name, role in found), found
    slots = database.names("SELECT usename FROM pg_stat_activity WHERE application_name = 'myelin slots'")
    assert slots == {"myelin_sender"}, slots


def what_expires(system, database):
    now = int(time.time() * 1000)
    database.rows(f"""
        INSERT INTO event_txn (user_id, device_id, room_nid, scope, txn_id, event_nid, created_ts)
            SELECT '@old:sync.test', 'D', 1, 's', 't' || i, i, {now - 2 * DAY} FROM generate_series(1, 1200) i;
        INSERT INTO event_txn (user_id, device_id, room_nid, scope, txn_id, event_nid, created_ts)
            VALUES ('@new:sync.test', 'D', 1, 's', 't', 1, {now - DAY // 2});
        INSERT INTO received_transaction VALUES ('old.test', 't', '', {now - 9 * DAY}), ('new.test', 't', '', {now - 7 * DAY});
        INSERT INTO to_device_seen VALUES ('@old:x', 't', {now - 8 * DAY}), ('@new:x', 't', {now - 6 * DAY});
        INSERT INTO registration_nonce VALUES ('old', {now - DAY}), ('new', {now + DAY});
        INSERT INTO ui_auth_session (session_id, operation, request, created_ts) VALUES ('old', '', '', {now - DAY}), ('new', '', '', {now + DAY});
        INSERT INTO server_key VALUES ('gone.test', 'k', '', {now - 400 * DAY}, true, {now - 400 * DAY}, ''),
            ('expired.test', 'k', '', {now - 400 * DAY}, true, {now - 300 * DAY}, ''), ('valid.test', 'k', '', {now + DAY}, false, {now - 400 * DAY}, '')""")
    database.until("SELECT user_id FROM event_txn WHERE user_id IN ('@old:sync.test', '@new:sync.test')", {"@new:sync.test"})
    database.until("SELECT origin FROM received_transaction", {"new.test"})
    database.until("SELECT sender FROM to_device_seen WHERE txn_id = 't'", {"@new:x"})
    database.until("SELECT nonce FROM registration_nonce", {"new"})
    database.until("SELECT session_id FROM ui_auth_session WHERE session_id IN ('old', 'new')", {"new"})
    database.until("SELECT server_name FROM server_key WHERE server_name LIKE '%.test' AND server_name <> 'sync.test'", {"expired.test", "valid.test"})


def who_must_get_an_event(system, database):
    """Delivered ones go; what a server is owed stays until it is too old."""
    now, alice = int(time.time() * 1000), Device(system)
    room = alice.room()
    event = ("INSERT INTO event (event_nid, event_id, room_nid, depth, type, sender, origin_server_ts, flags, prev_nids, auth_nids, json) VALUES "
             "(9{0}, '$sweep{0}', -1, 1, 't', '@a:sync.test', {1}, 0, '{{}}', '{{}}', '{{}}')")  # not marked as ours: nobody is to deliver it
    database.rows("; ".join([
        "INSERT INTO destination (server, slot, owed_pos, failing_since_ts, retry_ts, backoff_ms) VALUES "
        f"('dead.test', 0, '3', {now}, {now + 3600 * 1000}, 3600000)",
        event.format(1000000001, now), event.format(1000000002, now - 91 * DAY),
        "INSERT INTO event_destination VALUES (91000000001, 'alive.test'), (91000000001, 'dead.test'), (91000000002, 'alive.test'), (91000000002, 'dead.test')"]))
    alice.send(room, "senders come past the others")
    database.until("SELECT event_nid || server FROM event_destination WHERE event_nid > 90000000000", {"91000000001dead.test"})
    database.rows("UPDATE destination SET owed_pos = NULL WHERE server = 'dead.test'")
    database.until("SELECT event_nid FROM event_destination WHERE event_nid > 90000000000", set())


def keys_of_strangers(system, database):
    """Remote users without a shared room are forgotten, others and our own are not."""
    alice = Device(system)
    alice.room()
    room_nid = database.rows(f"SELECT room_nid FROM membership WHERE user_id = '{alice.user}'")[0][0]
    database.rows(f"""
        INSERT INTO membership (room_nid, user_id, server, membership, event_nid, is_local) VALUES ({room_nid}, '@known:far.test', 'far.test', 'join', 1, false);
        INSERT INTO device_list (user_id, cached_pos) SELECT u, '3' FROM unnest('{{@known:far.test,@stranger:far.test}}'::text[]) u;
        INSERT INTO device_list (user_id) VALUES ('@ours:sync.test');
        INSERT INTO device_key (user_id, device_id, keys) SELECT u, 'D', '{{}}' FROM unnest('{{@known:far.test,@stranger:far.test,@ours:sync.test}}'::text[]) u;
        INSERT INTO cross_signing_key SELECT u, 'master', '{{}}' FROM unnest('{{@known:far.test,@stranger:far.test,@ours:sync.test}}'::text[]) u""")
    for table in ("device_list", "device_key", "cross_signing_key"):
        database.until(f"SELECT user_id FROM {table} WHERE user_id ~ ':far.test|@ours'", {"@known:far.test", "@ours:sync.test"})


def caps(system, database):
    alice = Device(system)
    database.rows(f"INSERT INTO account_data SELECT '{alice.user}', '', 'filled.' || i, '{{}}' FROM generate_series(1, 20000) i")
    path = f"/user/{alice.user}/account_data/"
    status, answer = asked(alice, "PUT", path + "one.more", {"a": 1})
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE"), answer
    assert asked(alice, "PUT", path + "filled.7", {"a": 1})[0] == 200, "what is there can be changed"
    database.rows(f"INSERT INTO device (user_id, device_id, created_ts) SELECT '{alice.user}', 'D' || i, 0 FROM generate_series(1, 999) i")
    login = {"type": "m.login.password", "password": "a-long-password-1", "identifier": {"type": "m.id.user", "user": alice.user}}
    status, answer = asked(alice, "POST", "/login", login)
    assert status == 403 and "too many devices" in answer["error"], answer
    assert database.rows(f"SELECT count(*) FROM access_token WHERE user_id = '{alice.user}'") == [["1"]], "a token without a device"
    assert asked(alice, "POST", "/login", {**login, "device_id": alice.device})[0] == 200, "a known device may always log in"


def one_time_keys(system, database):
    """The newest thousand of a device stay."""
    alice = Device(system)
    for start in (0, 600):
        keys = {f"signed_curve25519:K{number:05}": {"key": "k"} for number in range(start, start + 600)}
        status, answer = asked(alice, "POST", "/keys/upload", {"one_time_keys": keys})
    assert status == 200 and answer["one_time_key_counts"]["signed_curve25519"] == 1000, answer
    database.until(f"SELECT count(*) || min(key_id) FROM one_time_key WHERE user_id = '{alice.user}'", {"1000K00200"})


def a_device_that_is_being_deleted(system, database):
    """Neither messages nor keys arrive behind it: both wait for the end of the deletion."""
    alice, bob = Device(system), Device(system)
    other = Device(system, login=bob)
    deleting = subprocess.Popen(database.command, stdin=subprocess.PIPE, text=True)
    deleting.stdin.write(f"BEGIN; DELETE FROM access_token WHERE device_id = '{other.device}'; DELETE FROM device WHERE device_id = '{other.device}';\n")
    deleting.stdin.flush()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asked(alice, "PUT", f"/sendToDevice/m.test/{time.time_ns()}", {
                   "messages": {bob.user: {other.device: {"a": 1}}}})[0])),
               threading.Thread(target=lambda: answers.append(asked(other, "POST", "/keys/upload", {"one_time_keys": {"x:y": "k"}})[0]))]
    deadline = time.monotonic() + 30
    while database.rows("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND application_name = 'psql'") != [["1"]]:
        assert time.monotonic() < deadline
    for number, thread in enumerate(threads):
        thread.start()
        database.until(waiting, {str(number + 1)}, 10)
    deleting.stdin.write("COMMIT;\n")
    deleting.stdin.close()
    assert deleting.wait() == 0
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 401], answers
    for table in ("to_device", "one_time_key"):
        assert database.rows(f"SELECT count(*) FROM {table} WHERE device_id = '{other.device}'") == [["0"]], table


def main():
    build, source = sys.argv[1:3]
    system = System(build, source, ["sweep_interval=200ms"])
    failed = []
    try:
        database = Database(system)
        for check in (each_kind_is_its_own_login, what_expires, who_must_get_an_event, keys_of_strangers, caps, one_time_keys,
                      a_device_that_is_being_deleted):
            started = time.monotonic()
            try:
                check(system, database)
            except AssertionError as error:
                failed.append(f"{check.__name__}: {error}")
            print(f"{'FAIL' if failed and failed[-1].startswith(check.__name__) else 'ok  '} {check.__name__} ({time.monotonic() - started:.2f} s)", flush=True)
    finally:
        problems = system.stop()
    sys.exit("\n".join(failed + problems) if failed or problems else 0)


main()
