#!/bin/sh
# What the edge's container runs: nginx with the rendered nginx.conf, and beside it a loop that brings in what changes.
# A new certificate is put where nginx reads it for each handshake; for a new nginx.conf nginx is told to reload.
# One that nginx refuses is left out, and what was good before stays.
set -eu

conf=/etc/litellm-local/nginx.conf
issued=/var/lib/edge/certificate.pem       # by certbot; see config/certbot/run.sh
own=/run/secrets/self-signed.pem           # until then
work=/tmp/edge

say() { echo "edge: $*" >&2; }

place_certificate() {
    source=$issued
    [ -s "$source" ] || source=$own
    [ -s "$source" ] || return 0
    [ "$(cat "$source")" != "$(cat "$work/seen.pem" 2>/dev/null)" ] || return 0
    cat "$source" >"$work/seen.pem"
    if nginx -t -q -c "$work/try.conf"; then
        cp "$work/seen.pem" "$work/next.pem"
        mv "$work/next.pem" "$work/certificate.pem"
        say "certificate from $source is in use"
    else
        say "the certificate from $source is no good; the one before stays in use"
    fi
}

reload_configuration() {
    [ "$(cat "$conf")" != "$(cat "$work/seen.conf")" ] || return 0
    cat "$conf" >"$work/seen.conf"
    if nginx -t -q -c "$conf" && nginx -s reload -c "$conf"; then
        say "nginx.conf has changed and is in use"
    else
        say "the new nginx.conf is no good; the one before stays in use"
    fi
}

umask 077
mkdir -p "$work"
cat >"$work/try.conf" <<END
pid $work/try.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    server {
        listen 127.0.0.1:8081 ssl;
        ssl_certificate $work/seen.pem;
        ssl_certificate_key $work/seen.pem;
    }
}
END
cat "$conf" >"$work/seen.conf"
place_certificate
(
    while sleep 2; do
        place_certificate || true
        reload_configuration || true
    done
) &
exec nginx -c "$conf"
