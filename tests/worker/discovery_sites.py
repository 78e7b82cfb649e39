"""HTTPS servers for discovery's tests. Each serves some (name of the certificate, Host header) pairs and refuses everybody else: another name in
the handshake is not answered, another Host gets 421. So a request that comes through proves both."""

import http.server
import os
import socket
import ssl
import subprocess
import threading


class Authority:
    """Certificates for any name or address, made when first asked for."""

    def __init__(self, folder, label="ca"):
        self.folder, self.made = os.path.join(folder, label), {}
        os.makedirs(self.folder)
        self.certificate, self.key = os.path.join(self.folder, "ca.crt"), os.path.join(self.folder, "ca.key")
        self._openssl("-subj", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                      "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", "req", "-x509", "-days", "7", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *arguments],
                       check=True, capture_output=True)

    def context(self, name):
        if name not in self.made:
            plain = os.path.join(self.folder, name.replace(":", "_"))
            is_address = ":" in name or name.replace(".", "").isdigit()
            self._openssl("-CA", self.certificate, "-CAkey", self.key, "-subj", "/CN=test", "-addext",
                          f"subjectAltName={'IP' if is_address else 'DNS'}:{name}", "-addext", "basicConstraints=critical,CA:FALSE",
                          "-keyout", plain + ".key", "-out", plain + ".crt")
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.load_cert_chain(plain + ".crt", plain + ".key")
            self.made[name] = made
        return self.made[name]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one packet per answer

    def do_GET(self):
        site = self.server.site
        name = getattr(self.connection.context, "served_name", None) or site.nameless
        page = site.pages.get((name, self.headers["Host"]))
        site.requests.append((name, self.headers["Host"], self.path))
        if page is None:
            return self.answer(421, {}, b"not here")
        self.answer(*(page(self.path) if callable(page) else page))

    do_PUT = do_POST = do_GET

    def answer(self, status, headers, body):
        if status is None:  # hang up
            self.close_connection = True
            return
        try:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # they had enough

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def finish_request(self, request, client_address):
        """The handshake in the connection's own thread; one that fails is the point of many tests."""
        try:
            request.settimeout(10)
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = self.site.outer.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            self.site.refused += 1
            return
        with request:
            try:
                super().finish_request(request, client_address)
            except (OSError, ssl.SSLError):
                pass

    def handle_error(self, request, client_address):
        pass


class Site:
    def __init__(self, authority, address="127.0.0.1", port=0):
        self.authority = authority
        self.reset()
        Server.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.server = Server((address, port), Handler)
        self.server.site = self
        self.address, self.port = address, self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def reset(self):
        self.pages, self.requests, self.refused, self.nameless = {}, [], 0, None
        self.outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.outer.sni_callback = self._choose

    def _choose(self, connection, name, _):
        if name is None or name not in {served for served, _ in self.pages}:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context = self.authority.context(name)
        context.served_name = name
        connection.context = context
        return None

    def serve(self, name, host, page=(200, {}, b"{}")):
        """page: (status, headers, body) or a function of the path."""
        self.authority.context(name)
        self.pages[(name, host)] = page

    def serve_address(self, address, host, page=(200, {}, b"{}"), certificate=None):
        """A handshake without a name, as for IP literals. certificate: made for another address."""
        self.nameless = address
        self.pages[(address, host)] = page
        self.outer = self.authority.context(certificate or address)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
