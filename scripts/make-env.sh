#!/usr/bin/env bash
# Writes .env for docker-compose.yml, with new passwords. An existing .env keeps every line and gets missing passwords
# added: a version of Orderflow may need more of them than the previous one.
#
#   make-env.sh [FILE]   another file than .env, for an installation that is only tried
set -euo pipefail
umask 077

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# It may be a link, which must stay one.
FILE=$(readlink -m "${1:-$ROOT/.env}")

# Prints every service's name as part of a setting's name.
names() {
    local service
    for service in "${SERVICES[@]}"; do setting_name "$service"; done
}

# has NAME: whether the file gives it a value.
has() { [ -e "$FILE" ] && grep -Eq "^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*[^[:space:]]" "$FILE"; }

# secrets COMMENT NAME...: prints a new value for each of these that the file lacks, below the comment.
# Hexadecimal, so that a password needs no escaping in a URL or, for a $, in Docker Compose.
secrets() {
    local name lines=''
    for name in "${@:2}"; do
        has "$name" || lines+=$name=$(random_hex 32)$'\n'
    done
    [ -z "$lines" ] || printf '# %s\n%s' "$1" "$lines"
}

# Prints the passwords that the file lacks, each with its purpose.
passwords() {
    local services
    secrets "PostgreSQL's user orderflow, who owns the tables: only for set-up." POSTGRES_PASSWORD
    secrets "RabbitMQ's administrator orderflow-admin: only for set-up." AMQP_ADMIN_PASSWORD
    mapfile -t services < <(names)
    services=("${services[@]/%/_PASSWORD}")
    secrets "PostgreSQL's roles orderflow_web, orderflow_payment, … of each process; _ops is for console and commands." \
        DATABASE_{WEB,OPS}_PASSWORD "${services[@]/#/DATABASE_}"
    secrets "RabbitMQ's users orderflow-web, orderflow-payment, … of each process; -ops is for console and commands." \
        AMQP_{WEB,OPS}_PASSWORD "${services[@]/#/AMQP_}"
    secrets "RabbitMQ's users for people: orderflow-viewer reads no messages, orderflow-inspector reads dead letters and unrouted messages." \
        AMQP_{VIEWER,INSPECTOR}_PASSWORD
    secrets "Signs the tokens of orders, and operators' sessions." TOKEN_SECRET
}

new_file() {
    cat <<ENV
# Written by scripts/make-env.sh for docker-compose.yml. It belongs to the volumes of this installation, which were
# created with these passwords: keep a copy where you keep secrets, and never commit it. A variable of the same name in
# your shell overrides the line here.

$(passwords)

# The shop's address as customers see it; also set it if you change WEB_PORT.
#PUBLIC_URL=https://shop.example
#PLAINTEXT_HOSTS=postgres,rabbitmq,mailpit,jaeger,mail.lan
# A real mail server, instead of the viewer.
#SMTP_URL=smtps://USER:PASSWORD@mail.example:465
#MAIL_FROM=Shop <orders@shop.example>
# A real payment provider, instead of the simulated one.
#PAYMENT_PROVIDER=stripe
#STRIPE_SECRET_KEY=sk_test_...
# The console's operators: docs/OPERATORS.md.
#OPERATOR_TOKENS=NAME:operate:SHA256
# Other ports on 127.0.0.1, if the defaults are in use.
#WEB_PORT=8080
#OPS_PORT=8082
#RABBITMQ_PORT=15672
#MAILPIT_PORT=8025
#PROMETHEUS_PORT=9090
#ALERTMANAGER_PORT=9093
#GRAFANA_PORT=3000
#JAEGER_PORT=16686
# Number of workers of each service. Other settings (docker compose run --rm orderflow config lists them) also go here
# if docker-compose.yml has a variable for them, else into a docker-compose.override.yml.
ENV
    names | sed 's/.*/#&_WORKERS=1/'
}

# Writes the file completely or not at all: the next run would take a partial file for a complete one.
replace() {
    cat >"$FILE.new"
    mv "$FILE.new" "$FILE"
}

complete() {
    local missing names
    missing=$(passwords)
    if [ -z "$missing" ]; then
        say "$FILE has every password: nothing is added"
        return
    fi
    # The last line may lack its newline.
    { sed -e "\$a\\" "$FILE" && printf '\n# Added by scripts/make-env.sh.\n%s\n' "$missing"; } | replace
    names=$(sed -n 's/^\([A-Z0-9_]*\)=.*/\1/p' <<<"$missing" | paste -s -d ' ')
    say "added to $FILE: $names"
    case " $names " in
    *' POSTGRES_PASSWORD '* | *' AMQP_ADMIN_PASSWORD '*)
        say "if this installation has volumes, they were created with another POSTGRES_PASSWORD and AMQP_ADMIN_PASSWORD: put those there instead"
        ;;
    esac
}

if [ -e "$FILE" ]; then
    complete
else
    new_file | replace
    say "written: $FILE (only you can read it)"
fi
# Mounted into containers with other users, who could not read a clone made under umask 077.
chmod -R a+rX "$ROOT/rabbitmq" "$ROOT/monitoring"
say "next: docker compose up --detach --build"
