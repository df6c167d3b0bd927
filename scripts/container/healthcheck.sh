#!/usr/bin/env bash
# healthcheck PORT: succeeds when the program in this container answers /readyz with 200.
#
# Uses only Bash, which is in the image anyway: curl or wget would be one more package to keep up to date.
set -eu

exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
# A worker queries database and broker before it answers, each for some seconds at most.
IFS= read -r -t 14 line <&3
# docker inspect shows this as the check's output.
printf '%s\n' "${line%$'\r'}"
[[ $line == 'HTTP/1.1 200 '* ]]
