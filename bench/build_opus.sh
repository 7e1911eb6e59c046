#!/usr/bin/env bash
# Build libopus with everything neural it has: DRED, deep concealment, LACE and NoLACE.
#
#     bench/build_opus.sh [FOLDER]              (default: build/opus)
#     export STREAMCODEC_LIBOPUS=FOLDER/libopus.so
#
# The source is Debian sid's package, which holds the networks' weights; the package lists are kept in FOLDER, so that
# neither the machine's own sources nor its packages change. Wanted: apt, dpkg-dev, a C compiler, make; 90 seconds.
set -euo pipefail

version=${OPUS_VERSION:-1.6.1-1}
folder=$(realpath -m "${1:-build/opus}")
mkdir -p "$folder"/apt/{sources,lists/partial,cache/archives/partial}
cd "$folder"

cat >apt/sources/sid.sources <<'SOURCES'
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
apt=(
    apt-get -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$folder/apt/sources"
    -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache"
    -o "APT::Sandbox::User=$(id -un)" -o Acquire::Languages=none -o Debug::NoLocking=1
)
"${apt[@]}" update
"${apt[@]}" source --download-only "opus=$version"

rm -rf source
dpkg-source --no-check -x "opus_$version.dsc" source
cd source
./configure --quiet --enable-dred --enable-osce --enable-deep-plc --disable-doc --disable-extra-programs --disable-static
make --quiet -j"$(nproc)"
cp -L .libs/libopus.so "$folder/libopus.so"
echo "$folder/libopus.so"
