"""The image's health check: it succeeds when the server of this container answers."""

import http.client
import os
import ssl


def main() -> int:
    """Ask /health on loopback and return the exit status."""
    port = int(os.environ.get("SWITCHBOARD_PORT", "8080"))
    connection: http.client.HTTPConnection
    if os.environ.get("SWITCHBOARD_TLS_CERT"):
        # The certificate is for a public name, so it cannot match 127.0.0.1.
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
