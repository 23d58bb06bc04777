package lifecycle

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

// What two killed starts asked of the engine makes two networks of one name, of
// which engines up to 24 keep both. The next start goes on with one.
func TestAnUplinkThatWasMadeTwiceIsOneAgain(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	if _, said, code := r.Run("bottle-ls"); code != 0 { // now the home has its name
		t.Fatal(said)
	}
	home, err := os.ReadFile(filepath.Join(r.Home, "id"))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(home))
	uplinks := func() []string {
		return strings.Fields(r.Docker("network", "ls", "-q", "--filter", "label="+plan.LabelHome+"="+id, "--filter", "name="+plan.UplinkName(id)))
	}
	engine := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		host := strings.TrimPrefix(r.Docker("context", "inspect", "-f", "{{.Endpoints.docker.Host}}"), "unix://")
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimSpace(host))
	}}}
	for range 2 { // as no client does that looks first
		doc, err := json.Marshal(map[string]any{"Name": plan.UplinkName(id), "Labels": map[string]string{plan.LabelHome: id}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := engine.Post("http://engine/v1.41/networks/create", "application/json", strings.NewReader(string(doc)))
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusConflict {
			t.Skipf("this engine makes no second one: %s", said)
		}
		if answer.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", answer.Status, said)
		}
	}
	if n := len(uplinks()); n != 2 {
		t.Fatalf("there are %d uplinks: nothing is shown", n)
	}
	r.Start("dev")
	if n := len(uplinks()); n != 1 {
		t.Errorf("with a bottle up there are %d uplinks", n)
	}
	if _, said, code := r.Run("bottle-stop", "--all"); code != 0 || len(uplinks()) > 0 {
		t.Errorf("bottle-stop ended with %d, and left %v: %s", code, uplinks(), said)
	}
}
