#!/bin/bash
# Runs $SCRIPT where it can do no harm; started by sandbox.cc in mount and process namespaces of its own. Everything it
# hides or replaces is private to them.
set -eu
die() { echo "sandbox: $*" >&2; exit 97; }
mount --make-rprivate /
eval "$FORGET_OTHERS"
for dir in /run /mnt /var/tmp; do mount -t tmpfs -o mode=1777 sandbox $dir; done
chmod 755 /run /mnt
# Not to leave directories behind, those above them become writable layers.
for parent in /var/lib /var/cache; do
  mkdir -p /run/layers$parent/up /run/layers$parent/work
  mount -t overlay sandbox -o lowerdir=$parent,upperdir=/run/layers$parent/up,workdir=/run/layers$parent/work $parent
done
for dir in /var/lib/containers /var/lib/docker /var/lib/pkgfs /var/cache/pkgfs; do
  mkdir -p $dir
  mount -t tmpfs sandbox $dir
done
mkdir /run/docker /run/user
home=/run/home; mkdir -m 755 $home; export HOME=$home XDG_RUNTIME_DIR=/run/user
export PATH=$BIN:/usr/sbin:/usr/bin:/sbin:/bin
unset WASMER_DIR WASMER_CACHE_DIR WASMER_TOKEN http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY DOCKER_HOST
export WASMER_REGISTRY=$REGISTRY

# An image without a registry.
root=/run/image; mkdir -p $root/{bin,etc,proc,sys,dev,tmp,run,mnt}
cp "$(command -v busybox)" $root/bin/busybox
for applet in sh ls cat df grep id sleep touch; do ln -s busybox $root/bin/$applet; done
printf 'root:x:0:0:root:/:/bin/sh\n' > $root/etc/passwd

# What a machine with systemd and CAP_SYS_RESOURCE doesn't need.
cat > /run/containers.conf <<X
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[engine.volume_plugins]
pkgfs = "/run/docker/plugins/pkgfs.sock"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
X
export CONTAINERS_CONF=/run/containers.conf
image() { tar -C $root -c . | "$@"; }

case $ENGINE in
podman)
  printf '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers"\n' > /run/storage.conf
  export CONTAINERS_STORAGE_CONF=/run/storage.conf
  image podman import -q - localhost/busybox > /dev/null
  ;;
rootless)
  # A user of its own, who may use /dev/fuse as on any machine.
  for file in passwd group subuid subgid; do cp /etc/$file /run/$file; done
  echo 'alice:x:1000:1000::/run/alice:/bin/bash' >> /run/passwd
  echo 'alice:x:1000:' >> /run/group
  echo 'alice:200000:65536' > /run/subuid
  echo 'alice:200000:65536' > /run/subgid
  for file in passwd group subuid subgid; do mount --bind /run/$file /etc/$file; done
  mkdir /run/alice /run/user/1000; chown 1000:1000 /run/alice /run/user/1000
  mknod /run/fuse c 10 229; chmod 666 /run/fuse; mount --bind /run/fuse /dev/fuse
  mount -o remount,dev /run
  printf '[storage]\ndriver = "vfs"\n' > /run/storage.conf
  export CONTAINERS_STORAGE_CONF=/run/storage.conf
  image cat > /run/image.tar
  chmod 644 /run/image.tar /run/*.conf
  as_alice() {
    setpriv --reuid=1000 --regid=1000 --init-groups env HOME=/run/alice USER=alice XDG_RUNTIME_DIR=/run/user/1000 "$@"
  }
  cd /run/alice
  as_alice podman import -q /run/image.tar localhost/busybox > /dev/null || die "rootless podman doesn't work here"
  as_alice podman system migrate  # ends its process, which keeps the mounts of now
  as_alice bash -euo pipefail "$SCRIPT"
  exit
  ;;
docker)
  ip link set lo up 2> /dev/null || true
  export DOCKER_HOST=unix:///run/docker.sock
  dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver vfs \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /pkgfs-test -H $DOCKER_HOST > /run/dockerd.log 2>&1 &
  for _ in $(seq 100); do docker version > /dev/null 2>&1 && break; sleep 0.1; done
  image docker import - busybox > /dev/null || { tail -5 /run/dockerd.log >&2; die "dockerd doesn't start"; }
  ;;
none) ;;
esac
cd $home
bash -euo pipefail "$SCRIPT"
