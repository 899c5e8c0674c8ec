"""One completion, streamed, with the openai SDK. On 429 it waits 1, 2 and 4 seconds; 10 minutes for each try.

usage: python chat_openai.py [MODEL] [TEXT]
"""

import os
import sys
import time

from openai import OpenAI, RateLimitError

# The SDK's own retries wait half a second at first; ours are the service's.
client = OpenAI(
    base_url=f"{os.environ['LITELLM_PROXY_URL']}/v1",
    api_key=os.environ["LITELLM_MASTER_KEY"],
    timeout=600,
    max_retries=0,
)
DELAYS = (1, 2, 4)


def chat(model: str, text: str) -> None:
    """Prints the model's answer as it comes."""
    for delay in (*DELAYS, None):
        try:
            stream = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": text}], stream=True
            )
            break
        except RateLimitError:
            if delay is None:
                raise
            print(f"429, trying again in {delay} s", file=sys.stderr)
            time.sleep(delay)
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    chat(arguments.get(1, "gpt-5-mini"), arguments.get(2, "Say hello."))
