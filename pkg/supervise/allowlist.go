package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// allowlistURL is what egress answers of itself to whoever is in the bottle.
const allowlistURL = "http://_egress.local/allowlist"

// maxAllowlist is the size of the largest view, in bytes.
const maxAllowlist = 1 << 20

// Allowlist returns a Config.Allowlist that asks the egress at addr, port 80.
func Allowlist(addr netip.AddrPort) func(context.Context) ([]byte, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", addr.String())
		},
		DisableKeepAlives: true}}
	return func(ctx context.Context) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, allowlistURL, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, errors.Unwrap(err) // without a URL that nobody asked for
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("it answers %s", resp.Status)
		}
		return io.ReadAll(io.LimitReader(resp.Body, maxAllowlist))
	}
}
