"""One turn with OpenAI's SDK, set up by its environment: `openai_sdk.py responses|chat [streamed] PROMPT`."""

import sys

from openai import OpenAI


def main() -> None:
    api, *how, prompt = sys.argv[1:]
    client = OpenAI(max_retries=0)
    for piece in (responses if api == "responses" else chat)(client, prompt, "streamed" in how):
        print(piece, end="", flush=True)


def responses(client, prompt, streamed):
    if not streamed:
        yield client.responses.create(model="kit-model", input=prompt).output_text
        return
    for event in client.responses.create(model="kit-model", input=prompt, stream=True):
        if event.type == "response.output_text.delta":
            yield event.delta


def chat(client, prompt, streamed):
    messages = [{"role": "user", "content": prompt}]
    if not streamed:
        yield client.chat.completions.create(model="kit-model", messages=messages).choices[0].message.content
        return
    for chunk in client.chat.completions.create(model="kit-model", messages=messages, stream=True):
        yield chunk.choices[0].delta.content or ""


main()
