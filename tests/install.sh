#!/usr/bin/env bash
# Installs what is missing on Debian, and nothing where all is there.
#
#   tests/install.sh build     what building needs
#   tests/install.sh           what building and testing need
#   tests/install.sh prompts   what speaking the prompts needs
set -euo pipefail

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env=DEBIAN_FRONTEND "$@"
    else
        echo "run as root, or install sudo, to install: ${missing[*]}" >&2
        exit 1
    fi
}

apt() {
    local try
    for try in 1 2 3; do
        if as_root apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; then return; fi
        echo "apt-get $1 failed (attempt $try of 3)" >&2
        sleep $((try * 5))
    done
    return 1
}

# needs PROGRAM PACKAGE…: the packages are missing if the program is.
missing=()
needs() {
    local program=$1
    shift
    command -v "$program" >/dev/null || [[ -x $program ]] || missing+=("$@")
}

what=${1:-tests}
needs cc build-essential
needs curl curl ca-certificates
case $what in
    build) ;;
    tests)
        needs sipp sip-tester
        needs baresip baresip-core
        needs linphonec linphone-cli
        needs kamailio kamailio
        if ! compgen -G '/usr/lib/*/kamailio/modules/tls.so' >/dev/null; then missing+=(kamailio-tls-modules); fi
        needs tshark tshark
        needs prometheus prometheus
        needs sox sox
        needs ffmpeg ffmpeg
        needs setpriv util-linux
        needs pdftotext poppler-utils
        if ! /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null; then missing+=(python3-aiosmtpd); fi
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3 python3-venv); fi
        needs psql postgresql-client
        needs chromium chromium
        needs chromedriver chromium-driver
        # The pictures of the office are an Italian computer's.
        if [[ ! -f /usr/lib/chromium/locales/it.pak ]]; then missing+=(chromium-l10n); fi
        needs npm npm
        # Its programs are not in the PATH.
        if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then missing+=(postgresql); fi
        ;;
    prompts)
        needs sox sox
        needs ffmpeg ffmpeg
        needs text2wave festival
        if [[ ! -d /usr/share/festival/voices/italian/lp_diphone ]]; then missing+=(festvox-italp16k); fi
        ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac

if ((${#missing[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here; please install by hand: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt update
    apt install --no-install-recommends "${missing[@]}"
fi

# The oldest Rust that builds the project, from its one place.
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
PATH=$PATH:$HOME/.cargo/bin
if ! command -v cargo >/dev/null; then
    echo "installing Rust into ~/.cargo (rustup.rs)"
    curl --proto '=https' --tlsv1.2 -sSf --retry 3 https://sh.rustup.rs | sh -s -- -y --profile default
fi
found=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
if [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
    if ! command -v rustup >/dev/null; then
        echo "Rust $wanted or later is needed, found $found" >&2
        exit 1
    fi
    rustup update stable
fi

# axe-core looks at every page of the office in the browser's tests.
if [[ $what == tests && ! -f target/axe/axe.min.js ]]; then
    axe=4.14.1
    digest=FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
    mkdir -p target/axe
    (cd target/axe && npm pack --silent "axe-core@$axe" >/dev/null)
    if [[ $(openssl dgst -sha512 -binary "target/axe/axe-core-$axe.tgz" | base64 -w 0) != "$digest" ]]; then
        echo "axe-core $axe is not what it was" >&2
        exit 1
    fi
    tar -xzf "target/axe/axe-core-$axe.tgz" -C target/axe --strip-components=1 package/axe.min.js
fi

# schemathesis asks the JSON API for everything that its description promises, in an environment of its own.
if [[ $what == tests ]] && ! cmp -s tests/schemathesis.txt target/schemathesis/installed.txt; then
    rm -rf target/schemathesis
    mkdir -p target
    python3 -m venv target/schemathesis
    target/schemathesis/bin/pip install --quiet --disable-pip-version-check --retries 5 --only-binary :all: -r tests/schemathesis.txt
    cp tests/schemathesis.txt target/schemathesis/installed.txt
fi
