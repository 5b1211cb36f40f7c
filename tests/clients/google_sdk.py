"""One turn with Google's SDK, set up by its environment: `google_sdk.py [vertex] [streamed] PROMPT`."""

import sys

from google import genai


def main() -> None:
    *how, prompt = sys.argv[1:]
    # Kept: once a client is collected, its connections are closed.
    client = genai.Client(vertexai=True if "vertex" in how else None)
    if "streamed" in how:
        for piece in client.models.generate_content_stream(model="gemini-kit-1", contents=prompt):
            print(piece.text, end="", flush=True)
    else:
        print(client.models.generate_content(model="gemini-kit-1", contents=prompt).text)


main()
