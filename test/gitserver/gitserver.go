// Package gitserver is git's own web server, as tests need one: whatever lies
// below a directory, to who has the token.
package gitserver

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
)

// Web serves the repositories below root by git's own program.
func Web(root, token string) (http.Handler, error) {
	git, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot find git's own programs: %w", err)
	}
	backend := cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(git)), "git-http-backend"), InheritEnv: []string{"PATH"},
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@example.com"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); !ok || password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.TransferEncoding = nil // of a large push; git reads to its end, whatever CGI says of lengths
		h := backend
		if v := r.Header.Get("Git-Protocol"); v != "" {
			h.Env = append(h.Env[:len(h.Env):len(h.Env)], "GIT_PROTOCOL="+v)
		}
		h.ServeHTTP(w, r)
	}), nil
}
