"""Prints each event that httpx-sse receives as a line of JSON. Usage: receive_httpx_sse.py URL, token in TOKEN."""

import json
import os
import sys

import httpx
from httpx_sse import connect_sse

headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
# No read timeout: a quiet stream is not a broken one. No proxy from the environment.
with httpx.Client(timeout=httpx.Timeout(10, read=None), trust_env=False) as client:
    with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
        source.response.raise_for_status()
        for event in source.iter_sse():
            print(json.dumps({"event": event.event, "id": event.id, "data": event.data}), flush=True)
