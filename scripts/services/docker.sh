# shellcheck shell=bash
# A Docker Engine for one run, and stand-ins for the images that it cannot pull. Sourced by containers.sh, which defines
# $STATE and $LOGS.
#
# The engine changes nothing outside $STATE: no firewall rules, no default network, no forwarding. Containers of one
# network reach each other without them, docker-proxy serves published ports, and builds use the host's network.

install_docker() {
    local packages=()
    [ -x /usr/sbin/dockerd ] && [ -x /usr/bin/docker ] || packages+=(docker.io)
    # The caller's || turns `set -e` off here.
    install_stopped "${packages[@]}" || return
    need_command debootstrap debootstrap
    # On machines without the keys of Debian's releases.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring
}

# docker ARGUMENT...: Debian's client, since another program may have its name on the PATH. It does not get this shell's
# variables, which would override the settings.
docker() {
    env -i "PATH=$PATH" "HOME=$STATE" "DOCKER_HOST=unix://$STATE/docker.sock" "DOCKER_CONFIG=$STATE/config" \
        DOCKER_BUILDKIT=1 /usr/bin/docker "$@"
}

compose() {
    docker compose --ansi never --env-file "$STATE/settings" \
        --file "$ROOT/docker-compose.yml" --file "$STATE/override.yml" "$@"
}

# Starts the engine. It fails if the engine ends or does not answer within a minute.
engine_start() {
    mkdir -p "$STATE/config/cli-plugins"
    rm -f "$STATE/dockerd.pid"
    # Docker's default limit of open files may be more than this machine allows.
    env "$INSTANCE_MARK" setsid /usr/sbin/dockerd --host "unix://$STATE/docker.sock" --pidfile "$STATE/dockerd.pid" \
        --data-root "$STATE/data" --exec-root "$STATE/exec" --default-ulimit nofile=1024:4096 \
        --bridge none --iptables=false --ip-forward=false >"$LOGS/engine.log" 2>&1 </dev/null 8>&- 9>&- &
    ENGINE=$!
    echo "$ENGINE" >"$STATE/engine.pid"
    printf 'Docker Engine: starting '
    wait_until 60 engine_runs engine_ready
}

engine_runs() { kill -0 "$ENGINE" 2>/dev/null; }
engine_ready() { docker version >/dev/null 2>&1; }

# Ends the engine, also that of a killed run, and what it left mounted.
engine_stop() {
    local target
    if ! stop_own "$STATE/engine.pid" 60; then
        say "The Docker Engine did not stop within 60 s and is killed; its log is $LOGS/engine.log"
        kill -KILL "$(cat "$STATE/engine.pid")" || true
    fi
    # The innermost first: detaching a mount detaches those below it.
    for target in $(awk -v below="$STATE/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | tac); do
        umount --lazy "$target" || true
    done
}

# Removes every container, volume and network; images and build caches stay for the next run.
engine_clear() {
    local containers volumes failed=0
    mapfile -t containers < <(docker ps --all --quiet)
    [ "${#containers[@]}" = 0 ] || docker rm --force --volumes "${containers[@]}" || failed=1
    mapfile -t volumes < <(docker volume ls --quiet)
    [ "${#volumes[@]}" = 0 ] || docker volume rm --force "${volumes[@]}" || failed=1
    docker network prune --force || failed=1
    docker image prune --force || failed=1
    docker builder prune --force --keep-storage 6GB || failed=1
    return "$failed"
}

# from_dockerfile NAME: prints the default of an argument of our Dockerfile.
from_dockerfile() { sed -n "s/^ARG $1=//p" "$ROOT/Dockerfile"; }

# Makes the base image and installs Compose 2, which Debian 12 does not have: its program, from Debian 13, is static.
need_base() {
    local tree=$STATE/debian log=$LOGS/base.log
    BASE=debian:$(from_dockerfile DEBIAN_VERSION)-slim
    if docker image inspect "$BASE" >/dev/null 2>&1 && [ -x "$STATE/config/cli-plugins/docker-compose" ]; then return; fi
    say "building a stand-in for $BASE (the log is $log)"
    rm -rf --one-file-system "$tree"
    # apt_in mounts it.
    mkdir -p "$ROOT/.dev/log"
    (umask 022 && make_base "$tree") >"$log" 2>&1 || fail_with_log "The base image could not be built." "$log"
    rm -rf --one-file-system "$tree"
}

make_base() {
    local tree=$1
    install_debian "$(from_dockerfile DEBIAN)" "$tree" || return
    apt_in "$tree" download docker-compose || return
    dpkg-deb --fsys-tarfile "$tree"/docker-compose_*.deb |
        tar -x --to-stdout ./usr/libexec/docker/cli-plugins/docker-compose >"$STATE/config/cli-plugins/docker-compose" || return
    chmod 755 "$STATE/config/cli-plugins/docker-compose"
    like_official_image "$tree"
    # apt_in left a mount point with this checkout's path.
    tar -c -C "$tree" --exclude=".$ROOT" --exclude='./docker-compose_*' --exclude='./var/lib/apt/lists/*' \
        --exclude='./var/cache/apt/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
        --exclude='./usr/share/locale/*' . |
        docker import --change 'CMD ["bash"]' - "$BASE"
}

# like_official_image TREE: packages installed in the image bring no documentation and leave no caches.
like_official_image() {
    printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$1/etc/dpkg/dpkg.cfg.d/docker"
    cat >"$1/etc/apt/apt.conf.d/docker-clean" <<'APT'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT
}

# Builds the stand-ins under the names and tags of the images that docker-compose.yml and Dockerfile name.
build_stand_ins() {
    local images image name
    mapfile -t images < <(compose config --images | sort -u)
    for image in "${images[@]}"; do
        [ "$image" != orderflow:local ] || continue
        name=${image%:*}
        name=${name##*/}
        [ -d "$ROOT/scripts/stand-ins/$name" ] ||
            die "docker-compose.yml names the image $image, for which scripts/stand-ins/ has no stand-in."
        build_stand_in "$image" "$ROOT/scripts/stand-ins/$name"
    done
    build_rust
}

# build_stand_in IMAGE CONTEXT [OPTION...]
build_stand_in() {
    local image=$1 log
    log=$LOGS/$(tr '/:' '--' <<<"$image").log
    say "building a stand-in for $image (the log is $log)"
    docker build --network host --build-arg "BASE=$BASE" --tag "$image" "${@:3}" "$2" >"$log" 2>&1 ||
        fail_with_log "The stand-in for $image could not be built." "$log"
}

# The compiler is half a gigabyte, so it is copied only if another one is installed.
build_rust() {
    local image sysroot compiler
    image=rust:$(from_dockerfile RUST_VERSION)-slim-$(from_dockerfile DEBIAN)
    compiler=$(rustc --version)
    sysroot=$(rustc --print sysroot)
    [ "$(docker image inspect --format '{{.Config.Labels.compiler}}' "$image" 2>/dev/null)" != "$compiler" ] || return 0
    tar -c -C "$ROOT/scripts/stand-ins/rust" Dockerfile -C /etc/ssl/certs --dereference ca-certificates.crt \
        -C "$sysroot" --transform 's,^\(bin\|lib\)\(/\|$\),toolchain/\1\2,' bin lib |
        build_stand_in "$image" - --build-arg "COMPILER=$compiler"
}
