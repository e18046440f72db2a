#!/bin/busybox sh
# The first program of the machine: puts a root together from the host's files, memory and a disk, and goes there.

busybox=/bin/busybox
fail() {
    echo "vm: $*"
    $busybox dmesg | $busybox tail -n 40
    $busybox poweroff -f
}
# What is written to where tests write goes to the disk: an overlay cannot keep its changes on another.
disk() {
    $busybox mkdir -p "/disk/$1" "/root/$1"
    $busybox chmod "$2" "/disk/$1"
    $busybox mount --bind "/disk/$1" "/root/$1" || fail "cannot mount $1"
}

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
    $busybox insmod "$module" || fail "cannot load $module"
done
$busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host ||
    fail "cannot mount the host's files"
$busybox mount -t tmpfs room /room
$busybox mkdir /room/upper /room/work
$busybox mount -t overlay -o lowerdir=/host,upperdir=/room/upper,workdir=/room/work root /root ||
    fail "cannot mount the root"
$busybox mount -t ext4 -o noatime /dev/vda /disk || fail "cannot mount the disk"
$busybox mount -t tmpfs -o mode=0755 run /root/run
disk tmp 1777
disk var/tmp 1777
disk var/lib 0755
for name in proc sys dev; do
    $busybox mount --move "/$name" "/root/$name"
done

. /job.sh
version=$($busybox uname -r)
$busybox mkdir -p "/root/lib/modules/$version" /root/run/vm
$busybox mount --bind "/root$modules" "/root/lib/modules/$version" || fail "cannot find modules"
$busybox cp /job.sh /guest.sh /root/run/vm
exec $busybox switch_root /root /bin/busybox sh /run/vm/guest.sh
