"""One completion with requests. On 429 it waits 1, 2 and 4 seconds; 10 minutes for each try.

usage: python chat_requests.py [MODEL] [TEXT]
"""

import os
import sys
import time

import requests

URL = os.environ["LITELLM_PROXY_URL"]
KEY = os.environ["LITELLM_MASTER_KEY"]
TIMEOUT = 600
DELAYS = (1, 2, 4)


def chat(model: str, text: str) -> str:
    """The model's answer; raises requests.HTTPError when there is none."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    for delay in (*DELAYS, None):
        response = requests.post(
            f"{URL}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=TIMEOUT,
        )
        if response.status_code != 429 or delay is None:
            break
        print(f"429, trying again in {delay} s", file=sys.stderr)
        time.sleep(delay)
    response.raise_for_status()
    answer: str = response.json()["choices"][0]["message"]["content"]
    return answer


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    print(chat(arguments.get(1, "gpt-5-mini"), arguments.get(2, "Say hello.")))
