#!/usr/bin/env bash
# One completion with curl. On 429 it waits 1, 2 and 4 seconds; 10 minutes for each try.
#   usage: chat.sh [MODEL] [TEXT]
set -euo pipefail
: "${LITELLM_PROXY_URL:?set it with: eval \"\$(litellm-local env)\"}" "${LITELLM_MASTER_KEY:?}"

json() { # a text as a JSON string
    local text=$1
    text=${text//\\/\\\\} text=${text//\"/\\\"}
    text=${text//$'\n'/\\n} text=${text//$'\r'/\\r} text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

model=$(json "${1:-gpt-5-mini}")
text=$(json "${2:-Say hello.}")
for delay in 1 2 4 ''; do
    # The key goes in through a file descriptor: an argument would show in the process list.
    answer=$(curl --silent --show-error --max-time 600 --write-out '\n%{http_code}' \
        --header @<(printf 'Authorization: Bearer %s\n' "$LITELLM_MASTER_KEY") \
        --header 'Content-Type: application/json' --data-binary @- \
        "$LITELLM_PROXY_URL/v1/chat/completions" \
        <<<"{\"model\": $model, \"messages\": [{\"role\": \"user\", \"content\": $text}]}")
    status=${answer##*$'\n'} answer=${answer%$'\n'*}
    if [[ $status != 429 || -z $delay ]]; then
        break
    fi
    echo "429, trying again in $delay s" >&2
    sleep "$delay"
done
printf '%s\n' "$answer"
if [[ $status != 200 ]]; then
    echo "HTTP status $status" >&2
    exit 1
fi
