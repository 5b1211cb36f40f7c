"""One turn with Anthropic's SDK, set up by its environment: `anthropic_sdk.py [streamed] PROMPT`."""

import sys

from anthropic import Anthropic


def main() -> None:
    *how, prompt = sys.argv[1:]
    client = Anthropic(max_retries=0)
    turn = {"model": "claude-kit-1", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
    if how == ["streamed"]:
        with client.messages.stream(**turn) as stream:
            for piece in stream.text_stream:
                print(piece, end="", flush=True)
    else:
        print(client.messages.create(**turn).content[0].text)


main()
