#!/usr/bin/env bash
# Writes .env for docker-compose.yml: a new password for everybody who needs one. An .env that is there keeps every line, and
# gets what it lacks: a version of Orderflow may need more passwords than the one before.
set -euo pipefail
umask 077

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$HERE/lib.sh"

# It may be a link, which has to stay one.
FILE=$(readlink -m "$ROOT/.env")

# Every service's name as it stands in a setting's name.
names() {
    local service
    for service in "${SERVICES[@]}"; do setting_name "$service"; done
}

# has NAME: whether the file gives it a value.
has() { [ -e "$FILE" ] && grep -Eq "^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*[^[:space:]]" "$FILE"; }

# secrets COMMENT NAME...: a new value for each of these that the file lacks, below the comment.
# Hexadecimal, so that a password can stand in a URL and a $ in it cannot confuse Docker Compose.
secrets() {
    local name lines=''
    for name in "${@:2}"; do
        has "$name" || lines+=$name=$(random_hex 32)$'\n'
    done
    [ -z "$lines" ] || printf '# %s\n%s' "$1" "$lines"
}

# The passwords that the file lacks, each with what it is for.
passwords() {
    local services
    secrets "PostgreSQL's user orderflow, who owns the tables: for set-up alone." POSTGRES_PASSWORD
    secrets "RabbitMQ's administrator orderflow-admin: for set-up alone." AMQP_ADMIN_PASSWORD
    mapfile -t services < <(names)
    services=("${services[@]/%/_PASSWORD}")
    secrets "PostgreSQL's roles orderflow_web, orderflow_payment, … of each process; _ops is that of console and commands." \
        DATABASE_{WEB,OPS}_PASSWORD "${services[@]/#/DATABASE_}"
    secrets "RabbitMQ's users orderflow-web, orderflow-payment, … of each process; -ops is that of console and commands." \
        AMQP_{WEB,OPS}_PASSWORD "${services[@]/#/AMQP_}"
    secrets "RabbitMQ's users for people: orderflow-viewer sees no messages, orderflow-inspector dead letters and unrouted ones." \
        AMQP_{VIEWER,INSPECTOR}_PASSWORD
    secrets "Signs the tokens that open an order, and operators' sessions." TOKEN_SECRET
}

new_file() {
    cat <<ENV
# Written by scripts/make-env.sh for docker-compose.yml. It belongs to the volumes of this installation, which were
# made with these passwords: keep a copy where you keep secrets, and never commit it. A variable that your shell has by
# the same name counts more than the line here.

$(passwords)

# The shop's address as customers see it; with another WEB_PORT it has to be set too.
#PUBLIC_URL=https://shop.example
#PLAINTEXT_HOSTS=postgres,rabbitmq,mailpit,jaeger,mail.lan
# A real mail server, instead of the one that only shows mails.
#SMTP_URL=smtps://USER:PASSWORD@mail.example:465
#MAIL_FROM=Shop <orders@shop.example>
# A real payment provider, instead of the simulated one.
#PAYMENT_PROVIDER=stripe
#STRIPE_SECRET_KEY=sk_test_...
# Who may use the console: docs/OPERATORS.md.
#OPERATOR_TOKENS=NAME:operate:SHA256
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
    names | sed 's/.*/#&_WORKERS=1/'
}

# Complete or not at all: half a file would be taken for a whole one the next time.
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
    # Its last line may lack the line's end.
    { sed -e "\$a\\" "$FILE" && printf '\n# Added by scripts/make-env.sh.\n%s\n' "$missing"; } | replace
    names=$(sed -n 's/^\([A-Z0-9_]*\)=.*/\1/p' <<<"$missing" | paste -s -d ' ')
    say "added to $FILE: $names"
    case " $names " in
    *' POSTGRES_PASSWORD '* | *' AMQP_ADMIN_PASSWORD '*)
        say "if this installation has volumes: they were made with another POSTGRES_PASSWORD and AMQP_ADMIN_PASSWORD, which you have to put there instead"
        ;;
    esac
}

if [ -e "$FILE" ]; then
    complete
else
    new_file | replace
    say "written: $FILE (only you can read it)"
fi
# Mounted into containers whose users are none of this machine's; a clone under umask 077 would keep them out.
chmod -R a+rX "$ROOT/rabbitmq" "$ROOT/monitoring"
say "next: docker compose up --detach --build"
