#!/bin/bash
# Real containers without a Docker engine, on Debian as root: podman, runc and netavark from Debian's archive, and a base
# image made by debootstrap, so that nothing is pulled from a registry.
#
#   podman.sh setup DIR    installs what is missing, makes DIR, and in it the image localhost/python-base
#   . <(podman.sh env DIR) then podman and buildah work on DIR
set -euo pipefail
command=$1 dir=$2

case $command in
env)
  echo "export CONTAINERS_STORAGE_CONF=$dir/storage.conf CONTAINERS_CONF=$dir/containers.conf"
  ;;
setup)
  export DEBIAN_FRONTEND=noninteractive
  if ! command -v podman buildah runc debootstrap catatonit >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends \
      podman buildah runc netavark aardvark-dns iptables catatonit debootstrap >/dev/null
  fi
  mkdir -p "$dir"
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$dir" "$dir" > "$dir/storage.conf"
  # runc and cgroupfs: they manage with cgroups of either version and without systemd. Fewer files and processes are
  # asked for than by default, because raising a limit may be refused.
  cat > "$dir/containers.conf" <<END
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:4096", "nproc=1024:1024"]
[network]
network_backend = "netavark"
END
  eval "$("$0" env "$dir")"
  podman image exists localhost/python-base && exit 0
  mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -1)
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$dir/rootfs" \
    "${mirror:-https://deb.debian.org/debian}" > "$dir/debootstrap.log"
  rm -f "$dir/rootfs/etc/apt/sources.list" "$dir"/rootfs/var/cache/apt/archives/*.deb
  tar -C "$dir/rootfs" -c . | podman import -q - localhost/python-base >/dev/null
  rm -rf "$dir/rootfs"
  ;;
*)
  echo "setup or env" >&2
  exit 2
  ;;
esac
