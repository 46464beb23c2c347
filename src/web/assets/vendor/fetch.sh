#!/usr/bin/env bash
# Fetches the office's third-party files from npm, verifies what came, and puts the few that are served beside
# this script. With --check nothing is written: the files that are here must be those of the packages.
set -euo pipefail
cd "$(dirname "$0")"

# package version sha512 (base64, as npm publishes it)
packages='
bootstrap-italia 2.18.3 dz4kNtcAYJF4OsWABT9m3CAT3NH5y6OzGG+v/VUGH1LjumIUmlP3GaQ+aHgtv5Vw3B5dS0jbHZiHGSfdu+DffA==
htmx.org 2.0.11 Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==
'
# package, file in it, name here
files='
bootstrap-italia LICENSE bootstrap-italia.LICENSE
bootstrap-italia dist/css/bootstrap-italia.min.css bootstrap-italia.min.css
bootstrap-italia dist/svg/sprites.svg sprites.svg
bootstrap-italia dist/fonts/Titillium_Web/OFL.txt titillium-web.LICENSE
bootstrap-italia dist/fonts/Titillium_Web/titillium-web-v10-latin-ext_latin-regular.woff2 titillium-web-regular.woff2
bootstrap-italia dist/fonts/Titillium_Web/titillium-web-v10-latin-ext_latin-600.woff2 titillium-web-600.woff2
bootstrap-italia dist/fonts/Titillium_Web/titillium-web-v10-latin-ext_latin-700.woff2 titillium-web-700.woff2
bootstrap-italia dist/fonts/Roboto_Mono/LICENSE.txt roboto-mono.LICENSE
bootstrap-italia dist/fonts/Roboto_Mono/roboto-mono-v13-latin-ext_latin-regular.woff2 roboto-mono-regular.woff2
htmx.org LICENSE htmx.LICENSE
htmx.org dist/htmx.min.js htmx.min.js
'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
while read -r package version digest; do
    [[ -n $package ]] || continue
    archive=$work/$(cd "$work" && npm pack --silent "$package@$version")
    found=$(openssl dgst -sha512 -binary "$archive" | base64 -w 0)
    if [[ $found != "$digest" ]]; then
        echo "$package $version is not what it was: $found" >&2
        exit 1
    fi
    mkdir -p "$work/$package"
    tar -xzf "$archive" -C "$work/$package" --strip-components=1
done <<<"$packages"

# The css is served without its map, and without the fonts within it: the content policy takes fonts from our own files only.
served() {
    sed -e '/^\/\*# sourceMappingURL/d' -e 's/@font-face{[^}]*url(["'\'']\?data:[^}]*}//g' "$1"
}

while read -r package file name; do
    [[ -n $package ]] || continue
    if [[ ${1:-} == --check ]]; then
        if [[ $name == *.css ]]; then
            cmp <(served "$work/$package/$file") "$name"
        else
            cmp "$work/$package/$file" "$name"
        fi
    elif [[ $name == *.css ]]; then
        served "$work/$package/$file" >"$name"
    else
        install -m 644 "$work/$package/$file" "$name"
    fi
done <<<"$files"
