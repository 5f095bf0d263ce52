"""Where things are: the checkout, and what is installed and measured beside its build."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def tools_directory():
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    tools = os.path.join(os.path.abspath(target), "compare")
    os.makedirs(tools, exist_ok=True)
    return tools


def say(words):
    print(words, file=sys.stderr, flush=True)


def write(path, text):
    """Whole or not at all."""
    beside = path + ".new"
    with open(beside, "w") as file:
        file.write(text)
    os.replace(beside, path)
