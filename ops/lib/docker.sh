# Shell functions for a container engine on a machine where nobody runs one. Sourced after install.sh.
#
# dockerd is started by hand only when `docker info` fails; its images live in build/docker of this checkout. Who started it stops
# it: docker_start prints the process id it started, or nothing when an engine was running already.

docker_start()
{
    docker info >/dev/null 2>&1 && return 0
    command -v docker >/dev/null && command -v dockerd >/dev/null || need_packages $DOCKER_PACKAGES
    docker info >/dev/null 2>&1 && return 0
    [ "$(id -u)" = 0 ] || die "no container engine answers, and starting one needs root"
    local folder=$MYELIN_ROOT/build/docker driver run
    mkdir -p "$folder"
    # Sockets go to a short path: their names are limited to 107 bytes.
    run=$(mktemp -d /tmp/myelin-docker.XXXXXX)
    echo "$run" >"$folder/run"
    for driver in overlay2 vfs; do
        setsid nohup dockerd --data-root "$folder/data" --exec-root "$run/exec" -p "$run/pid" --storage-driver "$driver" \
            </dev/null >"$folder/dockerd.log" 2>&1 &
        local pid=$! tries=0
        while kill -0 $pid 2>/dev/null && [ $tries -lt 300 ]; do
            if docker info >/dev/null 2>&1; then
                say "started dockerd ($driver), process $pid"
                echo $pid
                return 0
            fi
            sleep 0.1
            tries=$((tries + 1))
        done
        kill $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
    done
    tail -n 20 "$folder/dockerd.log" >&2
    die "dockerd did not start, see $folder/dockerd.log"
}

# docker_stop PID: ends the engine that docker_start started, unless somebody else's containers run in it by now.
docker_stop()
{
    [ -n "$1" ] || return 0
    if [ -n "$(docker ps -q 2>/dev/null)" ]; then
        say "containers are running: dockerd (process $1) stays"
        return 0
    fi
    kill "$1" 2>/dev/null || true
    local tries=0 run
    while kill -0 "$1" 2>/dev/null && [ $tries -lt 200 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    run=$(cat "$MYELIN_ROOT/build/docker/run")
    case $run in
    /tmp/myelin-docker.*) rm -rf "$run" ;;
    esac
}

# docker_base: prints the name of an image that has every runtime package, made by debootstrap where no registry is reachable.
# The mirror is the one apt uses. The tarball is kept in build/complement; making it takes about a minute.
docker_base()
{
    local packages=$MYELIN_ROOT/ops/docker/runtime-packages folder=$MYELIN_ROOT/build/complement tag name mirror
    tag=$(sha256sum <"$packages" | cut -c1-12)
    name=myelin-base:$tag
    if docker image inspect "$name" >/dev/null 2>&1; then
        echo "$name"
        return 0
    fi
    if [ ! -e "$folder/base-$tag.tar" ]; then
        need_packages debootstrap
        [ "$(id -u)" = 0 ] || die "debootstrap needs root"
        ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt-get -qq update
        mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 'Component: main' | head -n 1)
        [ -n "$mirror" ] || die "apt knows no mirror of bookworm"
        say "making the base image with debootstrap (about a minute)"
        mkdir -p "$folder"
        rm -rf "$folder/rootfs"
        debootstrap --variant=minbase --include="$(grep -v '^#' "$packages" | paste -sd,)" bookworm "$folder/rootfs" "$mirror" \
            >"$folder/debootstrap.log" 2>&1 || { tail -n 20 "$folder/debootstrap.log" >&2; die "debootstrap failed"; }
        # Documentation, translations, package archives, and the just-in-time compiler that PostgreSQL loads only when told to.
        (cd "$folder/rootfs" && rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/lib/*/libLLVM* \
            usr/lib/postgresql/*/lib/llvmjit.so usr/lib/postgresql/*/lib/bitcode \
            var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/*_*)
        rm -f "$folder"/base-*.tar
        tar -C "$folder/rootfs" -cf "$folder/base.tar.new" . && mv "$folder/base.tar.new" "$folder/base-$tag.tar"
        rm -rf "$folder/rootfs"
    fi
    docker import "$folder/base-$tag.tar" "$name" >/dev/null
    echo "$name"
}
