# shellcheck shell=bash
# A Debian 13 below .dev/, for its RabbitMQ 4. Sourced, never run.

DEBIAN13=$DEV/debian13

# need_debian13: makes it where it is missing. A few hundred megabytes; only root may.
need_debian13() {
    [ ! -e "$DEBIAN13/.complete" ] || return 0
    [ "$(id -u)" = 0 ] || die "RABBITMQ=4 needs root, which alone can make a system in a directory and run programs in it."
    need_command debootstrap debootstrap
    # Where the keys of Debian's releases are not the machine's own.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring
    local log=$DEV/log/debian13.log
    mkdir -p "$DEV/log"
    # Others than root run nothing in it, but what is made in it has to be as in any system.
    rm -rf --one-file-system "$DEBIAN13"
    say "installing Debian 13 with its RabbitMQ into $DEBIAN13 (the log is $log)"
    (umask 022 && debootstrap --variant=minbase --include=rabbitmq-server trixie "$DEBIAN13") >"$log" 2>&1 ||
        fail_with_log "debootstrap failed." "$log"
    echo '127.0.0.1 localhost' >"$DEBIAN13/etc/hosts"
    : >"$DEBIAN13/.complete"
}
