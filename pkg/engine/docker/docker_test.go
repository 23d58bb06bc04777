package docker

import (
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/plan"
)

// suiteSubnets are the tests' own, outside the pool that bottles use.
var suiteSubnets atomic.Int32

func TestDockerIsAnEngine(t *testing.T) {
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, func(*testing.T) enginetest.Lab {
		n := byte(suiteSubnets.Add(1))
		subnet := func(third byte) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 215, n, third}), 28)
		}
		return enginetest.Lab{Engine: e, Image: "bottle-base:bookworm", Home: "suite-" + strings.ToLower(rand.Text()[:8]),
			Free: [2]netip.Prefix{subnet(0), subnet(64)}}
	})
}

func TestHostsThatWouldNotHoldAreRefused(t *testing.T) {
	good := []string{"name=seccomp,profile=default"}
	for name, tc := range map[string]struct {
		host     engine.Host
		os       string
		security []string
		want     string
	}{
		"old":        {engine.Host{API: "1.40", Version: "19.03"}, "linux", good, "too old"},
		"windows":    {engine.Host{API: "1.41"}, "windows", good, "Linux"},
		"userns":     {engine.Host{API: "1.41"}, "linux", append([]string{"name=userns"}, good...), "userns-remap"},
		"rootless":   {engine.Host{API: "1.45"}, "linux", append([]string{"name=rootless"}, good...), "rootless"},
		"unfiltered": {engine.Host{API: "1.45"}, "linux", []string{"name=apparmor"}, "no seccomp"},
	} {
		if err := refuse(tc.host, tc.os, tc.security); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := refuse(engine.Host{API: "1.51"}, "linux", good); err != nil {
		t.Error(err)
	}
}

func TestARemoteEngineIsRefused(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
	if _, err := New(); err == nil || !strings.Contains(err.Error(), "not on a local socket") {
		t.Errorf("got %v", err)
	}
}

func TestTheListingReadsThePlansLabels(t *testing.T) {
	data, err := json.Marshal([]any{map[string]any{"Names": []string{"/name"}, "State": "running", "Status": "Up", "Created": 1,
		"Labels":          map[string]string{plan.LabelSlug: "slug", plan.LabelService: "service", plan.LabelNetworks: "a,b"},
		"NetworkSettings": map[string]any{"Networks": map[string]any{"n2": map[string]string{"IPAddress": "10.0.0.1"}, "n1": map[string]string{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var found []summary
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	want := engine.Container{Name: "name", Slug: "slug", Service: "service", State: "running", Status: "Up", Created: unix(1),
		Networks: []string{"n1", "n2"}, Planned: []string{"a", "b"}, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	if got := found[0].container(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
