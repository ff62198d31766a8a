"""A client as a program: client.py URL, with its token in the environment. Prints what it gets."""

import json
import os
import sys

from websockets.sync.client import connect


def main() -> None:
    token = os.environ["SWITCHBOARD_TOKEN"]
    with connect(
        sys.argv[1],
        additional_headers={"Authorization": token},
        compression=None,
        proxy=None,
        ping_interval=None,
    ) as ws:
        for text in ws:
            sys.stdout.write(f"{json.loads(text)['type']}\n")
            sys.stdout.flush()
        sys.stdout.write(f"{ws.protocol.close_code}\n")


if __name__ == "__main__":
    main()
