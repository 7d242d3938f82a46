#!/usr/bin/env bash
# hiredis.sh RELEASE PREFIX: unpacks the hiredis of that Debian release into PREFIX (PREFIX/include, PREFIX/lib/…).
# hiredis.sh RELEASE DIR source: unpacks its source into DIR. Both on Debian only, and without touching the system.
set -euo pipefail

usage="hiredis.sh RELEASE PREFIX [source]"
release=${1:?$usage} prefix=${2:?$usage} what=${3:-package}
. /etc/os-release
[[ $ID == debian ]] || { echo "This is not Debian, so there is no mirror to get hiredis from." >&2 && exit 1; }

apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$prefix" "$apt"/{lists,cache}/partial

mirror() {
  apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Component: main' "Codename: $VERSION_CODENAME" | head -n 1
}
# A fresh container has no package lists.
[[ $(mirror) ]] || if ((EUID)); then sudo apt-get update -q; else apt-get update -q; fi

kind=deb target=Packages
[[ $what != source ]] || kind=deb-src target=Sources
options="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg targets=$target"
echo "$kind [$options] $(mirror) $release main" >"$apt/sources.list"

# An apt of its own, with the system's proxies and credentials but without its hooks: images have one that empties the cache.
cat >"$apt/apt.conf" <<END
#clear APT::Update;
#clear DPkg;
Quiet 2;
Acquire::Languages none;
APT::Sandbox::User "";
Dir::Cache "$apt/cache";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$apt/lists";
Dir::State::Status "/dev/null";
END
apt-get -c "$apt/apt.conf" update
prefix=$(realpath "$prefix")
cd "$apt"
if [[ $what == source ]]; then
  apt-get -c "$apt/apt.conf" source --download-only hiredis
  tar -xf hiredis_*.orig.tar.* -C "$prefix" --strip-components=1
else
  depends=$(apt-cache -c "$apt/apt.conf" depends libhiredis-dev | grep -o 'libhiredis[0-9].*')
  apt-get -c "$apt/apt.conf" download libhiredis-dev "$depends"
  for package in *.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$prefix" --strip-components=2 ./usr; done
fi
