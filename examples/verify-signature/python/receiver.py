"""A callback receiver that verifies webhook-signature (Standard Webhooks).

    CALLBACK_SECRET=whsec_… PORT=8080 python3 receiver.py
"""

import base64
import hashlib
import hmac
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("CALLBACK_SECRET") or sys.exit("set CALLBACK_SECRET")
# What follows whsec_ is base64; any other secret is used as it is.
KEY = base64.b64decode(SECRET[6:]) if SECRET.startswith("whsec_") else SECRET.encode()


def valid(headers, body):
    msg_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(time.time() - int(timestamp)) > 300:
        return False  # an old callback, sent again
    text = f"{msg_id}.{timestamp}.".encode() + body
    want = b"v1," + base64.b64encode(hmac.digest(KEY, text, hashlib.sha256))
    # One signature for each secret that is in use.
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(want, signature) for signature in given)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        # Callbacks come with a length; a chunked body would need more.
        length = int(self.headers.get("Content-Length", 0))
        if length > 10 << 20:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        if not valid(self.headers, body):
            self.send_error(401, "bad signature")
            return
        print("task", self.headers["Callback-Task-Id"], len(body), "bytes", flush=True)
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("", int(os.environ["PORT"])), Receiver).serve_forever()
