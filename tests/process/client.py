"""A client as a program: client.py URL, its token in the environment. It says what it receives."""

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
            print(json.loads(text)["type"], flush=True)
        print(ws.protocol.close_code, flush=True)


if __name__ == "__main__":
    main()
