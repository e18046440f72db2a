# What the machine does once it has its root: the rest of what an init does, the job, and its end.

. /run/vm/job.sh
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Logic is the same on every kernel, and was tried with many values elsewhere, faster.
export PROPTEST_CASES=4
result=/dev/ttyS1

# Runs one test program in its directory; the last line tells the host how it ended.
run() {
    name=$1
    cd "$2" || return
    shift 2
    echo "== $name"
    "$@"
    echo "$name $?" > $result
}

mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
# With the options that systemd gives it.
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
# Without the host's kmod: the kernel asks this one for whatever is missing.
printf '#!/bin/sh\nexec /bin/busybox modprobe "$@"\n' > /run/vm/modprobe
chmod 755 /run/vm/modprobe
echo /run/vm/modprobe > /proc/sys/kernel/modprobe
hostname vm
busybox ip link set lo up

job
echo end > $result
busybox poweroff -f
