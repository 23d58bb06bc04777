package probe

// rows is the table: a new attack is a function and a row.
var rows = []Row{
	{"A1", "direct TCP, UDP and QUIC without the proxy", "network", direct},
	{"A2", "ICMP, packet and ping sockets", "container", rawSockets},
	{"A3", "a tunnel through DNS", "network and egress", dnsTunnel},
	{"A4", "the host, its gateway and its name servers", "network", theHost},
	{"A5", "another bottle's addresses and names", "network", neighbours},
	{"A6", "ARP spoofing and routing at layer 2", "container", layerTwo},
	{"A7", "IPv6, link-local and v4-mapped addresses", "container", ipv6},
	{"A8", "AF_VSOCK, AF_ALG, io_uring and user namespaces", "container", kernelDoors},
	{"A12", "the uplink's members and a sidecar's second address", "network", uplink},
	{"E1", "a host that is not allowed", "egress", refusedHosts},
	{"E2", "CONNECT to a name that carries a secret out", "egress", namesThatTell},
	{"E26", "through egress to a sidecar or to itself", "egress", egressItself},
	{"E27", "the CA's key and a sidecar's other ports", "network and egress", insides},
}

// selfTestRows is how many rows, from the first on, every bring-up runs.
const selfTestRows = 7

// SelfTestRows are the rows that every bring-up runs.
func SelfTestRows() []Row { return rows[:selfTestRows:selfTestRows] }

// Rows are all rows.
func Rows() []Row { return rows[:len(rows):len(rows)] }
