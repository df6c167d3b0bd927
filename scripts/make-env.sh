#!/usr/bin/env bash
# Writes .env for docker-compose.yml: a new password for everybody who needs one.
set -euo pipefail
umask 077

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

FILE=$ROOT/.env

# Written by `make generate`.
# generated: services
WORKERS=(PAYMENT_WORKERS INVENTORY_WORKERS SHIPPING_WORKERS EMAIL_WORKERS ORDER_WORKERS)
# end

# Hexadecimal, so that a password can stand in a URL and a $ in it cannot confuse Docker Compose.
settings() {
    cat <<ENV
# Written by scripts/make-env.sh for docker-compose.yml. It belongs to the volumes of this installation, which were
# made with these passwords: keep a copy where you keep secrets, and never commit it. A variable that your shell has by
# the same name counts more than the line here.

# PostgreSQL's user orderflow.
POSTGRES_PASSWORD=$(random_hex 24)
# RabbitMQ's users: orderflow-admin (set-up and operator's commands), -web, -worker; for people -viewer (no messages)
# and -inspector (dead letters and unrouted messages too).
AMQP_ADMIN_PASSWORD=$(random_hex 24)
AMQP_WEB_PASSWORD=$(random_hex 24)
AMQP_WORKER_PASSWORD=$(random_hex 24)
AMQP_VIEWER_PASSWORD=$(random_hex 24)
AMQP_INSPECTOR_PASSWORD=$(random_hex 24)
# Signs the tokens that open an order.
TOKEN_SECRET=$(random_hex 32)

# The shop's address as customers see it; with another WEB_PORT it has to be set too.
#PUBLIC_URL=https://shop.example
#PLAINTEXT_HOSTS=postgres,rabbitmq,mailpit,jaeger,mail.lan
# A real mail server, instead of the one that only shows mails.
#SMTP_URL=smtps://USER:PASSWORD@mail.example:465
#MAIL_FROM=Shop <orders@shop.example>
# A real payment provider, instead of the simulated one.
#PAYMENT_PROVIDER=stripe
#STRIPE_SECRET_KEY=sk_test_...
# Operators, and what they need for dead letters: docs/OPERATORS.md.
#OPERATOR_TOKENS=NAME:operate:SHA256
#CONSOLE_AMQP_ADMIN_URL=amqp://orderflow-admin:PASSWORD@rabbitmq:5672/orderflow
# Ports on 127.0.0.1, where the usual ones are taken.
#WEB_PORT=8080
#OPS_PORT=8082
#RABBITMQ_PORT=15672
#MAILPIT_PORT=8025
#PROMETHEUS_PORT=9090
#ALERTMANAGER_PORT=9093
#GRAFANA_PORT=3000
#JAEGER_PORT=16686
# Workers of each service. Other settings (docker compose run --rm orderflow config lists them) that docker-compose.yml
# has as a variable go here too, the rest into a docker-compose.override.yml.
ENV
    printf '#%s=1\n' "${WORKERS[@]}"
}

[ ! -e "$FILE" ] || die "$FILE exists and is left as it is: its passwords are those of your volumes. To begin anew: docker compose down --volumes (this deletes all orders), then delete it."
# Complete or not at all: half a file would be taken for a whole one the next time.
settings >"$FILE.new"
mv "$FILE.new" "$FILE"
# Mounted into containers whose users are none of this machine's; a clone under umask 077 would keep them out.
chmod -R a+rX "$ROOT/rabbitmq" "$ROOT/monitoring"
say "written: $FILE (only you can read it)"
say "next: docker compose up --detach --build"
