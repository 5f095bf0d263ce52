"""Prints each event that sseclient-py receives as a line of JSON. Usage: receive_sseclient.py URL, token in TOKEN."""

import json
import os
import sys

import sseclient
import urllib3

headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {os.environ['TOKEN']}"}
# No read timeout: a quiet stream is not a broken one.
timeout = urllib3.Timeout(connect=10, read=None)
response = urllib3.PoolManager().request("GET", sys.argv[1], headers=headers, timeout=timeout, preload_content=False)
if response.status != 200:
    sys.exit(f"{response.status} {response.read().decode()}")
for event in sseclient.SSEClient(response).events():
    print(json.dumps({"event": event.event, "id": event.id, "data": event.data}), flush=True)
