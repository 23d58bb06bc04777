package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// page is a request for a page.
func page(host, path string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.EgressBlock, Justification: "to read its pages", Egress: &bottle.EgressAsk{Host: host, Paths: []string{path}}}
}

// From bottle-approve to the first request that goes through, by a client that
// tries without a pause.
func TestApprovalToFirstRequest(t *testing.T) {
	rounds := 5
	if os.Getenv("BOTTLE_BENCH") != "" {
		rounds = 30
	}
	r := rig.New(t)
	_, slug := r.StartDocs()
	cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "sh", "-c",
		`while read -r p; do until [ "$(curl -s -o /dev/null -w '%{http_code}' "https://docs.example$p")" = 200 ]; do :; done; echo through; done`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	took := &timing{name: "bottle-approve to the first request through"}
	for n := range rounds {
		path := fmt.Sprintf("/r%d", n)
		id, _ := r.File(slug, page("docs.example", path), time.Now())
		fmt.Fprintln(in, path)
		took.run(t, func() {
			if _, said, code := r.Run("bottle-approve", id); code != 0 {
				t.Fatalf("bottle-approve ended with %d: %s", code, said)
			}
			if !lines.Scan() {
				t.Fatal("the client ended")
			}
		})
	}
	in.Close()
	io.Copy(io.Discard, out)
	cmd.Wait() // its input has ended
	fmt.Println(took)
}

// A thousand proposals of one bottle: listed, and all of them approved through a
// pipe.
func TestAThousandProposals(t *testing.T) {
	many := 100
	if os.Getenv("BOTTLE_BENCH") != "" {
		many = 1000
	}
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	for n := range many {
		r.File(slug, page(fmt.Sprintf("h%d.example", n), "/a"), time.Now().Add(time.Duration(n)*time.Millisecond))
	}
	list := &timing{name: fmt.Sprintf("bottle-ls proposals, %d of them", many)}
	var listed string
	cpu := &timing{name: "and the CPU time of it"}
	for range 5 {
		list.run(t, func() {
			cmd := r.Command(t.Context(), "bottle-ls", "proposals")
			out, err := cmd.Output()
			if listed = string(out); err != nil || strings.Count(listed, "\n") != many {
				t.Fatalf("bottle-ls: %v", err)
			}
			cpu.took = append(cpu.took, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		})
	}
	fmt.Println(list)
	fmt.Println(cpu)
	all := &timing{name: "bottle-ls proposals | bottle-approve -"}
	all.run(t, func() {
		cmd := r.Command(t.Context(), "bottle-approve", "-")
		cmd.Stdin = strings.NewReader(listed)
		if out, err := cmd.Output(); err != nil || strings.Count(string(out), `"approved"`) != many {
			t.Fatalf("bottle-approve: %v", err)
		}
	})
	fmt.Println(all)
}
