# Shell functions that bring what is missing from the distribution. Sourced, never run: `. ops/lib/install.sh`.
#
# A machine that has everything pays one dpkg query (about 20 ms). The package index is refreshed only when there is none or when
# an installation failed with the one we have. Works as root, or as a user who has sudo; otherwise says what to install.

MYELIN_ROOT=${MYELIN_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}

# What each purpose needs, by Debian package name. Runtime packages have their own file because images are made from it.
BUILD_PACKAGES="build-essential cmake ninja-build pkg-config python3 libh2o-evloop-dev libzmq3-dev libmsgpack-dev libsodium-dev
    libssl-dev libpq-dev libc-ares-dev libcurl4-openssl-dev libyaml-dev libunistring-dev libseccomp-dev libcmocka-dev libcrypt-dev
    libjansson-dev libsimdjson-dev"
RUN_PACKAGES="postgresql-15 openssl ca-certificates curl"
CHECK_PACKAGES="clang clang-format clang-tidy libclang-rt-14-dev"
PYTHON_PACKAGES="python3 python3-venv"
DOCKER_PACKAGES="docker.io debootstrap iptables"

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

# sudo may ask for a password when somebody sits there to give it.
as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
    else
        return 1
    fi
}

# Prints those of the named packages which are not installed.
packages_missing()
{
    local have
    have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p')
    printf '%s\n' "$@" | grep -vxF "${have:-/}" || true
}

# A fresh machine upgrades itself in the background: what holds dpkg's lock then is worth five minutes of waiting.
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"; }
apt_install() { apt_get install -y --no-install-recommends "$@"; }

# need_packages NAME...: returns when all of them are installed.
need_packages()
{
    local missing
    missing=$(packages_missing "$@")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "please install the counterparts of these Debian packages: $missing"
    say "installing" $missing
    # PostgreSQL's package would make and start a cluster of its own; Myelin brings a private one.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    if ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || ! apt_install $missing >/dev/null 2>&1; then
        apt_get update || die "cannot refresh the package index; install by hand:" $missing
        apt_install $missing >/dev/null || die "cannot install:" $missing
    fi
}

version_reaches() { printf '%s\n%s\n' "$2" "$1" | sort -CV; }

# need_go VERSION (say 1.25.0): puts a go command into PATH that can build a module which asks for VERSION. From 1.21 on the go
# command fetches what go.mod asks for by itself, unless it was told not to. Debian 12 has 1.19, which does not know how, but can
# download the same toolchain as the module it is published as: it is unpacked into build/go, checked against the checksum database
# like every module. What remains to be done there is what newer go commands do after the download: execute bits, names of go.mod.
need_go()
{
    local kept=$MYELIN_ROOT/build/go have module folder
    PATH=$kept/bin:$PATH:/usr/local/go/bin
    command -v go >/dev/null || need_packages golang-go
    have=$(cd / && go env GOVERSION | sed 's/^go//')
    if version_reaches "$have" "$1" || { version_reaches "$have" 1.21 && [ "$(cd / && go env GOTOOLCHAIN)" != local ]; }; then
        return 0
    fi
    module=golang.org/toolchain@v0.0.1-go$1.$(go env GOOS)-$(go env GOARCH)
    say "go $have is too old: fetching $module (about 70 MB)"
    rm -rf "$kept.new"
    mkdir -p "$kept.new"
    (cd "$kept.new" && GOPATH=$PWD GOMODCACHE=$PWD/mod GOFLAGS=-modcacherw go mod download "$module") >&2 ||
        die "Go $1 is needed, go $have is installed, and $module cannot be fetched"
    folder=$kept.new/mod/$module
    chmod +x "$folder"/bin/* "$folder"/pkg/tool/*/*
    find "$folder" -name _go.mod -execdir mv {} go.mod ';'
    rm -rf "$kept"
    mv "$folder" "$kept"
    rm -rf "$kept.new"
}

# Builds the release preset and installs it below $1 (a folder): the binaries that images and outside tests use.
install_release()
{
    local log=$MYELIN_ROOT/build/release-build.log
    need_packages $BUILD_PACKAGES
    mkdir -p "$MYELIN_ROOT/build"
    (cd "$MYELIN_ROOT" && { [ -e build/release/build.ninja ] || cmake --preset release; } && cmake --build build/release) >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; die "the release build failed, see $log"; }
    rm -rf "$1.new"
    cmake --install "$MYELIN_ROOT/build/release" --prefix "$1.new" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "installing failed"; }
    rm -rf "$1" && mv "$1.new" "$1"
}
