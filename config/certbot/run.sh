#!/bin/sh
# What certbot's container runs: gets the certificate through the edge, renews it when it is due, and puts it where the
# edge looks. SIGHUP makes it try at once. From docker-compose.yml: DOMAIN, and where wanted EMAIL, ACME_SERVER (another
# authority than Let's Encrypt), EVERY_SECONDS.
set -eu

every=${EVERY_SECONDS:-43200}
# Let's Encrypt lets a name fail five times an hour.
after_failure=900
[ "$every" -ge "$after_failure" ] || after_failure=$every
live=/etc/letsencrypt/live/edge
deployed=/var/lib/edge/certificate.pem

say() { echo "certbot: $*" >&2; }

obtain() {  # does nothing while the certificate is good for long enough
    set -- certonly --non-interactive --agree-tos --quiet --keep-until-expiring --cert-name edge --domain "$DOMAIN" \
        --webroot --webroot-path /var/www/challenges
    if [ -n "${EMAIL:-}" ]; then set -- "$@" --email "$EMAIL"; else set -- "$@" --register-unsafely-without-email; fi
    [ -z "${ACME_SERVER:-}" ] || set -- "$@" --server "$ACME_SERVER"
    certbot "$@"
}

deploy() {  # one file, replaced at once: chain and key always belong together
    [ -s "$live/fullchain.pem" ] && [ -s "$live/privkey.pem" ] || return 0
    cat "$live/fullchain.pem" "$live/privkey.pem" >"$deployed.next"
    if [ "$(cat "$deployed.next")" = "$(cat "$deployed" 2>/dev/null)" ]; then
        rm "$deployed.next"
        return 0
    fi
    # Readable by the edge's user; nobody but root can enter a volume from outside.
    chmod 444 "$deployed.next"
    mv -f "$deployed.next" "$deployed"
    say "a new certificate for $DOMAIN"
}

pause() {
    sleep "$1" &
    sleeping=$!
    wait "$sleeping" || true
    kill "$sleeping" 2>/dev/null || true
}

trap 'exit 0' TERM INT
trap : HUP
if [ -z "${DOMAIN:-}" ]; then
    say "no edge.domain in config/proxy.yaml: there is nothing to certify"
    while :; do pause 86400; done
fi
while :; do
    if obtain; then next=$every; else next=$after_failure; say "no certificate; next try in $next s"; fi
    deploy
    pause "$next"
done
