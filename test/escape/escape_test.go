package escape

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"bottle/test/rig"
)

var jsonFile = flag.String("json", os.Getenv("BOTTLE_ESCAPE_JSON"), "`file` for the results as JSON")

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// row is one row of the threat model, and what tries it.
type row struct {
	ID    string
	Title string
	By    string
	try   func(*testing.T, *stage)
}

var rows = []row{
	{"A1", "direct TCP, UDP and QUIC", "network", directConnections},
	{"A2", "ICMP, raw and ping sockets", "container", rawSockets},
	{"A3", "a tunnel through DNS", "network and egress", dnsTunnel},
	{"A4", "the host, its gateway and DNS", "network", theHost},
	{"A5", "another bottle", "network", anotherBottle},
	{"A6", "ARP and routes", "container", layerTwo},
	{"A7", "IPv6 and v4-mapped addresses", "container", ipv6},
	{"A8", "AF_VSOCK, AF_ALG, io_uring, user namespaces", "container", kernelDoors},
	{"A9", "processes, memory, logs; the disk is shown", "container", exhaustion},
	{"A10", "the engine's socket; runsc where there is none", "host", engineAndRuntime},
	{"A11", "all that one user may have", "container", hoarding},
	{"A12", "the uplink and egress' second address", "network", uplink},
	{"E1", "a host that is not allowed", "egress", refusedHost},
	{"E2", "exfiltration in the name of a CONNECT", "egress", tellingName},
	{"E3", "addresses instead of names", "egress", addressLiterals},
	{"E4", "CONNECT, SNI and Host that differ", "egress", fronting},
	{"E5", "a target and a Host that differ", "egress", twoHosts},
	{"E6", "no name, an encrypted one, no TLS after CONNECT", "egress", notTLS},
	{"E7", "http to a host of https, ports that no route names", "egress", otherPorts},
	{"E8", "an ambiguous CONNECT", "egress", authorities},
	{"E9", "dots, case, IDN and escapes in the host", "egress", hostSpellings},
	{"E10", "dots in a path", "egress", dottedPaths},
	{"E11", "slashes, backslashes and parameters in a path", "egress", slashedPaths},
	{"E12", "a path that only begins like an allowed one", "egress", longerPath},
	{"E13", "a redirect to another host", "egress", redirect},
	{"E14", "a redirect that keeps the credential", "egress", redirectedCredential},
	{"E15", "TRACE", "egress", trace},
	{"E16", "an echo of the injected credential", "egress", echoedCredential},
	{"E17", "the agent's own Authorization, in all spellings", "egress", ownAuthorization},
	{"E18", "two readers, two requests", "egress", desync},
	{"E19", "requests behind an allowed one", "egress", pipelined},
	{"E20", "HTTP/2 and other protocols", "egress", secondVersion},
	{"E21", "pseudo-headers and line ends", "egress", pseudoHeaders},
	{"E22", "WebSocket", "egress", webSocket},
	{"E23", "tunnels by 101, Expect and trailers", "egress", rawTunnels},
	{"E24", "an allowed name that leads elsewhere", "egress", leadingNames},
	{"E25", "large heads, endless bodies, slow clients", "egress", greed},
	{"E26", "through egress to itself", "egress", egressItself},
	{"E27", "the CA's key, egress' other ports", "network and egress", egressInsides},
	{"E28", "somebody else's credential", "egress", foreignCredential},
	{"E29", "a model's provider that dials for the agent", "egress", providerDials},
	{"G1", "a secret in history", "git gate", secretInHistory},
	{"G2", "a secret in binaries, archives, UTF-16, symlinks", "git gate", secretInContent},
	{"G3", "a secret in a commit's own fields", "git gate", secretInCommit},
	{"G4", "a secret in tags and notes", "git gate", secretInTag},
	{"G5", "a secret in a name", "git gate", secretInName},
	{"G6", "a secret in a merge, behind a replacement", "git gate", secretInMerge},
	{"G7", "the repository's own exceptions", "git gate", ownExceptions},
	{"G8", "force-push, deletion, refs of others", "git gate", otherRefs},
	{"G9", "another repository", "git gate", otherRepository},
	{"G10", "hostile trees and submodules", "git gate", hostileTrees},
	{"G11", "a giant push and one that stops", "git gate", giantAndSlow},
	{"G12", "options in names, addresses and requests", "git gate", injectedOptions},
	{"G13", "another commit than was scanned; half a push", "git gate", scannedIsPushed},
	{"G14", "a hostile repository when the work is captured", "host", hostileRepository},
	{"P1", "a secret in URL, header or cookie", "egress", secretInHead},
	{"P2", "a secret in JSON, a form, a part or a file's name", "egress", secretInBody},
	{"P3", "a secret in a compressed body; an unknown encoding", "egress", secretCompressed},
	{"P4", "a secret encoded, three layers deep", "egress", secretEncoded},
	{"P5", "the bottle's own secrets, in any form", "egress", ownSecrets},
	{"P6", "bombs; the scanner killed", "egress", bombs},
	{"S1", "IDs of the agent's own", "supervise", serversIDs},
	{"S2", "too much, and too often", "supervise", tooMuch},
	{"S3", "escape sequences and bidi in a justification", "host", textsOfAgents},
	{"S4", "a host that looks like another", "host", lookalikeHost},
	{"S5", "a proposal changed after it was shown", "host", changedProposal},
	{"S6", "a forged decision, another bottle's ID", "host", forgedDecision},
	{"S7", "sixteen deciders at once", "host", sixteenDeciders},
	{"S8", "links, FIFOs and giants among proposals", "host", plantedFiles},
	{"S9", "line ends in what is recorded", "host", oneRecord},
	{"S10", "a state directory that others may write", "host", openHome},
	{"S11", "a page of another origin, a name that leads to supervise", "supervise", foreignPages},
	{"S12", "a grant wider than what was shown", "host and egress", shownIsEnforced},
	{"S13", "credentials of other names, hosts and places", "supervise and host", credentialsByName},
	{"S14", "what a Dockerfile may not, and commands that attack", "supervise and host", images},
	{"S16", "folders that lead elsewhere", "host", plantedPlaces},
	{"S17", "a hostile stream to the operator's terminal", "host", hostileStream},
	{"S19", "looking for a secret", "host", secrets},
	{"S20", "another home's proposals", "host", anotherHome},
}

