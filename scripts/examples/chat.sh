#!/usr/bin/env bash
# One completion with curl. On 429 curl waits as Retry-After says, else 1 s, 2 s, 4 s; 10 minutes for each try.
#   usage: chat.sh [MODEL] [TEXT]
set -euo pipefail
: "${LITELLM_PROXY_URL:?set it with: eval \"\$(litellm-local env)\"}" "${LITELLM_MASTER_KEY:?}"

model=${1:-gpt-5-mini}
text=${2:-Say hello.}
# The key goes in through a file descriptor: an argument would show in the process list.
curl --silent --show-error --fail-with-body --max-time 600 --retry 3 \
    --header @<(printf 'Authorization: Bearer %s\n' "$LITELLM_MASTER_KEY") \
    --json "$(printf '{"model": "%s", "messages": [{"role": "user", "content": "%s"}]}' "$model" "$text")" \
    "$LITELLM_PROXY_URL/v1/chat/completions"
