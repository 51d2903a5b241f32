"""nginx in front of the fake provider: TLS with a throw-away CA, HTTP/1.1 and HTTP/2, and a log of who used which connection.

An ordinary process with a configuration of its own; nothing of the machine's nginx is touched. `url` has a good
certificate, `url_expired` one that has ended, `url_1_1` does not offer HTTP/2; `ca` is the file that all of them come from, `bundle`
has the system's beside it, from `other_ca` nothing comes.
"""
import os
import pathlib
import shutil
import socket
import subprocess
import time

from ports import free_port

CONFIG = """
daemon off; worker_processes 1; {user} pid {dir}/nginx.pid; error_log {dir}/error.log; worker_rlimit_nofile 60000;
events {{ worker_connections 30000; }}
http {{
  log_format who '$connection $server_protocol $status "$http_authorization" $connection_requests';
  access_log {dir}/access.log who;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_body_buffer_size 1m; client_max_body_size 64m;
  keepalive_requests {keepalive_requests};
  upstream fake {{ server {fake}; keepalive 2000; keepalive_requests 1000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 120s; proxy_buffering {buffering};
  server {{ listen 127.0.0.1:{good} ssl http2 backlog=8192; ssl_certificate {dir}/good.pem; ssl_certificate_key {dir}/key.pem; location / {{ proxy_pass http://fake; }} }}
  server {{ listen 127.0.0.1:{expired} ssl http2; ssl_certificate {dir}/expired.pem; ssl_certificate_key {dir}/key.pem; location / {{ proxy_pass http://fake; }} }}
  server {{ listen 127.0.0.1:{old} ssl; ssl_certificate {dir}/good.pem; ssl_certificate_key {dir}/key.pem; location / {{ proxy_pass http://fake; }} }}
}}
"""


class TlsFront:
    def __init__(self, directory, fake_url, keepalive_requests=1000, buffering="on"):
        self.dir = pathlib.Path(directory)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self.program:
            raise RuntimeError("there is no nginx: run deploy/packages test")
        self._make_certificates()
        good, expired, old = free_port(), free_port(), free_port()
        self.port = good
        self.url, self.url_expired, self.url_1_1 = ("https://127.0.0.1:%d" % p for p in (good, expired, old))
        self.ca, self.other_ca = str(self.dir / "ca.pem"), str(self.dir / "other_ca.pem")
        system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        (self.dir / "bundle.pem").write_text((system.read_text() if system.exists() else "") + (self.dir / "ca.pem").read_text())
        self.bundle = str(self.dir / "bundle.pem")
        (self.dir / "nginx.conf").write_text(
            CONFIG.format(dir=self.dir, user="user root;" if os.geteuid() == 0 else "", fake=fake_url.split("://")[1], good=good, expired=expired,
                          old=old, keepalive_requests=keepalive_requests, buffering=buffering)
        )
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, "-p", str(self.dir), "-c", str(self.dir / "nginx.conf"), "-e", str(self.dir / "error.log")])
        for _ in range(100):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("nginx does not start:\n" + (self.dir / "error.log").read_text())

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.dir, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError("openssl %s: %s" % (" ".join(words), done.stderr))

    def _make_certificates(self):
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for name in ("ca", "other_ca"):
            self._openssl("req", "-x509", *new_key, "-keyout", name + ".key", "-out", name + ".pem", "-days", "2", "-subj", "/CN=" + name)
        self._openssl("req", *new_key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
        (self.dir / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        (self.dir / "ca.conf").write_text(
            "[ca]\ndefault_ca=c\n[c]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nx509_extensions=e\nunique_subject=no\n"
            "[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n"
        )
        (self.dir / "index").write_text("")
        (self.dir / "serial").write_text("01\n")
        now = time.time()
        for name, begins, ends in (("good", now - 3600, now + 86400), ("expired", now - 86400, now - 3600)):
            moments = [time.strftime("%y%m%d%H%M%SZ", time.gmtime(t)) for t in (begins, ends)]
            self._openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "request.pem",
                          "-out", name + ".pem", "-startdate", moments[0], "-enddate", moments[1])

    def calls(self):
        """[(connection, protocol, status, key)] of the calls that have ended."""
        lines = (self.dir / "access.log").read_text().splitlines()
        return [(w[0], w[1], int(w[2]), line.split('"')[1]) for line in lines if (w := line.split())]

    def forget(self):
        with open(self.dir / "access.log", "w", encoding="ascii"):
            pass

    def connections(self):
        """Open ones from us, as the kernel counts them."""
        out = subprocess.run(["ss", "-Htn", "state", "established", "sport", "=", ":%d" % self.port], capture_output=True, text=True, check=True)
        return len(out.stdout.splitlines())

    def cpu_s(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False).stdout.split()
        ticks = 0
        for pid in [str(self.process.pid), *children]:
            fields = pathlib.Path("/proc/%s/stat" % pid).read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
