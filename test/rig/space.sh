# Process 1 of the namespaces of a private engine (engine.go). All that it starts
# dies with it. In the environment:
#
#   DIR       the engine's files
#   NAME      unique on this machine: the parent of its cgroups
#   ROOT      a Debian system whose /usr and /etc are laid over this one's, or empty
#   DISK      MiB of a disk of its own for the engine's data, or empty
#   RESOLVER  where the host's name server listens
#   UPSTREAM  the program that plays name server and internet
#
# Words on standard input are orders: start, stop, kill. On standard output it
# says "up" when the namespaces are there, and "ended CODE" when an engine did.
set -euo pipefail
readonly here=192.0.2.2 there=192.0.2.1

mount --make-rprivate /
mount -t proc proc /proc
cd "$DIR"
exec 9>alive
flock 9 # held by all that is started here: who gets it knows that all are gone

# Paths stay what they are, since bottles mount folders of this machine's.
if [ -n "$ROOT" ]; then
	[ -L /bin ] && [ -L /lib ] || { echo "this machine has no merged /usr, so another one's cannot be laid over it" >&2; exit 1; }
	mount --bind "$ROOT/usr" /usr
fi
mkdir -p etc work data exec bin
mount -t overlay -o "lowerdir=$ROOT/etc,upperdir=$DIR/etc,workdir=$DIR/work" overlay /etc
rm -f /etc/resolv.conf /etc/docker/key.json # the engine's id would be the other one's
cp resolv.conf /etc/resolv.conf
if [ -n "$DISK" ]; then
	mount -t tmpfs -o "size=${DISK}m" tmpfs data
fi

# The engine's network, and one more at the other end of a wire: the internet.
ip link set lo up
touch internet internet.jsonl resolver.jsonl
unshare --net=internet true
outside() { nsenter --net=internet "$@"; }
outside ip link add wire type veth peer name uplink netns 1
for network in '' outside; do
	# Neighbour discovery would be noise in what is recorded.
	$network sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true
done
ip addr add $here/24 dev uplink
ip link set uplink up
ip route add default via $there
outside ip link set lo up
outside ip addr add $there/24 dev wire
outside ip link set wire up
outside ip route add local default dev lo table main # every address is there

outside "$UPSTREAM" --packets wire --ca-out ca.pem >>internet.jsonl &
"$UPSTREAM" --listen "$RESOLVER" --https -1 --http -1 --echo -1 --answer $there >>resolver.jsonl &
for server in internet resolver; do
	grep -qm1 '"ready"' < <(tail -f -n +1 $server.jsonl)
done

# Some kernels know the older tables only.
if ! iptables -t nat -S >/dev/null 2>&1; then
	for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		ln -s "/usr/sbin/${name/tables/tables-legacy}" "bin/$name"
	done
	export PATH=$DIR/bin:$PATH
fi

run_engine() {
	local code=0
	GOGC=400 NOTIFY_SOCKET=$DIR/notify dockerd --config-file "$DIR/daemon.json" --data-root "$DIR/data" --exec-root "$DIR/exec" --pidfile "$DIR/pid" \
		--host "unix://$DIR/socket" --group root --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$NAME" >>engine.log 2>&1 || code=$?
	echo "ended $code"
}

echo up
while read -r order; do
	case $order in
	start)
		rm -f pid
		run_engine &
		;;
	stop) kill -TERM "$(cat pid)" ;;
	kill) kill -KILL "$(cat pid)" ;;
	esac
done
