"""Discovery, every step and every failure of the spec's list ("Resolving server names"), against a DNS server and HTTPS servers that this test
starts. What was found is then connected to: the TLS servers refuse a name and a Host header that are not the ones the spec asks for."""

import atexit
import email.utils
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from discovery_sites import Authority, Site
from dns_server import DnsServer

DRIVER = sys.argv.pop(1)
FALLBACK = "127.84.48.1"  # an address of its own, so that its port 8448 is free
MINUTE, HOUR = 60 * 1000, 3600 * 1000


def delegate(to, **headers):
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps({"m.server": to}).encode()


class World:
    """What stays for the whole run: certificates, the well-known server and a federation port."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="disc-", dir="/tmp")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority(self.folder)
        self.stranger, self.system = Authority(self.folder, "stranger"), Authority(self.folder, "system")
        self.well_known = Site(self.authority)
        self.federation = Site(self.authority)
        try:
            self.fallback = Site(self.authority, FALLBACK, 8448)
        except OSError as e:
            print(f"port 8448 is not to be had ({e}): the default port is not connected to", file=sys.stderr)
            self.fallback = None


WORLD = World()


class Driver:
    def __init__(self, dns, **settings):
        self.hosts = tempfile.NamedTemporaryFile("w", prefix="hosts-", dir=WORLD.folder)
        given = {"federation_ca_file": WORLD.authority.certificate, "federation_allow_private": "true", "discovery_dns_server": dns.address,
                 "discovery_well_known_port": WORLD.well_known.port, "hosts": self.hosts.name, **settings}
        arguments = [f"{key}={value}" for key, value in given.items()]
        self.process = subprocess.Popen([DRIVER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, "SSL_CERT_FILE": WORLD.system.certificate})  # a small one loads faster

    def say(self, command):
        self.process.stdin.write(command + "\n")
        answer = self.process.stdout.readline()
        assert answer, "the driver died"
        return json.loads(answer)

    def resolve(self, name, *more):
        return self.say(" ".join(["resolve", name, *map(str, more)]))

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()
        self.hosts.close()


class Discovery(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.dns = DnsServer()
        self.port = WORLD.federation.port
        for site in (WORLD.well_known, WORLD.federation, WORLD.fallback):
            if site:
                site.reset()
        self.driver = Driver(self.dns, **self.settings)

    def tearDown(self):
        self.driver.close()
        self.dns.__exit__()

    # ---- saying what should be

    def expect(self, name, addresses, host, certificate, steps, connect=True, refresh=False):
        """Resolves; compares; connects, with a server that knows this certificate name and this Host only."""
        found = self.driver.resolve(name, *(["refresh"] if refresh else []))
        self.assertEqual(found["fault"], "OK", found)
        if isinstance(addresses, str):
            addresses = [addresses]
        self.assertEqual(found["addresses"], addresses, found)
        self.assertEqual((found["host"], found["certificate"], found["steps"]), (host, certificate, steps))
        if connect:
            self.connect(certificate, host, found)
        return found

    def connect(self, certificate, host, found):
        site = WORLD.fallback if found["addresses"][0].endswith(" 8448") else WORLD.federation
        if site is None:
            return
        site.pages = {}
        site.serve(certificate, host)
        fetched = self.driver.say("fetch")
        self.assertEqual((fetched["fault"], fetched["status"]), ("OK", 200), fetched)
        self.assertIn((certificate, host, "/_matrix/federation/v1/version"), site.requests)

    def expect_failure(self, name, why, fault="PEER"):
        found = self.driver.resolve(name)
        self.assertEqual((found["fault"], found.get("why")), (fault, why))
        return found

    def well_known(self, name, page, address="127.0.0.1"):
        if not any(record[0] == name for record in self.dns.records):
            self.dns.add(name, "A", address)
        WORLD.well_known.serve(name, f"{name}:{WORLD.well_known.port}", page)

    def fetches(self, name):
        return sum(1 for served, _, _ in WORLD.well_known.requests if served == name)


class Steps(Discovery):
    """1, 2, 3.1 to 3.5, 4 to 6, as the spec numbers them."""

    def test_1_ipv4_literal(self):
        self.expect("127.0.0.1", "127.0.0.1 8448", "127.0.0.1", "127.0.0.1", "ip literal", connect=False)

    def test_1_ipv4_literal_with_port(self):
        name = f"127.0.0.1:{self.port}"
        WORLD.federation.serve_address("127.0.0.1", name)
        self.expect(name, f"127.0.0.1 {self.port}", name, "127.0.0.1", "ip literal", connect=False)
        self.assertEqual(self.driver.say("fetch")["status"], 200)

    def test_1_ipv4_literal_with_another_addresss_certificate(self):
        name = f"127.0.0.1:{self.port}"
        WORLD.federation.serve_address("127.0.0.1", name, certificate="127.0.0.2")
        self.expect(name, f"127.0.0.1 {self.port}", name, "127.0.0.1", "ip literal", connect=False)
        self.assertEqual(self.driver.say("fetch")["fault"], "PEER")

    def test_1_ipv6_literal(self):
        self.expect("[::1]", "::1 8448", "[::1]", "::1", "ip literal", connect=False)

    def test_1_ipv6_literal_with_port(self):
        site = Site(WORLD.authority, "::1")
        name = f"[::1]:{site.port}"
        site.serve_address("::1", name)
        self.expect(name, f"::1 {site.port}", name, "::1", "ip literal", connect=False)
        self.assertEqual(self.driver.say("fetch")["status"], 200)
        site.close()

    def test_1_asks_nobody(self):
        self.driver.resolve("127.0.0.1")
        self.assertEqual((len(self.dns.asked), WORLD.well_known.requests), (0, []))

    def test_2_port(self):
        self.dns.add("port.example", "A", "127.0.0.1")
        name = f"port.example:{self.port}"
        self.expect(name, f"127.0.0.1 {self.port}", name, "port.example", "port > a")
        self.assertEqual(WORLD.well_known.requests, [])

    def test_2_port_and_cname(self):
        self.dns.add("alias.example", "CNAME", "middle.example")
        self.dns.add("middle.example", "CNAME", "real.example")
        self.dns.add("real.example", "A", "127.0.0.1")
        name = f"alias.example:{self.port}"
        self.expect(name, f"127.0.0.1 {self.port}", name, "alias.example", "port > a")

    def test_2_port_aaaa_before_a(self):
        site = Site(WORLD.authority, "::1")
        self.dns.add("both.example", "A", "127.0.0.2")
        self.dns.add("both.example", "AAAA", "::1")
        name = f"both.example:{site.port}"
        site.serve("both.example", name)
        self.expect(name, [f"::1 {site.port}", f"127.0.0.2 {site.port}"], name, "both.example", "port > aaaa+a", connect=False)
        self.assertEqual(self.driver.say("fetch")["status"], 200)
        site.close()

    def test_2_port_aaaa_alone(self):
        self.dns.add("six.example", "AAAA", "::1")
        self.expect("six.example:1", "::1 1", "six.example:1", "six.example", "port > aaaa", connect=False)

    def test_2_wrong_certificate_is_refused(self):
        self.dns.add("port.example", "A", "127.0.0.1")
        name = f"port.example:{self.port}"
        WORLD.federation.serve_address("127.0.0.1", name)  # whatever name is asked for, this is the certificate
        self.expect(name, f"127.0.0.1 {self.port}", name, "port.example", "port > a", connect=False)
        self.assertEqual(self.driver.say("fetch")["fault"], "PEER")

    def test_31_delegated_to_ipv4_literal(self):
        self.well_known("a.example", delegate("127.0.0.3"))
        self.expect("a.example", "127.0.0.3 8448", "127.0.0.3", "127.0.0.3", "well-known > ip literal", connect=False)

    def test_31_delegated_to_ipv4_literal_with_port(self):
        to = f"127.0.0.1:{self.port}"
        self.well_known("a.example", delegate(to))
        WORLD.federation.serve_address("127.0.0.1", to)
        self.expect("a.example", f"127.0.0.1 {self.port}", to, "127.0.0.1", "well-known > ip literal", connect=False)
        self.assertEqual(self.driver.say("fetch")["status"], 200)

    def test_31_delegated_to_ipv6_literal(self):
        self.well_known("a.example", delegate("[::1]"))
        self.expect("a.example", "::1 8448", "[::1]", "::1", "well-known > ip literal", connect=False)

    def test_31_delegated_to_ipv6_literal_with_port(self):
        self.well_known("a.example", delegate("[::1]:99"))
        self.expect("a.example", "::1 99", "[::1]:99", "::1", "well-known > ip literal", connect=False)

    def test_32_delegated_with_port(self):
        self.well_known("a.example", delegate(f"b.example:{self.port}"))
        self.dns.add("b.example", "A", "127.0.0.1")
        self.expect("a.example", f"127.0.0.1 {self.port}", f"b.example:{self.port}", "b.example", "well-known > port > a")
        self.assertEqual(self.dns.count("_matrix-fed._tcp.b.example"), 0)

    def test_33_delegated_to_srv(self):
        self.well_known("a.example", delegate("b.example"))
        self.dns.add("_matrix-fed._tcp.b.example", "SRV", f"10 5 {self.port} c.example")
        self.dns.add("_matrix._tcp.b.example", "SRV", "10 5 1 no.example")
        self.dns.add("c.example", "A", "127.0.0.1")
        self.expect("a.example", f"127.0.0.1 {self.port}", "b.example", "b.example", "well-known > srv matrix-fed > a")

    def test_34_delegated_to_deprecated_srv(self):
        self.well_known("a.example", delegate("b.example"))
        self.dns.add("_matrix._tcp.b.example", "SRV", f"10 5 {self.port} c.example")
        self.dns.add("c.example", "A", "127.0.0.1")
        self.expect("a.example", f"127.0.0.1 {self.port}", "b.example", "b.example", "well-known > srv matrix > a")

    def test_35_delegated_without_srv(self):
        self.well_known("a.example", delegate("b.example"))
        self.dns.add("b.example", "A", FALLBACK)
        self.expect("a.example", f"{FALLBACK} 8448", "b.example", "b.example", "well-known > no srv > a")

    def test_35_delegated_to_itself(self):
        self.well_known("a.example", delegate("a.example"), FALLBACK.replace("84.48.1", "0.0.1"))
        self.expect("a.example", "127.0.0.1 8448", "a.example", "a.example", "well-known > no srv > a", connect=False)
        self.assertEqual(self.dns.count("a.example"), 2)  # asked once for both purposes: AAAA and A

    def test_4_srv(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.a.example", "SRV", f"10 5 {self.port} c.example")
        self.dns.add("_matrix._tcp.a.example", "SRV", "10 5 1 no.example")
        self.dns.add("c.example", "A", "127.0.0.1")
        found = self.driver.resolve("a.example")
        self.assertRegex(found["steps"], r"^no well-known \(.*\) > srv matrix-fed > a$")
        self.assertEqual((found["host"], found["certificate"]), ("a.example", "a.example"))
        self.connect("a.example", "a.example", found)

    def test_4_srv_and_cname_on_the_way(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.a.example", "CNAME", "srv.hoster.example")
        self.dns.add("srv.hoster.example", "SRV", f"10 5 {self.port} c.example")
        self.dns.add("c.example", "CNAME", "d.example")  # not allowed by RFC 2782, but nothing is won by refusing it
        self.dns.add("d.example", "A", "127.0.0.1")
        found = self.driver.resolve("a.example")
        self.assertEqual(found["addresses"], [f"127.0.0.1 {self.port}"])
        self.connect("a.example", "a.example", found)

    def test_4_srv_priorities(self):
        self.dns.add("a.example", "A", FALLBACK)
        for priority, host in ((30, 3), (10, 1), (20, 2)):
            self.dns.add("_matrix-fed._tcp.a.example", "SRV", f"{priority} 0 {7000 + host} h{host}.example")
            self.dns.add(f"h{host}.example", "A", f"127.0.0.{host}")
        self.dns.add("h1.example", "AAAA", "::1")
        found = self.driver.resolve("a.example")
        self.assertEqual(found["addresses"], ["::1 7001", "127.0.0.1 7001", "127.0.0.2 7002", "127.0.0.3 7003"])

    def test_4_srv_target_without_address_is_left_out(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.a.example", "SRV", "10 0 7001 gone.example")
        self.dns.add("_matrix-fed._tcp.a.example", "SRV", "20 0 7002 here.example")
        self.dns.add("here.example", "A", "127.0.0.2")
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.2 7002"])

    def test_4_srv_without_any_address(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.a.example", "SRV", "10 0 7001 gone.example")
        found = self.driver.resolve("a.example")
        self.assertEqual(found["fault"], "PEER")
        self.assertRegex(found["why"], r"> srv matrix-fed > nxdomain$")

    def test_4_srv_says_not_here(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.a.example", "SRV", "0 0 0 .")
        found = self.driver.resolve("a.example")
        self.assertEqual(found["fault"], "PEER")
        self.assertRegex(found["why"], r"> srv matrix-fed > not at this domain$")

    def test_5_deprecated_srv(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.dns.add("_matrix._tcp.a.example", "SRV", f"10 5 {self.port} c.example")
        self.dns.add("c.example", "A", "127.0.0.1")
        found = self.driver.resolve("a.example")
        self.assertRegex(found["steps"], r"^no well-known \(.*\) > srv matrix > a$")
        self.connect("a.example", "a.example", found)

    def test_6_default_port(self):
        self.dns.add("a.example", "A", FALLBACK)
        found = self.driver.resolve("a.example")
        self.assertEqual(found["addresses"], [f"{FALLBACK} 8448"])
        self.assertRegex(found["steps"], r"^no well-known \(.*\) > no srv > a$")
        self.connect("a.example", "a.example", found)

    def test_6_default_port_and_cname(self):
        self.dns.add("a.example", "CNAME", "b.example")
        self.dns.add("b.example", "A", FALLBACK)
        found = self.driver.resolve("a.example")
        self.assertEqual(found["addresses"], [f"{FALLBACK} 8448"])
        self.connect("a.example", "a.example", found)


class WellKnownFailures(Discovery):
    """Each is "skip to step 4"."""

    def fails(self, page, why, name="a.example"):
        self.well_known(name, page)
        self.expect(name, "127.0.0.1 8448", name, name, f"no well-known ({why}) > no srv > a", connect=False)

    def test_not_found(self):
        self.fails((404, {}, b"{}"), "HTTP 404")

    def test_server_error(self):
        self.fails((500, {}, b""), "HTTP 500")

    def test_other_good_status(self):
        self.fails((201, {}, delegate("b.example")[2]), "HTTP 201")

    def test_bad_json(self):
        self.fails((200, {}, b'{"m.server": "b.example"'), "not a JSON object")

    def test_not_an_object(self):
        self.fails((200, {}, b'["m.server"]'), "not a JSON object")

    def test_empty(self):
        self.fails((200, {}, b""), "not a JSON object")

    def test_missing_property(self):
        self.fails((200, {}, b'{"server": "b.example"}'), "no m.server")

    def test_wrong_type(self):
        self.fails((200, {}, b'{"m.server": {"a": 1}}'), "no m.server")

    def test_bad_name(self):
        self.fails(delegate("https://b.example/"), "m.server is not a server name")

    def test_bad_port(self):
        self.fails(delegate("b.example:port"), "m.server is not a server name")

    def test_oversize(self):
        self.fails((200, {}, b'{"m.server": "b.example", "x": "' + b"x" * 51200 + b'"}'), "the answer is too large")

    def test_just_within_size(self):
        body = b'{"m.server": "127.0.0.9", "x": "' + b"x" * 51000 + b'"}'
        self.well_known("a.example", (200, {}, body))
        self.expect("a.example", "127.0.0.9 8448", "127.0.0.9", "127.0.0.9", "well-known > ip literal", connect=False)

    def test_content_type_does_not_matter(self):
        self.well_known("a.example", delegate("127.0.0.9", Content_Type="text/plain"))
        self.expect("a.example", "127.0.0.9 8448", "127.0.0.9", "127.0.0.9", "well-known > ip literal", connect=False)

    def test_connection_refused(self):
        self.dns.add("a.example", "A", FALLBACK)
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(Failed to connect .*\) > no srv > a$")

    def test_hangs_up(self):
        self.well_known("a.example", (None, {}, b""))
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(.+\) > no srv > a$")

    def test_wrong_certificate(self):
        self.dns.add("a.example", "A", "127.0.0.1")
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(.*(alert|SSL|TLS).*\) > no srv > a$")

    def test_unknown_authority(self):
        site = Site(WORLD.stranger)
        self.driver.close()
        self.driver = Driver(self.dns, discovery_well_known_port=site.port)
        self.dns.add("a.example", "A", "127.0.0.1")
        site.serve("a.example", f"a.example:{site.port}", delegate("127.0.0.9"))
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(.*certificate.*\) > no srv > a$")
        site.close()

    def test_never_answers(self):
        self.well_known("a.example", lambda path: time.sleep(3) or delegate("127.0.0.9"))
        found = self.driver.resolve("a.example", "x", 2000)
        self.assertRegex(found["steps"], r"^no well-known \(.*timed out.*\) > no srv > a$")

    def test_no_such_host(self):
        self.expect_failure("nothing.example", "no well-known (nxdomain) > no srv > nxdomain")


class Redirects(Discovery):
    def redirect(self, to, status=302):
        return status, {"Location": to}, b""

    def url(self, name, path="/"):
        return f"https://{name}:{WORLD.well_known.port}{path}"

    def test_all_kinds(self):
        for status in (301, 302, 303, 307, 308):
            self.well_known(f"a{status}.example", self.redirect(self.url("b.example", "/there?x=1"), status))
        self.well_known("b.example", lambda path: delegate("127.0.0.9") if path == "/there?x=1" else (404, {}, b""))
        for status in (301, 302, 303, 307, 308):
            self.expect(f"a{status}.example", "127.0.0.9 8448", "127.0.0.9", "127.0.0.9", "well-known > ip literal", connect=False)

    def test_relative(self):
        self.well_known("a.example", lambda path: delegate("127.0.0.9") if path == "/.well-known/matrix/x" else self.redirect("x"))
        self.expect("a.example", "127.0.0.9 8448", "127.0.0.9", "127.0.0.9", "well-known > ip literal", connect=False)

    def test_five_hops_are_followed(self):
        self.hops(5)
        self.expect("a.example", "127.0.0.9 8448", "127.0.0.9", "127.0.0.9", "well-known > ip literal", connect=False)

    def test_six_hops_are_not(self):
        self.hops(6)
        self.expect("a.example", "127.0.0.1 8448", "a.example", "a.example", "no well-known (too many redirects) > no srv > a", connect=False)

    def hops(self, count):
        def page(path):
            hop = 0 if path.startswith("/.well") else int(path[1:])
            return delegate("127.0.0.9") if hop == count else self.redirect(f"/{hop + 1}")
        self.well_known("a.example", page)

    def test_loop(self):
        self.well_known("a.example", self.redirect(self.url("b.example")))
        self.well_known("b.example", self.redirect(self.url("b.example")))
        self.expect("a.example", "127.0.0.1 8448", "a.example", "a.example", "no well-known (a redirect loop) > no srv > a", connect=False)
        self.assertEqual(self.fetches("b.example"), 1)

    def test_to_plain_http(self):
        self.well_known("a.example", self.redirect("http://b.example/"))
        self.expect("a.example", "127.0.0.1 8448", "a.example", "a.example", "no well-known (a redirect to what is not https) > no srv > a",
                    connect=False)

    def test_without_location(self):
        self.well_known("a.example", (302, {}, b""))
        self.assertRegex(self.driver.resolve("a.example")["steps"], "what is not https")

    def test_to_unknown_host(self):
        self.well_known("a.example", self.redirect("https://gone.example/"))
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(nxdomain\)")

    def test_certificate_of_the_next_hop_is_checked(self):
        self.well_known("a.example", self.redirect(self.url("b.example")))
        self.dns.add("b.example", "A", "127.0.0.1")
        self.assertRegex(self.driver.resolve("a.example")["steps"], r"^no well-known \(.*(alert|SSL|TLS).*\)")


class Caching(Discovery):
    def kept_for(self, headers, least, most, name):
        """The well-known server is not asked again at `least`, and is after `most`."""
        self.well_known(name, delegate("127.0.0.9", **headers))
        self.driver.resolve(name)
        self.driver.say(f"clock {least}")
        self.driver.resolve(name)
        self.assertEqual(self.fetches(name), 1, f"asked before {least} ms were over")
        self.driver.say(f"clock {most - least}")
        self.driver.resolve(name)
        self.assertEqual(self.fetches(name), 2, f"not asked after {most} ms")

    def test_without_headers_a_day(self):
        self.kept_for({}, 24 * HOUR - 5000, 24 * HOUR + 5000, "a.example")

    def test_max_age(self):
        self.kept_for({"Cache_Control": "public, max-age=7200"}, 2 * HOUR - 5000, 2 * HOUR + 5000, "a.example")

    def test_at_most_48_hours(self):
        self.kept_for({"Cache_Control": "max-age=31536000"}, 48 * HOUR - 5000, 48 * HOUR + 5000, "a.example")

    def test_at_least_a_minute(self):
        self.kept_for({"Cache_Control": "max-age=0"}, MINUTE - 3000, MINUTE + 3000, "a.example")

    def test_no_store(self):
        self.kept_for({"Cache_Control": "no-store, max-age=7200"}, MINUTE - 3000, MINUTE + 3000, "a.example")

    def test_expires(self):
        self.kept_for({"Expires": email.utils.formatdate(time.time() + 1800, usegmt=True)}, 28 * MINUTE, 32 * MINUTE, "a.example")

    def test_expires_in_the_past(self):
        self.kept_for({"Expires": "0"}, MINUTE - 3000, MINUTE + 3000, "a.example")

    def test_max_age_wins_over_expires(self):
        self.kept_for({"Cache_Control": "max-age=7200", "Expires": "0"}, 2 * HOUR - 5000, 2 * HOUR + 5000, "a.example")

    def test_failures_back_off_up_to_an_hour(self):
        self.well_known("a.example", (404, {}, b""))
        asked = 0
        for minutes in (2, 4, 8, 16, 32, 60, 60):
            self.driver.resolve("a.example")
            asked += 1
            self.assertEqual(self.fetches("a.example"), asked)
            self.driver.say(f"clock {minutes * MINUTE - 3000}")
            self.driver.resolve("a.example")
            self.assertEqual(self.fetches("a.example"), asked, f"asked again within {minutes} minutes")
            self.driver.say("clock 6000")

    def test_expiry_brings_the_new_answer(self):
        self.well_known("a.example", delegate("127.0.0.8", Cache_Control="max-age=600"))
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.8 8448"])
        self.well_known("a.example", delegate("127.0.0.9"))
        self.driver.say(f"clock {9 * MINUTE}")
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.8 8448"])
        self.driver.say(f"clock {2 * MINUTE}")
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.9 8448"])

    def test_result_lives_as_long_as_dns_says(self):
        self.dns.add("a.example", "A", "127.0.0.1", ttl=500)
        found = self.driver.resolve("a.example:1")
        self.assertEqual(found["valid_ms"], 500 * 1000)
        self.driver.say("clock 499000")
        self.driver.resolve("a.example:1")
        self.assertEqual(self.dns.count("a.example", "A"), 1)
        self.driver.say("clock 2000")
        self.driver.resolve("a.example:1")
        self.assertEqual(self.dns.count("a.example", "A"), 2)

    def test_cname_and_srv_ttls_count(self):
        self.dns.add("a.example", "CNAME", "b.example", ttl=200)
        self.dns.add("b.example", "A", "127.0.0.1", ttl=3000)
        self.assertEqual(self.driver.resolve("a.example:1")["valid_ms"], 200 * 1000)
        self.dns.add("c.example", "A", FALLBACK)
        self.dns.add("_matrix-fed._tcp.c.example", "SRV", "1 1 1 b.example", ttl=100)
        self.assertEqual(self.driver.resolve("c.example")["valid_ms"], 100 * 1000)

    def test_ttl_bounds(self):
        self.dns.add("short.example", "A", "127.0.0.1", ttl=0)
        self.dns.add("long.example", "A", "127.0.0.1", ttl=999999)
        self.assertEqual(self.driver.resolve("short.example:1")["valid_ms"], MINUTE)
        self.assertEqual(self.driver.resolve("long.example:1")["valid_ms"], HOUR)

    def test_absence_is_remembered(self):
        self.expect_failure("gone.example:1", "port > nxdomain")
        asked = self.dns.count("gone.example")
        self.driver.say("clock 6000")
        self.expect_failure("gone.example:1", "port > nxdomain")
        self.assertEqual(self.dns.count("gone.example"), asked)
        self.dns.add("gone.example", "A", "127.0.0.1")
        self.driver.say("clock 6000")
        self.assertEqual(self.driver.resolve("gone.example:1")["fault"], "OK")

    def test_refresh(self):
        self.well_known("a.example", delegate("127.0.0.8"))
        self.driver.resolve("a.example")
        self.well_known("a.example", delegate("127.0.0.9"))
        self.driver.resolve("a.example", "refresh")
        self.assertEqual(self.fetches("a.example"), 1)  # many ask at once when a server goes down: 5 s is new enough
        self.driver.say("clock 6000")
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.8 8448"])
        self.assertEqual(self.driver.resolve("a.example", "refresh")["addresses"], ["127.0.0.9 8448"])
        self.assertEqual(self.driver.resolve("a.example")["addresses"], ["127.0.0.9 8448"])

    def test_equal_lookups_at_once_are_one(self):
        self.well_known("a.example", lambda path: time.sleep(0.3) or delegate("127.0.0.9"))
        self.assertEqual(self.driver.say("together 50 a.example")["good"], 50)
        self.assertEqual((self.fetches("a.example"), self.dns.count("a.example", "A")), (1, 1))

    def test_two_ports_share_nothing_but_work(self):
        self.dns.add("a.example", "A", "127.0.0.1")
        self.assertEqual(self.driver.resolve("a.example:1")["addresses"], ["127.0.0.1 1"])
        self.assertEqual(self.driver.resolve("a.example:2")["addresses"], ["127.0.0.1 2"])


class DnsTrouble(Discovery):
    def test_no_such_name(self):
        self.expect_failure("gone.example:1", "port > nxdomain")

    def test_no_addresses(self):
        self.dns.add("_x.bare.example", "A", "127.0.0.1")
        self.expect_failure("bare.example:1", "port > no data")

    def test_servfail(self):
        self.dns.behave("sick.example", "servfail")
        self.expect_failure("sick.example:1", "port > server failure")

    def test_refused(self):
        self.dns.behave("sick.example", "refused")
        self.expect_failure("sick.example:1", "port > server failure")

    def test_garbage(self):
        self.dns.behave("sick.example", "garbage")
        self.expect_failure("sick.example:1", "port > server failure")

    def test_failure_is_soon_asked_again(self):
        self.dns.behave("sick.example", "servfail")
        self.dns.add("sick.example", "A", "127.0.0.1")
        self.driver.resolve("sick.example:1")
        self.dns.behaviour.clear()
        self.driver.say(f"clock {MINUTE + 1000}")
        self.assertEqual(self.driver.resolve("sick.example:1")["fault"], "OK")

    def test_aaaa_fails_but_a_is_there(self):
        self.dns.add("half.example", "A", "127.0.0.1", ttl=3000)
        self.dns.behave("half.example", "servfail", "AAAA")
        found = self.driver.resolve("half.example:1")
        self.assertEqual((found["addresses"], found["valid_ms"]), (["127.0.0.1 1"], MINUTE))

    def test_time_out(self):
        self.dns.behave("mute.example", "drop")
        start = time.monotonic()
        self.expect_failure("mute.example:1", "port > time-out")
        self.assertLess(time.monotonic() - start, 10)

    def test_time_out_by_the_caller(self):
        self.dns.behave("mute.example", "drop")
        start = time.monotonic()
        found = self.driver.resolve("mute.example:1", "x", 300)
        self.assertEqual(found["fault"], "DEADLINE")
        self.assertLess(time.monotonic() - start, 2)
        self.dns.behaviour.clear()  # and that is not remembered
        self.dns.add("mute.example", "A", "127.0.0.1")
        self.assertEqual(self.driver.resolve("mute.example:1")["fault"], "OK")

    def test_somebody_elses_answer(self):
        self.dns.behave("forged.example", "wrong-id")
        self.dns.add("forged.example", "A", "127.0.0.66")
        self.assertEqual(self.driver.resolve("forged.example:1")["fault"], "PEER")

    def test_truncated_then_tcp(self):
        for i in range(1, 13):
            self.dns.add("many.example", "A", f"127.0.1.{i}")
        self.dns.behave("many.example", "truncate")
        self.assertEqual(len(self.driver.resolve("many.example:1")["addresses"]), 12)

    def test_truncated_without_tcp_harms_nobody_else(self):
        self.dns.add("half.example", "A", "127.0.0.1")
        self.dns.behave("half.example", "truncate-only", "AAAA")
        self.assertEqual(self.driver.resolve("half.example:1")["addresses"], ["127.0.0.1 1"])

    def test_srv_servfail_falls_back_but_not_for_long(self):
        self.dns.add("a.example", "A", FALLBACK, ttl=3000)
        for service in ("_matrix-fed._tcp.a.example", "_matrix._tcp.a.example"):
            self.dns.behave(service, "servfail")
        found = self.driver.resolve("a.example")
        self.assertRegex(found["steps"], r"> srv matrix-fed server failure > srv matrix server failure > no srv > a$")
        self.assertEqual((found["addresses"], found["valid_ms"]), ([f"{FALLBACK} 8448"], MINUTE))

    def test_cname_loop(self):
        self.dns.add("x.example", "CNAME", "y.example")
        self.dns.add("y.example", "CNAME", "x.example")
        self.assertEqual(self.driver.resolve("x.example:1")["fault"], "PEER")

    def test_names_are_not_searched_for(self):
        self.driver.resolve("single:1")
        self.assertEqual({name for name, _ in self.dns.asked}, {"single"})

    def test_label_too_long(self):
        self.expect_failure("x" * 70 + ".example:1", "port > nxdomain")


class Names(Discovery):
    def test_not_server_names(self):
        for name in ("", "a b", "a.example:", "a.example:x", "a.example:99999", "[::1", "[1.2.3.4]", "1.2.3.4.5:x", "a_b", "@a.example", "300.1.1.1",
                     "a.example:0", "a.example/x"):
            if name and " " not in name:
                self.expect_failure(name, "not a server name", fault="INVALID_PARAM")

    def test_case_is_kept(self):
        self.dns.add("upper.example", "A", "127.0.0.1")
        name = f"UPPER.example:{self.port}"
        found = self.driver.resolve(name)
        self.assertEqual((found["host"], found["certificate"]), (name, "UPPER.example"))

    def test_hosts_file_comes_first(self):
        with open(self.driver.hosts.name, "w") as hosts:
            hosts.write("# comment\n127.0.0.7\tpinned.example other.example # more\n::1 pinned.example\n")
        self.dns.add("pinned.example", "A", "127.0.0.1")
        self.expect("pinned.example:1", ["::1 1", "127.0.0.7 1"], "pinned.example:1", "pinned.example", "port > hosts file", connect=False)
        self.expect("Other.example:1", "127.0.0.7 1", "Other.example:1", "Other.example", "port > hosts file", connect=False)
        self.assertEqual(len(self.dns.asked), 0)

    def test_hosts_file_is_read_again(self):
        self.expect_failure("later.example:1", "port > nxdomain")
        with open(self.driver.hosts.name, "w") as hosts:
            hosts.write("127.0.0.7 later.example")
        self.driver.say(f"clock {6 * MINUTE}")
        self.expect("later.example:1", "127.0.0.7 1", "later.example:1", "later.example", "port > hosts file", connect=False)

    def test_localhost_is_here(self):
        self.expect("localhost:1", ["::1 1", "127.0.0.1 1"], "localhost:1", "localhost", "port > localhost", connect=False)
        self.assertEqual(len(self.dns.asked), 0)


class HostsFileOff(Discovery):
    settings = {"discovery_hosts_file": "false"}

    def test_it_is_not_looked_into(self):
        with open(self.driver.hosts.name, "w") as hosts:
            hosts.write("127.0.0.7 pinned.example\n")
        self.dns.add("pinned.example", "A", "127.0.0.1")
        self.assertEqual(self.driver.resolve("pinned.example:1")["addresses"], ["127.0.0.1 1"])


class Guarded(Discovery):
    settings = {"federation_allow_private": "false"}

    def test_well_known_at_a_private_address(self):
        self.well_known("a.example", delegate("127.0.0.9"))
        self.expect("a.example", "127.0.0.1 8448", "a.example", "a.example", "no well-known (the address is private) > no srv > a", connect=False)
        self.assertEqual(WORLD.well_known.requests, [])

    def test_federation_at_a_private_address(self):
        self.driver.resolve(f"127.0.0.1:{self.port}")
        self.assertTrue(self.driver.say("fetch")["blocked"])


class Unverified(Discovery):
    settings = {"federation_verify": "false", "federation_ca_file": ""}

    def test_any_certificate_will_do(self):
        self.well_known("a.example", delegate(f"127.0.0.1:{self.port}"))
        WORLD.federation.serve_address("127.0.0.1", f"127.0.0.1:{self.port}", certificate="127.0.0.2")
        self.driver.resolve("a.example")
        self.assertEqual(self.driver.say("fetch")["status"], 200)


class Load(Discovery):
    """Prints what it measures; asserts that it is right, not that it is fast."""

    def test_rates(self):
        for i in range(1000):
            self.dns.add(f"n{i}.example", "A", "127.0.0.1")
        name = f"n0.example:{self.port}"
        cold = self.driver.say("bench 1000 16 n%d.example:1")
        warm = self.driver.say("bench 1000 16 n%d.example:1")
        self.assertEqual((cold["good"], warm["good"]), (1000, 1000))
        self.driver.resolve(name)
        WORLD.federation.serve("n0.example", name)
        first = self.driver.say("bench-fetch 1")
        fetches = self.driver.say("bench-fetch 500")
        self.assertEqual((first["good"], fetches["good"]), (1, 500))
        print(f"\n    look-ups/s: {1e9 / cold['us']:.0f} with DNS, {1e9 / warm['us']:.0f} cached; "
              f"fetch µs: first {first['us']}, warm {fetches['us'] / 500:.0f}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
