"""Verifies a webhook with PyPI's standardwebhooks: 0 if it is genuine, 1 if not."""

import json
import os
import sys

from standardwebhooks import Webhook, WebhookVerificationError

webhook = json.loads(os.environ["WEBHOOK"])
try:
    Webhook(webhook["secret"]).verify(webhook["body"], webhook["headers"])
except WebhookVerificationError:
    sys.exit(1)
