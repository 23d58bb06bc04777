package bench

import (
	"fmt"
	"testing"

	"bottle/test/rig"
)

// A resume of a stopped bottle against a fresh start, both self-tested and with a
// session at the end; and where its containers are gone and are made anew.
func TestResumeAgainstStart(t *testing.T) {
	long(t)
	rounds, _ := size()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	r.Start("dev") // the shared network stays
	start := &timing{name: "bottle-start --detach --workspace none, self-test"}
	again, anew := &timing{name: "bottle-start --resume, of a stopped bottle"}, &timing{name: "bottle-start --resume, of a lost one"}
	run := func(program string, args ...string) {
		t.Helper()
		if _, said, code := r.Run(program, args...); code != 0 {
			t.Fatalf("%s ended with %d: %s", program, code, said)
		}
	}
	for range rounds {
		var slug string
		start.run(t, func() { slug = r.Start("dev") })
		run("bottle-stop", "--keep", slug)
		again.run(t, func() { run("bottle-start", "--resume", slug) })
		r.DropContainers(slug)
		r.Docker("network", "rm", "bottle-"+slug+"_inner")
		anew.run(t, func() { run("bottle-start", "--resume", slug) })
		run("bottle-stop", "--discard", slug)
	}
	report(again, start)
	report(anew, start)
	fmt.Printf("a resume of a stopped bottle takes %d ms more than a fresh start; 500 is the bound\n\n", (again.median() - start.median()).Milliseconds())
}
