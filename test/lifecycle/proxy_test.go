package lifecycle

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// Behind a company's proxy a bottle reaches its hosts through it alone, with a
// login that stands nowhere.
func TestABottleBehindAProxy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	u := r.Upstream("one.test", "two.test", "direct.test", "plain.test")
	p := r.Proxy(u.Network)
	_, password, _ := strings.Cut(p.Login, ":")
	say := func(login string) {
		r.Write("config.yaml", "upstream_proxy: "+p.URL(login)+"\nno_proxy: direct.test,.corp\n")
	}
	say(p.Login)
	r.Write("bottles/dev.md", "---\negress:\n  routes:\n    - host: one.test\n    - host: two.test\n    - host: direct.test\n    - {host: plain.test, scheme: http}\n    - host: db.internal\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	if out, said, code := r.Run("bottle-start", "--dry-run", "--workspace", "none", "dev"); code != 0 || strings.Contains(out+said, password) ||
		!strings.Contains(out, "proxy      http://"+rig.ProxyHost+":3128  but for direct.test,.corp  [login]") {
		t.Errorf("the preflight says %d: %s%s", code, out, said)
	}
	slug := r.Start("dev", "--workspace", "none")
	p.Join(slug, "egress")
	ask := func(url, status string, words ...string) {
		t.Helper()
		out, said, _ := r.Inside(slug, "curl", "-sS", "-w", "%{http_code}", url)
		for _, w := range append(words, status) {
			if !strings.Contains(out, w) {
				t.Errorf("%s: %s%s, want %s", url, out, said, w)
			}
		}
	}
	ask("https://one.test/first", "200")
	ask("http://plain.test/first", "200")
	ask("https://direct.test/", "502", "the name") // nobody here knows it
	ask("https://db.internal/", "403", "its address is refused: it is private")
	if asked, want := p.Asked(), []string{"CONNECT one.test:443 200", "CONNECT plain.test:80 200"}; !slices.Equal(asked, want) {
		t.Errorf("the proxy was asked %q, want %q", asked, want)
	}
	if heard := u.Heard("/first"); len(heard) != 2 || strings.Contains(strings.Join(heard[0].Header, "\n"), "Proxy-") {
		t.Errorf("upstream heard %+v", heard)
	}

	say("ada:login-of-yesterday")
	if _, said, code := r.Run("bottle-start", "--renew", slug); code != 0 || !strings.Contains(said, "1 values handed over") {
		t.Errorf("%d: %s", code, said)
	}
	ask("https://two.test/second", "502", "the proxy on the way out refuses its login (407)")
	listed := func() bottle.Bottle {
		t.Helper()
		return r.Bottles()[0]
	}
	if b := listed(); !slices.Equal(b.Stale, []string{bottle.ProxyLogin}) {
		t.Errorf("listed as %+v", b)
	}
	say(p.Login)
	r.Restart(slug, "egress")
	ask("https://one.test/third", "502", "needs a login that is not here")
	if _, said, code := r.Run("bottle-start", "--resume", slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	ask("https://one.test/fourth", "200")
	if b := listed(); b.Status != bottle.Running || b.Stale != nil {
		t.Errorf("listed as %+v", b)
	}
	standsNowhere(t, r, slug, password, "login-of-yesterday")
}

// standsNowhere looks for secrets in all that a bottle's life writes.
func standsNowhere(t *testing.T, r *rig.Rig, slug string, secrets ...string) {
	t.Helper()
	look := func(where, text string) {
		t.Helper()
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds a secret", where)
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(r.Home, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, string(data))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, c := range r.Containers(slug) {
		look("docker inspect "+c, r.Docker("inspect", c))
		look("docker logs "+c, r.Docker("logs", c))
		image := r.Docker("inspect", "-f", "{{.Image}}", c)
		look("the history of "+c, r.Docker("history", "--no-trunc", strings.TrimSpace(image)))
	}
}

// A proxy that no container reaches is refused before anything is made.
func TestAProxyOnTheLoopbackIsRefused(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Env = []string{"HTTPS_PROXY=http://ada:geheim@127.0.0.1:3128"}
	_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
	if code != 1 || !strings.Contains(said, "cannot use the proxy: HTTPS_PROXY: it listens on this machine's loopback") || !strings.Contains(said, "hint: let it listen") || strings.Contains(said, "geheim") {
		t.Errorf("%d: %s", code, said)
	}
	if list := r.Bottles(); len(list) > 0 {
		t.Errorf("left: %+v", list)
	}
}

// What an image's steps fetch comes through the proxy, with a login that neither
// they nor the image are told.
func TestImagesAreMadeBehindAProxy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	u := r.Upstream("fetched.test")
	p := r.Proxy(u.Network)
	_, password, _ := strings.Cut(p.Login, ":")
	r.Write("config.yaml", "upstream_proxy: http://"+p.OnBridge()+":3128\nproxy_token_ref: PROXY_LOGIN\n")
	r.Env = []string{"PROXY_LOGIN=" + p.Login}
	r.Agent("dev", "fetched.test")
	r.Write("agents/dev.Dockerfile", "FROM bottle\n# "+r.Home+"\nRUN curl -sSf http://fetched.test/by-a-step > /fetched && env > /told\n")
	slug := r.Start("dev", "--workspace", "none")
	image := strings.TrimSpace(r.Docker("inspect", "-f", "{{.Config.Image}}", "bottle-"+slug+"-agent-1"))
	t.Cleanup(func() {
		r.Run("bottle-stop", slug)
		r.TryDocker("rmi", image)
	})
	if out, said, code := r.Inside(slug, "cat", "/fetched"); code != 0 || !strings.Contains(out, "/by-a-step") {
		t.Errorf("the image has %d: %s%s", code, out, said)
	}
	told, _, _ := r.Inside(slug, "cat", "/told")
	if !strings.Contains(told, "http_proxy=http://127.0.0.1:3128") || strings.Contains(told, password) {
		t.Errorf("the step was told %s", told)
	}
	if asked := p.Asked(); !slices.Contains(asked, "GET fetched.test 200") {
		t.Errorf("the proxy was asked %q", asked)
	}
	for _, c := range r.Containers(slug) {
		if strings.Contains(c, "relay") {
			t.Errorf("%s is left", c)
		}
	}
	if said := r.Docker("inspect", image) + r.Docker("history", "--no-trunc", image); strings.Contains(said, "127.0.0.1:3128") {
		t.Errorf("the image holds the way it was made: %s", said)
	}
	standsNowhere(t, r, slug, password)
}
