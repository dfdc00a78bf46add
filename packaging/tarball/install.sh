#!/bin/sh
# Puts latchkey-@NAME@ in place, over an older one, which is restarted if it runs; a configuration that is there stays.
# DESTDIR=/some/root installs below it. install.sh remove stops it and takes it away again, but for configuration and state.
set -eu
# The services have users of their own, who read what is installed.
umask 022
cd "$(dirname "$0")"
root=${DESTDIR:-}
name=@NAME@

# What runs would go on with files of the other version, which it loads as it needs them. Nothing is started that did not run.
services() { # restart|stop
  [ -z "$root" ] || return 0
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload
    for unit in usr/lib/systemd/system/*; do
      unit=${unit##*/}
      case $1 in
        restart) systemctl try-restart "$unit" || echo "$unit did not start again: systemctl status $unit" >&2 ;;
        stop) systemctl stop "$unit" || true ;;
      esac
    done
  elif [ -e /etc/openwrt_release ] && [ -x "/etc/init.d/latchkey-$name" ] && "/etc/init.d/latchkey-$name" running; then
    "/etc/init.d/latchkey-$name" "$1"
  fi
}

remove() {
  rm -rf "$root/usr/lib/latchkey/$name"
  for file in usr/bin/latchkey-$name etc/init.d/latchkey-$name usr/lib/systemd/system/latchkey-$name.service usr/lib/systemd/system/latchkey-$name-* \
    usr/share/man/man1/latchkey-$name.1.gz usr/share/bash-completion/completions/latchkey-$name usr/share/zsh/vendor-completions/_latchkey-$name \
    usr/share/fish/vendor_completions.d/latchkey-$name.fish usr/share/doc/latchkey-$name; do
    rm -rf "$root"/$file
  done
}

if [ "${1:-}" = remove ]; then
  services stop
  remove
  exit 0
fi
if [ -z "$root" ] && ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
  echo 'Node.js 20.19 or later is needed, as node in the PATH.' >&2
  exit 1
fi
remove
mkdir -p "$root/etc/latchkey" "$root/usr"
[ -e "$root/etc/latchkey/$name.yaml" ] || cp "etc/latchkey/$name.yaml" "$root/etc/latchkey/"
mkdir -p "$root/usr/lib/latchkey" "$root/usr/bin"
cp -R "usr/lib/latchkey/$name" "$root/usr/lib/latchkey/"
ln -s "../lib/latchkey/$name/dist/main.js" "$root/usr/bin/latchkey-$name"
if [ -e "$root/etc/openwrt_release" ]; then
  cp "etc/init.d/latchkey-$name" "$root/etc/init.d/"
  services restart
  exit 0
fi
mkdir -p "$root/usr/share"
cp -R usr/share/. "$root/usr/share/"
if [ -d "$root/usr/lib/systemd/system" ]; then
  cp usr/lib/systemd/system/* "$root/usr/lib/systemd/system/"
fi
services restart