// alone are rows that take the machine for themselves, and would slow others down.
var alone = map[string]bool{"A9": true}

// beside are no rows: what else is tried of walls. They begin first, as the longest.
var beside = []struct {
	name string
	try  func(*testing.T)
}{
	{"a bottle on runsc has its walls and works", runscWalls},
	{"a weakened bottle is not handed over", weakened},
	{"real clients work", realClients},
}

// TestEscape runs all rows, nearly all side by side, against one pair of bottles.
func TestEscape(t *testing.T) {
	l := &ledger{}
	// Registered first, so that it speaks last.
	t.Cleanup(func() { l.tell(t, os.Stdout) })
	s := newStage(t)
	for _, b := range beside {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.try(t)
		})
	}
	for _, r := range rows {
		t.Run(r.ID, func(t *testing.T) {
			if !alone[r.ID] {
				t.Parallel()
			}
			t.Cleanup(func() { l.note(r, t) })
			r.try(t, s)
		})
	}
}

// outcome is one row's result, as it is written to the JSON file.
type outcome struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	By    string `json:"by"`
	OK    bool   `json:"ok"`
}

func (o outcome) String() string {
	if o.OK {
		return fmt.Sprintf("%-4s blocked by %s", o.ID, o.By)
	}
	return fmt.Sprintf("%-4s FAILED: %s", o.ID, o.Title)
}

// ledger collects outcomes.
type ledger struct {
	mu   sync.Mutex
	done map[string]outcome
}

func (l *ledger) note(r row, t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = map[string]outcome{}
	}
	l.done[r.ID] = outcome{r.ID, r.Title, r.By, !t.Failed() && !t.Skipped()}
}

// tell prints a line for each row that ran, in the table's order, and the total.
func (l *ledger) tell(t *testing.T, w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []outcome{}
	held := 0
	for _, r := range rows {
		o, ran := l.done[r.ID]
		if !ran {
			continue
		}
		list = append(list, o)
		if o.OK {
			held++
		}
		fmt.Fprintln(w, o)
	}
	fmt.Fprintf(w, "%d of %d rows hold\n", held, len(list))
	if *jsonFile == "" {
		return
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.WriteFile(*jsonFile, append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Errorf("cannot write the results: %v", err)
	}
}
